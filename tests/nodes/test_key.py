"""How the key comes onto the head node: out of the secret, and given literally."""

import threading

import boto3
import pytest

from tests.nodes.cluster import KEY, KEY_FILE, SCRIPTS


def owner_and_mode(node, path):
    return node.run("stat", "-c", "%U:%G %a", path).stdout.split()


def written(path):
    """What a file that is written anew, or changed, does not keep; reading it changes the time of its last access alone."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def test_the_node_starts_as_in_aws_with_no_state_and_no_configuration(new_head):
    assert not new_head.path("/var/spool/slurm.state").exists()
    assert not new_head.path("/opt/slurm/etc/slurm.conf").exists()


def test_the_secrets_key_is_written_to_the_byte_for_slurm_alone(new_head, secret):
    done = new_head.action("OnNodeStart", secret.arn, **secret.environment)
    assert done.returncode == 0, done.stdout
    assert secret.key not in done.stdout
    assert new_head.path(KEY_FILE).read_text() == secret.key
    assert owner_and_mode(new_head, KEY_FILE) == ["slurm:slurm", "600"]
    assert owner_and_mode(new_head, "/var/spool/slurm.state") == ["slurm:slurm", "700"]


def test_no_program_is_told_the_secrets_key(new_head, secret):
    # Bash shows each command before it runs it: the key may be an argument of bash's own commands alone.
    new_head.write("/root/trace", "case $0 in *on_node_start*) PS4='+ ' && set -o xtrace ;; esac\n")
    done = new_head.action("OnNodeStart", secret.arn, BASH_ENV="/root/trace", **secret.environment)
    told = {
        line.lstrip("+ ").split()[0].partition("=")[0]
        for line in done.stdout.splitlines()
        if secret.key in line
    }
    assert done.returncode == 0
    assert told == {"key", "secret", "printf", "write_key"}


def test_a_literal_key_is_written_nowhere_else(new_head):
    new_head.write("/root/key", KEY)  # so that systemd, which runs the script here, does not know it
    new_head.copy_script("on_node_start_ubuntu.sh")
    done = new_head.run(
        "bash", "-c", f'exec {SCRIPTS}/on_node_start_ubuntu.sh "$(cat /root/key)"', check=False
    )
    assert done.returncode == 0, done.stdout
    assert KEY not in done.stdout
    assert new_head.files_with(KEY, "/etc", "/var", "/opt", "/run", "/tmp", "/home", "/root") == [
        "/root/key",
        KEY_FILE,
    ]
    assert owner_and_mode(new_head, KEY_FILE) == ["slurm:slurm", "600"]


def test_the_secret_is_asked_for_until_the_role_may_read_it(new_head, secret):
    manager = boto3.client("secretsmanager", region_name="eu-west-2")
    arn = manager.create_secret(Name="later")["ARN"]
    later = threading.Timer(4, lambda: manager.put_secret_value(SecretId=arn, SecretString=KEY))
    later.start()
    done = new_head.action("OnNodeStart", arn, PAUSE="1", **secret.environment)
    later.join()
    assert done.returncode == 0, done.stdout
    assert "ResourceNotFoundException" in done.stdout
    assert new_head.path(KEY_FILE).read_text() == KEY


def test_another_key_replaces_the_first_and_the_same_is_left_alone(new_head):
    new_head.action("OnNodeStart", KEY)
    first = written(new_head.path(KEY_FILE))
    new_head.action("OnNodeStart", KEY)
    assert written(new_head.path(KEY_FILE)) == first
    new_head.action("OnNodeStart", KEY.upper())
    assert new_head.path(KEY_FILE).read_text() == KEY.upper()
    assert owner_and_mode(new_head, KEY_FILE) == ["slurm:slurm", "600"]


@pytest.mark.parametrize("node_type", ["ComputeFleet", "LoginNode"])
def test_other_nodes_do_nothing_at_their_start(new_head, node_type):
    new_head.node_type = new_head.names["node_type"] = node_type
    new_head.lay_out("cfnconfig", "/etc/parallelcluster/cfnconfig")
    assert new_head.script("on_node_start_ubuntu.sh").returncode == 0
    assert not new_head.path(KEY_FILE).exists()
