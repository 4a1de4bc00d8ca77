"""The tests that boot nodes: `tests/nodes/run` runs them, and a plain `pytest` passes them over."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest

import sandbox
from slurm_cluster.aws import jwt_secret
from tests.nodes.cluster import (
    CLUSTER,
    PACKAGES,
    SINGLE,
    SUITES,
    ComputeNode,
    HeadNode,
    RestApi,
    Secret,
    root,
)
from tests.nodes.machine import NETWORK, Completed

HERE = Path(__file__).parent  # where `run` has pytest look for its settings


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.rootpath == HERE else True


GROUPS = ["uqle", "installed"]  # the longest, which begin first
WAITED_FOR = [
    "rebooted",
    "rebooting",
    "machine",
]  # while these boot, the tests that do without them have their turn


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one worker run all tests that share what boots: a cluster, a disk, or else what their file has."""

    def order(item: pytest.Item) -> tuple[bool, ...]:
        [group] = next(item.iter_markers("xdist_group")).args
        return *(group != longest for longest in GROUPS), *(name in item.fixturenames for name in WAITED_FOR)

    for item in items:
        suite = (
            item.callspec.params.get("cluster")
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else None
        )
        if not item.get_closest_marker("xdist_group"):
            disk = "installed" if "installed" in item.fixturenames else None
            item.add_marker(pytest.mark.xdist_group(suite or disk or item.path.stem))
    items.sort(key=order)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the times that tests took down."""
    reports = [report for state in ("passed", "failed") for report in terminalreporter.getreports(state)]
    for line in (value for report in reports for name, value in report.user_properties if name == "speed"):
        terminalreporter.write_line(str(line))


@pytest.fixture(scope="session")
def aws() -> Iterator[dict[str, str]]:
    """The emulated AWS, and the environment in which a node's aws reaches it over the network."""
    with sandbox.emulated_aws():
        port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
        forward = [f"TCP-LISTEN:{port},bind={NETWORK}.1,fork,reuseaddr", f"TCP:127.0.0.1:{port}"]
        with subprocess.Popen(["socat", *forward]) as process:
            yield {
                "AWS_ENDPOINT_URL": f"http://{NETWORK}.1:{port}",
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            process.terminate()


@pytest.fixture(scope="session")
def secret(aws: dict[str, str]) -> Secret:
    """The key as `invoke create-jwt-key` makes it, in the emulated AWS."""
    manager = boto3.client("secretsmanager", region_name="eu-west-2")
    arn, _ = jwt_secret.ensure_secret(manager, "pcluster-ubuntu-eu-west-2-slurm-jwt-key", "pcluster-ubuntu")
    return Secret(arn, manager.get_secret_value(SecretId=arn)["SecretString"], aws)


class Cluster(NamedTuple):
    """A head node and a compute node, booted as ParallelCluster boots them, with what the scripts said."""

    head: HeadNode
    compute: ComputeNode
    said: dict[str, Completed]
    rest: RestApi


@pytest.fixture(scope="session", params=SUITES)
def cluster(request: pytest.FixtureRequest, secret: Secret) -> Iterator[Cluster]:
    layers = [root(request.param)]
    head = HeadNode(CLUSTER, layers)
    try:
        said = {"head, start": head.action("OnNodeStart", secret.arn, **secret.environment)}
        head.configure()
        said["head, configured"] = head.action("OnNodeConfigured")
        compute = ComputeNode(CLUSTER, layers, head)
        try:
            said["compute, start"] = compute.action("OnNodeStart")
            compute.configure()
            said["compute, configured"] = compute.action("OnNodeConfigured")
            yield Cluster(head, compute, said, RestApi(head, secret.key))
        finally:
            compute.destroy()
    finally:
        head.destroy()


@pytest.fixture
def new_head() -> Iterator[HeadNode]:
    """A head node of its own, at the moment of OnNodeStart."""
    head = HeadNode(SINGLE, [root(SUITES[0])])
    yield head
    head.destroy()


@pytest.fixture
def configured_head(new_head: HeadNode) -> HeadNode:
    """A head node of its own, at the moment of OnNodeConfigured."""
    assert new_head.action("OnNodeStart").returncode == 0
    new_head.configure()
    return new_head


@pytest.fixture(scope="session")
def installed() -> Iterator[list[Path]]:
    """The disk of a head node at the moment of OnNodeConfigured, with the packages that it installs: more nodes start from it."""
    head = HeadNode(SINGLE, [root(SUITES[0])])
    try:
        head.action("OnNodeStart")
        head.configure()
        head.run("apt-get", "update")
        head.run("apt-get", "install", "--yes", *PACKAGES["HeadNode"])
        head.power_off()
        head.unplug()
        yield [head.upper, root(SUITES[0])]
    finally:
        head.destroy()


@pytest.fixture
def installed_head(installed: list[Path]) -> Iterator[HeadNode]:
    """A head node of its own, at the moment of OnNodeConfigured, which has its packages."""
    head = HeadNode(SINGLE, installed)
    yield head
    head.destroy()
