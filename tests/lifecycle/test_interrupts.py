"""Ctrl-C in a terminal during a long task: the task prints one message and ends with status 130."""

import time

import pytest

from sandbox import faults, fleet, stacks
from sandbox.api_calls import client
from sandbox.rehearsal import INVOKE
from sandbox.small_cluster import make_cluster, start_fleet
from slurm_cluster.aws import uqle_instance
from slurm_cluster.steps.uqle import find_launch_target
from tests.support import REGION
from tests.support.terminal import CTRL_C, Terminal

MESSAGE = "Stopped. AWS continues. Run the same command again to keep watching."


def interrupt(task, when):
    """Press Ctrl-C when a task has written something. Return what it wrote from then on."""
    terminal = Terminal([*INVOKE, *task.split()])
    terminal.wait_for(when)
    before = len(terminal.lines)
    terminal.type(CTRL_C)
    assert terminal.end() == 130, terminal.written
    assert "Traceback" not in terminal.written
    return [line.removeprefix("^C") for line in terminal.lines[before - 1 :] if line.strip()]


@pytest.fixture
def slow_stacks(account, monkeypatch):
    monkeypatch.setattr(stacks, "SECONDS_PER_RESOURCE", 30)
    monkeypatch.setattr(stacks, "MIN_SLOW_RESOURCES", 1)
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 300)


def test_interrupt_create_cluster(network, cloudformation, slow_stacks):
    make_cluster("pcluster-ubuntu", network, cloudformation)
    assert interrupt("create-cluster", "CREATE_IN_PROGRESS")[-1] == MESSAGE
    assert (
        cloudformation.describe_stacks(StackName="pcluster-ubuntu")["Stacks"][0]["StackStatus"]
        == "CREATE_IN_PROGRESS"
    )


def test_interrupt_delete_cluster(cluster, cloudformation, slow_stacks):
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    assert interrupt("delete-cluster --yes", "DELETE_IN_PROGRESS")[-1] == MESSAGE


def test_interrupt_delete_network(network, slow_stacks):
    assert interrupt("delete-network", "DELETE_IN_PROGRESS")[-1] == MESSAGE


def test_interrupt_disconnect_uqle(cluster, project, ec2, monkeypatch):
    place = find_launch_target(project)
    script = uqle_instance.render_user_data(place, "/shared")
    uqle_instance.launch_instance(
        ec2,
        place,
        project.get_uqle_settings(),
        uqle_instance.get_ubuntu_image_id(project.ec2, project.ssm, "t3.large"),
        script,
    )
    keep_terminated_instances(monkeypatch, "shutting-down")
    assert interrupt("disconnect-uqle", "shutting-down, to be terminated")[-1] == MESSAGE


def test_interrupt_pause_and_resume(cluster, monkeypatch):
    start_fleet("pcluster-ubuntu")
    monkeypatch.setattr(fleet, "NEXT_STATUS", {})
    assert interrupt("pause", "STOP_REQUESTED, to be STOPPED")[-1] == MESSAGE
    assert interrupt("resume", "START_REQUESTED, to be RUNNING")[-1] == MESSAGE


def test_interrupt_each_part_of_down(cluster, network, ec2, cloudformation, invoke, monkeypatch):
    """Ctrl-C ends `down` at once, with status 130. The later parts of `down` do not run."""
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 8)  # long enough to press Ctrl-C
    start_fleet("pcluster-ubuntu")
    for task in ("upload-bootstrap", "create-jwt-key", "connect-uqle"):
        assert invoke(*task.split()).returncode == 0
    with monkeypatch.context() as patched:
        keep_terminated_instances(patched, "shutting-down")
        interrupt("down --yes --all", "shutting-down, to be terminated")
    assert cloudformation.describe_stacks(StackName="pcluster-ubuntu")
    assert invoke("disconnect-uqle").returncode == 0
    interrupt("down --yes --all", "DELETE_IN_PROGRESS")  # of the cluster
    assert list_bucket_and_secret() == {"bucket", "secret"}
    assert invoke("delete-cluster", "--yes").returncode == 0
    interrupt("down --yes --all", "DELETE_IN_PROGRESS")  # of the network
    assert list_bucket_and_secret() == {"bucket", "secret"}
    assert invoke("delete-network").returncode == 0
    with faults.inject(faults.hold_until(2, seconds=10), only="DeletePolicy") as held:
        terminal = Terminal([*INVOKE, "down", "--yes", "--all"])
        terminal.wait_for("There is no network")
        while not held.failed_calls:
            time.sleep(0.05)
        terminal.type(CTRL_C)
        assert terminal.end() == 130, terminal.written
    assert list_bucket_and_secret() == {"secret"}


def test_interrupt_confirmation_of_down(cluster, cloudformation):
    terminal = Terminal([*INVOKE, "down", "--all"])
    terminal.wait_for("to continue: ")
    time.sleep(0.5)  # Python's readline loses a Ctrl-C between the prompt and the reading of the answer
    terminal.type(CTRL_C)
    assert terminal.end() == 130, terminal.written
    assert MESSAGE in " ".join(line.strip() for line in terminal.lines)
    assert (
        cloudformation.describe_stacks(StackName="pcluster-ubuntu")["Stacks"][0]["StackStatus"]
        == "CREATE_COMPLETE"
    )


def list_bucket_and_secret():
    """Return which of the resources exist that only `down --all` deletes."""
    buckets = [bucket["Name"] for bucket in client("s3", REGION).list_buckets()["Buckets"]]
    secrets = client("secretsmanager", REGION).list_secrets()["SecretList"]
    ours = any(name.startswith("slurm-cluster-bootstrap-") for name in buckets)
    return {name for name, exists in (("bucket", ours), ("secret", secrets)) if exists}


def test_down_stops_when_delete_stack_is_denied(network, ec2, invoke):
    assert invoke("upload-bootstrap").returncode == 0
    assert invoke("create-jwt-key").returncode == 0
    denied = faults.fail_with_error(
        "AccessDenied", "User: me is not authorized to perform: cloudformation:DeleteStack", 403
    )
    with faults.inject(denied, then=denied, only="DeleteStack"):
        answer = invoke("down", "--yes", "--all")
    assert answer.returncode == 1
    assert "AWS denies cloudformation:DeleteStack" in answer.printed
    assert "Left:" not in answer.printed
    assert list_bucket_and_secret() == {"bucket", "secret"}
    assert ec2.describe_vpcs(VpcIds=[network["vpc"]])["Vpcs"]


def test_interrupted_wizard_names_its_vpc(key_pair, ec2, slow_stacks):
    lines = interrupt("configure", "IN_PROGRESS  ")
    [vpc] = [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]]
    message = " ".join(line.strip() for line in lines[-2:])  # the terminal wraps the message
    assert (
        message
        == f"The wizard did not finish: it was stopped. It left {vpc}: `invoke delete-network` deletes it."
    )


def test_interrupt_ends_the_outside_command(network, cluster, monkeypatch):
    """Ctrl-C comes after pcluster was started and before it answers."""
    assert interrupt("delete-cluster --yes", r"\$ pcluster delete-cluster [^\r]*\r\n")[-1].endswith(MESSAGE)


def keep_terminated_instances(monkeypatch, state):
    """Keep terminated instances in a state."""
    from moto.ec2.models.instances import Instance

    monkeypatch.setattr(
        Instance, "terminate", lambda self, *_, **__: setattr(self._state, "name", state) or ("running", 16)
    )
