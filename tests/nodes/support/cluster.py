"""A cluster of two machines, set up as by ParallelCluster: OnNodeStart, configuration, OnNodeConfigured.

This replaces ParallelCluster's cookbook, as far as the boot scripts depend on it. The custom actions, their
arguments and CustomSlurmSettings come from the project's rendered configuration.
"""

import os
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import yaml

from slurm_cluster.config import template
from tests.nodes.support.machine import NETWORK_PREFIX, CommandResult, Machine
from tests.nodes.support.rest_api import RestApi

REPOSITORY = Path(__file__).parents[3]
TEMPLATES = Path(__file__).parent / "parallelcluster"
SCRIPTS_FOLDER = "/opt/parallelcluster/scripts"
REGION = "eu-west-2"
KEY_FILE = "/var/spool/slurm.state/jwt_hs256.key"
KEY = "literal-key-literal-key-literal-key-43-long"
CLUSTER_NAME = "pcluster-ubuntu"
DEBIAN_SUITES = ["trixie", "forky"]
PACKAGES = {"ComputeFleet": ["podman", "uidmap", "slirp4netns", "netavark"]}  # installed by OnNodeConfigured
PACKAGES["HeadNode"] = [*PACKAGES["ComputeFleet"], "mariadb-server"]
DAEMONS = ["mariadb", "slurmdbd", "slurmctld", "slurmrestd"]

# Prints what the boot scripts set up: files (owner, mode, content), units, Slurm settings and the database.
PRINT_STATE = r"""
cd / && paths='etc opt/slurm/etc var/lib/systemd/linger var/spool/slurm.state/jwt*'
find $paths ! -type d ! -name machine-id -printf '%p %u:%g %m %l\n'
find $paths -type f ! -name machine-id -exec sha256sum {} + | sed -E 's/(\S+)  (.*)/content:\2 \1/'
for query in is-active is-enabled; do
  echo "$query" $(systemctl $query mariadb slurmdbd slurmctld slurmrestd)
done
/opt/slurm/bin/scontrol show config | grep -E '^(AuthAlt|AccountingStorage|JobAcctGather)'
echo clusters $(/opt/slurm/bin/sacctmgr -nP show cluster format=cluster,controlhost)
echo users $(mariadb -Ne 'SELECT user, host, plugin FROM mysql.user ORDER BY 1, 2')
"""


class KeySecret(NamedTuple):
    """The secret with the JWT key in the emulated AWS, and the environment in which a node can read it."""

    arn: str
    key: str
    environment: dict[str, str]


class NodeAddresses(NamedTuple):
    """The IP addresses of a cluster's two nodes, and the name of the compute node.

    A dynamic node, whose name contains `-dy-`, is powered up for a job. A static one is always there.
    """

    head: str
    compute: str
    compute_name: str = "queue1-st-t3large-1"


CLUSTER_ADDRESSES = NodeAddresses(
    f"{NETWORK_PREFIX}.2", f"{NETWORK_PREFIX}.3"
)  # for a cluster with both nodes
SINGLE_HEAD_ADDRESSES = NodeAddresses(f"{NETWORK_PREFIX}.30", f"{NETWORK_PREFIX}.31")  # for a head node alone


def get_root_file_system(name: str) -> Path:
    """Return the folder that `tests/nodes/build` created under this name."""
    return Path(os.environ["ROOTS"], name)


def render_configuration(key: str = KEY) -> dict[str, Any]:
    """Render the cluster's configuration as `invoke render` does, with example parameters."""
    values = {
        "AWS_REGION": REGION,
        "SSH_KEY_PAIR": "pcluster-ubuntu",
        "PRIVATE_SUBNET": "subnet-0123456789abcdef0",
        "PUBLIC_SUBNET": "subnet-0123456789abcdef1",
        "CUSTOM_BOOT_ACTION_START": "s3://bucket/pcluster-ubuntu/on_node_start_ubuntu.sh",
        "CUSTOM_BOOT_ACTION_CONFIGURED": "s3://bucket/pcluster-ubuntu/on_node_configured_ubuntu.sh",
        "SLURM_JWT_KEY": key,
        "SLURM_JWT_POLICY": "",
        "BOOTSTRAP_BUCKET": "bucket",
        "CLUSTER_NAME": CLUSTER_NAME,
        "SSH_FROM": "203.0.113.7/32",
    }
    text = template.render_template(
        REPOSITORY / "config.template.yml", values, Path("config-parameters.json")
    )
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree


def get_template_values(addresses: NodeAddresses, node_type: str) -> dict[str, str]:
    """Return the values in ParallelCluster's files on one of a cluster's nodes."""
    has_live_terminal = "-dy-" in addresses.compute_name
    return {
        "cluster": CLUSTER_NAME,
        "head": f"ip-{addresses.head.replace('.', '-')}",
        "head_address": addresses.head,
        "compute": addresses.compute_name,
        "compute_address": addresses.compute,
        "node_address": "" if has_live_terminal else f"NodeAddr={addresses.compute}",
        "state": "CLOUD" if has_live_terminal else "UNKNOWN",
        "suspend_time": "600" if has_live_terminal else "-1",
        "node_type": node_type,
    }


def render_template(name: str, values: dict[str, str]) -> str:
    """Return one of ParallelCluster's files with these values."""
    return Template(Path(TEMPLATES, name).read_text()).safe_substitute(values)


def render_slurm_files(values: dict[str, str]) -> dict[str, tuple[str, int]]:
    """Return Slurm's configuration as ParallelCluster writes it: path to text and mode."""
    settings = render_configuration()["Scheduling"]["SlurmSettings"]["CustomSlurmSettings"]
    lines = [f"{name}={value}\n" for setting in settings for name, value in setting.items()]
    folder, programs = "/opt/slurm/etc", "/opt/parallelcluster/scripts/slurm"
    queue = "slurm_parallelcluster_queue1_partition.conf"
    paths = {
        "slurm.conf": f"{folder}/slurm.conf",
        "slurm_parallelcluster.conf": f"{folder}/slurm_parallelcluster.conf",
        queue: f"{folder}/pcluster/{queue}",
        "prolog": f"{folder}/scripts/prolog.d/90_prolog",
        "epilog": f"{folder}/scripts/epilog.d/90_epilog",
        "slurm_resume": f"{programs}/slurm_resume",
        "slurm_suspend": f"{programs}/slurm_suspend",
    }
    files = {
        path: (render_template(name, values), 0o644 if path.endswith(".conf") else 0o755)
        for name, path in paths.items()
    }
    files[f"{folder}/cgroup.conf"] = ("CgroupPlugin=disabled\n", 0o644)
    files[f"{folder}/pcluster/custom_slurm_settings_include_file_slurm.conf"] = ("".join(lines), 0o644)
    return files


class Node(Machine):
    """A machine that ParallelCluster launched as head node or compute node: booted, but not configured yet.

    Args:
        addresses: of the head node and the compute node.
        layers: the root file systems below its disk, the upper ones first.
        binds: folders that it shares.

    """

    node_type: str
    # Podman needs its own /proc/sys/net, keys, tun, and a disk that is not an overlay itself.
    options = (
        "--system-call-filter=add_key keyctl",
        "--bind=/run/tun:/dev/net/tun",
        "--tmpfs=/var/lib/slurm-containers:mode=755",
    )

    def __init__(
        self, addresses: NodeAddresses, layers: list[Path], binds: dict[str, Path] | None = None
    ) -> None:
        self.template_values = get_template_values(addresses, self.node_type)
        kind = "head" if self.node_type == "HeadNode" else "compute"
        name, address = self.template_values[kind], self.template_values[f"{kind}_address"]
        super().__init__(name, address, layers, binds)
        hosts = "127.0.0.1 localhost\n{head_address} {head}\n{compute_address} {compute}\n"
        self.write_file("/etc/hosts", hosts.format(**self.template_values))
        self.write_template("cfnconfig", "/etc/parallelcluster/cfnconfig")
        self.boot()

    def write_template(self, name: str, path: str, mode: int = 0o644) -> None:
        """Write one of ParallelCluster's files, with the values of this cluster."""
        self.write_file(path, render_template(name, self.template_values), mode)

    def run_custom_action(self, name: str, key: str = KEY, **environment: str) -> CommandResult:
        """Run a custom action of the rendered configuration as ParallelCluster does."""
        action = find_custom_action(render_configuration(key), self.node_type, name)
        return self.run_script(Path(action["Script"]).name, *action.get("Args", []), **environment)

    def run_script(self, name: str, *arguments: str, **environment: str) -> CommandResult:
        """Copy a boot script to the node, and run it."""
        self.copy_script(name)
        return self.run(f"{SCRIPTS_FOLDER}/{name}", *arguments, check=False, **environment)

    def copy_script(self, name: str) -> None:
        """Copy a boot script to the folder to which ParallelCluster downloads it."""
        text = (REPOSITORY / "bootstrap" / name).read_text()
        self.write_file(f"{SCRIPTS_FOLDER}/{name}", text, mode=0o755)

    def start_service(self, name: str) -> None:
        """Start one of ParallelCluster's own services, now and at each boot."""
        self.write_template(f"{name}.service", f"/etc/systemd/system/{name}.service")
        self.nsenter("systemctl", "daemon-reload")
        self.nsenter("systemctl", "enable", "--now", name)

    def find_files_containing(self, text: str, *folders: str) -> list[str]:
        """Return the files in the folders that contain a text."""
        return sorted(self.nsenter("grep", "-rlsF", "--", text, *folders, check=False).stdout.split())


class HeadNode(Node):
    """The head node of a cluster."""

    node_type = "HeadNode"

    def configure(self) -> None:
        """Mount a new /shared, write Slurm's configuration, and start slurmctld."""
        self.run("install", "-d", "-o", "root", "-g", "root", "-m", "1777", "/shared")
        self.write_slurm_configuration()
        self.run("install", "-d", "-o", "slurm", "-g", "slurm", "-m", "0700", "/var/spool/slurm.state")
        self.start_service("slurmctld")

    def write_slurm_configuration(self) -> None:
        """Write Slurm's configuration, without cgroups, which need a separate kernel, and the PATH of shells."""
        self.write_file("/etc/profile.d/slurm.sh", "PATH=$PATH:/opt/slurm/bin\n")
        for path, (text, mode) in render_slurm_files(self.template_values).items():
            self.write_file(path, text, mode)

    def run_slurm_command(self, *command: str) -> str:
        """Run a Slurm command, and return its output."""
        return self.run(f"/opt/slurm/bin/{command[0]}", *command[1:]).stdout.strip()

    def read_state(self) -> dict[str, str]:
        """Return everything that the boot scripts set up, to compare it with another state."""
        output = self.nsenter("bash", "-c", PRINT_STATE, check=False).stdout
        return dict(line.split(maxsplit=1) for line in output.splitlines())

    def read_main_pids(self, *units: str) -> dict[str, str]:
        """Return the main process ids of services; of all the daemons by default."""
        show = ("systemctl", "show", "-P", "MainPID")
        return {unit: self.nsenter(*show, unit).stdout.strip() for unit in units or DAEMONS}


class ComputeNode(Node):
    """The only compute node of a cluster. It shares /opt/slurm, /home and /shared with the head node."""

    node_type = "ComputeFleet"

    def __init__(self, addresses: NodeAddresses, layers: list[Path], head_node: HeadNode) -> None:
        folders = ("/opt/slurm", "/home", "/shared")
        binds = {folder: head_node.binds.get(folder, head_node.get_path(folder)) for folder in folders}
        super().__init__(addresses, layers, binds)

    def configure(self) -> None:
        """Start slurmd, which joins the cluster."""
        # -b: report a reboot. A machine here has the host's uptime, so it seems to be older than its power-up.
        self.write_file("/etc/sysconfig/slurmd", "SLURMD_OPTIONS=-b\n")
        self.start_service("slurmd")


class Cluster(NamedTuple):
    """A head node and a compute node after all boot scripts ran, and the results of the scripts."""

    head_node: HeadNode
    compute_node: ComputeNode
    script_results: dict[str, CommandResult]
    rest_api: RestApi


def find_custom_action(config: dict[str, Any], node_type: str, name: str) -> dict[str, Any]:
    """Return a custom action of the head node, or of the first queue, from a rendered configuration."""
    queues = config["Scheduling"]["SlurmQueues"]
    section = config["HeadNode"] if node_type == "HeadNode" else queues[0]
    action: dict[str, Any] = section["CustomActions"][name]
    return action
