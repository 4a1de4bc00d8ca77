"""Clusters whose shared storage differs from our template, which has one EFS file system."""

import json
from pathlib import Path

import pytest
import yaml

from sandbox import small_cluster
from sandbox.api_calls import client
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import file_system, uqle_instance
from slurm_cluster.config import cluster_config
from slurm_cluster.errors import ClusterError
from slurm_cluster.state import storage
from slurm_cluster.state.storage import Storage
from slurm_cluster.steps.uqle import find_launch_target, plan_launch
from tests.support import REGION
from tests.support.task_runner import get_output

SHARED = {"Name": "shared", "StorageType": "Efs", "MountDir": "shared"}
EBS = {"Name": "shared", "StorageType": "Ebs", "MountDir": "/shared", "EbsSettings": {"Size": 100}}
LUSTRE = {"Name": "shared", "StorageType": "FsxLustre", "MountDir": "/shared"}
ANYONE = {"AWS": "*"}
ALLOW_MOUNT = {"Effect": "Allow", "Principal": ANYONE, "Action": "elasticfilesystem:ClientMount"}
DENY_WITHOUT_TLS = {
    "Effect": "Deny",
    "Principal": ANYONE,
    "Action": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def build_config(*entries, **head_node):
    tree = yaml.safe_load(small_cluster.CONFIG)
    return yaml.safe_dump(
        {**tree, "HeadNode": {**tree["HeadNode"], **head_node}, "SharedStorage": [*entries]}
    )


@pytest.fixture
def make(network, cloudformation):
    """Make a cluster with some shared storage; `ids` precede its own file system in EFSIds."""

    def make_with(*entries, ids="", other_outputs="", **head_node):
        template = small_cluster.TEMPLATE
        if ids:
            template = template.replace(
                "EFSIds: {Value: !Ref FileSystem}",
                f'EFSIds: {{Value: !Join [",", [{ids}, !Ref FileSystem]]}}',
            )
        template += other_outputs
        return make_cluster(
            "pcluster-ubuntu", network, cloudformation, template, build_config(*entries, **head_node)
        )

    return make_with


@pytest.fixture
def existing(network, ec2):
    """Return the ids of an existing file system in the head node's subnet, and of its security group."""
    efs = client("efs", REGION)
    group = ec2.create_security_group(GroupName="nfs", Description="nfs", VpcId=network["vpc"])["GroupId"]
    identifier = efs.create_file_system(CreationToken="existing")["FileSystemId"]
    efs.create_mount_target(FileSystemId=identifier, SubnetId=network["public"], SecurityGroups=[group])
    return {"id": identifier, "group": group}


def existing_entry(existing, **settings):
    return {**SHARED, "EfsSettings": {"FileSystemId": existing["id"], **settings}}


def allow_nfs(ec2, group, **source):
    permission = {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, **source}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])


def read_created_id():
    [created] = client("efs", REGION).describe_file_systems()["FileSystems"]
    return created["FileSystemId"]


def test_internal_file_system_of_pcluster_is_not_the_shared_one(make, project):
    make(SHARED, ids="fs-00000001", SharedStorageType="Efs")
    assert find_launch_target(project).file_system_id == read_created_id()


def test_file_system_at_the_shared_directory_is_mounted(make, project, invoke):
    tools = {
        "Name": "tools",
        "StorageType": "Efs",
        "MountDir": "/tools",
        "EfsSettings": {"FileSystemId": "fs-00000002"},
    }
    make(tools, SHARED, ids="fs-00000002")
    created = read_created_id()
    assert find_launch_target(project).file_system_id == created
    printed = get_output(invoke("status"))
    assert f"file system      {created}" in printed
    assert "storage          fs-00000002, Efs, /tools" in printed


@pytest.mark.parametrize("entry", [EBS, LUSTRE])
def test_other_storage_is_refused_except_with_no_shared(make, invoke, ec2, entry):
    kind = entry["StorageType"]
    output = "EBSIds: {Value: vol-1}" if kind == "Ebs" else "FSXIds: {Value: fs-1}"
    cluster = make(entry, other_outputs=f"  {output}\n")
    refused = invoke("connect-uqle")
    assert refused.returncode == 1
    assert f"/shared of pcluster-ubuntu is on {kind}. A UQLE machine can only mount EFS." in refused.stderr
    assert "invoke connect-uqle --no-shared" in refused.stderr
    [group] = ec2.describe_security_groups(GroupIds=[cluster["group"]])["SecurityGroups"]
    assert group["IpPermissions"] == []
    status = get_output(invoke("status"))
    assert f"{'vol-1' if kind == 'Ebs' else 'fs-1'}, {kind}, /shared" in status
    assert "not connected (optional): invoke connect-uqle --no-shared" in status
    assert f"\n/shared of pcluster-ubuntu is on {kind}. A UQLE machine can only mount EFS.\n" in status
    created = get_output(invoke("create-cluster"))  # exists already
    assert created.endswith("Next: invoke connect-uqle --no-shared (without UQLE: invoke verify)\n")
    assert get_output(invoke("picture"))
    get_output(invoke("connect-uqle", "--no-shared"))
    user_data = uqle_instance.read_user_data(
        ec2, uqle_instance.find_instance(ec2, "pcluster-ubuntu")["InstanceId"]
    )
    assert "FILE_SYSTEM=''" in user_data
    assert "exists already and is running" in get_output(invoke("connect-uqle"))
    assert "Mount point    none" in get_output(invoke("handover"))
    assert "SHARED_MOUNT=\n" in Path("uqle.env").read_text()


def test_cluster_without_shared_storage_is_shown(make, invoke):
    make({**EBS, "MountDir": "/data"})
    assert "has no shared storage at /shared" in invoke("connect-uqle").stderr
    assert "none at the shared directory" in get_output(invoke("status"))


def test_file_system_missing_in_the_stack_is_reported(make, project):
    make(SHARED, SharedStorageType="Efs")  # the only id is that of pcluster's own file system
    with pytest.raises(ClusterError, match="do not name the file system at /shared"):
        plan_launch(project)


def test_shared_directory_is_a_setting(make, project, invoke):
    make({**SHARED, "MountDir": "/data"})
    assert invoke("connect-uqle").returncode == 1
    get_output(invoke("connect-uqle", INVOKE_SHARED_DIR="/data"))
    refused = invoke("status", INVOKE_SHARED_DIR="data/..; rm")
    assert "must be a plain absolute path" in refused.stderr


def test_access_point_is_refused(make, existing, project):
    make(existing_entry(existing, AccessPointId="fsap-0123456789abcdef0"))
    with pytest.raises(ClusterError, match="through the access point fsap-0123456789abcdef0"):
        plan_launch(project)


def test_mount_target_must_allow_the_head_nodes_group(make, existing, project, ec2, invoke):
    other = ec2.create_security_group(GroupName="x", Description="x", VpcId=project_vpc(ec2, existing))[
        "GroupId"
    ]
    allow_nfs(ec2, existing["group"], UserIdGroupPairs=[{"GroupId": other}])
    cluster = make(existing_entry(existing))
    with pytest.raises(
        ClusterError, match=f"does not allow NFS from {cluster['group']}.*from 10.0.0.0/24 to"
    ):
        plan_launch(project)
    assert "does not allow NFS" in get_output(invoke("status"))
    get_output(invoke("picture"))
    page = Path("picture.html").read_text()
    assert "does not allow NFS" in page
    assert "disconnect-uqle connect-uqle" not in page
    allow_nfs(ec2, existing["group"], IpRanges=[{"CidrIp": "10.0.0.0/16"}])
    assert find_launch_target(project).file_system_id == existing["id"]


def project_vpc(ec2, existing):
    return ec2.describe_security_groups(GroupIds=[existing["group"]])["SecurityGroups"][0]["VpcId"]


def test_mount_target_in_the_zone_is_needed(make, existing, project):
    efs = client("efs", REGION)
    [target] = efs.describe_mount_targets(FileSystemId=existing["id"])["MountTargets"]
    efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    make(existing_entry(existing))
    with pytest.raises(ClusterError, match=f"{existing['id']} has no mount target in eu-west-2a"):
        plan_launch(project)


def test_policy_that_demands_tls_is_refused(make, existing, project, ec2):
    allow_nfs(ec2, existing["group"], IpRanges=[{"CidrIp": "10.0.0.0/16"}])
    policy = json.dumps({"Statement": [ALLOW_MOUNT, DENY_WITHOUT_TLS]})
    client("efs", REGION).put_file_system_policy(FileSystemId=existing["id"], Policy=policy)
    make(existing_entry(existing))
    with pytest.raises(ClusterError, match=f"The policy of {existing['id']} requires TLS"):
        plan_launch(project)


@pytest.mark.parametrize(
    ("statements", "admits"),
    [
        ([], True),
        ([ALLOW_MOUNT], True),
        ([{**ALLOW_MOUNT, "Principal": "*", "Action": ["elasticfilesystem:Client*"]}], True),
        (
            [{**ALLOW_MOUNT, "Condition": {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}}],
            True,
        ),
        ([{**ALLOW_MOUNT, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}], True),
        (
            [ALLOW_MOUNT, {**DENY_WITHOUT_TLS, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}],
            True,
        ),
        ([ALLOW_MOUNT, {**DENY_WITHOUT_TLS, "Action": "elasticfilesystem:ClientWrite"}], True),
        ([{**ALLOW_MOUNT, "Principal": {"AWS": "arn:aws:iam::123456789012:role/one"}}], False),
        ([{**ALLOW_MOUNT, "Action": "elasticfilesystem:ClientWrite"}], False),
        ([{**ALLOW_MOUNT, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}], False),
        ([ALLOW_MOUNT, DENY_WITHOUT_TLS], False),
        ([{**ALLOW_MOUNT, "Effect": "Deny"}], False),
    ],
)
def test_file_system_policies_are_evaluated(statements, admits):
    assert file_system.admits_plain_nfs({"Statement": statements}) is admits


def test_storage_of_every_kind_has_its_id():
    raid = {**EBS, "MountDir": "/raid", "EbsSettings": {"Raid": {"Type": 1}}}
    ontap = {"StorageType": "FsxOntap", "MountDir": "/ontap", "FsxOntapSettings": {"VolumeId": "fsvol-1"}}
    cache = {"StorageType": "FileCache", "MountDir": "/cache", "FileCacheSettings": {"FileCacheId": "fc-1"}}
    config = cluster_config.parse({"SharedStorage": [EBS, raid, ontap, LUSTRE, cache, SHARED]})
    outputs = {"EBSIds": "vol-1", "RAIDIds": "vol-2", "FSXIds": "fs-9,fs-1", "EFSIds": "fs-2"}
    stack = {"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]}
    assert storage.list_storage(config, stack) == [
        Storage("vol-1", "Ebs", "/shared"),
        Storage("vol-2", "Ebs", "/raid"),
        Storage("fsvol-1", "FsxOntap", "/ontap"),
        Storage("fs-1", "FsxLustre", "/shared"),
        Storage("fc-1", "FileCache", "/cache"),
        Storage("fs-2", "Efs", "/shared"),
    ]


def test_unreadable_configuration_is_reported(cluster, cloudformation, invoke, project):
    s3 = client("s3", REGION)
    for version in s3.list_object_versions(Bucket=small_cluster.BUCKET)["Versions"]:
        s3.delete_object(Bucket=small_cluster.BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    status = get_output(invoke("status"))
    assert "file system      UNKNOWN\n" in status
    assert "\nThe configuration of pcluster-ubuntu cannot be read from s3://" in status
    with pytest.raises(ClusterError, match="cannot be read from s3://"):
        plan_launch(project)


def test_own_security_groups_are_shown_and_not_connected(network, cloudformation, ec2, invoke):
    own = "sg-0123456789abcdef0"
    template = small_cluster.TEMPLATE.replace("HeadNodeSecurityGroup", "OwnGroup")
    config = build_config(SHARED, Networking={"SecurityGroups": [own]})
    make_cluster("pcluster-ubuntu", network, cloudformation, template, config)
    assert "because the configuration names other SecurityGroups" in invoke("connect-uqle").stderr
    printed = get_output(invoke("status"))
    assert f"own groups       {own}" in printed
    assert get_output(invoke("create-cluster")).endswith("Next: invoke verify\n")  # exists already
    assert "UQLE machine     not possible: the head node has your own security groups" in printed
    assert "create-cluster" not in printed
    get_output(invoke("picture"))
    assert f"Allow all traffic between the members of {own}" in Path("picture.html").read_text()
