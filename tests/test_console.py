"""Progress and messages, in a terminal of 80 columns and through a pipe."""

import io
import json
import os
import pty
import re
import sys
import threading
import time

import pytest

from slurm_cluster import cli, output
from slurm_cluster.output import Progress
from slurm_cluster.steps import pcluster

ERASED = "\x1b[1A\x1b[2K"  # move up and erase the line
CREATING = [
    Progress("CREATE_IN_PROGRESS", 1, 3, ("HeadNode",), "Network CREATE_COMPLETE"),
    Progress("CREATE_IN_PROGRESS", 2, 3, ("HeadNode",), "HeadNode CREATE_IN_PROGRESS"),
    Progress("CREATE_COMPLETE", 3, 3, (), "HeadNode CREATE_COMPLETE"),
]
COMMAND = f"  aws ec2 delete-security-group --group-id {' '.join(['sg-0123456789abcdef0'] * 5)}"
PROSE = " ".join(["word"] * 30)


def read_chunk(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


@pytest.fixture
def terminal(monkeypatch):
    """Run a function with a terminal of 80 columns as its output. Return what it wrote."""

    def run(something, **environment):
        for name, value in {"COLUMNS": "80", "TERM": "xterm-256color", **environment}.items():
            monkeypatch.setenv(name, value)
        master, slave = pty.openpty()
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.extend(iter(lambda: read_chunk(master), b"")))
        reader.start()
        with os.fdopen(slave, "w") as output, monkeypatch.context() as context:
            context.setattr(sys, "stdout", output)
            something()
        reader.join(10)
        os.close(master)
        return b"".join(read).decode()

    return run


def yield_slowly(things, seconds=0.3):
    for each in things:
        yield each
        time.sleep(seconds)


def test_piped_progress_is_one_line_for_each_change(capsys):
    assert output.show_progress([CREATING[0], *CREATING]) == "CREATE_COMPLETE"
    assert capsys.readouterr().out.splitlines() == [
        "  0:00  CREATE_IN_PROGRESS  1 of 3 resources  Network CREATE_COMPLETE; now He...",
        "  0:00  CREATE_IN_PROGRESS  2 of 3 resources  HeadNode CREATE_IN_PROGRESS",
        "  0:00  CREATE_COMPLETE  3 of 3 resources  HeadNode CREATE_COMPLETE",
    ]


def test_terminal_progress_is_one_changing_line(terminal):
    written = terminal(lambda: output.show_progress(yield_slowly(CREATING)))
    assert re.search(r"0:00:0\d.*CREATE_IN_PROGRESS.*1/3.*Network CREATE_COMPLETE; n", written)
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", written)]
    assert max(map(len, shown)) <= 80
    assert re.fullmatch(
        r"  0:0\d  CREATE_COMPLETE  3 of 3 resources  HeadNode CREATE_COMPLETE",
        [line for line in shown if line][-1],
    )


def test_wait_without_parts_leaves_no_line(terminal):
    written = terminal(
        lambda: output.show_progress(yield_slowly([Progress("pending, to be running", now=("i-1",))]))
    )
    assert "pending, to be running" in written
    assert written.endswith(ERASED)


def test_quiet_shows_nothing(terminal, capsys):
    assert output.show_progress(CREATING, quiet=True) == "CREATE_COMPLETE"
    assert capsys.readouterr().out == ""
    assert terminal(lambda: output.show_progress(CREATING, quiet=True)) == ""


def test_colours_only_on_terminals_without_no_color(terminal, capsys):
    coloured = re.compile(r"\x1b\[[0-9;]*m")
    colours = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-9]|9[0-7])[;m]")
    assert colours.search(terminal(lambda: output.show_progress(yield_slowly(CREATING))))
    assert not colours.search(terminal(lambda: output.show_progress(yield_slowly(CREATING)), NO_COLOR="1"))
    output.show_progress(CREATING)
    assert not coloured.search(capsys.readouterr().out)


def test_slow_lines_come_with_a_clock(terminal, capsys):
    output.echo_lines(["one", "two"], "the job")
    assert capsys.readouterr().out == "one\ntwo\n"
    written = terminal(lambda: output.echo_lines(yield_slowly(["one", "two"]), "the job"))
    assert "the job" in written
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).count("two\r\n") == 1


def test_markup_in_names_is_printed_as_text(terminal):
    name = "[red]name[/red] [/"
    assert name in terminal(lambda: output.show_progress(yield_slowly([Progress("WAITING", now=(name,))])))


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_ascii_terminal_gives_no_traceback(encoding, monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    terminal = Terminal(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    output.show_progress(yield_slowly(CREATING))
    terminal.flush()


@pytest.mark.parametrize("columns", [60, 120])
def test_all_output_fits_the_width(columns, terminal):
    def show():
        message = {"level": "INFO", "type": "T", "message": PROSE}
        output.echo_lines(pcluster.list_findings(json.dumps({"validationMessages": [message]})))
        print(output.format_progress(Progress("WAITING", now=(PROSE,)), 0))
        print(cli.format_command(f"pcluster {' '.join(['--flag'] * 30)}"))

    lines = terminal(show, COLUMNS=str(columns)).splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(len(line) > columns - 12 for line in lines) >= 3  # one of each


@pytest.mark.parametrize("columns", [60, 120])
def test_prose_is_folded_at_the_width_of_the_terminal(columns, terminal):
    lines = terminal(lambda: output.echo(PROSE), COLUMNS=str(columns)).splitlines()
    assert columns - len(" word") < len(lines[0]) <= columns
    assert max(map(len, lines)) <= columns
    assert " ".join(line.strip() for line in lines) == PROSE


@pytest.mark.parametrize("command", [COMMAND, f"$ {COMMAND.strip()}"], ids=["indented", "dollar"])
def test_command_to_copy_stays_in_one_line(command, terminal):
    assert terminal(lambda: output.echo(command)) == f"{command}\r\n"
    with_clock = terminal(lambda: output.echo_lines(yield_slowly(["one", command]), "the job"))
    assert f"{command}\r\n" in with_clock


def test_piped_output_is_never_folded(capsys):
    output.echo(f"{PROSE}\n{COMMAND}")
    assert capsys.readouterr().out == f"{PROSE}\n{COMMAND}\n"


def test_long_command_is_folded_for_a_shell():
    shown = cli.format_command(
        "pcluster create-cluster --cluster-configuration config.yml --cluster-name pcluster-ubuntu --dryrun true 'a b'"
    )
    assert shown.splitlines() == [
        "$ pcluster create-cluster --cluster-configuration config.yml \\",
        "    --cluster-name pcluster-ubuntu --dryrun true 'a b'",
    ]
    assert cli.format_command("ssh x") == "$ ssh x"
