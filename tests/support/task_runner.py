"""Runs tasks, each in a process of its own; they are forked from one that has loaded everything, which takes a tenth of the time.

As a program it is that one: it reads what to run from its standard input, and tells of it on its standard output.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from tests.support import ROOT

SERVICES = ("cloudformation", "ec2", "iam", "logs", "s3", "secretsmanager", "ssm", "sts")


class TaskResult(NamedTuple):
    """What came of a task: its status, negative when a signal ended it, and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def printed(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr


class TaskRunner:
    """The end of the test: tells the process what to run, and may kill it while it runs."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # where tasks are run; None: in the current folder
        self.outputs = tempfile.TemporaryDirectory(prefix="task-runner-")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.support.task_runner"]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.begun = threading.Event()

    def __call__(self, *arguments: str, **environment: str) -> TaskResult:
        """Run `invoke` with these arguments."""
        outputs = [Path(self.outputs.name) / name for name in ("stdout", "stderr")]
        asked = {
            "arguments": arguments,
            "environment": {**os.environ, **environment},
            "folder": str(self.folder or Path.cwd()),
            "outputs": list(map(str, outputs)),
        }
        self.process.stdin.write(f"{json.dumps(asked)}\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        self.begun.set()
        status = int(self.process.stdout.readline())
        self.begun.clear()
        walked = TaskResult(status, *[output.read_text() for output in outputs])
        assert "Traceback" not in walked.printed, walked.printed
        return walked

    def kill(self) -> None:
        """Kill -9 the task, and what it started."""
        self.begun.wait()
        os.killpg(self.pid, 9)

    def close(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.outputs.cleanup()


def get_output(result: subprocess.CompletedProcess[str] | TaskResult, status: int = 0) -> str:
    """Return what a task printed, which ended with this status and without a traceback."""
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return result.stdout + result.stderr


def load() -> None:
    """Load all that tasks load, and let botocore read its files once."""
    import boto3
    import botocore.retries.standard
    from botocore.loaders import JSONFileLoader

    import slurm_cluster.cli  # noqa: F401

    JSONFileLoader.load_file = functools.cache(JSONFileLoader.load_file)
    JSONFileLoader.__hash__ = lambda _: 0  # all of them read the same files
    JSONFileLoader.__eq__ = lambda *_: True
    botocore.retries.standard.ExponentialBackoff.delay_amount = lambda *_: 0  # nothing takes time
    for service in SERVICES:
        boto3.Session().client(service, region_name="eu-west-2")


def run(asked: dict) -> None:
    """Be the task, from here to the end."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(asked["outputs"], 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    from invoke.main import program

    status = 70
    try:
        program.run(["invoke", "--search-root", str(ROOT), *asked["arguments"]])
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Run one task after the other."""
    load()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            run(json.loads(line))
        print(pid, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, flush=True)


if __name__ == "__main__":
    main()
