"""The head node's log, which it sends to CloudWatch while it boots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slurm_cluster.aws import clients

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

# On the head node, cfn-init runs the boot scripts and logs their output; chef-client does the rest. Only
# compute and login nodes have a stream cloud-init-output.
# https://docs.aws.amazon.com/parallelcluster/latest/ug/troubleshooting-v3-get-logs.html
STREAMS = ("cfn-init", "chef-client")
MAX_LINES = 20
RECORD_START = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \[[A-Z]+\] ")  # of cfn-init
COMMAND_OUTPUT = re.compile(r"Command \S+ output: ")


def list_log_groups(logs: CloudWatchLogsClient, cluster_name: str) -> list[str]:
    """Return the names of the cluster's log groups, the newest last. They end in the time of the creation."""
    prefix = f"/aws/parallelcluster/{cluster_name}-"
    names = list_group_names(logs, prefix)
    return [name for name in names if re.fullmatch(r"\d{12}", name.removeprefix(prefix))]


def list_group_names(logs: CloudWatchLogsClient, prefix: str) -> list[str]:
    """Return the names of the log groups with a prefix."""
    groups = clients.list_all(logs, "describe_log_groups", logGroupNamePrefix=prefix)
    return sorted(group["logGroupName"] for group in groups)


def read_head_node_log(logs: CloudWatchLogsClient, cluster_name: str) -> list[str]:
    """Return the last lines of the newest head node's log, of cfn-init or else of chef-client.

    Returns:
        The stream's name, then its last lines; empty if there is no log.
    """
    for group in list_log_groups(logs, cluster_name)[-1:]:
        streams = clients.list_all(logs, "describe_log_streams", logGroupName=group)
        streams.sort(key=lambda stream: stream["creationTime"], reverse=True)
        for kind in STREAMS:
            names = [stream["logStreamName"] for stream in streams]
            name = next((name for name in names if name.endswith(f".{kind}")), "")
            lines = read_lines(logs, group, name) if name else []
            if lines:
                shown = extract_command_output(lines) if kind == "cfn-init" else lines
                return [f"{group}/{name}", *shown[-MAX_LINES:]]
    return []


def read_lines(logs: CloudWatchLogsClient, group: str, stream: str) -> list[str]:
    """Return the lines of a stream's newest events; one event may hold many lines."""
    events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    return [line.rstrip() for event in events for line in event["message"].splitlines() if line.strip()]


def extract_command_output(lines: list[str]) -> list[str]:
    """Return the output of cfn-init's last command, without the traceback after it; else all lines."""
    starts = [
        number
        for number, line in enumerate(lines)
        if RECORD_START.match(line) and COMMAND_OUTPUT.search(line)
    ]
    if not starts:
        return lines
    first, *rest = lines[starts[-1] :]
    end = next((number for number, line in enumerate(rest) if RECORD_START.match(line)), len(rest))
    return [COMMAND_OUTPUT.split(first)[-1], *rest[:end]]
