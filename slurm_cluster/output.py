"""What a person sees while something takes long, and is asked before something is lost."""

import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TextIO

from slurm_cluster.errors import ClusterError

WIDTH = 80  # columns of a line


class Progress(NamedTuple):
    """How far something has come.

    Args:
        status: of the whole, as CREATE_IN_PROGRESS.
        done: how many of its parts have come to where they are to be.
        total: how many there are; 0 while that is not known.
        now: the parts that are under way, by name.
        last: the newest event, as `HeadNode CREATE_COMPLETE`.
    """

    status: str
    done: int = 0
    total: int = 0
    now: tuple[str, ...] = ()
    last: str = ""


def confirm(question: str, yes: bool, name: str = "") -> None:
    """Ask, unless --yes answered already.

    Args:
        question: what is about to happen.
        yes: whether --yes was given.
        name: what has to be typed where something would be lost for good; without it, y will do.

    Raises:
        ClusterError: the answer was another one, or nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ClusterError(f"{question} Nobody is here to ask: pass --yes.")
    try:
        answer = input(f"{question} Type {name} to go on: " if name else f"{question} [y/N] ").strip()
    except EOFError:
        answer = ""
    if answer != name if name else answer.lower() not in ("y", "yes"):
        raise ClusterError("Nothing was changed.")


def echo(text: str, to: TextIO | None = None) -> None:
    """Print something at once."""
    out = to or sys.stdout
    print(fold(text, out), file=out, flush=True)


def fold(text: str, to: TextIO) -> str:
    """Break lines between words for a terminal; through a pipe a line is a line, for whoever looks for it there.

    Args:
        text: one line or more.
        to: where it goes.
    """
    if not to.isatty():
        return text
    return "\n".join(part for each in text.split("\n") for part in fold_line(each))


def fold_line(line: str) -> list[str]:
    """Break a line of more than 80 columns between words; a path or an ARN stays whole."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def show_progress(progress: Iterable[Progress], quiet: bool = False) -> str:
    """Show how far something has come: on a terminal one line that changes, elsewhere a line for each change.

    Args:
        progress: what is told of it.
        quiet: show nothing.

    Returns:
        Its final status.
    """
    began, shown = time.monotonic(), Progress("")
    with live_progress(quiet) as update:
        for each in progress:
            if update:
                update(each)
            elif each != shown and not quiet:
                print(format_progress(each, time.monotonic() - began), flush=True)
            shown = each
    if update and shown.total:  # the line is gone now; elsewhere the last one stays
        print(format_progress(shown, time.monotonic() - began), flush=True)
    return shown.status


def format_progress(progress: Progress, seconds: float) -> str:
    """Say in a line of 80 columns how far something has come, after how many seconds."""
    minutes, seconds = divmod(int(seconds), 60)
    count = f"  {progress.done} of {progress.total} resources" if progress.total else ""
    return truncate(f"{minutes:3}:{seconds:02}  {progress.status}{count}  {format_events(progress)}".rstrip())


def format_events(progress: Progress) -> str:
    """Say what happened last, and what else is under way."""
    others = ", ".join(name for name in progress.now if not progress.last.startswith(f"{name} "))
    return "; ".join(filter(None, [progress.last, others and f"now {others}"]))


def truncate(text: str) -> str:
    """Cut what is longer than a line."""
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def is_dynamic() -> bool:
    """Say whether the output is a terminal that can go back in a line, and has the characters of a bar."""
    return (
        sys.stdout.isatty()
        and os.environ.get("TERM") != "dumb"
        and sys.stdout.encoding.lower().startswith("utf")
    )


@contextmanager
def live_progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Give what writes into the one line that changes, with a clock in it; None where there is no terminal, or with `quiet`."""
    if quiet or not is_dynamic():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    def text(field: str, column: Column | None = None) -> TextColumn:
        return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)

    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        SpinnerColumn("line"),
        TimeElapsedColumn(),
        text("status"),
        BarColumn(12),
        text("count"),
        text("told", rest),
    )
    with Bar(*columns, expand=True, transient=True, console=Console()) as bar:
        task = bar.add_task("", total=None, status="", count="", told="")

        def update(progress: Progress) -> None:
            count = f"{progress.done}/{progress.total}" if progress.total else ""
            fields: dict[str, Any] = {
                "status": progress.status,
                "count": count,
                "told": format_events(progress),
            }
            bar.update(task, completed=progress.done, total=progress.total or None, **fields)

        yield update


def echo_lines(lines: Iterable[str], waiting: str = "", quiet: bool = False) -> None:
    """Print lines as they come; on a terminal a clock runs between them.

    Args:
        lines: the lines, each of which may take long.
        waiting: what is waited for.
        quiet: no clock.
    """
    with live_progress(quiet or not waiting) as update:
        if update:
            update(Progress(waiting))
        for each in lines:
            echo(each)
