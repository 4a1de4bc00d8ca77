import time

import pytest

from sandbox import resource_types, stacks
from slurm_cluster import stack
from slurm_cluster.errors import ClusterError
from tests.conftest import make_cluster


def test_a_cluster_that_is_not_there_is_told_with_those_that_are(cloudformation, network):
    make_cluster("second", network, cloudformation)
    with pytest.raises(ClusterError, match=r"There is no cluster first \(this region has second\)"):
        stack.require(cloudformation, "first")


def test_a_cluster_that_is_not_whole_is_told_with_its_status(cloudformation, network, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_status", 69)
    make_cluster("first", network, cloudformation)
    with pytest.raises(ClusterError, match="The cluster first is ROLLBACK_COMPLETE"):
        stack.require(cloudformation, "first")


def test_outputs_and_resources_are_found_by_name(cloudformation, cluster):
    found = stack.require(cloudformation, "pcluster-ubuntu")
    assert stack.output(found, "HeadNodePrivateDnsName") == "ip-10-0-0-10.eu-west-2.compute.internal"
    assert stack.physical_id(cloudformation, "pcluster-ubuntu", "HeadNodeSecurityGroup") == cluster["group"]
    assert stack.physical_id(cloudformation, "pcluster-ubuntu", "Absent") is None
    assert stack.resources(cloudformation, "pcluster-ubuntu", "AWS::EC2::SecurityGroup") == [cluster["group"]]
    with pytest.raises(ClusterError, match="has no output Absent"):
        stack.output(found, "Absent")


def test_watching_a_creation_ends_with_everything_done(cloudformation, cluster):
    *_, last = stack.watch(cloudformation, cluster["stack"])
    assert (last.status, last.done, last.total) == ("CREATE_COMPLETE", 7, 7)
    assert last.last.endswith("CREATE_COMPLETE")


def test_watching_a_deletion_goes_on_until_the_stack_is_gone(cloudformation, cluster, monkeypatch):
    monkeypatch.setattr(stack, "POLL", [0.1])
    monkeypatch.setattr(stacks, "DELETION", 0.5)
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    seen = [progress.status for progress in stack.watch(cloudformation, cluster["stack"])]
    assert (seen[0], seen[-1]) == ("DELETE_IN_PROGRESS", "DELETE_COMPLETE")
    assert stack.find(cloudformation, "pcluster-ubuntu") is None


def test_watching_an_operation_that_tells_of_nothing_ends_after_a_moment(cloudformation, cluster, monkeypatch):
    monkeypatch.setattr(stack, "POLL", [0.1])
    monkeypatch.setattr(stack, "MOMENT", 0.3)
    before = stack.newest_event(cloudformation, cluster["stack"])
    seen = [progress.status for progress in stack.watch(cloudformation, cluster["stack"], before)]
    assert seen == ["CREATE_COMPLETE"]


def test_a_head_node_that_fails_to_boot_is_the_reason_of_the_failure(cloudformation, network, project, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_status", 69)
    made = make_cluster("pcluster-ubuntu", network, cloudformation)
    logs = project.client("logs")
    group, stream = "/aws/parallelcluster/pcluster-ubuntu-202611240000", "ip-10-0-0-10.i-1.cloud-init-output"
    logs.create_log_group(logGroupName=group)
    logs.create_log_group(logGroupName="/aws/parallelcluster/pcluster-ubuntu-two-202611240000")
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    message = {"timestamp": int(time.time() * 1000), "message": "[on_node_start] ERROR: the secret cannot be read"}
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[message])
    *_, last = stack.watch(cloudformation, made["stack"])
    assert last.status == "ROLLBACK_COMPLETE"
    told = stack.why_not_created(cloudformation, logs, "pcluster-ubuntu", made["stack"])
    assert "HeadNodeWaitCondition: WaitCondition received failed message: 'Failed with exit status 69'" in told
    assert f"The end of {group}/{stream}:" in told
    assert "ERROR: the secret cannot be read" in told
    assert "invoke delete-cluster" in told


def test_a_failed_creation_leaves_nothing_but_the_stack(cloudformation, ec2, network, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_status", 69)
    make_cluster("pcluster-ubuntu", network, cloudformation)
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [network["vpc"]]}])["SecurityGroups"]
    assert [group["GroupName"] for group in groups] == ["default"]
    states = [i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert set(states) == {"terminated"}
