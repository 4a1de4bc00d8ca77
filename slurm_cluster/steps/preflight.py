"""Check a configuration in AWS: the boot scripts exist, and the subnets and the file system are usable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster.aws import routes, script_bucket
from slurm_cluster.config import boot_checks
from slurm_cluster.config.cluster_config import ClusterConfig
from slurm_cluster.config.parameters import format_faults, sanitize, shorten
from slurm_cluster.errors import ClusterError
from slurm_cluster.state import storage

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from slurm_cluster.project import Project


def check_configuration(
    config: ClusterConfig, path: Path, cluster_name: str, region: str, s3: S3Client
) -> None:
    """Refuse a configuration whose nodes would fail when they boot, half an hour later.

    Args:
        config: the configuration in config.yml.
        path: config.yml, for messages.
        cluster_name: the cluster's name.
        region: the cluster's region.
        s3: a client of S3.

    Raises:
        ClusterError: the file is for another region or cluster; or a script does not exist, or a node may
            not read it.
    """
    if config.region != region:
        raise ClusterError(
            f"Region in {path} is {shorten(config.region)}, but this command is for {region}. "
            "Correct the file, or run `invoke render` again."
        )
    if reads_scripts_of_another(config, cluster_name):
        raise ClusterError(f"{path} is for another cluster than {cluster_name}. Use one folder per cluster.")
    scripts = {uri for node in config.nodes for uri in node.scripts}
    missing = script_bucket.find_missing_objects(s3, sorted(scripts))
    advice = "Run `invoke upload-bootstrap fill-parameters render`"
    faults = [
        *boot_checks.list_faults(config),
        *(f"{sanitize(uri)} does not exist. {advice}" for uri in missing),
    ]
    if faults:
        raise ClusterError(format_faults(path, faults))


def reads_scripts_of_another(config: ClusterConfig, cluster_name: str) -> bool:
    """Return whether a node may read another cluster's folder in a bucket of `invoke upload-bootstrap`."""
    uris = [uri.removeprefix("s3://") for node in config.nodes for uri in node.readable_uris]
    buckets_and_keys = [uri.split("/", 1) for uri in uris]
    return any(
        script_bucket.is_script_bucket(bucket) and key != f"{cluster_name}/*"
        for bucket, key in buckets_and_keys
    )


def list_all_warnings(p: Project, config: ClusterConfig) -> list[str]:
    """Return a warning for each setting in config.yml that is valid, but limits access or UQLE.

    Args:
        p: the project.
        config: the cluster of its config.yml, which has passed `check_configuration`.
    """
    warnings = boot_checks.list_warnings(config)
    subnets = [{"Name": "subnet-id", "Values": config.head_node.subnets}]
    subnet = next(iter(p.ec2.describe_subnets(Filters=subnets)["Subnets"]), None)  # type: ignore[arg-type]
    if subnet and not routes.is_public(p.ec2, subnet["VpcId"], subnet["SubnetId"]):
        warnings.append(
            f"The head node's subnet, {subnet['SubnetId']}, has no route to an internet gateway. "
            "The head node and the UQLE machine can be reached only from inside the VPC or by VPN."
        )
    shared = storage.find_shared(storage.list_storage(config), p.shared_dir)
    obstacle = storage.predict_mount_obstacle(p, shared, subnet)
    if obstacle and not config.head_node.own_security_groups:  # which rule out a UQLE machine anyway
        warnings.append(f"{obstacle} Without the shared files, `invoke connect-uqle --no-shared` works.")
    return warnings
