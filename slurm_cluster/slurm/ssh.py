"""SSH to the machines in the cluster's network: a tunnel to port 8082, which is open inside the head node's group alone."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import stack, uqle_instance
from slurm_cluster.config.uqle_env import PORT
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2 import EC2Client

ANSWER_SECONDS = 20
READY = "ready"
SSH_EXIT_ERROR = 255  # the status of ssh itself, when it is not that of the command
NO_SSH = "There is no `ssh` on PATH: install OpenSSH's client."
SHARED_DIR = "/shared"  # on every node, as config.template.yml has it
SSH_OPTIONS = [
    "StrictHostKeyChecking=accept-new",
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "ConnectTimeout=15",
    "ControlPath=none",
]
TUNNEL_OPTIONS = [
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=15",
    "LogLevel=INFO",  # tells why the far end does not reach the port
    "PermitLocalCommand=yes",
    f"LocalCommand=echo {READY}",  # run when the port here is ssh's own: before that, it could be anybody's
]


class JumpHost(NamedTuple):
    """A machine to go through: for ssh, as ubuntu@203.0.113.7, and where it has the shared file system."""

    through: str
    shared: str


def find_jump_host(ec2: EC2Client, cluster: StackTypeDef, mount_point: str) -> JumpHost:
    """Give the machine to go through: the UQLE instance, or the head node where there is none that runs.

    Args:
        ec2: a client of EC2.
        cluster: its stack.
        mount_point: of the shared file system on the UQLE instance.

    Raises:
        ClusterError: neither has a public address.
    """
    uqle = uqle_instance.find_instance(ec2, cluster["StackName"])
    if uqle and uqle["State"]["Name"] == "running" and uqle.get("PublicIpAddress"):
        return JumpHost(f"ubuntu@{uqle['PublicIpAddress']}", mount_point)
    return JumpHost(find_head_node_host(ec2, cluster), SHARED_DIR)


def find_head_node_host(ec2: EC2Client, cluster: StackTypeDef) -> str:
    """Give the head node for ssh, as ubuntu@203.0.113.7.

    Raises:
        ClusterError: it has no public address.
    """
    identifier = stack.get_output(cluster, "HeadNodeInstanceID")
    found = ec2.describe_instances(InstanceIds=[identifier])["Reservations"][0]["Instances"][0]
    if not found.get("PublicIpAddress"):
        raise ClusterError(f"The head node {identifier} has no public address: start it first.")
    return f"ubuntu@{found['PublicIpAddress']}"


def build_command(private: Path, options: list[str], *more: str) -> list[str]:
    """Give the command line of ssh."""
    return ["ssh", *(word for option in options for word in ("-o", option)), "-i", str(private), *more]


@contextmanager
def open_tunnel(through: str, private: Path, head_node: str) -> Iterator[str]:
    """Open a tunnel, prove that something answers at its far end, and end it afterwards whatever happens.

    Args:
        through: the machine that it goes through, as ubuntu@203.0.113.7.
        private: the private key file that opens it.
        head_node: its private DNS name, which that machine resolves.

    Yields:
        The URL of this end.

    Raises:
        ClusterError: the machine does not let us in, or does not reach the port.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ssh = build_command(
        private, [*SSH_OPTIONS, *TUNNEL_OPTIONS], "-N", "-L", f"127.0.0.1:{port}:{head_node}:{PORT}", through
    )
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(ssh, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        except FileNotFoundError:
            raise ClusterError(NO_SSH) from None
        try:
            if not process.stdout or process.stdout.readline() != f"{READY}\n".encode():
                raise ClusterError(explain_failed_login(through, private, read_messages(process, log)))
            if not is_answering(port):
                said = re.findall(r"open failed: (.+)", read_messages(process, log)) or [
                    f"nothing comes back in {ANSWER_SECONDS} s"
                ]
                raise ClusterError(explain_unreachable_port(through, head_node, said[-1].strip()))
            yield f"http://127.0.0.1:{port}"
        finally:
            end_process(process)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End ssh, if need be by force."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def read_messages(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """End ssh, and give all that it said."""
    end_process(process)
    log.seek(0)
    return log.read().decode(errors="replace")


def is_answering(port: int) -> bool:
    """Say whether anything comes back through the tunnel: this end takes connections whatever is at the other one."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as probe:
            probe.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return bool(probe.recv(1))
    except OSError:
        return False


def explain_failed_login(through: str, private: Path, said: str) -> str:
    """Give the sentence for an ssh that ended: its own last words, and what to do."""
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it says nothing")
    by_hand = shlex.join(["ssh", "-i", str(private), through])
    if "Host key verification failed" in said:
        by_hand = f"ssh-keygen -R {through.partition('@')[2]}` if the machine is a new one at this address, then `{by_hand}"
    return f"No way in: ssh does not open {through} ({last.rstrip('.')}): see that SSH_FROM admits you, and try `{by_hand}`."


def explain_unreachable_port(through: str, head_node: str, why: str) -> str:
    """Give the sentence for a port that the machine does not reach."""
    target, log = f"{head_node}:{PORT}", "`journalctl -u slurmrestd` on the head node (`invoke ssh`)"
    if "refused" in why:
        return f"Port closed: {through} finds nothing listening at {target} ({why}), so slurmrestd is down: see {log}."
    return f"No route: {through} does not reach {target} ({why}): run `invoke allow-head-node-group`, then see {log}."


def read_remote_file(through: str, private: Path, path: str) -> str:
    """Read a file of the machine.

    Raises:
        ClusterError: it cannot be read.
    """
    answer = run_remote(through, private, shlex.join(["cat", "--", path]))
    if answer.returncode:
        last = answer.stderr.strip().rpartition("\n")[2]
        raise ClusterError(
            f"{through} cannot read {path} ({last}): see that the shared file system is mounted there."
        )
    return answer.stdout


def run_remote(through: str, private: Path, line: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line of shell on the machine, and give what came of it.

    Args:
        through: the machine, as ubuntu@203.0.113.7.
        private: the private key file that opens it.
        line: what its shell runs.
        script: what that reads from its standard input.

    Raises:
        ClusterError: the machine does not let us in.
    """
    try:
        ssh = build_command(private, SSH_OPTIONS, through, line)
        answer = subprocess.run(
            ssh, input=script, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise ClusterError(NO_SSH) from None
    if answer.returncode == SSH_EXIT_ERROR:
        raise ClusterError(explain_failed_login(through, private, answer.stderr))
    return answer
