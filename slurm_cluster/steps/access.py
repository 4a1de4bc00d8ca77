"""README, Verify and Debugging: a job through the REST API, and shells on the machines."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import key_pair, stack, uqle_instance
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo_lines
from slurm_cluster.slurm import smoke_job
from slurm_cluster.slurm import ssh as ssh_client
from slurm_cluster.steps import pcluster

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2 import EC2Client

    from slurm_cluster.project import Project

SHARED_DIR = "/shared"  # on every node, as config.template.yml has it
WAITING_FOR = "the job"


class JumpHost(NamedTuple):
    """A machine to reach the cluster's network through.

    Args:
        login: for ssh, such as ubuntu@203.0.113.7.
        shared_dir: where the shared file system is mounted on it.
    """

    login: str
    shared_dir: str


def find_jump_host(ec2: EC2Client, cluster: StackTypeDef, mount_point: str) -> JumpHost:
    """Return the machine to go through: the UQLE machine if it is running, else the head node.

    Args:
        ec2: a client of EC2.
        cluster: the cluster's stack.
        mount_point: where the UQLE machine mounts the shared file system.

    Raises:
        ClusterError: neither has a public address.
    """
    machine = uqle_instance.find_instance(ec2, cluster["StackName"])
    if machine and machine["State"]["Name"] == "running" and machine.get("PublicIpAddress"):
        return JumpHost(f"ubuntu@{machine['PublicIpAddress']}", mount_point)
    return JumpHost(find_head_node_login(ec2, cluster), SHARED_DIR)


def find_head_node_login(ec2: EC2Client, cluster: StackTypeDef) -> str:
    """Return the head node for ssh, such as ubuntu@203.0.113.7.

    Raises:
        ClusterError: it has no public address.
    """
    instance_id = stack.get_output(cluster, "HeadNodeInstanceID")
    head_node = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    if not head_node.get("PublicIpAddress"):
        raise ClusterError(f"The head node {instance_id} has no public address. Start it first.")
    return f"ubuntu@{head_node['PublicIpAddress']}"


def verify(p: Project, url: str, user: str, seconds: int) -> None:
    """Run a job through the REST API, and print each link of the chain that works.

    Args:
        p: the project.
        url: the URL of slurmrestd; empty to open an SSH tunnel.
        user: the user who runs the job.
        seconds: how long the job may take, with the boot of its node.

    Raises:
        ClusterError: a link of the chain is broken; it names the first one.
    """
    if p.skip_for_dry_run(f"run a job of user {user} through the REST API of {p.cluster}"):
        return
    key = p.read_jwt_key()
    if url:
        echo_lines(smoke_job.run_smoke_job(url, key, user, seconds=seconds), WAITING_FOR, p.quiet)
        return
    cluster = stack.require_cluster(p.cloudformation, p.cluster)
    head_node = stack.get_output(cluster, "HeadNodePrivateDnsName")
    identity_file = key_pair.get_private_key_path(p.key_pair)
    jump_host = find_jump_host(p.ec2, cluster, p.get_uqle_settings().mount_point)

    def read_output(path: str) -> str:
        path_there = jump_host.shared_dir + path.removeprefix(SHARED_DIR)
        return ssh_client.read_remote_file(jump_host.login, identity_file, path_there)

    with ssh_client.open_tunnel(jump_host.login, identity_file, head_node) as tunnel_url:
        lines = smoke_job.run_smoke_job(tunnel_url, key, user, seconds=seconds, read_output=read_output)
        echo_lines(lines, WAITING_FOR, p.quiet)


def open_shell(p: Project, uqle: bool) -> None:
    """Open a shell on the head node, or on the UQLE machine.

    Args:
        p: the project.
        uqle: the UQLE machine instead of the head node.

    Raises:
        ClusterError: there is no such machine, or the shell ended with a status other than 0, which becomes
            the task's.
    """
    identity_file = str(key_pair.get_private_key_path(p.key_pair))
    if not p.dry_run and not uqle:
        stack.require_cluster(p.cloudformation, p.cluster)
    if uqle:
        address = "<from connect-uqle>" if p.dry_run else uqle_instance.get_public_address(p.ec2, p.cluster)
        command = shlex.join(["ssh", "-i", identity_file, f"ubuntu@{address}"])
    else:
        arguments = ["--cluster-name", p.cluster, "-i", identity_file]
        command = pcluster.build_command("ssh", *arguments, region=p.region)
    status = p.run(command, interactive=True, pty=sys.stdin.isatty()).exited
    if status:
        raise ClusterError(f"The shell ended with status {status}, or could not be opened.", status=status)
