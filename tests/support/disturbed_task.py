"""The ways in which calls to AWS go wrong, and tasks to which that happens."""

from collections.abc import Callable
from typing import NamedTuple

from sandbox import faults
from sandbox.api_calls import client
from tests.support import REGION
from tests.support.task_runner import TaskResult, TaskRunner


class Kind(NamedTuple):
    """A way in which calls go wrong.

    Args:
        faults: what meets the call and those after it, one each; they take what kills the task.
        then: what meets each call after these, when AWS stays away.
        survives: whether the task gets over it by itself, as boto3 asks again, three times in all.
    """

    faults: Callable[[TaskRunner], list[faults.Fault]]
    then: faults.Fault | None = None
    survives: bool = False


KINDS = {
    "closed, then throttled": Kind(lambda _: [faults.close_connection, faults.throttle], survives=True),
    "broken, then its answer lost": Kind(
        lambda _: [faults.fail_with_500, faults.lose_response], survives=True
    ),
    "closed from then on": Kind(lambda _: [faults.close_connection], faults.close_connection),
    "throttled from then on": Kind(lambda _: [faults.throttle], faults.throttle),
    "broken from then on": Kind(lambda _: [faults.fail_with_500], faults.fail_with_500),
    "its answer lost and AWS away": Kind(lambda _: [faults.lose_response], faults.close_connection),
    "killed before": Kind(
        lambda invoke: [faults.kill_caller(invoke.kill, after=False)], faults.close_connection
    ),
    "killed after": Kind(
        lambda invoke: [faults.kill_caller(invoke.kill, after=True)], faults.close_connection
    ),
}


def disturbed(invoke: TaskRunner, kind: Kind, at: int, *task: str, **environment: str) -> TaskResult:
    """Run a task whose calls go wrong from one of them on, and see that they did."""
    patience = {} if kind.survives else {"AWS_MAX_ATTEMPTS": "1"}
    expected = kind.faults(invoke)
    each = faults.use_in_turn(*expected, *([kind.then] * 1000 if kind.then else []))
    with faults.inject(each, at, then=each) as injection:
        walked = invoke(*task, **environment, **patience)
    assert len(injection.failed_calls) >= len(expected), f"{len(injection.failed_calls)} faults at call {at}"
    return walked


def keys() -> list[str]:
    """Give what the account's secrets hold."""
    manager = client("secretsmanager", REGION)
    names = [each["Name"] for each in manager.list_secrets()["SecretList"]]
    return [manager.get_secret_value(SecretId=name)["SecretString"] for name in names]
