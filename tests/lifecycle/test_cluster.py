"""The compute fleet is stopped and started, and a cluster that pcluster refuses or AWS cannot create is explained."""

import re
from pathlib import Path

from sandbox import resource_types, stacks
from sandbox.api_calls import client
from sandbox.small_cluster import start_fleet
from slurm_cluster.aws import fleet
from tests.support import REGION
from tests.support.task_runner import get_output


def test_pause_and_resume(cluster, ec2, project, invoke):
    start_fleet("pcluster-ubuntu")
    dynamodb = project.dynamodb
    get_output(invoke("connect-uqle"))
    printed = get_output(invoke("pause"))
    assert fleet.get_fleet_status(dynamodb, "pcluster-ubuntu") == "STOPPED"
    [stopped] = re.findall(r"Stopped (i-\w+)\.", printed)
    assert (
        ec2.describe_instances(InstanceIds=[stopped])["Reservations"][0]["Instances"][0]["State"]["Name"]
        == "stopped"
    )
    assert "Still billed: the NAT gateway, the head node" in printed
    assert "There is no running UQLE machine of pcluster-ubuntu in eu-west-2." in get_output(
        invoke("pause", "--quiet")
    )
    again = get_output(invoke("resume", "--quiet"))
    assert fleet.get_fleet_status(dynamodb, "pcluster-ubuntu") == "RUNNING"
    assert re.search(rf"{stopped} is running at 203\.0\.113\.\d+", again)
    assert again == get_output(invoke("resume", INVOKE_QUIET="1"))


def test_pclusters_findings_are_readable(filled, invoke):
    config = Path("config.yml").read_text()
    Path("config.yml").write_text(config.replace("MountDir: /shared", "MountDir: /tmp"))
    printed = get_output(invoke("create-cluster"), 1)
    assert "pcluster refused: Invalid cluster configuration." in printed
    assert re.search(r"^  ERROR \w+: ", printed, re.MULTILINE)
    assert "/tmp" in printed
    stacks_of_account = client("cloudformation", REGION).list_stacks()["StackSummaries"]
    assert "pcluster-ubuntu" not in {stack["StackName"] for stack in stacks_of_account}


def test_failed_cluster_is_explained_and_deleted(filled, invoke, monkeypatch):
    monkeypatch.setattr(resource_types, "head_node_exit_status", 69)
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 1)
    printed = get_output(invoke("create-cluster"), 1)
    assert "was not created" in printed
    assert "Failed with exit status 69" in printed
    assert "ROLLBACK_COMPLETE: its creation failed" in get_output(invoke("create-cluster"), 1)
    assert "Deleted the cluster" in get_output(invoke("delete-cluster", "--yes"))
