"""`invoke status`: the resources of a cluster, what is billed, and the next step."""

import json
import textwrap

from slurm_cluster import files
from slurm_cluster.aws import (
    clients,
    jwt_secret,
    key_pair,
    network,
    node_log,
    nodes,
    retained,
    script_bucket,
    stack,
    unclaimed_vpcs,
)
from slurm_cluster.output import get_width
from slurm_cluster.project import Project
from slurm_cluster.state import unclaimed_networks
from slurm_cluster.views.next_step import explain_statuses, get_next_step
from slurm_cluster.views.resources import Resource, list_resources

FUNCTION_LOG_GROUPS = "/aws/lambda/pcluster-"  # prefix; these log groups do not name their cluster
WAIT = "wait until AWS has finished"
NAME_WIDTH = 15  # columns


def format_status(p: Project) -> list[str]:
    """Return the lines that `invoke status` prints, folded to the terminal's width."""
    resources, unclaimed = clients.run_concurrently(
        lambda: list_resources(p), lambda: unclaimed_networks.list_unclaimed_vpcs(p)
    )
    ids = {resource.name: resource.id for resource in resources}
    others = [vpc for vpc in unclaimed if vpc.id != ids["VPC"]]
    return [
        *textwrap.wrap(f"Cluster {p.cluster_name} in {p.region}", get_width(), break_on_hyphens=False),
        "",
        *(line for resource in resources for line in format_resource(resource)),
        "",
        *list_other_clusters(p, resources),
        *unclaimed_vpcs.describe_unclaimed_vpcs(others, p.cluster_name, p.region),
        *(note for resource in resources for note in resource.notes),
        "$ = billed until you delete it",
        *explain_statuses(p, resources),
        f"Next: {get_next_step(p, resources) or WAIT}",
    ]


def format_resource(resource: Resource) -> list[str]:
    """Return the lines of a row: the first one starts with $ if the resource is billed."""
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
    text = f"There is no cluster {p.cluster_name} in {p.region}. Clusters there: {', '.join(names)}."
    return textwrap.wrap(text, get_width()) if names else []


def list_retained(p: Project) -> list[str]:
    """Return the lines that list storage that outlived its cluster, with the commands that delete it."""
    found = retained.find_retained(p.cloudformation, p.ec2, p.efs, p.fsx, p.cluster_name)
    return [line for storage in found for line in retained.format_retained(storage)]


def list_own_network(p: Project) -> list[str]:
    """Return the line that names the cluster's own network, if it still exists."""
    own = network.find_network(p.ec2, p.cloudformation, p.cluster_name, p.wizard_subnet)
    if not own:
        return []
    gateways = ", ".join(network.list_nat_gateways(p.ec2, own.vpc_id))
    billed = f" with {gateways} ($ billed until you delete it)" if gateways else ""
    return [f"network {own.vpc_id}{billed}: empty it, then run `invoke delete-network`"]


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
            "notes": resource.notes,
        }
        for resource in resources
    ]
    status = {
        "cluster": p.cluster_name,
        "region": p.region,
        "parts": parts,
        "next": get_next_step(p, resources),
    }
    return json.dumps(status, indent=2)


def list_paused_costs(p: Project) -> list[str]:
    """Return the lines that list what is billed while the fleet and the UQLE machine are stopped."""
    has_login_nodes = any(nodes.is_login_node(node) for node in nodes.list_nodes(p.ec2, p.cluster_name))
    login_nodes = "the login nodes, " if has_login_nodes else ""
    costs = (
        f"the NAT gateway, the head node, {login_nodes}their public addresses, the disks, the file system, "
        "the secret"
    )
    return textwrap.wrap(
        f"Still billed: {costs}. Run `invoke resume` to start the cluster again.", get_width()
    )


def list_leftovers(p: Project) -> list[str]:
    """Return a line for each leftover of a deletion, with the reason or the command that deletes it."""
    log_groups = node_log.list_log_groups(p.logs, p.cluster_name)
    function_count = len(node_log.list_group_names(p.logs, FUNCTION_LOG_GROUPS))
    buckets = [bucket["Name"] for bucket in p.s3.list_buckets()["Buckets"]]
    pair = key_pair.find_key_pair(p.ec2, p.key_pair)
    script_count = script_bucket.count_scripts(p.s3, p.bucket, p.cluster_name, p.account)
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
        f"secret {p.secret} ($ billed until you delete it): `invoke down --all` deletes it" if secret else "",
        handover if files.exists(p.handover_file) else "",
    ]
    return [
        *list_own_network(p),
        *list_retained(p),
        *filter(None, leftovers),
        *unclaimed_networks.format_unclaimed_vpcs(p),
    ]


def is_pcluster_bucket(bucket: str) -> bool:
    """Return whether pcluster created the bucket for itself."""
    return bucket.startswith("parallelcluster-") and bucket.endswith("-v1-do-not-delete")
