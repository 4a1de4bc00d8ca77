"""What the boot scripts make of a head node and a compute node: the REST API, accounting, jobs and containers."""

import pytest

from tests.nodes.cluster import DAEMONS, KEY_FILE
from tests.nodes.machine import wait_for

ENDED = {"COMPLETED"}


def test_all_scripts_succeed_on_both_nodes(cluster):
    assert {name: done.returncode for name, done in cluster.said.items()} == dict.fromkeys(cluster.said, 0), (
        cluster.said
    )


def test_all_daemons_run_and_will_after_a_boot(cluster):
    for command in "is-active", "is-enabled":
        said = cluster.head.enter("systemctl", command, *DAEMONS, check=False).stdout.split()
        assert set(said) == {command.removeprefix("is-")}, said
    assert cluster.head.enter("systemctl", "--failed", "--no-legend").stdout == ""
    assert cluster.compute.enter("systemctl", "--failed", "--no-legend").stdout == ""


def test_a_token_of_the_key_is_accepted_and_the_version_is_discovered(cluster):
    version = cluster.rest.version()
    assert "statistics" in cluster.rest.get(f"/slurm/{version}/diag")
    assert [found["name"] for found in cluster.rest.get(f"/slurmdb/{version}/clusters/")["clusters"]] == [
        "pcluster-ubuntu"
    ]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        pytest.param({"key": "another-key-another-key-another-key-another"}, 511, id="of another key"),
        pytest.param({"exp": 1}, 511, id="that expired"),
        pytest.param({"algorithm": "none"}, 511, id="without a signature"),
        pytest.param({"algorithm": "HS512"}, 511, id="of another algorithm"),
    ],
)
def test_a_token_is_refused(cluster, claims, status):
    version, token = cluster.rest.version(), cluster.rest.token(**claims)
    assert cluster.rest.call("GET", f"/slurm/{version}/diag", token).status_code == status
    assert cluster.rest.call("GET", f"/slurm/{version}/jobs/", token).status_code == status
    submitted = cluster.rest.call(
        "POST", f"/slurm/{version}/job/submit", token, script="#!/bin/sh\ntrue\n", job={"name": "no"}
    )
    assert submitted.status_code == status
    assert cluster.head.slurm("squeue", "--noheader", "--name=no") == ""


def test_nothing_answers_without_a_token(cluster):
    version = cluster.rest.version()
    for path in (
        "/openapi/v3",
        f"/slurm/{version}/ping",
        f"/slurm/{version}/diag",
        f"/slurmdb/{version}/jobs/",
    ):
        assert cluster.rest.call("GET", path, None).status_code == 401


def test_slurmrestd_is_neither_root_nor_slurm_and_cannot_read_the_key(cluster):
    process = cluster.head.processes("slurmrestd")["slurmrestd"]
    assert cluster.head.enter("ps", "-o", "user:20=,group:20=", "-p", process).stdout.split() == [
        "slurmrestd",
        "slurmrestd",
    ]
    assert cluster.head.run("cat", KEY_FILE, user="slurmrestd", check=False).returncode != 0


def test_a_job_runs_on_the_compute_node_and_its_output_is_on_the_shared_disk(cluster):
    job = cluster.rest.run_job("id -un; hostname")
    assert set(job["job_state"]) == ENDED, job
    output = cluster.head.path(f"/shared/{job['job_id']}.out").read_text()
    assert output.split() == ["slurm", cluster.compute.name]


def test_a_job_runs_rootless_podman_with_its_files_on_the_nodes_own_disk(cluster):
    image = 'i=$(mktemp -d) && chmod 755 "$i" && mkdir "$i/bin" && cp /bin/busybox "$i/bin/sh"'
    cluster.compute.run("bash", "-c", f'{image} && tar --create --directory "$i" --file /shared/image.tar .')
    job = cluster.rest.run_job(
        "podman import --quiet /shared/image.tar localhost/test\n"
        "podman run --rm --volume /shared:/shared localhost/test "
        '/bin/sh -c "id -u; wc -l </proc/self/uid_map; echo from a container >/shared/written"\n'
        "podman info --format '{{.Store.GraphDriverName}} {{.Store.RunRoot}} {{.Host.CgroupManager}}'"
    )
    output = cluster.head.path(f"/shared/{job['job_id']}.out").read_text()
    assert set(job["job_state"]) == ENDED, output
    assert output.splitlines()[-3:] == ["0", "2", "overlay /run/user/401/containers cgroupfs"], output
    written = cluster.head.path("/shared/written")
    assert (written.read_text(), written.stat().st_uid) == ("from a container\n", 401)
    assert "overlay-images" in cluster.compute.run("ls", "/var/lib/slurm-containers/storage").stdout
    assert cluster.head.run("find", "/home/slurm", "/var/lib/slurm-containers", "-type", "f").stdout == ""


def test_the_key_is_on_the_head_node_in_its_one_file_and_not_on_the_compute_node(cluster):
    key = cluster.rest.key
    places = ("/etc", "/var", "/opt", "/run", "/tmp", "/root", "/home", "/usr/local")
    assert cluster.head.files_with(key, *places) == [KEY_FILE]
    assert cluster.compute.files_with(key, *places) == []
    assert cluster.head.run("stat", "-c", "%U:%G %a %s", KEY_FILE).stdout.split() == [
        "slurm:slurm",
        "600",
        str(len(key)),
    ]
    for node in cluster.head, cluster.compute:
        assert key not in node.enter("ps", "-efww").stdout
        assert key not in node.enter("journalctl", "--no-pager").stdout
    assert not any(key in done.stdout for done in cluster.said.values())


def test_a_compute_node_gets_podman_and_nothing_of_the_head_nodes(cluster):
    for package, there in {"podman": True, "mariadb-server": False}.items():
        listed = cluster.compute.run("dpkg-query", "--show", package, check=False)
        assert (listed.returncode == 0) == there
    assert cluster.compute.run("systemctl", "cat", "slurmrestd", "slurmdbd", check=False).returncode != 0


def test_a_second_run_changes_nothing_and_starts_nothing_again(cluster, secret):
    before = cluster.head.processes(), cluster.head.state()
    assert cluster.head.action("OnNodeStart", secret.arn, **secret.environment).returncode == 0
    again = cluster.head.action("OnNodeConfigured")
    assert again.returncode == 0
    assert "starting" not in again.stdout
    assert (cluster.head.processes(), cluster.head.state()) == before
    assert cluster.compute.action("OnNodeConfigured").returncode == 0


def test_packages_are_asked_for_once(cluster):
    for node in cluster.head, cluster.compute:
        assert node.path("/var/log/apt/history.log").read_text().count("uidmap slirp4netns") == 1


def test_slurmrestd_that_is_killed_is_back_within_ten_seconds(cluster):
    before = cluster.head.processes("slurmrestd")
    cluster.head.enter("systemctl", "kill", "--signal=KILL", "slurmrestd")
    wait_for(
        lambda: cluster.head.processes("slurmrestd") not in (before, {"slurmrestd": "0"}),
        8,
        "slurmrestd runs again",
    )
    wait_for(
        lambda: cluster.head.run("curl", "-s", "http://localhost:8082/", check=False).returncode == 0,
        2,
        "it answers",
    )
    assert cluster.rest.version()


def test_the_job_is_in_accounting_also_after_slurmdbd_and_the_node_were_off(cluster):
    number = str(cluster.rest.run_job("true")["job_id"])
    expected = f"{number}|slurm|COMPLETED"

    def accounted() -> bool:
        return cluster.head.slurm("sacct", "-nPX", "-j", number, "-o", "jobid,user,state") == expected

    wait_for(accounted, 10, "the job is in accounting")
    cluster.head.enter("systemctl", "restart", "slurmdbd")
    assert accounted()
    cluster.head.power_off()
    cluster.head.boot()
    assert cluster.head.enter("systemctl", "is-active", *DAEMONS).stdout.split() == ["active"] * len(DAEMONS)
    assert accounted()
    [job] = cluster.rest.get(f"/slurmdb/{cluster.rest.version()}/job/{number}")["jobs"]
    assert job["state"]["current"] == ["COMPLETED"]
    job = cluster.rest.run_job("hostname")
    assert set(job["job_state"]) == ENDED, job
