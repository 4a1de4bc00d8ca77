"""Stand-ins for ssh on PATH: one records its calls, the other forwards a port on this machine.

For the first, STAND_IN_ENDS is JSON: the beginnings of commands, with the status and the output of each. All other
commands succeed without output.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TUNNEL = """import os, re, socket, subprocess, sys, threading, time
arguments = sys.argv[1:]

def forward(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

open("ssh.arguments", "w").write("\\n".join(arguments))
open("ssh.pid", "w").write(str(os.getpid()))
print("Warning: Permanently added '203.0.113.7' (ED25519) to the list of known hosts.", file=sys.stderr)
refusal = os.environ.get("STAND_IN_REFUSES")
if refusal:
    sys.exit(print(refusal, file=sys.stderr) or 255)
if "-L" not in arguments:
    sys.exit(subprocess.run(["sh", "-c", arguments[-1]]).returncode)
host, port = arguments[arguments.index("-L") + 1].split(":")[:2]
listening = socket.create_server((host, int(port)))
[command] = [each.partition("=")[2] for each in arguments if each.startswith("LocalCommand=")]
subprocess.run(["sh", "-c", command], check=True)
while True:
    here, _ = listening.accept()
    said = os.environ.get("STAND_IN_FAILS_TO_CONNECT")
    if said:
        print(f"channel 2: open failed: {said}", file=sys.stderr, flush=True)
        here.close()
    elif os.environ.get("STAND_IN_TARGET"):
        there = socket.create_connection(("127.0.0.1", int(os.environ["STAND_IN_TARGET"])))
        for source, target in (here, there), (there, here):
            threading.Thread(target=forward, args=(source, target), daemon=True).start()
    else:
        time.sleep(600)
"""
PROGRAM = f"""#!{sys.executable}
import json, os, sys
line, ends = sys.argv[-1], json.loads(os.environ.get("STAND_IN_ENDS", "{{}}"))
with open(os.environ["STAND_IN_LOG"], "a") as log:
    print(json.dumps([sys.argv[1:], sys.stdin.read()]), file=log)
status, output = next((end for start, end in ends.items() if line.startswith(start)), (0, ""))
print(output, file=sys.stderr if status == 255 else sys.stdout)
sys.exit(status)
"""

TUNNEL_PROGRAM = f"""#!{sys.executable}
{TUNNEL}"""


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


def install_tunnel_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in that opens tunnels on PATH. Their far end is port STAND_IN_TARGET of this machine."""
    folder.mkdir()
    (folder / "ssh").write_text(TUNNEL_PROGRAM)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
