"""How long OnNodeConfigured takes beside a bare `apt-get install` of the same packages: a job waits for it, and it costs.

Takes minutes, and wants the machine for itself; so it is left out unless asked for: tests/nodes/run -m speed
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.nodes.cluster import PACKAGES, SINGLE, SUITES, ComputeNode, HeadNode, Node, root

pytestmark = pytest.mark.speed

ROUNDS = 3


@contextmanager
def new_node(node_type: str) -> Iterator[Node]:
    """Boot a node, at the moment of OnNodeConfigured."""
    layers = [root(SUITES[0])]
    head = HeadNode(SINGLE, layers)
    try:
        assert head.action("OnNodeStart").returncode == 0
        head.configure()
        if node_type == "HeadNode":
            yield head
            return
        compute = ComputeNode(SINGLE, layers, head)
        try:
            compute.configure()
            yield compute
        finally:
            compute.destroy()
    finally:
        head.destroy()


def seconds(node_type: str, bare: bool) -> float:
    """Time the script on a new node, or the bare installation of its packages."""
    with new_node(node_type) as node:
        install = f"apt-get update -q && apt-get install -q -y --no-install-recommends {' '.join(PACKAGES[node_type])}"
        began = time.monotonic()
        if bare:
            node.run("bash", "-c", install, DEBIAN_FRONTEND="noninteractive")
        else:
            done = node.action("OnNodeConfigured")
            assert done.returncode == 0, done.stdout
        return time.monotonic() - began


@pytest.mark.parametrize(("node_type", "bound"), [("HeadNode", 1.25), ("ComputeFleet", 1.15)])
def test_the_script_takes_little_longer_than_its_packages(record_property, node_type, bound):
    pairs = [(seconds(node_type, bare=False), seconds(node_type, bare=True)) for _ in range(ROUNDS)]
    script, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    record_property(
        "speed",
        f"{node_type:13} script {script:5.1f} s, bare apt-get {bare:5.1f} s, ratio {script / bare:.2f}",
    )
    assert script / bare <= bound
