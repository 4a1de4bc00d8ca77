"""`rotate-jwt-key` met by faults: it leaves one key in the secret, tells none, and can be run again.

Its head node is a stand-in for ssh, which takes every line; `tests/nodes/uqle/test_rotation.py` has it killed on real nodes.
"""

import json

import pytest

from sandbox import faults
from tests.support.account_state import difference, picture
from tests.support.disturbed_task import KINDS, disturbed, keys
from tests.support.prepared_account import Base, build

pytestmark = pytest.mark.whole

BASE = Base(network=True, cluster=True, tasks=("create-jwt-key",))
# It is the last thing that the head node does here: no Slurm runs behind the stand-in, for which the task would look.
TAKEN = {"STAND_IN_ENDS": json.dumps({"sudo bash": [73, "stop here"]})}
STOPPED = "not yet on the head node (stop here)"


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_run_reaches_the_head_node_with_another_key(kind, invoke, asked, record_property):
    build(BASE, invoke)
    with faults.collect_calls() as calls:
        assert STOPPED in invoke("rotate-jwt-key", **TAKEN).printed
    assert [call.name for call in calls].count("PutSecretValue") == 1
    undisturbed = picture()
    for at in range(1, len(calls) + 1):
        build(BASE, invoke)
        seen = keys()
        first = disturbed(invoke, KINDS[kind], at, "rotate-jwt-key", **TAKEN)
        assert (STOPPED in first.printed) == KINDS[kind].survives
        reached, seen = len(asked()), seen + keys()
        again = invoke("rotate-jwt-key", **TAKEN)
        assert STOPPED in again.printed
        assert len(asked()) > reached
        assert not set(keys()) & set(seen)
        assert difference(undisturbed, picture()) == []
        told = first.printed + again.printed + str(asked())
        assert not [key for key in seen + keys() if key in told]
    for name in "injected", "survived":
        record_property(name, len(calls) * len(KINDS[kind].faults(invoke)))
