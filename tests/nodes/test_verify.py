"""The smoke job of `invoke verify` on real Slurm: it succeeds, and it names each step that fails."""

import time
from contextlib import contextmanager

import pytest

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import rest_client
from slurm_cluster.slurm.smoke_job import run_smoke_job
from tests.nodes.support.cluster import DEBIAN_SUITES
from tests.nodes.support.machine import NETWORK_PREFIX, wait_until

OTHER_KEY = "another-key-another-key-another-key-another"


@pytest.fixture
def run_verify(cluster):
    """Run `verify` from the tests' network. It reads the job's output from the shared disk."""

    def read_output(path):
        return cluster.head_node.get_path(path).read_text()

    def run(**options):
        defaults = {"url": cluster.rest_api.url, "key": cluster.rest_api.key, "pause": 0.2}
        return list(run_smoke_job(**defaults | options, read_output=read_output))

    return run


@pytest.fixture
def get_error(run_verify):
    """Run `verify`, which must fail, and return its error message."""

    def run(**options):
        with pytest.raises(ClusterError) as caught:
            run_verify(**options)
        return str(caught.value)

    return run


@contextmanager
def run_around(node, before, after):
    """Run one shell command on the node before the block, and another after it."""
    node.nsenter("bash", "-c", before)
    try:
        yield
    finally:
        node.nsenter("bash", "-c", after)


def stop_service(node, name):
    return run_around(node, f"systemctl stop {name}", f"systemctl start {name}")


def test_verify_all_steps(cluster, run_verify):
    lines = run_verify()
    steps = [line.split()[0] for line in lines if not line.startswith("job")]
    assert steps == ["route", "slurmrestd", "token", "partition", "submit", "output", "accounting"], lines
    assert cluster.compute_node.name in " ".join(lines)
    assert "COMPLETED, exit status 0" in lines[-1]


def test_report_missing_route(get_error):
    assert get_error(url=f"http://{NETWORK_PREFIX}.99:8082").startswith("No route: ")


def test_report_stopped_slurmrestd(cluster, get_error):
    with stop_service(cluster.head_node, "slurmrestd"):
        assert get_error().startswith("Port closed: ")


# slurmrestd retries for a minute, so one version is enough.
@pytest.mark.parametrize("cluster", DEBIAN_SUITES[:1], indirect=True)
def test_report_stopped_slurmctld(cluster, get_error):
    with stop_service(cluster.head_node, "slurmctld"):
        assert get_error().startswith("slurmctld is down: ")


def test_report_wrong_key(get_error):
    message = "Token refused: the JWT key is not the head node's key"
    assert get_error(key=OTHER_KEY).startswith(message)


def test_report_slow_clock(get_error, monkeypatch):
    now = time.time
    monkeypatch.setattr(rest_client.time, "time", lambda: now() - 3600)
    message = "Token refused: the clock here is 3600 s behind the head node's"
    assert get_error().startswith(message)


def test_report_unknown_user(get_error):
    assert "no-such-user" in get_error(user="no-such-user")


def test_report_partition_that_is_down(cluster, get_error):
    update = "/opt/slurm/bin/scontrol update partitionname=queue1 state="
    with run_around(cluster.head_node, f"{update}DOWN", f"{update}UP"):
        message = "No partition: no partition of Slurm is up (queue1 is DOWN)"
        assert get_error().startswith(message)


def test_report_unwritable_output(cluster, get_error):
    error = get_error(directory="/nowhere")
    assert f"cannot write /nowhere/verify-slurm.txt on {cluster.compute_node.name}" in error


def test_report_and_cancel_job_that_does_not_start(cluster, get_error):
    update = f"/opt/slurm/bin/scontrol update nodename={cluster.compute_node.name} state="
    squeue = "squeue", "--noheader"
    with run_around(cluster.head_node, f"{update}DRAIN reason=test", f"{update}RESUME"):
        assert get_error(seconds=1).startswith("Job does not end: ")
        wait_until(lambda: cluster.head_node.run_slurm_command(*squeue) == "", 10, "the job is cancelled")


def test_report_stopped_accounting(cluster, get_error, monkeypatch):
    monkeypatch.setattr(rest_client, "LAG_SECONDS", 2)
    with stop_service(cluster.head_node, "slurmdbd"):
        assert get_error().startswith("No accounting: ")


# One version is enough, because both number their jobs in the same way.
@pytest.mark.parametrize("cluster", DEBIAN_SUITES[:1], indirect=True)
def test_report_job_that_slurmctld_forgot(cluster):
    """slurmctld crashed before it saved its state. Another job then has the same id, and continues."""
    node, state = cluster.head_node, "/var/spool/slurm.state"
    # An orderly stop saves the state, with the jobs of the tests before.
    node.nsenter(
        "bash", "-c", f"systemctl stop slurmctld && cp -a {state} /root && systemctl start slurmctld"
    )
    lines = run_smoke_job(cluster.rest_api.url, cluster.rest_api.key, pause=0.2)
    number = next(line for line in lines if line.startswith("submit")).split()[2]
    restore = f"rm -r {state}/* && cp -a /root/slurm.state/* {state}/"
    node.nsenter("bash", "-c", f"systemctl stop slurmctld && {restore} && systemctl start slurmctld")
    sbatch = "/opt/slurm/bin/sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true"
    assert node.run(*sbatch, user="slurm").stdout.strip() == number
    with pytest.raises(ClusterError, match=f"^Job lost: slurmctld accepted job {number}, verify-"):
        list(lines)
    assert node.run_slurm_command("squeue", "--noheader", "--format=%i %T") == f"{number} PENDING"
    node.run_slurm_command("scancel", number)


def test_verify_again_after_failures(run_verify):
    """Runs last in this file: the tests before it repaired what they broke."""
    assert "COMPLETED, exit status 0" in run_verify()[-1]
