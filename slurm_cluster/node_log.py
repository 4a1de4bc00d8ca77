"""The head node's own log, which it sends to CloudWatch while it boots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slurm_cluster import aws

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

STREAMS = ("cloud-init-output", "chef-client")  # the first holds what the boot scripts print
LINES = 20


def groups(logs: CloudWatchLogsClient, cluster: str) -> list[str]:
    """Give the names of the cluster's log groups, the newest last; pcluster ends them in the time of creation."""
    prefix = f"/aws/parallelcluster/{cluster}-"
    return [name for name in names(logs, prefix) if re.fullmatch(r"\d{12}", name.removeprefix(prefix))]


def names(logs: CloudWatchLogsClient, prefix: str) -> list[str]:
    """Give the names of the log groups that begin so."""
    return sorted(group["logGroupName"] for group in aws.listed(logs, "describe_log_groups", logGroupNamePrefix=prefix))


def tail(logs: CloudWatchLogsClient, cluster: str) -> list[str]:
    """Give the end of the newest log of a head node.

    Returns:
        The stream's name and then its last lines; nothing where there is no log.

    """
    for group in groups(logs, cluster)[-1:]:
        streams = logs.describe_log_streams(logGroupName=group, descending=True).get("logStreams", [])
        for kind in STREAMS:
            for stream in [each["logStreamName"] for each in streams if each["logStreamName"].endswith(kind)]:
                events = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=LINES)["events"]
                return [f"{group}/{stream}", *(event["message"].rstrip() for event in events)]
    return []
