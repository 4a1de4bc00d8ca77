"""What the user sees: lines, questions, and the progress of long work."""

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TextIO

from slurm_cluster.errors import ClusterError

PIPE_WIDTH = 80  # columns
COMMAND = re.compile(r"\$ | +(aws|chevron|curl|invoke|pcluster|scp|ssh) ")  # how a command to copy begins


class Progress(NamedTuple):
    """The progress of an operation.

    Args:
        status: the overall status, such as CREATE_IN_PROGRESS.
        done: the number of parts that are complete.
        total: the number of all parts; 0 if it is not known.
        now: the names of the parts in progress.
        last: the newest event, such as `HeadNode CREATE_COMPLETE`.
    """

    status: str
    done: int = 0
    total: int = 0
    now: tuple[str, ...] = ()
    last: str = ""


def echo(text: str, to: TextIO | None = None) -> None:
    """Print text, folded at the terminal's width, and flush."""
    stream = to or sys.stdout
    print(fold(text, stream), file=stream, flush=True)


def get_width() -> int:
    """Return the width of the terminal, or of a line in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH


def fold(text: str, to: TextIO) -> str:
    """Fold long lines at the terminal's width; leave piped output and commands to copy as they are."""
    if not to.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(part for line in text.split("\n") for part in fold_line(line, width))


def fold_line(line: str, width: int) -> list[str]:
    """Fold a line between words; a path or an ARN stays whole."""
    if len(line) <= width or COMMAND.match(line):
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def echo_lines(lines: Iterable[str], waiting_for: str = "", quiet: bool = False) -> None:
    """Print lines as they come; on a terminal, show a clock between them.

    Args:
        lines: the lines; each of them may take long.
        waiting_for: what the clock waits for; empty for no clock.
        quiet: no clock.
    """
    with live_progress(quiet or not waiting_for) as update:
        if update:
            update(Progress(waiting_for))
        for line in lines:
            echo(line)


def confirm(question: str, yes: bool, name: str = "") -> None:
    """Ask the user to confirm, unless --yes was passed.

    Args:
        question: what is about to happen.
        yes: whether --yes was passed.
        name: the word to type before data is deleted; without it, y suffices.

    Raises:
        ClusterError: the user did not confirm, or there is no terminal to ask in.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ClusterError(f"{question} There is no terminal to ask in: pass --yes.")
    try:
        answer = input(f"{question} Type {name} to continue: " if name else f"{question} [y/N] ").strip()
    except EOFError:
        answer = ""
    is_confirmed = answer == name if name else answer.lower() in ("y", "yes")
    if not is_confirmed:
        raise ClusterError("Nothing was changed.")


# --- Progress -----------------------------------------------------------------------------------------------


def show_progress(updates: Iterable[Progress], quiet: bool = False) -> str:
    """Show progress: on a terminal in one line that changes, otherwise in a line for each change.

    Args:
        updates: the progress at each poll.
        quiet: show nothing.

    Returns:
        The final status.
    """
    start, last = time.monotonic(), Progress("")
    with live_progress(quiet) as update:
        for progress in updates:
            if update:
                update(progress)
            elif progress != last and not quiet:
                print(format_progress(progress, time.monotonic() - start), flush=True)
            last = progress
    if update and last.total:  # the changing line has been removed
        print(format_progress(last, time.monotonic() - start), flush=True)
    return last.status


def format_progress(progress: Progress, seconds: float) -> str:
    """Return the progress and the elapsed time as one line, cut at the terminal's width."""
    minutes, seconds = divmod(int(seconds), 60)
    count = f"  {progress.done} of {progress.total} resources" if progress.total else ""
    line = f"{minutes:3}:{seconds:02}  {progress.status}{count}  {format_events(progress)}".rstrip()
    width = get_width()
    return line if len(line) <= width else f"{line[: width - 3]}..."


def format_events(progress: Progress) -> str:
    """Return the newest event and the other parts in progress."""
    others = ", ".join(name for name in progress.now if not progress.last.startswith(f"{name} "))
    return "; ".join(filter(None, [progress.last, others and f"now {others}"]))


def has_live_terminal() -> bool:
    """Return whether stdout is a terminal that can redraw a line and show a progress bar."""
    is_utf = sys.stdout.encoding.lower().startswith("utf")
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and is_utf


@contextmanager
def live_progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show one line with a spinner, a clock and a bar, which the caller updates.

    Yields:
        The function that updates the line; None without a terminal, or if quiet.
    """
    if quiet or not has_live_terminal():
        yield None
        return
    from rich import progress as bars  # slow to import
    from rich.console import Console
    from rich.table import Column

    def show_field(name: str, column: Column | None = None) -> bars.TextColumn:
        return bars.TextColumn(f"{{task.fields[{name}]}}", markup=False, table_column=column)

    columns = [
        bars.SpinnerColumn("line"),
        bars.TimeElapsedColumn(),
        show_field("status"),
        bars.BarColumn(12),
        show_field("count"),
        show_field("events", Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    ]
    # rich prints all other output through this console too, which must not fold a command to copy.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    with bars.Progress(*columns, expand=True, transient=True, console=console) as bar:
        task = bar.add_task("", total=None, status="", count="", events="")

        def update(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.done,
                total=progress.total or None,
                status=progress.status,
                count=f"{progress.done}/{progress.total}" if progress.total else "",
                events=format_events(progress),
            )

        yield update
