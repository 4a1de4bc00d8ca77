"""Teardown is complete: it leaves only what docs/costs.md lists as left on purpose."""

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
WITHOUT_RESOURCES = {
    "sts",
    "servicequotas",
    "service-quotas",
    "pricing",
}  # services without resources
BOTO3_NAMES = {
    "elasticfilesystem": "efs",
    "monitoring": "cloudwatch",
    "tagging": "resource-groups",
}  # their names in boto3


def list_documented_leftovers() -> Iterator[tuple[str, str]]:
    """Return the kinds and names in the table "Left on purpose"."""
    table = COSTS.split("## Left on purpose\n")[1].split("\n## ")[0]
    for what in re.findall(r"^\| (?!what|---)([^|]+) \|", table, re.MULTILINE):
        kind = next(kind for kind in ("log group", "bucket", "key pair", "secret") if kind in what)
        names = [name.replace("...", "*") for name in re.findall(r"`([^`]+)`", what)] or ["*"]
        yield from ((kind, name) for name in names)


def is_documented(resource: Resource) -> bool:
    """Return whether the table lists the thing; it covers the objects in a bucket that it lists."""
    kind = {"object": "bucket", "secret to be deleted": "secret"}.get(resource.kind, resource.kind)
    name = resource.id.removeprefix("s3://").split("/")[0] if resource.kind == "object" else resource.id
    return any(
        kind == left and fnmatch.fnmatch(name, pattern) for left, pattern in list_documented_leftovers()
    )


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
    assert {resource.kind for resource in left} == {
        "log group",
        "bucket",
        "object",
        "key pair",
        "secret to be deleted",
    }
    assert [resource for resource in left if not is_documented(resource)] == []
    left_ids = [resource.id for resource in left if resource.kind in ("bucket", "key pair", "log group")]
    functions = [name for name in left_ids if name.startswith("/aws/lambda/pcluster-")]
    assert f"{len(functions)} log groups /aws/lambda/pcluster-..." in down.printed
    assert len(left_ids) - len(functions) == 3
    assert all(name in down.printed for name in left_ids if name not in functions)
    called = {BOTO3_NAMES.get(call.service, call.service) for call in calls}
    assert called - WITHOUT_RESOURCES <= {listing.service for listing in LISTINGS}


@pytest.mark.parametrize("steps", range(len(STEPS) + 1))
def test_down_after_each_part_of_up_leaves_nothing(steps, invoke):
    rebuild_account(Setup(), invoke)
    before = drop_leftovers(read_state())
    for step in STEPS[:steps]:
        if step == "configure":
            set_up_account(Setup(network=True), invoke)
        elif step == "create-cluster":
            make_cluster_in_network()
        else:
            assert invoke(*step.split()).returncode == 0
    down = invoke("down", "--yes", "--all")
    assert down.returncode == 0, down.printed
    left = [line for line in drop_leftovers(read_state()) if not line.startswith(f'key pair ["{CLUSTER}"')]
    assert compare_states(before, left) == []


def create_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "SECONDS_PER_RESOURCE", 1)
    monkeypatch.setattr(stacks, "MIN_SLOW_RESOURCES", 0)


def fail_head_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_types, "head_node_exit_status", 69)


def change_nothing(_: pytest.MonkeyPatch) -> None:
    """Keep the cluster as it is."""


@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (create_slowly, "CREATE_IN_PROGRESS"),
        (fail_head_node, "ROLLBACK_COMPLETE"),
        (change_nothing, "CREATE_COMPLETE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cluster_is_deleted_in_any_state(prepare, status, invoke, monkeypatch):
    rebuild_account(Setup(network=True), invoke)
    before = drop_leftovers(read_state())
    prepare(monkeypatch)
    cloudformation = make_cluster_in_network()
    assert stack.find_stack(cloudformation, CLUSTER)["StackStatus"] == status
    result = invoke("delete-cluster", "--yes")
    assert result.returncode == 0, result.printed
    assert compare_states(before, drop_leftovers(read_state())) == []
    assert "There is no cluster" in invoke("delete-cluster", "--yes").printed


def test_partly_deleted_cluster_is_deleted(invoke):
    rebuild_account(Setup(network=True), invoke)
    before = drop_leftovers(read_state())
    cloudformation = make_cluster_in_network()
    refused = faults.fail_with_error("DependencyViolation", "it is in use")
    with faults.inject(refused, then=refused, only="TerminateInstances", source="stacks") as injection:
        result = invoke("delete-cluster", "--yes")
    assert injection.failed_calls
    assert (result.returncode, stack.find_stack(cloudformation, CLUSTER)["StackStatus"]) == (
        1,
        "DELETE_FAILED",
    )
    assert "was not deleted." in result.printed
    assert "Fix the cause, then run this again." in result.printed
    assert "it is in use" in result.printed
    assert invoke("delete-cluster", "--yes").returncode == 0
    assert compare_states(before, drop_leftovers(read_state())) == []


def test_running_deletion_is_watched_to_its_end(invoke, monkeypatch):
    rebuild_account(Setup(network=True), invoke)
    before = drop_leftovers(read_state())
    cloudformation = make_cluster_in_network()
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 3)
    cloudformation.delete_stack(StackName=CLUSTER)
    result = invoke("delete-cluster", "--yes")
    assert result.returncode == 0, result.printed
    assert "$ pcluster" not in result.printed
    assert compare_states(before, drop_leftovers(read_state())) == []


def make_cluster_in_network() -> object:
    """Make the cluster in the existing network."""
    subnets = client("ec2", REGION).describe_subnets(Filters=[{"Name": "tag:Name", "Values": ["*Subnet"]}])[
        "Subnets"
    ]
    public = next(subnet["SubnetId"] for subnet in subnets if subnet["MapPublicIpOnLaunch"])
    cloudformation = client("cloudformation", REGION)
    make_cluster(CLUSTER, {"vpc": subnets[0]["VpcId"], "public": public}, cloudformation)
    return cloudformation
