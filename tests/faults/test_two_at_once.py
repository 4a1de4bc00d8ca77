"""The same task twice at the same moment, and two clusters in one account."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.api_calls import client
from tests.support import REGION
from tests.support.account_state import compare_states, drop_leftovers, read_state
from tests.support.prepared_account import SSH_FROM_FLAG, Setup, rebuild_account, set_up_account
from tests.support.task_runner import TaskRunner

pytestmark = pytest.mark.whole

WITH_CLUSTER = Setup(network=True, cluster=True)
TWICE = [  # a task, what exists before it, and the call at which each run waits for the other
    ("create-key-pair", Setup(), "ImportKeyPair"),
    ("upload-bootstrap", Setup(), "^PUT /[^/?]+$"),
    ("upload-bootstrap", Setup(), r"^PUT .*\.sh"),
    ("create-jwt-key", Setup(), "CreateSecret"),
    ("create-jwt-key", Setup(), "CreatePolicy"),
    ("allow-head-node-group", WITH_CLUSTER, "AuthorizeSecurityGroupIngress"),
    ("create-instance", WITH_CLUSTER, "RunInstances"),
    ("connect-uqle", WITH_CLUSTER, "DescribeStacks"),
    ("disconnect-uqle", WITH_CLUSTER._replace(tasks=("connect-uqle",)), "TerminateInstances"),
    ("disconnect-uqle", WITH_CLUSTER._replace(tasks=("connect-uqle",)), "RevokeSecurityGroupIngress"),
    ("delete-network", Setup(network=True), "DeleteStack"),
    ("delete-network", Setup(network=True), "DeleteVpc"),
]


@pytest.fixture(scope="session")
def second_runner(emulated_aws):
    started = TaskRunner()
    yield started
    started.close()


@pytest.mark.parametrize(
    ("task", "base", "call"), TWICE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_two_simultaneous_runs_give_the_state_of_one(task, base, call, invoke, second_runner):
    rebuild_account(base, invoke)
    assert invoke(task).returncode == 0
    once = read_state()
    rebuild_account(base, invoke)
    hold = faults.hold_until(2)
    with faults.inject(hold, then=hold, only=call) as injection, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(walker, task) for walker in (invoke, second_runner)]
        results = [answer.result() for answer in answers]
    # The slower run finds half of a network, reports it, and never makes this call.
    late = call == "DeleteVpc"
    assert len(injection.failed_calls) >= (1 if late else 2)
    statuses = sorted(answer.returncode for answer in results)
    assert statuses == [0, 0] or (late and statuses == [0, 1]), results
    assert compare_states(once, read_state()) == []


def test_two_clusters_in_one_account_do_not_mix(invoke, second_runner, monkeypatch):
    made = ("upload-bootstrap", "create-jwt-key", f"fill-parameters {SSH_FROM_FLAG}", "render")
    rebuild_account(WITH_CLUSTER._replace(tasks=(*made, "connect-uqle")), invoke)
    alone = drop_leftovers(read_state())
    rebuild_account(WITH_CLUSTER._replace(tasks=made), invoke)
    second_runner.folder = Path("second").resolve()
    second_runner.folder.mkdir()
    monkeypatch.chdir(second_runner.folder)
    set_up_account(WITH_CLUSTER._replace(tasks=made), second_runner, "second", "20261124000001")
    monkeypatch.chdir(second_runner.folder.parent)
    hold = faults.hold_until(2)
    with faults.inject(hold, then=hold, only="RunInstances") as injection, ThreadPoolExecutor(2) as pool:
        answers = [
            pool.submit(invoke, "connect-uqle"),
            pool.submit(second_runner, "connect-uqle", INVOKE_CLUSTER_NAME="second"),
        ]
        assert [answer.result().returncode for answer in answers] == [0, 0]
    assert len(injection.failed_calls) == 2
    assert list_uqle_machines() == {"pcluster-ubuntu": "pcluster-ubuntu-uqle", "second": "second-uqle"}
    down = second_runner("down", "--yes", "--all", INVOKE_CLUSTER_NAME="second")
    assert down.returncode == 0, down.printed
    assert list_uqle_machines() == {"pcluster-ubuntu": "pcluster-ubuntu-uqle"}
    kept = [line for line in drop_leftovers(read_state()) if not line.startswith('key pair ["second"')]
    assert compare_states(alone, kept) == []


def list_uqle_machines() -> dict[str, str]:
    """Return the names of the running UQLE machines by their cluster tags."""
    running = [
        {"Name": "tag-key", "Values": ["slurm-cluster"]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    pages = client("ec2", REGION).describe_instances(Filters=running)["Reservations"]
    tags = [
        {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        for page in pages
        for instance in page["Instances"]
    ]
    assert len({each["slurm-cluster"] for each in tags}) == len(tags)
    return {each["slurm-cluster"]: each["Name"] for each in tags}
