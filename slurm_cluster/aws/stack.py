"""The cluster's CloudFormation stack: whether it stands, what it is made of, and what is happening to it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slurm_cluster import errors
from slurm_cluster.aws import node_log
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackEventTypeDef, StackTypeDef
    from types_boto3_logs import CloudWatchLogsClient

STABLE_STATUSES = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
FAILED_STATUSES = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
UPDATING_STATUSES = (
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
)
DELETED = "DELETE_COMPLETE"  # a stack goes on telling of resources that it no longer has
POLL_SECONDS = [1, 1, 2, 3, 5]  # seconds between two looks; the last one is repeated
START_TIMEOUT = 60  # seconds after which an operation that AWS accepted has begun, whatever the stack tells


def find_stack(cloudformation: CloudFormationClient, name: str) -> StackTypeDef | None:
    """Look a stack up by name or id; one that was deleted is found by its id alone."""
    try:
        return cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error_code(error) == "ValidationError":
            return None
        raise


def require_cluster(cloudformation: CloudFormationClient, cluster: str) -> StackTypeDef:
    """Give the stack of a cluster that stands.

    Raises:
        ClusterError: there is none, or it is not whole; other clusters of the region are named.

    """
    stack = find_stack(cloudformation, cluster)
    if stack is None:
        others = list_clusters(cloudformation)
        known = f"this region has {', '.join(others)}" if others else "this region has none"
        raise ClusterError(f"There is no cluster {cluster} ({known}): `invoke create-cluster` makes it.")
    if stack["StackStatus"] not in STABLE_STATUSES:
        raise ClusterError(f"The cluster {cluster} is {stack['StackStatus']}: see `invoke status`.")
    return stack


def find_stack_to_resume(cloudformation: CloudFormationClient, cluster: str) -> StackTypeDef | None:
    """Give the stack of a cluster that stands or is being created; None where there is none.

    Raises:
        ClusterError: it failed, or something else is happening to it.
    """
    stack = find_stack(cloudformation, cluster)
    status = stack["StackStatus"] if stack else ""
    if status in FAILED_STATUSES:
        raise ClusterError(f"The cluster {cluster} is {status}: `invoke delete-cluster` first.")
    if status not in ("", "CREATE_IN_PROGRESS", *STABLE_STATUSES):
        raise ClusterError(
            f"The cluster {cluster} is {status}: wait until that is over, then run this again."
        )
    return stack


def wait_until_listed(cloudformation: CloudFormationClient, cluster: str) -> StackTypeDef:
    """Give the stack whose creation was asked for just now; its name may take a moment to be known everywhere."""
    for seconds in POLL_SECONDS:
        found = find_stack(cloudformation, cluster)
        if found:
            return found
        time.sleep(seconds)
    raise ClusterError(f"AWS does not show the stack {cluster} that was just begun: run this again.")


def list_clusters(cloudformation: CloudFormationClient) -> list[str]:
    """Give the names of the region's clusters, by the tag that pcluster puts on their stacks."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    stacks = [stack for page in pages for stack in page["Stacks"]]
    marked = [
        stack
        for stack in stacks
        if "parallelcluster:version" in {tag["Key"] for tag in stack.get("Tags", [])}
    ]
    return sorted(
        stack["StackName"] for stack in marked if not stack.get("ParentId") and not stack.get("RootId")
    )


def get_output(stack: StackTypeDef, key: str) -> str:
    """Give an output of the stack.

    Raises:
        ClusterError: the stack has no such output.

    """
    for each in stack.get("Outputs", []):
        if each["OutputKey"] == key:
            return each["OutputValue"]
    raise ClusterError(
        f"The stack {stack['StackName']} has no output {key}: its configuration is not that of config.template.yml."
    )


def find_resource_id(cloudformation: CloudFormationClient, stack: str, logical_id: str) -> str | None:
    """Give the id of the resource that the stack's template calls `logical_id`, if it has it."""
    try:
        found = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
    except ClientError as error:
        if error_code(error) == "ValidationError":
            return None
        raise
    detail = found["StackResourceDetail"]
    return None if detail["ResourceStatus"] == DELETED else detail.get("PhysicalResourceId")


def list_resource_ids(cloudformation: CloudFormationClient, stack: str, kind: str) -> list[str]:
    """Give the ids of the stack's resources of a type, as AWS::EC2::SecurityGroup."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    summaries = [summary for page in pages for summary in page["StackResourceSummaries"]]
    stand = [each for each in summaries if each["ResourceType"] == kind and each["ResourceStatus"] != DELETED]
    return [each["PhysicalResourceId"] for each in stand if each.get("PhysicalResourceId")]


def list_last_events(cloudformation: CloudFormationClient, stack_id: str) -> list[StackEventTypeDef]:
    """Give the events of the stack's last operation, the newest first."""
    found: list[StackEventTypeDef] = []
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        for event in page["StackEvents"]:
            found.append(event)
            if event.get("ResourceStatusReason") == "User Initiated":
                return found
    return found


def get_newest_event_id(cloudformation: CloudFormationClient, stack_id: str) -> str:
    """Give the id of what happened to a stack last, so that `watch` can tell what happens after it."""
    found = cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
    return found[0]["EventId"] if found else ""


def watch_stack(cloudformation: CloudFormationClient, stack_id: str, after: str = "") -> Iterator[Progress]:
    """Look at a stack until nothing happens to it any more.

    Args:
        cloudformation: a client of CloudFormation.
        stack_id: its id: a deleted stack is not found by its name.
        after: the newest event before the operation; for a moment the stack is still as before.

    Yields:
        How far it has come, at each look; the last one has the final status.

    """
    resources, began = count_resources(cloudformation, stack_id), time.monotonic()
    for look in itertools.count():
        stack = find_stack(cloudformation, stack_id)
        status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
        told = list_last_events(cloudformation, stack_id) if stack else []
        begun = (
            not stack or not after or told[0]["EventId"] != after or time.monotonic() > began + START_TIMEOUT
        )
        if begun:
            yield summarize_events(status, told, resources)
        if begun and not status.endswith("_IN_PROGRESS"):
            return
        time.sleep(POLL_SECONDS[min(look, len(POLL_SECONDS) - 1)])


def count_resources(cloudformation: CloudFormationClient, stack_id: str) -> int:
    """Count the resources that the stack's template has."""
    return len(get_template_resources(cloudformation, stack_id))


def is_retained(cloudformation: CloudFormationClient, stack_id: str, kind: str) -> bool:
    """Say whether resources of a type outlive the stack: their DeletionPolicy in its template is Retain."""
    made = [
        each for each in get_template_resources(cloudformation, stack_id).values() if each["Type"] == kind
    ]
    return any(each.get("DeletionPolicy") == "Retain" for each in made)


def get_template_resources(cloudformation: CloudFormationClient, stack_id: str) -> Mapping[str, Any]:
    """Give the resources of the stack's template, by their logical ids; none where it is not JSON, as pcluster's is."""
    try:
        body = cloudformation.get_template(StackName=stack_id)["TemplateBody"]
    except ClientError as error:
        if error_code(error) == "ValidationError":
            return {}
        raise
    found: Mapping[str, Any] = body.get("Resources", {}) if isinstance(body, dict) else {}
    return found


def summarize_events(status: str, told: list[StackEventTypeDef], resources: int) -> Progress:
    """Say how far a stack has come by its events."""
    of_resources = [event for event in told if event.get("PhysicalResourceId") != event["StackId"]]
    newest = {event["LogicalResourceId"]: event["ResourceStatus"] for event in reversed(of_resources)}
    done = sum(state.endswith("_COMPLETE") for state in newest.values())
    now = tuple(name for name, state in newest.items() if state.endswith("_IN_PROGRESS"))
    last = (
        f"{of_resources[0]['LogicalResourceId']} {of_resources[0]['ResourceStatus']}" if of_resources else ""
    )
    return Progress(status, done, max(resources, done), now, last)


def list_failures(cloudformation: CloudFormationClient, stack_id: str) -> list[str]:
    """Say which resources failed in the stack's last operation, and why, the cause first; and what to do where that is known."""
    failed = [
        event
        for event in reversed(list_last_events(cloudformation, stack_id))
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    reasons = [(event["LogicalResourceId"], event.get("ResourceStatusReason", "")) for event in failed]
    told = [f"{name}: {reason}" for name, reason in reasons if "creation cancelled" not in reason]
    advised = errors.find_hint(" ".join(told))
    return [*told, advised] if advised else told


def explain_failed_creation(
    cloudformation: CloudFormationClient, logs: CloudWatchLogsClient, cluster: str, stack_id: str
) -> str:
    """Say why a cluster was not created: the resources that failed, the end of the head node's log, and what to do."""
    log = node_log.read_head_node_log(logs, cluster)
    told = [f"The cluster {cluster} was not created.", *list_failures(cloudformation, stack_id)]
    told += [f"The end of {log[0]}:", *log[1:]] if log else []
    return "\n  ".join([*told, "`invoke delete-cluster` takes away what is left of it."])
