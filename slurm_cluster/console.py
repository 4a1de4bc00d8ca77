"""What a person sees while something takes long, and is asked before something is lost."""

import sys
import time
from collections.abc import Iterable

from slurm_cluster.errors import ClusterError
from slurm_cluster.stack import Progress


def confirm(question: str, yes: bool) -> None:
    """Ask, unless --yes answered already.

    Raises:
        ClusterError: the answer was no, or nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ClusterError(f"{question} Nobody is here to ask: pass --yes.")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ClusterError("Nothing was changed.")


def show(progress: Iterable[Progress]) -> str:
    """Print how far a stack has come, a line for each change.

    Returns:
        Its final status.
    """
    began, shown = time.monotonic(), Progress("", 0, 0, "")
    for each in progress:
        if each != shown:
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            print(f"{minutes:3}:{seconds:02}  {each.status}  {each.done} of {each.total} resources  {each.last}", flush=True)
        shown = each
    return shown.status
