"""The preflight checks of `invoke check`. They change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from slurm_cluster.aws import key_pair, permissions, uqle_instance
from slurm_cluster.config import parameters
from slurm_cluster.config.template import PLACEHOLDER, parse_template
from slurm_cluster.errors import ClusterError, format_error

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

    from slurm_cluster.project import Project

MAX_ACTIONS = 5  # missing actions that a check names


class Quota(NamedTuple):
    """A quota that the cluster needs.

    Args:
        service: the code of the service.
        code: the code of the quota.
        minimum: the smallest value that is enough.
        need: what the cluster needs of it, as a sentence without its full stop.
    """

    service: str
    code: str
    minimum: int
    need: str


# https://docs.aws.amazon.com/general/latest/gr/ec2-service.html and vpc-service.html
QUOTAS = [
    Quota("ec2", "L-1216C47A", 10, "10 vCPUs are needed"),  # running on-demand standard instances
    Quota("vpc", "L-F678F1CE", 1, "1 VPC is needed"),
    Quota("ec2", "L-0263D0A3", 2, "2 Elastic IPs are needed"),
]


class Check(NamedTuple):
    """The result of a check.

    Args:
        name: what was checked.
        result: PASS, WARN, FAIL, or UNKNOWN if the credentials may not read the value.
        detail: what was found; for FAIL also what to do.
    """

    name: str
    result: str
    detail: str


def attempt_check(name: str, find_detail: Callable[[], str]) -> Check:
    """Return PASS with the detail that a function returns, or FAIL with its error."""
    try:
        return Check(name, "PASS", find_detail())
    except ClusterError as error:
        return Check(name, "FAIL", str(error))
    except (BotoCoreError, ClientError) as error:
        return Check(name, "FAIL", format_error(error))


def describe_credentials(sts: STSClient) -> str:
    """Return the account and the identity of the credentials."""
    identity = sts.get_caller_identity()
    return f"account {identity['Account']}, as {identity['Arn']}"


def find_node() -> str:
    """Return the path of Node.js, which pcluster needs."""
    path = shutil.which("node")
    if not path:
        raise ClusterError(
            "pcluster needs Node.js, and it is not on PATH. Install it from https://nodejs.org."
        )
    return path


def check_key_pair(ec2: EC2Client, name: str) -> str:
    """Check that the private key on this machine opens the head node."""
    path = key_pair.get_private_key_path(name)
    key_pair.check_key_pair(key_pair.require_key_pair(ec2, name), path)
    return f"{name}, ed25519, private key in {path}"


def find_images(ec2: EC2Client, ssm: SSMClient, instance_type: str) -> str:
    """Check that the region has the images of the cluster's nodes and of the UQLE machine."""
    name = f"aws-parallelcluster-{version('aws-parallelcluster')}-ubuntu-2404-lts-hvm-x86_64*"
    images = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    if not images:
        raise ClusterError(f"This region has no image {name}. Choose a region that ParallelCluster supports.")
    uqle_image = uqle_instance.get_ubuntu_image_id(ec2, ssm, instance_type)
    return f"nodes {images[0]['ImageId']}, UQLE machine {uqle_image}"


def list_instance_types(template: Path) -> list[str]:
    """Return the instance types in the template, the head node's first."""
    return [name for name in parse_template(template).instance_types if name != PLACEHOLDER]


def find_common_zones(ec2: EC2Client, types: list[str]) -> str:
    """Check that one zone offers all instance types: the head node and the UQLE machine share a subnet."""
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": types}],
    )
    zones_by_type: dict[str, set[str]] = {name: set() for name in types}
    for page in pages:
        for offering in page["InstanceTypeOfferings"]:
            zones_by_type[offering["InstanceType"]].add(offering["Location"])
    zones = sorted(set.intersection(*zones_by_type.values()))
    if not zones:
        raise ClusterError(
            f"No Availability Zone of this region offers all of {', '.join(types)}. "
            "Choose other instance types."
        )
    return f"{', '.join(types)} in {', '.join(zones)}"


def check_quotas(service_quotas: ServiceQuotasClient) -> Iterator[Check]:
    """Compare the account's quotas with what the cluster needs. What is already in use is not counted."""
    for quota in QUOTAS:
        try:
            answer = service_quotas.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
        except (BotoCoreError, ClientError):
            yield Check("quota", "UNKNOWN", f"cannot read this quota; {quota.need}")
            continue
        value = answer["Quota"]["Value"]
        detail = f"{value:.0f} allowed; {quota.need}"
        if value >= quota.minimum:
            yield Check("quota", "PASS", detail)
        else:
            increase = f"Request an increase of quota {quota.code} in Service Quotas."
            yield Check("quota", "FAIL", f"{detail}. {increase}")


def run_checks(project: Project, template: Path) -> Iterator[Check]:
    """Check what the steps need, in their order.

    Args:
        project: the project.
        template: config.template.yml, which names the instance types.

    Yields:
        The result of each check. Those that call AWS are left out if the credentials do not work.
    """
    yield Check("name", "PASS", project.cluster)
    yield Check("region", "PASS", project.region)
    credentials = attempt_check("credentials", lambda: describe_credentials(project.sts))
    yield credentials
    yield attempt_check("Node.js", find_node)
    yield check_ssh_source(project)
    if project.literal_key:
        warning = f"{project.parameter_file} holds the key itself: {parameters.LITERAL_KEY_WARNING}"
        yield Check("JWT key", "WARN", warning)
    if credentials.result == "FAIL":
        return
    ec2 = project.ec2
    yield attempt_check("key pair", lambda: check_key_pair(ec2, project.key_pair))
    uqle_type = project.get_uqle_settings().instance_type
    yield attempt_check("images", lambda: find_images(ec2, project.ssm, uqle_type))
    types = sorted({*list_instance_types(template), uqle_type})
    yield attempt_check("instance types", lambda: find_common_zones(ec2, types))
    yield from check_quotas(project.service_quotas)
    yield from check_permissions(project)


def check_permissions(project: Project) -> Iterator[Check]:
    """Compare the credentials' permissions with the policies in iam/, if IAM may simulate them."""
    identity = project.sts.get_caller_identity()
    scope = permissions.PolicyScope(project.cluster, project.region, identity["Account"])
    for path in permissions.FILES:
        policy = f"{path.parent.name}/{path.name}"
        try:
            missing = permissions.find_missing_actions(project.iam, identity["Arn"], path, scope)
        except (BotoCoreError, ClientError):
            detail = f"cannot read your permissions; {policy} lists what is needed"
            yield Check("permissions", "UNKNOWN", detail)
            continue
        if not missing:
            yield Check("permissions", "PASS", f"everything in {policy} is allowed")
            continue
        more = f" and {len(missing) - MAX_ACTIONS} more" if len(missing) > MAX_ACTIONS else ""
        actions = ", ".join(missing[:MAX_ACTIONS])
        yield Check("permissions", "WARN", f"{actions}{more} missing; {policy} lists what is needed")


def check_ssh_source(project: Project) -> Check:
    """Check which addresses may use SSH."""
    try:
        ssh_from = project.get_ssh_from()
    except ClusterError as error:
        return Check("SSH from", "WARN", str(error))
    if parameters.is_wide_range(ssh_from):
        return Check("SSH from", "WARN", f"{ssh_from} {parameters.WIDE_WARNING}")
    return Check("SSH from", "PASS", ssh_from)
