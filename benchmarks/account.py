"""An emulated AWS with a cluster in it."""

import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import emulated_aws, faults, stacks
from sandbox.api_calls import Environ, Moto, StartResponse, client
from sandbox.environment import DEFAULT_REGION
from sandbox.small_cluster import make_cluster

ROOT = Path(__file__).parent.parent
CLUSTER = "pcluster-ubuntu"


def format_invoke(task: str, root: Path = ROOT) -> str:
    """Return the command that runs a task."""
    return f"invoke --search-root {shlex.quote(str(root))} {task}"


@contextmanager
def connected_cluster() -> Iterator[Path]:
    """Create an account with a cluster and its UQLE machine. Creating its stacks takes no time.

    Yields:
        The folder with the cluster's files.

    """
    stacks.SECONDS_PER_RESOURCE = 0
    with emulated_aws(), tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        create_cluster(folder)
        yield folder


def create_cluster(folder: Path) -> None:
    """Create the cluster and everything that belongs to it."""
    run(format_invoke("up --yes --ssh-from 203.0.113.7/32"), folder)


def run(command: str, folder: Path) -> None:
    """Run a command that is not measured."""
    subprocess.run(
        shlex.split(command), cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def count_calls(command: str, folder: Path) -> int:
    """Return the number of calls to AWS that a command makes."""
    with faults.collect_calls() as calls:
        run(command, folder)
    return len(calls)


@contextmanager
def delay_calls(seconds: float) -> Iterator[None]:
    """Delay each call to AWS."""

    def delay(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        time.sleep(seconds)
        return Moto.app(environ, start_response)

    with faults.inject(delay, then=delay):
        yield


def create_other_clusters(count: int) -> None:
    """Create more clusters, together in another VPC."""
    ec2, cloudformation = client("ec2", DEFAULT_REGION), client("cloudformation", DEFAULT_REGION)
    vpc_id = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    for number in range(count):
        make_cluster(f"neighbour-{number}", {"vpc": vpc_id, "public": subnet_id}, cloudformation)


def copy_with_queues(count: int, folder: Path) -> Path:
    """Copy this repository, with `count` queues in its template, and return the copy's path."""
    copy = folder / f"queues-{count}"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "screenshots"))
    template = copy / "config.template.yml"
    separator = re.compile(r"(?=    - Name: queue1$)|(?=^SharedStorage:)", re.MULTILINE)
    before, queue, after = separator.split(template.read_text())
    queues = [queue.replace("queue1", f"queue{number + 1}") for number in range(count)]
    template.write_text("".join([before, *queues, after]))
    return copy
