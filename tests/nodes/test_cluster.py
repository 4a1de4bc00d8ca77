"""What the boot scripts set up on a head node and a compute node: REST API, accounting, jobs, containers."""

import pytest

from tests.nodes.support.cluster import CLUSTER_NAME, DAEMONS, KEY_FILE
from tests.nodes.support.machine import wait_until

COMPLETED = {"COMPLETED"}


def test_scripts_succeed(cluster):
    results = cluster.script_results
    statuses = {name: result.returncode for name, result in results.items()}
    assert statuses == dict.fromkeys(results, 0), results


def test_daemons_are_active_and_enabled(cluster):
    for query in "is-active", "is-enabled":
        answers = cluster.head_node.nsenter("systemctl", query, *DAEMONS, check=False).stdout.split()
        assert set(answers) == {query.removeprefix("is-")}, answers
    assert cluster.head_node.nsenter("systemctl", "--failed", "--no-legend").stdout == ""
    assert cluster.compute_node.nsenter("systemctl", "--failed", "--no-legend").stdout == ""


def test_accept_valid_token(cluster):
    version = cluster.rest_api.find_newest_version()
    assert "statistics" in cluster.rest_api.get(f"/slurm/{version}/diag")
    clusters = cluster.rest_api.get(f"/slurmdb/{version}/clusters/")["clusters"]
    assert [entry["name"] for entry in clusters] == [CLUSTER_NAME]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        pytest.param({"key": "another-key-another-key-another-key-another"}, 511, id="other key"),
        pytest.param({"exp": 1}, 511, id="expired"),
        pytest.param({"algorithm": "none"}, 511, id="unsigned"),
        pytest.param({"algorithm": "HS512"}, 511, id="other algorithm"),
    ],
)
def test_refuse_invalid_token(cluster, claims, status):
    rest_api = cluster.rest_api
    version, token = rest_api.find_newest_version(), rest_api.sign_token(**claims)
    assert rest_api.request("GET", f"/slurm/{version}/diag", token).status_code == status
    assert rest_api.request("GET", f"/slurm/{version}/jobs/", token).status_code == status
    job = {"script": "#!/bin/sh\ntrue\n", "job": {"name": "no"}}
    assert rest_api.request("POST", f"/slurm/{version}/job/submit", token, **job).status_code == status
    assert cluster.head_node.run_slurm_command("squeue", "--noheader", "--name=no") == ""


def test_refuse_missing_token(cluster):
    version = cluster.rest_api.find_newest_version()
    paths = "/openapi/v3", f"/slurm/{version}/ping", f"/slurm/{version}/diag", f"/slurmdb/{version}/jobs/"
    for path in paths:
        assert cluster.rest_api.request("GET", path, None).status_code == 401


def test_slurmrestd_cannot_read_key(cluster):
    """slurmrestd runs as its own user, neither root nor slurm."""
    pid = cluster.head_node.read_main_pids("slurmrestd")["slurmrestd"]
    owner = cluster.head_node.nsenter("ps", "-o", "user:20=,group:20=", "-p", pid).stdout.split()
    assert owner == ["slurmrestd", "slurmrestd"]
    assert cluster.head_node.run("cat", KEY_FILE, user="slurmrestd", check=False).returncode != 0


def test_run_job_on_compute_node(cluster):
    """The job's output is on the shared disk."""
    job = cluster.rest_api.run_job("id -un; hostname")
    assert set(job["job_state"]) == COMPLETED, job
    output = cluster.head_node.get_path(f"/shared/{job['job_id']}.out").read_text()
    assert output.split() == ["slurm", cluster.compute_node.name]


def test_run_rootless_podman_in_job(cluster):
    """Podman's files are on the node's local disk."""
    folder = 'i=$(mktemp -d) && chmod 755 "$i" && mkdir "$i/bin" && cp /bin/busybox "$i/bin/sh"'
    archive = 'tar --create --directory "$i" --file /shared/image.tar .'
    cluster.compute_node.run("bash", "-c", f"{folder} && {archive}")
    job = cluster.rest_api.run_job(
        "podman import --quiet /shared/image.tar localhost/test\n"
        "podman run --rm --volume /shared:/shared localhost/test "
        '/bin/sh -c "id -u; wc -l </proc/self/uid_map; echo from a container >/shared/written"\n'
        "podman info --format '{{.Store.GraphDriverName}} {{.Store.RunRoot}} {{.Host.CgroupManager}}'"
    )
    output = cluster.head_node.get_path(f"/shared/{job['job_id']}.out").read_text()
    assert set(job["job_state"]) == COMPLETED, output
    assert output.splitlines()[-3:] == ["0", "2", "overlay /run/user/401/containers cgroupfs"], output
    written = cluster.head_node.get_path("/shared/written")
    assert (written.read_text(), written.stat().st_uid) == ("from a container\n", 401)
    assert "overlay-images" in cluster.compute_node.run("ls", "/var/lib/slurm-containers/storage").stdout
    find_files = "find", "/home/slurm", "/var/lib/slurm-containers", "-type", "f"
    assert cluster.head_node.run(*find_files).stdout == ""


def test_key_is_only_in_key_file(cluster):
    """The key is in one file of the head node, and not on the compute node."""
    key = cluster.rest_api.key
    folders = ("/etc", "/var", "/opt", "/run", "/tmp", "/root", "/home", "/usr/local")
    assert cluster.head_node.find_files_containing(key, *folders) == [KEY_FILE]
    assert cluster.compute_node.find_files_containing(key, *folders) == []
    stat = cluster.head_node.run("stat", "-c", "%U:%G %a %s", KEY_FILE).stdout.split()
    assert stat == ["slurm:slurm", "600", str(len(key))]
    for node in cluster.head_node, cluster.compute_node:
        assert key not in node.nsenter("ps", "-efww").stdout
        assert key not in node.nsenter("journalctl", "--no-pager").stdout
    assert not any(key in result.stdout for result in cluster.script_results.values())


def test_compute_node_gets_only_podman(cluster):
    for package, is_expected in {"podman": True, "mariadb-server": False}.items():
        result = cluster.compute_node.run("dpkg-query", "--show", package, check=False)
        assert (result.returncode == 0) == is_expected
    units = cluster.compute_node.run("systemctl", "cat", "slurmrestd", "slurmdbd", check=False)
    assert units.returncode != 0


def test_second_run_changes_nothing(cluster, key_secret):
    head_node = cluster.head_node
    before = head_node.read_main_pids(), head_node.read_state()
    start = head_node.run_custom_action("OnNodeStart", key_secret.arn, **key_secret.environment)
    assert start.returncode == 0
    configured = head_node.run_custom_action("OnNodeConfigured")
    assert configured.returncode == 0
    assert "starting" not in configured.stdout
    assert (head_node.read_main_pids(), head_node.read_state()) == before
    assert cluster.compute_node.run_custom_action("OnNodeConfigured").returncode == 0


def test_install_packages_once(cluster):
    for node in cluster.head_node, cluster.compute_node:
        history = node.get_path("/var/log/apt/history.log").read_text()
        assert history.count("uidmap slirp4netns") == 1


def test_restart_killed_slurmrestd(cluster):
    """slurmrestd runs again and answers within ten seconds."""
    head_node = cluster.head_node
    before = head_node.read_main_pids("slurmrestd")

    def is_restarted() -> bool:
        return head_node.read_main_pids("slurmrestd") not in (before, {"slurmrestd": "0"})

    def is_answering() -> bool:
        return head_node.run("curl", "-s", "http://localhost:8082/", check=False).returncode == 0

    head_node.nsenter("systemctl", "kill", "--signal=KILL", "slurmrestd")
    wait_until(is_restarted, 8, "slurmrestd runs again")
    wait_until(is_answering, 2, "slurmrestd answers")
    assert cluster.rest_api.find_newest_version()


def test_keep_accounting_after_restarts(cluster):
    """A job stays in accounting after slurmdbd restarts and after the head node reboots."""
    head_node = cluster.head_node
    job_id = str(cluster.rest_api.run_job("true")["job_id"])

    def is_accounted() -> bool:
        record = head_node.run_slurm_command("sacct", "-nPX", "-j", job_id, "-o", "jobid,user,state")
        return record == f"{job_id}|slurm|COMPLETED"

    wait_until(is_accounted, 10, "the job is in accounting")
    head_node.nsenter("systemctl", "restart", "slurmdbd")
    assert is_accounted()
    head_node.power_off()
    head_node.boot()
    active = head_node.nsenter("systemctl", "is-active", *DAEMONS).stdout.split()
    assert active == ["active"] * len(DAEMONS)
    assert is_accounted()
    version = cluster.rest_api.find_newest_version()
    [job] = cluster.rest_api.get(f"/slurmdb/{version}/job/{job_id}")["jobs"]
    assert job["state"]["current"] == ["COMPLETED"]
    job = cluster.rest_api.run_job("hostname")
    assert set(job["job_state"]) == COMPLETED, job
