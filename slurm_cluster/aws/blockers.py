"""Find the resources that block the deletion of a security group or a network, and how to remove each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from slurm_cluster.aws import clients, nodes, security_groups, stack
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef, NetworkInterfaceTypeDef
    from types_boto3_efs import EFSClient
    from types_boto3_efs.type_defs import MountTargetDescriptionTypeDef

DISCONNECT = "invoke disconnect-uqle"


class Blocker(NamedTuple):
    """Something that keeps a resource from being deleted.

    Args:
        what: the kind of resource and its id.
        commands: the commands that remove it, in order.
    """

    what: str
    commands: list[str]


def format_blockers(blockers: Iterable[Blocker]) -> list[str]:
    """Return a line for each blocker, followed by its commands."""
    return [
        line
        for blocker in blockers
        for line in (f"  {blocker.what}:", *(f"    {command}" for command in blocker.commands))
    ]


# --- Security groups ----------------------------------------------------------------------------------------


def refuse_group_blockers(
    cloudformation: CloudFormationClient,
    ec2: EC2Client,
    efs: EFSClient,
    cluster_name: str,
    *,
    with_uqle: bool = True,
) -> None:
    """Check that nothing else uses the cluster's security groups, because its deletion would fail half-way.

    Args:
        cloudformation: a client of CloudFormation.
        ec2: a client of EC2.
        efs: a client of EFS.
        cluster_name: the name of a cluster whose stack exists.
        with_uqle: whether to count the UQLE machine as a blocker.

    Raises:
        ClusterError: something uses them. The message lists it, with the commands that remove it.
    """
    blockers = find_group_blockers(cloudformation, ec2, efs, cluster_name)
    if not with_uqle:
        blockers = [blocker for blocker in blockers if DISCONNECT not in blocker.commands]
    if blockers:
        first = f"Nothing was deleted. AWS cannot delete {cluster_name} while these use its security groups:"
        raise ClusterError(
            "\n".join([first, *format_blockers(blockers), "Remove them, then run this again."])
        )


def find_group_blockers(
    cloudformation: CloudFormationClient, ec2: EC2Client, efs: EFSClient, cluster_name: str
) -> list[Blocker]:
    """Return what uses the security groups of a cluster's stack and is not part of the stack."""
    resources = stack.list_resources(cloudformation, cluster_name)
    has_fsx = any(resource["ResourceType"].startswith("AWS::FSx::") for resource in resources)
    groups = [
        resource["PhysicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::EC2::SecurityGroup"
    ]
    if not groups:
        return []
    own_ids = {resource["PhysicalResourceId"] for resource in resources}
    interfaces = clients.list_all(
        ec2, "describe_network_interfaces", Filters=[{"Name": "group-id", "Values": groups}]
    )
    node_ids = {node["InstanceId"] for node in nodes.list_nodes(ec2, cluster_name)}
    foreign = [
        interface
        for interface in interfaces
        if get_instance_id(interface) not in node_ids
        and not belongs_to(interface, own_ids)
        and not (has_fsx and "fsx" in interface.get("Description", "").lower())
    ]
    targets = find_mount_targets(efs, foreign)
    foreign = [interface for interface in foreign if not is_target_of(targets, interface, own_ids)]
    return [
        *find_interface_blockers(ec2, foreign, targets, cluster_name, groups),
        *find_rule_blockers(ec2, groups),
    ]


def find_rule_blockers(ec2: EC2Client, groups: list[str]) -> Iterator[Blocker]:
    """Yield the rules of other security groups that refer to these. They block the deletion of a group."""
    described = clients.list_all(
        ec2, "describe_security_groups", Filters=[{"Name": "group-id", "Values": groups}]
    )
    in_vpcs = [clients.vpc_filter(*sorted({group["VpcId"] for group in described}))]
    names = {
        group["GroupId"]: group["GroupName"]
        for group in clients.list_all(ec2, "describe_security_groups", Filters=in_vpcs)
        if group["GroupId"] not in groups and set(groups) & set(list_referenced_groups(group))
    }
    for rule in security_groups.list_group_rules(ec2, list(names)):
        referenced = rule.get("ReferencedGroupInfo", {}).get("GroupId")
        if referenced in groups:
            rule_id, group = rule["SecurityGroupRuleId"], rule["GroupId"]
            direction = "egress" if rule["IsEgress"] else "ingress"
            yield Blocker(
                f"the rule {rule_id} of {group} ({names[group]}), which names {referenced}",
                [
                    f"aws ec2 revoke-security-group-{direction} --region {ec2.meta.region_name} "
                    f"--group-id {group} --security-group-rule-ids {rule_id}"
                ],
            )


def list_referenced_groups(group: Any) -> list[str]:
    """Return the ids of the groups that a group's rules refer to."""
    rules = [*group.get("IpPermissions", []), *group.get("IpPermissionsEgress", [])]
    return [pair.get("GroupId", "") for rule in rules for pair in rule.get("UserIdGroupPairs", [])]


# --- Network interfaces -------------------------------------------------------------------------------------


def get_instance_id(interface: NetworkInterfaceTypeDef) -> str:
    """Return the id of the instance that an interface is attached to, or an empty string."""
    return interface.get("Attachment", {}).get("InstanceId", "")


def belongs_to(interface: NetworkInterfaceTypeDef, ids: Collection[str]) -> bool:
    """Return whether an interface is one of these resources, or belongs to one of them.

    The service names its resource in the description: `EFS mount target for fs-1 (fsmt-1)`, `ELB net/a/b`.
    """
    words = {interface["NetworkInterfaceId"], *re.findall(r"[\w/-]{8,}", interface.get("Description", ""))}
    return any(word == identifier or identifier.endswith(f"/{word}") for word in words for identifier in ids)


def find_mount_targets(
    efs: EFSClient, interfaces: list[NetworkInterfaceTypeDef]
) -> dict[str, MountTargetDescriptionTypeDef]:
    """Return the mount targets of EFS that have one of these interfaces, by the interface's id."""
    ids = {interface["NetworkInterfaceId"] for interface in interfaces if not get_instance_id(interface)}
    if not ids:
        return {}
    targets = [
        target
        for file_system in clients.list_all(efs, "describe_file_systems")
        for target in clients.list_all(
            efs, "describe_mount_targets", FileSystemId=file_system["FileSystemId"]
        )
    ]
    return {
        target["NetworkInterfaceId"]: target for target in targets if target.get("NetworkInterfaceId") in ids
    }


def is_target_of(
    targets: dict[str, MountTargetDescriptionTypeDef],
    interface: NetworkInterfaceTypeDef,
    ids: Collection[str],
) -> bool:
    """Return whether an interface belongs to a mount target that is, or whose file system is, in the ids."""
    target = targets.get(interface["NetworkInterfaceId"])
    return target is not None and (target["MountTargetId"] in ids or target["FileSystemId"] in ids)


def find_interface_blockers(
    ec2: EC2Client,
    interfaces: list[NetworkInterfaceTypeDef],
    targets: dict[str, MountTargetDescriptionTypeDef],
    cluster_name: str,
    groups: Collection[str] = (),
) -> list[Blocker]:
    """Return the owners of network interfaces: instances, mount targets, endpoints and others.

    Args:
        ec2: a client of EC2.
        interfaces: the interfaces.
        targets: the mount targets among them, by the interface's id.
        cluster_name: the cluster; its UQLE machine has a task that terminates it.
        groups: if only these groups have to be freed, an interface with further groups may stay.
    """
    ids = sorted({get_instance_id(interface) for interface in interfaces} - {""})
    by_id: FilterTypeDef = {"Name": "instance-id", "Values": ids}
    instances = {found["InstanceId"]: found for found in clients.list_instances(ec2, by_id)} if ids else {}
    blockers = []
    for interface in interfaces:
        target, instance_id = targets.get(interface["NetworkInterfaceId"]), get_instance_id(interface)
        if target:
            blockers.append(describe_target(target, ec2.meta.region_name))
        elif clients.get_tag(instances.get(instance_id, {}), clients.TAG) == cluster_name:
            blockers.append(Blocker(f"the UQLE machine {instance_id}", [DISCONNECT]))
        else:
            name = clients.get_tag(instances.get(instance_id, {}), "Name")
            blockers.append(describe_interface(interface, name, groups, ec2.meta.region_name))
    return list({blocker.what: blocker for blocker in blockers}.values())


def describe_target(target: MountTargetDescriptionTypeDef, region: str) -> Blocker:
    """Return a mount target with the command that deletes it."""
    target_id = target["MountTargetId"]
    command = f"aws efs delete-mount-target --region {region} --mount-target-id {target_id}"
    return Blocker(f"the mount target {target_id} of the file system {target['FileSystemId']}", [command])


def describe_interface(
    interface: NetworkInterfaceTypeDef, name: str, groups: Collection[str], region: str
) -> Blocker:
    """Return the owner of an interface, with the command that removes it.

    Args:
        interface: the interface.
        name: the name of the instance that it is attached to.
        groups: the security groups to free; empty to delete the interface.
        region: the region.
    """
    interface_id, description = interface["NetworkInterfaceId"], interface.get("Description", "")
    instance_id, for_region = get_instance_id(interface), f"--region {region}"
    others = [group["GroupId"] for group in interface.get("Groups", []) if group["GroupId"] not in groups]
    leave = (
        f"aws ec2 modify-network-interface-attribute {for_region} "
        f"--network-interface-id {interface_id} --groups {' '.join(others)}"
    )
    endpoint = re.search(r"vpce-[0-9a-f]+", description)
    if instance_id:
        what = f"the instance {instance_id} ({name or 'without a name'})"
        remove = f"aws ec2 terminate-instances {for_region} --instance-ids {instance_id}"
    elif endpoint:
        command = f"aws ec2 delete-vpc-endpoints {for_region} --vpc-endpoint-ids {endpoint[0]}"
        return Blocker(f"the VPC endpoint {endpoint[0]}", [command])
    else:
        what = f"the network interface {interface_id} ({description or 'without a description'})"
        if interface.get("RequesterManaged"):
            return Blocker(what, ["delete it in the service that created it"])
        remove = f"aws ec2 delete-network-interface {for_region} --network-interface-id {interface_id}"
    return Blocker(what, [leave if groups and others else remove])


# --- Networks -----------------------------------------------------------------------------------------------


def find_network_blockers(
    ec2: EC2Client,
    cloudformation: CloudFormationClient,
    efs: EFSClient,
    vpc_id: str,
    own_subnets: Collection[str],
    cluster_name: str,
) -> list[Blocker]:
    """Return what the wizard did not create in a VPC, in the order in which to remove it.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        efs: a client of EFS.
        vpc_id: the VPC's id.
        own_subnets: the ids of the subnets that the wizard created.
        cluster_name: the name of the cluster that the network was created for.
    """
    region, in_vpc = ec2.meta.region_name, [clients.vpc_filter(vpc_id)]
    gateways = clients.list_all(ec2, "describe_nat_gateways", Filters=in_vpc)
    of_gateways = {
        address.get("NetworkInterfaceId")
        for gateway in gateways
        for address in gateway["NatGatewayAddresses"]
    }
    interfaces = [
        interface
        for interface in clients.list_all(ec2, "describe_network_interfaces", Filters=in_vpc)
        if interface["NetworkInterfaceId"] not in of_gateways
    ]
    groups = [
        group
        for group in clients.list_all(ec2, "describe_security_groups", Filters=in_vpc)
        if group["GroupName"] != "default"  # which is deleted with its VPC, and not before
    ]
    subnets = [
        subnet["SubnetId"]
        for subnet in clients.list_all(ec2, "describe_subnets", Filters=in_vpc)
        if subnet["SubnetId"] not in own_subnets
    ]
    if not interfaces and not groups and not subnets:
        return []
    targets, blockers = find_mount_targets(efs, interfaces), []
    for name in stack.list_clusters(cloudformation):
        ids = {resource["PhysicalResourceId"] for resource in stack.list_resources(cloudformation, name)}
        ids |= {node["InstanceId"] for node in nodes.list_nodes(ec2, name)}
        own = [
            interface
            for interface in interfaces
            if get_instance_id(interface) in ids
            or is_target_of(targets, interface, ids)
            or belongs_to(interface, ids)
        ]
        own_groups = [group for group in groups if group["GroupId"] in ids]
        if own or own_groups:
            blockers.append(
                Blocker(f"the cluster {name}", [f"INVOKE_CLUSTER_NAME={name} invoke delete-cluster"])
            )
            interfaces = [interface for interface in interfaces if interface not in own]
            groups = [group for group in groups if group not in own_groups]
    blockers += describe_file_systems(efs, targets, interfaces, region)
    others = [interface for interface in interfaces if interface["NetworkInterfaceId"] not in targets]
    blockers += find_interface_blockers(ec2, others, {}, cluster_name)
    blockers += [
        Blocker(
            f"the security group {group['GroupId']} ({group['GroupName']})",
            [f"aws ec2 delete-security-group --region {region} --group-id {group['GroupId']}"],
        )
        for group in groups
    ]
    return blockers + [
        Blocker(f"the subnet {subnet}", [f"aws ec2 delete-subnet --region {region} --subnet-id {subnet}"])
        for subnet in subnets
    ]


def describe_file_systems(
    efs: EFSClient,
    targets: dict[str, MountTargetDescriptionTypeDef],
    interfaces: list[NetworkInterfaceTypeDef],
    region: str,
) -> list[Blocker]:
    """Return the file systems that have these interfaces, with the commands that delete their mount targets.

    Args:
        efs: a client of EFS.
        targets: the mount targets by the id of their interface.
        interfaces: the interfaces; mount targets of other interfaces are ignored.
        region: the region.
    """
    found: dict[str, list[str]] = {}
    for interface in interfaces:
        target = targets.get(interface["NetworkInterfaceId"])
        if target:
            found.setdefault(target["FileSystemId"], []).extend(describe_target(target, region).commands)
    blockers = []
    for file_system_id, commands in found.items():
        [file_system] = clients.list_all(efs, "describe_file_systems", FileSystemId=file_system_id)
        cluster = clients.get_tag(file_system, clients.PCLUSTER_TAG)
        origin = f"kept when the cluster {cluster} was deleted" if cluster else "which no cluster created"
        blockers.append(Blocker(f"the file system {file_system_id}, {origin}", commands))
    return blockers
