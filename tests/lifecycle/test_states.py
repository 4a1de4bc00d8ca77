"""Each status of CloudFormation is explained, and `Next:` resolves it: no task refuses, no endless loop."""

import contextlib
import re
import types
from pathlib import Path

import botocore.session
import pytest
from moto.cloudformation.models import cloudformation_backends

from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import stack, stack_status
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress
from slurm_cluster.project import Project
from slurm_cluster.steps import cluster as cluster_steps
from slurm_cluster.steps import pause, preflight, up_down, vpc
from slurm_cluster.views.next_step import explain_statuses, get_next_step
from slurm_cluster.views.resources import list_resources
from tests.support import REGION, SETTINGS
from tests.support.prepared_account import prepare_network

CLUSTER = "pcluster-ubuntu"
NETWORK_STACK = "parallelclusternetworking-pubpriv-20261124000000"
ALL_STATUSES = (
    botocore.session.get_session().get_service_model("cloudformation").shape_for("StackStatus").enum
)
STATUSES = [
    name for name in ALL_STATUSES if name != stack.DELETED
]  # a deleted stack is not found by its name
OUTCOMES = {  # the status after each operation
    "CREATE_IN_PROGRESS": "CREATE_COMPLETE",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_COMPLETE",
    "UPDATE_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
}
COMPLETE = {"CREATE", "UPDATE", "UPDATE_ROLLBACK", "IMPORT", "IMPORT_ROLLBACK"}


class Account:
    """A cluster and a network whose stacks have any status, and a user who follows `Next:`."""

    def __init__(self, monkeypatch, network, cloudformation):
        self.cloudformation = cloudformation
        self.p = Project(SETTINGS, self.run)
        make_cluster(CLUSTER, network, cloudformation)
        Path("config.yml").write_text(f"Region: {REGION}\n")
        monkeypatch.setattr(preflight, "check_configuration", lambda *_: None)
        monkeypatch.setattr(stack, "watch_stack", self.watch)

    def find(self, name):
        """Return moto's stack."""
        backends = (regions[REGION] for regions in cloudformation_backends.values() if REGION in regions)
        return next(stack for backend in backends for stack in backend.stacks.values() if stack.name == name)

    def set_status(self, name, status):
        """Set the status of a stack, now and later."""
        found = self.find(name)
        found.status, found.outcome = status, status

    def run(self, command, **_):
        """Replace pcluster."""
        if "delete-cluster" in command:
            self.cloudformation.delete_stack(StackName=CLUSTER)
        message = '{"message": "No changes found in your cluster configuration."}'
        failed = "update-cluster" in command
        return types.SimpleNamespace(ok=not failed, exited=int(failed), stdout=message, stderr="")

    def watch(self, _cloudformation, stack_id, _after=""):
        """End the operation of a stack."""
        found = stack.find_stack(self.cloudformation, stack_id)
        if found and found["StackStatus"] in OUTCOMES:
            self.set_status(found["StackName"], OUTCOMES[found["StackStatus"]])
        elif found:
            self.cloudformation.delete_stack(StackName=stack_id)
        found = stack.find_stack(self.cloudformation, stack_id)
        yield Progress(found["StackStatus"] if found else "DELETE_COMPLETE")

    def repair(self, command):
        """Do the same as a command of the AWS command line."""
        action, name = re.fullmatch(
            r"aws cloudformation (\S+) --region eu-west-2 --stack-name (\S+)", command
        ).groups()
        if action == "delete-stack":
            self.cloudformation.delete_stack(StackName=name)
        else:
            allowed = {
                "rollback-stack": "UPDATE_FAILED",
                "continue-update-rollback": "UPDATE_ROLLBACK_FAILED",
            }
            assert self.find(name).status == allowed[action]
            self.set_status(name, "UPDATE_ROLLBACK_COMPLETE")

    def read_statuses(self):
        """Return the statuses of the stacks."""
        stacks = self.cloudformation.describe_stacks()["Stacks"]
        return {found["StackName"]: found["StackStatus"] for found in stacks}

    def get_step(self):
        """Return the step that `Next:` names."""
        return get_next_step(self.p, list_resources(self.p))

    def follow(self):
        """Follow `Next:` until it names another kind of step. Return all steps."""
        steps = []
        tasks = {
            "invoke create-cluster": lambda: cluster_steps.create_cluster(self.p),
            "invoke update-cluster": lambda: cluster_steps.update_cluster(self.p, "", yes=True),
            "invoke delete-cluster": lambda: cluster_steps.delete_cluster(self.p, yes=True),
            "invoke delete-network": lambda: vpc.delete_network(self.p),
        }
        while True:
            resources = list_resources(self.p)
            step = get_next_step(self.p, resources)
            assert step not in steps, f"an endless loop: {steps}, {step}"
            steps.append(step)
            if step.startswith("aws cloudformation"):
                self.repair(step)
            elif step in tasks and any(explain_statuses(self.p, resources)):
                before = self.read_statuses()
                with contextlib.suppress(ClusterError):  # the operation that the task watched failed
                    tasks[step]()
                assert self.read_statuses() != before, f"{step} did nothing"
            else:
                return steps


@pytest.fixture
def states(monkeypatch, network, cloudformation, project):
    return Account(monkeypatch, network, cloudformation)


COMPLETE_STEPS = {"complete": "invoke upload-bootstrap"}
FAILED = {"CREATE_FAILED", "ROLLBACK_FAILED", "ROLLBACK_COMPLETE", "DELETE_FAILED", "IMPORT_ROLLBACK_FAILED"}


def find_step(tasks, stack_name, name):
    """Return the step that a status requires."""
    return stack_status.find_next_command(tasks, stack_name, name, REGION)


@pytest.mark.parametrize("name", STATUSES)
def test_cluster_status_is_explained_with_the_next_step(name):
    step = find_step(stack_status.CLUSTER_TASKS, CLUSTER, name)
    sentence = stack_status.explain_status("cluster", CLUSTER, name, REGION)
    assert sentence.startswith(f"The cluster {CLUSTER} is {name}: ")
    if name.removesuffix("_COMPLETE") in COMPLETE:
        assert step == ""
    elif name in FAILED or name == "DELETE_IN_PROGRESS":
        assert step == "invoke delete-cluster"
    elif name in ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
        assert step == "invoke create-cluster"
    elif name in OUTCOMES:
        assert step == "invoke update-cluster"
    elif name.startswith("IMPORT"):
        assert step == ""
        assert sentence.endswith("Wait until that has ended.")
    else:
        assert step.startswith("aws cloudformation ")
    assert step in sentence


@pytest.mark.parametrize("name", STATUSES)
def test_network_status_is_explained_with_the_next_step(name):
    step = find_step(stack_status.NETWORK_TASKS, NETWORK_STACK, name)
    sentence = stack_status.explain_status("network", NETWORK_STACK, name, REGION)
    if name in ("UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"):
        assert step.startswith("aws cloudformation ")
        assert "invoke delete-network" in sentence
    elif name.removesuffix("_COMPLETE") in COMPLETE:
        assert step == ""
    elif name.startswith(("UPDATE", "IMPORT")) and name not in FAILED:
        assert step == ""
        assert sentence.endswith("Wait until that has ended.")
    else:
        assert step == "invoke delete-network"
    assert step in sentence


def list_examples(tasks):
    """Return one status for each phase and step, on which the tasks' decisions depend."""
    return list(
        {(stack_status.get_phase(name), find_step(tasks, "", name)): name for name in STATUSES}.values()
    )


def test_next_step_resolves_any_phase_of_a_cluster(states, network):
    for name in list_examples(stack_status.CLUSTER_TASKS):
        if stack.find_stack(states.cloudformation, CLUSTER) is None:
            make_cluster(CLUSTER, network, states.cloudformation)
        states.set_status(CLUSTER, name)
        step = find_step(stack_status.CLUSTER_TASKS, CLUSTER, name)
        assert states.follow()[0] == (step or COMPLETE_STEPS.get(stack_status.get_phase(name), "")), name


def test_next_step_resolves_any_phase_of_a_network(states, ec2):
    states.cloudformation.delete_stack(StackName=CLUSTER)
    for name in list_examples(stack_status.NETWORK_TASKS):
        if stack.find_stack(states.cloudformation, NETWORK_STACK) is None:
            prepare_network(ec2, states.cloudformation)
        states.set_status(NETWORK_STACK, name)
        step = find_step(stack_status.NETWORK_TASKS, NETWORK_STACK, name)
        steps = states.follow()
        assert steps[0] == (step or COMPLETE_STEPS.get(stack_status.get_phase(name), "")), name
        if step == "invoke delete-network":
            assert steps[1] == "invoke configure", name


def test_tasks_explain_a_status_as_status_does(states):
    """A task that needs another status refuses with the same message as `status`."""
    for name in STATUSES:
        states.set_status(CLUSTER, name)
        sentence = re.escape(stack_status.explain_status("cluster", CLUSTER, name, REGION))
        if stack_status.get_phase(name) == "complete":
            assert stack.require_cluster(states.cloudformation, CLUSTER)
        else:
            with pytest.raises(ClusterError, match=sentence):
                stack.require_cluster(states.cloudformation, CLUSTER)
        if stack_status.get_phase(name) not in cluster_steps.DELETABLE_PHASES:
            with pytest.raises(ClusterError, match=sentence):
                cluster_steps.delete_cluster(states.p, yes=True)


def test_every_status_of_botocore_is_known():
    assert set(stack_status.STATUSES) == set(STATUSES)


def test_unknown_status_is_reported_and_changes_nothing(states):
    """A status that CloudFormation might add, for a cluster and for its network."""
    states.set_status(CLUSTER, "FUTURE_STATUS")
    states.set_status(NETWORK_STACK, "FUTURE_STATUS")
    before = states.read_statuses()
    for change in (
        lambda: cluster_steps.create_cluster(states.p),
        lambda: cluster_steps.update_cluster(states.p, "", yes=True),
        lambda: cluster_steps.delete_cluster(states.p, yes=True),
        lambda: pause.pause(states.p),
        lambda: up_down.down(states.p, delete_all=True, yes=True),
        lambda: vpc.configure(states.p, "", ""),
    ):
        with pytest.raises(ClusterError, match="is FUTURE_STATUS: a status that these tasks do not know"):
            change()
    states.cloudformation.delete_stack(StackName=CLUSTER)
    with pytest.raises(ClusterError, match=f"The network {NETWORK_STACK} is FUTURE_STATUS"):
        vpc.delete_network(states.p)
    before.pop(CLUSTER)
    assert states.read_statuses() == before
    assert states.get_step() == ""


def test_failed_cluster_names_its_blocker_first(states, ec2, network):
    states.set_status(CLUSTER, "DELETE_FAILED")
    group = ec2.create_security_group(GroupName="other", Description="d", VpcId=network["vpc"])["GroupId"]
    group_of_head_node = stack.find_resource_id(states.cloudformation, CLUSTER, "HeadNodeSecurityGroup")
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_of_head_node}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    step = get_next_step(states.p, list_resources(states.p))
    assert step.startswith(f"aws ec2 revoke-security-group-ingress --region eu-west-2 --group-id {group}")


def test_terminated_head_node_with_a_uqle_machine(states, ec2, invoke):
    assert invoke("connect-uqle").returncode == 0
    head_node = stack.find_resource_id(states.cloudformation, CLUSTER, "HeadNode")
    ec2.terminate_instances(InstanceIds=[head_node])
    assert states.get_step() == "invoke disconnect-uqle"
    assert invoke("disconnect-uqle", "--yes").returncode == 0
    assert states.get_step() == "invoke delete-cluster create-cluster"
    Path("config.yml").unlink()
    assert states.get_step() == "invoke delete-cluster"
    assert invoke("delete-cluster", "--yes").returncode == 0


def test_network_that_no_file_names_is_deleted(network, project):
    Path("temp-config.yml").unlink()
    assert get_next_step(project, list_resources(project)) == "invoke delete-network"
    vpc.delete_network(project)
    assert get_next_step(project, list_resources(project)) == "invoke configure"
