"""The parts of a cluster's configuration (config.yml or the template) that the steps use.

A value that is missing or has a wrong type becomes empty here; pcluster's dry run reports it.
https://docs.aws.amazon.com/parallelcluster/latest/ug/cluster-configuration-file-v3.html
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm_cluster import files
from slurm_cluster.config.parameters import sanitize
from slurm_cluster.errors import ClusterError
from slurm_cluster.trees import find_value, list_mappings

DEFAULT_MAX_COUNT = 10  # of a compute resource without MaxCount


@dataclass(frozen=True)
class NodeConfig:
    """The head node, the compute nodes of one queue, or the login nodes of one pool.

    Args:
        name: for messages: `the head node`, `queue queue1` or `login pool pool1`.
        scripts: the URIs of the scripts of all custom actions.
        readable_uris: what S3Access lets the nodes read, as s3://bucket/key with * as wildcard.
        policies: the ARNs of additional policies, and of the user's own role or instance profile.
        own_security_groups: the user's security groups, which replace those that pcluster creates.
        additional_security_groups: security groups besides those.
        subnets: the ids of their subnets.
        ssh_from: the address range that may use SSH. If empty, pcluster opens SSH of the head node to
            0.0.0.0/0, and uses the head node's range for a login pool.
    """

    name: str
    scripts: list[str]
    readable_uris: list[str]
    policies: list[str] = field(default_factory=list)
    own_security_groups: list[str] = field(default_factory=list)
    additional_security_groups: list[str] = field(default_factory=list)
    subnets: list[str] = field(default_factory=list)
    ssh_from: str = ""


@dataclass(frozen=True)
class StorageConfig:
    """An entry of SharedStorage.

    Args:
        name: its name.
        kind: its StorageType, such as Efs, Ebs or FsxLustre.
        mount_dir: where the nodes mount it.
        existing_id: the id of an existing file system or volume; empty if pcluster creates a new one.
        access_point: the id of the EFS access point that the nodes mount it through; empty for none.
        is_raid: whether it consists of several EBS volumes.
    """

    name: str
    kind: str
    mount_dir: str
    existing_id: str = ""
    access_point: str = ""
    is_raid: bool = False


@dataclass(frozen=True)
class InstanceGroup:
    """Instances with the same launch settings: the head node, a compute resource, or a login pool.

    Args:
        name: for messages: `the head node`, `queue queue1` or `login pool pool1`.
        instance_types: the possible types of an instance.
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
    """The parts of a cluster's configuration that the steps use.

    Args:
        region: the name of the region.
        os: the operating system, such as ubuntu2404.
        head_node: the head node.
        queues: the queues, in the order of the file.
        login_pools: the pools of login nodes, in the order of the file.
        storage: the shared storage, in the order of the file.
        has_internal_efs: whether pcluster keeps its own files on an EFS file system, which it creates.
        accounting: the section that sets up accounting, Database or ExternalSlurmdbd; empty for none.
        scheduler: slurm or awsbatch.
        custom_ami: the image of the nodes, if it is not one of ParallelCluster's.
        has_jwt_auth: whether CustomSlurmSettings sets AuthAltTypes: auth/jwt, or an include file might.
        groups: the head node, the compute resources and the login pools.
    """

    region: str
    os: str
    head_node: NodeConfig
    queues: list[NodeConfig]
    login_pools: list[NodeConfig] = field(default_factory=list)
    storage: list[StorageConfig] = field(default_factory=list)
    has_internal_efs: bool = False
    accounting: str = ""
    scheduler: str = ""
    custom_ami: str = ""
    has_jwt_auth: bool = False
    groups: list[InstanceGroup] = field(default_factory=list)

    @property
    def has_other_scheduler(self) -> bool:
        """Whether the scheduler is not Slurm."""
        return self.scheduler not in ("", "slurm")

    @property
    def nodes(self) -> list[NodeConfig]:
        """The head node, the queues and the login pools."""
        return [self.head_node, *self.queues, *self.login_pools]


def load(path: Path) -> ClusterConfig:
    """Read config.yml.

    Raises:
        ClusterError: it does not exist, or is not a YAML mapping.
    """
    tree = files.read_yaml(path, "Run `invoke render` to write it.")
    if not isinstance(tree, dict):
        raise ClusterError(
            f"{path} is not a cluster configuration. Correct it, or run `invoke render` to replace it."
        )
    return parse(tree)


def parse(tree: object) -> ClusterConfig:
    """Return the configuration from parsed YAML.

    Args:
        tree: the parsed YAML.
    """
    settings = find_value(tree, "Scheduling", "SlurmSettings")
    slurm = settings if isinstance(settings, dict) else {}
    return ClusterConfig(
        region=get_text(tree, "Region"),
        os=get_text(tree, "Image", "Os"),
        head_node=parse_node("the head node", find_value(tree, "HeadNode")),
        queues=parse_nodes("queue", list_mappings(tree, "Scheduling", "SlurmQueues")),
        login_pools=parse_nodes("login pool", list_mappings(tree, "LoginNodes", "Pools")),
        storage=[parse_storage(entry) for entry in list_mappings(tree, "SharedStorage")],
        has_internal_efs=get_text(tree, "HeadNode", "SharedStorageType").lower() == "efs",
        accounting=next((name for name in ("Database", "ExternalSlurmdbd") if name in slurm), ""),
        scheduler=get_text(tree, "Scheduling", "Scheduler"),
        custom_ami=get_text(tree, "HeadNode", "Image", "CustomAmi") or get_text(tree, "Image", "CustomAmi"),
        has_jwt_auth=has_jwt_auth(slurm),
        groups=parse_groups(tree),
    )


def has_jwt_auth(slurm_settings: object) -> bool:
    """Return whether the custom settings have AuthAltTypes, or are in a file that may have it.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/slurm-configuration-settings-v3.html
    """
    if get_text(slurm_settings, "CustomSlurmSettingsIncludeFile"):
        return True
    values = [
        value
        for setting in list_mappings(slurm_settings, "CustomSlurmSettings")
        for name, value in setting.items()
        if str(name).lower() == "authalttypes"  # Slurm ignores the case
    ]
    return "auth/jwt" in str(values)


def parse_groups(tree: object) -> list[InstanceGroup]:
    """Return the node groups that have an instance type.

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
    """Return a node group. A queue sets subnets and capacity type; its compute resource sets the rest."""
    name = get_text(node, "Name")
    return InstanceGroup(
        name=f"{kind} {sanitize(name)}" if name else kind,
        instance_types=list_texts([resource, *list_mappings(resource, "Instances")], "InstanceType"),
        max_count=max_count if isinstance(max_count, int) else DEFAULT_MAX_COUNT,
        capacity_type=get_text(node, "CapacityType", default="ONDEMAND"),
        subnets=list_subnets(node),
    )


def parse_nodes(kind: str, trees: list[dict[str, Any]]) -> list[NodeConfig]:
    """Return queues or login pools."""
    return [parse_node(f"{kind} {sanitize(get_text(tree, 'Name'))}", tree) for tree in trees]


def parse_node(name: str, tree: object) -> NodeConfig:
    """Return the head node, a queue or a login pool."""
    networking, iam = find_value(tree, "Networking"), [find_value(tree, "Iam")]
    policies = list_texts(list_mappings(tree, "Iam", "AdditionalIamPolicies"), "Policy")
    return NodeConfig(
        name=name,
        scripts=list_scripts(tree),
        # https://docs.aws.amazon.com/parallelcluster/latest/ug/HeadNode-v3.html#yaml-HeadNode-Iam-S3Access
        readable_uris=[
            f"s3://{get_text(entry, 'BucketName')}/{get_text(entry, 'KeyName', default='*')}"
            for entry in list_mappings(tree, "Iam", "S3Access")
        ],
        policies=[*policies, *list_texts(iam, "InstanceRole"), *list_texts(iam, "InstanceProfile")],
        own_security_groups=list_texts_at(networking, "SecurityGroups"),
        additional_security_groups=list_texts_at(networking, "AdditionalSecurityGroups"),
        subnets=list_subnets(tree),
        ssh_from=get_text(tree, "Ssh", "AllowedIps"),
    )


def list_subnets(node: object) -> list[str]:
    """Return the ids of a node's subnets: the head node has one, a queue or a login pool a list."""
    networking = find_value(node, "Networking")
    subnets = [*list_texts_at(networking, "SubnetIds"), get_text(networking, "SubnetId")]
    return [subnet for subnet in subnets if subnet]


def parse_storage(tree: object) -> StorageConfig:
    """Return an entry of SharedStorage.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/SharedStorage-v3.html
    """
    kind = get_text(tree, "StorageType")
    sections = [find_value(tree, f"{kind}Settings")]  # EfsSettings, EbsSettings, FsxLustreSettings, ...
    ids = [
        found for key in ("FileSystemId", "VolumeId", "FileCacheId") for found in list_texts(sections, key)
    ]
    return StorageConfig(
        name=get_text(tree, "Name"),
        kind=kind,
        mount_dir=f"/{get_text(tree, 'MountDir').strip('/')}",  # pcluster mounts `shared` at /shared
        existing_id=ids[0] if ids else "",
        access_point=get_text(tree, "EfsSettings", "AccessPointId"),
        is_raid=find_value(tree, "EbsSettings", "Raid") is not None,
    )


def list_scripts(node: object) -> list[str]:
    """Return the URIs of a node's scripts: an action has one script, or a sequence of them."""
    actions = find_value(node, "CustomActions")
    actions = list(actions.values()) if isinstance(actions, dict) else []
    sequences = [list_mappings(action, "Sequence") or [action] for action in actions]
    return list_texts([step for sequence in sequences for step in sequence], "Script")


def get_text(tree: object, *path: str | int, default: str = "") -> str:
    """Return the text at a path, or the default if there is none."""
    value = find_value(tree, *path)
    return value if isinstance(value, str) else default


def list_texts_at(tree: object, *path: str | int) -> list[str]:
    """Return the texts in the list at a path; empty if there is no list."""
    values = find_value(tree, *path)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def list_texts(trees: list[Any], key: str) -> list[str]:
    """Return the texts at a key of several mappings, without empty ones."""
    return [text for text in (get_text(tree, key) for tree in trees) if text]
