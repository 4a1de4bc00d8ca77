"""What can be known before anything is made: the answers of `invoke check`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from slurm_cluster import aws, files, key_pair, uqle_instance
from slurm_cluster.aws import sentence
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

# https://docs.aws.amazon.com/general/latest/gr/ec2-service.html and vpc-service.html: code, what it limits, what it needs
VCPUS = ("ec2", "L-1216C47A", "vCPUs of running on-demand standard instances")
QUOTAS = [(*VCPUS, 10), ("vpc", "L-F678F1CE", "VPCs", 1), ("ec2", "L-0263D0A3", "Elastic IPs", 2)]


class Check(NamedTuple):
    """One answer.

    Args:
        name: what was looked at.
        result: PASS, WARN, FAIL, or UNKNOWN where the account does not tell.
        detail: what was found; for FAIL, what to do.

    """

    name: str
    result: str
    detail: str


def attempt(name: str, look: Callable[[], str]) -> Check:
    """Look, and turn an expected failure into a FAIL."""
    try:
        return Check(name, "PASS", look())
    except (ClusterError, BotoCoreError, ClientError) as error:
        return Check(name, "FAIL", str(error) if isinstance(error, ClusterError) else sentence(error))


def credentials(sts: STSClient) -> str:
    """Say whose the credentials are."""
    identity = sts.get_caller_identity()
    return f"account {identity['Account']}, as {identity['Arn']}"


def node() -> str:
    """Find the Node.js that pcluster needs."""
    found = shutil.which("node")
    if not found:
        raise ClusterError("pcluster needs Node.js, which is not on the PATH: install it from https://nodejs.org.")
    return found


def usable_key_pair(ec2: EC2Client, name: str) -> str:
    """Check that the key pair opens the head node from here."""
    known = key_pair.find(ec2, name)
    if known is None:
        raise ClusterError(f"EC2 has no key pair {name} in this region: `invoke create-key-pair` makes it.")
    key_pair.check(known, key_pair.private_key_file(name))
    return f"{name}, ed25519, private half in {key_pair.private_key_file(name)}"


def images(ec2: EC2Client, ssm: SSMClient) -> str:
    """Check that the region has the images of the cluster's nodes and of the UQLE machine."""
    name = f"aws-parallelcluster-{version('aws-parallelcluster')}-ubuntu-2404-lts-hvm-x86_64*"
    found = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    if not found:
        raise ClusterError(f"The region has no image {name}: choose a region that ParallelCluster supports.")
    return f"nodes {found[0]['ImageId']}, UQLE machine {uqle_instance.image(ssm)}"


def instance_types(template: Path) -> list[str]:
    """Give the instance types that the template names."""
    text = files.read(template)
    lines = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith("InstanceType:")]
    return sorted({yaml.safe_load(line) for line in lines if "{{" not in line})


def common_zones(ec2: EC2Client, types: list[str]) -> str:
    """Check that one Availability Zone offers all instance types: the head node's subnet and the UQLE machine's are in it."""
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": types}],
    )
    offers: dict[str, set[str]] = {name: set() for name in types}
    for page in pages:
        for offer in page["InstanceTypeOfferings"]:
            offers[offer["InstanceType"]].add(offer["Location"])
    zones = sorted(set.intersection(*offers.values()))
    if not zones:
        raise ClusterError(f"No Availability Zone of the region offers all of {', '.join(types)}: choose other types.")
    return f"{', '.join(types)} in {', '.join(zones)}"


def quotas(service_quotas: ServiceQuotasClient) -> Iterator[Check]:
    """Compare the account's quotas with what the cluster needs; what is in use already is not known here."""
    for service, quota, what, needed in QUOTAS:
        try:
            value = service_quotas.get_service_quota(ServiceCode=service, QuotaCode=quota)["Quota"]["Value"]
        except (BotoCoreError, ClientError):
            yield Check("quota", "UNKNOWN", f"{what}: the account does not tell; {needed} are needed")
            continue
        result = "PASS" if value >= needed else "FAIL"
        yield Check("quota", result, f"{what}: {value:.0f} in all, {needed} are needed")


def run(cluster: str, region: str, key_name: str, template: Path, uqle_type: str, ssh_from: str) -> Iterator[Check]:
    """Look at everything that the steps will need, in their order; nothing is changed.

    Args:
        cluster: the cluster's name, checked already.
        region: where.
        key_name: the key pair.
        template: config.template.yml, for its instance types.
        uqle_type: the UQLE machine's instance type.
        ssh_from: who may reach SSH; may be empty.

    """
    client: Callable[[str], Any] = lambda service: aws.client(service, region)  # noqa: E731
    yield Check("name", "PASS", cluster)
    known = attempt("credentials", lambda: credentials(client("sts")))
    yield known
    yield Check("region", "PASS", region)
    yield attempt("Node.js", node)
    yield source(ssh_from)
    if known.result == "FAIL":
        return
    yield attempt("key pair", lambda: usable_key_pair(client("ec2"), key_name))
    yield attempt("images", lambda: images(client("ec2"), client("ssm")))
    types = sorted({*instance_types(template), uqle_type})
    yield attempt("instance types", lambda: common_zones(client("ec2"), types))
    yield from quotas(client("service-quotas"))


def source(ssh_from: str) -> Check:
    """Look at who may reach SSH."""
    if not ssh_from:
        return Check(
            "SSH from", "WARN", "not set: `fill-parameters --ssh-from 203.0.113.7/32`, or ssh_from in invoke.yaml"
        )
    if ssh_from == "0.0.0.0/0":
        return Check("SSH from", "WARN", "0.0.0.0/0 is the whole internet: name your own address, as 203.0.113.7/32")
    return Check("SSH from", "PASS", ssh_from)
