"""How long OnNodeConfigured takes, compared with a bare `apt-get install` of its packages.

You pay while a node boots. The test takes minutes and needs an idle machine, so it runs only on request:
tests/nodes/run -m speed
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.nodes.support.cluster import (
    DEBIAN_SUITES,
    PACKAGES,
    SINGLE_HEAD_ADDRESSES,
    ComputeNode,
    HeadNode,
    Node,
    get_root_file_system,
)

pytestmark = pytest.mark.speed

ROUNDS = 3


@contextmanager
def boot_node(node_type: str) -> Iterator[Node]:
    """Boot a node, and configure it up to OnNodeConfigured."""
    layers = [get_root_file_system(DEBIAN_SUITES[0])]
    head_node = HeadNode(SINGLE_HEAD_ADDRESSES, layers)
    try:
        assert head_node.run_custom_action("OnNodeStart").returncode == 0
        head_node.configure()
        if node_type == "HeadNode":
            yield head_node
            return
        compute_node = ComputeNode(SINGLE_HEAD_ADDRESSES, layers, head_node)
        try:
            compute_node.configure()
            yield compute_node
        finally:
            compute_node.destroy()
    finally:
        head_node.destroy()


def measure_script(node_type: str, has_packages: bool = False) -> float:
    """Return the seconds that the script takes on a new node, whose image may have the packages."""
    with boot_node(node_type) as node:
        if has_packages:
            node.run("apt-get", "update")
            node.run("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES[node_type])
        start = time.monotonic()
        result = node.run_custom_action("OnNodeConfigured")
        seconds = time.monotonic() - start
        assert result.returncode == 0, result.stdout
        return seconds


def measure_apt_get(node_type: str) -> float:
    """Return the seconds that only the installation of the packages takes on a new node."""
    install = "apt-get install -q -y --no-install-recommends"
    command = f"apt-get update -q && {install} {' '.join(PACKAGES[node_type])}"
    with boot_node(node_type) as node:
        start = time.monotonic()
        node.run("bash", "-c", command, DEBIAN_FRONTEND="noninteractive")
        return time.monotonic() - start


@pytest.mark.parametrize(("node_type", "limit"), [("HeadNode", 1.25), ("ComputeFleet", 1.15)])
def test_script_is_little_slower_than_its_packages(record_property, node_type, limit):
    times = [(measure_script(node_type), measure_apt_get(node_type)) for _ in range(ROUNDS)]
    script, apt_get = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = script / apt_get
    summary = f"{node_type:13} script {script:5.1f} s, bare apt-get {apt_get:5.1f} s, ratio {ratio:.2f}"
    record_property("speed", summary)
    assert ratio <= limit


def test_script_with_packages_in_the_image_takes_a_second(record_property):
    times = [measure_script("ComputeFleet", has_packages=True) for _ in range(ROUNDS)]
    record_property(
        "speed", f"ComputeFleet  script {statistics.median(times):5.2f} s with the packages in the image"
    )
    assert statistics.median(times) <= 1
