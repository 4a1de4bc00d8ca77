"""The operator, the emulated account after `invoke up`, and the machines that replace its instances."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from tests.nodes.support.cluster import (
    CLUSTER_NAME,
    REGION,
    REPOSITORY,
    SCRIPTS_FOLDER,
    ComputeNode,
    HeadNode,
    Node,
    find_custom_action,
)
from tests.nodes.support.machine import CommandResult, run_on_host
from tests.nodes.support.network import Network, NetworkInterface
from tests.nodes.support.virtual_machine import VirtualMachine

# Accepts new host keys, as an operator does. Ignores the SSH settings of this machine's user.
SSH_WRAPPER = """#!/bin/sh
exec /usr/bin/{name} -F none -o UserKnownHostsFile=/run/known_hosts -o StrictHostKeyChecking=accept-new "$@"
"""
AWS_CONFIG = """[default]
region = {region}
endpoint_url = {AWS_ENDPOINT_URL}
aws_access_key_id = {AWS_ACCESS_KEY_ID}
aws_secret_access_key = {AWS_SECRET_ACCESS_KEY}
"""


class Operator:
    """A person who runs the tasks in a folder, with the real ssh.

    Args:
        folder: the current folder of the tasks.

    """

    def __init__(self, folder: Path) -> None:
        self.folder, wrappers = folder, Path("/run/bin")
        wrappers.mkdir()
        for name in "ssh", "scp":
            Path(wrappers, name).write_text(SSH_WRAPPER.format(name=name))
            Path(wrappers, name).chmod(0o755)
        self.private_key = f"{os.environ['HOME']}/.ssh/{CLUSTER_NAME}.pem"
        self.environment = os.environ | {"PATH": f"{wrappers}:{os.environ['PATH']}"}

    def run(self, *command: str, check: bool = True, **environment: str) -> CommandResult:
        """Run a command in the folder."""
        environment = self.environment | environment
        return run_on_host(*command, check=check, timeout=600, cwd=self.folder, env=environment)

    def build_task_command(self, *task: str) -> list[str]:
        """Return the command line that runs a task."""
        invoke = Path(sys.executable).with_name("invoke")
        return [str(invoke), "--search-root", str(REPOSITORY), *task]

    def run_task(self, *task: str, check: bool = True, **environment: str) -> str:
        """Run a task, and return its output.

        Args:
            task: its name and arguments.
            check: whether it must succeed; otherwise it must fail with status 1.
            environment: additional variables.

        """
        result = self.run(*self.build_task_command(*task), check=check, **environment)
        assert check or result.returncode == 1, result.stdout
        assert "Traceback" not in result.stdout
        return result.stdout


class Account(NamedTuple):
    """The account after `invoke up`."""

    ec2: Any  # a client
    network: Network
    head_instance: dict[str, Any]
    head_group_id: str
    compute_interface: dict[str, Any]
    uqle_instance: dict[str, Any]
    user_data: bytes
    file_system_name: str  # DNS name
    file_system_address: str
    public_key: str


class Boot(NamedTuple):
    """A virtual machine that boots, and a clone that continues from just before the mount, without server."""

    machine: VirtualMachine
    clone: Future[VirtualMachine]
    clone_interface: NetworkInterface

    def wait_for_clone(self) -> Iterator[VirtualMachine]:
        """Yield the clone after it has booted, and destroy it afterwards."""
        clone = self.clone.result()
        clone.wait_until_booted()
        yield clone
        clone.destroy()


class ConnectedCluster(NamedTuple):
    """The cluster's two nodes, in the account's network."""

    head_node: HeadNode
    compute_node: ComputeNode

    @property
    def rest_api_url(self) -> str:
        return f"http://{self.head_node.address}:8082"


def download_and_run_action(
    node: Node, name: str, configuration: dict[str, Any], aws_environment: dict[str, str]
) -> None:
    """Run a custom action as ParallelCluster does: download the script, and run it with its arguments."""
    action = find_custom_action(configuration, node.node_type, name)
    script = f"{SCRIPTS_FOLDER}/{name}"
    node.write_file("/root/.aws/config", AWS_CONFIG.format(region=REGION, **aws_environment))
    node.run("mkdir", "-p", SCRIPTS_FOLDER)
    node.run("aws", "s3", "cp", action["Script"], script, HOME="/root")
    node.run("chmod", "+x", script)
    node.run(script, *action.get("Args", []), HOME="/root")
