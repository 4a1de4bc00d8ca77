"""Prepare the account and the folder for a task, in a second."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import sandbox
from sandbox.api_calls import client
from sandbox.small_cluster import TIMESTAMP, make_cluster, make_network, start_fleet
from slurm_cluster.aws import key_pair
from tests.support import REGION
from tests.support.task_runner import TaskRunner

SSH_FROM_FLAG = "--ssh-from 203.0.113.7/32"
CLUSTER = "pcluster-ubuntu"


class Setup(NamedTuple):
    """What exists before a task: network, cluster, running fleet, and the results of these tasks."""

    network: bool = False
    cluster: bool = False
    fleet: bool = False
    tasks: tuple[str, ...] = ()


def rebuild_account(setup: Setup, invoke: TaskRunner) -> None:
    """Empty the account, the current folder and the home folder, and set them up."""
    sandbox.reset()
    for folder in Path(), Path.home():
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    set_up_account(setup, invoke)


def set_up_account(
    setup: Setup, invoke: TaskRunner, cluster: str = CLUSTER, timestamp: str = TIMESTAMP
) -> None:
    """Make what exists before a task; keep existing resources.

    Args:
        setup: what to make.
        invoke: runs its tasks.
        cluster: the name.
        timestamp: in the names of the network, 14 digits; each network of an account has another one.
    """
    ec2, cloudformation = client("ec2", REGION), client("cloudformation", REGION)
    if setup.network:
        key_pair.create_key_pair(ec2, cluster)
        network = prepare_network(ec2, cloudformation, cluster, timestamp)
        if setup.cluster:
            make_cluster(cluster, network, cloudformation)
        if setup.fleet:
            start_fleet(cluster)
    for task in setup.tasks:
        result = invoke(*task.split(), INVOKE_CLUSTER_NAME=cluster)
        assert result.returncode == 0, result.printed


def prepare_network(
    ec2: Any, cloudformation: Any, cluster: str = CLUSTER, timestamp: str = TIMESTAMP
) -> dict[str, str]:
    """Make the network and temp-config.yml as the wizard does. Return the ids of the VPC and the subnets."""
    network = make_network(ec2, cloudformation, timestamp)
    ec2.create_tags(Resources=[network["vpc"]], Tags=[{"Key": "slurm-cluster", "Value": cluster}])
    public, private = {"SubnetId": network["public"]}, {"SubnetIds": [network["private"]]}
    configuration = {
        "Region": REGION,
        "HeadNode": {"Ssh": {"KeyName": cluster}, "Networking": public},
        "Scheduling": {"SlurmQueues": [{"Name": "queue1", "Networking": private}]},
    }
    Path("temp-config.yml").write_text(yaml.safe_dump(configuration))
    return network
