"""The head node's own log, which it sends to CloudWatch while it boots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slurm_cluster.aws import clients

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

# A head node runs its boot scripts as commands of cfn-init, which logs what they print; chef-client configures the rest. Only
# compute and login nodes send a stream cloud-init-output.
# https://docs.aws.amazon.com/parallelcluster/latest/ug/troubleshooting-v3-get-logs.html
STREAMS = ("cfn-init", "chef-client")
MAX_LINES = 20
RECORD_START = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \[[A-Z]+\] "
)  # how a record of cfn-init begins
COMMAND_OUTPUT = re.compile(r"Command \S+ output: ")


def list_log_groups(logs: CloudWatchLogsClient, cluster: str) -> list[str]:
    """Give the names of the cluster's log groups, the newest last; pcluster ends them in the time of creation."""
    prefix = f"/aws/parallelcluster/{cluster}-"
    return [
        name for name in list_group_names(logs, prefix) if re.fullmatch(r"\d{12}", name.removeprefix(prefix))
    ]


def list_group_names(logs: CloudWatchLogsClient, prefix: str) -> list[str]:
    """Give the names of the log groups that begin so."""
    return sorted(
        group["logGroupName"]
        for group in clients.list_all(logs, "describe_log_groups", logGroupNamePrefix=prefix)
    )


def read_head_node_log(logs: CloudWatchLogsClient, cluster: str) -> list[str]:
    """Return the end of the newest head node's log: the last lines of its boot script, else of its configuration.

    Returns:
        The stream's name and then its last lines; nothing where there is no log.
    """
    for group in list_log_groups(logs, cluster)[-1:]:
        found = clients.list_all(logs, "describe_log_streams", logGroupName=group)
        newest_first = [
            each["logStreamName"] for each in sorted(found, key=lambda each: -each["creationTime"])
        ]
        for kind in STREAMS:
            for stream in [name for name in newest_first if name.endswith(f".{kind}")][:1]:
                lines = read_lines(logs, group, stream)
                if lines:
                    return [
                        f"{group}/{stream}",
                        *(extract_command_output(lines) if kind == "cfn-init" else lines)[-MAX_LINES:],
                    ]
    return []


def read_lines(logs: CloudWatchLogsClient, group: str, stream: str) -> list[str]:
    """Return the lines of a stream's newest events; one event may hold many lines."""
    events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    return [line.rstrip() for event in events for line in event["message"].splitlines() if line.strip()]


def extract_command_output(lines: list[str]) -> list[str]:
    """Return what the last command of cfn-init printed, without cfn-init's own traceback after it; else all lines."""
    begins = [
        number
        for number, line in enumerate(lines)
        if RECORD_START.match(line) and COMMAND_OUTPUT.search(line)
    ]
    if not begins:
        return lines
    first, *rest = lines[begins[-1] :]
    after = next((number for number, line in enumerate(rest) if RECORD_START.match(line)), len(rest))
    return [COMMAND_OUTPUT.split(first)[-1], *rest[:after]]
