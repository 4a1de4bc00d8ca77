"""Check what pcluster's dry run does not: that the boot scripts exist, and that the nodes may read them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster.aws import script_bucket
from slurm_cluster.config.cluster_config import ClusterConfig
from slurm_cluster.config.cluster_config import load as load_configuration
from slurm_cluster.config.parameters import format_faults, sanitize, shorten
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def check_configuration(path: Path, cluster: str, region: str, s3: S3Client) -> None:
    """Refuse a configuration whose nodes would fail when they boot, half an hour later.

    Args:
        path: config.yml, whoever wrote it.
        cluster: the cluster's name.
        region: the cluster's region.
        s3: a client of S3.

    Raises:
        ClusterError: the file does not exist, or is for another region or cluster; or a script does not
            exist, or a node may not read it.
    """
    config = load_configuration(path)
    if config.region != region:
        raise ClusterError(
            f"Region in {path} is {shorten(config.region)}, and this command is for {region}. "
            "Run `invoke render` again."
        )
    if reads_scripts_of_another(config, cluster):
        raise ClusterError(f"{path} is for another cluster than {cluster}. Use one folder per cluster.")
    denied = find_unreadable_scripts(config)
    if denied:
        raise ClusterError(format_faults(path, denied, "Add the bucket to Iam / S3Access."))
    scripts = {uri for node in config.nodes for uri in node.scripts}
    missing = script_bucket.find_missing_objects(s3, sorted(scripts))
    if missing:
        faults = [f"{sanitize(uri)} does not exist" for uri in missing]
        raise ClusterError(
            format_faults(path, faults, "Run `invoke upload-bootstrap fill-parameters render`.")
        )


def reads_scripts_of_another(config: ClusterConfig, cluster: str) -> bool:
    """Return whether a node may read another cluster's folder in a bucket of `invoke upload-bootstrap`."""
    uris = [uri.removeprefix("s3://") for node in config.nodes for uri in node.readable_uris]
    places = [uri.split("/", 1) for uri in uris]
    return any(script_bucket.is_script_bucket(bucket) and key != f"{cluster}/*" for bucket, key in places)


def find_unreadable_scripts(config: ClusterConfig) -> list[str]:
    """Return a sentence for each script in S3 that a node runs, but may not read."""
    return [
        f"{node.name} may not read {sanitize(uri)}"
        for node in config.nodes
        for uri in node.scripts
        if uri.startswith("s3://") and not any(fnmatchcase(uri, pattern) for pattern in node.readable_uris)
    ]
