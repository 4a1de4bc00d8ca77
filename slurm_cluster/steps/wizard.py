"""The wizard of `pcluster configure`: its questions, answered as the README says."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from invoke.exceptions import ResponseNotAccepted
from invoke.watchers import StreamWatcher

from slurm_cluster import files, output
from slurm_cluster.aws import clients, key_pair, network, stack
from slurm_cluster.config import temp_config
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import VpcTypeDef

# Every question of pcluster 3.16, by how it begins; None takes the default that it offers.
DEFAULT_ANSWERS: dict[str, str | None] = {
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
REFUSED_ANSWER = re.compile(r"ERROR:? *[^\r\n]*is not an acceptable value[^\r\n]*")
STACK_LINE = re.compile(r"Stack Name: \S+ \(id: ([^)\s]+)\)")
STATUS_LINE = re.compile(r"\r?Status: [^\r\n]*")  # the stack's newest event, again and again
ENTER = "\n"


def get_answers(region: str, key_pair: str, instance_types: list[str]) -> dict[str, str | None]:
    """Give the answers for one cluster.

    Args:
        region: where it is to be.
        key_pair: the name of its key pair.
        instance_types: of the head node, and of the compute nodes.
    """
    head_node, *compute = instance_types
    own = {"AWS Region ID": region, "EC2 Key Pair Name": key_pair, "Head node instance type": head_node}
    return {**DEFAULT_ANSWERS, **own, "Compute instance type": compute[0] if compute else None}


class PromptAnswerer(StreamWatcher):
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
        refused = REFUSED_ANSWER.search(stream, self.seen)
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


class WizardScreen:
    """Shows what the wizard prints; in place of its stack's newest event, it shows how far the stack is.

    Args:
        cloudformation: a client of CloudFormation.
        path: temp-config.yml, beside which the stack's id is noted.
        quiet: show no progress.
    """

    def __init__(self, cloudformation: CloudFormationClient, path: Path, quiet: bool) -> None:
        self.cloudformation, self.path, self.quiet = cloudformation, path, quiet
        self.printed, self.shown, self.stack_id, self.began = "", "", "", time.monotonic()

    def write(self, text: str) -> None:
        """Show what it prints next."""
        self.printed += text
        printed = STACK_LINE.search(self.printed)
        if printed and not self.stack_id:
            self.stack_id = printed[1]
            write_note(self.path, read_note(self.path)._replace(stack=self.stack_id))
        sys.stdout.write(STATUS_LINE.sub(lambda _: self.progress(), text))

    def flush(self) -> None:
        """Show it now."""
        sys.stdout.flush()

    def progress(self) -> str:
        """Return what to show of the stack: the same line again on a terminal, else a line for each change."""
        now = next(stack.watch_stack(self.cloudformation, self.stack_id))
        line = output.format_progress(now, time.monotonic() - self.began)
        before, self.shown = self.shown, output.format_progress(now, 0)
        if self.quiet or before == self.shown:
            return ""
        return f"\r{line:{output.WIDTH - 1}}" if output.is_dynamic() else f"\n{line}"


class WizardNote(NamedTuple):
    """What the file beside temp-config.yml holds from the start of a wizard until its VPC is proven.

    Args:
        cluster: the cluster that the wizard works for; empty where there is no note.
        vpcs: the ids of the VPCs that existed before.
        stack: the id of the wizard's stack, once the wizard has printed it.
    """

    cluster: str = ""
    vpcs: tuple[str, ...] = ()
    stack: str = ""


def get_note_path(path: Path) -> Path:
    """Return the file beside temp-config.yml that holds the note."""
    return path.with_name(f"{path.name}.begun")


def read_note(path: Path) -> WizardNote:
    """Read the note of a wizard; an empty one where there is none.

    Raises:
        ClusterError: the file is not a note.
    """
    file = get_note_path(path)
    if not files.exists(file):
        return WizardNote()
    try:
        found = json.loads(files.read_text(file))
        return WizardNote(found["cluster"], tuple(found["vpcs"]), found.get("stack", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{file} is not a note of `invoke configure`: remove it, then run this again."
        ) from error


def write_note(path: Path, note: WizardNote) -> None:
    """Write the note."""
    files.write_file(get_note_path(path), json.dumps(note._asdict(), indent=2) + "\n")


@contextmanager
def track_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, path: Path, cluster: str
) -> Iterator[list[str]]:
    """Claim the VPC that the wizard makes meanwhile, also when it fails or is stopped; when it is killed, the next run does.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        path: temp-config.yml.
        cluster: the cluster that the VPC is for.

    Yields:
        A list, which holds the id of the claimed VPC afterwards.
    """
    write_note(path, WizardNote(cluster, tuple(vpc["VpcId"] for vpc in network.list_vpcs(ec2))))
    made: list[str] = []
    try:
        yield made
    finally:
        made += claim_proven_vpc(ec2, cloudformation, path)


def claim_proven_vpc(ec2: EC2Client, cloudformation: CloudFormationClient, path: Path) -> list[str]:
    """Claim the VPC of a wizard that has ended, if it is proven, and remove the wizard's note; else the note stays.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        path: temp-config.yml, which does not exist if the wizard did not finish.

    Returns:
        The ids of the VPCs that were claimed now: one at most.
    """
    note = read_note(path)
    if not note.cluster:
        return []
    vpc = find_proven_vpc(ec2, cloudformation, path, note)
    if vpc and not network.get_tag(vpc, clients.TAG):
        network.claim_vpc(ec2, vpc["VpcId"], note.cluster)
    elif not vpc and not network.list_cluster_vpcs(ec2, note.cluster):  # nor did the person tag one
        return []
    get_note_path(path).unlink(missing_ok=True)
    return [vpc["VpcId"]] if vpc else []


def find_proven_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, path: Path, note: WizardNote
) -> VpcTypeDef | None:
    """Find the VPC that a wizard made: its stack was told it, or its temp-config.yml names a subnet of it.

    A VPC that was only made at the same time can be somebody else's.
    """
    if temp_config.is_from_wizard(path):
        found = network.find_vpc_of_subnet(ec2, temp_config.read_temp_config(path).public_subnet)
        return found if found and found["VpcId"] not in note.vpcs else None
    made = stack.find_stack(cloudformation, note.stack) if note.stack else None
    parameters = (
        {each["ParameterKey"]: each["ParameterValue"] for each in made.get("Parameters", [])} if made else {}
    )
    return next((vpc for vpc in network.list_vpcs(ec2) if vpc["VpcId"] == parameters.get("VpcId")), None)


def find_unproven_vpcs(
    ec2: EC2Client, cloudformation: CloudFormationClient, path: Path
) -> list[network.UnclaimedVpc]:
    """Find the VPCs that an interrupted wizard may have made; none where there is no note of one."""
    note = read_note(path)
    return network.find_unclaimed_vpcs(ec2, cloudformation, before=note.vpcs) if note.cluster else []


def check_done(ec2: EC2Client, path: Path) -> str:
    """Say that the wizard was here before.

    Raises:
        ClusterError: what it made is gone.
    """
    subnet = temp_config.read_temp_config(path).public_subnet
    if network.find_vpc_of_subnet(ec2, subnet) is None:
        raise ClusterError(
            f"{path} names {subnet}, which is not in this region: move the file away, then run this again."
        )
    return f"{path} is here, and its network stands: nothing to do."


def check_ready(ec2: EC2Client, cluster: str, key_name: str) -> None:
    """Refuse to start the wizard where it would fail, or make a second network.

    Raises:
        ClusterError: the key pair does not exist, or the cluster has a network.
    """
    key_pair.require_key_pair(ec2, key_name)
    network.refuse_second_network(ec2, cluster)


def refuse_unproven_vpcs(found: list[network.UnclaimedVpc], path: Path, cluster: str, region: str) -> None:
    """Refuse to start a second wizard while VPCs exist that an interrupted one may have made.

    Raises:
        ClusterError: there are such VPCs; it lists them with the commands to claim or delete each.
    """
    if found:
        first = "An earlier `invoke configure` was interrupted. It may have made one of these VPCs."
        last = f"Claim or delete the one that is yours. If none is yours, remove {get_note_path(path)}. Then run this again."
        raise ClusterError("\n".join([first, *network.describe_unclaimed_vpcs(found, cluster, region), last]))
