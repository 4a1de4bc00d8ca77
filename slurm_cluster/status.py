"""What stands of a cluster, what of it goes on costing money, and what comes next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster import bootstrap, jwt_key, key_pair, network, node_log, security_groups, stack, uqle_instance

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

    from slurm_cluster.project import Project


COSTS_WHEN_PAUSED = "NAT gateway, head node, public addresses, disks, file system"


class Part(NamedTuple):
    """One part of what the steps make.

    Args:
        name: what it is.
        found: what stands, in words; nothing where it does not.
        costs: what of it goes on costing money, whether it is used or not.
        next: the command that makes it.
    """

    name: str
    found: str
    costs: str
    next: str


def parts(p: Project) -> list[Part]:
    """Look at each part, in the order in which the steps make them."""
    scripts = bootstrap.count(p.client("s3"), p.bucket, p.cluster, p.account)
    secret = jwt_key.find_secret(p.client("secretsmanager"), p.secret)
    return [
        network_part(p),
        Part("boot scripts", f"{scripts} in s3://{p.bucket}/{p.cluster}/" if scripts else "", "", "invoke upload-bootstrap"),
        Part("JWT key", f"secret {p.secret}" if secret else "", "secret" if secret else "", "invoke create-jwt-key"),
        *cluster_parts(p),
        machine_part(p),
    ]


def network_part(p: Project) -> Part:
    """Look at the VPC and its subnets."""
    found = network.find(p.client("ec2"), p.client("cloudformation"), p.cluster, p.wizards_subnet)
    if not found:
        vpc = network.vpc_of_subnet(p.client("ec2"), p.public_subnet) if p.public_subnet else None
        return Part("network", f"{vpc['VpcId']}, which was there before" if vpc else "", "", "invoke configure")
    subnets = ", ".join(network.subnets(p.client("ec2"), found.vpc))
    return Part("network", f"{found.vpc} with {subnets or 'no subnet'}", "NAT gateway, public address", "invoke configure")


def cluster_parts(p: Project) -> list[Part]:
    """Look at the cluster, its head node, compute nodes, file system, and the rule of the head node's group."""
    ec2, cloudformation, make = p.client("ec2"), p.client("cloudformation"), "invoke create-cluster"
    found = stack.find(cloudformation, p.cluster)
    if not found:
        return [Part("cluster", "", "", make), Part("group's rule", "", "", "invoke allow-head-node-group")]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    nodes = security_groups.instances_of(ec2, p.cluster)
    head = [describe(node) for node in nodes if node["InstanceId"] == outputs.get("HeadNodeInstanceID")]
    compute_tag = {"Key": "parallelcluster:node-type", "Value": "Compute"}
    compute = sum(compute_tag in node.get("Tags", []) and node["State"]["Name"] in ("pending", "running") for node in nodes)
    group = stack.physical_id(cloudformation, p.cluster, "HeadNodeSecurityGroup")
    rule = f"{group} admits its members" if group and security_groups.has_self_rule(ec2, group) else ""
    return [
        Part("cluster", found["StackStatus"], "", make),
        Part("head node", "".join(head), "instance, disk, public address" if head else "", make),
        Part("compute nodes", f"{compute} running" if compute else "none running", "instances" if compute else "", make),
        Part("file system", outputs.get("EFSIds", ""), "each GB of it" if outputs.get("EFSIds") else "", make),
        Part("group's rule", rule, "", "invoke allow-head-node-group"),
    ]


def machine_part(p: Project) -> Part:
    """Look at the UQLE machine."""
    found = uqle_instance.find(p.client("ec2"), p.cluster)
    return Part(
        "UQLE machine", describe(found) if found else "", "instance, disk, address" if found else "", "invoke create-instance"
    )


def describe(instance: InstanceTypeDef) -> str:
    """Say which instance it is, in which state, and where."""
    return f"{instance['InstanceId']}, {instance['State']['Name']}, {instance.get('PublicIpAddress', 'no public address')}"


def next_step(found: list[Part]) -> str:
    """Give the command of the first part that is missing."""
    missing = next((part for part in found if not part.found), None)
    if missing is None:
        return "invoke handover"
    if missing.name == "cluster":
        return "invoke fill-parameters render create-cluster"
    return missing.next


def screen(p: Project) -> list[str]:
    """Give the lines that `invoke status` prints."""
    found = parts(p)
    lines = [f"  {part.name:13} {part.found or 'missing'}" + (f"  [costs: {part.costs}]" if part.costs else "") for part in found]
    return [f"Cluster {p.cluster} in {p.region}", *lines, f"Next: {next_step(found)}"]


def as_json(p: Project) -> str:
    """Give the same for scripts."""
    found = parts(p)
    told = {"cluster": p.cluster, "region": p.region, "parts": [part._asdict() for part in found], "next": next_step(found)}
    return json.dumps(told, indent=2)


def left(p: Project) -> list[str]:
    """Name what is left when the cluster is gone, and why, or how to take it away."""
    s3 = p.client("s3")
    groups = node_log.groups(p.client("logs"), p.cluster)
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"] if is_pclusters(each["Name"])]
    scripts = bootstrap.count(s3, p.bucket, p.cluster, p.account)
    secret = jwt_key.find_secret(p.client("secretsmanager"), p.secret)
    return [
        *(f"log group {name}: the nodes' logs, kept 180 days to look failures up" for name in groups),
        *(f"bucket {name}: pcluster's own, for all clusters of its region" for name in buckets),
        *([f"key pair {p.key_pair}: costs nothing"] if key_pair.find(p.client("ec2"), p.key_pair) else []),
        *([f"{scripts} boot scripts in {p.bucket}: `invoke down --all` removes them"] if scripts else []),
        *([f"secret {p.secret}: costs; `invoke down --all` removes it"] if secret else []),
    ]


def is_pclusters(bucket: str) -> bool:
    """Say whether a bucket is the one that pcluster makes for itself."""
    return bucket.startswith("parallelcluster-") and bucket.endswith("-v1-do-not-delete")
