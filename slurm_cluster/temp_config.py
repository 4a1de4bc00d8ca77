"""temp-config.yml: what the wizard of `pcluster configure` wrote, read for the network that it made."""

from pathlib import Path
from typing import Any, NamedTuple

from slurm_cluster import files
from slurm_cluster.errors import ClusterError

PLACES: dict[str, list[str | int]] = {
    "region": ["Region"],
    "key_pair": ["HeadNode", "Ssh", "KeyName"],
    "public_subnet": ["HeadNode", "Networking", "SubnetId"],
    "private_subnet": ["Scheduling", "SlurmQueues", 0, "Networking", "SubnetIds", 0],
}


class TempConfig(NamedTuple):
    """What the other steps take from temp-config.yml."""

    region: str
    key_pair: str
    public_subnet: str
    private_subnet: str


def read(path: Path) -> TempConfig:
    """Read temp-config.yml.

    Raises:
        ClusterError: it is not there, is not YAML, or lacks one of the four values.

    """
    if not path.exists():
        raise ClusterError(f"{path} is not here: `invoke configure` writes it.")
    whole = files.read_yaml(path)
    return TempConfig(**{name: text_at(whole, place, path) for name, place in PLACES.items()})


def text_at(tree: Any, place: list[str | int], path: Path) -> str:
    """Give the text at a place of a tree of mappings and lists."""
    try:
        for step in place:
            tree = tree[step]
    except (KeyError, IndexError, TypeError):
        tree = None
    if isinstance(tree, str) and tree:
        return tree
    where = " / ".join("first" if isinstance(step, int) else step for step in place)
    raise ClusterError(f"{path} has no text at {where}: make it again with `invoke configure`, or fill it in.")
