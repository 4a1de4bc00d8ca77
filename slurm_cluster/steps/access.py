"""README, Verify and Debugging: a job through the REST API, and shells on the machines."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import key_pair, nodes, stack, uqle_instance
from slurm_cluster.config.parameters import shorten
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo, echo_lines
from slurm_cluster.slurm import REST_PORT, smoke_job
from slurm_cluster.slurm import ssh as ssh_client
from slurm_cluster.steps import pcluster
from slurm_cluster.steps.uqle import find_mount_point

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef

    from slurm_cluster.project import Project

WAITING_FOR = "the job"
MAX_PORT = 65535
MAX_SECONDS = 86400  # a day


class JumpHost(NamedTuple):
    """The machine through which an SSH tunnel goes.

    Args:
        login: for ssh, such as ubuntu@203.0.113.7.
        shared_dir: where the shared file system is mounted on it.
    """

    login: str
    shared_dir: str


def find_jump_host(p: Project, cluster: StackTypeDef) -> JumpHost:
    """Return the jump host: the UQLE machine if it mounts the shared file system, else the head node.

    Raises:
        ClusterError: neither is running.
    """
    head_login = find_head_node_login(p, cluster)
    machine = uqle_instance.find_instance(p.ec2, p.cluster_name)
    if machine and machine["State"]["Name"] == "running" and machine.get("PublicIpAddress"):
        mount_point = find_mount_point(p, cluster, machine)
        if mount_point:
            return JumpHost(f"ubuntu@{machine['PublicIpAddress']}", mount_point)
    return JumpHost(head_login, p.shared_dir)


def find_head_node_login(p: Project, cluster: StackTypeDef) -> str:
    """Return the head node's ssh destination, such as ubuntu@203.0.113.7. Print a hint if it is private.

    Raises:
        ClusterError: it is not running.
    """
    node = nodes.require_head_node(p.ec2, cluster)
    address = nodes.get_address(node)
    if not node.get("PublicIpAddress"):
        command = f"verify --url http://{address}:{REST_PORT}" if p.task == "verify" else p.task
        echo(
            f"The head node has no public address. {address} is reached from inside the VPC, or by VPN. "
            f"Run `invoke {command}` there."
        )
    return f"ubuntu@{address}"


def verify(p: Project, url: str, user: str, seconds: str) -> None:
    """Run a test job through the REST API, and print the result of each check.

    Args:
        p: the project.
        url: the URL of slurmrestd; empty to open an SSH tunnel.
        user: the user who runs the job.
        seconds: how long the job may take, with the boot of its node.

    Raises:
        ClusterError: a check failed, or `seconds` is not a number.
    """
    timeout = parse_number("--seconds", seconds, MAX_SECONDS)
    if p.skip_for_dry_run(f"run a job of user {user} through the REST API of {p.cluster_name}"):
        return
    if url:
        key = p.read_jwt_key()
        echo_lines(
            smoke_job.run_smoke_job(url, key, user, p.shared_dir, seconds=timeout), WAITING_FOR, p.quiet
        )
        return
    cluster = stack.require_cluster(p.cloudformation, p.cluster_name)
    key = p.read_jwt_key()
    host = stack.require_output(cluster, "HeadNodePrivateDnsName")
    identity_file = key_pair.get_private_key_path(p.key_pair)
    jump_host = find_jump_host(p, cluster)

    def read_output(path: str) -> str:
        path_there = jump_host.shared_dir + path.removeprefix(p.shared_dir)
        return ssh_client.read_remote_file(jump_host.login, identity_file, path_there)

    with ssh_client.open_tunnel(jump_host.login, identity_file, host) as tunnel_url:
        lines = smoke_job.run_smoke_job(
            tunnel_url, key, user, p.shared_dir, seconds=timeout, read_output=read_output
        )
        echo_lines(lines, WAITING_FOR, p.quiet)


def parse_number(flag: str, text: str, maximum: int) -> int:
    """Return the value of a flag as a number. invoke would fail with a traceback if the flag were an int.

    Raises:
        ClusterError: it is another text.
    """
    number = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if not 1 <= number <= maximum:
        raise ClusterError(f"{flag} is {shorten(text)}, and must be a whole number from 1 to {maximum}.")
    return number


def open_shell(p: Project, uqle: bool, forward: str = "") -> None:
    """Open a shell on the head node, or on the UQLE machine.

    Args:
        p: the project.
        uqle: the UQLE machine instead of the head node.
        forward: a remote port to forward to the same local port while the shell is open; empty for none.

    Raises:
        ClusterError: there is no such machine, or the shell ended with a status other than 0, which becomes
            the task's.
    """
    identity_file = str(key_pair.get_private_key_path(p.key_pair))
    options = ["-i", identity_file]
    if forward:
        port = parse_number("--forward", forward, MAX_PORT)
        options += ["-L", f"127.0.0.1:{port}:127.0.0.1:{port}"]
    if uqle:
        address = "<from connect-uqle>" if p.dry_run else find_uqle_address(p)
        command = shlex.join(["ssh", *options, f"ubuntu@{address}"])
    else:
        if not p.dry_run:
            find_head_node_login(p, stack.require_cluster(p.cloudformation, p.cluster_name))
        command = pcluster.build_command("ssh", "--cluster-name", p.cluster_name, *options, region=p.region)
    status = p.run(command, interactive=True, pty=sys.stdin.isatty()).exited
    if status:
        raise ClusterError(f"The shell ended with status {status}, or could not be opened.", status=status)


def find_uqle_address(p: Project) -> str:
    """Return the address of the UQLE machine for ssh. Say how to reach it if it is private.

    Raises:
        ClusterError: there is no such machine, or it is not running.
    """
    machine = uqle_instance.require_instance(p.ec2, p.cluster_name, p.region)
    if machine["State"]["Name"] != "running":
        state = machine["State"]["Name"]
        raise ClusterError(f"The UQLE machine {machine['InstanceId']} is {state}. Run `invoke resume` first.")
    address = nodes.get_address(machine)
    if not machine.get("PublicIpAddress"):
        echo(f"The UQLE machine has no public address. {address} is reached from inside the VPC, or by VPN.")
    return address
