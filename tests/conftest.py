"""Fixtures for all tests. Each worker has its own emulated AWS, so no test can reach a real account."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox import stacks
from sandbox.api_calls import client
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import clients
from slurm_cluster.project import Project
from tests.support import REGION, SETTINGS, ssh_stand_in
from tests.support.in_process import run_task
from tests.support.prepared_account import prepare_network
from tests.support.task_runner import TaskRunner


@pytest.fixture(scope="session", autouse=True)
def emulated_aws() -> Iterator[None]:
    with sandbox.emulated_aws():
        yield


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with an empty home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in os.environ if name.startswith("INVOKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def own_session() -> Iterator[None]:
    """Use a new boto3 session, for a test that changes the credentials. The other tests share one."""
    clients.get_session.cache_clear()
    yield
    clients.get_session.cache_clear()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty the account, and make stacks change their status at once."""
    sandbox.reset()
    monkeypatch.setattr(stacks, "SECONDS_PER_RESOURCE", 0)
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 0)


@pytest.fixture
def project(account: None) -> Project:
    return Project(SETTINGS)


@pytest.fixture
def ec2(account: None) -> Any:
    return client("ec2", REGION)


@pytest.fixture
def cloudformation(account: None) -> Any:
    return client("cloudformation", REGION)


@pytest.fixture(scope="session")
def task_runner(emulated_aws: None) -> Iterator[TaskRunner]:
    runner = TaskRunner()
    yield runner
    runner.close()


@pytest.fixture
def invoke(task_runner: TaskRunner, account: None) -> TaskRunner:
    """Run invoke in a separate process, in the current folder, with an empty account."""
    return task_runner


@pytest.fixture
def key_pair(ec2: Any) -> Path:
    """Create the cluster's key pair. Return the path of its private key."""
    from slurm_cluster.aws import key_pair

    key_pair.create_key_pair(ec2, "pcluster-ubuntu")
    return key_pair.get_private_key_path("pcluster-ubuntu")


@pytest.fixture
def network(key_pair: Path, ec2: Any, cloudformation: Any) -> dict[str, str]:
    """Make the network and temp-config.yml as the wizard does. Return the ids of the VPC and the subnets."""
    return prepare_network(ec2, cloudformation)


@pytest.fixture
def cluster(network: dict[str, str], cloudformation: Any, ec2: Any) -> dict[str, str]:
    """Make a small cluster. Return the ids of its stack and of the head node's security group."""
    return make_cluster("pcluster-ubuntu", network, cloudformation)


@pytest.fixture
def upload(account: None) -> None:
    run_step("upload_bootstrap")


@pytest.fixture
def filled(network: dict[str, str], upload: None) -> None:
    """Make everything that create-cluster needs."""
    run_step("create_jwt_key")
    run_step("fill_parameters", "203.0.113.7/32")
    run_step("render")


def run_step(task: str, *arguments: str) -> None:
    """Run a task in this process, and check that it succeeds."""
    printed, failure = run_task(task, *arguments)
    assert not failure, printed + failure


@pytest.fixture
def ssh_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a stand-in for ssh on PATH. Return a function that returns its calls until now."""
    return ssh_stand_in.install_ssh(tmp_path, monkeypatch)
