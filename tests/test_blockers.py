"""Resources that use a cluster's security groups are listed before anything is deleted, with working commands."""

import subprocess
import types

import pytest

from sandbox import faults
from sandbox.api_calls import client
from slurm_cluster import errors
from slurm_cluster.aws import blockers, stack
from slurm_cluster.errors import ClusterError
from slurm_cluster.project import Project
from slurm_cluster.steps.cluster import delete_cluster
from tests.support import REGION, SETTINGS

IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"


@pytest.fixture
def find(project, cluster):
    """Return a function that returns the commands to free the cluster's groups."""

    def find_commands():
        found = blockers.find_group_blockers(
            project.cloudformation, project.ec2, project.efs, "pcluster-ubuntu"
        )
        return [command for blocker in found for command in blocker.commands]

    assert find_commands() == []
    return find_commands


def launch(ec2, subnet, groups, tags=()):
    """Launch a machine in these groups, and return its id."""
    machine = ec2.run_instances(
        ImageId=client("ssm", REGION).get_parameter(Name=IMAGE)["Parameter"]["Value"],
        MinCount=1,
        MaxCount=1,
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet, "Groups": groups}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": list(tags)}] if tags else [],
    )
    return machine["Instances"][0]["InstanceId"]


def create_group(ec2, vpc, name="other"):
    return ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]


def run_aws(command):
    """Run a command of the AWS command line in the emulated AWS."""
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)


def test_machines_in_the_group(ec2, find, cluster, network):
    uqle = launch(
        ec2, network["public"], [cluster["group"]], [{"Key": "slurm-cluster", "Value": "pcluster-ubuntu"}]
    )
    assert find() == ["invoke disconnect-uqle"]
    ec2.terminate_instances(InstanceIds=[uqle])
    machine = launch(ec2, network["public"], [cluster["group"]])
    assert find() == [f"aws ec2 terminate-instances --region eu-west-2 --instance-ids {machine}"]
    ec2.terminate_instances(InstanceIds=[machine])
    assert find() == []


def test_machine_with_another_group_keeps_it(ec2, find, cluster, network):
    other = create_group(ec2, network["vpc"])
    machine = launch(ec2, network["public"], [cluster["group"], other])
    [command] = find()
    assert command.startswith("aws ec2 modify-network-interface-attribute --region eu-west-2")
    assert command.endswith(f"--groups {other}")
    run_aws(command)
    assert find() == []
    assert ec2.describe_instances(InstanceIds=[machine])["Reservations"]


def test_interface_without_an_instance(ec2, find, cluster, network):
    interface = ec2.create_network_interface(SubnetId=network["private"], Groups=[cluster["group"]])
    identifier = interface["NetworkInterface"]["NetworkInterfaceId"]
    [command] = find()
    assert (
        command == f"aws ec2 delete-network-interface --region eu-west-2 --network-interface-id {identifier}"
    )
    run_aws(command)
    assert find() == []


def test_mount_target_of_another_file_system(project, find, cluster, network):
    efs = project.efs
    file_system = efs.create_file_system(CreationToken="mine")["FileSystemId"]
    target = efs.create_mount_target(
        FileSystemId=file_system, SubnetId=network["private"], SecurityGroups=[cluster["group"]]
    )["MountTargetId"]
    assert find() == [f"aws efs delete-mount-target --region eu-west-2 --mount-target-id {target}"]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_rule_of_another_group(direction, ec2, find, cluster, network, invoke, cloudformation):
    other = create_group(ec2, network["vpc"])
    pair = {"UserIdGroupPairs": [{"GroupId": cluster["group"]}]}
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, **pair}
    getattr(ec2, f"authorize_security_group_{direction}")(GroupId=other, IpPermissions=[rule])
    [command] = find()
    assert command.startswith(
        f"aws ec2 revoke-security-group-{direction} --region eu-west-2 --group-id {other}"
    )
    for task in ("delete-cluster", "down"):
        refused = invoke(task, "--yes")
        assert refused.returncode == 1
        assert refused.stderr.startswith("Nothing was deleted. AWS cannot delete pcluster-ubuntu while these")
        assert command in refused.stderr
        assert stack.require_cluster(cloudformation, "pcluster-ubuntu")
    run_aws(command)
    assert find() == []
    assert invoke("delete-cluster", "--yes").returncode == 0


def test_down_refuses_before_it_terminates_the_uqle_machine(ec2, cluster, network, invoke):
    assert invoke("connect-uqle").returncode == 0
    launch(ec2, network["public"], [cluster["group"]])
    assert invoke("down", "--yes").returncode == 1
    states = [i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert states == ["running"] * 3


def test_dependency_violation_names_the_blocker(ec2, cluster, network, cloudformation, monkeypatch):
    """A resource that appeared after the check is found when the deletion has failed."""
    instance_ids = []

    def run_pcluster(*_, **__):
        instance_ids.append(launch(ec2, network["public"], [cluster["group"]]))
        cloudformation.delete_stack(StackName="pcluster-ubuntu")
        return types.SimpleNamespace(exited=0)

    with pytest.raises(ClusterError) as raised:
        delete_cluster(Project({**SETTINGS, "quiet": True}, run_pcluster), yes=True)
    message = str(raised.value)
    assert message.startswith("The cluster pcluster-ubuntu was not deleted.")
    assert f"aws ec2 terminate-instances --region eu-west-2 --instance-ids {instance_ids[0]}" in message
    assert "has a dependent object" in message
    assert message.endswith("Fix the cause, then run this again.")
    ec2.terminate_instances(InstanceIds=instance_ids)


def test_refused_network_stack_gives_its_reasons(network, invoke):
    refused = faults.fail_with_error("DependencyViolation", "The subnet has dependencies")
    with faults.inject(refused, then=refused, only="DeleteSubnet", source="stacks"):
        failed = invoke("delete-network")
    assert failed.returncode == 1
    assert "The subnet has dependencies" in failed.stderr
    assert invoke("delete-network").returncode == 0


def test_vpc_in_use_is_reported():
    message = "The vpc 'vpc-1' has dependencies and cannot be deleted."
    assert "still uses this one. Delete the other resource" in errors.find_hint(
        f"DependencyViolation: {message}"
    )
