"""Run tasks with faults in their calls to AWS."""

from collections.abc import Callable
from typing import NamedTuple

from sandbox import faults
from sandbox.api_calls import client
from tests.support import REGION
from tests.support.task_runner import TaskResult, TaskRunner


class FaultKind(NamedTuple):
    """A kind of fault.

    Args:
        faults: returns the faults of a call and of the calls after it, one for each.
        then: the fault of every later call, if AWS remains unavailable.
        survives: whether the task succeeds, because boto3 makes three attempts.
    """

    faults: Callable[[TaskRunner], list[faults.Fault]]
    then: faults.Fault | None = None
    survives: bool = False


FAULT_KINDS = {
    "closed, then throttled": FaultKind(lambda _: [faults.close_connection, faults.throttle], survives=True),
    "broken, then its answer lost": FaultKind(
        lambda _: [faults.fail_with_500, faults.lose_response], survives=True
    ),
    "cut off, then a web page instead": FaultKind(
        lambda _: [faults.truncate_response, faults.replace_response()], survives=True
    ),
    "empty, then refused by a proxy": FaultKind(
        lambda _: [faults.replace_response(b""), faults.replace_response(status=403, applied=False)],
        survives=True,
    ),
    "cut off from then on": FaultKind(lambda _: [faults.truncate_response], faults.truncate_response),
    "a web page from then on": FaultKind(
        lambda _: [faults.replace_response()], faults.replace_response(applied=False)
    ),
    "refused by a proxy from then on": FaultKind(
        lambda _: [faults.replace_response(status=502)], faults.replace_response(status=403, applied=False)
    ),
    "closed from then on": FaultKind(lambda _: [faults.close_connection], faults.close_connection),
    "throttled from then on": FaultKind(lambda _: [faults.throttle], faults.throttle),
    "broken from then on": FaultKind(lambda _: [faults.fail_with_500], faults.fail_with_500),
    "its answer lost and AWS away": FaultKind(lambda _: [faults.lose_response], faults.close_connection),
    "killed before": FaultKind(
        lambda invoke: [faults.kill_caller(invoke.kill, after=False)], faults.close_connection
    ),
    "killed after": FaultKind(
        lambda invoke: [faults.kill_caller(invoke.kill, after=True)], faults.close_connection
    ),
}


def run_with_faults(
    invoke: TaskRunner, kind: FaultKind, at: int, *task: str, **environment: str
) -> TaskResult:
    """Run a task with faults in its calls, and check that they were injected.

    Args:
        invoke: runs the task.
        kind: the kind of fault.
        at: the number of the first call with a fault, counted from 1.
        task: its name and flags.
        environment: variables besides those of this process.
    """
    attempts = {} if kind.survives else {"AWS_MAX_ATTEMPTS": "1"}
    expected = kind.faults(invoke)
    fault = faults.use_in_turn(*expected, *([kind.then] * 1000 if kind.then else []))
    with faults.inject(fault, at, then=fault) as injection:
        result = invoke(*task, **environment, **attempts)
    assert len(injection.failed_calls) >= len(expected), f"{len(injection.failed_calls)} faults at call {at}"
    return result


def read_keys() -> list[str]:
    """Return the values of the account's secrets."""
    secretsmanager = client("secretsmanager", REGION)
    names = [secret["Name"] for secret in secretsmanager.list_secrets()["SecretList"]]
    return [secretsmanager.get_secret_value(SecretId=name)["SecretString"] for name in names]
