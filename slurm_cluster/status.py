"""What stands of a cluster, what of it goes on costing money, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster import bootstrap, jwt_key, key_pair, network, node_log, security_groups, stack, uqle_instance

if TYPE_CHECKING:
    from slurm_cluster.project import Project


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
    ec2, cloudformation = p.client("ec2"), p.client("cloudformation")
    net = network.find(ec2, cloudformation, p.cluster, p.public_subnet)
    net_found = f"{net.vpc}, {len(network.subnets(ec2, net.vpc))} subnets" if net else ""
    secret = jwt_key.find_secret(p.client("secretsmanager"), p.secret)
    scripts = bootstrap.count(p.client("s3"), p.bucket, p.cluster, p.account)
    found = stack.find(cloudformation, p.cluster)
    stands = found["StackStatus"] if found else ""
    group = stack.physical_id(cloudformation, p.cluster, "HeadNodeSecurityGroup") if found else None
    rule = f"{group} admits its members" if group and security_groups.has_self_rule(ec2, group) else ""
    instance = uqle_instance.find(ec2, p.cluster)
    address = instance.get("PublicIpAddress", "no public address") if instance else ""
    machine = f"{instance['InstanceId']}, {instance['State']['Name']}, {address}" if instance else ""
    return [
        Part("network", net_found, "NAT gateway, Elastic IP" if net else "", "invoke configure"),
        Part("boot scripts", f"{scripts} in s3://{p.bucket}/{p.cluster}/" if scripts else "", "", "invoke upload-bootstrap"),
        Part(
            "JWT key",
            p.secret if secret else "",
            "secret" if secret else "",
            "invoke create-jwt-key",
        ),
        Part(
            "cluster",
            stands,
            "head node, Elastic IP, file system, running compute nodes" if found else "",
            "invoke create-cluster",
        ),
        Part("group's rule", rule, "", "invoke allow-head-node-group"),
        Part("UQLE machine", machine, "instance, volume, public address" if instance else "", "invoke create-instance"),
    ]


def next_step(found: list[Part]) -> str:
    """Give the command of the first part that is missing."""
    missing = next((part for part in found if not part.found), None)
    if missing is None:
        return "invoke handover"
    if missing.next == "invoke create-cluster":
        return "invoke fill-parameters, invoke render, invoke create-cluster"
    return missing.next


def screen(p: Project) -> list[str]:
    """Give the lines that `invoke status` prints."""
    found = parts(p)
    lines = [f"  {part.name:13} {part.found or 'missing'}{f'  (costs: {part.costs})' if part.costs else ''}" for part in found]
    return [f"Cluster {p.cluster} in {p.region}", *lines, f"Next: {next_step(found)}"]


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
