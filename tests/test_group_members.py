"""Machines in the head node's group that no task launched, and tagged machines outside the group."""

import pytest

from slurm_cluster.aws import security_groups
from slurm_cluster.steps.uqle import find_launch_target
from tests.support.task_runner import get_output

TAG = [{"Key": "slurm-cluster", "Value": "pcluster-ubuntu"}]


@pytest.fixture
def machine_by_hand(cluster, project, ec2):
    """Create the rule and the machine as the console does, without a tag. Return the machine's id."""
    target = find_launch_target(project)
    security_groups.add_self_rule(ec2, target.group_id)
    interface = {"DeviceIndex": 0, "SubnetId": target.subnet_id, "Groups": [target.group_id]}
    [machine] = ec2.run_instances(MinCount=1, MaxCount=1, NetworkInterfaces=[interface])["Instances"]
    return machine["InstanceId"]


def tag_command(machine):
    return (
        f"aws ec2 create-tags --region eu-west-2 --resources {machine} "
        "--tags Key=slurm-cluster,Value=pcluster-ubuntu"
    )


def test_untagged_machine_is_reported_and_no_other_launched(machine_by_hand, cluster, ec2, invoke):
    refused = invoke("connect-uqle")
    assert refused.returncode == 1
    assert tag_command(machine_by_hand) in refused.stderr
    assert "run `invoke connect-uqle --allow-other-members`" in refused.stderr
    status = get_output(invoke("status"))
    assert tag_command(machine_by_hand) in status
    assert "create-instance" not in status  # it would refuse
    handover = get_output(invoke("handover"))
    assert tag_command(machine_by_hand) in handover
    assert handover.endswith("The cluster has no UQLE machine yet.\nNext: invoke status\n")
    disconnected = get_output(invoke("disconnect-uqle"))
    assert disconnected.endswith("Next: invoke status\n")  # delete-cluster would refuse
    assert tag_command(machine_by_hand) in disconnected
    assert "There is no UQLE machine of pcluster-ubuntu in eu-west-2." in disconnected
    assert f"{cluster['group']} keeps its rule, because another machine may need it." in disconnected
    assert security_groups.has_self_rule(ec2, cluster["group"])


def test_tagged_machine_is_the_uqle_machine(machine_by_hand, ec2, invoke):
    ec2.create_tags(Resources=[machine_by_hand], Tags=TAG)
    assert f"The UQLE machine {machine_by_hand} exists already" in get_output(invoke("connect-uqle"))
    assert "create-tags" not in get_output(invoke("status"))
    assert f"Terminated {machine_by_hand}." in get_output(invoke("disconnect-uqle"))


def test_several_tagged_machines_need_a_confirmation(machine_by_hand, ec2, invoke):
    launched = get_output(invoke("connect-uqle", "--allow-other-members")).split("Launched ")[1].split(".")[0]
    ec2.create_tags(Resources=[machine_by_hand], Tags=TAG)
    for task in "disconnect-uqle", "status", "connect-uqle":
        printed = invoke(task).printed
        assert machine_by_hand in printed
        assert launched in printed
    status = get_output(invoke("status"))
    assert status.count("$ UQLE machine") == 2
    assert "Several machines have the tag slurm-cluster=pcluster-ubuntu: " in " ".join(status.split())
    assert status.endswith("Next: invoke disconnect-uqle\n")
    assert "There is no terminal to ask in: pass --yes." in invoke("disconnect-uqle").stderr
    terminated = get_output(invoke("disconnect-uqle", "--yes"))
    assert machine_by_hand in terminated
    assert launched in terminated


def test_command_for_a_machine_in_the_wrong_group_is_shown(cluster, network, ec2, invoke):
    get_output(invoke("connect-uqle"))
    [instance] = ec2.describe_instances(Filters=[{"Name": "tag:slurm-cluster", "Values": ["*"]}])[
        "Reservations"
    ]
    machine = instance["Instances"][0]["InstanceId"]
    other = ec2.create_security_group(GroupName="launch-wizard-1", Description="x", VpcId=network["vpc"])[
        "GroupId"
    ]
    ec2.modify_instance_attribute(InstanceId=machine, Groups=[other])
    command = f"modify-instance-attribute --region eu-west-2 --instance-id {machine} --groups {other} {cluster['group']}"
    for task in "status", "connect-uqle", "handover":
        assert command in get_output(invoke(task))
    assert "disconnect-uqle" not in invoke("connect-uqle", INVOKE_UQLE_VOLUME_GIB="40").printed
    ec2.modify_instance_attribute(
        InstanceId=machine, Groups=[other, cluster["group"]]
    )  # as that command does
    connected = get_output(invoke("connect-uqle"))
    assert "is not in the head node's group" not in connected
    assert "differs" not in connected
