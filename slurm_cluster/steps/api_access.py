"""Create tokens, and forward a local port to the REST API (docs/clients.md)."""

import secrets
import socket
import sys
from pathlib import Path

from slurm_cluster import files
from slurm_cluster.aws import key_pair, stack
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo, echo_lines
from slurm_cluster.project import Project
from slurm_cluster.slurm import rest_client
from slurm_cluster.slurm import ssh as ssh_client
from slurm_cluster.slurm.token import sign_token
from slurm_cluster.steps import access

MAX_HOURS = 720  # 30 days


def create_token(p: Project, user: str, hours: str, output: str) -> None:
    """Sign a token, and write it to a file, or to stdout unless stdout is a terminal.

    Args:
        p: the project.
        user: the user whose jobs the token can run.
        hours: the lifetime, not validated.
        output: the file to write; empty for stdout.

    Raises:
        ClusterError: stdout is a terminal; or the user, the lifetime or the key is not valid.
    """
    lifetime = access.parse_number("--hours", hours, MAX_HOURS)
    if not output and sys.stdout.isatty():
        raise ClusterError(
            "A token is like a password, so it is not shown on a terminal. "
            'Pass --output FILE, or use it in a command as "$(invoke token)".'
        )
    if p.skip_for_dry_run(f"sign a token of user {user} for {lifetime} hours"):
        return
    token = sign_token(p.read_jwt_key(), user, lifetime * 3600)
    if not output:
        print(token)
        return
    files.write_file(Path(output), f"{token}\n", mode=0o600)
    echo(f"Wrote {output}: a token of user {user}, valid for {lifetime} hours.")


def keep_tunnel_open(p: Project, port: str) -> None:
    """Forward a port of this machine to slurmrestd until Ctrl-C, and print a request to try.

    Args:
        p: the project.
        port: the local port, not validated.

    Raises:
        ClusterError: the port is in use, the tunnel cannot be opened, or it ended.
    """
    if p.skip_for_dry_run(f"forward port {port} of this machine to slurmrestd of {p.cluster_name}"):
        return
    local_port = access.parse_number("--port", port, access.MAX_PORT)
    check_port_free(local_port)
    cluster = stack.require_cluster(p.cloudformation, p.cluster_name)
    head_node = stack.require_output(cluster, "HeadNodePrivateDnsName")
    jump_host = access.find_jump_host(p, cluster)
    identity_file = key_pair.get_private_key_path(p.key_pair)
    with ssh_client.run_tunnel(jump_host.login, identity_file, head_node, local_port) as process:
        # slurmrestd does not check the token of this request, so nobody needs the key for it
        client = rest_client.SlurmClient(f"http://127.0.0.1:{local_port}", secrets.token_hex(32), "slurm")
        list(client.discover_version())
        path = f"/slurm/{client.version}/jobs/"
        echo_lines(
            [
                f"Forwarding {client.url} to slurmrestd of {p.cluster_name} until you press Ctrl-C. "
                "Try in another terminal:",
                f'  curl -H "X-SLURM-USER-TOKEN: $(invoke token)" {client.url}{path}',
            ]
        )
        try:
            status = process.wait()
        except KeyboardInterrupt:
            echo("Closed the tunnel.")
            return
    raise ClusterError(f"The tunnel ended: ssh exited with status {status}. Run `invoke tunnel` again.")


def check_port_free(port: int) -> None:
    """Check that this user can listen on a port.

    Raises:
        ClusterError: the port is in use or not allowed.
    """
    try:
        with socket.create_server(("127.0.0.1", port)):
            pass
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise ClusterError(
            f"Cannot listen on port {port} of this machine ({reason}). Choose another with --port."
        ) from None
