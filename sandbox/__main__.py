"""`python -m sandbox COMMAND...` runs a command in the emulated AWS, or a shell if none is given."""

import os
import subprocess
import sys

from sandbox.environment import emulated_aws

BANNER = """\
This shell uses an emulated AWS. Nothing here reaches a real account, costs money or boots.
All of it, the home folder included, is deleted when you leave. Type `exit` to leave."""


def main(command: list[str]) -> int:
    """Run a command in the emulated AWS.

    Args:
        command: the program and its arguments; if empty, the user's shell, with a banner.

    Returns:
        The command's exit status; 128 plus the signal's number if a signal ended it, as in a shell.

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
