"""The state of a cluster and its network in AWS, as `invoke status` and `invoke picture` show it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients, network, security_groups, stack, uqle_instance

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import (
        FilterTypeDef,
        InstanceTypeDef,
        NatGatewayTypeDef,
        SecurityGroupRuleTypeDef,
        SubnetTypeDef,
        VpcTypeDef,
    )
    from types_boto3_efs import EFSClient
    from types_boto3_efs.type_defs import FileSystemDescriptionTypeDef

    from slurm_cluster.project import Project


class MountTarget(NamedTuple):
    """A mount target of the shared file system.

    Args:
        id: its id.
        address: its private IPv4 address.
        zone: the name of its Availability Zone.
        state: its lifecycle state, such as `available`.
        groups: the ids of its security groups.
    """

    id: str
    address: str
    zone: str
    state: str
    groups: list[str]


class ClusterState(NamedTuple):
    """What exists of a cluster. A value is empty, or None, if AWS has no such thing.

    Args:
        status: the status of the cluster's stack.
        vpc: the VPC of the cluster, or the one that it will use.
        has_own_network: whether the VPC was created for this cluster.
        network_stacks: the statuses of the wizard's stacks in the cluster's own VPC, by name.
        subnets: the subnets of the VPC.
        nat_gateways: the NAT gateways of the VPC, without deleted ones.
        head_node_group: the id of the head node's security group.
        compute_group: the id of the compute nodes' security group.
        group_names: the name of each security group in the VPC, by its id.
        rules: the rules of all security groups in the VPC.
        head_node: the instance of the head node.
        compute_nodes: the other instances of the cluster.
        uqle_instance: the UQLE machine.
        has_elastic_ip: whether the UQLE machine's public address is an Elastic IP.
        user_data: the UQLE machine's user data.
        file_system: the shared file system.
        mount_targets: the mount targets of the file system.
    """

    status: str
    vpc: VpcTypeDef
    has_own_network: bool
    network_stacks: dict[str, str]
    subnets: list[SubnetTypeDef]
    nat_gateways: list[NatGatewayTypeDef]
    head_node_group: str
    compute_group: str
    group_names: dict[str, str]
    rules: list[SecurityGroupRuleTypeDef]
    head_node: InstanceTypeDef
    compute_nodes: list[InstanceTypeDef]
    uqle_instance: InstanceTypeDef
    has_elastic_ip: bool
    user_data: str
    file_system: FileSystemDescriptionTypeDef | None
    mount_targets: list[MountTarget]


def load_state(p: Project) -> ClusterState:
    """Read the state of the project's cluster from AWS."""
    ec2, cloudformation, efs = p.ec2, p.cloudformation, p.efs
    cluster_stack, head_node_group, compute_group, nodes, uqle, own_network, configured_vpc = (
        clients.run_concurrently(
            lambda: stack.find_stack(cloudformation, p.cluster) or {},
            lambda: stack.find_resource_id(cloudformation, p.cluster, "HeadNodeSecurityGroup") or "",
            lambda: stack.find_resource_id(cloudformation, p.cluster, "ComputeSecurityGroup") or "",
            lambda: security_groups.list_cluster_instances(ec2, p.cluster),
            lambda: uqle_instance.find_instance(ec2, p.cluster) or {},
            lambda: network.find_network(ec2, cloudformation, p.cluster, p.wizard_subnet),
            lambda: network.find_vpc_of_subnet(ec2, p.public_subnet) if p.public_subnet else None,
        )
    )
    live_nodes = [node for node in nodes if node["State"]["Name"] in uqle_instance.LIVE_STATES]
    head_nodes = [node for node in live_nodes if get_tag(node, "parallelcluster:node-type") == "HeadNode"]
    head_node: InstanceTypeDef = head_nodes[0] if head_nodes else {}
    outputs = {output["OutputKey"]: output["OutputValue"] for output in cluster_stack.get("Outputs", [])}
    own_vpc_id = own_network.vpc if own_network else ""
    vpc_id = head_node.get("VpcId") or own_vpc_id or (configured_vpc or {}).get("VpcId", "")
    in_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}]
    of_uqle: list[FilterTypeDef] = [{"Name": "instance-id", "Values": [uqle.get("InstanceId", "")]}]
    vpcs, subnets, gateways, groups, elastic_ips, user_data, (file_system, mount_targets) = (
        clients.run_concurrently(
            lambda: clients.list_all(ec2, "describe_vpcs", Filters=in_vpc),
            lambda: clients.list_all(ec2, "describe_subnets", Filters=in_vpc),
            lambda: clients.list_all(ec2, "describe_nat_gateways", Filters=in_vpc),
            lambda: clients.list_all(ec2, "describe_security_groups", Filters=in_vpc),
            lambda: ec2.describe_addresses(Filters=of_uqle)["Addresses"],
            lambda: read_user_data(ec2, uqle["InstanceId"]) if uqle else "",
            lambda: load_file_system(efs, outputs.get("EFSIds", "").split(",")[0]),
        )
    )
    group_names = {group["GroupId"]: group["GroupName"] for group in groups}
    of_groups = [{"Name": "group-id", "Values": list(group_names)}]
    rules = clients.list_all(ec2, "describe_security_group_rules", Filters=of_groups) if groups else []
    return ClusterState(
        status=cluster_stack.get("StackStatus", ""),
        vpc=vpcs[0] if vpcs else {},
        has_own_network=bool(own_vpc_id) and own_vpc_id == vpc_id,
        network_stacks=own_network.stacks if own_network and own_vpc_id == vpc_id else {},
        subnets=subnets,
        nat_gateways=[gateway for gateway in gateways if gateway["State"] != "deleted"],
        head_node_group=head_node_group,
        compute_group=compute_group,
        group_names=group_names,
        rules=rules,
        head_node=head_node,
        compute_nodes=[node for node in live_nodes if node is not head_node],
        uqle_instance=uqle,
        has_elastic_ip=bool(elastic_ips),
        user_data=user_data,
        file_system=file_system,
        mount_targets=mount_targets,
    )


def load_file_system(
    efs: EFSClient, file_system_id: str
) -> tuple[FileSystemDescriptionTypeDef | None, list[MountTarget]]:
    """Return a file system and its mount targets; (None, []) if it does not exist."""
    if not file_system_id:
        return None, []
    try:
        [file_system] = clients.list_all(efs, "describe_file_systems", FileSystemId=file_system_id)
        targets = clients.list_all(efs, "describe_mount_targets", FileSystemId=file_system_id)
    except ClientError as error:
        if clients.error_code(error) != "FileSystemNotFound":
            raise
        return None, []
    return file_system, [
        MountTarget(
            id=target["MountTargetId"],
            address=target.get("IpAddress", ""),
            zone=target["AvailabilityZoneName"],
            state=target["LifeCycleState"],
            groups=efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])[
                "SecurityGroups"
            ],
        )
        for target in targets
    ]


def read_user_data(ec2: EC2Client, instance_id: str) -> str:
    """Return the decoded user data of an instance."""
    attribute = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]
    return base64.b64decode(attribute.get("Value", "")).decode(errors="replace")


def get_tag(resource: Mapping[str, Any], key: str = "Name") -> str:
    """Return a tag's value; empty if the resource does not have the tag."""
    return next((tag["Value"] for tag in resource.get("Tags", []) if tag["Key"] == key), "")


def get_group_ids(instance: InstanceTypeDef) -> list[str]:
    """Return the sorted ids of an instance's security groups."""
    return sorted(group["GroupId"] for group in instance.get("SecurityGroups", []))


def find_mount_target(s: ClusterState, instance: InstanceTypeDef) -> MountTarget | None:
    """Return the mount target that the file system's DNS name resolves to in an instance's zone."""
    zone = instance.get("Placement", {}).get("AvailabilityZone")
    return next((target for target in s.mount_targets if target.zone == zone), None)


def find_subnet(s: ClusterState, instance: InstanceTypeDef) -> SubnetTypeDef:
    """Return the subnet of an instance; empty if there is none."""
    subnets = [subnet for subnet in s.subnets if subnet["SubnetId"] == instance.get("SubnetId")]
    return subnets[0] if subnets else {}
