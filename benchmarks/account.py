"""The emulated AWS with a cluster in it."""

import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from sandbox import emulated_aws, faults, stacks
from sandbox.api_calls import Environ, Moto, StartResponse
from sandbox.small_cluster import make_cluster

ROOT = Path(__file__).parent.parent
CLUSTER = "pcluster-ubuntu"


def invoke(task: str, root: Path = ROOT) -> str:
    """Give the command line of a task."""
    return f"invoke --search-root {shlex.quote(str(root))} {task}"


@contextmanager
def connected_cluster() -> Iterator[Path]:
    """Make an account with a cluster and its UQLE machine, in which stacks take no time to be made.

    Yields:
        The folder of the cluster's files.

    """
    stacks.SECONDS = 0
    with emulated_aws(), tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        go_up(Path(folder))
        yield Path(folder)


def go_up(folder: Path) -> None:
    """Make the cluster, and all that belongs to it."""
    run(invoke("up --yes --ssh-from 203.0.113.7/32"), folder)


def run(command: str, folder: Path) -> None:
    """Run a command whose time does not matter."""
    subprocess.run(
        shlex.split(command), cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def calls(command: str, folder: Path) -> int:
    """Count the calls to AWS that a command makes."""
    with faults.recorded() as recorded:
        run(command, folder)
    return len(recorded)


@contextmanager
def late(seconds: float) -> Iterator[None]:
    """Let each call to AWS take longer while the context lasts."""

    def delay(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        time.sleep(seconds)
        return Moto.aws(environ, start_response)

    with faults.injected(delay, then=delay):
        yield


def neighbours(count: int) -> None:
    """Make more clusters, in a VPC that they share."""
    ec2, cloudformation = (boto3.Session().client(service) for service in ("ec2", "cloudformation"))
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    for number in range(count):
        make_cluster(f"neighbour-{number}", {"vpc": vpc, "public": subnet}, cloudformation)


def with_queues(count: int, folder: Path) -> Path:
    """Copy this repository, with so many queues in its template."""
    copy = folder / f"queues-{count}"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "screenshots"))
    template = copy / "config.template.yml"
    before, queue, after = re.split(
        r"(?=    - Name: queue1$)|(?=^SharedStorage:)", template.read_text(), flags=re.MULTILINE
    )
    template.write_text(
        before + "".join(queue.replace("queue1", f"queue{number + 1}") for number in range(count)) + after
    )
    return copy
