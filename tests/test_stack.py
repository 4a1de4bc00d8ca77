import time

import pytest

from sandbox import faults, resource_types, stacks
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import node_log, stack
from slurm_cluster.errors import ClusterError
from tests.support import REGION


def test_missing_cluster_is_reported_with_existing_ones(cloudformation, network):
    make_cluster("second", network, cloudformation)
    with pytest.raises(
        ClusterError, match=r"There is no cluster first in eu-west-2 \(clusters there: second\)"
    ):
        stack.require_cluster(cloudformation, "first")


def test_unstable_cluster_is_reported_with_its_status(cloudformation, network, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_exit_status", 69)
    make_cluster("first", network, cloudformation)
    with pytest.raises(ClusterError, match="The cluster first is ROLLBACK_COMPLETE"):
        stack.require_cluster(cloudformation, "first")


def test_outputs_and_resources_are_found_by_name(cloudformation, cluster):
    found = stack.require_cluster(cloudformation, "pcluster-ubuntu")
    assert stack.require_output(found, "HeadNodePrivateDnsName") == "ip-10-0-0-10.eu-west-2.compute.internal"
    assert (
        stack.find_resource_id(cloudformation, "pcluster-ubuntu", "HeadNodeSecurityGroup") == cluster["group"]
    )
    assert stack.find_resource_id(cloudformation, "pcluster-ubuntu", "Absent") is None
    assert stack.list_resource_ids(cloudformation, "pcluster-ubuntu", "AWS::EC2::SecurityGroup") == [
        cluster["group"]
    ]
    with pytest.raises(ClusterError, match="has no output Absent"):
        stack.require_output(found, "Absent")


def test_watch_creation(cloudformation, cluster):
    *_, last = stack.watch_stack(cloudformation, cluster["stack"])
    assert (last.status, last.done, last.total) == ("CREATE_COMPLETE", 7, 7)
    assert last.last.endswith("CREATE_COMPLETE")


def test_watch_deletion_until_the_stack_is_gone(cloudformation, cluster, monkeypatch):
    monkeypatch.setattr(stack, "POLL_SECONDS", [0.1])
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 0.5)
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    seen = [progress.status for progress in stack.watch_stack(cloudformation, cluster["stack"])]
    assert (seen[0], seen[-1]) == ("DELETE_IN_PROGRESS", "DELETE_COMPLETE")
    assert stack.find_stack(cloudformation, "pcluster-ubuntu") is None


def test_watch_ends_when_nothing_starts(cloudformation, cluster, monkeypatch):
    monkeypatch.setattr(stack, "POLL_SECONDS", [0.1])
    monkeypatch.setattr(stack, "START_TIMEOUT", 0.3)
    before = stack.get_newest_event_id(cloudformation, cluster["stack"])
    seen = [progress.status for progress in stack.watch_stack(cloudformation, cluster["stack"], before)]
    assert seen == ["CREATE_COMPLETE"]


def test_head_node_failure_is_the_reason(cloudformation, network, project, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_exit_status", 69)
    made = make_cluster("pcluster-ubuntu", network, cloudformation)
    logs = project.logs
    group, stream = "/aws/parallelcluster/pcluster-ubuntu-202611240000", "ip-10-0-0-10.i-1.cfn-init"
    logs.create_log_group(logGroupName=group)
    logs.create_log_group(logGroupName="/aws/parallelcluster/pcluster-ubuntu-two-202611240000")
    write_log(logs, group, stream, CFN_INIT)
    write_log(logs, group, "ip-10-0-0-10.i-1.chef-client", ["Cinc Client Run complete in 20 seconds"])
    *_, last = stack.watch_stack(cloudformation, made["stack"])
    assert last.status == "ROLLBACK_COMPLETE"
    told = stack.explain_failed_creation(cloudformation, logs, "pcluster-ubuntu", made["stack"])
    assert (
        "HeadNodeWaitCondition: WaitCondition received failed message: 'Failed with exit status 69'" in told
    )
    assert f"The end of {group}/{stream}:" in told
    assert "ERROR: the secret cannot be read" in told
    assert "Traceback" not in told
    assert "Run complete" not in told
    assert "invoke delete-cluster" in told


# The log of a head node whose OnNodeStart failed: one event holds all output of the script.
CFN_INIT = [
    "2026-11-24 00:01:00,100 [INFO] Running config shellRunPreInstall",
    "2026-11-24 00:01:09,900 [ERROR] Command runpreinstall (/opt/parallelcluster/scripts/fetch_and_run -preinstall) failed",
    "2026-11-24 00:01:09,901 [DEBUG] Command runpreinstall output: INFO:root:The hash of script s3://b/start.sh is: d1d1aa\n"
    + "".join(f"[on_node_start] line {number}\n" for number in range(40))
    + "[on_node_start] ERROR: the secret cannot be read\n"
    "fetch_and_run - Failed to execute OnNodeStart script 1 s3://b/start.sh, return code: 77.\n",
    "2026-11-24 00:01:09,902 [ERROR] Error encountered during build of shellRunPreInstall: Command runpreinstall failed\n"
    "Traceback (most recent call last):\n"
    '  File "cfnbootstrap/construction.py", line 579, in run_config\n'
    "cfnbootstrap.construction_errors.ToolError: Command runpreinstall failed",
    "2026-11-24 00:01:09,903 [ERROR] -----------------------BUILD FAILED!------------------------",
]


def write_log(logs, group, stream, messages):
    """Write a log stream, one event for each message."""
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    began = int(time.time() * 1000)
    events = [{"timestamp": began + number, "message": message} for number, message in enumerate(messages)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


@pytest.fixture
def log_group(project):
    group = "/aws/parallelcluster/pcluster-ubuntu-202611240000"
    project.logs.create_log_group(logGroupName=group)
    return group


def test_log_shows_the_scripts_last_lines(project, log_group):
    write_log(project.logs, log_group, "ip-10-0-0-10.i-1.cfn-init", CFN_INIT)
    first, *lines = node_log.read_head_node_log(project.logs, "pcluster-ubuntu")
    assert first == f"{log_group}/ip-10-0-0-10.i-1.cfn-init"
    assert len(lines) == node_log.MAX_LINES
    assert lines[-2:] == [
        "[on_node_start] ERROR: the secret cannot be read",
        "fetch_and_run - Failed to execute OnNodeStart script 1 s3://b/start.sh, return code: 77.",
    ]


def test_log_is_that_of_the_newest_head_node(project, log_group):
    logs = project.logs
    for number in range(60):  # a page of CloudWatch holds 50
        logs.create_log_stream(
            logGroupName=log_group, logStreamName=f"ip-10-0-16-{number}.i-c{number}.cloud-init-output"
        )
    write_log(logs, log_group, "ip-10-0-0-99.i-9.cfn-init", ["the old head node"])
    time.sleep(0.01)
    write_log(logs, log_group, "ip-10-0-0-10.i-1.cfn-init", ["the new head node"])
    assert node_log.read_head_node_log(logs, "pcluster-ubuntu") == [
        f"{log_group}/ip-10-0-0-10.i-1.cfn-init",
        "the new head node",
    ]


def test_log_falls_back_to_chef(project, log_group):
    logs = project.logs
    write_log(logs, log_group, "ip-10-0-0-10.i-1.chef-client", ["a recipe failed"])
    write_log(logs, log_group, "ip-10-0-16-1.i-2.cloud-init-output", ["of a compute node"])
    assert node_log.read_head_node_log(logs, "pcluster-ubuntu") == [
        f"{log_group}/ip-10-0-0-10.i-1.chef-client",
        "a recipe failed",
    ]


def test_failed_creation_leaves_only_the_stack(cloudformation, ec2, network, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_exit_status", 69)
    make_cluster("pcluster-ubuntu", network, cloudformation)
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [network["vpc"]]}])[
        "SecurityGroups"
    ]
    assert [group["GroupName"] for group in groups] == ["default"]
    states = [i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert set(states) == {"terminated"}


NESTED = "Resources: {Address: {Type: AWS::EC2::EIP}}"
OUTER = """
Resources:
  Before: {Type: AWS::CloudFormation::WaitConditionHandle}
  QueueGroup: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: "https://mine.s3.amazonaws.com/nested"}}
"""


def test_nested_stack_shows_its_own_reason(cloudformation, project):
    project.s3.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": REGION})
    project.s3.put_object(Bucket="mine", Key="nested", Body=NESTED.encode())
    denied = faults.fail_with_error("AccessDenied", "denied by a service control policy")
    with faults.inject(denied, only="AllocateAddress", source="stacks"):
        stack_id = cloudformation.create_stack(StackName="pcluster-ubuntu", TemplateBody=OUTER)["StackId"]
    cause, *_, hint = stack.list_failures(cloudformation, stack_id)
    assert cause.startswith("QueueGroup: Address: ")
    assert "service control policy" in cause
    assert "Ask the account's administrator" in hint
