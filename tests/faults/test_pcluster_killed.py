"""Steps of pcluster that are killed at any of several moments and run again leave the same state."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox import faults
from sandbox.api_calls import client
from tests.support import REGION
from tests.support.account_state import compare_states, read_state
from tests.support.prepared_account import SSH_FROM_FLAG, Setup, rebuild_account
from tests.support.task_runner import TaskRunner

pytestmark = pytest.mark.whole

FILLED = Setup(
    network=True, tasks=("upload-bootstrap", "create-jwt-key", f"fill-parameters {SSH_FROM_FLAG}", "render")
)
WITH_CLUSTER = Setup(network=True, cluster=True)
NO_NETWORK = Setup(tasks=("create-key-pair",))
VPC, NAMES, DNS, STACK = "CreateVpc", "CreateTags", "ModifyVpcAttribute", "CreateStack"


def kill_task(invoke: TaskRunner) -> Callable[[], None]:
    """Kill the task and its child processes."""
    return invoke.kill


def kill_pcluster(invoke: TaskRunner) -> Callable[[], None]:
    """Kill only pcluster, not the task that waits for it."""

    def kill() -> None:
        invoke.is_running.wait()
        for each in list_descendants(invoke.pid):
            os.kill(each, 9)

    return kill


def list_descendants(pid: int) -> list[int]:
    """Return the ids of a process's descendants."""
    found = [
        int(each)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for each in (task / "children").read_text().split()
    ]
    return [*found, *(below for each in found for below in list_descendants(each))]


class Moment(NamedTuple):
    """A moment at which a step is killed.

    Args:
        task: the step.
        call: the name of the call during which it is killed.
        at: the number of that call, counted from 1.
        after: whether the call takes effect first.
        victim: kills the task or pcluster.
        ends: the status with which the step ends.
    """

    task: str
    call: str
    at: int = 1
    after: bool = True
    victim: Callable[[TaskRunner], Callable[[], None]] = kill_task
    ends: int = -9


CONFIGURE = [
    Moment("configure", VPC, after=False),
    Moment("configure", VPC),
    Moment("configure", VPC, victim=kill_pcluster, ends=1),
    Moment("configure", NAMES, after=False),
    Moment("configure", NAMES),
    Moment("configure", DNS),
    Moment("configure", DNS, at=2),
    Moment("configure", STACK, after=False),
    Moment("configure", STACK),
    Moment("configure", STACK, victim=kill_pcluster, ends=1),
    Moment("configure", NAMES, at=2, after=False),  # our own tag
    Moment("configure", NAMES, at=2),
]
CREATE = [
    Moment("create-cluster", "^PUT /parallelcluster-", after=False),
    Moment("create-cluster", STACK, after=False),
    Moment("create-cluster", STACK),
    Moment("create-cluster", STACK, victim=kill_pcluster, ends=1),
    Moment("create-cluster", "DescribeStackEvents"),
]
PAUSING = [
    ("pause", "UpdateItem|PutItem"),
    ("pause", "StopInstances"),
    ("resume", "UpdateItem|PutItem"),
    ("resume", "StartInstances"),
]
DELETING_CALLS = [  # a call and its number, in the order of the calls
    ("TerminateInstances", 1),
    ("RevokeSecurityGroupIngress", 1),
    ("DeleteStack", 1),
    ("DeleteStack", 2),
    ("DeleteVpc", 1),
    ("DELETE .*\\.sh", 1),
    ("^DELETE /[^/]+$", 1),
    ("DeletePolicy", 1),
    ("DeleteSecret", 1),
]
DELETE = [
    Moment("delete-cluster --yes", "DeleteStack", after=False),
    Moment("delete-cluster --yes", "DeleteStack"),
    Moment("delete-cluster --yes", "DeleteStack", victim=kill_pcluster, ends=0),  # the cluster is gone
    Moment("delete-cluster --yes", "DescribeStackEvents", at=2),
]
PAUSE = [Moment(task, call, after=after) for task, call in PAUSING for after in (False, True)]
DOWN = [Moment("down --yes --all", call, at, after) for call, at in DELETING_CALLS for after in (False, True)]
MOMENTS = [*CONFIGURE, *CREATE, *DELETE, *PAUSE, *DOWN]
CONNECTED = Setup(
    network=True,
    cluster=True,
    tasks=("upload-bootstrap", "create-jwt-key", f"fill-parameters {SSH_FROM_FLAG}", "connect-uqle"),
)
BASES = {
    "configure": NO_NETWORK,
    "create-cluster": FILLED,
    "delete-cluster --yes": WITH_CLUSTER,
    "pause": CONNECTED._replace(fleet=True),
    "resume": CONNECTED._replace(fleet=True, tasks=(*CONNECTED.tasks, "pause")),
    "down --yes --all": CONNECTED,
}
UNDISTURBED: dict[str, list[str]] = {}


def read_comparable_state() -> list[str]:
    """Return the state without temp-config.yml and pcluster's bucket, in which killed runs leave files."""
    return [
        line
        for line in read_state()
        if not re.match(r'object \["s3://parallelcluster-|file temp-config.yml ', line)
    ]


def get_undisturbed_state(task: str, invoke: TaskRunner) -> list[str]:
    """Return the state after an undisturbed step."""
    if task not in UNDISTURBED:
        rebuild_account(BASES[task], invoke)
        result = invoke(*task.split())
        assert result.returncode == 0, result.printed
        UNDISTURBED[task] = read_comparable_state()
    return UNDISTURBED[task]


def format_moment(moment: Moment) -> str:
    """Return a name for a moment."""
    when = "after" if moment.after else "before"
    return f"{moment.task.split()[0]}-{moment.call.strip('^')}-{moment.at}-{when}-{moment.victim.__name__}"


@pytest.mark.parametrize("moment", MOMENTS, ids=format_moment)
def test_killed_step_run_again_gives_the_same_state(moment, invoke, record_property):
    expected = get_undisturbed_state(moment.task, invoke)
    rebuild_account(BASES[moment.task], invoke)
    record_property("injected", 1)
    fault = faults.kill_caller(moment.victim(invoke), after=moment.after)
    with faults.inject(
        fault,
        moment.at,
        then=faults.close_connection if moment.victim is kill_task else None,
        only=moment.call,
    ) as injection:
        first = invoke(*moment.task.split())
    assert injection.failed_calls
    assert first.returncode == moment.ends, first
    again = invoke(*moment.task.split())
    if moment.task == "configure" and again.returncode:
        vpcs = [vpc["VpcId"] for vpc in client("ec2", REGION).describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
        assert len(vpcs) == 1
        assert vpcs[0] in again.printed
        if (
            "To claim it for pcluster-ubuntu" in again.printed
        ):  # nothing proves whose it is, so the user must tag it
            client("ec2", REGION).create_tags(
                Resources=vpcs, Tags=[{"Key": "slurm-cluster", "Value": "pcluster-ubuntu"}]
            )
        else:
            assert "remove the network with `invoke delete-network`" in again.printed
        removed = invoke("delete-network")
        assert removed.returncode == 0, removed.printed
        again = invoke(*moment.task.split())
    assert again.returncode == 0, again.printed
    found = compare_states(expected, read_comparable_state())
    assert not found, "\n".join(found)
    record_property("survived", 1)


UPDATE = [
    ("^PUT /parallelcluster-", False),
    ("UpdateStack", False),
    ("UpdateStack", True),
    ("DescribeStackEvents", True),
]


def test_killed_update_run_again_gives_the_same_state(invoke, record_property):
    rebuild_account(FILLED, invoke)
    assert invoke("create-cluster").returncode == 0
    addresses = ["198.51.100.1/32", "198.51.100.2/32"]
    expected = {address: update_cluster(address, invoke) for address in addresses}
    record_property("injected", len(UPDATE))
    for (call, after), address in zip(UPDATE, addresses * 2, strict=True):
        render(address)
        with faults.inject(
            faults.kill_caller(invoke.kill, after=after), then=faults.close_connection, only=call
        ) as injection:
            assert invoke("update-cluster").returncode == -9
        assert injection.failed_calls
        found = compare_states(expected[address], update_cluster(address, invoke))
        assert not found, "\n".join(found)
        record_property("survived", 1)


def render(address: str) -> None:
    """Change the SSH source in config.yml."""
    text = Path("config.yml").read_text()
    Path("config.yml").write_text(re.sub(r"AllowedIps: .*", f"AllowedIps: '{address}'", text))


def update_cluster(address: str, invoke: TaskRunner) -> list[str]:
    """Update the cluster to allow SSH from this address. Return the state."""
    render(address)
    result = invoke("update-cluster")
    assert result.returncode == 0, result.printed
    return read_comparable_state()
