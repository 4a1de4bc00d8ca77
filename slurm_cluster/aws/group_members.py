"""Find the instances in the head node's security group, and format the commands that add or tag one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurm_cluster.aws import clients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef


def list_other_members(ec2: EC2Client, cluster_name: str, group_id: str) -> list[InstanceTypeDef]:
    """Return the instances in the head node's security group that are neither nodes nor the UQLE machine.

    Args:
        ec2: a client of EC2.
        cluster_name: the cluster's name.
        group_id: the id of the head node's group.
    """
    members = clients.list_instances(
        ec2,
        {"Name": "instance.group-id", "Values": [group_id]},
        {"Name": "instance-state-name", "Values": clients.LIVE_STATES},
    )
    own_tags = [(clients.TAG, cluster_name), (clients.PCLUSTER_TAG, cluster_name)]
    return [
        member
        for member in members
        if not any((tag["Key"], tag["Value"]) in own_tags for tag in member.get("Tags", []))
    ]


def describe_other_members(
    members: Sequence[InstanceTypeDef], group_id: str, cluster_name: str, region: str
) -> list[str]:
    """Return a message about each other instance in the security group, with the command to tag it."""
    lines = []
    for member in members:
        lines += [
            f"{member['InstanceId']} is in the head node's group {group_id}, "
            f"but is not tagged for {cluster_name}.",
            "If it is your UQLE machine, tag it (an administrator may have to):",
            f"  {format_tag_command(member, cluster_name, region)}",
        ]
    return lines


def format_tag_command(machine: InstanceTypeDef, cluster_name: str, region: str) -> str:
    """Return the command that tags an instance as the UQLE machine of a cluster."""
    tag = f"--resources {machine['InstanceId']} --tags Key={clients.TAG},Value={cluster_name}"
    return f"aws ec2 create-tags --region {region} {tag}"


def explain_members(
    machines: list[InstanceTypeDef],
    others: list[InstanceTypeDef],
    group_id: str,
    cluster_name: str,
    region: str,
) -> list[str]:
    """Return messages about unknown instances in the security group, and UQLE machines outside of it."""
    return [
        *describe_other_members(others, group_id, cluster_name, region),
        *(line for machine in machines for line in explain_wrong_groups(machine, group_id, region)),
    ]


def explain_wrong_groups(machine: InstanceTypeDef, group_id: str, region: str) -> list[str]:
    """Return a message if a UQLE machine is not in the head node's security group; else an empty list."""
    groups = [member["GroupId"] for member in machine.get("SecurityGroups", [])]
    if group_id in groups:
        return []
    instance_id = machine["InstanceId"]
    command = f"--instance-id {instance_id} --groups {' '.join([*groups, group_id])}"
    return [
        f"The UQLE machine {instance_id} is not in the head node's group {group_id}. Add it:",
        f"  aws ec2 modify-instance-attribute --region {region} {command}",
    ]
