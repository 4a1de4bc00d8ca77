"""Tasks that need the head node, if it is stopped, terminated or private."""

import pytest

from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import security_groups, stack
from tests.support.task_runner import get_output

TASKS = ["connect-uqle", "ssh", "verify", "rotate-jwt-key", "pause", "resume", "update-cluster"]


@pytest.fixture
def head_node(cluster, cloudformation):
    return stack.require_output(stack.find_stack(cloudformation, "pcluster-ubuntu"), "HeadNodeInstanceID")


def test_stopped_head_node_is_started_first(head_node, cluster, ec2, filled, invoke):
    ec2.stop_instances(InstanceIds=[head_node])
    for task in TASKS:
        refused = invoke(task)
        assert refused.returncode == 1
        assert f"aws ec2 start-instances --region eu-west-2 --instance-ids {head_node}" in refused.stderr
    assert f"Next: aws ec2 start-instances --region eu-west-2 --instance-ids {head_node}" in get_output(
        invoke("status")
    )
    assert not security_groups.has_self_rule(ec2, cluster["group"])


def test_terminated_head_node_is_reported_before_anything_changes(head_node, cluster, ec2, filled, invoke):
    ec2.terminate_instances(InstanceIds=[head_node])
    for task in *TASKS, "handover", "create-cluster", "allow-head-node-group":
        refused = invoke(task)
        assert refused.returncode == 1
        assert f"The head node {head_node} of pcluster-ubuntu is terminated" in refused.stderr
        assert "invoke delete-cluster create-cluster" in refused.stderr
    assert not security_groups.has_self_rule(ec2, cluster["group"])
    printed = get_output(invoke("status"))
    assert f"head node        {head_node}, terminated" in printed
    assert "Next: invoke delete-cluster create-cluster" in printed


def test_private_head_node_means_private_uqle_machine(network, cloudformation, ec2, invoke, ssh_calls):
    make_cluster("pcluster-ubuntu", {**network, "public": network["private"]}, cloudformation)
    connected = get_output(invoke("connect-uqle"))
    assert (
        f"{network['private']}, the head node's subnet, is private: the machine gets no public" in connected
    )
    [machine] = ec2.describe_instances(Filters=[{"Name": "tag:slurm-cluster", "Values": ["*"]}])[
        "Reservations"
    ]
    assert "PublicIpAddress" not in machine["Instances"][0]
    address = machine["Instances"][0]["PrivateIpAddress"]
    assert f"is running at {address}." in connected
    get_output(invoke("create-jwt-key"))
    for task, command in ("rotate-jwt-key", "rotate-jwt-key"), ("verify", "verify --url http://10.0."):
        assert f"Run `invoke {command}" in invoke(task).printed
    handover = get_output(invoke("handover"))
    assert "from inside the VPC, or by VPN," in handover
    assert f"ubuntu@{address}:" in handover
    assert (
        f"no public address. {address} can be reached only from inside the VPC or by VPN."
        in invoke("ssh", "--uqle").printed
    )
