"""The configuration of a cluster (config.yml, or the template), as far as our steps read it.

Whatever is missing or of another type becomes empty here: pcluster's dry run reports it.
https://docs.aws.amazon.com/parallelcluster/latest/ug/cluster-configuration-file-v3.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_cluster import files
from slurm_cluster.config.parameters import sanitize
from slurm_cluster.errors import ClusterError


@dataclass(frozen=True)
class NodeConfig:
    """The head node, or the compute nodes of one queue.

    Args:
        name: for messages: `the head node`, or `queue queue1`.
        instance_types: in the order of the file.
        scripts: the URIs of the scripts of all custom actions.
        readable_uris: what S3Access lets the nodes read, as s3://bucket/key with * as wildcard.
    """

    name: str
    instance_types: list[str]
    scripts: list[str]
    readable_uris: list[str]


@dataclass(frozen=True)
class ClusterConfig:
    """A cluster.

    Args:
        region: the name of the region.
        os: the operating system, such as ubuntu2404.
        ssh_from: the address range that may use SSH; without one, pcluster lets everybody.
        head_node: the head node.
        queues: the queues, in the order of the file.
    """

    region: str
    os: str
    ssh_from: str
    head_node: NodeConfig
    queues: list[NodeConfig]

    @property
    def nodes(self) -> list[NodeConfig]:
        """The head node and the queues."""
        return [self.head_node, *self.queues]

    @property
    def instance_types(self) -> list[str]:
        """The different instance types, the head node's first."""
        return list(dict.fromkeys(name for node in self.nodes for name in node.instance_types))


def load(path: Path) -> ClusterConfig:
    """Read config.yml, whoever wrote it.

    Raises:
        ClusterError: it does not exist, or is not a YAML mapping.
    """
    if not files.exists(path):
        raise ClusterError(f"{path} does not exist. Run `invoke render` to write it.")
    tree = files.read_yaml(path)
    if not isinstance(tree, dict):
        raise ClusterError(f"{path} is not a cluster configuration. Run `invoke render` to write it again.")
    return parse(tree)


def parse(tree: object) -> ClusterConfig:
    """Return the cluster of a configuration.

    Args:
        tree: the parsed YAML.
    """
    queues = list_mappings(tree, "Scheduling", "SlurmQueues")
    return ClusterConfig(
        region=get_text(tree, "Region"),
        os=get_text(tree, "Image", "Os"),
        ssh_from=get_text(tree, "HeadNode", "Ssh", "AllowedIps"),
        head_node=parse_node("the head node", find_value(tree, "HeadNode")),
        queues=[parse_node(f"queue {sanitize(get_text(queue, 'Name'))}", queue) for queue in queues],
    )


def parse_node(name: str, tree: object) -> NodeConfig:
    """Return the head node or a queue."""
    resources = list_mappings(tree, "ComputeResources")  # of a queue
    choices = [choice for resource in resources for choice in list_mappings(resource, "Instances")]
    instance_types = list_texts([tree, *resources, *choices], "InstanceType")
    return NodeConfig(name, instance_types, list_scripts(tree), list_readable_uris(tree))


def list_scripts(node: object) -> list[str]:
    """Return the URIs of a node's scripts: an action has one script, or a sequence of them."""
    actions = find_value(node, "CustomActions")
    actions = list(actions.values()) if isinstance(actions, dict) else []
    sequences = [list_mappings(action, "Sequence") or [action] for action in actions]
    return list_texts([step for sequence in sequences for step in sequence], "Script")


def list_readable_uris(node: object) -> list[str]:
    """Return what a node may read in S3.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/HeadNode-v3.html#yaml-HeadNode-Iam-S3Access
    """
    entries = list_mappings(node, "Iam", "S3Access")
    return [
        f"s3://{get_text(entry, 'BucketName')}/{get_text(entry, 'KeyName', default='*')}" for entry in entries
    ]


def find_value(tree: object, *path: str | int) -> Any:
    """Return the value at a path of a parsed YAML or JSON file, or None if there is none.

    Args:
        tree: mappings and lists.
        path: keys of mappings and indexes of lists, from the root on.
    """
    try:
        for step in path:
            tree = tree[step] if isinstance(tree, (dict, list)) else None  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return None
    return tree


def get_text(tree: object, *path: str | int, default: str = "") -> str:
    """Return the text at a path, or the default if there is none."""
    value = find_value(tree, *path)
    return value if isinstance(value, str) else default


def list_mappings(tree: object, *path: str | int) -> list[dict[str, Any]]:
    """Return the mappings in the list at a path; empty if there is no list."""
    values = find_value(tree, *path)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def list_texts(trees: list[Any], key: str) -> list[str]:
    """Return the texts at a key of several mappings, without empty ones."""
    return [text for text in (get_text(tree, key) for tree in trees) if text]
