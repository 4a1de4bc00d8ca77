"""A stand-in for ssh on PATH, which records its calls.

STAND_IN_ENDS is JSON: beginnings of commands, with the status and the output of each. Any other command
succeeds without output.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = f"""#!{sys.executable}
import json, os, sys
line, ends = sys.argv[-1], json.loads(os.environ.get("STAND_IN_ENDS", "{{}}"))
with open(os.environ["STAND_IN_LOG"], "a") as log:
    print(json.dumps([sys.argv[1:], sys.stdin.read()]), file=log)
status, output = next((end for start, end in ends.items() if line.startswith(start)), (0, ""))
print(output, file=sys.stderr if status == 255 else sys.stdout)
sys.exit(status)
"""


def install_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list]:
    """Put the stand-in on PATH.

    Returns:
        A function that returns the calls until now: the arguments and standard input of each.
    """
    log = folder / "log"
    (folder / "ssh").write_text(PROGRAM)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
