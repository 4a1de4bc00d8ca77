"""A cluster of two machines, and what ParallelCluster does on them: init, OnNodeStart, configuration, OnNodeConfigured.

Stands in for ParallelCluster's own cookbook, as far as the boot scripts see it. The custom actions, their arguments and
CustomSlurmSettings are those of the project's configuration, rendered.
"""

import os
import re
import time
import warnings
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import jwt
import requests
import yaml

from slurm_cluster.config import template
from tests.nodes.machine import NETWORK, Completed, Machine, wait_for

REPOSITORY = Path(__file__).parents[2]
LAYOUT = Path(__file__).parent / "parallelcluster"
SCRIPTS = "/opt/parallelcluster/scripts"
KEY_FILE = "/var/spool/slurm.state/jwt_hs256.key"
KEY = "literal-key-literal-key-literal-key-43-long"
NAME = "pcluster-ubuntu"
SUITES = ["trixie", "forky"]
PACKAGES = {"ComputeFleet": ["podman", "uidmap", "slirp4netns", "netavark"]}  # that OnNodeConfigured installs
PACKAGES["HeadNode"] = [*PACKAGES["ComputeFleet"], "mariadb-server"]
DAEMONS = ["mariadb", "slurmdbd", "slurmctld", "slurmrestd"]


class Secret(NamedTuple):
    """The secret in the emulated AWS that holds the key, and the environment in which a node's aws reaches it."""

    arn: str
    key: str
    environment: dict[str, str]


class Addresses(NamedTuple):
    """Of the two nodes of a cluster."""

    head: str
    compute: str


CLUSTER = Addresses(f"{NETWORK}.2", f"{NETWORK}.3")  # the cluster of both nodes
SINGLE = Addresses(f"{NETWORK}.30", f"{NETWORK}.31")  # a head node on its own


def root(suite: str) -> Path:
    """Give the root file system of a version of Debian."""
    return Path(os.environ["ROOTS"], suite)


def rendered(key: str = KEY) -> dict[str, Any]:
    """Give the cluster's configuration as `invoke render` makes it, of made-up parameters."""
    values = {
        "AWS_REGION": "eu-west-2",
        "SSH_KEY_PAIR": "pcluster-ubuntu",
        "PRIVATE_SUBNET": "subnet-0123456789abcdef0",
        "PUBLIC_SUBNET": "subnet-0123456789abcdef1",
        "CUSTOM_BOOT_ACTION_START": "s3://bucket/pcluster-ubuntu/on_node_start_ubuntu.sh",
        "CUSTOM_BOOT_ACTION_CONFIGURED": "s3://bucket/pcluster-ubuntu/on_node_configured_ubuntu.sh",
        "SLURM_JWT_KEY": key,
        "SLURM_JWT_POLICY": "",
        "BOOTSTRAP_BUCKET": "bucket",
        "CLUSTER_NAME": NAME,
        "SSH_FROM": "203.0.113.7/32",
    }
    text = template.render_template(
        REPOSITORY / "config.template.yml", values, Path("config-parameters.json")
    )
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree


class Node(Machine):
    """A machine that ParallelCluster has as head node or in its compute fleet; booted, and not configured yet.

    Args:
        addresses: the head node's and the compute node's.
        layers: the root file systems that its disk is laid over, the upper ones first.
        binds: folders that it shares.

    """

    node_type: str
    # Podman needs its own /proc/sys/net, keys, tun, and a disk that is not overlaid itself.
    options = (
        "--system-call-filter=add_key keyctl",
        "--bind=/run/tun:/dev/net/tun",
        "--tmpfs=/var/lib/slurm-containers:mode=755",
    )

    def __init__(
        self, addresses: Addresses, layers: list[Path], binds: dict[str, Path] | None = None
    ) -> None:
        self.names = {
            "cluster": NAME,
            "head": f"ip-{addresses.head.replace('.', '-')}",
            "head_address": addresses.head,
            "compute": "queue1-st-t3large-1",
            "compute_address": addresses.compute,
            "node_type": self.node_type,
        }
        kind = "head" if self.node_type == "HeadNode" else "compute"
        super().__init__(self.names[kind], self.names[f"{kind}_address"], layers, binds)
        hosts = "127.0.0.1 localhost\n{head_address} {head}\n{compute_address} {compute}\n"
        self.write("/etc/hosts", hosts.format(**self.names))
        self.lay_out("cfnconfig", "/etc/parallelcluster/cfnconfig")
        self.boot()

    def lay_out(self, name: str, path: str) -> None:
        """Put a file of ParallelCluster's into its place, with the names filled in."""
        self.write(path, Template(Path(LAYOUT, name).read_text()).safe_substitute(self.names))

    def action(self, name: str, key: str = KEY, **environment: str) -> Completed:
        """Run a custom action of the rendered configuration as ParallelCluster does, and give its output and status."""
        tree = rendered(key)
        section = tree["HeadNode"] if self.node_type == "HeadNode" else tree["Scheduling"]["SlurmQueues"][0]
        action = section["CustomActions"][name]
        return self.script(Path(action["Script"]).name, *action.get("Args", []), **environment)

    def script(self, name: str, *arguments: str, **environment: str) -> Completed:
        """Run a boot script of the project, as it is now."""
        self.copy_script(name)
        return self.run(f"{SCRIPTS}/{name}", *arguments, check=False, **environment)

    def copy_script(self, name: str) -> None:
        """Put a boot script where ParallelCluster downloads it to."""
        self.write(f"{SCRIPTS}/{name}", (REPOSITORY / "bootstrap" / name).read_text(), mode=0o755)

    def start_daemon(self, name: str) -> None:
        """Start one of ParallelCluster's own services, now and after each boot."""
        self.lay_out(f"{name}.service", f"/etc/systemd/system/{name}.service")
        self.enter("systemctl", "daemon-reload")
        self.enter("systemctl", "enable", "--now", name)

    def files_with(self, secret: str, *folders: str) -> list[str]:
        """Give the files that hold a text."""
        return sorted(self.enter("grep", "-rlsF", "--", secret, *folders, check=False).stdout.split())


class HeadNode(Node):
    """The head node of a cluster."""

    node_type = "HeadNode"

    def configure(self) -> None:
        """Write Slurm's configuration, and start slurmctld."""
        self.configure_files()
        self.run("install", "-d", "-o", "slurm", "-g", "slurm", "-m", "0700", "/var/spool/slurm.state")
        self.start_daemon("slurmctld")

    def configure_files(self) -> None:
        """Write Slurm's configuration, with CustomSlurmSettings where ParallelCluster puts them."""
        settings = rendered()["Scheduling"]["SlurmSettings"]["CustomSlurmSettings"]
        lines = [f"{name}={value}\n" for setting in settings for name, value in setting.items()]
        self.lay_out("slurm.conf", "/opt/slurm/etc/slurm.conf")
        self.lay_out("slurm_parallelcluster.conf", "/opt/slurm/etc/slurm_parallelcluster.conf")
        self.write("/opt/slurm/etc/cgroup.conf", "CgroupPlugin=disabled\n")
        self.write("/opt/slurm/etc/pcluster/custom_slurm_settings_include_file_slurm.conf", "".join(lines))

    def slurm(self, *command: str) -> str:
        """Give what a command of Slurm says."""
        return self.run(f"/opt/slurm/bin/{command[0]}", *command[1:]).stdout.strip()

    def state(self) -> dict[str, str]:
        """Give what the scripts are answerable for: files with owner, mode and content, units, Slurm's settings, the database."""
        command = r"""
            cd / && places='etc opt/slurm/etc var/lib/systemd/linger var/spool/slurm.state/jwt*'
            find $places ! -type d ! -name machine-id -printf '%p %u:%g %m %l\n'
            find $places -type f ! -name machine-id -exec sha256sum {} + | sed -E 's/(\S+)  (.*)/content:\2 \1/'
            for word in is-active is-enabled; do echo "$word" $(systemctl $word mariadb slurmdbd slurmctld slurmrestd); done
            /opt/slurm/bin/scontrol show config | grep -E '^(AuthAlt|AccountingStorage|JobAcctGather)'
            echo clusters $(/opt/slurm/bin/sacctmgr -nP show cluster format=cluster,controlhost)
            echo users $(mariadb -Ne 'SELECT user, host, plugin FROM mysql.user ORDER BY 1, 2')"""
        said = self.enter("bash", "-c", command, check=False).stdout
        return dict(line.split(maxsplit=1) for line in said.splitlines())

    def processes(self, *units: str) -> dict[str, str]:
        """Give the process ids of services."""
        return {
            unit: self.enter("systemctl", "show", "-P", "MainPID", unit).stdout.strip()
            for unit in units or DAEMONS
        }


class ComputeNode(Node):
    """The one compute node of a cluster: /opt/slurm, /home and /shared are the head node's."""

    node_type = "ComputeFleet"

    def __init__(self, addresses: Addresses, layers: list[Path], head_node: HeadNode) -> None:
        shared = {
            path: head_node.binds.get(path, head_node.path(path))
            for path in ("/opt/slurm", "/home", "/shared")
        }
        super().__init__(addresses, layers, shared)

    def configure(self) -> None:
        """Start slurmd, which joins the cluster."""
        self.start_daemon("slurmd")


class RestApi:
    """Slurm's REST API as another machine sees it.

    Args:
        head: whose.
        key: that signs the tokens.

    """

    def __init__(self, head: HeadNode, key: str) -> None:
        self.url, self.key = f"http://{head.address}:8082", key
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy

    def token(self, key: str | None = None, algorithm: str = "HS256", **claims: Any) -> str:
        """Sign a token of user slurm that is good for ten minutes, or one with other claims."""
        now = int(time.time())
        payload = {"sun": "slurm", "iat": now, "exp": now + 600} | claims
        with warnings.catch_warnings(action="ignore"):  # the key is short for HS512
            return jwt.encode(payload, None if algorithm == "none" else key or self.key, algorithm)

    def call(self, method: str, path: str, token: str | None = "", **body: Any) -> requests.Response:
        """Send a request, with a good token unless another, or None, is given."""
        headers = {} if token is None else {"X-SLURM-USER-TOKEN": token or self.token()}
        return self.session.request(
            method, f"{self.url}{path}", headers=headers, json=body or None, timeout=20
        )

    def get(self, path: str) -> dict[str, Any]:
        """Give what the API answers to a good token, without errors."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        tree: dict[str, Any] = answer.json()
        assert not tree.get("errors"), answer.text
        return tree

    def version(self) -> str:
        """Discover the newest version of the API."""
        found = {
            match[1]
            for path in self.get("/openapi/v3")["paths"]
            if (match := re.match(r"/slurm/(v[\d.]+)/", path))
        }
        return max(found, key=lambda version: [int(number) for number in version[1:].split(".")])

    def run_job(self, script: str, seconds: float = 60) -> dict[str, Any]:
        """Submit a job of user slurm, wait until it ended, and give it as Slurm has it then."""
        version = self.version()
        job = {
            "name": "test",
            "partition": "queue1",
            "current_working_directory": "/shared",
            "standard_output": "/shared/%j.out",
            "environment": ["PATH=/usr/local/bin:/usr/bin:/bin"],
        }
        answer = self.call("POST", f"/slurm/{version}/job/submit", script=f"#!/bin/bash\n{script}\n", job=job)
        assert answer.status_code == 200, answer.text
        ended: dict[str, Any] = {}

        def has_ended() -> bool:
            ended.update(self.get(f"/slurm/{version}/job/{answer.json()['job_id']}")["jobs"][0])
            return not {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"} & set(ended["job_state"])

        wait_for(has_ended, seconds, "the job ends")
        return ended
