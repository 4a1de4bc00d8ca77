"""CloudFormation's stacks: their creation and deletion take time, go in order, tell what they do, and can fail."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.cloudformation.models import CloudFormationBackend, Event, Stack, cloudformation_backends

SECONDS = 0.025  # that a resource takes to be made or deleted
SMALL = 20  # fewer resources take no time to be made
DELETION = 0.5  # seconds that a deletion takes at least: who asked for it still finds the stack
ONE_AT_A_TIME = threading.RLock()


class ResourceError(Exception):
    """A resource could not be made.

    Args:
        name: what moto calls it; its logical id is in it.
        kind: its type.
        reason: why.

    """

    def __init__(self, name: str, kind: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.kind, self.reason = name, kind, reason


class Stacks(CloudFormationBackend):
    """One region's stacks."""

    __module__ = CloudFormationBackend.__module__  # moto finds the addresses of a service by it
    depth = 0  # above 0, a stack is being made or deleted as part of another, and takes no time of its own

    def create_stack(self, name: str, *args: Any, **kwargs: Any) -> Stack:
        """Make the resources; when one fails, take back those that were made."""
        failure = None
        with self.nested():
            try:
                super().create_stack(name, *args, **kwargs)
            except ResourceError as error:
                failure = error
        stack = self.get_stack(name)
        for made in standing(stack):
            tell(stack, made.logical_resource_id, "", "CREATE_IN_PROGRESS")
            tell(stack, made.logical_resource_id, made.physical_resource_id, "CREATE_COMPLETE")
        if failure:
            failed = next(
                (name for name in stack.resource_map._resource_json_map if f"-{name}-" in failure.name),
                failure.name,
            )
            tell(stack, failed, "", "CREATE_FAILED", failure.reason, failure.kind)
            stack._add_stack_event(
                "ROLLBACK_IN_PROGRESS", f"The following resource(s) failed to create: [{failed}]."
            )
            stack.output_map = {}
            with self.nested():
                self.delete_resources(stack)
            stack._add_stack_event("ROLLBACK_COMPLETE")
            if self.depth:
                del self.stacks[stack.stack_id]
                raise failure
        self.take_time(stack, "CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE" if failure else "CREATE_COMPLETE")
        return stack

    def delete_stack(self, name_or_stack_id: str) -> None:
        """Delete the resources; where one cannot be, the stack stays."""
        stack = self.get_stack(name_or_stack_id)
        stack._add_stack_event("DELETE_IN_PROGRESS", "User Initiated")
        stack.output_map = dict(stack.output_map)  # as they are: moto would make what they name anew
        with self.nested():
            failures = self.delete_resources(stack)
        outcome = "DELETE_FAILED" if failures else "DELETE_COMPLETE"
        stack._add_stack_event(outcome, "; ".join(failures) or None)
        self.take_time(stack, "DELETE_IN_PROGRESS", outcome)
        if failures and self.depth:
            raise RuntimeError("; ".join(failures))

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Take what happens within as part of a stack's own creation or deletion; one at a time."""
        with ONE_AT_A_TIME:
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1

    def delete_resources(self, stack: Stack) -> list[str]:
        """Delete the resources of a stack, those made last first, and tell of those that could not be."""
        made, definitions = stack.resource_map._parsed_resources, stack.resource_map._resource_json_map
        failures = []
        for name in reversed([name for name in made if name in definitions]):
            if definitions[name].get("DeletionPolicy") == "Retain":
                continue
            tell(stack, name, made[name].physical_resource_id, "DELETE_IN_PROGRESS")
            try:
                stack.resource_map._delete_resource(made[name], definitions[name])
            except Exception as error:
                failures.append(f"{name}: {error}")
                tell(stack, name, made[name].physical_resource_id, "DELETE_FAILED", str(error))
            else:
                tell(stack, name, made.pop(name).physical_resource_id, "DELETE_COMPLETE")
        return failures

    def take_time(self, stack: Stack, status: str, outcome: str) -> None:
        """Let the stack be in a status for a while, and then come to its outcome."""
        stack.status, stack.outcome = status, outcome
        size = len(stack.resource_map._resource_json_map)
        seconds = (
            max(size * SECONDS, DELETION)
            if status == "DELETE_IN_PROGRESS"
            else size * SECONDS * (size >= SMALL)
        )
        stack.seconds = 0 if self.depth else seconds
        stack.ready = time.monotonic() + stack.seconds

    def settle(self) -> None:
        """Bring the stacks whose time is over to their outcome."""
        for stack in list(self.stacks.values()):
            if stack.status.endswith("_IN_PROGRESS") and time.monotonic() >= getattr(
                stack, "ready", float("inf")
            ):
                stack.status = stack.outcome
                if stack.status == "DELETE_COMPLETE":
                    self.deleted_stacks[stack.stack_id] = self.stacks.pop(stack.stack_id)

    def describe_stacks(self, name_or_stack_id: str) -> list[Stack]:
        """Answer with what has become of the stacks by now."""
        self.settle()
        found: list[Stack] = super().describe_stacks(name_or_stack_id)
        return found

    def describe_stack_events(self, stack_name: str) -> list[Event]:
        """Answer with what has happened by now: one resource after the other, as the time of the operation goes."""
        stack = self.get_stack(stack_name)
        events: list[Event] = super().describe_stack_events(stack_name)
        left = getattr(stack, "ready", 0) - time.monotonic()
        if left <= 0 or not stack.status.endswith("_IN_PROGRESS"):
            return events
        begun = (
            max(
                number
                for number, event in enumerate(events)
                if event.resource_status_reason == "User Initiated"
            )
            + 1
        )
        return events[: begun + int((len(events) - begun) * (1 - left / stack.seconds))]

    def list_stacks(self, *args: Any, **kwargs: Any) -> list[Stack]:
        """Answer with what has become of the stacks by now."""
        self.settle()
        found: list[Stack] = super().list_stacks(*args, **kwargs)
        return found


def standing(stack: Stack) -> list[Any]:
    """Give the resources that a stack has; moto would make those that it no longer has anew."""
    made, definitions = stack.resource_map._parsed_resources, stack.resource_map._resource_json_map
    return [resource for name, resource in made.items() if name in definitions and resource is not None]


def tell(
    stack: Stack, name: str, identifier: str, status: str, reason: str | None = None, kind: str = ""
) -> None:
    """Add an event about one resource; moto tells of the stack alone."""
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


Stack.stack_resources = property(standing)
cloudformation_backends.backend = Stacks
