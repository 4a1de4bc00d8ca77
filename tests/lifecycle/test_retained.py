import json
from unittest import mock

import pytest
import yaml
from botocore.exceptions import ClientError

from sandbox import small_cluster
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import retained, stack
from slurm_cluster.views import status
from slurm_cluster.views.resources import list_resources


class JsonLoader(yaml.SafeLoader):
    """Reads a YAML template as JSON, the format of pcluster's templates."""


JsonLoader.add_constructor("!Ref", lambda loader, node: {"Ref": loader.construct_scalar(node)})


@pytest.fixture
def efs(project):
    return project.efs


@pytest.fixture
def retained_cluster(network, cloudformation):
    """A cluster that retains its file system, with mount target and security group, when it is deleted."""
    template = yaml.load(small_cluster.TEMPLATE, JsonLoader)  # noqa: S506 - a safe loader with one tag more
    for kind in "FileSystem", "MountTarget", "HeadNodeSecurityGroup":
        template["Resources"][kind]["DeletionPolicy"] = "Retain"
    return make_cluster("pcluster-ubuntu", network, cloudformation, json.dumps(template))


def test_size_of_deleted_data_is_shown(cloudformation, efs, cluster):
    found = stack.require_cluster(cloudformation, "pcluster-ubuntu")
    [identifier] = stack.list_resource_ids(cloudformation, found["StackId"], retained.FILE_SYSTEM_TYPE)
    assert (
        retained.describe_deletion(cloudformation, efs, found)
        == f"This deletes the data on the shared storage: {identifier} with 0.0 MiB."
    )
    assert retained.describe_deletion(cloudformation, efs, None) == ""


def test_kept_file_system_is_listed_with_its_commands(
    retained_cluster, cloudformation, ec2, efs, network, invoke
):
    found = stack.require_cluster(cloudformation, "pcluster-ubuntu")
    [identifier] = stack.list_resource_ids(cloudformation, found["StackId"], retained.FILE_SYSTEM_TYPE)
    assert (
        retained.describe_deletion(cloudformation, efs, found)
        == f"{identifier} with 0.0 MiB is kept, and is billed until you delete it."
    )
    assert "kept storage" not in invoke("status").stdout
    down = invoke("down", "--yes", "--all")
    assert down.returncode == 1
    [target] = efs.describe_mount_targets(FileSystemId=identifier)["MountTargets"]
    assert f"the file system {identifier}, kept when the cluster pcluster-ubuntu was deleted:" in down.stderr
    [gateway] = ec2.describe_nat_gateways()["NatGateways"]
    assert (
        f"  network {network['vpc']} with {gateway['NatGatewayId']} ($ billed until you delete it)"
        in down.stdout
    )
    status = invoke("status").stdout
    assert f"$ kept storage     {identifier}, file system, 0.0 MiB" in status
    commands = [
        f"aws efs delete-mount-target --region eu-west-2 --mount-target-id {target['MountTargetId']}\n",
        f"aws ec2 delete-security-group --region eu-west-2 --group-id {retained_cluster['group']}\n",
        f"aws efs delete-file-system --region eu-west-2 --file-system-id {identifier}\n",
    ]
    for printed in (down.stdout, status):
        assert f"it keeps {network['vpc']} from being deleted:" in printed
        assert all(command in printed for command in commands)
    efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    ec2.delete_security_group(GroupId=retained_cluster["group"])
    assert invoke("down", "--yes").returncode == 0
    with pytest.raises(ClientError, match="InvalidVpcID.NotFound"):
        ec2.describe_vpcs(VpcIds=[network["vpc"]])
    assert efs.describe_file_systems(FileSystemId=identifier)["FileSystems"]
    assert "$ kept storage" in invoke("status").stdout


def test_kept_volume_is_listed(project, ec2, efs, cloudformation, cluster):
    tags = [{"Key": "parallelcluster:cluster-name", "Value": "pcluster-ubuntu"}]
    volume = ec2.create_volume(
        AvailabilityZone="eu-west-2a",
        Size=100,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )["VolumeId"]
    ec2.create_volume(AvailabilityZone="eu-west-2a", Size=5)
    [found] = retained.find_retained(cloudformation, ec2, efs, project.fsx, "pcluster-ubuntu")
    assert found[:3] == ("volume", volume, "100 GiB")
    assert found.commands == [f"aws ec2 delete-volume --region eu-west-2 --volume-id {volume}"]
    assert retained.find_retained(cloudformation, ec2, efs, project.fsx, "second") == []


@pytest.mark.parametrize("kind", ["LUSTRE", "OPENZFS", "ONTAP"])
def test_kept_fsx_file_system_is_listed(project, network, ec2, efs, cloudformation, kind):
    fsx = project.fsx
    request = {"FileSystemType": kind, "StorageCapacity": 1200, "SubnetIds": [network["private"]]}
    tags = [{"Key": "parallelcluster:cluster-name", "Value": "pcluster-ubuntu"}]
    identifier = fsx.create_file_system(**request, Tags=tags)["FileSystem"]["FileSystemId"]
    fsx.create_file_system(**request)  # somebody else's
    [found] = retained.find_retained(cloudformation, ec2, efs, fsx, "pcluster-ubuntu")
    assert found[:3] == (f"FSx {kind.capitalize()} file system", identifier, "1200 GiB")
    delete = f"aws fsx delete-file-system --region eu-west-2 --file-system-id {identifier}"
    assert found.commands == [delete]
    assert f"  {delete}" in status.list_retained(project)
    [row] = [row for row in list_resources(project) if row.name == "kept storage"]
    assert (row.id, row.billed) == (identifier, "stored data")


def test_fsx_of_a_running_cluster_is_not_listed(project, cluster, ec2, efs, cloudformation, monkeypatch):
    tags = [{"Key": "parallelcluster:cluster-name", "Value": "pcluster-ubuntu"}]
    request = {"FileSystemType": "LUSTRE", "StorageCapacity": 1200, "SubnetIds": [], "Tags": tags}
    identifier = project.fsx.create_file_system(**request)["FileSystem"]["FileSystemId"]
    listed = [*stack.list_resources(cloudformation, "pcluster-ubuntu"), {"PhysicalResourceId": identifier}]
    monkeypatch.setattr(stack, "list_resources", lambda *_: listed)
    assert retained.find_retained(cloudformation, ec2, efs, project.fsx, "pcluster-ubuntu") == []


def test_missing_permission_to_list_fsx_is_no_error(project):
    denied = ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeFileSystems")
    with mock.patch.object(retained.clients, "list_all", side_effect=denied):
        assert retained.list_fsx(project.fsx) == []


def test_other_file_system_in_the_network_is_not_the_clusters(network, ec2, efs, invoke):
    group = ec2.describe_security_groups(
        Filters=[
            {"Name": "vpc-id", "Values": [network["vpc"]]},
            {"Name": "group-name", "Values": ["default"]},
        ]
    )["SecurityGroups"][0]["GroupId"]
    file_system = efs.create_file_system(CreationToken="mine")["FileSystemId"]
    target = efs.create_mount_target(
        FileSystemId=file_system, SubnetId=network["private"], SecurityGroups=[group]
    )["MountTargetId"]
    down = invoke("down", "--yes")
    assert down.returncode == 1
    assert f"the file system {file_system}, which no cluster created:" in down.stderr
    assert f"aws efs delete-mount-target --region eu-west-2 --mount-target-id {target}" in down.stderr
    assert "kept when" not in down.printed
    assert group not in down.printed
    assert ec2.describe_vpcs(VpcIds=[network["vpc"]])["Vpcs"]
    assert efs.describe_file_systems(FileSystemId=file_system)["FileSystems"]
