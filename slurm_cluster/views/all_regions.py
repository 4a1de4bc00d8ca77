"""`invoke status --all-regions`: the resources of all clusters in all enabled regions of the account."""

from __future__ import annotations

import functools
import itertools
import json
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from slurm_cluster.aws import clients, network, script_bucket, stack
from slurm_cluster.aws.file_system import format_gib
from slurm_cluster.errors import format_error
from slurm_cluster.output import get_width

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_efs import EFSClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient

    from slurm_cluster.project import Project

NAME_WIDTH = 20  # columns
SERVICES = ("cloudformation", "ec2", "efs", "secretsmanager")
UNKNOWN = "UNKNOWN"


class Finding(NamedTuple):
    """A resource of a cluster, or an error in a region.

    Args:
        region: its region.
        kind: what it is; UNKNOWN if something in the region could not be read.
        id: its id, or the cluster's name.
        cluster: the cluster that it belongs to.
        detail: its state or size; why something could not be read.
        is_billed: whether it is billed until it is deleted.
    """

    region: str
    kind: str
    id: str = ""
    cluster: str = ""
    detail: str = ""
    is_billed: bool = True


def find_in_all_regions(p: Project) -> tuple[list[str], list[Finding]]:
    """Return the names of the enabled regions, and what exists in them; all are read concurrently."""
    regions = sorted(region["RegionName"] for region in p.ec2.describe_regions()["Regions"])
    found = clients.run_concurrently(
        *(functools.partial(find_in_region, region) for region in regions),
        lambda: collect_findings(p.region, lambda: find_buckets(p.s3)),
    )
    return regions, [finding for findings in found for finding in findings]


def find_in_region(region: str) -> list[Finding]:
    """Return the clusters, UQLE machines, networks, retained file systems and secrets of one region."""
    cloudformation, ec2, efs, secretsmanager = [clients.make_client(service, region) for service in SERVICES]
    return collect_findings(
        region,
        lambda: find_clusters(region, cloudformation, efs),
        lambda: find_machines(region, ec2),
        lambda: find_networks(region, ec2),
        lambda: find_secrets(region, secretsmanager),
    )


def collect_findings(region: str, *calls: Callable[[], list[Finding]]) -> list[Finding]:
    """Return the findings of all calls. After a call that fails, add its error and stop."""
    findings: list[Finding] = []
    try:
        for call in calls:
            findings += call()
    except (BotoCoreError, ClientError) as error:
        findings.append(Finding(region, UNKNOWN, detail=format_error(error), is_billed=False))
    return findings


def find_clusters(region: str, cloudformation: CloudFormationClient, efs: EFSClient) -> list[Finding]:
    """Return the clusters of a region, and the file systems of deleted ones."""
    clusters = stack.list_clusters(cloudformation)
    return [
        *(Finding(region, "cluster", name, name) for name in clusters),
        *find_retained_file_systems(region, efs, clusters),
    ]


def find_machines(region: str, ec2: EC2Client) -> list[Finding]:
    """Return the UQLE machines of a region."""
    states = {"Name": "instance-state-name", "Values": clients.LIVE_STATES}
    machines = clients.list_instances(ec2, {"Name": "tag-key", "Values": [clients.TAG]}, states)  # type: ignore[arg-type]
    return [
        Finding(region, "UQLE machine", machine["InstanceId"], get_cluster(machine), machine["State"]["Name"])
        for machine in machines
    ]


def find_networks(region: str, ec2: EC2Client) -> list[Finding]:
    """Return the networks of a region that were created for clusters."""
    vpcs = clients.list_all(ec2, "describe_vpcs", Filters=[{"Name": "tag-key", "Values": [clients.TAG]}])
    findings = []
    for vpc in vpcs:
        gateways = ", ".join(network.list_nat_gateways(ec2, vpc["VpcId"]))
        findings.append(
            Finding(region, "network", vpc["VpcId"], get_cluster(vpc), gateways, is_billed=bool(gateways))
        )
    return findings


def find_retained_file_systems(region: str, efs: EFSClient, clusters: list[str]) -> list[Finding]:
    """Return the file systems of a region whose cluster is deleted."""
    return [
        Finding(
            region,
            "retained file system",
            file_system["FileSystemId"],
            get_cluster(file_system),
            format_gib(file_system),
        )
        for file_system in clients.list_all(efs, "describe_file_systems")
        if get_cluster(file_system) and get_cluster(file_system) not in clusters
    ]


def find_secrets(region: str, secretsmanager: SecretsManagerClient) -> list[Finding]:
    """Return the secrets of a region that hold JWT keys, without those that are scheduled for deletion."""
    has_tag = [{"Key": "tag-key", "Values": [clients.TAG]}]
    secrets = clients.list_all(secretsmanager, "list_secrets", Filters=has_tag)
    return [Finding(region, "JWT key", secret["Name"], get_cluster(secret)) for secret in secrets]


def find_buckets(s3: S3Client) -> list[Finding]:
    """Return the buckets with boot scripts of all regions. S3 lists them without asking each region."""
    return [
        Finding(script_bucket.get_region(bucket["Name"]), "boot scripts", bucket["Name"], is_billed=False)
        for bucket in s3.list_buckets()["Buckets"]
        if script_bucket.is_script_bucket(bucket["Name"])
    ]


def get_cluster(resource: Any) -> str:
    """Return the cluster that a resource belongs to, by its tags; empty if there is none."""
    return clients.get_tag(resource, clients.TAG) or clients.get_tag(resource, clients.PCLUSTER_TAG)


def format_all_regions(p: Project) -> list[str]:
    """Return the lines that `invoke status --all-regions` prints, folded to the terminal's width."""
    regions, findings = find_in_all_regions(p)
    lines = [f"All {len(regions)} regions that are enabled for the account"]
    for region in sorted({finding.region for finding in findings}):
        rows = [format_row(finding) for finding in findings if finding.region == region]
        lines += ["", region, *itertools.chain(*rows)]
    if not findings:
        return [*lines, "", f"There are no clusters, and no resources with the tag {clients.TAG}."]
    return [
        *lines,
        "",
        "$ = billed until you delete it",
        "To work on one of them, run this in an empty folder:",
        "  AWS_REGION=REGION INVOKE_CLUSTER_NAME=CLUSTER invoke status",
    ]


def format_row(finding: Finding) -> list[str]:
    """Return the lines of a row: the first one starts with $ if it is billed."""
    owner = f"of {finding.cluster}" if finding.cluster not in ("", finding.id) else ""
    text = ", ".join(filter(None, [finding.id, owner, finding.detail]))
    prefix = f"{'$' if finding.is_billed else ' '} {finding.kind:{NAME_WIDTH}}  "
    return textwrap.wrap(
        text, get_width(), initial_indent=prefix, subsequent_indent=" " * len(prefix), break_on_hyphens=False
    )


def format_json(p: Project) -> str:
    """Return the findings as JSON. Scripts rely on its keys."""
    regions, findings = find_in_all_regions(p)
    resources = [finding._asdict() for finding in findings]
    return json.dumps({"regions": regions, "resources": resources}, indent=2)
