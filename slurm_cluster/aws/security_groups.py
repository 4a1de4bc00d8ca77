"""The security groups of the cluster: who may reach the head node, and whose machines are in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients, stack
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, IpPermissionUnionTypeDef, SecurityGroupTypeDef


def get_head_node_group_id(cloudformation: CloudFormationClient, cluster: str) -> str:
    """Give the id of the head node's group, by its logical id in the stack.

    Raises:
        ClusterError: the configuration brought groups of its own, so that pcluster made none.

    """
    group = stack.find_resource_id(cloudformation, cluster, "HeadNodeSecurityGroup")
    if group is None:
        raise ClusterError(
            f"The stack {cluster} has no HeadNodeSecurityGroup: its head node has SecurityGroups of its own, "
            "and the README's connection needs the one that pcluster makes."
        )
    return group


def describe_group(ec2: EC2Client, group: str) -> SecurityGroupTypeDef:
    """Give the group as EC2 has it."""
    return ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]


def build_self_rule(group: str) -> IpPermissionUnionTypeDef:
    """Give the rule that admits the group's own members, all traffic."""
    return {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}


def has_self_rule(ec2: EC2Client, group: str) -> bool:
    """Say whether the group admits its own members."""
    rules = describe_group(ec2, group).get("IpPermissions", [])
    peers = [
        pair.get("GroupId")
        for rule in rules
        if rule["IpProtocol"] == "-1"
        for pair in rule.get("UserIdGroupPairs", [])
    ]
    return group in peers


def add_self_rule(ec2: EC2Client, group: str) -> bool:
    """Add the rule that admits the group's own members.

    Returns:
        Whether it was added now.

    """
    try:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[build_self_rule(group)])
    except ClientError as error:
        if error_code(error) != "InvalidPermission.Duplicate":
            raise
        return False
    return True


def remove_self_rule(ec2: EC2Client, group: str) -> bool:
    """Take the rule away again.

    Returns:
        Whether it was taken away now.

    """
    if not has_self_rule(ec2, group):
        return False
    with clients.ignore_errors("InvalidPermission.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[build_self_rule(group)])
    return True


def refuse_foreign_members(cloudformation: CloudFormationClient, ec2: EC2Client, cluster: str) -> None:
    """Refuse to delete a cluster whose groups other machines are in: the deletion would fail half-way.

    Raises:
        ClusterError: there are such machines; it names them.
    """
    others = list_foreign_members(cloudformation, ec2, cluster)
    if others:
        raise ClusterError(
            f"{', '.join(others)} is in a security group of {cluster}, which AWS then cannot delete: "
            "`invoke disconnect-uqle` for the UQLE machine; terminate others yourself."
        )


def list_foreign_members(cloudformation: CloudFormationClient, ec2: EC2Client, cluster: str) -> list[str]:
    """Name the machines that keep EC2 from deleting the cluster's groups: members that are not the cluster's own.

    Args:
        cloudformation: a client of CloudFormation.
        ec2: a client of EC2.
        cluster: its name; its stack stands, whole or in part.
    """
    groups = stack.list_resource_ids(cloudformation, cluster, "AWS::EC2::SecurityGroup")
    if not groups:
        return []
    pages = ec2.get_paginator("describe_network_interfaces").paginate(
        Filters=[{"Name": "group-id", "Values": groups}]
    )
    attachments = [
        interface.get("Attachment", {}) for page in pages for interface in page["NetworkInterfaces"]
    ]
    machines = {attachment["InstanceId"] for attachment in attachments if attachment.get("InstanceId")}
    return sorted(machines - {instance["InstanceId"] for instance in list_cluster_instances(ec2, cluster)})


def list_cluster_instances(ec2: EC2Client, cluster: str) -> list[InstanceTypeDef]:
    """Give the cluster's own instances, by the tag that pcluster gives them and deletes them by."""
    of_cluster = [{"Name": "tag:parallelcluster:cluster-name", "Values": [cluster]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=of_cluster)  # type: ignore[arg-type]
    return [
        instance
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]
