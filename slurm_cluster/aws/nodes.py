"""List a cluster's nodes, and find its head node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurm_cluster.aws import clients, stack
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef

NODE_TYPE_TAG = "parallelcluster:node-type"  # HeadNode, Compute or LoginNode
USABLE_STATES = ("running", "pending")


def list_nodes(ec2: EC2Client, cluster_name: str) -> list[InstanceTypeDef]:
    """Return the nodes of a cluster, by pcluster's tag, in every state that EC2 still lists."""
    return clients.list_instances(ec2, clients.pcluster_filter(cluster_name))


def is_head_node(node: InstanceTypeDef) -> bool:
    """Return whether a node of a cluster is its head node."""
    return clients.get_tag(node, NODE_TYPE_TAG) == "HeadNode"


def is_login_node(node: InstanceTypeDef) -> bool:
    """Return whether a node of a cluster belongs to a login pool."""
    return clients.get_tag(node, NODE_TYPE_TAG) == "LoginNode"


def find_head_node(ec2: EC2Client, cluster: StackTypeDef) -> InstanceTypeDef | None:
    """Return a cluster's head node in any state; None if EC2 no longer lists it."""
    instance_id = stack.require_output(cluster, "HeadNodeInstanceID")
    instances = clients.list_instances(ec2, {"Name": "instance-id", "Values": [instance_id]})
    return instances[0] if instances else None


def require_head_node(
    ec2: EC2Client, cluster: StackTypeDef, *, allow_stopped: bool = False
) -> InstanceTypeDef:
    """Return the head node of a cluster.

    Args:
        ec2: a client of EC2.
        cluster: the cluster's stack.
        allow_stopped: whether to accept a stopped head node.

    Raises:
        ClusterError: the head node does not exist, or is not running.
    """
    head_node = find_head_node(ec2, cluster)
    state = head_node["State"]["Name"] if head_node else "terminated"
    if (
        head_node is None
        or state in clients.TERMINATED_STATES
        or not (allow_stopped or state in USABLE_STATES)
    ):
        instance_id = stack.require_output(cluster, "HeadNodeInstanceID")
        raise ClusterError(explain_state(cluster["StackName"], instance_id, state, ec2.meta.region_name))
    return head_node


def explain_state(cluster_name: str, instance_id: str, state: str, region: str) -> str:
    """Return a message about a head node that is terminated or not running."""
    if state in clients.TERMINATED_STATES:
        return (
            f"The head node {instance_id} of {cluster_name} is terminated. AWS cannot restore it. "
            "`invoke delete-cluster create-cluster` creates a new one. The data of the old one is deleted."
        )
    return (
        f"The head node {instance_id} of {cluster_name} is {state}. "
        f"Start it with `{format_start_command(instance_id, region)}`, then run this again."
    )


def format_start_command(instance_id: str, region: str) -> str:
    """Return the command that starts an instance."""
    return f"aws ec2 start-instances --region {region} --instance-ids {instance_id}"


def get_address(instance: InstanceTypeDef) -> str:
    """Return the address for SSH: the public one, else the private one."""
    return instance.get("PublicIpAddress") or instance.get("PrivateIpAddress", "")
