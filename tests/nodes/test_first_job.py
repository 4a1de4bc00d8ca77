"""Run the commands of "Your first job" in the README, and the Python of docs/clients.md, on real Slurm."""

import re
import subprocess
import sys

import pytest

from tests.nodes.support.cluster import REPOSITORY
from tests.nodes.support.machine import wait_until

BLOCKS = re.findall(
    r"^```bash first-job (\S+)\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.M | re.S
)


def get_block(where, word):
    """Return the README's only block for a place that contains a word."""
    [block] = [text for place, text in BLOCKS if place == where and word in text]
    return block


def run_as_ubuntu(node, block):
    """Run commands as `invoke ssh` does: in a login shell of user ubuntu. Return the last line."""
    result = node.run("bash", "-l", "-o", "errexit", "-c", f"cd\n{block}", user="ubuntu")
    return result.stdout.splitlines()[-1]


@pytest.fixture
def image(cluster):
    """Put a small image where Podman finds it, under the name in the README, because there is no registry."""
    script = (
        'i=$(mktemp -d) && chmod 755 "$i" && mkdir "$i/bin" && cp /bin/busybox "$i/bin/sh" && '
        'ln -s sh "$i/bin/echo" && tar --create --directory "$i" . | '
        "podman import --quiet - docker.io/library/busybox"
    )
    cluster.compute_node.run("bash", "-l", "-o", "pipefail", "-c", script, user="slurm")


def test_blocks_are_all_run_here():
    assert [place for place, _ in BLOCKS] == ["head-node", "rest", "head-node"]


def test_batch_job(cluster):
    output = run_as_ubuntu(cluster.head_node, get_block("head-node", "sbatch"))
    assert output == f"Hello from {cluster.compute_node.name}"


def test_job_through_the_rest_api(cluster, tmp_path):
    """The head node replaces the tunnel, and a token signed with the same key replaces `invoke token`."""
    api = cluster.rest_api
    (tmp_path / "invoke").write_text(f"#!/bin/sh\necho {api.sign_token()}\n")
    (tmp_path / "invoke").chmod(0o755)
    block = get_block("rest", "job/submit").replace("http://127.0.0.1:8082", api.url)
    block = re.sub(r"v0\.0\.\d+", api.find_newest_version(), block)
    result = subprocess.run(
        ["bash", "-o", "errexit", "-c", block],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"name": "hello-1"' in result.stdout, result.stdout
    output = cluster.head_node.get_path("/shared/hello-1.txt")
    wait_until(lambda: output.exists() and output.read_text(), 60, "the job has written its output")
    assert output.read_text() == f"Hello from {cluster.compute_node.name}\n"


def test_container_in_a_job(cluster, image):
    assert run_as_ubuntu(cluster.head_node, get_block("head-node", "podman")) == "Hello from a container"


def test_python_client(cluster, tmp_path):
    """v0.0.44 is replaced by the version that all Slurms of these tests support."""
    [program] = re.findall(
        r"^```python\n(.*?)^```", (REPOSITORY / "docs/clients.md").read_text(), re.M | re.S
    )
    program = program.replace("http://127.0.0.1:8082", cluster.rest_api.url)
    program = program.replace("V0044", "V0042").replace("v0044", "v0042")
    (tmp_path / "alice.token").write_text(f"{cluster.rest_api.sign_token()}\n")
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert re.fullmatch(r"\d+ \['COMPLETED'\]\n", result.stdout), result.stderr
