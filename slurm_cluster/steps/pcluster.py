"""The `pcluster` command line: what it says, turned into sentences."""

import json
import re
import shlex
import textwrap
from typing import Any, Protocol

from slurm_cluster import errors
from slurm_cluster.errors import ClusterError

NO_CHANGES = "No changes found in your cluster configuration."
DRY_RUN_SUCCEEDED = "Request would have succeeded, but DryRun flag is set."
NEEDS_STOPPED_FLEET = "Stop the compute fleet|compute nodes must be stopped"
STOP_FLEET = "`invoke pause` stops the fleet: run this again a minute later, and then `invoke resume`."


class Answer(Protocol):
    """What is left of a command that ended, as invoke gives it."""

    ok: bool
    stdout: str
    stderr: str


def build_command(*arguments: str, region: str = "") -> str:
    """Give a command line of pcluster.

    Args:
        arguments: of pcluster.
        region: told, because pcluster does not notice a wrong default; empty for the wizard, which asks for it.

    """
    return shlex.join(["pcluster", *arguments, *(["--region", region] if region else [])])


def parse_json(stdout: str) -> dict[str, Any]:
    """Give what pcluster answered.

    Args:
        stdout: its standard output, which ends in a JSON object.

    Returns:
        The object; empty where it answered none.

    """
    start = stdout.find("{")
    try:
        parsed = json.loads(stdout[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        parsed = {}
    return parsed if isinstance(parsed, dict) else {}


def list_findings(stdout: str) -> list[str]:
    """Give what pcluster found in the configuration, the errors first, each wrapped to 80 columns."""
    said = parse_json(stdout)
    kinds = ("configurationValidationErrors", "validationMessages", "updateValidationErrors")
    lines = [
        f"{each.get('level', 'ERROR')} {each.get('type') or each.get('parameter', '')}: {each.get('message', '')}"
        for kind in kinds
        for each in said.get(kind) or []
    ]
    lines.sort(key=lambda line: not line.startswith("ERROR"))
    return [
        textwrap.fill(" ".join(line.split()), 78, subsequent_indent="    ", break_long_words=False)
        for line in lines
    ]


def has_no_changes(stdout: str) -> bool:
    """Say whether an update was refused because there is nothing to update."""
    return str(parse_json(stdout).get("message", "")).endswith(NO_CHANGES)


def check_dry_run(stdout: str, stderr: str) -> list[str]:
    """Take the answer of a dry run, which exits 1 when it succeeds.

    Returns:
        Warnings.

    Raises:
        ClusterError: pcluster would refuse the configuration.

    """
    if parse_json(stdout).get("message") == DRY_RUN_SUCCEEDED:
        return list_findings(stdout)
    raise ClusterError(format_refusal(stdout, stderr))


def check_result(answer: Answer) -> None:
    """Take the answer of a command.

    Raises:
        ClusterError: pcluster refused it.
    """
    if not answer.ok:
        raise ClusterError(format_refusal(answer.stdout, answer.stderr))


def format_refusal(stdout: str, stderr: str) -> str:
    """Say why pcluster refused, all of its findings below the first line."""
    message = parse_json(stdout).get("message") or " ".join((stderr or stdout).split()) or "it said nothing"
    found = list_findings(stdout)
    stopped = STOP_FLEET if re.search(NEEDS_STOPPED_FLEET, stdout) else ""
    advised = [each for each in (stopped, errors.find_hint(" ".join([message, *found]))) if each]
    return "\n  ".join([f"pcluster refused: {message}", *found, *advised])
