"""The fleet, pcluster's findings, a failed creation, and the confirmation of a deletion."""

import fcntl
import functools
import os
import pty
import re
import subprocess
import termios
from pathlib import Path

import pytest

from sandbox import resource_types, stacks
from sandbox.api_calls import client
from sandbox.rehearsal import INVOKE
from sandbox.small_cluster import start_fleet
from slurm_cluster.aws import fleet, stack
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


def run_in_terminal(answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run invoke in a terminal, and type an answer."""
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


@pytest.mark.parametrize(("task", "answer"), [("down", "yes"), ("delete-cluster", "")])
def test_cluster_name_is_typed_before_data_is_deleted(task, answer, cluster, cloudformation):
    refused = run_in_terminal(answer, task)
    assert "This deletes the data on the shared storage: fs-" in refused.stdout
    assert "Type pcluster-ubuntu to continue:" in refused.stdout
    assert (refused.returncode, refused.stderr) == (1, "Nothing was changed.\n")
    assert stack.require_cluster(cloudformation, "pcluster-ubuntu")
    assert run_in_terminal("pcluster-ubuntu", task).returncode == 0
    assert stack.find_stack(cloudformation, "pcluster-ubuntu") is None
