"""The state of a cluster and its network in AWS, as `invoke status` and `invoke picture` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import (
    clients,
    group_members,
    network,
    nodes,
    security_groups,
    stack,
    uqle_instance,
)
from slurm_cluster.aws.file_system import MountTarget
from slurm_cluster.config import cluster_config
from slurm_cluster.errors import ClusterError
from slurm_cluster.state import storage
from slurm_cluster.state.storage import Storage

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2.type_defs import (
        FilterTypeDef,
        InstanceTypeDef,
        NatGatewayTypeDef,
        SecurityGroupRuleTypeDef,
        SubnetTypeDef,
        VpcTypeDef,
    )
    from types_boto3_efs.type_defs import FileSystemDescriptionTypeDef
    from types_boto3_s3 import S3Client

    from slurm_cluster.config.cluster_config import ClusterConfig
    from slurm_cluster.project import Project


class ClusterState(NamedTuple):
    """The resources of a cluster in AWS. A value is empty or None if the resource does not exist.

    Args:
        status: the status of the cluster's stack.
        vpc: the VPC of the cluster, or the one that it will use.
        has_own_network: whether the VPC was created for this cluster.
        network_stacks: the statuses of the wizard's stacks in the cluster's own VPC, by name.
        subnets: the subnets of the VPC.
        nat_gateways: the NAT gateways of the VPC, without deleted ones.
        head_node_group: the id of the security group that pcluster created for the head node.
        own_security_groups: the ids of the head node's groups, if the configuration names them instead.
        compute_groups: the ids of the compute nodes' security groups.
        group_names: the name of each security group in the VPC, by its id.
        rules: the rules of all security groups in the VPC.
        head_node: the instance of the head node, unless it is terminated.
        head_node_id: the id of the head node, terminated or not.
        login_nodes: the instances of its login pools.
        compute_nodes: the other instances of the cluster.
        uqle_instances: the instances with the cluster's tag. More than one is a mistake.
        other_members: other instances in the head node's group.
        has_elastic_ip: whether the UQLE machine's public address is an Elastic IP.
        user_data: the UQLE machine's user data.
        storage: the shared storage of the cluster.
        storage_fault: why the storage cannot be read; empty if it was read.
        shared: the storage at the shared directory.
        mount_obstacle: why a UQLE machine cannot mount it; empty if it can.
        file_system: the EFS file system at the shared directory.
        mount_targets: the mount targets of the file system.
    """

    status: str
    vpc: VpcTypeDef
    has_own_network: bool
    network_stacks: dict[str, str]
    subnets: list[SubnetTypeDef]
    nat_gateways: list[NatGatewayTypeDef]
    head_node_group: str
    own_security_groups: list[str]
    compute_groups: list[str]
    group_names: dict[str, str]
    rules: list[SecurityGroupRuleTypeDef]
    head_node: InstanceTypeDef
    head_node_id: str
    login_nodes: list[InstanceTypeDef]
    compute_nodes: list[InstanceTypeDef]
    uqle_instances: list[InstanceTypeDef]
    other_members: list[InstanceTypeDef]
    has_elastic_ip: bool
    user_data: str
    storage: list[Storage]
    storage_fault: str
    shared: Storage | None
    mount_obstacle: str
    file_system: FileSystemDescriptionTypeDef | None
    mount_targets: list[MountTarget]

    @property
    def uqle_instance(self) -> InstanceTypeDef:
        """The UQLE machine; empty if there is none."""
        return self.uqle_instances[0] if self.uqle_instances else {}


def load_state(p: Project) -> ClusterState:
    """Read the state of the project's cluster from AWS."""
    cluster, head_node_group, compute_group, cluster_nodes, uqle_instances, own_network = (
        clients.run_concurrently(
            lambda: stack.find_stack(p.cloudformation, p.cluster_name) or {},
            lambda: security_groups.find_head_node_group_id(p.cloudformation, p.cluster_name) or "",
            lambda: stack.find_resource_id(p.cloudformation, p.cluster_name, "ComputeSecurityGroup") or "",
            lambda: nodes.list_nodes(p.ec2, p.cluster_name),
            lambda: uqle_instance.list_live_instances(p.ec2, p.cluster_name),
            lambda: network.find_network(p.ec2, p.cloudformation, p.cluster_name, p.wizard_subnet),
        )
    )
    uqle: InstanceTypeDef = uqle_instances[0] if uqle_instances else {}
    live_nodes = [node for node in cluster_nodes if node["State"]["Name"] in clients.LIVE_STATES]
    head_nodes = [node for node in live_nodes if nodes.is_head_node(node)]
    login_nodes = [node for node in live_nodes if nodes.is_login_node(node)]
    head_node: InstanceTypeDef = head_nodes[0] if head_nodes else {}
    own_vpc_id = own_network.vpc_id if own_network else ""
    vpc_id = head_node.get("VpcId") or own_vpc_id
    if not vpc_id and p.public_subnet:
        vpc_id = (network.find_vpc_of_subnet(p.ec2, p.public_subnet) or {}).get("VpcId", "")
    in_vpc = [clients.vpc_filter(vpc_id)]
    of_uqle: list[FilterTypeDef] = [{"Name": "instance-id", "Values": [uqle.get("InstanceId", "")]}]
    (
        vpcs,
        subnets,
        gateways,
        groups,
        other_members,
        elastic_ips,
        user_data,
        (config, storage_fault),
        file_systems,
    ) = clients.run_concurrently(
        lambda: clients.list_all(p.ec2, "describe_vpcs", Filters=in_vpc),
        lambda: clients.list_all(p.ec2, "describe_subnets", Filters=in_vpc),
        lambda: clients.list_all(p.ec2, "describe_nat_gateways", Filters=in_vpc),
        lambda: clients.list_all(p.ec2, "describe_security_groups", Filters=in_vpc),
        lambda: (
            group_members.list_other_members(p.ec2, p.cluster_name, head_node_group)
            if head_node_group
            else []
        ),
        lambda: p.ec2.describe_addresses(Filters=of_uqle)["Addresses"],
        lambda: uqle_instance.read_user_data(p.ec2, uqle["InstanceId"]) if uqle else "",
        lambda: load_config_or_error(p.s3, cluster),
        lambda: storage.load_file_systems(p.efs, cluster),
    )
    group_names = {group["GroupId"]: group["GroupName"] for group in groups}
    rules = security_groups.list_group_rules(p.ec2, list(group_names))
    storages = storage.list_storage(config, cluster)
    shared = storage.find_shared(storages, p.shared_dir)
    file_system = storage.find_file_system(p.efs, shared, file_systems)
    subnet = next((subnet for subnet in subnets if subnet["SubnetId"] == head_node.get("SubnetId")), None)
    mount_obstacle = ""
    if head_node_group and not storage_fault:
        mount_obstacle = storage.explain_mount_obstacle(
            p, shared, file_system, rules, subnet, head_node_group
        )
    return ClusterState(
        status=cluster.get("StackStatus", ""),
        vpc=vpcs[0] if vpcs else {},
        has_own_network=bool(own_vpc_id) and own_vpc_id == vpc_id,
        network_stacks=own_network.stacks if own_network and own_vpc_id == vpc_id else {},
        subnets=subnets,
        nat_gateways=[gateway for gateway in gateways if gateway["State"] != "deleted"],
        head_node_group=head_node_group,
        own_security_groups=config.head_node.own_security_groups,
        compute_groups=list_compute_groups(compute_group, config),
        group_names=group_names,
        rules=rules,
        head_node=head_node,
        head_node_id=stack.find_output(cluster, "HeadNodeInstanceID"),
        login_nodes=login_nodes,
        compute_nodes=[node for node in live_nodes if node is not head_node and node not in login_nodes],
        uqle_instances=uqle_instances,
        other_members=other_members,
        has_elastic_ip=bool(elastic_ips),
        user_data=user_data,
        storage=storages,
        storage_fault=storage_fault,
        shared=shared,
        mount_obstacle=mount_obstacle,
        file_system=file_system.description if file_system else None,
        mount_targets=file_system.targets if file_system else [],
    )


def load_config_or_error(s3: S3Client, cluster: StackTypeDef) -> tuple[ClusterConfig, str]:
    """Return a running cluster's configuration and "", or an empty configuration and the error."""
    if cluster:
        try:
            return storage.load_config(s3, cluster), ""
        except ClusterError as error:
            return cluster_config.parse(None), str(error)
    return cluster_config.parse(None), ""


def list_compute_groups(created: str, config: ClusterConfig) -> list[str]:
    """Return the security groups of all compute nodes: pcluster's, the user's own, and additional ones."""
    groups = [
        group
        for queue in config.queues
        for group in (*queue.own_security_groups, *queue.additional_security_groups)
    ]
    return [group for group in dict.fromkeys([created, *groups]) if group]


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
