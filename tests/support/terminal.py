"""A program in a terminal of 80 columns, as a person has it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

# makes the terminal the one from which Ctrl-C comes, then becomes the program
OWN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
CTRL_C = "\x03"


class Terminal:
    """A program in a terminal.

    Args:
        command: the program and its arguments.
        environment: variables besides those of this process.
    """

    def __init__(self, command, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {
            "TERM": "xterm-256color"
        }
        how = {
            "stdin": slave,
            "stdout": slave,
            "stderr": slave,
            "start_new_session": True,
            "env": env | environment,
        }
        self.process = subprocess.Popen([sys.executable, "-c", OWN, *command], **how)
        os.close(slave)
        self.written = ""

    def wait_for(self, pattern, seconds=120):
        """Read until something has been written."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.written, re.DOTALL):
            assert time.monotonic() < end, f"no {pattern!r} in {self.written!r}"
            assert self.read() or re.search(pattern, self.written, re.DOTALL), (
                f"ended without {pattern!r}: {self.written!r}"
            )

    def read(self):
        """Read what has been written meanwhile; nothing any more is False."""
        if not select.select([self.master], [], [], 1)[0]:
            return True
        try:
            text = os.read(self.master, 1 << 16).decode(errors="replace")
        except OSError:  # the program has ended
            return False
        self.written += text
        return bool(text)

    def type(self, keys):
        """Press keys."""
        os.write(self.master, keys.encode())

    def end(self):
        """Read until the program ends, and give its status."""
        while self.read():
            pass
        os.close(self.master)
        return self.process.wait(60)

    @property
    def lines(self):
        """The lines as they stand on the screen in the end, and all that stood in their places before."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written)
        return re.split(r"\r\n|\r|\n", plain)
