"""What stands before a task, made in a moment."""

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

FROM = "--ssh-from 203.0.113.7/32"
CLUSTER = "pcluster-ubuntu"


class Base(NamedTuple):
    """What stands before a task: whether the network, a cluster and its fleet do, and the tasks that went before it."""

    network: bool = False
    cluster: bool = False
    fleet: bool = False
    tasks: tuple[str, ...] = ()


def build(base: Base, invoke: TaskRunner) -> None:
    """Begin anew, and make what stands before the task."""
    sandbox.reset()
    for folder in Path(), Path.home():
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    stand(base, invoke)


def stand(base: Base, invoke: TaskRunner, cluster: str = CLUSTER, began: str = TIMESTAMP) -> None:
    """Make what stands before the task, beside what is there."""
    ec2, cloudformation = client("ec2", REGION), client("cloudformation", REGION)
    if base.network:
        key_pair.create_key_pair(ec2, cluster)
        network = prepare_network(ec2, cloudformation, cluster, began)
        if base.cluster:
            make_cluster(cluster, network, cloudformation)
        if base.fleet:
            start_fleet(cluster)
    for task in base.tasks:
        walked = invoke(*task.split(), INVOKE_CLUSTER_NAME=cluster)
        assert walked.returncode == 0, walked.printed


def prepare_network(
    ec2: Any, cloudformation: Any, cluster: str = CLUSTER, began: str = TIMESTAMP
) -> dict[str, str]:
    """Make the network of a cluster and its temp-config.yml, as the wizard does, without its questions."""
    network = make_network(ec2, cloudformation, began)
    ec2.create_tags(Resources=[network["vpc"]], Tags=[{"Key": "slurm-cluster", "Value": cluster}])
    private = {"SubnetIds": [network["private"]]}
    configuration = {
        "Region": REGION,
        "HeadNode": {"Ssh": {"KeyName": cluster}, "Networking": {"SubnetId": network["public"]}},
        "Scheduling": {"SlurmQueues": [{"Name": "queue1", "Networking": private}]},
    }
    Path("temp-config.yml").write_text(yaml.safe_dump(configuration))
    return network
