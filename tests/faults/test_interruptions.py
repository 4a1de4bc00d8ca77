"""Every interruption is harmless: a task that a fault stopped, run again, ends where an undisturbed one ends."""

from typing import NamedTuple

import pytest

from sandbox import faults
from tests.support.account_state import difference, of_account, picture
from tests.support.disturbed_task import KINDS, Kind, disturbed, keys
from tests.support.prepared_account import FROM, Base, build
from tests.support.task_runner import TaskRunner


class Case(NamedTuple):
    """A task that changes something.

    Args:
        task: as it is typed.
        base: what stands before it.
        undo: the task that takes away what it made; none where it takes away.
    """

    task: str
    base: Base
    undo: str = ""


STANDS = Base(network=True, cluster=True)
CASES = [
    Case("create-key-pair", Base()),
    Case("upload-bootstrap", Base(), "down --yes --all"),
    Case("create-jwt-key", Base(), "down --yes --all"),
    Case("create-jwt-key", Base(tasks=("create-jwt-key", "down --yes --all")), "down --yes --all"),
    Case(f"fill-parameters {FROM}", Base(network=True, tasks=("upload-bootstrap", "create-jwt-key"))),
    Case("allow-head-node-group", STANDS, "disconnect-uqle"),
    Case("create-instance", STANDS, "disconnect-uqle"),
    Case("connect-uqle", STANDS, "disconnect-uqle"),
    Case("handover --with-key", STANDS._replace(tasks=("create-jwt-key",))),
    Case("disconnect-uqle", STANDS._replace(tasks=("connect-uqle",))),
    Case("delete-network", Base(network=True)),
    Case(
        "down --yes --all",
        Base(network=True, tasks=("upload-bootstrap", "create-jwt-key", f"fill-parameters {FROM}")),
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Meet each task with all kinds of faults, or in the sample with one of them."""
    pairs = [(case, kind) for case in CASES for kind in KINDS]
    if not metafunc.config.getoption("--every-fault", default=False):
        pairs = pairs[:: len(KINDS) + 3]
    if "kind" in metafunc.fixturenames:
        ids = [f"{CASES.index(case)}-{case.task.split()[0]}-{kind}".replace(" ", "-") for case, kind in pairs]
        metafunc.parametrize(("case", "kind"), pairs, ids=ids)


def test_a_task_that_is_interrupted_and_run_again_ends_as_an_undisturbed_one(
    case, kind, invoke, every, record_property
):
    build(case.base, invoke)
    before = picture()
    with faults.collect_calls() as calls:
        assert invoke(*case.task.split()).returncode == 0
    undisturbed = picture()
    moments = range(1, len(calls) + 1)
    injected, lost, losses = 0, 0, []
    for at in moments if every else moments[:: max(1, len(moments) // 2)]:
        build(case.base, invoke)
        injected += len(KINDS[kind].faults(invoke))
        found = interrupt(case, KINDS[kind], at, invoke)
        found += difference(undisturbed, picture())
        if found:
            lost += len(KINDS[kind].faults(invoke))
            losses.append("\n  ".join([f"call {at}, {calls[at - 1].name}:", *found]))
    if case.undo:
        assert invoke(*case.undo.split()).returncode == 0
        assert difference(of_account(before), of_account(picture())) == []
    record_property("injected", injected)
    record_property("survived", injected - lost)
    assert not losses, "\n".join(losses)


def interrupt(case: Case, kind: Kind, at: int, invoke: TaskRunner) -> list[str]:
    """Run a task with a fault and then without one; say what was wrong with either run."""
    held = keys()
    first = disturbed(invoke, kind, at, *case.task.split())
    held += keys()
    again = invoke(*case.task.split())
    held += keys()
    found = [f"run again: {again}"] if again.returncode else []
    found += [
        f"{walked} tells a key" for walked in (first, again) if any(key in walked.printed for key in held)
    ]
    if kind.survives and first.returncode:
        found.append(f"did not get over it: {first}")
    if not kind.survives and first.returncode == 0:
        found.append(f"took no notice: {first}")
    return found
