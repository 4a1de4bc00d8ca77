"""A smoke test: run a job through the REST API, and check each component from slurmrestd to accounting."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import rest_client
from slurm_cluster.slurm.rest_client import SlurmClient, format_result, get_exit_status, get_states

CANNOT_WRITE, CANNOT_READ = 73, 74  # exit statuses of the job


def run_smoke_job(
    url: str,
    key: str,
    user: str = "slurm",
    directory: str = "/shared",
    seconds: int = 900,
    pause: float = 2.0,
    read_output: Callable[[str], str] | None = None,
) -> Iterator[str]:
    """Run a small job through the REST API, and check each component that it passes.

    Args:
        url: the URL of slurmrestd, or of the local end of a tunnel.
        key: the JWT key.
        user: the user that the job runs as.
        directory: a directory on the shared file system that the user may write to. The job leaves one small
            file there, with the same name each time.
        seconds: the longest time that the job may take, including the boot of its node.
        pause: seconds between two requests.
        read_output: reads that file on another machine, by its path on the node. If None, only the job reads
            it.

    Yields:
        A line for each part that works.

    Raises:
        ClusterError: a check failed. The message says which one, and what to do next.
    """
    if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", directory):
        raise ClusterError(f"{directory!r} is not a plain absolute path. Use one like /shared.")
    client = SlurmClient(url, key, user)
    text, path = secrets.token_hex(16), f"{directory}/verify-{user}.txt"
    name = f"verify-{text[:8]}"
    yield from client.discover_version()
    yield client.check_token()
    yield client.check_partitions()
    job_id = client.submit_job(name, build_job_script(text, path))
    try:
        yield format_result("submit", f"job {job_id} is accepted")
        job = yield from client.watch_job(job_id, name, seconds, pause)
    except BaseException:  # also on Ctrl-C: a pending job would boot a node that nobody uses
        with suppress(ClusterError):
            client.cancel_job(job_id, name)
        raise
    check_job(job, job_id, user, path)
    yield check_output(text, path, pause, read_output)
    yield client.check_accounting(job_id, name, pause)


def build_job_script(text: str, path: str) -> str:
    """Return the script of the job, which writes the text to the file and reads it back."""
    return (
        f"#!/bin/sh\numask 022\nprintf '%s\\n' {text} >{path} || exit {CANNOT_WRITE}\n"
        f'[ "$(cat {path})" = {text} ] || exit {CANNOT_READ}\n'
    )


def check_job(job: dict[str, Any], job_id: int, user: str, path: str) -> None:
    """Check that an ended job succeeded.

    Raises:
        ClusterError: it did not.
    """
    states, exit_status = get_states(job.get("job_state")), get_exit_status(job)
    if "COMPLETED" in states and exit_status == 0:
        return
    nodes = job.get("nodes") or "no node"
    if exit_status in (CANNOT_WRITE, CANNOT_READ):
        verb = "write" if exit_status == CANNOT_WRITE else "read back"
        raise ClusterError(
            f"No output: job {job_id} cannot {verb} {path} on {nodes}. "
            f"Check that the file system is mounted there, and that user {user} may write to the directory."
        )
    reason = f"{' '.join(states)}, exit status {exit_status}, {job.get('state_reason')}"
    raise ClusterError(
        f"Job failed: job {job_id} ended on {nodes} ({reason}). "
        f"Log in with `invoke ssh` and run `scontrol show job {job_id}`."
    )


def check_output(text: str, path: str, pause: float, read_output: Callable[[str], str] | None) -> str:
    """Wait until another machine reads the job's text, and return a line that says so.

    Raises:
        ClusterError: it does not read it in time.
    """
    if read_output is None:
        return format_result("output", f"{path}, read only by the job on its own node")
    deadline, reason = time.monotonic() + rest_client.LAG_SECONDS, "it holds another text"
    while True:
        try:
            if read_output(path).strip() == text:
                return format_result("output", f"{path}, read on another machine")
        except ClusterError as error:
            reason = str(error).rstrip(".")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"No output: {path} is not what the job wrote ({reason}). "
                "Check that the compute nodes mount the same file system as the machine that reads the file."
            )
        time.sleep(pause)
