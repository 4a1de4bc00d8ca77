"""The wizard of `pcluster configure`: the answers to its prompts, and the progress of its stack."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from invoke.exceptions import ResponseNotAccepted
from invoke.watchers import StreamWatcher

from slurm_cluster import output
from slurm_cluster.aws import stack

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

# How each prompt of pcluster 3.16 begins, and its answer; None accepts the default that the wizard offers.
DEFAULT_ANSWERS: dict[str, str | None] = {
    "AWS Region ID": None,
    "EC2 Key Pair Name": None,
    "Scheduler": "slurm",
    "Operating System": "ubuntu2404",
    "Head node instance type": None,
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
PROMPT = re.compile(r"^([^\r\n]+?) \[[^\r\n\]]*\]: ", re.MULTILINE)
REFUSED_ANSWER = re.compile(r"ERROR:? *[^\r\n]*is not an acceptable value[^\r\n]*")
STACK_LINE = re.compile(r"Stack Name: \S+ \(id: ([^)\s]+)\)")
STATUS_LINE = re.compile(r"\r?Status: [^\r\n]*")  # the stack's newest event, printed repeatedly
# The wizard's last line. It is hidden, because the cluster is created from config.yml instead.
ADVICE = "You can edit your configuration file or simply run"
ENTER = "\n"


def get_answers(region: str, key_pair: str, instance_types: list[str]) -> dict[str, str | None]:
    """Return the answers for one cluster.

    Args:
        region: the cluster's region.
        key_pair: the name of its key pair.
        instance_types: the head node's type, then the compute nodes'. The wizard offers zones that have them.
    """
    head_node, compute = [*instance_types, None, None][:2]
    own = {"AWS Region ID": region, "EC2 Key Pair Name": key_pair, "Head node instance type": head_node}
    return {**DEFAULT_ANSWERS, **own, "Compute instance type": compute}


class PromptAnswerer(StreamWatcher):
    """Answer each prompt once, and give up on an unknown prompt or a refused answer.

    invoke's own Responder would repeat a refused answer forever.

    Args:
        answers: the answer for each beginning of a prompt; None accepts the default.
    """

    def __init__(self, answers: Mapping[str, str | None]) -> None:
        super().__init__()
        self.answers = answers
        self.handled = 0  # characters of the stream

    def submit(self, stream: str) -> Iterable[str]:
        """Answer the prompts that are new in the stream.

        Args:
            stream: all that the wizard has printed so far.

        Yields:
            The keys to press.

        Raises:
            ResponseNotAccepted: a prompt is unknown, or the wizard refused an answer.
        """
        refused = REFUSED_ANSWER.search(stream, self.handled)
        if refused:
            raise ResponseNotAccepted(refused[0])
        for prompt in PROMPT.finditer(stream, self.handled):
            self.handled = prompt.end()
            yield self.find_answer(prompt[1]) + ENTER

    def find_answer(self, prompt: str) -> str:
        """Return the answer to a prompt."""
        for beginning, answer in self.answers.items():
            if prompt.startswith(beginning):
                return answer or ""
        raise ResponseNotAccepted(f"it asked an unknown question ({prompt})")


class WizardScreen:
    """Show the wizard's output, with the stack's progress instead of its newest event.

    Args:
        cloudformation: a client of CloudFormation.
        record_stack: called with the id of the wizard's stack as soon as the wizard has printed it.
        quiet: show no progress.
    """

    def __init__(
        self, cloudformation: CloudFormationClient, record_stack: Callable[[str], None], quiet: bool
    ) -> None:
        self.cloudformation, self.record_stack, self.quiet = cloudformation, record_stack, quiet
        self.printed, self.last_line, self.stack_id, self.start = "", "", "", time.monotonic()
        self.held = ""

    def write(self, text: str) -> None:
        """Show the next text."""
        self.printed += text
        stack_line = STACK_LINE.search(self.printed)
        if stack_line and not self.stack_id:
            self.stack_id = stack_line[1]
            self.record_stack(self.stack_id)
        text = STATUS_LINE.sub(lambda _: self.format_stack_progress(), self.drop_advice(text))
        sys.stdout.write(text)

    def drop_advice(self, text: str) -> str:
        """Return the text without pcluster's advice. Hold back a line that may become the advice."""
        text = re.sub(rf"^{ADVICE}[^\n]*\n", "", self.held + text, flags=re.MULTILINE)
        *_, last = text.split("\n")
        self.held = last if last and (ADVICE.startswith(last) or last.startswith(ADVICE)) else ""
        return text[: len(text) - len(self.held)]

    def flush(self) -> None:
        """Flush the terminal."""
        sys.stdout.flush()

    def format_stack_progress(self) -> str:
        """Return the stack's progress. On a terminal, overwrite the line; else print each change."""
        progress = next(stack.watch_stack(self.cloudformation, self.stack_id))
        line = output.format_progress(progress, time.monotonic() - self.start)
        previous, self.last_line = self.last_line, output.format_progress(progress, 0)
        if self.quiet or previous == self.last_line:
            return ""
        return f"\r{line:{output.get_width() - 1}}" if output.has_live_terminal() else f"\n{line}"
