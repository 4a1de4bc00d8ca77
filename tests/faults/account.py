"""What stands before a task, made in a moment."""

import shutil
from pathlib import Path
from typing import NamedTuple

import sandbox
from sandbox.api_calls import client
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import key_pair
from tests.conftest import REGION, lay_network, run_fleet
from tests.walker import Walker

FROM = "--ssh-from 203.0.113.7/32"
CLUSTER = "pcluster-ubuntu"


class Base(NamedTuple):
    """What stands before a task: whether the network, a cluster and its fleet do, and the tasks that went before it."""

    network: bool = False
    cluster: bool = False
    fleet: bool = False
    tasks: tuple[str, ...] = ()


def build(base: Base, invoke: Walker) -> None:
    """Begin anew, and make what stands before the task."""
    sandbox.reset()
    for folder in Path(), Path.home():
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    stand(base, invoke)


def stand(base: Base, invoke: Walker, cluster: str = CLUSTER, began: str = "20261124000000") -> None:
    """Make what stands before the task, beside what is there."""
    ec2, cloudformation = client("ec2", REGION), client("cloudformation", REGION)
    if base.network:
        key_pair.create_key_pair(ec2, cluster)
        network = lay_network(ec2, cloudformation, cluster, began)
        if base.cluster:
            make_cluster(cluster, network, cloudformation)
        if base.fleet:
            run_fleet(cluster)
    for task in base.tasks:
        walked = invoke(*task.split(), INVOKE_CLUSTER_NAME=cluster)
        assert walked.returncode == 0, walked.printed
