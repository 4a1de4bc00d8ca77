"""`rotate-jwt-key` with faults: it leaves one key in the secret, prints none, and can be run again.

Its head node is a stand-in for ssh that accepts every command. `tests/nodes/uqle/test_rotation.py` kills the task on
real nodes.
"""

import json

import pytest

from sandbox import faults
from tests.support.account_state import compare_states, read_state
from tests.support.prepared_account import Setup, rebuild_account
from tests.support.task_faults import FAULT_KINDS, read_keys, run_with_faults

pytestmark = pytest.mark.whole

BASE = Setup(network=True, cluster=True, tasks=("create-jwt-key",))
# The task ends here: no Slurm runs behind the stand-in.
TAKEN = {"STAND_IN_ENDS": json.dumps({"sudo bash": [73, "stop here"]})}
STOPPED = "not yet on the head node (stop here)"


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_next_run_installs_another_key(kind, invoke, ssh_calls, record_property):
    rebuild_account(BASE, invoke)
    with faults.collect_calls() as calls:
        assert STOPPED in invoke("rotate-jwt-key", **TAKEN).printed
    assert [call.name for call in calls].count("PutSecretValue") == 1
    undisturbed = read_state()
    for at in range(1, len(calls) + 1):
        rebuild_account(BASE, invoke)
        seen = read_keys()
        first = run_with_faults(invoke, FAULT_KINDS[kind], at, "rotate-jwt-key", **TAKEN)
        assert (STOPPED in first.printed) == FAULT_KINDS[kind].survives
        reached, seen = len(ssh_calls()), seen + read_keys()
        again = invoke("rotate-jwt-key", **TAKEN)
        assert STOPPED in again.printed
        assert len(ssh_calls()) > reached
        assert not set(read_keys()) & set(seen)
        assert compare_states(undisturbed, read_state()) == []
        told = first.printed + again.printed + str(ssh_calls())
        assert not [key for key in seen + read_keys() if key in told]
    for name in "injected", "survived":
        record_property(name, len(calls) * len(FAULT_KINDS[kind].faults(invoke)))
