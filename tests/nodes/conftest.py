"""Fixtures and hooks of the node tests. `tests/nodes/run` runs them; a plain `pytest` ignores this folder."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

import sandbox
from slurm_cluster.aws import jwt_secret
from tests.nodes.support.cluster import (
    CLUSTER_ADDRESSES,
    CLUSTER_NAME,
    DEBIAN_SUITES,
    PACKAGES,
    REGION,
    SINGLE_HEAD_ADDRESSES,
    Cluster,
    ComputeNode,
    HeadNode,
    KeySecret,
    get_root_file_system,
)
from tests.nodes.support.machine import NETWORK_PREFIX
from tests.nodes.support.rest_api import RestApi

HERE = Path(__file__).parent  # the rootdir of pytest in `run`


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.rootpath == HERE else True


LONGEST_GROUPS = ["uqle", "test_cgroups", "installed_layers"]  # start first
SLOW_FIXTURES = ["rebooted_machine", "reboot", "virtual_machine"]  # tests that do not need them run first


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests that share a booted machine or a disk, so that one worker runs them. Sort the tests."""

    def get_sort_key(item: pytest.Item) -> tuple[bool, ...]:
        [group] = next(item.iter_markers("xdist_group")).args
        slow = [name in item.fixturenames for name in SLOW_FIXTURES]
        return *(group != longest for longest in LONGEST_GROUPS), *slow

    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(choose_group(item)))
    items.sort(key=get_sort_key)


def choose_group(item: pytest.Item) -> str:
    """Return the group of a test: its cluster, else the installed disk, else its file."""
    parameters = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    if "cluster" in parameters:
        return str(parameters["cluster"])
    return "installed_layers" if "installed_layers" in item.fixturenames else item.path.stem


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measured times."""
    reports = [report for state in ("passed", "failed") for report in terminalreporter.getreports(state)]
    for line in (value for report in reports for name, value in report.user_properties if name == "speed"):
        terminalreporter.write_line(str(line))


@pytest.fixture(scope="session")
def aws_environment() -> Iterator[dict[str, str]]:
    """The environment in which a node's aws command reaches the emulated AWS, over the network."""
    with sandbox.emulated_aws():
        port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
        listen = f"TCP-LISTEN:{port},bind={NETWORK_PREFIX}.1,fork,reuseaddr"
        with subprocess.Popen(["socat", listen, f"TCP:127.0.0.1:{port}"]) as process:
            yield {
                "AWS_ENDPOINT_URL": f"http://{NETWORK_PREFIX}.1:{port}",
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            process.terminate()


@pytest.fixture(scope="session")
def key_secret(aws_environment: dict[str, str]) -> KeySecret:
    """The secret that `invoke create-jwt-key` creates, in the emulated AWS."""
    client = boto3.client("secretsmanager", region_name=REGION)
    arn, _ = jwt_secret.ensure_secret(client, f"{CLUSTER_NAME}-{REGION}-slurm-jwt-key", CLUSTER_NAME)
    return KeySecret(arn, client.get_secret_value(SecretId=arn)["SecretString"], aws_environment)


@pytest.fixture(scope="session", params=DEBIAN_SUITES)
def cluster(request: pytest.FixtureRequest, key_secret: KeySecret) -> Iterator[Cluster]:
    """A cluster that booted as in ParallelCluster."""
    layers = [get_root_file_system(request.param)]
    results = {}
    head_node = HeadNode(CLUSTER_ADDRESSES, layers)
    try:
        results["head node, OnNodeStart"] = head_node.run_custom_action(
            "OnNodeStart", key_secret.arn, **key_secret.environment
        )
        head_node.configure()
        results["head node, OnNodeConfigured"] = head_node.run_custom_action("OnNodeConfigured")
        compute_node = ComputeNode(CLUSTER_ADDRESSES, layers, head_node)
        try:
            results["compute node, OnNodeStart"] = compute_node.run_custom_action("OnNodeStart")
            compute_node.configure()
            results["compute node, OnNodeConfigured"] = compute_node.run_custom_action("OnNodeConfigured")
            yield Cluster(head_node, compute_node, results, RestApi(head_node.address, key_secret.key))
        finally:
            compute_node.destroy()
    finally:
        head_node.destroy()


@pytest.fixture
def new_head_node() -> Iterator[HeadNode]:
    """A head node before OnNodeStart."""
    head_node = HeadNode(SINGLE_HEAD_ADDRESSES, [get_root_file_system(DEBIAN_SUITES[0])])
    yield head_node
    head_node.destroy()


@pytest.fixture
def configured_head_node(new_head_node: HeadNode) -> HeadNode:
    """A head node before OnNodeConfigured."""
    assert new_head_node.run_custom_action("OnNodeStart").returncode == 0
    new_head_node.configure()
    return new_head_node


@pytest.fixture(scope="session")
def installed_layers() -> Iterator[list[Path]]:
    """The disk of a head node before OnNodeConfigured, with the packages installed. Other nodes use it."""
    base = get_root_file_system(DEBIAN_SUITES[0])
    head_node = HeadNode(SINGLE_HEAD_ADDRESSES, [base])
    try:
        head_node.run_custom_action("OnNodeStart")
        head_node.configure()
        head_node.run("apt-get", "update")
        head_node.run("apt-get", "install", "--yes", *PACKAGES["HeadNode"])
        head_node.power_off()
        head_node.disconnect()
        yield [head_node.upper, base]
    finally:
        head_node.destroy()


@pytest.fixture
def installed_head_node(installed_layers: list[Path]) -> Iterator[HeadNode]:
    """A head node before OnNodeConfigured, with the packages installed."""
    head_node = HeadNode(SINGLE_HEAD_ADDRESSES, installed_layers)
    yield head_node
    head_node.destroy()
