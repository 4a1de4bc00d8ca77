"""What stands of a cluster, what of it goes on costing money, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster import bootstrap, jwt_key, network, node_log, security_groups, stack, uqle_instance

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient


class Clients(NamedTuple):
    """The services that are asked."""

    ec2: EC2Client
    cloudformation: CloudFormationClient
    s3: S3Client
    secretsmanager: SecretsManagerClient
    logs: CloudWatchLogsClient


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


def parts(clients: Clients, cluster: str, account: str, region: str, subnet: str | None) -> list[Part]:
    """Look at each part, in the order in which the steps make them.

    Args:
        clients: of the services.
        cluster: whose.
        account: for the bucket's name.
        region: for the names that hold it.
        subnet: the public subnet of the person's files, where there are any.

    """
    ec2, cloudformation = clients.ec2, clients.cloudformation
    net = network.find(ec2, cloudformation, cluster, subnet)
    net_found = f"{net.vpc}, {len(network.subnets(ec2, net.vpc))} subnets" if net else ""
    secret = jwt_key.find_secret(clients.secretsmanager, jwt_key.secret_name(cluster, region))
    bucket = bootstrap.bucket_name(account, region)
    scripts = object_count(clients.s3, bucket, cluster, account)
    found = stack.find(cloudformation, cluster)
    stands = found["StackStatus"] if found else ""
    group = stack.physical_id(cloudformation, cluster, "HeadNodeSecurityGroup") if found else None
    rule = f"{group} admits its members" if group and security_groups.has_self_rule(ec2, group) else ""
    instance = uqle_instance.find(ec2, cluster)
    machine = f"{instance['InstanceId']}, {instance['State']['Name']}, {address(instance)}" if instance else ""
    return [
        Part("network", net_found, "NAT gateway, Elastic IP" if net else "", "invoke configure"),
        Part(
            "boot scripts", f"{scripts} in s3://{bucket}/{cluster}/" if scripts else "", "", "invoke upload-bootstrap"
        ),
        Part(
            "JWT key",
            jwt_key.secret_name(cluster, region) if secret else "",
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


def address(instance: object) -> str:
    """Give the public address of an instance, if it has one."""
    return str(instance.get("PublicIpAddress", "no public address")) if isinstance(instance, dict) else ""


def object_count(s3: S3Client, bucket: str, cluster: str, account: str) -> int:
    """Count the cluster's scripts in the bucket."""
    if not bootstrap.exists(s3, bucket, account):
        return 0
    return s3.list_objects_v2(Bucket=bucket, Prefix=f"{cluster}/").get("KeyCount", 0)


def next_step(found: list[Part]) -> str:
    """Give the command of the first part that is missing."""
    missing = next((part for part in found if not part.found), None)
    if missing is None:
        return "invoke handover"
    if missing.next == "invoke create-cluster":
        return "invoke fill-parameters, invoke render, invoke create-cluster"
    return missing.next


def left_behind(clients: Clients, cluster: str) -> list[str]:
    """Name what is left on purpose when a cluster is gone, and why.

    Args:
        clients: of the services.
        cluster: whose.

    """
    groups = node_log.groups(clients.logs, cluster)
    buckets = [each["Name"] for each in clients.s3.list_buckets()["Buckets"] if is_pclusters(each["Name"])]
    left = [f"log group {name}: the nodes' logs, kept 180 days to look failures up" for name in groups]
    return left + [
        f"bucket {name}: pcluster's own, shared by all clusters of the region; cents a month" for name in buckets
    ]


def is_pclusters(bucket: str) -> bool:
    """Say whether a bucket is the one that pcluster makes for itself."""
    return bucket.startswith("parallelcluster-") and bucket.endswith("-v1-do-not-delete")
