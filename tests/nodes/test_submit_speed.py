"""How long Slurm takes to accept jobs: through the REST API, as UQLE submits them, compared with sbatch.

Needs an idle machine, so it runs only on request: tests/nodes/run -m speed
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.nodes.support.cluster import DEBIAN_SUITES

pytestmark = pytest.mark.speed

ROUNDS = 5
JOB = {
    "name": "held",
    "hold": True,
    "partition": "queue1",
    "current_working_directory": "/shared",
    "environment": ["PATH=/usr/local/bin:/usr/bin:/bin"],
}
# Submits $1 jobs at once, and prints their ids and the time in microseconds.
SBATCH_SCRIPT = """#!/bin/bash
    start=${EPOCHREALTIME/./}
    for ((i = 0; i < $1; i++)); do
      sbatch --parsable --hold --partition=queue1 --chdir=/shared --wrap=true &
    done
    wait
    echo $((${EPOCHREALTIME/./} - start))
"""


def submit_by_rest(rest_api, version, token, count):
    """Submit jobs at once. Return the seconds until the last one was accepted, and the job ids."""
    path = f"/slurm/{version}/job/submit"

    def submit(_):
        return rest_api.request("POST", path, token, script="#!/bin/sh\ntrue\n", job=JOB)

    start = time.monotonic()
    with ThreadPoolExecutor(count) as thread_pool:
        responses = thread_pool.map(submit, range(count))
        job_ids = [response.json()["job_id"] for response in responses]
    return time.monotonic() - start, job_ids


def submit_by_sbatch(head_node, count):
    """Do the same with sbatch on the head node, measured there: the connection to the node does not count."""
    head_node.write_file("/usr/local/bin/submit", SBATCH_SCRIPT, mode=0o755)
    path = "/opt/slurm/bin:/usr/bin:/bin"
    result = head_node.run("/usr/local/bin/submit", str(count), user="slurm", PATH=path)
    *job_ids, microseconds = result.stdout.split()
    return int(microseconds) / 1e6, job_ids


@pytest.mark.parametrize("cluster", DEBIAN_SUITES[-1:], indirect=True)
@pytest.mark.parametrize("count", [1, 10, 100])
def test_accept_jobs_submitted_at_once(cluster, record_property, count):
    version, token = cluster.rest_api.find_newest_version(), cluster.rest_api.sign_token()
    times = []
    for _ in range(ROUNDS):
        rest_seconds, rest_ids = submit_by_rest(cluster.rest_api, version, token, count)
        sbatch_seconds, sbatch_ids = submit_by_sbatch(cluster.head_node, count)
        assert len({*map(str, rest_ids), *sbatch_ids}) == 2 * count
        times.append((rest_seconds, sbatch_seconds))
        cluster.head_node.run_slurm_command("scancel", "--user=slurm")
    rest, sbatch = (statistics.median(column) for column in zip(*times, strict=True))
    label = f"{count} at once"
    summary = f"{label:13} REST {rest:7.3f} s, sbatch {sbatch:7.3f} s, ratio {rest / sbatch:.2f}"
    record_property("speed", summary)
