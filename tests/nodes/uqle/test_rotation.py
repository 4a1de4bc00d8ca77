"""`rotate-jwt-key` on a running head node, over SSH, also after it was killed halfway."""

import time
from pathlib import Path

import boto3
import jwt
import pytest

from tests.nodes.support.cluster import DAEMONS, KEY_FILE, REGION
from tests.nodes.support.machine import wait_until

pytestmark = pytest.mark.xdist_group("uqle")

# An ssh that kills the task when it runs the step on the head node.
KILLER = """#!/bin/bash
case $* in *"sudo bash"*) ;; *) exec /run/bin/ssh "$@" ;; esac
{before_kill}
kill -KILL $PPID
"""
COMMANDS_BEFORE_KILL = {
    "before the key is installed": "",
    "after the key is installed": '/run/bin/ssh "${@/ && */}"',
    "after Slurm is restarted": '/run/bin/ssh "$@"',
}
KEY_FOLDERS = "/etc", "/var", "/opt", "/run", "/tmp", "/root", "/home"


@pytest.fixture
def read_secret(operator):
    """Read the key in the secret."""
    client = boto3.client("secretsmanager", region_name=REGION)
    name = "pcluster-ubuntu-eu-west-2-slurm-jwt-key"
    return lambda: client.get_secret_value(SecretId=name)["SecretString"]


def get_api_status(head_node, key):
    """Return the HTTP status of a request on the node itself, with a token of this key."""
    now = int(time.time())
    token = jwt.encode({"sun": "slurm", "iat": now, "exp": now + 60}, key, "HS256")
    curl = ["curl", "-s", "-H", f"X-SLURM-USER-TOKEN: {token}"]
    paths = head_node.run(*curl, "http://localhost:8082/openapi/v3").stdout
    version = max(word for word in ("v0.0.40", "v0.0.41", "v0.0.42") if word in paths)
    curl += ["-o", "/dev/null", "-w", "%{http_code}"]
    return head_node.run(*curl, f"http://localhost:8082/slurm/{version}/diag").stdout


def assert_rotated(head_node, old_key, new_key):
    assert new_key != old_key
    assert head_node.get_path(KEY_FILE).read_text() == new_key
    stat = head_node.run("stat", "-c", "%U:%G %a", KEY_FILE).stdout.split()
    assert stat == ["slurm:slurm", "600"]
    assert (get_api_status(head_node, new_key), get_api_status(head_node, old_key)) == ("200", "511")


def test_rotate_key(connected_cluster, operator, read_secret):
    """The new key's tokens are accepted, the old key's are refused, and a running job continues."""
    head_node = connected_cluster.head_node
    old_key, old_pids = read_secret(), head_node.read_main_pids()
    sbatch = "/opt/slurm/bin/sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 8"
    job_id = head_node.run(*sbatch, user="slurm").stdout.strip()
    output = operator.run_task("rotate-jwt-key")
    assert "the new key is accepted, the old key is refused" in output
    assert "`invoke handover --with-key`" in output
    assert_rotated(head_node, old_key, read_secret())
    new_pids = head_node.read_main_pids()
    restarted = {name for name in DAEMONS if new_pids[name] != old_pids[name]}
    assert restarted == {"slurmdbd", "slurmctld"}
    query = ("sacct", "-nPX", "-j", job_id, "-o", "state")
    wait_until(lambda: head_node.run_slurm_command(*query) == "COMPLETED", 30, "the job has completed")
    for key in old_key, read_secret():
        assert key not in output
        assert head_node.find_files_containing(key, *KEY_FOLDERS) in ([], [KEY_FILE])
        assert key not in head_node.nsenter("journalctl", "--no-pager").stdout


@pytest.mark.parametrize("moment", COMMANDS_BEFORE_KILL)
def test_rerun_after_kill(connected_cluster, operator, read_secret, tmp_path, moment):
    old_key = read_secret()
    Path(tmp_path, "ssh").write_text(KILLER.format(before_kill=COMMANDS_BEFORE_KILL[moment]))
    Path(tmp_path, "ssh").chmod(0o755)
    command = operator.build_task_command("rotate-jwt-key")
    killed = operator.run(*command, check=False, PATH=f"{tmp_path}:{operator.environment['PATH']}")
    assert killed.returncode == -9, killed.stdout
    intermediate_key = read_secret()
    assert intermediate_key != old_key
    operator.run_task("rotate-jwt-key")
    assert_rotated(connected_cluster.head_node, intermediate_key, read_secret())
    assert get_api_status(connected_cluster.head_node, old_key) == "511"
