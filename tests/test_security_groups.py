import pytest
from botocore.exceptions import ClientError

from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import security_groups
from slurm_cluster.errors import ClusterError


def rules(ec2, group):
    return ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]


def test_self_rule_is_added_once_for_all_traffic(ec2, cluster):
    assert security_groups.add_self_rule(ec2, cluster["group"])
    assert not security_groups.add_self_rule(ec2, cluster["group"])
    [rule] = rules(ec2, cluster["group"])
    assert rule["IpProtocol"] == "-1"
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [cluster["group"]]
    assert rule["IpRanges"] == []


def test_other_errors_are_raised(ec2, account):
    with pytest.raises(ClientError, match="InvalidGroup.NotFound"):
        security_groups.add_self_rule(ec2, "sg-00000000000000000")


def test_removing_the_rule_keeps_others(ec2, cluster):
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}
    ec2.authorize_security_group_ingress(GroupId=cluster["group"], IpPermissions=[ssh])
    security_groups.add_self_rule(ec2, cluster["group"])
    assert security_groups.remove_self_rule(ec2, cluster["group"])
    assert not security_groups.remove_self_rule(ec2, cluster["group"])
    [rule] = rules(ec2, cluster["group"])
    assert rule["FromPort"] == 22


def test_head_node_group_is_found_by_logical_id(cloudformation, cluster, network):
    second = make_cluster("second", network, cloudformation)
    assert security_groups.require_head_node_group_id(cloudformation, "pcluster-ubuntu") == cluster["group"]
    assert security_groups.require_head_node_group_id(cloudformation, "second") == second["group"]


def test_custom_security_groups_are_reported(cloudformation, account):
    template = '{"Resources": {"Other": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}}'
    cloudformation.create_stack(StackName="pcluster-ubuntu", TemplateBody=template)
    with pytest.raises(ClusterError, match="has no HeadNodeSecurityGroup"):
        security_groups.require_head_node_group_id(cloudformation, "pcluster-ubuntu")
