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
from slurm_cluster import jwt_key
from tests.nodes.cluster import SUITES, ComputeNode, HeadNode, RestApi, Secret, root
from tests.nodes.machine import NETWORK, Completed

HERE = Path(__file__).parent
PACKAGES = ["podman", "uidmap", "slirp4netns", "netavark", "mariadb-server"]  # of OnNodeConfigured on a head node


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.rootpath == HERE else True


@pytest.fixture(scope="session")
def secret() -> Iterator[Secret]:
    """The key as `invoke create-jwt-key` makes it, in the emulated AWS, which the nodes reach over their network."""
    with sandbox.emulated_aws():
        port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
        forward = [f"TCP-LISTEN:{port},bind={NETWORK}.1,fork,reuseaddr", f"TCP:127.0.0.1:{port}"]
        with subprocess.Popen(["socat", *forward]) as process:
            manager = boto3.client("secretsmanager", region_name="eu-west-2")
            arn, _ = jwt_key.ensure_secret(manager, "pcluster-ubuntu-eu-west-2-slurm-jwt-key", "pcluster-ubuntu")
            environment = {
                "AWS_ENDPOINT_URL": f"http://{NETWORK}.1:{port}",
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            yield Secret(arn, manager.get_secret_value(SecretId=arn)["SecretString"], environment)
            process.terminate()


class Cluster(NamedTuple):
    """A head node and a compute node, booted as ParallelCluster boots them, with what the scripts said."""

    head: HeadNode
    compute: ComputeNode
    said: dict[str, Completed]
    rest: RestApi


@pytest.fixture(scope="session", params=SUITES)
def cluster(request: pytest.FixtureRequest, secret: Secret) -> Iterator[Cluster]:
    layers = [root(request.param)]
    head = HeadNode(2, layers)
    try:
        said = {"head, start": head.action("OnNodeStart", secret.arn, **secret.environment)}
        head.configure()
        said["head, configured"] = head.action("OnNodeConfigured")
        compute = ComputeNode(2, layers, head)
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
    head = HeadNode(30, [root(SUITES[0])])
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
    head = HeadNode(30, [root(SUITES[0])])
    try:
        head.action("OnNodeStart")
        head.configure()
        head.run("apt-get", "update")
        head.run("apt-get", "install", "--yes", *PACKAGES)
        head.power_off()
        head.unplug()
        yield [head.upper, root(SUITES[0])]
    finally:
        head.destroy()


@pytest.fixture
def installed_head(installed: list[Path]) -> Iterator[HeadNode]:
    """A head node of its own, at the moment of OnNodeConfigured, which has its packages."""
    head = HeadNode(30, installed)
    yield head
    head.destroy()
