"""CloudFormation stacks: the cluster's, what it contains, and the progress of its operations."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slurm_cluster.aws import clients, node_log, stack_status
from slurm_cluster.errors import ClusterError, find_hint
from slurm_cluster.output import Progress
from slurm_cluster.waiting import poll

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import (
        StackEventTypeDef,
        StackResourceSummaryTypeDef,
        StackTypeDef,
    )
    from types_boto3_logs import CloudWatchLogsClient

CANCELLED = re.compile(r"Resource \w+ cancelled")  # because of another one that failed
STACK_TYPE = "AWS::CloudFormation::Stack"
DELETED = "DELETE_COMPLETE"  # a stack still lists resources that it no longer has
POLL_SECONDS = [1, 1, 2, 3, 5]  # between two polls; the last one is repeated
START_TIMEOUT = 60  # seconds; then assume that an accepted operation has started


def find_stack(cloudformation: CloudFormationClient, name: str) -> StackTypeDef | None:
    """Find an existing stack by its name or id."""
    stack = describe_stack(cloudformation, name)
    return None if stack and stack["StackStatus"] == DELETED else stack


def describe_stack(cloudformation: CloudFormationClient, name: str) -> StackTypeDef | None:
    """Return a stack as CloudFormation describes it, by its name or id; a deleted one only by its id."""
    return clients.find_or_none(
        lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0], "ValidationError"
    )


def require_cluster(cloudformation: CloudFormationClient, cluster_name: str) -> StackTypeDef:
    """Return the stack of a cluster, which must be in the phase `complete`.

    Raises:
        ClusterError: there is no such cluster, or it is not complete. The message names the others.
    """
    stack = find_stack_in_phase(cloudformation, cluster_name, "complete")
    if stack is None:
        others, region = ", ".join(list_clusters(cloudformation)) or "none", cloudformation.meta.region_name
        raise ClusterError(
            f"There is no cluster {cluster_name} in {region} (clusters there: {others}). "
            "`invoke create-cluster` creates it."
        )
    return stack


def find_stack_in_phase(
    cloudformation: CloudFormationClient, cluster_name: str, *phases: str
) -> StackTypeDef | None:
    """Return the stack of a cluster that is in one of these phases; None if there is none.

    Raises:
        ClusterError: it is in another phase. The message says what to do.
    """
    stack = find_stack(cloudformation, cluster_name)
    if stack and stack_status.get_phase(stack["StackStatus"]) not in phases:
        raise ClusterError(
            stack_status.explain_status(
                "cluster", cluster_name, stack["StackStatus"], cloudformation.meta.region_name
            )
        )
    return stack


def wait_until_listed(cloudformation: CloudFormationClient, cluster_name: str) -> StackTypeDef:
    """Wait until a stack whose creation was just requested is listed.

    Raises:
        ClusterError: it is not listed.
    """
    for stack in poll(lambda: find_stack(cloudformation, cluster_name), POLL_SECONDS):
        if stack:
            return stack
    raise ClusterError(f"AWS does not list the new stack {cluster_name} yet. Run this again.")


def list_clusters(cloudformation: CloudFormationClient) -> list[str]:
    """Return the names of the region's clusters, by the tag that pcluster puts on their stacks."""
    stacks = clients.list_all(cloudformation, "describe_stacks")
    return sorted(
        stack["StackName"]
        for stack in stacks
        if "parallelcluster:version" in {tag["Key"] for tag in stack.get("Tags", [])}
        and not (stack.get("ParentId") or stack.get("RootId"))
    )


def require_output(stack: StackTypeDef, key: str) -> str:
    """Return an output of a stack.

    Raises:
        ClusterError: the stack has no such output.
    """
    value = find_output(stack, key)
    if not value:
        raise ClusterError(f"The stack {stack['StackName']} has no output {key}. See `invoke status`.")
    return value


def find_output(stack: StackTypeDef, key: str) -> str:
    """Return an output of a stack; empty if the stack has no such output."""
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return outputs.get(key, "")


def find_resource_id(cloudformation: CloudFormationClient, stack: str, logical_id: str) -> str | None:
    """Return the physical id of the resource with a logical id, if the stack has it."""
    answer = clients.find_or_none(
        lambda: cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=logical_id),
        "ValidationError",
    )
    if answer is None or answer["StackResourceDetail"]["ResourceStatus"] == DELETED:
        return None
    return answer["StackResourceDetail"].get("PhysicalResourceId")


def list_resource_ids(cloudformation: CloudFormationClient, stack: str, resource_type: str) -> list[str]:
    """Return the physical ids of a stack's resources of a type, such as AWS::EC2::SecurityGroup."""
    resources = list_resources(cloudformation, stack)
    return [
        resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == resource_type
    ]


def list_resources(cloudformation: CloudFormationClient, stack: str) -> list[StackResourceSummaryTypeDef]:
    """Return the existing resources of a stack and of its nested stacks."""
    resources = [
        resource
        for resource in clients.list_all(cloudformation, "list_stack_resources", StackName=stack)
        if resource["ResourceStatus"] != DELETED and resource.get("PhysicalResourceId")
    ]
    nested = [
        resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == STACK_TYPE
    ]
    return [
        *resources,
        *(resource for stack_id in nested for resource in list_resources(cloudformation, stack_id)),
    ]


def list_last_events(cloudformation: CloudFormationClient, stack_id: str) -> list[StackEventTypeDef]:
    """Return the events of a stack's last operation, the newest first."""
    events: list[StackEventTypeDef] = []
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        for event in page["StackEvents"]:
            events.append(event)
            if event.get("ResourceStatusReason") == "User Initiated":
                return events
    return events


def get_newest_event_id(cloudformation: CloudFormationClient, stack_id: str) -> str:
    """Return the id of a stack's newest event, so that `watch_stack` can tell what happens after it."""
    events = cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
    return events[0]["EventId"] if events else ""


def watch_stack(
    cloudformation: CloudFormationClient, stack_id: str, after_event: str = ""
) -> Iterator[Progress]:
    """Poll a stack until its operation has ended.

    Args:
        cloudformation: a client of CloudFormation.
        stack_id: the stack's id; a deleted stack is not found by its name.
        after_event: the id of the newest event before the operation, which takes a moment to start.

    Yields:
        The progress at each poll; the last one has the final status.
    """
    total, start = len(get_template_resources(cloudformation, stack_id)), time.monotonic()
    pauses = itertools.chain(POLL_SECONDS, itertools.repeat(POLL_SECONDS[-1]))
    for stack in poll(lambda: describe_stack(cloudformation, stack_id), pauses):
        status = stack["StackStatus"] if stack else DELETED
        events = list_last_events(cloudformation, stack_id) if stack else []
        has_new_event = not events or events[0]["EventId"] != after_event
        has_started = not after_event or has_new_event or time.monotonic() > start + START_TIMEOUT
        if has_started:
            yield summarize_events(status, events, total)
            if not status.endswith("_IN_PROGRESS"):
                return


def get_template_resources(cloudformation: CloudFormationClient, stack_id: str) -> Mapping[str, Any]:
    """Return the resources in a stack's template, by logical id; empty if the template is not JSON."""
    body = clients.find_or_none(
        lambda: cloudformation.get_template(StackName=stack_id)["TemplateBody"], "ValidationError"
    )
    resources: Mapping[str, Any] = body.get("Resources", {}) if isinstance(body, dict) else {}
    return resources


def summarize_events(status: str, events: list[StackEventTypeDef], total: int) -> Progress:
    """Return the progress of a stack from its events."""
    of_resources = [event for event in events if event.get("PhysicalResourceId") != event["StackId"]]
    states = {event["LogicalResourceId"]: event["ResourceStatus"] for event in reversed(of_resources)}
    done = sum(state.endswith("_COMPLETE") for state in states.values())
    in_progress = tuple(name for name, state in states.items() if state.endswith("_IN_PROGRESS"))
    newest = of_resources[0] if of_resources else None
    last = f"{newest['LogicalResourceId']} {newest['ResourceStatus']}" if newest else ""
    return Progress(status, done, max(total, done), in_progress, last)


def list_failures(cloudformation: CloudFormationClient, stack_id: str) -> list[str]:
    """Return the failures of the last operation, the first failure first, and a hint if there is one."""
    reasons = list_reasons(cloudformation, list_last_events(cloudformation, stack_id))
    hint = find_hint(" ".join(reasons))
    return [*reasons, hint] if hint else reasons


def list_reasons(cloudformation: CloudFormationClient, events: list[StackEventTypeDef]) -> list[str]:
    """Return the failed resources with their reasons, the first failure first, also from nested stacks.

    Args:
        cloudformation: a client of CloudFormation.
        events: the events of an operation, the newest first.
    """
    reasons = []
    for event in reversed(events):
        reason, nested_id = event.get("ResourceStatusReason", ""), event.get("PhysicalResourceId", "")
        if not event["ResourceStatus"].endswith("_FAILED") or CANCELLED.fullmatch(reason):
            continue
        is_nested = event.get("ResourceType") == STACK_TYPE and nested_id not in ("", event["StackId"])
        of_nested = list_nested_events(cloudformation, nested_id, events) if is_nested else []
        causes = list_reasons(cloudformation, of_nested) or [reason]
        reasons += [f"{event['LogicalResourceId']}: {cause}" for cause in causes]
    return list(dict.fromkeys(reasons))


def list_nested_events(
    cloudformation: CloudFormationClient, nested_id: str, events: list[StackEventTypeDef]
) -> list[StackEventTypeDef]:
    """Return the events of a nested stack's resources since the first event of the outer operation."""
    start = events[-1]["Timestamp"]
    return [
        event
        for event in list_last_events(cloudformation, nested_id)
        if event["Timestamp"] >= start and event.get("PhysicalResourceId") != nested_id
    ]


def explain_failed_creation(
    cloudformation: CloudFormationClient, logs: CloudWatchLogsClient, cluster_name: str, stack_id: str
) -> str:
    """Return a message about a failed creation: the failures, the head node's log, and the next step."""
    lines = [f"The cluster {cluster_name} was not created.", *list_failures(cloudformation, stack_id)]
    log = node_log.read_head_node_log(logs, cluster_name)
    if log:
        lines += [f"The end of {log[0]}:", *log[1:]]
    return "\n  ".join([*lines, "`invoke delete-cluster` deletes what is left of it."])
