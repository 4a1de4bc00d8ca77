"""The command line: task classes, external commands, and the one place that turns errors into `Exit`."""

import atexit
import gc
import inspect
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from invoke.context import Context
from invoke.exceptions import Exit, Failure
from invoke.main import program
from invoke.runners import Local, Result
from invoke.tasks import Task

from slurm_cluster.config.settings import (
    validate_environment,
    validate_runtime_file,
    validate_settings_file,
)
from slurm_cluster.errors import ClusterError, CommandError, format_error, is_from_boto3
from slurm_cluster.output import Progress, echo, fold, get_width, live_progress
from slurm_cluster.project import ROOT, Project

STOPPED = "Stopped. AWS continues. Run the same command again to keep watching."
DRY_RUN = "Dry run: nothing is changed. It does not read the account, and may list what exists already."

# boto3's service models are a million small objects that live until the process ends. These two lines keep
# the garbage collector from scanning them again and again, and for 0.2 s at exit.
gc.set_threshold(100_000)
atexit.register(gc.freeze)


def get_runtime_file() -> Path | None:
    """Return the settings file that invoke's flag -f or INVOKE_RUNTIME_CONFIG names, if any."""
    core = getattr(program, "core", None)  # None where the tasks are not loaded by invoke's command line
    name = (core and core[0].args.config.value) or os.environ.get("INVOKE_RUNTIME_CONFIG")
    return Path(name).expanduser() if name else None


try:  # at import, because invoke reads these files right after it, and would fail with a traceback
    validate_settings_file(ROOT / "invoke.yaml")
    if runtime_file := get_runtime_file():
        validate_runtime_file(runtime_file)
except ClusterError as error:
    raise Exit(str(error), code=1) from None


class Step(Task):  # type: ignore[type-arg]
    """A task that reports an expected failure as a message and an exit status, without a traceback.

    Args:
        args: invoke's own.
        next_step: the command to suggest after success. A task whose next step depends on its result returns
            the command instead.
        read_only: whether the task changes nothing. Such a task only warns if the files in the current folder
            are for another region or cluster; other tasks refuse.
        kwargs: invoke's own.
    """

    def __init__(self, *args: Any, next_step: str = "", read_only: bool = False, **kwargs: Any) -> None:
        self.next_step, self.read_only = next_step, read_only
        super().__init__(*args, **kwargs)

    def __call__(self, c: Context, *args: Any, **kwargs: Any) -> Any:
        """Run the task."""
        try:
            validate_environment(os.environ)
            c.config.step = {  # for get_project
                "task": self.name.replace("_", "-"),
                "read_only": self.read_only,
            }
            result = super().__call__(c, *args, **kwargs)
            next_step = result or self.next_step
            if next_step and not c.config.run.dry:
                echo(f"Next: {next_step}")
            return result
        except KeyboardInterrupt:
            raise Exit(fold(STOPPED, sys.stderr), code=130) from None
        except BrokenPipeError:  # the reader of the pipe has ended, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=1) from None
        except (Exit, Failure):
            raise
        except ClusterError as error:
            raise Exit(fold(str(error), sys.stderr), code=error.status) from None
        except Exception as error:
            if not is_from_boto3(error):
                raise
            raise Exit(fold(format_error(error), sys.stderr), code=1) from None


class LongStep(Step):
    """A task that shows progress, unless --quiet is passed or the setting `quiet` is true."""

    def __init__(self, *args: Any, help: dict[str, str] | None = None, **kwargs: Any) -> None:  # noqa: A002 - invoke's
        quiet = {"quiet": "show no progress (default: quiet in invoke.yaml)"}
        super().__init__(*args, **{**kwargs, "help": {**(help or {}), **quiet}})

    def argspec(self, body: Callable[..., Any]) -> inspect.Signature:
        """Return the task's signature, with --quiet added."""
        signature = super().argspec(body)
        quiet = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False)
        return signature.replace(parameters=[*signature.parameters.values(), quiet])

    def __call__(self, c: Context, *args: Any, quiet: bool = False, **kwargs: Any) -> Any:
        """Run the task."""
        if quiet:
            c.config.quiet = True
        return super().__call__(c, *args, **kwargs)


class InterruptibleCommand(Local):
    """An external command. Ctrl-C ends the command and the task.

    invoke's own runner would continue the task as if the command had failed.
    """

    interrupted = False

    def send_interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Pass Ctrl-C on to the command."""
        self.interrupted = True
        super().send_interrupt(interrupt)

    def generate_result(self, **kwargs: Any) -> Result:
        """Return the result of the command when it has ended.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        return super().generate_result(**kwargs)


def get_project(c: Context) -> Project:
    """Return the project of a task: its settings, the files in the current folder, and the AWS clients."""

    def run(command: str, **options: Any) -> Result:
        return run_command(c, command, project.region, **options)

    settings = cast("Mapping[str, Any]", c.config)
    project = Project(settings, run, bool(c.config.run.dry), **c.config.step)
    project.refuse_other_folder()
    if project.dry_run and not project.read_only:
        echo(DRY_RUN)
    return project


def run_command(
    c: Context, command: str, region: str, *, hide: bool = False, interactive: bool = False, **options: Any
) -> Result:
    """Print an external command, then run it with this environment's programs first on PATH.

    Args:
        c: the task's context.
        command: as a person would type it.
        region: the AWS region that the command gets in its environment.
        hide: whether to keep its output from the terminal.
        interactive: whether the user types into it; Ctrl-C then goes to the command alone.
        options: further options of invoke's `run`.

    Returns:
        The result; an empty one in a dry run.

    Raises:
        CommandError: the command asked a question that its watcher cannot answer, or timed out.
    """
    print(format_command(command), flush=True)
    if c.config.run.dry:
        return Result()
    c.config.runners.local = Local if interactive else InterruptibleCommand
    environment = {"PATH": get_search_path(), "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    with live_progress(c.config.quiet or not hide) as update:
        if update:
            update(Progress(command.split()[0]))
        try:
            result = c.run(command, env=environment, echo=False, warn=True, hide=hide, **options)
        except Failure as failure:
            reason = str(failure.reason or f"it took longer than {options.get('timeout')} s")
            raise CommandError(reason) from None
    return Result() if result is None else result  # not `or`: a failed result is false


def format_command(command: str) -> str:
    """Return a command, broken with backslashes at the terminal's width, that can be pasted into a shell."""
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        if parts and re.fullmatch(r"-\S+", parts[-1]) and not word.startswith("-"):
            parts[-1] += f" {word}"  # a flag stays beside its value
        else:
            parts.append(word)
    lines = ["$"]
    for part in parts:
        if len(f"{lines[-1]} {part} \\") > get_width():
            lines.append("   ")
        lines[-1] += f" {part}"
    return " \\\n".join(lines)


def get_search_path() -> str:
    """Return PATH with the folder of this Python's programs in front."""
    return f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}"  # noqa: PTH120 - not resolved


def run_module(c: Context, *arguments: str) -> None:
    """Run a module of this repository in the current folder, and pass its exit status on.

    Raises:
        Exit: with that status, if it is not 0.
    """
    command = shlex.join([sys.executable, "-m", *arguments])
    environment = {"PYTHONPATH": str(ROOT), "PATH": get_search_path()}
    result = c.run(command, env=environment, warn=True, pty=sys.stdin.isatty())
    if result is not None and result.failed:
        raise Exit(code=result.exited)
