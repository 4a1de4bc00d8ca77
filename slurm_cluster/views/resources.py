"""The rows of `invoke status`: each resource that the steps create, existing or missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import (
    clients,
    file_system,
    fleet,
    group_members,
    jwt_secret,
    key_pair,
    nodes,
    retained,
    script_bucket,
    security_groups,
    stack_status,
    uqle_instance,
)
from slurm_cluster.state import cluster_state
from slurm_cluster.views import connectivity

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef, NatGatewayTypeDef, SubnetTypeDef

    from slurm_cluster.aws.file_system import MountTarget
    from slurm_cluster.aws.retained import Retained
    from slurm_cluster.project import Project
    from slurm_cluster.state.cluster_state import ClusterState

EXISTING_NETWORK = "existing network"
# The rows for UQLE, and their text while no UQLE machine is connected.
OPTIONAL = {"group's rule": "not added (optional)", "UQLE machine": "not connected (optional)"}
CONNECT = "invoke connect-uqle"


class Resource(NamedTuple):
    """A row of `invoke status`.

    Args:
        name: what it is.
        id: its id; empty if it is missing.
        details: its other properties, by name. The row shows the values alone.
        billed: its billed parts, such as `instance, disk`; empty if nothing is billed.
        command: the command that creates it; empty if another row's command does, or nothing can.
        absence: the text of the row if the resource does not exist.
        repair: a command to run before all other steps; empty if none is needed.
        notes: the lines below the table that explain it, with commands.
    """

    name: str
    id: str
    details: dict[str, str]
    billed: str = ""
    command: str = ""
    absence: str = "missing"
    repair: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_missing(self) -> bool:
        """Whether it does not exist, but the cluster needs it."""
        return bool(self.command) and not self.id and self.absence == "missing"


def list_resources(p: Project) -> list[Resource]:
    """Return a row for each resource that the steps create, in their order, existing or missing."""
    pair, s, script_count, secret, fleet_status, kept = clients.run_concurrently(
        lambda: key_pair.find_key_pair(p.ec2, p.key_pair),
        lambda: cluster_state.load_state(p),
        lambda: script_bucket.count_scripts(p.s3, p.bucket, p.cluster_name, p.account),
        lambda: jwt_secret.find_secret_arn(p.secretsmanager, p.custom_secret_arn or p.secret),
        lambda: fleet.get_fleet_status(p.dynamodb, p.cluster_name),
        lambda: retained.find_retained(p.cloudformation, p.ec2, p.efs, p.fsx, p.cluster_name),
    )
    has_private_key = key_pair.get_private_key_path(p.key_pair).exists()
    scripts, where = str(script_count or ""), f"in s3://{p.bucket}"
    if script_bucket.has_custom_scripts(p.filled_values, p.bucket):
        scripts, where = "2", f"named in {p.parameter_file}"
    key = (p.custom_secret_arn or p.secret) if secret else ""
    if p.literal_key:
        key = f"in {p.parameter_file}"
    resources = [
        Resource(
            "key pair",
            p.key_pair if pair else "",
            {"private half": "private key in ~/.ssh" if has_private_key else "private key not in ~/.ssh"},
            command="invoke create-key-pair",
        ),
        *build_network_rows(s),
        Resource("boot scripts", scripts, {"where": where}, command="invoke upload-bootstrap"),
        Resource("JWT key", key, {}, "secret" if secret else "", "invoke create-jwt-key"),
        *build_cluster_rows(p, s, fleet_status),
        *(build_retained_row(storage) for storage in kept),
        *build_uqle_instances_rows(p, s),
    ]
    return mark_optional(resources)


def mark_optional(resources: list[Resource]) -> list[Resource]:
    """Return the rows. Mark the rows for UQLE as optional if none of them exists."""
    rows = {resource.name: resource for resource in resources if resource.name in OPTIONAL}
    if any(row.id for row in rows.values()):
        return resources
    without_share = rows["UQLE machine"].command == connectivity.CONNECT_WITHOUT_SHARE
    command = connectivity.CONNECT_WITHOUT_SHARE if without_share else CONNECT
    return [
        resource._replace(absence=OPTIONAL[resource.name], command=command)
        if resource.name in OPTIONAL and resource.command
        else resource
        for resource in resources
    ]


def build_network_rows(s: ClusterState) -> list[Resource]:
    """Return the rows of the network; of an existing network, only the subnets that the cluster uses."""
    if not s.vpc:
        return [Resource("VPC", "", {}, command="invoke configure")]
    vpc_id = s.vpc["VpcId"]
    if s.has_own_network:
        return [
            Resource("VPC", vpc_id, {"name": clients.get_tag(s.vpc)}),
            *(
                Resource("network stack", name, {"status": status})
                for name, status in s.network_stacks.items()
                if stack_status.get_phase(status) != "complete"
            ),
            *(build_subnet_row(subnet) for subnet in s.subnets),
            *(build_nat_gateway_row(gateway) for gateway in s.nat_gateways),
        ]
    instances = [s.head_node, *s.login_nodes, *s.compute_nodes, *s.uqle_instances]
    used_ids = {instance["SubnetId"] for instance in instances if instance}
    return [
        Resource("VPC", vpc_id, {"block": s.vpc["CidrBlock"], "whose": EXISTING_NETWORK}),
        *(build_subnet_row(subnet) for subnet in s.subnets if subnet["SubnetId"] in used_ids),
    ]


def build_subnet_row(subnet: SubnetTypeDef) -> Resource:
    """Return the row of a subnet."""
    name = "public subnet" if subnet["MapPublicIpOnLaunch"] else "private subnet"
    details = {"block": subnet["CidrBlock"], "zone": subnet["AvailabilityZone"]}
    return Resource(name, subnet["SubnetId"], details)


def build_nat_gateway_row(gateway: NatGatewayTypeDef) -> Resource:
    """Return the row of a NAT gateway."""
    addresses = ", ".join(address.get("PublicIp", "") for address in gateway["NatGatewayAddresses"])
    details = {"state": str(gateway["State"]), "address": addresses}
    return Resource("NAT gateway", gateway["NatGatewayId"], details, billed="NAT gateway, public address")


def build_cluster_rows(p: Project, s: ClusterState, fleet_status: str) -> list[Resource]:
    """Return the rows of the cluster, its nodes, its security group and its storage."""
    create = connectivity.CREATE_CLUSTER
    if not s.status:
        return [Resource("cluster", "", {}, command=create)]
    node = build_instance_row("head node", s.head_node, create)
    if s.head_node_id and not s.head_node:
        node = Resource("head node", s.head_node_id, {"state": "terminated"})
    if node.details.get("state") == "stopped":
        node = node._replace(repair=nodes.format_start_command(node.id, p.region))
    return [
        Resource("cluster", p.cluster_name, {"status": s.status}, command=create),
        node,
        Resource(
            "compute fleet",
            fleet_status,
            {"nodes": f"{len(s.compute_nodes)} nodes"},
            billed="instances, disks" if s.compute_nodes else "",
        ),
        *build_login_nodes_rows(s),
        *build_group_rows(p, s),
        *build_storage_rows(s),
    ]


def build_login_nodes_rows(s: ClusterState) -> list[Resource]:
    """Return the row of the login nodes, if the cluster has some. `pause` does not stop them."""
    if not s.login_nodes:
        return []
    billed = "instances, disks, load balancer"
    return [Resource("login nodes", f"{len(s.login_nodes)} nodes", {}, billed)]


def build_group_rows(p: Project, s: ClusterState) -> list[Resource]:
    """Return the rows of the head node's security group and its self rule, or of the user's own groups.

    An untagged instance in the security group may be the UQLE machine, so its row tells how to tag it.
    """
    groups = s.own_security_groups or [s.head_node_group]
    ssh_sources = ", ".join(
        security_groups.get_source(rule)
        for rule in connectivity.list_inbound_rules(s, groups)
        if connectivity.format_traffic(rule)[0] == "SSH"
    )
    ssh = f"SSH from {ssh_sources}" if ssh_sources else "no SSH access"
    if s.own_security_groups:
        return [Resource("own groups", ", ".join(s.own_security_groups), {"SSH from": ssh})]
    repair, notes = "", list[str]()
    if s.head_node_group:
        group, others = s.head_node_group, s.other_members
        notes = group_members.explain_members(s.uqle_instances, others, group, p.cluster_name, p.region)
        if others and not s.uqle_instances:
            repair = group_members.format_tag_command(others[0], p.cluster_name, p.region)
    self_rules = connectivity.list_self_rules(s)
    return [
        Resource(
            "head node group",
            s.head_node_group,
            {"SSH from": ssh},
            command=connectivity.CREATE_CLUSTER,
            repair=repair,
            notes=tuple(notes),
        ),
        Resource(
            "group's rule",
            self_rules[0] if self_rules else "",
            {"admits": "all traffic between its members"},
            command=connectivity.ALLOW_GROUP,
        ),
    ]


def build_storage_rows(s: ClusterState) -> list[Resource]:
    """Return the rows of the shared file system, of its mount targets, then of the other shared storage."""
    others = [build_mount_target_row(target) for target in s.mount_targets]
    others += [
        Resource("storage", item.id, {"kind": item.kind, "directory": item.mount_dir}, "stored data")
        for item in s.storage
        if item is not s.shared and item.id
    ]
    if s.storage_fault:
        return [Resource("file system", "", {}, absence="UNKNOWN", notes=(s.storage_fault,))]
    if s.shared is None:
        return [Resource("file system", "", {}, absence="none at the shared directory"), *others]
    if not s.shared.id:  # as long as the stack is not complete
        return [Resource("file system", "", {}, absence="not in the outputs of the stack"), *others]
    details = {"kind": s.shared.kind, "directory": s.shared.mount_dir}
    if s.file_system:
        details = {"size": file_system.format_gib(s.file_system)}
    elif s.shared.kind == "Efs":
        return [Resource("file system", "", {}, absence=f"{s.shared.id} does not exist any more"), *others]
    notes = (s.mount_obstacle,) if s.mount_obstacle else ()
    if notes:
        details["obstacle"] = "cannot be mounted by a UQLE machine"
    return [Resource("file system", s.shared.id, details, "stored data", notes=notes), *others]


def build_uqle_instances_rows(p: Project, s: ClusterState) -> list[Resource]:
    """Return the row of the UQLE machine, or why the cluster cannot have one; a row for each of several."""
    name = "UQLE machine"
    if s.own_security_groups and not s.uqle_instances:
        return [Resource(name, "", {}, absence="not possible: the head node has your own security groups")]
    if s.other_members and not s.uqle_instances:
        return [Resource(name, "", {}, absence="none has the tag: see below")]
    command = connectivity.CONNECT_WITHOUT_SHARE if s.mount_obstacle else connectivity.CREATE_INSTANCE
    rows = [build_instance_row(name, machine, command) for machine in s.uqle_instances or [{}]]
    if len(rows) > 1:
        note = uqle_instance.explain_several(s.uqle_instances, p.cluster_name)
        rows[0] = rows[0]._replace(repair=connectivity.DISCONNECT, notes=(note,))
    return rows


def build_mount_target_row(target: MountTarget) -> Resource:
    """Return the row of a mount target."""
    details = {"address": target.address, "zone": target.zone, "state": target.state}
    return Resource("mount target", target.id, details)


def build_instance_row(name: str, instance: InstanceTypeDef, command: str) -> Resource:
    """Return the row of an instance. A stopped instance is billed for its disk only."""
    if not instance:
        return Resource(name, "", {}, command=command)
    state = instance["State"]["Name"]
    details = {
        "type": str(instance["InstanceType"]),
        "state": str(state),
        "address": instance.get("PublicIpAddress", "no public address"),
    }
    billed = "disk" if state == "stopped" else "instance, disk, public address"
    return Resource(name, instance["InstanceId"], details, billed, command)


def build_retained_row(kept: Retained) -> Resource:
    """Return the row of storage that outlived its cluster."""
    details = {"kind": kept.kind, "size": kept.size, "origin": "kept when its cluster was deleted"}
    return Resource(
        "kept storage", kept.id, details, "stored data", notes=tuple(retained.format_retained(kept))
    )
