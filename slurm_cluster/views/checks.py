"""The preflight checks of `invoke check`. They change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from slurm_cluster import files
from slurm_cluster.aws import instance_types, key_pair, permissions, uqle_instance
from slurm_cluster.config import boot_checks, cluster_config, parameters
from slurm_cluster.config.cluster_config import InstanceGroup
from slurm_cluster.config.template import parse_template
from slurm_cluster.errors import ClusterError, format_error
from slurm_cluster.state import sizes

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

    from slurm_cluster.config.cluster_config import ClusterConfig
    from slurm_cluster.project import Project

# In the names of images. https://docs.aws.amazon.com/parallelcluster/latest/ug/Image-section.html
IMAGE_NAMES = {
    "alinux2023": "amzn2023",
    "ubuntu2204": "ubuntu-2204-lts",
    "ubuntu2404": "ubuntu-2404-lts",
}
MAX_ACTIONS = 5  # missing actions that a check names


class Quota(NamedTuple):
    """A quota that the cluster needs.

    Args:
        service: the code of the service.
        code: the code of the quota.
        minimum: the smallest value that is enough.
        unit: what it counts.
    """

    service: str
    code: str
    minimum: int
    unit: str


# https://docs.aws.amazon.com/general/latest/gr/ec2-service.html and vpc-service.html
NETWORK_QUOTAS = [Quota("vpc", "L-F678F1CE", 1, "VPC"), Quota("ec2", "L-0263D0A3", 2, "Elastic IPs")]


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


def run_check(name: str, check: Callable[[], str]) -> Check:
    """Run a check: return PASS with the result of the function, or FAIL with its error."""
    try:
        return Check(name, "PASS", check())
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
    """Check that this machine has the private key of the key pair."""
    path = key_pair.get_private_key_path(name)
    key_pair.check_key_pair(key_pair.require_key_pair(ec2, name), path)
    return f"{name}, ed25519, private key in {path}"


def check_images(ec2: EC2Client, ssm: SSMClient, config: ClusterConfig, uqle_type: str) -> str:
    """Check that the region has the images of the cluster's head node and of the UQLE machine."""
    node_image = config.custom_ami or find_official_image(ec2, config)
    return f"nodes {node_image}, UQLE machine {uqle_instance.get_ubuntu_image_id(ec2, ssm, uqle_type)}"


def find_official_image(ec2: EC2Client, config: ClusterConfig) -> str:
    """Return the id of ParallelCluster's image for the system and the processor of the head node.

    Raises:
        ClusterError: the region has none.
    """
    types = [
        name for group in config.groups if group.name == "the head node" for name in group.instance_types
    ]
    architectures = instance_types.list_architectures(ec2, types[0]) if types else []
    architecture = "arm64" if "arm64" in architectures else "x86_64"
    system = IMAGE_NAMES.get(config.os, config.os)
    name = f"aws-parallelcluster-{version('aws-parallelcluster')}-{system}-hvm-{architecture}*"
    images = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    if not images:
        raise ClusterError(
            f"This region has no image {parameters.sanitize(name)}. "
            "Choose a region and a system that ParallelCluster supports, or set Image / CustomAmi."
        )
    return images[0]["ImageId"]


def read_configs(project: Project, template: Path) -> dict[Path, ClusterConfig]:
    """Return the configurations from the template and from config.yml, if it exists, by file.

    Raises:
        ClusterError: a file cannot be read.
    """
    configs = {template: parse_template(template, project.parameter_file, project.filled_values)}
    if files.exists(project.config_file):
        configs[project.config_file] = cluster_config.load(project.config_file)
    return configs


def check_boot_scripts(configs: Mapping[Path, ClusterConfig]) -> Iterator[Check]:
    """Yield a failed check for each file with which the boot scripts cannot run on the nodes."""
    for path, config in configs.items():
        faults = boot_checks.list_faults(config)
        if faults:
            yield Check("boot scripts", "FAIL", parameters.format_faults(path, faults))


def check_sizes(project: Project, config: ClusterConfig, source: str) -> Iterator[Check]:
    """Check that region and account can run the cluster at its maximum size.

    Args:
        project: the project.
        config: the cluster.
        source: the name of its file.
    """
    groups = sizes.list_groups(config)
    yield Check("sizes", "PASS", f"at most {sizes.format_groups(groups)}, from {source}")
    head_node_subnets = next((group.subnets for group in groups if group.name == "the head node"), [])
    uqle_type = project.get_uqle_settings().instance_type
    groups.append(InstanceGroup("the UQLE machine", [uqle_type], subnets=head_node_subnets))
    ec2 = project.ec2
    try:
        types = instance_types.describe_types(ec2, sizes.list_types(groups))
        subnets = sizes.load_subnets(ec2, groups)
    except (BotoCoreError, ClientError) as error:
        yield Check("instance types", "FAIL", format_error(error))
        return
    yield run_check("instance types", lambda: sizes.check_zones(ec2, groups, subnets))
    yield run_check("addresses", lambda: sizes.check_addresses(groups, types, subnets))
    vcpus = sizes.count_vcpus(groups, types)
    quotas = [Quota("ec2", code, count, unit) for (code, unit), count in vcpus.items()]
    yield from check_quotas(project.service_quotas, [*quotas, *NETWORK_QUOTAS])


def check_quotas(service_quotas: ServiceQuotasClient, quotas: list[Quota]) -> Iterator[Check]:
    """Compare the account's quotas with what the cluster needs. What is already in use is not counted."""
    for quota in quotas:
        need = f"{quota.minimum} {quota.unit} needed"
        if not quota.code:
            yield Check("quota", "UNKNOWN", f"AWS publishes no quota for these instances; {need}")
            continue
        try:
            answer = service_quotas.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
        except (BotoCoreError, ClientError):
            yield Check("quota", "UNKNOWN", f"cannot read {quota.code}; {need}")
            continue
        value = answer["Quota"]["Value"]
        detail = f"{quota.code} allows {value:.0f}; {need}"
        if value >= quota.minimum:
            yield Check("quota", "PASS", detail)
        else:
            yield Check("quota", "FAIL", f"{detail}. Request an increase in Service Quotas.")


def run_checks(project: Project, template: Path) -> Iterator[Check]:
    """Run all preflight checks, in the order of the README's steps.

    Args:
        project: the project.
        template: config.template.yml.

    Yields:
        The result of each check. Those that call AWS are left out if the credentials do not work.
    """
    yield Check("name", "PASS", project.cluster_name)
    yield Check("region", "PASS", project.region)
    credentials = run_check("credentials", lambda: describe_credentials(project.sts))
    yield credentials
    yield run_check("Node.js", find_node)
    yield check_ssh_source(project)
    if project.literal_key:
        warning = f"{project.parameter_file} holds the key itself: {parameters.LITERAL_KEY_WARNING}"
        yield Check("JWT key", "WARN", warning)
    if credentials.result == "FAIL":
        return
    ec2 = project.ec2
    try:
        configs = read_configs(project, template)
    except ClusterError as error:
        configs = {}
        yield Check("sizes", "FAIL", str(error))
    yield from check_boot_scripts(configs)
    yield run_check("key pair", lambda: check_key_pair(ec2, project.key_pair))
    uqle_type = project.get_uqle_settings().instance_type
    if configs:
        path, config = list(configs.items())[-1]  # config.yml if it exists, else the template
        yield from (Check("configuration", "WARN", text) for text in boot_checks.list_warnings(config))
        yield run_check("images", partial(check_images, ec2, project.ssm, config, uqle_type))
        yield from check_sizes(project, config, path.name)
    yield from check_permissions(project)


def check_permissions(project: Project) -> Iterator[Check]:
    """Compare the credentials' permissions with the policies in iam/, if IAM may simulate them."""
    identity = project.sts.get_caller_identity()
    scope = permissions.PolicyScope(project.cluster_name, project.region, identity["Account"])
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
        yield Check(
            "permissions", "WARN", f"no permission for {actions}{more}; {policy} lists what is needed"
        )


def check_ssh_source(project: Project) -> Check:
    """Check which addresses may use SSH."""
    try:
        ssh_from = project.get_ssh_from()
    except ClusterError as error:
        return Check("SSH from", "WARN", str(error))
    if parameters.is_wide_range(ssh_from):
        return Check("SSH from", "WARN", f"{ssh_from} {parameters.WIDE_WARNING}")
    return Check("SSH from", "PASS", ssh_from)
