"""Polling: read a value again and again, with pauses."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Value = TypeVar("Value")


def poll(read: Callable[[], Value], pauses: Iterable[float]) -> Iterator[Value]:
    """Yield what `read` returns, once for each pause, until the caller leaves the loop.

    Args:
        read: reads the value.
        pauses: the seconds to wait after each value.
    """
    for seconds in pauses:
        yield read()
        time.sleep(seconds)
