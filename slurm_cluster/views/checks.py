"""What can be known before anything is made: the answers of `invoke check`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from slurm_cluster import files
from slurm_cluster.aws import key_pair, permissions, uqle_instance
from slurm_cluster.aws.clients import format_error
from slurm_cluster.config import parameters
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

    from slurm_cluster.project import Project

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


def attempt_check(name: str, look: Callable[[], str]) -> Check:
    """Look, and turn an expected failure into a FAIL."""
    try:
        return Check(name, "PASS", look())
    except (ClusterError, BotoCoreError, ClientError) as error:
        return Check(name, "FAIL", str(error) if isinstance(error, ClusterError) else format_error(error))


def describe_credentials(sts: STSClient) -> str:
    """Say whose the credentials are."""
    identity = sts.get_caller_identity()
    return f"account {identity['Account']}, as {identity['Arn']}"


def find_node() -> str:
    """Find the Node.js that pcluster needs."""
    found = shutil.which("node")
    if not found:
        raise ClusterError(
            "pcluster needs Node.js, which is not on the PATH: install it from https://nodejs.org."
        )
    return found


def check_key_pair(ec2: EC2Client, name: str) -> str:
    """Check that the key pair opens the head node from here."""
    key_pair.check_key_pair(key_pair.require_key_pair(ec2, name), key_pair.get_private_key_path(name))
    return f"{name}, ed25519, private half in {key_pair.get_private_key_path(name)}"


def find_images(ec2: EC2Client, ssm: SSMClient) -> str:
    """Check that the region has the images of the cluster's nodes and of the UQLE machine."""
    name = f"aws-parallelcluster-{version('aws-parallelcluster')}-ubuntu-2404-lts-hvm-x86_64*"
    found = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    if not found:
        raise ClusterError(f"The region has no image {name}: choose a region that ParallelCluster supports.")
    return f"nodes {found[0]['ImageId']}, UQLE machine {uqle_instance.get_ubuntu_image_id(ssm)}"


def list_instance_types(template: Path) -> list[str]:
    """Give the instance types that the template names, in its order: the head node's comes first."""
    text = files.read_text(template)
    lines = [
        line.split(":", 1)[1].strip()
        for line in text.splitlines()
        if line.strip().startswith("InstanceType:")
    ]
    return list(dict.fromkeys(yaml.safe_load(line) for line in lines if "{{" not in line))


def find_common_zones(ec2: EC2Client, types: list[str]) -> str:
    """Check that one Availability Zone offers all instance types: the head node and the UQLE machine share a subnet."""
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
        raise ClusterError(
            f"No Availability Zone of the region offers all of {', '.join(types)}: choose other types."
        )
    return f"{', '.join(types)} in {', '.join(zones)}"


def check_quotas(service_quotas: ServiceQuotasClient) -> Iterator[Check]:
    """Compare the account's quotas with what the cluster needs; what is in use already is not known here."""
    for service, quota, what, needed in QUOTAS:
        try:
            value = service_quotas.get_service_quota(ServiceCode=service, QuotaCode=quota)["Quota"]["Value"]
        except (BotoCoreError, ClientError):
            yield Check("quota", "UNKNOWN", f"{what}: the account does not tell; {needed} are needed")
            continue
        result = "PASS" if value >= needed else "FAIL"
        yield Check("quota", result, f"{what}: {value:.0f} in all, {needed} are needed")


def run_checks(project: Project, template: Path) -> Iterator[Check]:
    """Look at everything that the steps will need, in their order; nothing is changed.

    Args:
        project: whose cluster it is.
        template: config.template.yml, for its instance types.
    """
    yield Check("name", "PASS", project.cluster)
    yield Check("region", "PASS", project.region)
    known = attempt_check("credentials", lambda: describe_credentials(project.sts))
    yield known
    yield attempt_check("Node.js", find_node)
    yield check_ssh_source(project)
    yield from check_literal_key(project)
    if known.result == "FAIL":
        return
    ec2 = project.ec2
    yield attempt_check("key pair", lambda: check_key_pair(ec2, project.key_pair))
    yield attempt_check("images", lambda: find_images(ec2, project.ssm))
    types = sorted({*list_instance_types(template), project.get_uqle_settings().instance_type})
    yield attempt_check("instance types", lambda: find_common_zones(ec2, types))
    yield from check_quotas(project.service_quotas)
    yield from check_permissions(project)


def check_permissions(project: Project) -> Iterator[Check]:
    """Look which of the permissions that the steps need are missing, where the account lets that be simulated."""
    caller = project.sts.get_caller_identity()
    place = permissions.PolicyScope(project.cluster, project.region, caller["Account"])
    for path in permissions.FILES:
        try:
            lacking = permissions.find_missing_actions(project.iam, caller["Arn"], path, place)
        except (BotoCoreError, ClientError):
            yield Check(
                "permissions", "UNKNOWN", f"the account does not tell; {path.name} has those that are needed"
            )
            continue
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        told = f"{', '.join(lacking[:5])}{more} missing of {path.name}" if lacking else f"all of {path.name}"
        yield Check("permissions", "WARN" if lacking else "PASS", told)


def check_ssh_source(project: Project) -> Check:
    """Look at who may reach SSH."""
    try:
        ssh_from = project.get_ssh_from()
    except ClusterError as error:
        return Check("SSH from", "WARN", str(error))
    if parameters.is_wide_range(ssh_from):
        return Check("SSH from", "WARN", f"{ssh_from} {parameters.WIDE_WARNING}")
    return Check("SSH from", "PASS", ssh_from)


def check_literal_key(project: Project) -> Iterator[Check]:
    """Warn of a key that config-parameters.json holds itself."""
    if project.literal_key:
        yield Check(
            "JWT key",
            "WARN",
            f"{project.parameter_file} holds the key itself: {parameters.LITERAL_KEY_WARNING}",
        )
