"""Build `pcluster` commands, and turn their output into messages."""

import json
import re
import shlex
import textwrap
from typing import Any

from slurm_cluster import errors
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import get_width
from slurm_cluster.project import CommandResult

NO_CHANGES = "No changes found in your cluster configuration."
DRY_RUN_SUCCEEDED = "Request would have succeeded, but DryRun flag is set."
UNREADABLE_ANSWER = ", invalid XML received"  # botocore's message. The whole response follows it
NEEDS_STOPPED_FLEET = "Stop the compute fleet|compute nodes must be stopped"
STOP_FLEET = "Run `invoke pause`, wait a minute, then run this again. Afterwards, run `invoke resume`."
FINDING_KINDS = ("configurationValidationErrors", "validationMessages", "updateValidationErrors")


def build_command(*arguments: str, region: str = "") -> str:
    """Return a command line of pcluster.

    Args:
        arguments: pcluster's arguments.
        region: the region; required, because pcluster would silently use its default. Empty for `configure`.
    """
    return shlex.join(["pcluster", *arguments, *(["--region", region] if region else [])])


def parse_json(stdout: str) -> dict[str, Any]:
    """Return the JSON object that ends pcluster's standard output; an empty one if there is none."""
    start = stdout.find("{")
    try:
        parsed = json.loads(stdout[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        parsed = {}
    return parsed if isinstance(parsed, dict) else {}


def list_findings(stdout: str) -> list[str]:
    """Return pcluster's findings about the configuration, errors first, folded to the terminal's width."""
    answer = parse_json(stdout)
    findings = [finding for kind in FINDING_KINDS for finding in answer.get(kind) or []]
    lines = sorted(map(format_finding, findings), key=lambda line: not line.startswith("ERROR"))
    width = get_width() - 2  # they are shown indented by two
    return [textwrap.fill(line, width, subsequent_indent="    ", break_long_words=False) for line in lines]


def format_finding(finding: dict[str, str]) -> str:
    """Return one finding as one line."""
    subject = finding.get("type") or finding.get("parameter", "")
    return " ".join(f"{finding.get('level', 'ERROR')} {subject}: {finding.get('message', '')}".split())


def has_no_changes(stdout: str) -> bool:
    """Return whether pcluster refused an update because there is nothing to update."""
    return str(parse_json(stdout).get("message", "")).endswith(NO_CHANGES)


def check_dry_run(stdout: str, stderr: str) -> list[str]:
    """Return the warnings of a dry run, which exits with 1 when it succeeds.

    Raises:
        ClusterError: pcluster refuses the configuration.
    """
    if parse_json(stdout).get("message") == DRY_RUN_SUCCEEDED:
        return list_findings(stdout)
    raise ClusterError(format_refusal(stdout, stderr))


def check_result(result: CommandResult) -> None:
    """Check the result of a command.

    Raises:
        ClusterError: pcluster refused it.
    """
    if result.exited:
        raise ClusterError(format_refusal(result.stdout, result.stderr))


def format_refusal(stdout: str, stderr: str) -> str:
    """Return why pcluster refused, with its findings and a hint below the first line."""
    message = (
        parse_json(stdout).get("message") or " ".join((stderr or stdout).split()) or "it printed nothing"
    )
    message = message.partition(UNREADABLE_ANSWER)[0]
    findings = list_findings(stdout)
    stop_fleet = STOP_FLEET if re.search(NEEDS_STOPPED_FLEET, stdout) else ""
    hints = [hint for hint in (stop_fleet, errors.find_hint(" ".join([message, *findings]))) if hint]
    return "\n  ".join([f"pcluster refused: {message}", *findings, *hints])
