"""A new JWT key on a head node that runs: by the task, over SSH, and also when the task was killed on the way."""

import time
from pathlib import Path

import boto3
import jwt
import pytest

from tests.nodes.cluster import DAEMONS, KEY_FILE
from tests.nodes.machine import wait_for
from tests.nodes.uqle.conftest import REGION

pytestmark = pytest.mark.xdist_group("uqle")

# An ssh that kills the task which has it run the head node's step.
KILLER = """#!/bin/bash
case $* in *"sudo bash"*) ;; *) exec /run/bin/ssh "$@" ;; esac
{before_that}
kill -KILL $PPID
"""
MOMENTS = {
    "before the head node's step": "",
    "between the head node's step and the start of Slurm": '/run/bin/ssh "${@/ && */}"',
    "after the start of Slurm": '/run/bin/ssh "$@"',
}


@pytest.fixture
def secret_key(person):
    """What the secret holds."""
    manager = boto3.client("secretsmanager", region_name=REGION)
    return lambda: manager.get_secret_value(SecretId="pcluster-ubuntu-eu-west-2-slurm-jwt-key")[
        "SecretString"
    ]


def status(head, key):
    """Give what Slurm answers to a token of the key, asked by curl on the node itself."""
    token = jwt.encode({"sun": "slurm", "iat": int(time.time()), "exp": int(time.time()) + 60}, key, "HS256")
    paths = head.run(
        "curl", "-s", "-H", f"X-SLURM-USER-TOKEN: {token}", "http://localhost:8082/openapi/v3"
    ).stdout
    version = max(word for word in ("v0.0.40", "v0.0.41", "v0.0.42") if word in paths)
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"X-SLURM-USER-TOKEN: {token}"]
    return head.run(*command, f"http://localhost:8082/slurm/{version}/diag").stdout


def assert_rotated(head, old, new):
    assert new != old
    assert head.path(KEY_FILE).read_text() == new
    assert head.run("stat", "-c", "%U:%G %a", KEY_FILE).stdout.split() == ["slurm:slurm", "600"]
    assert (status(head, new), status(head, old)) == ("200", "511")


def test_tokens_of_the_new_key_are_taken_and_those_of_the_old_one_refused(connected, person, secret_key):
    old, before = secret_key(), connected.head.processes()
    sbatch = "/opt/slurm/bin/sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 8"
    job = connected.head.run(*sbatch, user="slurm").stdout.strip()
    said = person.invoke("rotate-jwt-key")
    assert "of the new key accepted, of the old key refused" in said
    assert "`invoke handover --with-key`" in said
    assert_rotated(connected.head, old, secret_key())
    after = connected.head.processes()
    assert {name for name in DAEMONS if after[name] != before[name]} == {"slurmdbd", "slurmctld"}
    ended = ("sacct", "-nPX", "-j", job, "-o", "state")
    wait_for(lambda: connected.head.slurm(*ended) == "COMPLETED", 30, "a job that ran meanwhile ends")
    for key in old, secret_key():
        assert key not in said
        assert connected.head.files_with(key, "/etc", "/var", "/opt", "/run", "/tmp", "/root", "/home") in (
            [],
            [KEY_FILE],
        )
        assert key not in connected.head.enter("journalctl", "--no-pager").stdout


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_task_that_was_killed_is_made_good_by_the_next(connected, person, secret_key, tmp_path, moment):
    old = secret_key()
    Path(tmp_path, "ssh").write_text(KILLER.format(before_that=MOMENTS[moment]))
    Path(tmp_path, "ssh").chmod(0o755)
    killed = person.run(
        *person.command("rotate-jwt-key"), check=False, PATH=f"{tmp_path}:{person.environment['PATH']}"
    )
    assert killed.returncode == -9, killed.stdout
    between = secret_key()
    assert between != old
    person.invoke("rotate-jwt-key")
    assert_rotated(connected.head, between, secret_key())
    assert status(connected.head, old) == "511"
