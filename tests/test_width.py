"""80 columns are enough: for the helps, and for what each task says, in a terminal of that width."""

import re

import pytest

from sandbox.rehearsal import INVOKE
from tests.support.terminal import Terminal


def too_long(*arguments, status=0):
    """Give the lines of more than 80 columns, but for a path or an ARN alone in its line, which is not to be broken."""
    terminal = Terminal([*INVOKE, *arguments])
    assert terminal.end() == status, terminal.written
    return [line for line in terminal.lines if len(line) > 80 and " " in line.strip()]


def test_the_list_and_every_help(account):
    listed = Terminal([*INVOKE, "--list"])
    assert listed.end() == 0
    assert [line for line in listed.lines if len(line) > 80] == []
    names = re.findall(r"^  ([a-z][a-z-]+) ", "\n".join(listed.lines), re.MULTILINE)
    assert len(names) > 20
    for name in names:
        assert too_long("--help", name) == [], name


def test_the_plan_of_the_whole_way_there_and_back(account):
    assert too_long("-R", "up", "--ssh-from", "203.0.113.7/32") == []
    assert too_long("-R", "down", "--all") == []


@pytest.mark.usefixtures("cluster")
def test_what_the_steps_say(project):
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
