"""The times of commands, as hyperfine takes them."""

import json
import shlex
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """A command whose time is taken.

    Args:
        line: the command.
        prepare: a command that is run before it each time, and not counted.

    """

    line: str
    prepare: str = "true"


def shell(script: str) -> str:
    """Give the command that runs a script of the shell and ends at its first failure."""
    return shlex.join(["sh", "-ec", script])


def medians(commands: list[Command], folder: Path, rounds: int, warm_up: int = 1) -> list[float]:
    """Run the commands in turn, round for round.

    Args:
        commands: what is run; a failure ends it all.
        folder: where.
        rounds: how many count.
        warm_up: how many are run before, and do not count.

    Returns:
        The median of the seconds that each took.

    """
    taken = [one_round(commands, folder) for _ in range(warm_up + rounds)][warm_up:]
    return [statistics.median(seconds) for seconds in zip(*taken, strict=True)]


def one_round(commands: list[Command], folder: Path) -> list[float]:
    """Run each command once, and give the seconds that each took."""
    turns = [word for command in commands for word in ("--prepare", command.prepare, command.line)]
    with tempfile.NamedTemporaryFile(suffix=".json") as told:
        how = ["--shell=none", "--style=none", "--runs=1", f"--export-json={told.name}"]
        subprocess.run(["hyperfine", *how, *turns], cwd=folder, check=True, stdin=subprocess.DEVNULL)
        results = json.loads(Path(told.name).read_text())["results"]
    return [result["median"] for result in results]
