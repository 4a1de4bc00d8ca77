"""The cluster's security groups, and the head node group's rule that lets the UQLE machine connect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slurm_cluster.aws import clients, stack
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import (
        IpPermissionUnionTypeDef,
        SecurityGroupRuleTypeDef,
        SecurityGroupTypeDef,
    )


def find_head_node_group_id(cloudformation: CloudFormationClient, cluster_name: str) -> str | None:
    """Return the id of the head node's group, by its logical id in the stack; None if the stack has none."""
    return stack.find_resource_id(cloudformation, cluster_name, "HeadNodeSecurityGroup")


def require_head_node_group_id(cloudformation: CloudFormationClient, cluster_name: str) -> str:
    """Return the id of the head node's group.

    Raises:
        ClusterError: the configuration names its own security groups, so pcluster created none.
    """
    group = find_head_node_group_id(cloudformation, cluster_name)
    if group is None:
        raise ClusterError(
            f"The stack {cluster_name} has no HeadNodeSecurityGroup, because the configuration names other "
            "SecurityGroups. A UQLE machine needs the group that pcluster creates: "
            "use AdditionalSecurityGroups instead."
        )
    return group


def describe_group(ec2: EC2Client, group_id: str) -> SecurityGroupTypeDef:
    """Return a group as EC2 describes it."""
    return ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]


def list_group_rules(ec2: EC2Client, groups: Sequence[str]) -> list[SecurityGroupRuleTypeDef]:
    """Return the rules of security groups."""
    of_groups = [{"Name": "group-id", "Values": list(groups)}]
    return clients.list_all(ec2, "describe_security_group_rules", Filters=of_groups) if groups else []


def get_source(rule: SecurityGroupRuleTypeDef) -> str:
    """Return the source of an inbound rule: a group's id, an address range or a prefix list's id."""
    group = rule.get("ReferencedGroupInfo", {}).get("GroupId")
    return group or rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId", "")


def covers_port(rule: SecurityGroupRuleTypeDef, port: int) -> bool:
    """Return whether a rule applies to a TCP port."""
    if rule["IpProtocol"] == "-1":
        return True
    return rule["IpProtocol"] == "tcp" and rule["FromPort"] <= port <= rule["ToPort"]


def build_self_rule(group_id: str) -> IpPermissionUnionTypeDef:
    """Return the inbound rule that allows all traffic between the group's members."""
    return {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]}


def has_self_rule(ec2: EC2Client, group_id: str) -> bool:
    """Return whether a group allows all traffic between its members."""
    return any(
        rule["IpProtocol"] == "-1" and pair.get("GroupId") == group_id
        for rule in describe_group(ec2, group_id).get("IpPermissions", [])
        for pair in rule.get("UserIdGroupPairs", [])
    )


def add_self_rule(ec2: EC2Client, group_id: str) -> bool:
    """Add the rule that allows all traffic between a group's members.

    Returns:
        Whether it was added now; False if it existed.
    """
    with clients.ignore_errors("InvalidPermission.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[build_self_rule(group_id)])
        return True
    return False


def remove_self_rule(ec2: EC2Client, group_id: str) -> bool:
    """Remove the rule.

    Returns:
        Whether it was removed now; False if it did not exist.
    """
    if not has_self_rule(ec2, group_id):
        return False
    with clients.ignore_errors("InvalidPermission.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[build_self_rule(group_id)])
    return True
