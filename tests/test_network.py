import pytest

from sandbox.api_calls import client
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import network as networks
from slurm_cluster.errors import ClusterError


@pytest.fixture
def efs(project):
    return project.efs


def test_network_is_found_by_tag(ec2, cloudformation, network):
    found = networks.find_network(ec2, cloudformation, "pcluster-ubuntu", None)
    assert found == (network["vpc"], {"parallelclusternetworking-pubpriv-20261124000000": "CREATE_COMPLETE"})


def test_stack_of_another_network_is_ignored(ec2, cloudformation, network):
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    cloudformation.create_stack(
        StackName="parallelclusternetworking-pub-other",
        TemplateBody="Parameters: {VpcId: {Type: String}}\nResources: {H: {Type: AWS::CloudFormation::WaitConditionHandle}}",
        Parameters=[{"ParameterKey": "VpcId", "ParameterValue": other}],
    )
    assert networks.find_wizard_stacks(cloudformation, network["vpc"]) == {
        "parallelclusternetworking-pubpriv-20261124000000": "CREATE_COMPLETE"
    }


def test_untagged_network_is_found_by_its_stack(ec2, cloudformation, network):
    ec2.delete_tags(Resources=[network["vpc"]], Tags=[{"Key": "slurm-cluster"}])
    assert networks.find_network(ec2, cloudformation, "pcluster-ubuntu", None) is None
    assert (
        networks.find_network(ec2, cloudformation, "pcluster-ubuntu", network["public"]).vpc_id
        == network["vpc"]
    )


def test_network_of_another_cluster_is_not_found(ec2, cloudformation, network):
    assert networks.find_network(ec2, cloudformation, "second", network["public"]) is None


def test_network_without_wizard_stack_is_not_found(ec2, cloudformation):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    assert networks.find_network(ec2, cloudformation, "pcluster-ubuntu", subnet) is None


def test_unused_network_may_be_deleted(ec2, cloudformation, efs, network):
    found = networks.find_network(ec2, cloudformation, "pcluster-ubuntu", None)
    assert networks.find_blockers(ec2, cloudformation, efs, "pcluster-ubuntu", found) == []
    networks.refuse_network_in_use(ec2, cloudformation, efs, "pcluster-ubuntu", found)


def test_foreign_resources_are_named(ec2, cloudformation, efs, network):
    found = networks.find_network(ec2, cloudformation, "pcluster-ubuntu", None)
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=network["vpc"])["GroupId"]
    subnet = ec2.create_subnet(VpcId=network["vpc"], CidrBlock="10.0.200.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=network["private"])["NetworkInterface"][
        "NetworkInterfaceId"
    ]
    blockers = networks.find_blockers(ec2, cloudformation, efs, "pcluster-ubuntu", found)
    assert [blocker.commands for blocker in blockers] == [
        [f"aws ec2 delete-network-interface --region eu-west-2 --network-interface-id {interface}"],
        [f"aws ec2 delete-security-group --region eu-west-2 --group-id {group}"],
        [f"aws ec2 delete-subnet --region eu-west-2 --subnet-id {subnet}"],
    ]
    with pytest.raises(ClusterError, match=group):
        networks.refuse_network_in_use(ec2, cloudformation, efs, "pcluster-ubuntu", found)


def test_network_with_a_cluster_is_not_deleted(ec2, cloudformation, efs, network):
    found = networks.find_network(ec2, cloudformation, "pcluster-ubuntu", None)
    make_cluster("second", network, cloudformation)
    with pytest.raises(ClusterError, match="INVOKE_CLUSTER_NAME=second invoke delete-cluster"):
        networks.refuse_network_in_use(ec2, cloudformation, efs, "pcluster-ubuntu", found)
    make_cluster("pcluster-ubuntu", network, cloudformation)
    with pytest.raises(ClusterError, match="invoke delete-cluster"):
        networks.refuse_network_in_use(ec2, cloudformation, efs, "pcluster-ubuntu", found)


def test_other_regions_are_ignored(network):
    ec2 = client("ec2", "us-east-1")
    assert networks.list_cluster_vpcs(ec2, "pcluster-ubuntu") == []
