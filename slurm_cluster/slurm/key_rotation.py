"""Rotation of the JWT key on a running cluster: a new key in the secret, then on the head node."""

import shlex
import time
from pathlib import Path

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import ssh
from slurm_cluster.slurm.rest_client import SlurmClient, format_result

# Both daemons read the key only when they start.
RESTART_COMMAND = "sudo systemctl restart slurmdbd.service slurmctld.service"
START_TIMEOUT = 60  # seconds that Slurm may take to restart
RETRY_HINT = "Run this again to create another key."


def refuse_literal_key(literal_key: str, source: Path) -> None:
    """Refuse to rotate a key that is written literally in the parameters.

    Args:
        literal_key: the key, or an empty string if the parameters have the ARN of a secret.
        source: the file with the parameters.

    Raises:
        ClusterError: there is a literal key.
    """
    if literal_key:
        raise ClusterError(
            f"SLURM_JWT_KEY in {source} is the key itself, not the ARN of a secret. "
            "Such a key cannot be changed on a running cluster. To change it, create the cluster again."
        )


def check_root_access(login: str, identity_file: Path) -> None:
    """Check that sudo works on the head node, before anything is changed.

    Raises:
        ClusterError: it does not.
    """
    result = ssh.run_remote(login, identity_file, "sudo --non-interactive true")
    if result.returncode:
        raise ClusterError(
            f"{login} does not allow sudo ({result.stderr.strip()}). "
            "Nothing was changed. Allow passwordless sudo, then run this again."
        )


def install_key(login: str, identity_file: Path, secret_arn: str, script: str) -> None:
    """Run the boot script that installs the key on the head node, and restart the daemons that use it.

    Args:
        login: the head node, as ubuntu@203.0.113.7.
        identity_file: the private key file for ssh.
        secret_arn: the ARN of the secret. The key itself is never in a command line.
        script: the text of the boot script on_node_start_ubuntu.sh.

    Raises:
        ClusterError: the script failed, or the daemons did not restart.
    """
    command = f"sudo bash -s -- {shlex.quote(secret_arn)} && {RESTART_COMMAND}"
    result = ssh.run_remote(login, identity_file, command, script)
    if result.returncode:
        last_line = (result.stdout + result.stderr).strip().rpartition("\n")[2]
        raise ClusterError(
            f"The new key is in the secret but not yet on the head node ({last_line}). "
            "Fix the cause, then run this again to create another key."
        )


def verify_rotation(url: str, new: str, old: str) -> str:
    """Wait until Slurm accepts tokens signed with the new key, and check that it refuses the old key's.

    Args:
        url: the URL of slurmrestd.
        new: the new key.
        old: the old key.

    Returns:
        A line that says so.

    Raises:
        ClusterError: Slurm does not accept the new key in time, or still accepts the old one.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            check_token_accepted(url, new)
            break
        except ClusterError as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"The new key is on the head node, but Slurm does not accept it yet. {error}"
                ) from None
            time.sleep(1)
    try:
        check_token_accepted(url, old)
    except ClusterError:
        return format_result("token", "the new key is accepted, the old key is refused")
    raise ClusterError(f"Slurm still accepts tokens of the old key. {RETRY_HINT}")


def check_token_accepted(url: str, key: str) -> None:
    """Check that Slurm accepts a token of the key.

    Raises:
        ClusterError: it refuses the token, or does not answer.
    """
    client = SlurmClient(url, key, "slurm")
    list(client.discover_version())
    client.check_token()
