"""Run tasks in the process of the test, so that the test can patch functions."""

import contextlib
import io

from invoke import Context, Exit
from invoke.config import Config
from invoke.loader import FilesystemLoader

from tests.support import ROOT

TASKS, _ = FilesystemLoader(start=str(ROOT)).load("tasks")


def run_task(task: str, *arguments: object, **settings: object) -> tuple[str, str]:
    """Run a task in this process.

    Args:
        task: the name of its function in tasks.py.
        arguments: of this function.
        settings: changes to invoke.yaml.

    Returns:
        Its output, and the message with which it failed; empty if it succeeded.
    """
    config = Config(project_location=str(ROOT), overrides=settings)
    config.load_project()
    config.load_shell_env()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            getattr(TASKS, task)(Context(config), *arguments)
    except Exit as error:
        return printed.getvalue(), str(error)
    return printed.getvalue(), ""
