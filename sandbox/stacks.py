"""CloudFormation stacks that take time to create and delete, in order and with events, and that can fail."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.cloudformation.models import CloudFormationBackend, Event, Stack, cloudformation_backends
from moto.efs.models import FileSystem, efs_backends

SECONDS_PER_RESOURCE = 0.025  # how long a resource takes to create or delete
MIN_SLOW_RESOURCES = 20  # a stack with fewer resources is created at once
MIN_DELETION_SECONDS = 0.5  # long enough that the caller of DeleteStack still finds the stack
LOCK = threading.RLock()  # held while a stack is created or deleted


class ResourceError(Exception):
    """A resource could not be created.

    Args:
        name: moto's name for it, which contains the logical id.
        kind: its type, without `AWS::`.
        reason: why it could not be created.
        identifier: its physical id, if it has one already.

    """

    def __init__(self, name: str, kind: str, reason: str, identifier: str = "") -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.kind, self.reason, self.identifier = name, kind, reason, identifier


class SandboxCloudFormationBackend(CloudFormationBackend):
    """The stacks of one region."""

    __module__ = CloudFormationBackend.__module__  # moto derives the service's URLs from it
    depth = 0  # above 0 while a stack is created or deleted: nested stacks then take no extra time

    def create_stack(self, name: str, *args: Any, **kwargs: Any) -> Stack:
        """Create the resources; if one fails, delete those that exist."""
        failure = None
        with self.nested():
            try:
                super().create_stack(name, *args, **kwargs)
            except ResourceError as error:
                failure = error
        stack = self.get_stack(name)
        tag_file_systems(stack)
        for resource in list_resources(stack):
            add_event(stack, resource.logical_resource_id, "", "CREATE_IN_PROGRESS")
            add_event(stack, resource.logical_resource_id, resource.physical_resource_id, "CREATE_COMPLETE")
        if failure:
            self.roll_back(stack, failure)
        self.start_operation(
            stack, "CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE" if failure else "CREATE_COMPLETE"
        )
        return stack

    def roll_back(self, stack: Stack, failure: ResourceError) -> None:
        """Delete the resources of a stack of which one could not be created.

        Raises:
            ResourceError: the stack is nested, so the outer one fails too.

        """
        logical_ids = stack.resource_map._resource_json_map
        failed_id = next((name for name in logical_ids if f"-{name}-" in failure.name), failure.name)
        add_event(stack, failed_id, failure.identifier, "CREATE_FAILED", failure.reason, failure.kind)
        stack._add_stack_event(
            "ROLLBACK_IN_PROGRESS", f"The following resource(s) failed to create: [{failed_id}]."
        )
        stack.output_map = {}
        with self.nested():
            self.delete_resources(stack)
        stack._add_stack_event("ROLLBACK_COMPLETE")
        if self.depth:
            self.deleted_stacks[stack.stack_id] = self.stacks.pop(stack.stack_id)
            cause = f"The following resource(s) failed to create: [{failed_id}]."
            reason = f"Embedded stack {stack.stack_id} was not successfully created: {cause}"
            raise ResourceError(stack.name, "CloudFormation::Stack", reason, stack.stack_id)

    def delete_stack(self, name_or_stack_id: str) -> None:
        """Delete the resources; if one cannot be deleted, the stack remains."""
        stack = self.get_stack(name_or_stack_id)
        stack._add_stack_event("DELETE_IN_PROGRESS", "User Initiated")
        # A copy: moto's own mapping would create the resources of the outputs again.
        stack.output_map = dict(stack.output_map)
        with self.nested():
            failures = self.delete_resources(stack)
        outcome = "DELETE_FAILED" if failures else "DELETE_COMPLETE"
        stack._add_stack_event(outcome, "; ".join(failures) or None)
        self.start_operation(stack, "DELETE_IN_PROGRESS", outcome)
        if failures and self.depth:
            raise RuntimeError("; ".join(failures))

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Treat the stacks created or deleted in this context as nested ones; allow one context at a time."""
        with LOCK:
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1

    def delete_resources(self, stack: Stack) -> list[str]:
        """Delete the resources of a stack, the newest first, and return the errors."""
        resources = stack.resource_map._parsed_resources
        definitions = stack.resource_map._resource_json_map
        failures = []
        for name in reversed([name for name in resources if name in definitions]):
            if definitions[name].get("DeletionPolicy") == "Retain":
                continue
            identifier = resources[name].physical_resource_id
            add_event(stack, name, identifier, "DELETE_IN_PROGRESS")
            try:
                stack.resource_map._delete_resource(resources[name], definitions[name])
            except Exception as error:
                failures.append(f"{name}: {error}")
                add_event(stack, name, identifier, "DELETE_FAILED", str(error))
            else:
                del resources[name]
                add_event(stack, name, identifier, "DELETE_COMPLETE")
        return failures

    def start_operation(self, stack: Stack, status: str, outcome: str) -> None:
        """Set a stack's status now, and its outcome when the operation ends."""
        stack.status, stack.outcome = status, outcome
        size = len(stack.resource_map._resource_json_map)
        seconds = size * SECONDS_PER_RESOURCE
        if status == "DELETE_IN_PROGRESS":
            seconds = max(seconds, MIN_DELETION_SECONDS)
        elif size < MIN_SLOW_RESOURCES:
            seconds = 0
        stack.operation_seconds = 0 if self.depth else seconds
        stack.end_time = time.monotonic() + stack.operation_seconds

    def finish_operations(self) -> None:
        """Set the outcome of the stacks whose operations have ended."""
        for stack in list(self.stacks.values()):
            end_time = getattr(stack, "end_time", float("inf"))
            if stack.status.endswith("_IN_PROGRESS") and time.monotonic() >= end_time:
                stack.status = stack.outcome
                if stack.status == "DELETE_COMPLETE":
                    self.deleted_stacks[stack.stack_id] = self.stacks.pop(stack.stack_id)

    def describe_stacks(self, name_or_stack_id: str) -> list[Stack]:
        """Return the stacks with their current status."""
        self.finish_operations()
        stacks: list[Stack] = super().describe_stacks(name_or_stack_id)
        return stacks

    def describe_stack_events(self, stack_name: str) -> list[Event]:
        """Return the events until now; they are spread evenly over the operation's time."""
        stack = self.get_stack(stack_name)
        events: list[Event] = super().describe_stack_events(stack_name)
        seconds_left = getattr(stack, "end_time", 0) - time.monotonic()
        if seconds_left <= 0 or not stack.status.endswith("_IN_PROGRESS"):
            return events
        reasons = [event.resource_status_reason for event in events]
        start = len(reasons) - reasons[::-1].index("User Initiated")  # after the operation's first event
        return events[: start + int((len(events) - start) * (1 - seconds_left / stack.operation_seconds))]

    def list_stacks(self, *args: Any, **kwargs: Any) -> list[Stack]:
        """Return the stacks with their current status."""
        self.finish_operations()
        stacks: list[Stack] = super().list_stacks(*args, **kwargs)
        return stacks


def list_resources(stack: Stack) -> list[Any]:
    """Return the existing resources of a stack; moto would create deleted ones again."""
    definitions = stack.resource_map._resource_json_map
    return [
        resource
        for name, resource in stack.resource_map._parsed_resources.items()
        if name in definitions and resource is not None
    ]


def tag_file_systems(stack: Stack) -> None:
    """Copy a stack's tags to its file systems; moto copies them only to resources of EC2."""
    for resource in list_resources(stack):
        if isinstance(resource, FileSystem):
            efs = efs_backends[stack.account_id][stack.region_name]
            tags = {**stack.tags, "aws:cloudformation:stack-name": stack.name}
            efs.tag_resource(resource.file_system_id, tags)


def add_event(
    stack: Stack, name: str, identifier: str, status: str, reason: str | None = None, kind: str = ""
) -> None:
    """Add an event about one resource; moto adds only those about the stack."""
    definition = stack.resource_map._resource_json_map.get(name, {})
    stack.events.append(
        Event(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            logical_resource_id=name,
            physical_resource_id=identifier,
            resource_type=definition.get("Type", f"AWS::{kind}"),
            resource_status=status,
            resource_status_reason=reason,
            resource_properties=None,
        )
    )


Stack.stack_resources = property(list_resources)
cloudformation_backends.backend = SandboxCloudFormationBackend
