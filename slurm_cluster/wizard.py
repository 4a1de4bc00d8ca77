"""The wizard of `pcluster configure`: its questions, answered as the README says."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import ResponseNotAccepted
from invoke.watchers import StreamWatcher

from slurm_cluster import aws, console, files, key_pair, network, stack, temp_config
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client

# Every question of pcluster 3.16, by how it begins; None takes the default that it offers.
ANSWERS: dict[str, str | None] = {
    "AWS Region ID": None,
    "EC2 Key Pair Name": None,
    "Scheduler": "slurm",
    "Operating System": "ubuntu2404",
    "Head node instance type": None,  # the template's: the wizard then offers the zones that have both
    "Number of queues": None,
    "Name of queue": None,
    "Number of compute resources": None,
    "Compute instance type": None,
    "Enable EFA": None,
    "Maximum instance count": None,
    "Placement Group name": None,
    "Automate VPC creation?": "y",
    "Availability Zone": None,
    "Network Configuration": "Head node in a public subnet and compute fleet in a private subnet",
    "Automate Subnet creation?": "y",
}
QUESTION = re.compile(r"^([^\r\n]+?) \[[^\r\n\]]*\]: ", re.MULTILINE)
REFUSED = re.compile(r"ERROR:? *[^\r\n]*is not an acceptable value[^\r\n]*")
STACK = re.compile(r"Stack Name: \S+ \(id: ([^)\s]+)\)")
STATUS = re.compile(r"\r?Status: [^\r\n]*")  # the stack's newest event, again and again
ENTER = "\n"


def answers(region: str, key_pair: str, instance_types: list[str]) -> dict[str, str | None]:
    """Give the answers for one cluster.

    Args:
        region: where it is to be.
        key_pair: the name of its key pair.
        instance_types: of the head node, and of the compute nodes.
    """
    head_node, *compute = instance_types
    own = {"AWS Region ID": region, "EC2 Key Pair Name": key_pair, "Head node instance type": head_node}
    return {**ANSWERS, **own, "Compute instance type": compute[0] if compute else None}


class Answers(StreamWatcher):
    """Answers each question once, and gives up where it has no answer, or one is refused; a Responder would loop for ever.

    Args:
        answers: by how the question begins; None takes the default.

    """

    def __init__(self, answers: Mapping[str, str | None]) -> None:
        super().__init__()
        self.answers = answers
        self.seen = 0  # characters of the stream that were dealt with

    def submit(self, stream: str) -> Iterable[str]:
        """Answer what was asked since the last time.

        Args:
            stream: all that the wizard has printed so far.

        Yields:
            The keys to press.

        Raises:
            ResponseNotAccepted: a question is not foreseen, or the answer to one was refused.

        """
        refused = REFUSED.search(stream, self.seen)
        if refused:
            raise ResponseNotAccepted(refused[0])
        for question in QUESTION.finditer(stream, self.seen):
            self.seen = question.end()
            yield self.answer(question[1]) + ENTER

    def answer(self, question: str) -> str:
        """Give the answer to a question."""
        for beginning, answer in self.answers.items():
            if question.startswith(beginning):
                return answer or ""
        raise ResponseNotAccepted(f"an unforeseen question: {question}")


class Screen:
    """Shows what the wizard prints, but where it tells its stack's newest event, how far the stack is.

    Args:
        cloudformation: a client of CloudFormation.
        quiet: show no progress.
    """

    def __init__(self, cloudformation: CloudFormationClient, quiet: bool) -> None:
        self.cloudformation, self.quiet = cloudformation, quiet
        self.printed, self.shown, self.began = "", "", time.monotonic()

    def write(self, text: str) -> None:
        """Show what it prints next."""
        self.printed += text
        sys.stdout.write(STATUS.sub(lambda _: self.progress(), text))

    def flush(self) -> None:
        """Show it now."""
        sys.stdout.flush()

    def progress(self) -> str:
        """Give what to show of the stack: the same line anew on a terminal, else a line for each change."""
        *_, stack_id = STACK.findall(self.printed)
        now = next(stack.watch(self.cloudformation, stack_id))
        line = console.line(now, time.monotonic() - self.began)
        before, self.shown = self.shown, console.line(now, 0)
        if self.quiet or before == self.shown:
            return ""
        return f"\r{line:{console.WIDTH - 1}}" if console.can_change_a_line() else f"\n{line}"


def note_of(path: Path) -> Path:
    """Give the file beside temp-config.yml that stands while the wizard works, and outlives it when it is killed."""
    return path.with_name(f"{path.name}.begun")


@contextmanager
def watched(ec2: EC2Client, path: Path, cluster: str) -> Iterator[list[str]]:
    """Claim the VPC that the wizard makes within, also when it fails or is stopped; when it is killed, the next run does.

    Args:
        ec2: a client of EC2.
        path: temp-config.yml.
        cluster: whose the VPC is to be.

    Yields:
        A list, in which its id is afterwards.
    """
    there = [vpc["VpcId"] for vpc in network.vpcs(ec2)]
    note = {"cluster": cluster, "began": datetime.now(timezone.utc).strftime(network.STARTED), "vpcs": there}
    files.write(note_of(path), json.dumps(note, indent=2) + "\n")
    made: list[str] = []
    try:
        yield made
    finally:
        made += settle(ec2, path)


def settle(ec2: EC2Client, path: Path) -> list[str]:
    """Claim the VPC of a wizard that is over: the one that temp-config.yml names, else the only one that can be its.

    Args:
        ec2: a client of EC2.
        path: temp-config.yml, which is not there when the wizard did not finish.

    Returns:
        The ids of the VPCs that were claimed now: one at most.

    Raises:
        ClusterError: several can be its; it names them.
    """
    note = note_of(path)
    if not files.is_there(note):
        return []
    begun = json.loads(files.read(note))
    if files.is_there(path):
        found = network.vpc_of_subnet(ec2, temp_config.read(path).public_subnet)
        made = [found["VpcId"]] if found else []
    else:
        made = network.made_since(ec2, begun["vpcs"], begun["began"])
    if len(made) == 1:
        network.claim(ec2, made[0], begun["cluster"])
    note.unlink(missing_ok=True)
    if len(made) > 1:
        raise ClusterError(
            f"{', '.join(made)} were made at the same time, and this wizard did not finish: "
            f"tag its own with {aws.TAG}={begun['cluster']}, for `invoke delete-network`, or delete it in the console."
        )
    return made


def already_done(ec2: EC2Client, path: Path) -> str:
    """Say that the wizard was here before.

    Raises:
        ClusterError: what it made is gone.
    """
    subnet = temp_config.read(path).public_subnet
    if network.vpc_of_subnet(ec2, subnet) is None:
        raise ClusterError(f"{path} names {subnet}, which is not in this region: move the file away, then run this again.")
    return f"{path} is here, and its network stands: nothing to do."


def check_ready(ec2: EC2Client, cluster: str, key_name: str) -> None:
    """Refuse to start the wizard where it would fail, or make a second network.

    Raises:
        ClusterError: the key pair is not there, or an earlier run left a VPC.
    """
    key_pair.require(ec2, key_name)
    network.refuse_second(ec2, cluster)
