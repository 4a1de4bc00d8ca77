"""What stands before a task, made in a moment; and how two states differ."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import sandbox
from sandbox.calls import client
from slurm_cluster import key_pair
from tests.conftest import REGION, lay_network, make_cluster
from tests.faults.walker import Walker

FROM = "--ssh-from 203.0.113.7/32"
CLUSTER = "pcluster-ubuntu"


class Base(NamedTuple):
    """What stands before a task: whether the network and a cluster do, and the tasks that went before it."""

    network: bool = False
    cluster: bool = False
    tasks: tuple[str, ...] = ()


def build(base: Base, walk: Walker) -> None:
    """Begin anew, and make what stands before the task."""
    sandbox.reset()
    for folder in Path(), Path.home():
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    stand(base, walk)


def stand(base: Base, walk: Walker, cluster: str = CLUSTER, began: str = "20261124000000") -> None:
    """Make what stands before the task, beside what is there."""
    ec2, cloudformation = client("ec2", REGION), client("cloudformation", REGION)
    if base.network:
        key_pair.create(ec2, cluster)
        network = lay_network(ec2, cloudformation, cluster, began)
        if base.cluster:
            make_cluster(cluster, network, cloudformation)
    for task in base.tasks:
        walked = walk(*task.split(), INVOKE_CLUSTER_NAME=cluster)
        assert walked.status == 0, walked.printed


def difference(expected: list[str], found: list[str]) -> list[str]:
    """Say what is missing in a state, and what is too much."""
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    return [*(f"missing: {line}" for line in missing), *(f"too much: {line}" for line in extra)]


def of_account(state: list[str]) -> list[str]:
    """Give a state without what taking away leaves on purpose: files, a secret that is to be deleted, a launch that is over."""
    kept = [line for line in state if not line.startswith(("file ", "secret to be deleted "))]
    return [re.sub(r'(, )?\{"Key": "slurm-cluster:spent-client-token", "Value": "\w+"\}', "", line) for line in kept]
