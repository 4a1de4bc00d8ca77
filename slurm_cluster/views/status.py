"""What exists of a cluster, what of it is billed, and the next step."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster import files
from slurm_cluster.aws import (
    clients,
    fleet,
    head_node,
    holders,
    jwt_secret,
    key_pair,
    network,
    node_log,
    retained,
    script_bucket,
    security_groups,
    stack,
    uqle_instance,
)
from slurm_cluster.output import get_width
from slurm_cluster.views import cluster_state, connectivity

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef, NatGatewayTypeDef, SubnetTypeDef

    from slurm_cluster.aws.file_system import MountTarget
    from slurm_cluster.aws.retained import Retained
    from slurm_cluster.project import Project
    from slurm_cluster.views.cluster_state import ClusterState

CLIENTS = "ec2", "cloudformation", "efs", "s3", "secretsmanager", "dynamodb", "sts"
FUNCTION_LOG_GROUPS = "/aws/lambda/pcluster-"  # of pcluster's own functions, without a cluster's name
EXISTING_NETWORK, KEPT_STORAGE = "existing network", "kept storage"
DELETE_CLUSTER, DELETE_NETWORK = "invoke delete-cluster", "invoke delete-network"
WAIT = "wait until AWS has finished"
# The rows of a UQLE machine, and what they say as long as none is connected.
OPTIONAL = {"group's rule": "not added (optional)", "UQLE machine": "not connected (optional)"}
CONNECT = "invoke connect-uqle"
NAME_WIDTH = 15  # columns


class Resource(NamedTuple):
    """A row of `invoke status`.

    Args:
        name: what it is.
        id: its id; empty if it is missing.
        details: its other properties, by name. The row shows the values alone.
        billed: what of it is billed until it is deleted; empty if nothing is.
        command: the command that creates it; empty if another row's command does, or nothing can.
        absence: what the row says if it does not exist.
    """

    name: str
    id: str
    details: dict[str, str]
    billed: str = ""
    command: str = ""
    absence: str = "missing"

    @property
    def is_missing(self) -> bool:
        """Whether it does not exist, and the cluster is not complete without it."""
        return bool(self.command) and not self.id and self.absence == "missing"


def list_resources(p: Project) -> list[Resource]:
    """Return what the steps create, in their order, whether it exists or not."""
    for client in CLIENTS:  # before the threads start: a boto3 session is not thread-safe
        getattr(p, client)
    pair, s, script_count, secret, fleet_status, kept = clients.run_concurrently(
        lambda: key_pair.find_key_pair(p.ec2, p.key_pair),
        lambda: cluster_state.load_state(p),
        lambda: script_bucket.count_scripts(p.s3, p.bucket, p.cluster, p.account),
        lambda: jwt_secret.find_secret_arn(p.secretsmanager, p.custom_secret_arn or p.secret),
        lambda: fleet.get_fleet_status(p.dynamodb, p.cluster),
        lambda: retained.find_retained(p.cloudformation, p.ec2, p.efs, p.cluster),
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
        *describe_network(s),
        Resource("boot scripts", scripts, {"where": where}, command="invoke upload-bootstrap"),
        Resource("JWT key", key, {}, "secret" if secret else "", "invoke create-jwt-key"),
        *describe_cluster(p.cluster, s, fleet_status),
        *(describe_retained(storage) for storage in kept),
        describe_uqle_instance(s),
    ]
    return mark_optional(resources)


def mark_optional(resources: list[Resource]) -> list[Resource]:
    """Return the rows, with those of the UQLE machine as optional as long as none of them exists."""
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


def describe_network(s: ClusterState) -> list[Resource]:
    """Return the VPC, its subnets and its NAT gateways; of an existing network only what the cluster uses."""
    if not s.vpc:
        return [Resource("VPC", "", {}, command="invoke configure")]
    vpc_id = s.vpc["VpcId"]
    if s.has_own_network:
        return [
            Resource("VPC", vpc_id, {"name": clients.get_tag(s.vpc)}),
            *(
                Resource("network stack", name, {"status": status})
                for name, status in s.network_stacks.items()
                if stack.get_phase(status) != "complete"
            ),
            *(describe_subnet(subnet) for subnet in s.subnets),
            *(describe_nat_gateway(gateway) for gateway in s.nat_gateways),
        ]
    instances = [instance for instance in (s.head_node, s.uqle_instance, *s.compute_nodes) if instance]
    used_ids = {instance["SubnetId"] for instance in instances}
    return [
        Resource("VPC", vpc_id, {"block": s.vpc["CidrBlock"], "whose": EXISTING_NETWORK}),
        *(describe_subnet(subnet) for subnet in s.subnets if subnet["SubnetId"] in used_ids),
    ]


def describe_subnet(subnet: SubnetTypeDef) -> Resource:
    """Return the row of a subnet."""
    name = "public subnet" if subnet["MapPublicIpOnLaunch"] else "private subnet"
    details = {"block": subnet["CidrBlock"], "zone": subnet["AvailabilityZone"]}
    return Resource(name, subnet["SubnetId"], details)


def describe_nat_gateway(gateway: NatGatewayTypeDef) -> Resource:
    """Return the row of a NAT gateway."""
    addresses = ", ".join(address.get("PublicIp", "") for address in gateway["NatGatewayAddresses"])
    details = {"state": str(gateway["State"]), "address": addresses}
    return Resource("NAT gateway", gateway["NatGatewayId"], details, billed="NAT gateway, public address")


def describe_cluster(cluster: str, s: ClusterState, fleet_status: str) -> list[Resource]:
    """Return the cluster, its nodes, its head node's group and its storage."""
    create = connectivity.CREATE_CLUSTER
    if not s.status:
        return [Resource("cluster", "", {}, command=create)]
    node = describe_instance("head node", s.head_node, create)
    if s.head_node_id and not s.head_node:
        node = Resource("head node", s.head_node_id, {"state": "terminated"})
    return [
        Resource("cluster", cluster, {"status": s.status}, command=create),
        node,
        Resource(
            "compute fleet",
            fleet_status,
            {"nodes": f"{len(s.compute_nodes)} nodes"},
            billed="instances, disks" if s.compute_nodes else "",
        ),
        *describe_group(s),
        *describe_storage(s),
    ]


def describe_group(s: ClusterState) -> list[Resource]:
    """Return the head node's group and its rule; or the groups that the configuration names instead."""
    groups = s.own_groups or [s.head_node_group]
    ssh_sources = ", ".join(
        security_groups.get_source(rule)
        for rule in connectivity.list_inbound_rules(s, groups)
        if connectivity.format_traffic(rule)[0] == "SSH"
    )
    ssh = f"SSH from {ssh_sources}" if ssh_sources else "no SSH access"
    if s.own_groups:
        return [Resource("own groups", ", ".join(s.own_groups), {"SSH from": ssh})]
    self_rules = connectivity.list_self_rules(s)
    return [
        Resource(
            "head node group", s.head_node_group, {"SSH from": ssh}, command=connectivity.CREATE_CLUSTER
        ),
        Resource(
            "group's rule",
            self_rules[0] if self_rules else "",
            {"admits": "all traffic between its members"},
            command=connectivity.ALLOW_GROUP,
        ),
    ]


def describe_storage(s: ClusterState) -> list[Resource]:
    """Return the shared file system with its mount targets, then the other shared storage."""
    others = [describe_mount_target(target) for target in s.mount_targets]
    others += [
        Resource("storage", item.id, {"kind": item.kind, "directory": item.mount_dir}, "stored data")
        for item in s.storage
        if item is not s.shared and item.id
    ]
    if s.storage_fault:
        return [Resource("file system", "", {}, absence=f"UNKNOWN: {s.storage_fault}")]
    if s.shared is None:
        return [Resource("file system", "", {}, absence="none at the shared directory"), *others]
    if not s.shared.id:  # the stack has no outputs yet
        return [Resource("file system", "", {}, command=connectivity.CREATE_CLUSTER), *others]
    details = {"kind": s.shared.kind, "directory": s.shared.mount_dir}
    if s.file_system:
        details = {"size": f"{s.file_system['SizeInBytes']['Value'] / 2**30:.1f} GiB"}
    elif s.shared.kind == "Efs":
        return [Resource("file system", "", {}, absence=f"{s.shared.id} does not exist any more"), *others]
    if s.mount_obstacle:
        details["obstacle"] = s.mount_obstacle
    return [Resource("file system", s.shared.id, details, "stored data"), *others]


def describe_uqle_instance(s: ClusterState) -> Resource:
    """Return the row of the UQLE machine, or why the cluster cannot have one."""
    if s.own_groups and not s.uqle_instance:
        return Resource("UQLE machine", "", {}, absence="not possible: the head node has groups of your own")
    command = connectivity.CONNECT_WITHOUT_SHARE if s.mount_obstacle else connectivity.CREATE_INSTANCE
    return describe_instance("UQLE machine", s.uqle_instance, command)


def describe_mount_target(target: MountTarget) -> Resource:
    """Return the row of a mount target."""
    details = {"address": target.address, "zone": target.zone, "state": target.state}
    return Resource("mount target", target.id, details)


def describe_instance(name: str, instance: InstanceTypeDef, command: str) -> Resource:
    """Return the row of an instance. Of a stopped one, only the disk is billed."""
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


def describe_retained(kept: Retained) -> Resource:
    """Return the row of storage that outlived its cluster."""
    details = {"kind": kept.kind, "size": kept.size, "origin": "kept when its cluster was deleted"}
    return Resource(KEPT_STORAGE, kept.id, details, "stored data")


def get_next_step(p: Project, resources: list[Resource]) -> str:
    """Return the next command: watch what is in progress, delete what failed, then create what is missing.

    Args:
        p: the project.
        resources: the rows of `list_resources`.
    """
    states = {
        resource.name: resource.details.get("status") or resource.details.get("state") or resource.id
        for resource in resources
    }
    unfinished = find_unfinished_step(p, resources)
    if unfinished is not None:
        return unfinished
    if states.get("head node") == "terminated":
        has_config = p.config_file.exists()
        return find_deletion_step(p, connectivity.RECREATE_CLUSTER if has_config else DELETE_CLUSTER)
    if states.get("head node") == "stopped":
        head_node_id = next(resource.id for resource in resources if resource.name == "head node")
        return head_node.format_start_command(head_node_id, p.region)
    ids = {resource.name: resource.id for resource in resources}
    if ids.get("head node group") and not ids["UQLE machine"]:  # a machine may only lack its tag
        others = uqle_instance.list_other_members(p.ec2, p.cluster, ids["head node group"])
        if others:
            return uqle_instance.format_tag_command(others[0], p.cluster, p.region)
    missing = next((resource for resource in resources if resource.is_missing), None)
    if missing and missing.name == "cluster":
        if not p.parameter_file.exists():
            return "invoke fill-parameters --ssh-from <your address>/32"
        return connectivity.CREATE_CLUSTER if p.config_file.exists() else "invoke render"
    if missing:
        return missing.command
    if states["compute fleet"] == "STOPPED" or states["UQLE machine"] == "stopped":
        return "invoke resume"
    is_connected = bool(states["UQLE machine"])
    return "invoke handover" if is_connected and not p.handover_file.exists() else "invoke verify"


def find_unfinished_step(p: Project, resources: list[Resource]) -> str | None:
    """Return the command for a stack that is not complete, or for a network that no file here names.

    A command that its task would refuse is replaced by the one that removes the obstacle.

    Args:
        p: the project.
        resources: the rows of `list_resources`.

    Returns:
        None if there is no such stack or network; an empty string if there is nothing to do but wait.
    """
    statuses = {resource.name: resource.details.get("status", "") for resource in resources}
    cluster = statuses["cluster"]
    if stack.get_phase(cluster) not in ("", "complete"):
        command = stack.find_next_command(stack.CLUSTER_TASKS, p.cluster, cluster, p.region)
        if command == "invoke update-cluster" and not p.config_file.exists():
            return ""  # AWS ends it; the task would go on with config.yml
        return find_deletion_step(p, command) if stack.get_phase(cluster) == "failed" else command
    if cluster:
        return None
    network_stack = next((resource for resource in resources if resource.name == "network stack"), None)
    command = DELETE_NETWORK
    if network_stack:
        status = network_stack.details["status"]
        command = stack.find_next_command(stack.NETWORK_TASKS, network_stack.id, status, p.region)
    elif not has_unnamed_network(p, resources):
        return None
    if command == DELETE_NETWORK:
        own = network.find_network(p.ec2, p.cloudformation, p.cluster, p.wizard_subnet)
        found = network.find_holders(p.ec2, p.cloudformation, p.efs, p.cluster, own) if own else []
        return found[0].commands[0] if found else command
    return command


def find_deletion_step(p: Project, command: str) -> str:
    """Return the command that deletes the cluster, or the first one that removes what holds its groups."""
    found = holders.find_group_holders(p.cloudformation, p.ec2, p.efs, p.cluster)
    return found[0].commands[0] if found else command


def has_unnamed_network(p: Project, resources: list[Resource]) -> bool:
    """Return whether the cluster has a network that no file here names: an interrupted wizard left it."""
    [vpc] = [resource for resource in resources if resource.name == "VPC"]
    return bool(vpc.id) and vpc.details.get("whose") != EXISTING_NETWORK and not p.subnets


def explain_statuses(p: Project, resources: list[Resource]) -> list[str]:
    """Return the lines that explain a cluster, or a network, whose stack is not complete."""
    sentences = [
        stack.explain_status(
            "cluster" if resource.name == "cluster" else "network", resource.id, status, p.region
        )
        for resource in resources
        if resource.name in ("cluster", "network stack")
        for status in [resource.details.get("status", "")]
        if stack.get_phase(status) not in ("", "complete")
    ]
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, get_width(), break_on_hyphens=False)
    ]


def format_status(p: Project) -> list[str]:
    """Return the lines that `invoke status` prints, folded to the terminal's width."""
    resources = list_resources(p)
    ids = {resource.name: resource.id for resource in resources}
    group = ids.get("head node group", "")
    return [
        *textwrap.wrap(f"Cluster {p.cluster} in {p.region}", get_width(), break_on_hyphens=False),
        "",
        *(line for resource in resources for line in format_resource(resource)),
        "",
        *list_other_clusters(p, resources),
        *list_unclaimed_networks(p, ids["VPC"]),
        *(uqle_instance.list_group_warnings(p.ec2, p.cluster, group, p.region) if group else []),
        *(list_retained(p) if any(resource.name == KEPT_STORAGE for resource in resources) else []),
        "$ = billed until you delete it",
        *explain_statuses(p, resources),
        f"Next: {get_next_step(p, resources) or WAIT}",
    ]


def format_resource(resource: Resource) -> list[str]:
    """Return the lines of a row: the first one starts with $ if something of the resource is billed."""
    absence = f"{resource.absence}: {resource.command}" if resource.command else resource.absence
    text = ", ".join([resource.id, *filter(None, resource.details.values())]) if resource.id else absence
    prefix = f"{'$' if resource.billed else ' '} {resource.name:{NAME_WIDTH}}  "
    indent = " " * len(prefix)
    return textwrap.wrap(
        text, get_width(), initial_indent=prefix, subsequent_indent=indent, break_on_hyphens=False
    )


def list_other_clusters(p: Project, resources: list[Resource]) -> list[str]:
    """Return the lines that name the region's clusters, if the project's cluster does not exist."""
    if any(resource.name == "cluster" and resource.id for resource in resources):
        return []
    names = stack.list_clusters(p.cloudformation)
    text = f"There is no cluster {p.cluster} in {p.region}. Clusters there: {', '.join(names)}."
    return textwrap.wrap(text, get_width()) if names else []


def list_unclaimed_networks(p: Project, own_vpc_id: str = "") -> list[str]:
    """Return the lines that list other VPCs, which an interrupted wizard may have left."""
    vpcs = network.find_unclaimed_vpcs(p.ec2, p.cloudformation, own_vpc_id)
    return network.describe_unclaimed_vpcs(vpcs, p.cluster, p.region)


def list_retained(p: Project) -> list[str]:
    """Return the lines that list storage that outlived its cluster, with the commands that delete it."""
    found = retained.find_retained(p.cloudformation, p.ec2, p.efs, p.cluster)
    return [line for storage in found for line in retained.format_retained(storage)]


def list_own_network(p: Project) -> list[str]:
    """Return the line that names the cluster's own network, if it still exists."""
    own = network.find_network(p.ec2, p.cloudformation, p.cluster, p.wizard_subnet)
    if not own:
        return []
    gateways = ", ".join(network.list_nat_gateways(p.ec2, own.vpc))
    billed = f" with {gateways} ($ billed until you delete it)" if gateways else ""
    return [f"network {own.vpc}{billed}: `invoke delete-network` deletes it when nothing else is in it"]


def format_json(p: Project) -> str:
    """Return the status as JSON. Its keys are an interface for scripts."""
    resources = list_resources(p)
    parts = [
        {
            "name": resource.name,
            "id": resource.id,
            "details": resource.details,
            "costs": resource.billed,
            "make": resource.command,
        }
        for resource in resources
    ]
    status = {
        "cluster": p.cluster,
        "region": p.region,
        "parts": parts,
        "next": get_next_step(p, resources),
    }
    return json.dumps(status, indent=2)


def list_paused_costs() -> list[str]:
    """Return the lines that list what is billed while the fleet and the UQLE machine are stopped."""
    costs = "the NAT gateway, the head node, their public addresses, the disks, the file system, the secret"
    return textwrap.wrap(f"Still billed: {costs}. Run `invoke resume` to start again.", get_width())


def list_leftovers(p: Project) -> list[str]:
    """Return what remains after the cluster is deleted: why, or how to delete it."""
    log_groups = node_log.list_log_groups(p.logs, p.cluster)
    function_count = len(node_log.list_group_names(p.logs, FUNCTION_LOG_GROUPS))
    buckets = [bucket["Name"] for bucket in p.s3.list_buckets()["Buckets"]]
    pair = key_pair.find_key_pair(p.ec2, p.key_pair)
    script_count = script_bucket.count_scripts(p.s3, p.bucket, p.cluster, p.account)
    secret = jwt_secret.find_secret_arn(p.secretsmanager, p.secret)
    functions = f"{function_count} log groups {FUNCTION_LOG_GROUPS}..."
    shared = "created by pcluster, shared by all clusters of the region"
    handover = f"file {p.handover_file}: describes the deleted cluster, and may contain its JWT key"
    leftovers = [
        *(f"log group {name}: logs of the nodes, kept for 180 days" for name in log_groups),
        f"{functions}: {shared}" if function_count else "",
        *(f"bucket {name}: {shared}" for name in buckets if is_pcluster_bucket(name)),
        f"key pair {p.key_pair}: not billed" if pair else "",
        f"{script_count} boot scripts in {p.bucket}: `invoke down --all` deletes them"
        if script_count
        else "",
        f"secret {p.secret}: billed; `invoke down --all` deletes it" if secret else "",
        handover if files.exists(p.handover_file) else "",
    ]
    return [
        *list_own_network(p),
        *list_retained(p),
        *filter(None, leftovers),
        *list_unclaimed_networks(p),
    ]


def is_pcluster_bucket(bucket: str) -> bool:
    """Return whether pcluster created the bucket for itself."""
    return bucket.startswith("parallelcluster-") and bucket.endswith("-v1-do-not-delete")
