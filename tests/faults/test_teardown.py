"""Teardown is complete: only what docs/costs.md lists as left on purpose remains."""

import fnmatch
import re
from collections.abc import Iterator

import pytest

from sandbox import Resource, faults, list_resources, resource_types, stacks
from sandbox.api_calls import client
from sandbox.inventory import LISTINGS
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import stack
from tests.support import REGION, ROOT
from tests.support.account_state import compare_states, drop_leftovers, read_state
from tests.support.prepared_account import CLUSTER, SSH_FROM_FLAG, Setup, rebuild_account, set_up_account

pytestmark = pytest.mark.whole

STEPS = [
    "create-key-pair",
    "configure",
    "upload-bootstrap",
    "create-jwt-key",
    f"fill-parameters {SSH_FROM_FLAG}",
    "render",
    "create-cluster",
    "allow-head-node-group",
    "create-instance",
    "handover",
]
COSTS = (ROOT / "docs" / "costs.md").read_text()
HOLD_NOTHING = {"sts", "servicequotas", "service-quotas", "pricing"}  # services in which nothing is ever made
SIGNED = {
    "elasticfilesystem": "efs",
    "monitoring": "cloudwatch",
    "tagging": "resource-groups",
}  # their names in boto3


def left_on_purpose() -> Iterator[tuple[str, str]]:
    """Return the kinds and names in the table of what is left on purpose."""
    table = COSTS.split("## Left on purpose\n")[1].split("\n## ")[0]
    for what in re.findall(r"^\| (?!what|---)([^|]+) \|", table, re.MULTILINE):
        kind = next(kind for kind in ("log group", "bucket", "key pair", "secret") if kind in what)
        names = [name.replace("...", "*") for name in re.findall(r"`([^`]+)`", what)] or ["*"]
        yield from ((kind, name) for name in names)


def is_on_purpose(thing: Resource) -> bool:
    """Return whether the table lists the thing; it covers the objects in a bucket that it lists."""
    kind = {"object": "bucket", "secret to be deleted": "secret"}.get(thing.kind, thing.kind)
    name = thing.id.removeprefix("s3://").split("/")[0] if thing.kind == "object" else thing.id
    return any(kind == left and fnmatch.fnmatch(name, pattern) for left, pattern in left_on_purpose())


def test_up_and_down_leave_only_what_is_documented(invoke):
    rebuild_account(Setup(), invoke)
    before = list_resources(REGION)
    with faults.collect_calls() as calls:
        up = invoke("up", "--yes", *SSH_FROM_FLAG.split())
        assert up.returncode == 0, up.printed
        made = list_resources(REGION) - before
        down = invoke("down", "--yes", "--all")
        assert down.returncode == 0, down.printed
    left = list_resources(REGION) - before
    assert len(made) > 70
    assert {thing.kind for thing in left} == {
        "log group",
        "bucket",
        "object",
        "key pair",
        "secret to be deleted",
    }
    assert [thing for thing in left if not is_on_purpose(thing)] == []
    told = [thing.id for thing in left if thing.kind in ("bucket", "key pair", "log group")]
    functions = [name for name in told if name.startswith("/aws/lambda/pcluster-")]
    assert f"{len(functions)} log groups /aws/lambda/pcluster-..." in down.printed
    assert len(told) - len(functions) == 3
    assert all(name in down.printed for name in told if name not in functions)
    called = {SIGNED.get(call.service, call.service) for call in calls}
    assert called - HOLD_NOTHING <= {listing.service for listing in LISTINGS}


@pytest.mark.parametrize("steps", range(len(STEPS) + 1))
def test_down_after_each_part_of_up_leaves_nothing(steps, invoke):
    rebuild_account(Setup(), invoke)
    before = drop_leftovers(read_state())
    for step in STEPS[:steps]:
        if step == "configure":
            set_up_account(Setup(network=True), invoke)
        elif step == "create-cluster":
            cluster_in_network()
        else:
            assert invoke(*step.split()).returncode == 0
    down = invoke("down", "--yes", "--all")
    assert down.returncode == 0, down.printed
    left = [line for line in drop_leftovers(read_state()) if not line.startswith(f'key pair ["{CLUSTER}"')]
    assert compare_states(before, left) == []


def being_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "SECONDS_PER_RESOURCE", 1)
    monkeypatch.setattr(stacks, "MIN_SLOW_RESOURCES", 0)


def failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_types, "head_node_exit_status", 69)


def standing(_: pytest.MonkeyPatch) -> None:
    """Leave it as it is."""


@pytest.mark.parametrize(
    ("become", "status"),
    [(being_created, "CREATE_IN_PROGRESS"), (failed, "ROLLBACK_COMPLETE"), (standing, "CREATE_COMPLETE")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cluster_is_deleted_in_any_state(become, status, invoke, monkeypatch):
    rebuild_account(Setup(network=True), invoke)
    before = drop_leftovers(read_state())
    become(monkeypatch)
    cloudformation = cluster_in_network()
    assert stack.find_stack(cloudformation, CLUSTER)["StackStatus"] == status
    walked = invoke("delete-cluster", "--yes")
    assert walked.returncode == 0, walked.printed
    assert compare_states(before, drop_leftovers(read_state())) == []
    assert "There is no cluster" in invoke("delete-cluster", "--yes").printed


def test_partly_deleted_cluster_is_deleted(invoke):
    rebuild_account(Setup(network=True), invoke)
    before = drop_leftovers(read_state())
    cloudformation = cluster_in_network()
    refused = faults.fail_with_error("DependencyViolation", "it is in use")
    with faults.inject(refused, then=refused, only="TerminateInstances", source="stacks") as injection:
        walked = invoke("delete-cluster", "--yes")
    assert injection.failed_calls
    assert (walked.returncode, stack.find_stack(cloudformation, CLUSTER)["StackStatus"]) == (
        1,
        "DELETE_FAILED",
    )
    assert "was not deleted." in walked.printed
    assert "Remove the cause, then run this again." in walked.printed
    assert "it is in use" in walked.printed
    assert invoke("delete-cluster", "--yes").returncode == 0
    assert compare_states(before, drop_leftovers(read_state())) == []


def test_running_deletion_is_watched_to_its_end(invoke, monkeypatch):
    rebuild_account(Setup(network=True), invoke)
    before = drop_leftovers(read_state())
    cloudformation = cluster_in_network()
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 3)
    cloudformation.delete_stack(StackName=CLUSTER)
    walked = invoke("delete-cluster", "--yes")
    assert walked.returncode == 0, walked.printed
    assert "$ pcluster" not in walked.printed
    assert compare_states(before, drop_leftovers(read_state())) == []


def cluster_in_network() -> object:
    """Make the cluster in the network that stands."""
    subnets = client("ec2", REGION).describe_subnets(Filters=[{"Name": "tag:Name", "Values": ["*Subnet"]}])[
        "Subnets"
    ]
    public = next(subnet["SubnetId"] for subnet in subnets if subnet["MapPublicIpOnLaunch"])
    cloudformation = client("cloudformation", REGION)
    make_cluster(CLUSTER, {"vpc": subnets[0]["VpcId"], "public": public}, cloudformation)
    return cloudformation
