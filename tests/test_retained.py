import fcntl
import functools
import json
import os
import pty
import subprocess
import termios

import pytest
import yaml
from botocore.exceptions import ClientError

from sandbox import small_cluster
from sandbox.rehearsal import INVOKE
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import retained, stack


class AsJson(yaml.SafeLoader):
    """Reads a template as it would be in JSON, the form in which pcluster hands its own over."""


AsJson.add_constructor("!Ref", lambda loader, node: {"Ref": loader.construct_scalar(node)})


@pytest.fixture
def efs(project):
    return project.efs


@pytest.fixture
def kept(network, cloudformation):
    """A cluster whose file system outlives it, with all by which it is reached."""
    template = yaml.load(small_cluster.TEMPLATE, AsJson)  # noqa: S506 - a safe loader with one tag more
    for kind in "FileSystem", "MountTarget", "HeadNodeSecurityGroup":
        template["Resources"][kind]["DeletionPolicy"] = "Retain"
    return make_cluster("pcluster-ubuntu", network, cloudformation, json.dumps(template))


def in_terminal(answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run invoke at a terminal at which somebody types."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    command = [*INVOKE, *arguments]
    take = functools.partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0)
    answered = subprocess.run(
        command, stdin=theirs, capture_output=True, text=True, start_new_session=True, preexec_fn=take
    )
    os.close(ours)
    os.close(theirs)
    return answered


def test_size_of_deleted_data_is_shown(cloudformation, efs, cluster):
    found = stack.require_cluster(cloudformation, "pcluster-ubuntu")
    [identifier] = stack.list_resource_ids(cloudformation, found["StackId"], retained.FILE_SYSTEM_TYPE)
    assert (
        retained.describe_deletion(cloudformation, efs, found)
        == f"This deletes the data on /shared: {identifier} with 0.0 MiB."
    )
    assert retained.describe_deletion(cloudformation, efs, None) == ""


@pytest.mark.parametrize("task", ["down", "delete-cluster"])
def test_cluster_name_is_typed_before_data_is_deleted(task, cluster, cloudformation, efs):
    for answer in "y", "yes", "another", "":
        refused = in_terminal(answer, task)
        assert "This deletes the data on /shared: fs-" in refused.stdout
        assert "Type pcluster-ubuntu to go on:" in refused.stdout
        assert (refused.returncode, refused.stderr) == (1, "Nothing was changed.\n")
    assert stack.require_cluster(cloudformation, "pcluster-ubuntu")
    assert in_terminal("pcluster-ubuntu", task).returncode == 0
    assert stack.find_stack(cloudformation, "pcluster-ubuntu") is None


def test_retained_file_system_is_named_with_its_commands(kept, cloudformation, ec2, efs, network, invoke):
    found = stack.require_cluster(cloudformation, "pcluster-ubuntu")
    [identifier] = stack.list_resource_ids(cloudformation, found["StackId"], retained.FILE_SYSTEM_TYPE)
    assert (
        retained.describe_deletion(cloudformation, efs, found)
        == f"{identifier} with 0.0 MiB is kept, and is billed until you delete it."
    )
    refused = invoke("down", "--yes")
    assert refused.returncode == 1
    [target] = efs.describe_mount_targets(FileSystemId=identifier)["MountTargets"]
    assert f"The file system {identifier} was kept when its cluster was deleted." in refused.stderr
    assert f"It is still in {network['vpc']}." in refused.stderr
    for command in (
        f"aws efs delete-mount-target --mount-target-id {target['MountTargetId']}\n",
        f"aws ec2 delete-security-group --group-id {kept['group']}\n",
        f"aws efs delete-file-system --file-system-id {identifier}\n",
    ):
        assert command in refused.stderr
    efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    ec2.delete_security_group(GroupId=kept["group"])
    assert invoke("down", "--yes").returncode == 0
    with pytest.raises(ClientError, match="InvalidVpcID.NotFound"):
        ec2.describe_vpcs(VpcIds=[network["vpc"]])
    assert efs.describe_file_systems(FileSystemId=identifier)["FileSystems"]
