"""How far something has come that takes long."""

from typing import NamedTuple


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
