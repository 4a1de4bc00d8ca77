"""What the tasks share: a step whose expected failures are sentences, its dry run, and the commands that it runs."""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context, Exit, Failure, Local, Result, Task

from slurm_cluster.config.settings import validate_environment, validate_settings_file
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress, echo, fold, live_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slurm_cluster.project import Project

ROOT = Path(__file__).parent.parent
gc.set_threshold(
    100_000
)  # AWS's descriptions of its services are a million small things to read, and none of them is garbage
atexit.register(
    gc.freeze
)  # nor when the task ends: Python would look at each once more, for a fifth of a second
try:  # here, because invoke reads the file itself as soon as the tasks are loaded
    validate_settings_file(ROOT / "invoke.yaml")
except ClusterError as refused:
    raise Exit(str(refused), code=1) from None


class Step(Task):  # type: ignore[type-arg]
    """A task whose expected failures are one sentence and status 1, never a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task."""
        try:
            validate_environment(os.environ)
            return super().__call__(*args, **kwargs)
        except KeyboardInterrupt:
            raise Exit(
                "Stopped. What was begun goes on in AWS; the same command takes it up again.", code=130
            ) from None
        except BrokenPipeError:  # the reader of a pipe left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=1) from None
        except Exit as told:
            raise Exit(told.message and fold(told.message, sys.stderr), code=told.code) from None
        except Failure:
            raise
        except Exception as error:
            if isinstance(error, ClusterError):
                raise Exit(fold(str(error), sys.stderr), code=1) from None
            from botocore.exceptions import BotoCoreError, ClientError

            from slurm_cluster.aws.clients import format_error

            if isinstance(error, (BotoCoreError, ClientError)):
                raise Exit(fold(format_error(error), sys.stderr), code=1) from None
            raise


class LongStep(Step):
    """A step that takes longer than a moment: it shows how far it is, unless the setting `quiet` or its flag --quiet is given."""

    def __init__(self, *args: Any, help: dict[str, str] | None = None, **kwargs: Any) -> None:  # noqa: A002 - invoke's name
        super().__init__(
            *args,
            help={**(help or {}), "quiet": "show no progress (default: quiet in invoke.yaml)"},
            **kwargs,
        )

    def argspec(self, body: Callable[..., Any]) -> inspect.Signature:
        """Give the arguments, among them --quiet."""
        signature = super().argspec(body)
        quiet = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False)
        return signature.replace(parameters=[*signature.parameters.values(), quiet])

    def __call__(self, c: Context, *args: Any, quiet: bool = False, **kwargs: Any) -> Any:
        """Run the task."""
        if quiet:
            c.config.quiet = True
        return super().__call__(c, *args, **kwargs)


class Interruptible(Local):
    """An outside command that Ctrl-C ends, and with it the task; invoke alone would go on as if the command had failed."""

    interrupted = False

    def send_interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Pass Ctrl-C on to the command."""
        self.interrupted = True
        super().send_interrupt(interrupt)

    def generate_result(self, **kwargs: Any) -> Result:
        """Give what came of the command, when it has ended."""
        if self.interrupted:
            raise KeyboardInterrupt
        return super().generate_result(**kwargs)


def get_project(c: Context) -> Project:
    """Give what the settings, the files of the current folder and the AWS account say; one for a task and all it calls."""
    from slurm_cluster.project import Project

    if "project" not in vars(c):
        c._set(project=Project(c.config))
    return c.project


def skip_for_dry_run(c: Context, what: str) -> bool:
    """With --dry, say what would be done, and that nothing is to be; every task that changes anything begins here."""
    if c.config.run.dry:
        echo(f"would {what}")
    return bool(c.config.run.dry)


def run_command(c: Context, p: Project, command: str, *, interactive: bool = False, **kwargs: Any) -> Any:
    """Run an outside command, shown before it runs, with this environment's programs first and the region told.

    Args:
        c: the task's context.
        p: for the region.
        command: as a person would type it.
        interactive: it is one that a person works in, to which Ctrl-C belongs.
        kwargs: those of invoke's run.

    Returns:
        Its result; None with --dry.
    """
    print(format_command(command), flush=True)
    c.config.runners.local = Local if interactive else Interruptible
    env = {"PATH": get_search_path(), "AWS_REGION": p.region, "AWS_DEFAULT_REGION": p.region}
    if c.config.run.dry:
        return None
    with live_progress(c.quiet or not kwargs.get("hide")) as update:
        if update:
            update(Progress(command.split()[0]))
        return c.run(command, env=env, echo=False, warn=True, **kwargs)


def format_command(command: str) -> str:
    """Give a command in lines of 80 columns, as a shell would take them."""
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        if parts and re.fullmatch(r"-\S+", parts[-1]) and not word.startswith("-"):
            parts[-1] += f" {word}"  # a flag keeps its value
        else:
            parts.append(word)
    lines = ["$"]
    for part in parts:
        if len(f"{lines[-1]} {part}") > 78:  # and the two characters that go on to the next line
            lines.append("   ")
        lines[-1] += f" {part}"
    return " \\\n".join(lines)


def echo_lines(lines: Iterable[str]) -> None:
    """Print lines as they come."""
    for line in lines:
        echo(line)


def get_search_path() -> str:
    """Give the PATH with this environment's programs first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def run_module(c: Context, *arguments: str) -> None:
    """Run a module of this repository in the current folder, and pass its status on."""
    command = shlex.join([sys.executable, "-m", *arguments])
    answer = c.run(
        command, env={"PYTHONPATH": str(ROOT), "PATH": get_search_path()}, warn=True, pty=sys.stdin.isatty()
    )
    if answer.failed:
        raise Exit(code=answer.exited)
