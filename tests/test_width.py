"""In a terminal of 80 columns, tasks print longer lines only for commands, paths and ARNs."""

import re

import pytest

from sandbox.rehearsal import INVOKE
from tests.support.terminal import Terminal


def find_long_lines(*arguments, status=0):
    """Return the printed lines of more than 80 columns, except commands to copy and single paths or ARNs."""
    terminal = Terminal([*INVOKE, *arguments])
    assert terminal.end() == status, terminal.written
    long_lines = [line for line in terminal.lines if len(line) > 80 and " " in line.strip()]
    return [line for line in long_lines if not re.match(r" +(aws|scp) ", line)]


def test_plan_fits_the_terminal(account):
    assert find_long_lines("-R", "up", "--ssh-from", "203.0.113.7/32") == []
    assert find_long_lines("-R", "down", "--all") == []


@pytest.mark.usefixtures("cluster")
def test_outputs_fit_the_terminal(project):
    tasks = (
        "check upload-bootstrap create-jwt-key fill-parameters --ssh-from 203.0.113.7/32 render connect-uqle "
        "handover --with-key status picture disconnect-uqle"
    )
    assert find_long_lines(*tasks.split()) == []
