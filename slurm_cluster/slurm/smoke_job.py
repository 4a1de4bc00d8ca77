"""The proof, link by link, that a job runs through the REST API, and is accounted for."""

from __future__ import annotations

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
    """Run a real job through the REST API, and prove each link of the chain.

    Args:
        url: of slurmrestd, or of this end of a tunnel to it.
        key: the JWT key.
        user: whose job it is.
        directory: on the shared file system, writable for the user; the job leaves one small file in it, always the same.
        seconds: how long the job may take, with the boot of its node.
        pause: seconds between two looks.
        read_output: reads that file, by its path, on another machine; without it the job's own node is the only witness.

    Yields:
        A line for each link, as it is proven.

    Raises:
        ClusterError: names the first link that is broken, and what to do next.
    """
    if not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", directory):
        raise ClusterError(f"{directory!r} is not a folder of plain characters, as /shared.")
    slurm, line, file = SlurmClient(url, key, user), secrets.token_hex(16), f"{directory}/verify-{user}.txt"
    name = f"verify-{line[:8]}"
    yield from slurm.discover()
    yield slurm.prove_token()
    yield slurm.find_partition()
    job = slurm.submit(name, build_job_script(line, file))
    try:
        yield format_result("submit", f"job {job} is accepted")
        ended = yield from slurm.watch(job, seconds, pause)
    except BaseException:  # Ctrl-C too: a job that waits would have a node booted for nobody
        with suppress(ClusterError):
            slurm.ask("DELETE", f"/slurm/{slurm.version}/job/{job}")
        raise
    check_job(ended, job, user, file)
    yield check_output(line, file, pause, read_output)
    yield slurm.check_accounting(job, name, pause)


def build_job_script(line: str, file: str) -> str:
    """Give the job: it writes the line to the file, and reads it back."""
    return (
        f"#!/bin/sh\numask 022\nprintf '%s\\n' {line} >{file} || exit {CANNOT_WRITE}\n"
        f'[ "$(cat {file})" = {line} ] || exit {CANNOT_READ}\n'
    )


def check_job(ended: dict[str, Any], job: int, user: str, file: str) -> None:
    """Refuse a job that did not do its work.

    Raises:
        ClusterError: says what went wrong.
    """
    states, status = get_states(ended.get("job_state")), get_exit_status(ended.get("exit_code"))
    if "COMPLETED" in states and status == 0:
        return
    where = f"{ended.get('nodes') or 'no node'}"
    if status in (CANNOT_WRITE, CANNOT_READ):
        verb = "write" if status == CANNOT_WRITE else "read back"
        raise ClusterError(
            f"No output: job {job} cannot {verb} {file} on {where}: see its mount, and that it is {user}'s."
        )
    how = f"{' '.join(states)}, exit status {status}, {ended.get('state_reason')}"
    raise ClusterError(
        f"Job failed: job {job} ended on {where} ({how}): `invoke ssh`, then `scontrol show job {job}`."
    )


def check_output(line: str, file: str, pause: float, read_output: Callable[[str], str] | None) -> str:
    """Find the job's line in its file, from another machine where there is a way to.

    Raises:
        ClusterError: it is not there.
    """
    if read_output is None:
        return format_result(
            "output", f"{file}, read back by the job on its own node; no other machine was asked"
        )
    end, why = time.monotonic() + rest_client.LAG_SECONDS, "another text is in it"
    while True:
        try:
            if read_output(file).strip() == line:
                return format_result("output", f"{file}, read on another machine")
        except ClusterError as error:
            why = str(error).rstrip(".")
        if time.monotonic() > end:
            raise ClusterError(
                f"No output: {file} is not what the job wrote ({why}): see that it is one file system."
            )
        time.sleep(pause)
