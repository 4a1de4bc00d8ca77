"""Key rotation with a stand-in for ssh that records its calls. `tests/nodes/uqle` uses real nodes."""

import json
from pathlib import Path

import pytest

from slurm_cluster.aws import jwt_secret, script_bucket
from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import key_rotation
from tests.support.slurmrestd import KEY, Slurmrestd, run_server

THROUGH, SECRET = "ubuntu@203.0.113.7", "arn:aws:secretsmanager:eu-west-2:123456789012:secret:a-key-AbCdEf"
OTHER = KEY.upper()


@pytest.fixture
def read_secret(cluster, key_pair, project):
    """Create a cluster and its secret. Return a function that reads the secret."""
    jwt_secret.ensure_secret(project.secretsmanager, project.secret, project.cluster_name)
    return lambda: jwt_secret.read_key(project.secretsmanager, project.secret)


@pytest.fixture
def slurmrestd(tmp_path):
    with run_server(Slurmrestd(tmp_path)) as server:
        yield server


def test_head_node_runs_the_key_step_and_restarts_slurm(ssh_calls):
    boot_script = Path(script_bucket.FOLDER, "on_node_start_ubuntu.sh").read_text()
    key_rotation.install_key(THROUGH, Path("cluster.pem"), SECRET, boot_script)
    [[arguments, script]] = ssh_calls()
    assert arguments[-2:] == [
        THROUGH,
        f"sudo bash -s -- {SECRET} && sudo systemctl restart slurmdbd.service slurmctld.service",
    ]
    assert script == boot_script


@pytest.mark.usefixtures("ssh_calls")
def test_failed_step_is_reported_in_its_own_words(monkeypatch):
    monkeypatch.setenv(
        "STAND_IN_ENDS",
        json.dumps({"sudo bash": [77, "aws: denied\n[bash] ERROR: the secret cannot be read"]}),
    )
    reason = r"\(\[bash\] ERROR: the secret cannot be read\)"
    said = rf"in the secret but not yet on the head node {reason}\. .*run this again"
    with pytest.raises(ClusterError, match=said):
        key_rotation.install_key(THROUGH, Path("cluster.pem"), SECRET, "echo a boot script")


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        pytest.param(
            [255, "Permission denied (publickey)."],
            "Login failed: ssh cannot log in to",
            id="that lets nobody in",
        ),
        pytest.param(
            [1, "sudo: a password is required"], "does not allow sudo", id="that lets nobody be root"
        ),
    ],
)
def test_unreachable_head_node_leaves_the_secret_alone(read_secret, ssh_calls, invoke, end, sentence):
    before = read_secret()
    done = invoke("rotate-jwt-key", STAND_IN_ENDS=json.dumps({"sudo --": end}))
    assert done.returncode == 1, done.stdout
    assert sentence in done.stderr
    assert read_secret() == before


def test_new_key_is_in_the_secret_only(read_secret, ssh_calls, invoke):
    before = read_secret()
    done = invoke(
        "rotate-jwt-key", STAND_IN_ENDS=json.dumps({"sudo bash": [73, "the key cannot be written"]})
    )
    assert done.returncode == 1
    assert "not yet on the head node (the key cannot be written)" in done.stderr
    assert read_secret() != before
    for key in before, read_secret():
        assert key not in done.stdout + done.stderr + str(ssh_calls())


def test_literal_key_is_refused(read_secret, ssh_calls, invoke):
    before = read_secret()
    Path("config-parameters.json").write_text(json.dumps({"SLURM_JWT_KEY": "k" * 40}))
    done = invoke("rotate-jwt-key")
    assert done.returncode == 1
    message = "is the key itself, not the ARN of a secret. Such a key cannot be changed on a running cluster"
    assert message in done.stderr
    assert (read_secret(), ssh_calls()) == (before, [])


def test_missing_cluster_or_secret_names_the_next_step(network, invoke, project, cloudformation):
    assert "invoke create-cluster" in invoke("rotate-jwt-key").stderr
    assert jwt_secret.find_secret_arn(project.secretsmanager, project.secret) is None


def test_new_key_is_accepted_and_old_key_refused(slurmrestd):
    slurmrestd.key = KEY
    assert "the new key is accepted, the old key is refused" in key_rotation.verify_rotation(
        slurmrestd.url, KEY, OTHER
    )


def test_old_key_still_accepted_is_reported(slurmrestd, monkeypatch):
    monkeypatch.setattr(key_rotation, "START_TIMEOUT", 0)
    slurmrestd.key = OTHER
    with pytest.raises(
        ClusterError, match="The new key is on the head node, but Slurm does not accept it yet. Token refused"
    ):
        key_rotation.verify_rotation(slurmrestd.url, KEY, OTHER)
    with pytest.raises(ClusterError, match="Slurm still accepts tokens of the old key. Run this again"):
        key_rotation.verify_rotation(slurmrestd.url, OTHER, OTHER)
