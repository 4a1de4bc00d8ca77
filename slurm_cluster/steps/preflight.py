"""What pcluster's dry run does not look at: that the nodes may fetch their scripts, and that these are there."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurm_cluster import files
from slurm_cluster.aws import script_bucket
from slurm_cluster.config.parameters import sanitize
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def check_configuration(path: Path, cluster: str, region: str, s3: S3Client) -> None:
    """Refuse a configuration whose nodes would fail when they boot, half an hour later.

    Args:
        path: config.yml, rendered by us or by hand.
        cluster: its name.
        region: where it is to be.
        s3: a client of S3.

    Raises:
        ClusterError: it is not there, is for another region, or a node may not fetch a script or finds none.
    """
    configuration = load_configuration(path)
    if configuration.get("Region") != region:
        other = sanitize(str(configuration.get("Region")))
        raise ClusterError(f"{path} is for {other}, not {region}: `invoke render` writes it anew.")
    entries = [each for kind in get_node_types(configuration).values() for each in get_s3_access(kind)]
    if any(
        script_bucket.is_script_bucket(get_text(each, "BucketName")) and each.get("KeyName") != f"{cluster}/*"
        for each in entries
    ):
        raise ClusterError(f"{path} is of another cluster than {cluster}: work in a folder of its own.")
    unreadable = find_unreadable_scripts(configuration)
    if unreadable:
        raise ClusterError(f"{path}: {'; '.join(unreadable)}: add the bucket to its Iam / S3Access.")
    missing = script_bucket.find_missing_objects(
        s3, sorted({uri for kind in get_node_types(configuration).values() for uri in get_scripts(kind)})
    )
    if missing:
        raise ClusterError(
            f"{', '.join(map(sanitize, missing))} is not there: `invoke upload-bootstrap fill-parameters render`."
        )


def load_configuration(path: Path) -> dict[str, Any]:
    """Read a configuration that was rendered, by us or by hand.

    Raises:
        ClusterError: it is not there, or not a YAML mapping.

    """
    if not files.exists(path):
        raise ClusterError(f"{path} is not here: `invoke render` writes it.")
    configuration = files.read_yaml(path)
    if not isinstance(configuration, dict):
        raise ClusterError(f"{path} holds no configuration: `invoke render` writes it.")
    return configuration


def get_node_types(configuration: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give the parts of a configuration that have custom actions and permissions: the head node and each queue."""
    kinds = {
        f"queue {sanitize(str(queue.get('Name')))}": queue
        for queue in get_mappings(get_mapping(configuration, "Scheduling").get("SlurmQueues"))
    }
    return {"the head node": get_mapping(configuration, "HeadNode"), **kinds}


def get_mapping(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give the mapping below a name; where something else stands there, the dry run says so."""
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def get_mappings(listed: object) -> list[Mapping[str, Any]]:
    """Give the mappings of a list."""
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def get_text(tree: Mapping[str, Any], name: str, otherwise: str = "") -> str:
    """Give the text below a name."""
    found = tree.get(name)
    return found if isinstance(found, str) else otherwise


def get_s3_access(kind: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the buckets that one kind of node may read."""
    return get_mappings(get_mapping(kind, "Iam").get("S3Access"))


def get_scripts(kind: Mapping[str, Any]) -> list[str]:
    """Give the URIs of the scripts that one kind of node runs."""
    actions = get_mappings(list(get_mapping(kind, "CustomActions").values()))
    listed = [each for action in actions for each in (get_mappings(action.get("Sequence")) or [action])]
    return [get_text(each, "Script") for each in listed if get_text(each, "Script")]


def find_unreadable_scripts(configuration: Mapping[str, Any]) -> list[str]:
    """Name the nodes that may not fetch a script from S3: they would fail when they boot, and the dry run passes.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/HeadNode-v3.html#yaml-HeadNode-Iam-S3Access
    """
    found = []
    for name, kind in get_node_types(configuration).items():
        readable = [
            f"s3://{get_text(each, 'BucketName')}/{get_text(each, 'KeyName', '*')}"
            for each in get_s3_access(kind)
        ]
        stored = [uri for uri in get_scripts(kind) if uri.startswith("s3://")]
        denied = [uri for uri in stored if not any(fnmatchcase(uri, pattern) for pattern in readable)]
        found += [f"{name} may not read {sanitize(uri)}" for uri in denied]
    return found
