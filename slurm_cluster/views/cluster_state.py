"""What stands of a cluster, as AWS answers: `status` and `picture` are two views of it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients, network, security_groups, stack, uqle_instance

if TYPE_CHECKING:
    from slurm_cluster.project import Project


class ClusterState(NamedTuple):
    """What AWS answers, as it answers it; what is not there is empty.

    Args:
        status: of the cluster's stack.
        vpc: the network that the cluster is in, or is to be in.
        own_network: whether it was made for the cluster.
        subnets: of the network.
        nat_gateways: of the network.
        group: the id of the head node's security group.
        compute_group: the id of the compute nodes'.
        group_names: the names of all groups of the network, by id.
        rules: of all groups of the network.
        head: the head node.
        compute: the other nodes of the cluster.
        uqle: the UQLE instance.
        elastic: whether its public address is an Elastic IP.
        user_data: the script of its first boot.
        file_system: the shared one.
        targets: the file system's mount targets, each with its `Groups`.
    """

    status: str
    vpc: dict[str, Any]
    own_network: bool
    subnets: list[dict[str, Any]]
    nat_gateways: list[dict[str, Any]]
    group: str
    compute_group: str
    group_names: dict[str, str]
    rules: list[dict[str, Any]]
    head: dict[str, Any]
    compute: list[dict[str, Any]]
    uqle: dict[str, Any]
    elastic: bool
    user_data: str
    file_system: dict[str, Any]
    targets: list[dict[str, Any]]


def load_state(p: Project) -> ClusterState:
    """Ask AWS what stands."""
    ec2, cloudformation, efs = p.ec2, p.cloudformation, p.efs
    found, group, compute_group, nodes, uqle, own, named = clients.run_concurrently(
        lambda: stack.find_stack(cloudformation, p.cluster) or {},
        lambda: stack.find_resource_id(cloudformation, p.cluster, "HeadNodeSecurityGroup") or "",
        lambda: stack.find_resource_id(cloudformation, p.cluster, "ComputeSecurityGroup") or "",
        lambda: security_groups.list_cluster_instances(ec2, p.cluster),
        lambda: uqle_instance.find_instance(ec2, p.cluster) or {},
        lambda: network.find_network(ec2, cloudformation, p.cluster, p.wizard_subnet),
        lambda: network.find_vpc_of_subnet(ec2, p.public_subnet) if p.public_subnet else None,
    )
    living = [node for node in nodes if node["State"]["Name"] in uqle_instance.LIVE_STATES]
    head: dict[str, Any] = next(
        (node for node in living if get_tag(node, "parallelcluster:node-type") == "HeadNode"), {}
    )
    identifier = next(
        (each["OutputValue"] for each in found.get("Outputs", []) if each["OutputKey"] == "EFSIds"), ""
    )
    vpc = head.get("VpcId") or (own.vpc if own else named["VpcId"] if named else "")
    in_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    of_uqle = [{"Name": "instance-id", "Values": [uqle.get("InstanceId", "")]}]
    vpcs, subnets, gateways, groups, addresses, script, (file_system, targets) = clients.run_concurrently(
        lambda: clients.list_all(ec2, "describe_vpcs", Filters=in_vpc),
        lambda: clients.list_all(ec2, "describe_subnets", Filters=in_vpc),
        lambda: clients.list_all(ec2, "describe_nat_gateways", Filters=in_vpc),
        lambda: clients.list_all(ec2, "describe_security_groups", Filters=in_vpc),
        lambda: ec2.describe_addresses(Filters=of_uqle)["Addresses"],
        lambda: read_user_data(ec2, uqle["InstanceId"]) if uqle else "",
        lambda: find_file_system(efs, identifier.split(",")[0]),
    )
    names = {each["GroupId"]: each["GroupName"] for each in groups}
    of_groups = [{"Name": "group-id", "Values": list(names)}]
    return ClusterState(
        status=found.get("StackStatus", ""),
        vpc=next(iter(vpcs), {}),
        own_network=bool(own and own.vpc == vpc),
        subnets=subnets,
        nat_gateways=[gateway for gateway in gateways if gateway["State"] != "deleted"],
        group=group,
        compute_group=compute_group,
        group_names=names,
        rules=clients.list_all(ec2, "describe_security_group_rules", Filters=of_groups) if names else [],
        head=head,
        compute=[node for node in living if node is not head],
        uqle=uqle,
        elastic=bool(addresses),
        user_data=script,
        file_system=file_system,
        targets=targets,
    )


def find_file_system(efs: Any, identifier: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give the file system and its mount targets, each with its groups; nothing where there is none."""
    if not identifier:
        return {}, []
    try:
        [found] = clients.list_all(efs, "describe_file_systems", FileSystemId=identifier)
        targets = clients.list_all(efs, "describe_mount_targets", FileSystemId=identifier)
    except ClientError as error:
        if clients.error_code(error) != "FileSystemNotFound":
            raise
        return {}, []
    groups = [
        efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"]) for target in targets
    ]
    return found, [
        {**target, "Groups": each["SecurityGroups"]} for target, each in zip(targets, groups, strict=True)
    ]


def read_user_data(ec2: Any, instance: str) -> str:
    """Give the script that an instance runs at its first boot."""
    encoded = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"].get(
        "Value", ""
    )
    return base64.b64decode(encoded).decode(errors="replace")


def get_tag(thing: dict[str, Any], key: str = "Name") -> str:
    """Give a tag of anything that has tags, or nothing."""
    return next((each["Value"] for each in thing.get("Tags", []) if each["Key"] == key), "")


def get_group_ids(instance: dict[str, Any]) -> list[str]:
    """Give the ids of the groups that an instance is a member of."""
    return sorted(group["GroupId"] for group in instance.get("SecurityGroups", []))


def find_mount_target(s: ClusterState, instance: dict[str, Any]) -> dict[str, Any]:
    """Give the mount target of an instance's zone, for which alone the file system's name resolves there; or nothing."""
    zone = instance.get("Placement", {}).get("AvailabilityZone")
    return next((target for target in s.targets if target["AvailabilityZoneName"] == zone), {})


def find_subnet(s: ClusterState, instance: dict[str, Any]) -> dict[str, Any]:
    """Give the subnet of an instance, or nothing."""
    return next((subnet for subnet in s.subnets if subnet["SubnetId"] == instance.get("SubnetId")), {})
