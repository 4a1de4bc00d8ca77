import json
import shutil
from pathlib import Path

import pytest

from sandbox.small_cluster import TEMPLATE, make_cluster
from slurm_cluster.aws import fleet, uqle_instance
from slurm_cluster.errors import ClusterError
from slurm_cluster.state import cluster_state
from slurm_cluster.views import status
from slurm_cluster.views.next_step import get_next_step
from slurm_cluster.views.resources import list_resources
from tests.support import SETTINGS


def found(project):
    return {resource.name: resource for resource in list_resources(project)}


def next_step(project):
    return get_next_step(project, list_resources(project))


def test_empty_account_starts_with_the_first_step(project):
    resources = list_resources(project)
    assert not any(resource.id or resource.billed for resource in resources)
    assert get_next_step(project, resources) == "invoke create-key-pair"


def test_each_resource_is_listed_with_what_is_billed(project, cluster, network):
    parts = found(project)
    assert parts["VPC"].id == network["vpc"]
    assert (parts["public subnet"].id, parts["private subnet"].id) == (network["public"], network["private"])
    assert parts["NAT gateway"].billed == "NAT gateway, public address"
    assert parts["cluster"].details == {"status": "CREATE_COMPLETE"}
    assert parts["head node"].details["state"] == "running"
    assert parts["head node"].billed == "instance, disk, public address"
    assert parts["head node group"].id == cluster["group"]
    assert parts["file system"].id.startswith("fs-")
    assert parts["mount target"].details["zone"] == "eu-west-2a"
    assert not any(parts[name].id for name in ("boot scripts", "JWT key", "group's rule", "UQLE machine"))


# A login pool, as in the nested stack that pcluster creates for it.
LOGIN_POOL = """
  LoginTemplate:
    Type: AWS::EC2::LaunchTemplate
    Properties:
      LaunchTemplateData:
        ImageId: !Ref ImageId
        InstanceType: t3.large
        BlockDeviceMappings: [{DeviceName: /dev/xvdba, VirtualName: ephemeral0}]
        NetworkInterfaces: [{DeviceIndex: 0, Groups: [!Ref HeadNodeSecurityGroup]}]
        TagSpecifications:
          - ResourceType: instance
            Tags:
              - {Key: "parallelcluster:cluster-name", Value: !Ref ClusterName}
              - {Key: "parallelcluster:node-type", Value: LoginNode}
  LoginPool:
    Type: AWS::AutoScaling::AutoScalingGroup
    Properties:
      AutoScalingGroupName: pool
      LaunchTemplate: {LaunchTemplateId: !Ref LoginTemplate, Version: !GetAtt LoginTemplate.LatestVersionNumber}
      MinSize: "2"
      MaxSize: "2"
      DesiredCapacity: "2"
      TargetGroupARNs: [!Ref TargetGroup]
      VPCZoneIdentifier: [!Ref SubnetId]
  TargetGroup:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties: {Port: 22, Protocol: TCP, HealthCheckProtocol: TCP, TargetType: instance, VpcId: !Ref VpcId}
  LoadBalancer:
    Type: AWS::ElasticLoadBalancingV2::LoadBalancer
    Properties: {Scheme: internet-facing, Type: network, Subnets: [!Ref SubnetId]}
  Listener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties:
      LoadBalancerArn: !Ref LoadBalancer
      Port: 22
      Protocol: TCP
      DefaultActions: [{Type: forward, TargetGroupArn: !Ref TargetGroup}]
Outputs:"""


def test_login_nodes_have_their_own_row(project, network, ec2, cloudformation):
    template = TEMPLATE.replace("\nOutputs:", LOGIN_POOL)
    make_cluster("pcluster-ubuntu", network, cloudformation, template)
    parts = found(project)
    assert parts["cluster"].details == {"status": "CREATE_COMPLETE"}
    assert (parts["login nodes"].id, parts["login nodes"].billed) == (
        "2 nodes",
        "instances, disks, load balancer",
    )
    assert parts["compute fleet"].details == {"nodes": "0 nodes"}
    assert "the head node, the login nodes," in " ".join(status.list_paused_costs(project))
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    states = ec2.describe_instances()["Reservations"]
    assert {node["State"]["Name"] for found in states for node in found["Instances"]} == {"terminated"}


def test_next_step_is_the_first_missing_one(network, project, cloudformation, invoke):
    assert next_step(project) == "invoke upload-bootstrap"
    for task in "upload-bootstrap", "create-jwt-key":
        assert invoke(task).returncode == 0
    assert next_step(project) == "invoke fill-parameters --ssh-from <your address>/32"
    Path("config-parameters.json").write_text("{}")
    assert next_step(project) == "invoke render"
    Path("config.yml").write_text("")
    assert next_step(project) == "invoke create-cluster"
    make_cluster("pcluster-ubuntu", network, cloudformation)
    assert next_step(project) == "invoke verify"  # a UQLE machine is optional
    assert invoke("allow-head-node-group").returncode == 0
    assert next_step(project) == "invoke create-instance"
    assert invoke("connect-uqle").returncode == 0
    assert next_step(project) == "invoke handover"
    Path("uqle.env").write_text("")
    assert next_step(project) == "invoke verify"
    uqle_instance.stop_instance(project.ec2, "pcluster-ubuntu")
    assert next_step(project) == "invoke resume"
    assert found(project)["UQLE machine"].billed == "disk"


@pytest.mark.parametrize(
    ("state", "step"),
    [
        ("CREATE_IN_PROGRESS", "create-cluster"),
        ("ROLLBACK_COMPLETE", "delete-cluster"),
        ("DELETE_IN_PROGRESS", "delete-cluster"),
    ],
)
def test_running_operations_are_watched_and_failed_ones_deleted(project, cluster, state, step, monkeypatch):
    s = cluster_state.load_state(project)
    monkeypatch.setattr(cluster_state, "load_state", lambda _: s._replace(status=state))
    assert next_step(project) == f"invoke {step}"


def test_uqle_machine_is_optional_until_it_is_connected(project, cluster):
    lines = status.format_status(project)
    assert "  UQLE machine     not connected (optional): invoke connect-uqle" in lines
    assert "  group's rule     not added (optional): invoke connect-uqle" in lines


def test_fleet_status_matches_pcluster(project, cluster, monkeypatch):
    dynamodb, name = project.dynamodb, "parallelcluster-pcluster-ubuntu"
    assert fleet.get_fleet_status(dynamodb, "pcluster-ubuntu") == "UNKNOWN"
    table = {"AttributeName": "Id", "KeyType": "HASH"}, {"AttributeName": "Id", "AttributeType": "S"}
    dynamodb.create_table(
        TableName=name, KeySchema=[table[0]], AttributeDefinitions=[table[1]], BillingMode="PAY_PER_REQUEST"
    )
    assert fleet.get_fleet_status(dynamodb, "pcluster-ubuntu") == "UNKNOWN"
    dynamodb.put_item(
        TableName=name, Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": {"status": {"S": "STOPPED"}}}}
    )
    assert found(project)["compute fleet"].id == "STOPPED"
    assert list(fleet.watch_fleet(dynamodb, "pcluster-ubuntu", "STOPPED")) == []
    monkeypatch.setattr(fleet, "POLL_SECONDS", 0)
    monkeypatch.setattr(fleet, "MAX_POLLS", 2)
    with pytest.raises(ClusterError, match="The compute fleet is still STOPPED, not RUNNING"):
        list(fleet.watch_fleet(dynamodb, "pcluster-ubuntu", "RUNNING"))
    ask = {"UpdateExpression": "set #d.#s = :s", "ExpressionAttributeNames": {"#d": "Data", "#s": "status"}}
    wanted = {":s": {"S": "START_REQUESTED"}}
    dynamodb.update_item(
        TableName=name, Key={"Id": {"S": "COMPUTE_FLEET"}}, ExpressionAttributeValues=wanted, **ask
    )
    seen = [each.status for each in fleet.watch_fleet(dynamodb, "pcluster-ubuntu", "RUNNING")]
    assert seen == ["compute fleet STARTING, to be RUNNING"]


def test_unknown_cluster_lists_existing_ones(project, cluster, invoke):
    shutil.rmtree(Path.home() / ".ssh")
    assert (
        "There is no cluster second in eu-west-2. Clusters there: pcluster-ubuntu.\n"
        in invoke("status", INVOKE_CLUSTER_NAME="second").stdout
    )


def test_screen_fits_80_columns_and_24_lines(project, network, cloudformation, invoke):
    assert invoke("upload-bootstrap").returncode == 0
    name = "a" * 40
    make_cluster(name, network, cloudformation)
    for cluster_name in (name, "pcluster-ubuntu"):
        lines = invoke("status", INVOKE_CLUSTER_NAME=cluster_name).stdout.splitlines()
        assert lines[0].startswith(f"Cluster {cluster_name} in")
        assert max(map(len, lines)) <= 80
        assert 10 < len(lines) <= 24


def test_leftovers_are_listed_with_their_reason(project, key_pair, invoke):
    assert invoke("upload-bootstrap").returncode == 0
    assert invoke("create-jwt-key").returncode == 0
    for name in "pcluster-ubuntu-202611240000", "pcluster-ubuntu-two-202611240000":
        project.logs.create_log_group(logGroupName=f"/aws/parallelcluster/{name}")
    for name in "pcluster-CleanupRoute53-1", "pcluster-EventsRole-1", "somebody-elses":
        project.logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
    Path("uqle.env").touch()
    lines = status.list_leftovers(project)
    assert [line.split()[0] for line in lines] == ["log", "2", "key", "2", "secret", "file"]
    assert "pcluster-ubuntu-202611240000" in lines[0]
    assert "2 log groups /aws/lambda/pcluster-..." in lines[1]
    assert all("invoke down --all" in line for line in lines[3:5])
    assert "pcluster-ubuntu-eu-west-2-slurm-jwt-key ($ billed until you delete it): " in lines[4]
    assert "uqle.env" in lines[5]


def test_json_has_the_same_content(project, cluster):
    told = json.loads(status.format_json(project))
    assert (told["cluster"], told["region"]) == (SETTINGS["cluster_name"], "eu-west-2")
    assert [part["name"] for part in told["parts"]] == [resource.name for resource in list_resources(project)]
    assert told["next"] == "invoke upload-bootstrap"
