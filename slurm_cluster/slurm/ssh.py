"""SSH to the cluster's instances, and an SSH tunnel to the REST API, which is not open to the internet."""

import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import REST_PORT

REST_TIMEOUT = 20
READY = "ready"
SSH_EXIT_ERROR = 255  # ssh's own exit status. Any other is that of the remote command
NO_SSH = "`ssh` is not on PATH. Install the OpenSSH client."
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
    "LogLevel=INFO",  # ssh then prints why the jump host cannot reach the port
    "PermitLocalCommand=yes",
    f"LocalCommand=echo {READY}",  # ssh runs this as soon as it listens on the local port itself
]


def build_command(identity_file: Path, options: list[str], *arguments: str) -> list[str]:
    """Return the command line of ssh."""
    option_words = [word for option in options for word in ("-o", option)]
    return ["ssh", *option_words, "-i", str(identity_file), *arguments]


@contextmanager
def open_tunnel(jump_host: str, identity_file: Path, head_node: str) -> Iterator[str]:
    """Open a tunnel to the REST API and check that something answers. Close it on exit.

    Args:
        jump_host: the machine that the tunnel goes through, as ubuntu@203.0.113.7.
        identity_file: the private key file for ssh.
        head_node: the head node's private DNS name, which the jump host can resolve.

    Yields:
        The URL of the local end.

    Raises:
        ClusterError: ssh cannot log in, or the jump host cannot reach the port.
    """
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with run_tunnel(jump_host, identity_file, head_node, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_tunnel(
    jump_host: str, identity_file: Path, head_node: str, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Open a tunnel like `open_tunnel`, on a given local port.

    Args:
        jump_host: the machine that the tunnel goes through, as ubuntu@203.0.113.7.
        identity_file: the private key file for ssh.
        head_node: the head node's private DNS name, which the jump host can resolve.
        port: the local port.

    Yields:
        The ssh process, which ends if the connection breaks.

    Raises:
        ClusterError: ssh cannot log in, or the jump host cannot reach the port.
    """
    forward = f"127.0.0.1:{port}:{head_node}:{REST_PORT}"
    options = [*SSH_OPTIONS, *TUNNEL_OPTIONS]
    command = build_command(identity_file, options, "-N", "-L", forward, jump_host)
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        except FileNotFoundError:
            raise ClusterError(NO_SSH) from None
        try:
            if not process.stdout or process.stdout.readline() != f"{READY}\n".encode():
                messages = read_messages(process, log)
                raise ClusterError(explain_failed_login(jump_host, identity_file, messages))
            if not is_answering(port):
                reasons = re.findall(r"open failed: (.+)", read_messages(process, log))
                reason = reasons[-1].strip() if reasons else f"no answer within {REST_TIMEOUT} s"
                raise ClusterError(explain_unreachable_port(jump_host, head_node, reason))
            yield process
        finally:
            end_process(process)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Terminate ssh, and kill it after 5 seconds."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def read_messages(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """End ssh, and return all that it wrote to its standard error."""
    end_process(process)
    log.seek(0)
    return log.read().decode(errors="replace")


def is_answering(port: int) -> bool:
    """Return whether slurmrestd responds. The local end of a tunnel accepts connections in any case."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=REST_TIMEOUT) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def explain_failed_login(jump_host: str, identity_file: Path, messages: str) -> str:
    """Return the message for a failed login, with the last line that ssh printed."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    reason = lines[-1].rstrip(".") if lines else "ssh printed no reason"
    command = shlex.join(["ssh", "-i", str(identity_file), jump_host])
    hint = f"Check that SSH_FROM includes your address, then try `{command}`."
    if "Host key verification failed" in messages:
        address = jump_host.partition("@")[2]
        hint = f"If a new machine has this address, run `ssh-keygen -R {address}`, then try `{command}`."
    return f"Login failed: ssh cannot log in to {jump_host} ({reason}). {hint}"


def explain_unreachable_port(jump_host: str, head_node: str, reason: str) -> str:
    """Return the message for a port that the jump host cannot reach."""
    target = f"{head_node}:{REST_PORT}"
    log_hint = "read `journalctl -u slurmrestd` on the head node (`invoke ssh`)"
    if "refused" in reason:
        return (
            f"Port closed: nothing listens at {target}, as seen from {jump_host} ({reason}). "
            f"slurmrestd is down: {log_hint}."
        )
    return (
        f"No route: {jump_host} cannot reach {target} ({reason}). "
        f"Run `invoke allow-head-node-group`. If that does not help, {log_hint}."
    )


def read_remote_file(login: str, identity_file: Path, path: str) -> str:
    """Return the text of a file on a remote machine.

    Raises:
        ClusterError: it cannot be read.
    """
    result = run_remote(login, identity_file, shlex.join(["cat", "--", path]))
    if result.returncode:
        last_line = result.stderr.strip().rpartition("\n")[2]
        raise ClusterError(
            f"{login} cannot read {path} ({last_line}). Check that the shared file system is mounted there."
        )
    return result.stdout


def run_remote(
    login: str, identity_file: Path, command: str, script: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a shell command on a remote machine, and return its result, whatever its exit status.

    Args:
        login: the ssh destination, as ubuntu@203.0.113.7.
        identity_file: the private key file for ssh.
        command: the command, for the remote shell.
        script: the standard input of the command.

    Raises:
        ClusterError: ssh cannot log in.
    """
    ssh_command = build_command(identity_file, SSH_OPTIONS, login, command)
    try:
        result = subprocess.run(
            ssh_command, input=script, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise ClusterError(NO_SSH) from None
    if result.returncode == SSH_EXIT_ERROR:
        raise ClusterError(explain_failed_login(login, identity_file, result.stderr))
    return result
