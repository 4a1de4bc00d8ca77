"""`python -m sandbox COMMAND...` runs a command in the emulated AWS; without one, a shell. Its status is passed on."""

import os
import subprocess
import sys

from sandbox.environment import emulated_aws

BANNER = """\
This shell is in the emulated AWS: nothing here reaches a real account, costs money or boots.
What it holds is gone when you leave, and so is its home folder. Leave it with `exit`."""


def main(command: list[str]) -> int:
    """Run a command in the emulated AWS.

    Args:
        command: the program and its arguments; when empty, the person's shell, with a banner.

    Returns:
        The status of the command; 128 and the signal's number where a signal ended it, as shells have it.

    """
    with emulated_aws():
        if not command:
            print(BANNER, file=sys.stderr, flush=True)
        try:
            status = subprocess.run(command or [os.environ.get("SHELL", "/bin/sh")]).returncode
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            return 127
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
