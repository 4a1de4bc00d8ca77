"""temp-config.yml: what the wizard of `pcluster configure` wrote of the network that it made, or we of one that was there."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from slurm_cluster import files
from slurm_cluster.errors import ClusterError

PLACES: dict[str, list[str | int]] = {
    "region": ["Region"],
    "key_pair": ["HeadNode", "Ssh", "KeyName"],
    "public_subnet": ["HeadNode", "Networking", "SubnetId"],
    "private_subnet": ["Scheduling", "SlurmQueues", 0, "Networking", "SubnetIds", 0],
}
NOT_OURS = "# This network was there before the cluster: no task of ours takes it away.\n"


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


def write(path: Path, values: TempConfig) -> None:
    """Write the file for a network that was there before, with the four values in the wizard's places."""
    queue = {"Name": "queue1", "Networking": {"SubnetIds": [values.private_subnet]}}
    whole = {
        "Region": values.region,
        "HeadNode": {"Networking": {"SubnetId": values.public_subnet}, "Ssh": {"KeyName": values.key_pair}},
        "Scheduling": {"Scheduler": "slurm", "SlurmQueues": [queue]},
    }
    files.write(path, NOT_OURS + yaml.safe_dump(whole, sort_keys=False))


def is_of_the_wizard(path: Path) -> bool:
    """Say whether the wizard made the network, and not somebody before the cluster."""
    return path.exists() and NOT_OURS not in files.read(path)


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
