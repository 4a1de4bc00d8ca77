"""Run tasks, each in a separate process, in a tenth of the usual time.

This module is also the program that forks these processes. It loads all modules once, reads from standard
input which tasks to run, and writes their process ids and statuses to standard output.
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
    """A task's status, which is negative if a signal ended it, and its output."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def printed(self) -> str:
        """Standard output and standard error."""
        return self.stdout + self.stderr


class TaskRunner:
    """Runs tasks one after another. It can kill the running one."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # in which tasks run; None: the current folder
        self.outputs = tempfile.TemporaryDirectory(prefix="task-runner-")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.support.task_runner"]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.is_running = threading.Event()

    def __call__(self, *arguments: str, **environment: str) -> TaskResult:
        """Run `invoke` with these arguments, and with variables besides those of this process."""
        outputs = [Path(self.outputs.name) / name for name in ("stdout", "stderr")]
        request = {
            "arguments": arguments,
            "environment": {**os.environ, **environment},
            "folder": str(self.folder or Path.cwd()),
            "outputs": list(map(str, outputs)),
        }
        self.process.stdin.write(f"{json.dumps(request)}\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        self.is_running.set()
        status = int(self.process.stdout.readline())
        self.is_running.clear()
        result = TaskResult(status, *[output.read_text() for output in outputs])
        assert "Traceback" not in result.printed, result.printed
        return result

    def kill(self) -> None:
        """Kill the task and the processes that it started."""
        self.is_running.wait()
        os.killpg(self.pid, 9)

    def close(self) -> None:
        """End the program that forks tasks."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.outputs.cleanup()


def get_output(result: subprocess.CompletedProcess[str] | TaskResult, status: int = 0) -> str:
    """Check that a task ended with this status and without a traceback. Return its output."""
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return result.stdout + result.stderr


def load_modules() -> None:
    """Import what tasks import, and let botocore read its files once."""
    import boto3
    import botocore.retries.standard
    from botocore.loaders import JSONFileLoader

    import slurm_cluster.cli  # noqa: F401

    JSONFileLoader.load_file = functools.cache(JSONFileLoader.load_file)
    JSONFileLoader.__hash__ = lambda _: 0  # all loaders read the same files
    JSONFileLoader.__eq__ = lambda *_: True
    botocore.retries.standard.ExponentialBackoff.delay_amount = lambda *_: 0  # seconds
    for service in SERVICES:
        boto3.Session().client(service, region_name="eu-west-2")


def run_request(request: dict) -> None:
    """Run a task in this process, and exit."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(request["outputs"], 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    from invoke.main import program

    status = 70
    try:
        program.run(["invoke", "--search-root", str(ROOT), *request["arguments"]])
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Fork a process for each requested task."""
    load_modules()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            run_request(json.loads(line))
        print(pid, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, flush=True)


if __name__ == "__main__":
    main()
