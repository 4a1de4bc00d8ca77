"""Run tasks in the process of the test, where it may patch what they use."""

import contextlib
import io

from invoke import Context, Exit
from invoke.config import Config
from invoke.loader import FilesystemLoader

from tests.support import ROOT

TASKS, _ = FilesystemLoader(start=str(ROOT)).load("tasks")


def run_task(task: str, *arguments: object, **changed: object) -> tuple[str, str]:
    """Run a task in this process.

    Returns:
        What it printed, and the sentence that it ended with, or nothing.
    """
    config = Config(project_location=str(ROOT), overrides=changed)
    config.load_project()
    config.load_shell_env()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            getattr(TASKS, task)(Context(config), *arguments)
    except Exit as refused:
        return printed.getvalue(), str(refused)
    return printed.getvalue(), ""
