"""In a terminal of 80 columns no task prints a longer line, except a path or an ARN alone in its line."""

import pytest

from sandbox.rehearsal import INVOKE
from tests.support.terminal import Terminal


def too_long(*arguments, status=0):
    """Return the printed lines of more than 80 columns, except a path or an ARN alone in its line."""
    terminal = Terminal([*INVOKE, *arguments])
    assert terminal.end() == status, terminal.written
    return [line for line in terminal.lines if len(line) > 80 and " " in line.strip()]


def test_plan_fits_the_terminal(account):
    assert too_long("-R", "up", "--ssh-from", "203.0.113.7/32") == []
    assert too_long("-R", "down", "--all") == []


@pytest.mark.usefixtures("cluster")
def test_outputs_fit_the_terminal(project):
    found = []
    for task in (
        "check",
        "upload-bootstrap",
        "create-jwt-key",
        "fill-parameters --ssh-from 203.0.113.7/32",
        "render",
        "connect-uqle",
        "handover --with-key",
        "status",
        "picture",
        "disconnect-uqle",
    ):
        found += too_long(*task.split())
    assert found == []
