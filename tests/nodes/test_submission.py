"""How long jobs take to be accepted: by Slurm's REST API, as UQLE submits them, beside sbatch on the head node.

Wants the machine for itself; so it is left out unless asked for: tests/nodes/run -m speed
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.nodes.cluster import SUITES

pytestmark = pytest.mark.speed

ROUNDS = 5
JOB = {
    "name": "held",
    "hold": True,
    "partition": "queue1",
    "current_working_directory": "/shared",
    "environment": ["PATH=/usr/local/bin:/usr/bin:/bin"],
}
SBATCH = """#!/bin/bash
    began=${EPOCHREALTIME/./}
    for ((i = 0; i < $1; i++)); do sbatch --parsable --hold --partition=queue1 --chdir=/shared --wrap=true & done
    wait
    echo $((${EPOCHREALTIME/./} - began))
"""


def by_rest(rest, version, token, count):
    """Submit so many jobs at once, and give the seconds until the last one was accepted, and their ids."""
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        submit = f"/slurm/{version}/job/submit"
        answers = pool.map(
            lambda _: rest.call("POST", submit, token, script="#!/bin/sh\ntrue\n", job=JOB), range(count)
        )
        ids = [answer.json()["job_id"] for answer in answers]
    return time.monotonic() - began, ids


def by_sbatch(head, count):
    """Do the same on the head node, whose own clock is read: the way to it does not count."""
    head.write("/usr/local/bin/submit", SBATCH, mode=0o755)
    said = head.run(
        "/usr/local/bin/submit", str(count), user="slurm", PATH="/opt/slurm/bin:/usr/bin:/bin"
    ).stdout.split()
    return int(said[-1]) / 1e6, said[:-1]


@pytest.mark.parametrize("cluster", SUITES[-1:], indirect=True)
@pytest.mark.parametrize("count", [1, 10, 100])
def test_jobs_that_come_at_once_are_all_accepted(cluster, record_property, count):
    version, token, pairs = cluster.rest.version(), cluster.rest.token(), []
    for _ in range(ROUNDS):
        (through_rest, rest_ids), (through_sbatch, sbatch_ids) = (
            by_rest(cluster.rest, version, token, count),
            by_sbatch(cluster.head, count),
        )
        assert len({*map(str, rest_ids), *sbatch_ids}) == 2 * count
        pairs.append((through_rest, through_sbatch))
        cluster.head.slurm("scancel", "--user=slurm")
    rest, sbatch = (statistics.median(times) for times in zip(*pairs, strict=True))
    record_property(
        "speed",
        f"{f'{count} at once':13} REST {rest:7.3f} s, sbatch {sbatch:7.3f} s, ratio {rest / sbatch:.2f}",
    )
