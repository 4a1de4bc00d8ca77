"""A task that was interrupted and is run again leaves the same state as an undisturbed one."""

from typing import NamedTuple

import pytest

from sandbox import faults
from tests.support.account_state import compare_states, drop_leftovers, read_state
from tests.support.prepared_account import SSH_FROM_FLAG, Setup, rebuild_account
from tests.support.task_faults import FAULT_KINDS, FaultKind, read_keys, run_with_faults
from tests.support.task_runner import TaskRunner


class Case(NamedTuple):
    """A task that changes something.

    Args:
        task: its name and flags.
        base: what exists before it.
        undo: the task that deletes what it created; empty if it creates nothing.
    """

    task: str
    base: Setup
    undo: str = ""


WITH_CLUSTER = Setup(network=True, cluster=True)
CASES = [
    Case("create-key-pair", Setup()),
    Case("upload-bootstrap", Setup(), "down --yes --all"),
    Case("create-jwt-key", Setup(), "down --yes --all"),
    Case("create-jwt-key", Setup(tasks=("create-jwt-key", "down --yes --all")), "down --yes --all"),
    Case(
        f"fill-parameters {SSH_FROM_FLAG}", Setup(network=True, tasks=("upload-bootstrap", "create-jwt-key"))
    ),
    Case("allow-head-node-group", WITH_CLUSTER, "disconnect-uqle"),
    Case("create-instance", WITH_CLUSTER, "disconnect-uqle"),
    Case("connect-uqle", WITH_CLUSTER, "disconnect-uqle"),
    Case("handover --with-key", WITH_CLUSTER._replace(tasks=("create-jwt-key",))),
    Case("disconnect-uqle", WITH_CLUSTER._replace(tasks=("connect-uqle",))),
    Case("delete-network", Setup(network=True)),
    Case(
        "down --yes --all",
        Setup(network=True, tasks=("upload-bootstrap", "create-jwt-key", f"fill-parameters {SSH_FROM_FLAG}")),
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Combine each task with all kinds of faults; in the sample, with one of them."""
    pairs = [(case, kind) for case in CASES for kind in FAULT_KINDS]
    if not metafunc.config.getoption("--every-fault", default=False):
        pairs = pairs[:: len(FAULT_KINDS) + 3]
    if "kind" in metafunc.fixturenames:
        ids = [f"{CASES.index(case)}-{case.task.split()[0]}-{kind}".replace(" ", "-") for case, kind in pairs]
        metafunc.parametrize(("case", "kind"), pairs, ids=ids)


def test_interrupted_task_run_again_gives_the_same_state(case, kind, invoke, every, record_property):
    rebuild_account(case.base, invoke)
    before = read_state()
    with faults.collect_calls() as calls:
        assert invoke(*case.task.split()).returncode == 0
    undisturbed = read_state()
    moments = range(1, len(calls) + 1) if every else [(len(calls) + 1) // 2]
    injected, lost, losses = 0, 0, []
    for at in moments:
        rebuild_account(case.base, invoke)
        injected += len(FAULT_KINDS[kind].faults(invoke))
        found = interrupt(case, FAULT_KINDS[kind], at, invoke)
        found += compare_states(undisturbed, read_state())
        if found:
            lost += len(FAULT_KINDS[kind].faults(invoke))
            losses.append("\n  ".join([f"call {at}, {calls[at - 1].name}:", *found]))
    if case.undo:
        assert invoke(*case.undo.split()).returncode == 0
        assert compare_states(drop_leftovers(before), drop_leftovers(read_state())) == []
    record_property("injected", injected)
    record_property("survived", injected - lost)
    assert not losses, "\n".join(losses)


def interrupt(case: Case, kind: FaultKind, at: int, invoke: TaskRunner) -> list[str]:
    """Run a task with a fault and then without one. Return what was wrong with the two runs."""
    held = read_keys()
    first = run_with_faults(invoke, kind, at, *case.task.split())
    held += read_keys()
    again = invoke(*case.task.split())
    held += read_keys()
    found = [f"run again: {again}"] if again.returncode else []
    found += [
        f"{result} prints a key" for result in (first, again) if any(key in result.printed for key in held)
    ]
    if kind.survives and first.returncode:
        found.append(f"failed in spite of the retries: {first}")
    if not kind.survives and first.returncode == 0:
        found.append(f"succeeded in spite of the fault: {first}")
    return found
