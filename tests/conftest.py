"""Every test runs in the emulated AWS, one for each worker, emptied before each test: none can reach a real account."""

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
from tests.support.prepared_account import prepare_network
from tests.support.recorded_walk import RecordedWalk, record_walk
from tests.support.task_runner import TaskRunner, get_output


@pytest.fixture(scope="session", autouse=True)
def emulated_aws() -> Iterator[None]:
    with sandbox.emulated_aws():
        yield


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in os.environ if name.startswith("INVOKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def own_session() -> Iterator[None]:
    """A session of AWS for a test that changes who the person is; the others share one, which reads AWS's descriptions once."""
    clients.get_session.cache_clear()
    yield
    clients.get_session.cache_clear()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty account, in which nothing takes time."""
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
    """Run invoke as a person does: a process of its own in the current folder."""
    return task_runner


@pytest.fixture
def key_pair(ec2: Any) -> Path:
    """A key pair of the cluster's name, with its private key here."""
    from slurm_cluster.aws import key_pair

    key_pair.create_key_pair(ec2, "pcluster-ubuntu")
    return key_pair.get_private_key_path("pcluster-ubuntu")


@pytest.fixture
def network(key_pair: Path, ec2: Any, cloudformation: Any) -> dict[str, str]:
    """The network that the wizard makes, and the temp-config.yml that it leaves, without its questions."""
    return prepare_network(ec2, cloudformation)


@pytest.fixture
def cluster(network: dict[str, str], cloudformation: Any, ec2: Any) -> dict[str, str]:
    """A stack with the logical ids, outputs and tags by which a cluster of ParallelCluster is known, made in a second."""
    return make_cluster("pcluster-ubuntu", network, cloudformation)


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> RecordedWalk:
    """The whole path and back, walked once for all tests of the group `walk`."""
    return record_walk(tmp_path_factory.mktemp("walk"))


@pytest.fixture
def upload(invoke: TaskRunner) -> None:
    get_output(invoke("upload-bootstrap"))


@pytest.fixture
def filled(network: dict[str, str], upload: None, invoke: TaskRunner) -> None:
    """Everything that create-cluster needs."""
    get_output(invoke("create-jwt-key"))
    get_output(invoke("fill-parameters", "--ssh-from", "203.0.113.7/32"))
    get_output(invoke("render"))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What ssh was asked: its arguments, and what it had to read."""
    return ssh_stand_in.install_ssh(tmp_path, monkeypatch)
