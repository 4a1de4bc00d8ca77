"""A new JWT key for a cluster that runs: into the secret, then onto the head node, by the boot script's own step."""

from __future__ import annotations

import secrets
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster import files
from slurm_cluster.aws import script_bucket
from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import ssh
from slurm_cluster.slurm.rest_client import SlurmClient, format_result

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

KEY_SCRIPT = script_bucket.FOLDER / script_bucket.SCRIPTS["CUSTOM_BOOT_ACTION_START"]
RESTART_COMMAND = (
    "sudo systemctl restart slurmdbd.service slurmctld.service"  # each reads the key when it starts
)
START_TIMEOUT = 60  # seconds that Slurm may take to come up again
RETRY_HINT = "run this again, which makes another key"


def refuse_literal_key(literal_key: str, source: Path) -> None:
    """Refuse to change a key that ParallelCluster itself keeps.

    Raises:
        ClusterError: the parameters hold the key, not the ARN of its secret.
    """
    if literal_key:
        raise ClusterError(
            f"SLURM_JWT_KEY of {source} is the key itself, and so an argument of the head node, "
            "which nobody can change on a cluster that stands: only a new cluster has another one."
        )


def check_root_access(through: str, private: Path) -> None:
    """See that the head node lets us in, as root, before anything is changed.

    Raises:
        ClusterError: it does not.
    """
    answer = ssh.run_remote(through, private, "sudo --non-interactive true")
    if answer.returncode:
        raise ClusterError(
            f"{through} does not let us be root ({answer.stderr.strip()}): nothing was changed."
        )


def put_new_key(manager: SecretsManagerClient, secret: str) -> str:
    """Put a new random key into the secret, whose ARN stays what it is, and give it."""
    key = secrets.token_urlsafe(32)
    manager.put_secret_value(SecretId=secret, SecretString=key)
    return key


def install_key(through: str, private: Path, secret: str) -> None:
    """Have the head node read its secret again, and start what holds the key in its memory again.

    Args:
        through: the head node, for ssh.
        private: the private key file that opens it.
        secret: its ARN; the key itself stays out of the command line.

    Raises:
        ClusterError: the head node's script, or Slurm, ended with an error.
    """
    line = f"sudo bash -s -- {shlex.quote(secret)} && {RESTART_COMMAND}"
    answer = ssh.run_remote(through, private, line, files.read_text(KEY_SCRIPT))
    if answer.returncode:
        said = (answer.stdout + answer.stderr).strip().rpartition("\n")[2]
        raise ClusterError(
            f"The new key is in the secret and not yet on the head node ({said}): put that right, then {RETRY_HINT}."
        )


def verify_rotation(url: str, new: str, old: str, user: str = "slurm", pause: float = 1.0) -> str:
    """Prove that Slurm takes tokens of the new key, and none of the old one.

    Args:
        url: of slurmrestd.
        new: the key that the secret holds.
        old: the one that it held.
        user: whose tokens they are.
        pause: seconds between two looks, while Slurm comes up again.

    Raises:
        ClusterError: it does not take them, or goes on taking the old ones.
    """
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            check_token_accepted(url, new, user)
            break
        except ClusterError as error:
            if time.monotonic() > end:
                raise ClusterError(
                    f"The new key is on the head node, and Slurm does not take it yet. {error}"
                ) from None
            time.sleep(pause)
    try:
        check_token_accepted(url, old, user)
    except ClusterError:
        return format_result("token", "of the new key accepted, of the old key refused")
    raise ClusterError(f"Slurm goes on taking tokens of the old key: {RETRY_HINT}.")


def check_token_accepted(url: str, key: str, user: str) -> None:
    """See that Slurm takes a token.

    Raises:
        ClusterError: it does not, or does not answer.
    """
    slurm = SlurmClient(url, key, user)
    for _ in slurm.discover():
        pass
    slurm.prove_token()
