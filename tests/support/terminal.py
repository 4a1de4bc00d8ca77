"""A program in a terminal of 80 columns."""

import io
import os
import re

import pexpect

CTRL_C = "\x03"


class Terminal:
    """A program in a terminal.

    Args:
        command: the program and its arguments.
        environment: variables besides those of this process.
    """

    def __init__(self, command: list[str], **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = pexpect.spawn(
            command[0],
            command[1:],
            env={**inherited, "TERM": "xterm-256color", **environment},
            dimensions=(24, 80),
            encoding="utf-8",
            codec_errors="replace",
            timeout=120,
        )
        self.process.logfile_read = io.StringIO()

    @property
    def written(self) -> str:
        """Everything that has been read until now."""
        return self.process.logfile_read.getvalue()

    def wait_for(self, pattern: str) -> None:
        """Read until the program writes something that matches."""
        self.process.expect(pattern)

    def type(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys)

    def end(self) -> int | None:
        """Read until the program ends, and return its status."""
        self.process.expect(pexpect.EOF, timeout=300)
        return self.process.wait()

    @property
    def lines(self) -> list[str]:
        """All lines that were on the screen, including the overwritten ones."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written)
        return re.split(r"\r\n|\r|\n", plain)
