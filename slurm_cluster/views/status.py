"""What stands of a cluster, what of it goes on costing money, and what comes next."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from slurm_cluster import files
from slurm_cluster.aws import clients, fleet, jwt_secret, key_pair, network, node_log, script_bucket, stack
from slurm_cluster.views import cluster_state, connectivity

if TYPE_CHECKING:
    from slurm_cluster.project import Project
    from slurm_cluster.views.cluster_state import ClusterState


SERVICES = "ec2", "cloudformation", "efs", "s3", "secretsmanager", "dynamodb", "sts"
CREATE_CLUSTER = "invoke create-cluster"
FUNCTION_LOG_GROUPS = "/aws/lambda/pcluster-"  # so begin the log groups of pcluster's own functions, which have no cluster's name
NAME_WIDTH, WIDTH = 15, 80


class Resource(NamedTuple):
    """One part of what the steps make.

    Args:
        name: what it is.
        id: which one it is; nothing where it is missing.
        details: what else there is to say of it, by name.
        costs: what of it goes on costing money, whether it is used or not.
        make: the command that makes it, where it is missing.
    """

    name: str
    id: str
    details: dict[str, str]
    costs: str
    make: str


def list_resources(p: Project) -> list[Resource]:
    """Look at each part, in the order in which the steps make them."""
    for service in SERVICES:  # before the threads: a session makes one at a time
        getattr(p, service)
    pair, s, scripts, secret, fleet_status = clients.run_concurrently(
        lambda: key_pair.find_key_pair(p.ec2, p.key_pair),
        lambda: cluster_state.load_state(p),
        lambda: script_bucket.count_scripts(p.s3, p.bucket, p.cluster, p.account),
        lambda: jwt_secret.find_secret_arn(p.secretsmanager, p.custom_secret_arn or p.secret),
        lambda: fleet.get_fleet_status(p.dynamodb, p.cluster),
    )
    private = (
        "private half here"
        if key_pair.get_private_key_path(p.key_pair).exists()
        else "its private half is not here"
    )
    own_scripts = script_bucket.has_custom_scripts(p.filled_values, p.bucket)
    where = {"where": "where config-parameters.json says" if own_scripts else f"in s3://{p.bucket}"}
    key = f"in {p.parameter_file}" if p.literal_key else (p.custom_secret_arn or p.secret) if secret else ""
    return [
        Resource(
            "key pair", p.key_pair if pair else "", {"private half": private}, "", "invoke create-key-pair"
        ),
        *describe_network(s),
        Resource(
            "boot scripts", "2" if own_scripts else str(scripts or ""), where, "", "invoke upload-bootstrap"
        ),
        Resource("JWT key", key, {}, "secret" if secret else "", "invoke create-jwt-key"),
        *describe_cluster(p.cluster, s, fleet_status),
        describe_instance("UQLE instance", s.uqle, connectivity.CREATE_INSTANCE),
    ]


def describe_network(s: ClusterState) -> list[Resource]:
    """Give the VPC, its subnets and its NAT gateways; of a network that was there before, what the cluster uses."""
    if not s.vpc:
        return [Resource("VPC", "", {}, "", "invoke configure")]
    before = {"block": s.vpc["CidrBlock"], "whose": "which was there before"}
    details = {"name": cluster_state.get_tag(s.vpc)} if s.own_network else before
    used = {each["SubnetId"] for each in (s.head, s.uqle, *s.compute) if each}
    return [
        Resource("VPC", s.vpc["VpcId"], details, "", ""),
        *(describe_subnet(subnet) for subnet in s.subnets if s.own_network or subnet["SubnetId"] in used),
        *(describe_nat_gateway(gateway) for gateway in s.nat_gateways if s.own_network),
    ]


def describe_subnet(subnet: dict[str, Any]) -> Resource:
    """Give a subnet."""
    name = "public subnet" if subnet["MapPublicIpOnLaunch"] else "private subnet"
    return Resource(
        name, subnet["SubnetId"], {"block": subnet["CidrBlock"], "zone": subnet["AvailabilityZone"]}, "", ""
    )


def describe_nat_gateway(gateway: dict[str, Any]) -> Resource:
    """Give a NAT gateway."""
    addresses = ", ".join(each.get("PublicIp", "") for each in gateway["NatGatewayAddresses"])
    details = {"state": gateway["State"], "address": addresses}
    return Resource("NAT gateway", gateway["NatGatewayId"], details, "NAT gateway, public address", "")


def describe_cluster(cluster: str, s: ClusterState, fleet_status: str) -> list[Resource]:
    """Give the cluster, its nodes, its head node's group, and its file system."""
    if not s.status:
        return [Resource("cluster", "", {}, "", CREATE_CLUSTER)]
    nodes = {"nodes": f"{len(s.compute)} nodes now"}
    ssh = ", ".join(
        connectivity.get_source(rule)
        for rule in connectivity.list_inbound_rules(s, [s.group])
        if connectivity.format_traffic(rule)[0] == "SSH"
    )
    size = f"{s.file_system['SizeInBytes']['Value'] / 2**30:.1f} GiB" if s.file_system else ""
    file_system = s.file_system.get("FileSystemId", "")
    return [
        Resource("cluster", cluster, {"status": s.status}, "", CREATE_CLUSTER),
        describe_instance("head node", s.head, CREATE_CLUSTER),
        Resource("compute fleet", fleet_status, nodes, "instances, disks" if s.compute else "", ""),
        Resource("head node group", s.group, {"SSH from": f"SSH from {ssh or 'nobody'}"}, "", CREATE_CLUSTER),
        Resource(
            "group's rule",
            "".join(connectivity.list_self_rules(s)[:1]),
            {"admits": "its members admit each other"},
            "",
            connectivity.ALLOW_GROUP,
        ),
        Resource(
            "file system", file_system, {"size": size}, "each GB of it" if file_system else "", CREATE_CLUSTER
        ),
        *(describe_mount_target(target) for target in s.targets),
    ]


def describe_mount_target(target: dict[str, Any]) -> Resource:
    """Give a mount target."""
    details = {
        "address": target["IpAddress"],
        "zone": target["AvailabilityZoneName"],
        "state": target["LifeCycleState"],
    }
    return Resource("mount target", target["MountTargetId"], details, "", "")


def describe_instance(name: str, instance: dict[str, Any], make: str) -> Resource:
    """Give an instance; one that is stopped costs its disk alone."""
    if not instance:
        return Resource(name, "", {}, "", make)
    state, address = instance["State"]["Name"], instance.get("PublicIpAddress", "no public address")
    costs = "disk" if state == "stopped" else "instance, disk, public address"
    return Resource(
        name,
        instance["InstanceId"],
        {"type": instance["InstanceType"], "state": state, "address": address},
        costs,
        make,
    )


def get_next_step(p: Project, found: list[Resource]) -> str:
    """Give the command that comes next: what is under way is watched, what failed goes, then what is missing is made."""
    states = {part.name: part.details.get("status") or part.details.get("state") or part.id for part in found}
    cluster = states["cluster"]
    if cluster in stack.FAILED_STATUSES or cluster == "DELETE_IN_PROGRESS":
        return "invoke delete-cluster"
    if cluster == "CREATE_IN_PROGRESS":
        return CREATE_CLUSTER
    missing = next((part for part in found if not part.id), None)
    if missing and missing.name == "cluster":
        if not p.parameter_file.exists():
            return "invoke fill-parameters --ssh-from <your address>/32"
        return CREATE_CLUSTER if p.config_file.exists() else "invoke render"
    if missing:
        return missing.make
    if states["compute fleet"] == "STOPPED" or states["UQLE instance"] == "stopped":
        return "invoke resume"
    return "invoke verify" if p.handover_file.exists() else "invoke handover"


def format_status(p: Project) -> list[str]:
    """Give the lines that `invoke status` prints, of 80 columns at most."""
    found = list_resources(p)
    return [
        *textwrap.wrap(f"Cluster {p.cluster} in {p.region}", WIDTH, break_on_hyphens=False),
        "",
        *(line for part in found for line in format_resource(part)),
        "",
        *list_other_clusters(p, found),
        *list_unclaimed_networks(p, next((part.id for part in found if part.name == "VPC"), "")),
        "What goes on costing money is marked $.",
        f"Next: {get_next_step(p, found)}",
    ]


def format_resource(part: Resource) -> list[str]:
    """Give a part's line, broken where it is too long."""
    told = ", ".join([part.id, *filter(None, part.details.values())]) if part.id else f"missing: {part.make}"
    first = f"{'$' if part.costs else ' '} {part.name:{NAME_WIDTH}}  "
    return textwrap.wrap(
        told, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )


def list_other_clusters(p: Project, found: list[Resource]) -> list[str]:
    """Name the clusters that the region has, where it is not the one that was asked for."""
    if any(part.name == "cluster" and part.id for part in found):
        return []
    known = stack.list_clusters(p.cloudformation)
    return (
        textwrap.wrap(f"There is no cluster {p.cluster}; this region has {', '.join(known)}.", WIDTH)
        if known
        else []
    )


def list_unclaimed_networks(p: Project, known: str = "") -> list[str]:
    """List the VPCs that an interrupted wizard may have left; the cluster's own, `known`, is not one of them."""
    found = network.find_unclaimed_vpcs(p.ec2, p.cloudformation, known)
    return network.describe_unclaimed_vpcs(found, p.cluster, p.region)


def format_json(p: Project) -> str:
    """Give the same for scripts."""
    found = list_resources(p)
    told = {
        "cluster": p.cluster,
        "region": p.region,
        "parts": [part._asdict() for part in found],
        "next": get_next_step(p, found),
    }
    return json.dumps(told, indent=2)


def list_paused_costs() -> list[str]:
    """Say what goes on costing while the fleet and the UQLE instance are stopped, and how to go on."""
    costs = "the NAT gateway, the head node, their public addresses, the disks, the file system, the secret"
    return textwrap.wrap(f"Going on to cost: {costs}. `invoke resume` starts again.", WIDTH)


def list_leftovers(p: Project) -> list[str]:
    """Name what is left when the cluster is gone, and why, or how to take it away."""
    s3 = p.s3
    groups = node_log.list_log_groups(p.logs, p.cluster)
    functions = len(node_log.list_group_names(p.logs, FUNCTION_LOG_GROUPS))
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"] if is_pcluster_bucket(each["Name"])]
    scripts = script_bucket.count_scripts(s3, p.bucket, p.cluster, p.account)
    secret = jwt_secret.find_secret_arn(p.secretsmanager, p.secret)
    handed_over = files.exists(p.handover_file)
    return [
        *(f"log group {name}: the nodes' logs, kept 180 days to look failures up" for name in groups),
        *(
            [
                f"{functions} log groups {FUNCTION_LOG_GROUPS}...: of pcluster's functions, of all clusters here"
            ]
            if functions
            else []
        ),
        *(f"bucket {name}: pcluster's own, for all clusters of its region" for name in buckets),
        *([f"key pair {p.key_pair}: costs nothing"] if key_pair.find_key_pair(p.ec2, p.key_pair) else []),
        *([f"{scripts} boot scripts in {p.bucket}: `invoke down --all` removes them"] if scripts else []),
        *([f"secret {p.secret}: costs; `invoke down --all` removes it"] if secret else []),
        *(
            [f"file {p.handover_file}: for a cluster that is gone, with its key if you asked for it"]
            if handed_over
            else []
        ),
        *list_unclaimed_networks(p),
    ]


def is_pcluster_bucket(bucket: str) -> bool:
    """Say whether a bucket is the one that pcluster makes for itself."""
    return bucket.startswith("parallelcluster-") and bucket.endswith("-v1-do-not-delete")
