"""EFS file systems: their mount targets, and whether plain NFS can mount them."""

from __future__ import annotations

import functools
import ipaddress
import json
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients
from slurm_cluster.aws.security_groups import covers_port, get_source

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import SecurityGroupRuleTypeDef, SubnetTypeDef
    from types_boto3_efs import EFSClient
    from types_boto3_efs.type_defs import FileSystemDescriptionTypeDef

NFS = 2049
MOUNT_ACTION = "elasticfilesystem:ClientMount"
# The condition keys of a client that mounts with plain NFS, that is without TLS and without IAM.
# https://docs.aws.amazon.com/efs/latest/ug/iam-access-control-nfs-efs.html
NFS_CONTEXT = {"aws:securetransport": "false", "elasticfilesystem:accessedviamounttarget": "true"}


class MountTarget(NamedTuple):
    """A mount target of a file system.

    Args:
        id: its id.
        address: its private IPv4 address.
        zone: the name of its Availability Zone.
        state: its lifecycle state, such as `available`.
        groups: the ids of its security groups.
        vpc: the id of its VPC.
    """

    id: str
    address: str
    zone: str
    state: str
    groups: list[str]
    vpc: str


class FileSystem(NamedTuple):
    """A file system.

    Args:
        description: as EFS describes it.
        targets: its mount targets.
        policy: its policy; empty if it has none.
    """

    description: FileSystemDescriptionTypeDef
    targets: list[MountTarget]
    policy: dict[str, Any]

    @property
    def groups(self) -> list[str]:
        """The ids of the security groups of all mount targets."""
        return sorted({group for target in self.targets for group in target.groups})


def load_file_system(efs: EFSClient, file_system_id: str) -> FileSystem | None:
    """Return a file system; None if it does not exist."""
    found = clients.find_or_none(
        lambda: clients.run_concurrently(
            lambda: clients.list_all(efs, "describe_file_systems", FileSystemId=file_system_id),
            lambda: list_mount_targets(efs, file_system_id),
            lambda: read_policy(efs, file_system_id),
        ),
        "FileSystemNotFound",
    )
    if found is None:
        return None
    [description], targets, policy = found
    return FileSystem(description, targets, policy)


def format_gib(description: FileSystemDescriptionTypeDef) -> str:
    """Return the size of a file system in GiB."""
    return f"{description['SizeInBytes']['Value'] / 2**30:.1f} GiB"


def list_mount_targets(efs: EFSClient, file_system_id: str) -> list[MountTarget]:
    """Return the mount targets of a file system."""
    described = clients.list_all(efs, "describe_mount_targets", FileSystemId=file_system_id)
    calls = [functools.partial(list_target_groups, efs, target["MountTargetId"]) for target in described]
    return [
        MountTarget(
            id=target["MountTargetId"],
            address=target.get("IpAddress", ""),
            zone=target["AvailabilityZoneName"],
            state=target["LifeCycleState"],
            groups=groups,
            vpc=target.get("VpcId", ""),
        )
        for target, groups in zip(described, clients.run_concurrently(*calls), strict=True)
    ]


def list_target_groups(efs: EFSClient, mount_target_id: str) -> list[str]:
    """Return the ids of the security groups of a mount target."""
    return efs.describe_mount_target_security_groups(MountTargetId=mount_target_id)["SecurityGroups"]


def explain_nfs_obstacle(
    file_system: FileSystem, rules: list[SecurityGroupRuleTypeDef], subnet: SubnetTypeDef, group_id: str
) -> str:
    """Return why an instance cannot mount a file system with plain NFS, and a hint; empty if it can.

    Args:
        file_system: the file system.
        rules: the rules of the mount targets' security groups; other rules are ignored.
        subnet: the subnet of the instance.
        group_id: the id of its security group; empty if the group does not exist yet.
    """
    file_system_id = file_system.description["FileSystemId"]
    if not admits_plain_nfs(file_system.policy):
        return (
            f"The policy of {file_system_id} requires TLS or an IAM identity. "
            "The UQLE machine mounts with plain NFS, which has neither. "
            f"Change the policy so that it allows {MOUNT_ACTION} to everyone, without TLS."
        )
    zone, vpc = subnet["AvailabilityZone"], subnet["VpcId"]
    near = [target for target in file_system.targets if target.zone == zone and target.vpc in ("", vpc)]
    if not near:
        return (
            f"{file_system_id} has no mount target in {zone} of {vpc}. "
            f"Create one in a subnet of that zone, and allow port {NFS} in its security group."
        )
    groups = near[0].groups
    inbound = [rule for rule in rules if rule["GroupId"] in groups]
    if group_id in groups or any(is_source(rule, group_id, subnet["CidrBlock"]) for rule in inbound):
        return ""
    return (
        f"The mount target {near[0].id} of {file_system_id} does not allow NFS from "
        f"{group_id or 'the group_id of the head node'}. "
        f"Add an inbound rule for port {NFS} from {subnet['CidrBlock']} to {', '.join(groups)}."
    )


def is_source(rule: SecurityGroupRuleTypeDef, group_id: str, block: str) -> bool:
    """Return whether a rule allows NFS from a group, or from a whole block of addresses.

    A prefix list always counts as a source, because its entries are not read.
    """
    if rule["IsEgress"] or not covers_port(rule, NFS):
        return False
    if "PrefixListId" in rule:
        return True
    if "CidrIpv4" in rule:
        allowed = ipaddress.IPv4Network(rule["CidrIpv4"], strict=False)
        return ipaddress.IPv4Network(block).subnet_of(allowed)
    return bool(group_id) and get_source(rule) == group_id


# --- The policy ---------------------------------------------------------------------------------------------


def read_policy(efs: EFSClient, file_system_id: str) -> dict[str, Any]:
    """Return the policy of a file system; empty if it has none."""
    try:
        policy = efs.describe_file_system_policy(FileSystemId=file_system_id)["Policy"]
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:  # PolicyNotFound
            raise
        return {}
    parsed = json.loads(policy)
    return parsed if isinstance(parsed, dict) else {}


def admits_plain_nfs(policy: dict[str, Any]) -> bool:
    """Return whether a policy lets a client mount without TLS and without an identity.

    Without a policy, everyone may mount. A condition that cannot be evaluated here counts as met in an Allow,
    and as not met in a Deny.
    """
    statements = policy.get("Statement", [])
    statements = [statements] if isinstance(statements, dict) else statements
    matching = [statement for statement in statements if is_about_mounts(statement)]
    denied = any(
        statement.get("Effect") == "Deny" and meets_conditions(statement, unknown=False)
        for statement in matching
    )
    allowed = not statements or any(
        statement.get("Effect") == "Allow" and meets_conditions(statement, unknown=True)
        for statement in matching
    )
    return allowed and not denied


def is_about_mounts(statement: dict[str, Any]) -> bool:
    """Return whether a statement applies to everyone who mounts."""
    principal, actions = statement.get("Principal"), to_list(statement.get("Action", []))
    principals = to_list(principal.get("AWS", []) if isinstance(principal, dict) else principal)
    return "*" in principals and any(fnmatchcase(MOUNT_ACTION, action) for action in actions)


def meets_conditions(statement: dict[str, Any], unknown: bool) -> bool:
    """Return whether a plain NFS client meets all conditions of a statement.

    Args:
        statement: the statement.
        unknown: the result for a condition that is not known here.
    """
    conditions = statement.get("Condition", {})
    return all(
        meets_condition(key, to_list(values), unknown)
        for operands in conditions.values()
        for key, values in operands.items()
    )


def meets_condition(key: str, values: Collection[Any], unknown: bool) -> bool:
    """Return whether a plain NFS client meets one condition."""
    actual = NFS_CONTEXT.get(key.lower())
    return unknown if actual is None else actual in [str(value).lower() for value in values]


def to_list(value: Any) -> list[Any]:
    """Return a policy value as a list. Policies may hold a single value instead of a list."""
    return value if isinstance(value, list) else [value]
