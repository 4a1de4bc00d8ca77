"""temp-config.yml: the network that `pcluster configure` created, or an existing one."""

from pathlib import Path
from typing import NamedTuple

import yaml

from slurm_cluster import files
from slurm_cluster.config.parameters import find_fault, format_faults
from slurm_cluster.errors import ClusterError
from slurm_cluster.trees import find_value

EXISTING_NETWORK = "# This network was there before the cluster"  # do not change: older files have it


# Which parameter of config-parameters.json a value becomes, and where it is in the file.
PLACES: dict[str, tuple[str, list[str | int]]] = {
    "region": ("AWS_REGION", ["Region"]),
    "key_pair": ("SSH_KEY_PAIR", ["HeadNode", "Ssh", "KeyName"]),
    "public_subnet": ("PUBLIC_SUBNET", ["HeadNode", "Networking", "SubnetId"]),
    "private_subnet": ("PRIVATE_SUBNET", ["Scheduling", "SlurmQueues", 0, "Networking", "SubnetIds", 0]),
}


class TempConfig(NamedTuple):
    """The values that the other steps read from temp-config.yml."""

    region: str
    key_pair: str
    public_subnet: str
    private_subnet: str


def read_temp_config(path: Path) -> TempConfig:
    """Read temp-config.yml.

    Raises:
        ClusterError: it does not exist or is not YAML, or values are missing or wrong; it lists all of them.
    """
    tree = files.read_yaml(path, "Run `invoke configure` to write it.")
    values, faults = {}, []
    for name, (parameter, path_in_file) in PLACES.items():
        values[name] = find_value(tree, *path_in_file)
        fault = find_fault(parameter, values[name])
        if fault:
            keys = ["first" if isinstance(key, int) else key for key in path_in_file]
            faults.append(f"{' / '.join(keys)} {fault}")
    if faults:
        raise ClusterError(format_faults(path, faults, "Correct the file, or run `invoke configure` again."))
    return TempConfig(**values)


def write_temp_config(path: Path, values: TempConfig) -> None:
    """Write temp-config.yml for an existing network, in the form that the wizard writes."""
    queue = {"Name": "queue1", "Networking": {"SubnetIds": [values.private_subnet]}}
    tree = {
        "Region": values.region,
        "HeadNode": {"Networking": {"SubnetId": values.public_subnet}, "Ssh": {"KeyName": values.key_pair}},
        "Scheduling": {"Scheduler": "slurm", "SlurmQueues": [queue]},
    }
    text = yaml.safe_dump(tree, sort_keys=False)
    files.write_file(path, f"{EXISTING_NETWORK}. No task deletes it.\n{text}")


def is_from_wizard(path: Path) -> bool:
    """Return whether the wizard created the network; False for an existing network or a missing file."""
    return files.exists(path) and EXISTING_NETWORK not in files.read_text(path)
