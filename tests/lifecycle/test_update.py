import itertools
import json
from pathlib import Path

import pytest
from moto.cloudformation.models import cloudformation_backends

from sandbox import stacks
from slurm_cluster.aws import security_groups
from tests.support import REGION
from tests.support.task_runner import get_output

pytestmark = pytest.mark.xdist_group("update")  # takes a minute, and groups start early
CONFIG = Path("config.yml")


def change(old, new):
    text = CONFIG.read_text()
    assert old in text
    CONFIG.write_text(text.replace(old, new))


def test_update_applies_the_configuration(filled, invoke, project, monkeypatch):
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 1)  # pcluster still reads the stack that it deletes
    get_output(invoke("create-cluster"))
    get_output(invoke("update-cluster", "--ssh-from", "198.51.100.1/32"))  # a new home address
    change("MaxCount: 2", "MaxCount: 1")
    change("HeadNode:\n  InstanceType: 't3.xlarge'", "HeadNode:\n  InstanceType: m6i.xlarge")
    refused = get_output(invoke("update-cluster"), 1)
    assert "HeadNode.InstanceType" in refused
    assert "Stop the compute fleet" in refused
    assert "Run `invoke pause`, wait a minute, then run this again" in refused

    change("m6i.xlarge", "t3.xlarge")
    change("    EfsSettings:\n", "    EfsSettings:\n      DeletionPolicy: Retain\n")
    get_output(invoke("pause"))
    assert "Updated the cluster pcluster-ubuntu to config.yml." in get_output(invoke("update-cluster"))
    group = security_groups.require_head_node_group_id(project.cloudformation, project.cluster_name)
    rules = security_groups.describe_group(project.ec2, group)["IpPermissions"]
    assert [each["CidrIp"] for rule in rules for each in rule["IpRanges"]] == ["198.51.100.1/32"]

    efs = project.efs
    get_output(invoke("delete-cluster", "--yes"))
    [file_system] = efs.describe_file_systems()["FileSystems"]
    [target] = efs.describe_mount_targets(FileSystemId=file_system["FileSystemId"])["MountTargets"]
    assert target["MountTargetId"] in get_output(invoke("delete-network"), 1)


def test_interrupted_update_is_watched_before_the_next(cluster, invoke, monkeypatch):
    [region] = [
        backends[REGION]
        for backends in cloudformation_backends.values()
        if cluster["stack"] in backends[REGION].stacks
    ]
    stack, looks = region.get_stack(cluster["stack"]), itertools.count()
    stack.status = "UPDATE_IN_PROGRESS"

    def settle(_):
        if next(looks) == 2:
            stack.status = "UPDATE_COMPLETE"

    monkeypatch.setattr(stacks.SandboxCloudFormationBackend, "finish_operations", settle)
    CONFIG.write_text(json.dumps({"Region": REGION}))
    printed = get_output(invoke("update-cluster"), 1)
    assert (
        printed.index("UPDATE_IN_PROGRESS")
        < printed.index("UPDATE_COMPLETE")
        < printed.index("pcluster update-cluster")
    )
