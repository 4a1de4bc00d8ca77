"""`verify` against real Slurm: the chain as it holds, and each link of it broken for real."""

import time
from contextlib import contextmanager

import pytest

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import rest_client
from slurm_cluster.slurm.smoke_job import run_smoke_job
from tests.nodes.cluster import SUITES
from tests.nodes.machine import NETWORK, wait_for

ANOTHER_KEY = "another-key-another-key-another-key-another"


@pytest.fixture
def prove(cluster):
    """Run the chain from the tests' own machine, which reads the output from the shared disk."""

    def run(**options):
        given = {"url": cluster.rest.url, "key": cluster.rest.key, "pause": 0.2}
        return list(
            run_smoke_job(**given | options, read_output=lambda path: cluster.head.path(path).read_text())
        )

    return run


@pytest.fixture
def fails(prove):
    """Run the chain, and give the sentence that it ends with."""

    def run(**options):
        with pytest.raises(ClusterError) as caught:
            prove(**options)
        return str(caught.value)

    return run


@contextmanager
def broken(node, breaks, mends):
    node.enter("bash", "-c", breaks)
    try:
        yield
    finally:
        node.enter("bash", "-c", mends)


def test_each_link_is_proven(cluster, prove):
    said = prove()
    links = [line.split()[0] for line in said if not line.startswith("job")]
    assert links == ["route", "slurmrestd", "token", "partition", "submit", "output", "accounting"], said
    assert cluster.compute.name in " ".join(said)
    assert "COMPLETED, exit status 0" in said[-1]


def test_no_route_is_said(fails):
    assert fails(url=f"http://{NETWORK}.99:8082").startswith("No route: ")


def test_a_slurmrestd_that_is_down_is_said(cluster, fails):
    with broken(cluster.head, "systemctl stop slurmrestd", "systemctl start slurmrestd"):
        assert fails().startswith("Port closed: ")


@pytest.mark.parametrize(
    "cluster", SUITES[:1], indirect=True
)  # slurmrestd tries for a minute: one version is enough
def test_a_slurmctld_that_is_down_is_said(cluster, fails):
    with broken(cluster.head, "systemctl stop slurmctld", "systemctl start slurmctld"):
        assert fails().startswith("slurmctld is down: ")


def test_a_wrong_key_is_said(fails):
    assert fails(key=ANOTHER_KEY).startswith("Token refused: the JWT key here is not the head node's")


def test_a_clock_that_is_behind_is_said_with_how_much(fails, monkeypatch):
    now = time.time
    monkeypatch.setattr(rest_client.time, "time", lambda: now() - 3600)
    assert fails().startswith("Token refused: the clock here is 3600 s behind the head node's")


def test_a_user_that_the_head_node_does_not_have_is_said(fails):
    assert "no-such-user" in fails(user="no-such-user")


def test_a_partition_that_is_down_is_said(cluster, fails):
    update = "/opt/slurm/bin/scontrol update partitionname=queue1 state="
    with broken(cluster.head, f"{update}DOWN", f"{update}UP"):
        assert fails().startswith("No partition: Slurm has none that is up (queue1 is DOWN)")


def test_a_job_that_cannot_write_is_said(cluster, fails):
    assert f"cannot write /nowhere/verify-slurm.txt on {cluster.compute.name}" in fails(directory="/nowhere")


def test_a_job_that_does_not_start_is_said_and_cancelled(cluster, fails):
    update = f"/opt/slurm/bin/scontrol update nodename={cluster.compute.name} state="
    with broken(cluster.head, f"{update}DRAIN reason=test", f"{update}RESUME"):
        assert fails(seconds=1).startswith("Job does not end: ")
        wait_for(lambda: cluster.head.slurm("squeue", "--noheader") == "", 10, "the job is cancelled")


def test_no_accounting_is_said(cluster, fails, monkeypatch):
    monkeypatch.setattr(rest_client, "LAG_SECONDS", 2)
    with broken(cluster.head, "systemctl stop slurmdbd", "systemctl start slurmdbd"):
        assert fails().startswith("No accounting: ")


def test_after_all_that_the_chain_holds_again(prove):
    assert "COMPLETED, exit status 0" in prove()[-1]
