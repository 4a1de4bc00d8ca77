"""Measure the times of commands with hyperfine."""

import json
import shlex
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """A measured command.

    Attributes:
        line: the command.
        prepare: a command that runs before it each time, and is not measured.

    """

    line: str
    prepare: str = "true"


def format_script(script: str) -> str:
    """Return the command that runs a shell script and stops at its first error."""
    return shlex.join(["sh", "-ec", script])


def measure_medians(commands: list[Command], folder: Path, rounds: int, warm_up: int = 1) -> list[float]:
    """Run the commands in turn, several times.

    Args:
        commands: the commands; an error in one stops the measurement.
        folder: where they run.
        rounds: how often each is measured.
        warm_up: how often each runs before that.

    Returns:
        The median time of each command, in seconds.

    """
    times = [measure_round(commands, folder) for _ in range(warm_up + rounds)][warm_up:]
    return [statistics.median(seconds) for seconds in zip(*times, strict=True)]


def measure_round(commands: list[Command], folder: Path) -> list[float]:
    """Run each command once, and return the time of each in seconds."""
    arguments = [word for command in commands for word in ("--prepare", command.prepare, command.line)]
    with tempfile.NamedTemporaryFile(suffix=".json") as output:
        options = ["--shell=none", "--style=none", "--runs=1", f"--export-json={output.name}"]
        subprocess.run(["hyperfine", *options, *arguments], cwd=folder, check=True, stdin=subprocess.DEVNULL)
        results = json.loads(Path(output.name).read_text())["results"]
    return [result["median"] for result in results]
