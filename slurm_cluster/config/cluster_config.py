"""The configuration of a cluster (config.yml, or the template), as far as our steps read it.

Whatever is missing or of another type becomes empty here: pcluster's dry run reports it.
https://docs.aws.amazon.com/parallelcluster/latest/ug/cluster-configuration-file-v3.html
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm_cluster import files
from slurm_cluster.config.parameters import sanitize
from slurm_cluster.errors import ClusterError

DEFAULT_MAX_COUNT = 10  # of a compute resource without MaxCount


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
class InstanceGroup:
    """Instances that are launched alike: the head node, a compute resource of a queue, or a login pool.

    Args:
        name: for messages: `the head node`, `queue queue1` or `login pool pool1`.
        instance_types: each instance has one of these types.
        max_count: how many there can be at the same time.
        capacity_type: ONDEMAND, SPOT or CAPACITY_BLOCK.
        subnets: the ids of their subnets.
    """

    name: str
    instance_types: list[str]
    max_count: int = 1
    capacity_type: str = "ONDEMAND"
    subnets: list[str] = field(default_factory=list)

    @property
    def is_spot(self) -> bool:
        """Whether its instances are spot instances."""
        return self.capacity_type == "SPOT"


@dataclass(frozen=True)
class ClusterConfig:
    """A cluster.

    Args:
        region: the name of the region.
        os: the operating system, such as ubuntu2404.
        head_node: the head node.
        queues: the queues, in the order of the file.
        groups: the head node, the compute resources and the login pools.
    """

    region: str
    os: str
    head_node: NodeConfig
    queues: list[NodeConfig]
    groups: list[InstanceGroup] = field(default_factory=list)

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
        head_node=parse_node("the head node", find_value(tree, "HeadNode")),
        queues=[parse_node(f"queue {sanitize(get_text(queue, 'Name'))}", queue) for queue in queues],
        groups=parse_groups(tree),
    )


def parse_groups(tree: object) -> list[InstanceGroup]:
    """Return the groups of a cluster's instances, without those that have no instance type.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/Scheduling-v3.html
    """
    head_node = find_value(tree, "HeadNode")
    queues = list_mappings(tree, "Scheduling", "SlurmQueues")
    resources = [
        (queue, resource) for queue in queues for resource in list_mappings(queue, "ComputeResources")
    ]
    pools = list_mappings(tree, "LoginNodes", "Pools")
    groups = [
        build_group("the head node", head_node, head_node, 1),
        *(
            build_group("queue", queue, resource, find_value(resource, "MaxCount"))
            for queue, resource in resources
        ),
        *(build_group("login pool", pool, pool, find_value(pool, "Count")) for pool in pools),
    ]
    return [group for group in groups if group.instance_types]


def build_group(kind: str, node: object, resource: object, max_count: object) -> InstanceGroup:
    """Return a group: a queue has the subnets and the capacity type, its compute resource the rest."""
    networking, name = find_value(node, "Networking"), get_text(node, "Name")
    subnets = find_value(networking, "SubnetIds")
    subnets = subnets if isinstance(subnets, list) else [find_value(networking, "SubnetId")]
    return InstanceGroup(
        name=f"{kind} {sanitize(name)}" if name else kind,
        instance_types=list_texts([resource, *list_mappings(resource, "Instances")], "InstanceType"),
        max_count=max_count if isinstance(max_count, int) else DEFAULT_MAX_COUNT,
        capacity_type=get_text(node, "CapacityType", default="ONDEMAND"),
        subnets=[subnet for subnet in subnets if isinstance(subnet, str)],
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
