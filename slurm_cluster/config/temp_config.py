"""temp-config.yml: what the wizard of `pcluster configure` wrote of the network that it made, or we of one that was there."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from slurm_cluster import files
from slurm_cluster.config import parameters
from slurm_cluster.errors import ClusterError

PATHS: dict[str, list[str | int]] = {
    "region": ["Region"],
    "key_pair": ["HeadNode", "Ssh", "KeyName"],
    "public_subnet": ["HeadNode", "Networking", "SubnetId"],
    "private_subnet": ["Scheduling", "SlurmQueues", 0, "Networking", "SubnetIds", 0],
}
EXISTING_NETWORK = "# This network was there before the cluster: no task of ours takes it away.\n"
PARAMETER_OF = {
    "region": "AWS_REGION",
    "key_pair": "SSH_KEY_PAIR",
    "public_subnet": "PUBLIC_SUBNET",
    "private_subnet": "PRIVATE_SUBNET",
}


class TempConfig(NamedTuple):
    """What the other steps take from temp-config.yml."""

    region: str
    key_pair: str
    public_subnet: str
    private_subnet: str


def read_temp_config(path: Path) -> TempConfig:
    """Read temp-config.yml.

    Raises:
        ClusterError: it is not there, is not YAML, or one of the four values is missing, or is not of its form.

    """
    if not files.exists(path):
        raise ClusterError(f"{path} is not here: `invoke configure` writes it.")
    whole = files.read_yaml(path)
    return TempConfig(
        **{name: get_text(whole, place, PARAMETER_OF[name], path) for name, place in PATHS.items()}
    )


def write_temp_config(path: Path, values: TempConfig) -> None:
    """Write the file for a network that was there before, with the four values in the wizard's places."""
    queue = {"Name": "queue1", "Networking": {"SubnetIds": [values.private_subnet]}}
    whole = {
        "Region": values.region,
        "HeadNode": {"Networking": {"SubnetId": values.public_subnet}, "Ssh": {"KeyName": values.key_pair}},
        "Scheduling": {"Scheduler": "slurm", "SlurmQueues": [queue]},
    }
    files.write_file(path, EXISTING_NETWORK + yaml.safe_dump(whole, sort_keys=False))


def is_from_wizard(path: Path) -> bool:
    """Say whether the wizard made the network, and not somebody before the cluster."""
    return files.exists(path) and EXISTING_NETWORK not in files.read_text(path)


def get_text(tree: Any, place: list[str | int], parameter: str, path: Path) -> str:
    """Give the text at a place of a tree of mappings and lists.

    Args:
        tree: the whole of the file.
        place: the names, and numbers in lists, that lead there.
        parameter: of config-parameters.json, for which it is.
        path: the file, for messages.

    Raises:
        ClusterError: there is no text, or not of the form that the parameter has.

    """
    for step in place:
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int):
            tree = tree[step] if step < len(tree) else None
        else:
            tree = None
    where = " / ".join("first" if isinstance(step, int) else step for step in place)
    if not (isinstance(tree, str) and tree):
        raise ClusterError(
            f"{path} has no text at {where}: make it again with `invoke configure`, or fill it in."
        )
    if parameters.validate_value(parameter, tree):
        shown, allowed = parameters.shorten(tree), parameters.RULES[parameter].allowed
        raise ClusterError(f"{path} has {shown} at {where}, which must be {allowed}.")
    return tree
