"""How OnNodeStart writes the JWT key to the head node, from the secret or from a literal key."""

import threading

import boto3
import pytest

from tests.nodes.support.cluster import KEY, KEY_FILE, REGION, SCRIPTS_FOLDER

START_SCRIPT = "on_node_start_ubuntu.sh"


def read_owner_and_mode(node, path):
    return node.run("stat", "-c", "%U:%G %a", path).stdout.split()


def read_file_identity(path):
    """Return what changes when a file is written or replaced, but not when it is read."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size


def test_new_node_has_no_state(new_head_node):
    """The tests start where ParallelCluster does: without Slurm's state and configuration."""
    assert not new_head_node.get_path("/var/spool/slurm.state").exists()
    assert not new_head_node.get_path("/opt/slurm/etc/slurm.conf").exists()


def test_write_key_of_secret(new_head_node, key_secret):
    """The file has exactly the secret's bytes, and only slurm may read it."""
    result = new_head_node.run_custom_action("OnNodeStart", key_secret.arn, **key_secret.environment)
    assert result.returncode == 0, result.stdout
    assert key_secret.key not in result.stdout
    assert new_head_node.get_path(KEY_FILE).read_text() == key_secret.key
    assert read_owner_and_mode(new_head_node, KEY_FILE) == ["slurm:slurm", "600"]
    assert read_owner_and_mode(new_head_node, "/var/spool/slurm.state") == ["slurm:slurm", "700"]


def test_key_of_secret_is_no_program_argument(new_head_node, key_secret):
    """The key is an argument of the script's own commands only, as the trace of bash shows."""
    new_head_node.write_file("/root/trace", "case $0 in *on_node_start*) PS4='+ ' && set -o xtrace ;; esac\n")
    environment = {"BASH_ENV": "/root/trace"} | key_secret.environment
    result = new_head_node.run_custom_action("OnNodeStart", key_secret.arn, **environment)
    lines = [line for line in result.stdout.splitlines() if key_secret.key in line]
    commands = {line.lstrip("+ ").split()[0].partition("=")[0] for line in lines}
    assert result.returncode == 0
    assert commands == {"key", "secret", "printf", "write_key"}


def test_literal_key_is_only_in_key_file(new_head_node):
    new_head_node.write_file("/root/key", KEY)  # a file, because systemd-run stores its command line
    new_head_node.copy_script(START_SCRIPT)
    command = f'exec {SCRIPTS_FOLDER}/{START_SCRIPT} "$(cat /root/key)"'
    result = new_head_node.run("bash", "-c", command, check=False)
    assert result.returncode == 0, result.stdout
    assert KEY not in result.stdout
    folders = "/etc", "/var", "/opt", "/run", "/tmp", "/home", "/root"
    assert new_head_node.find_files_containing(KEY, *folders) == ["/root/key", KEY_FILE]
    assert read_owner_and_mode(new_head_node, KEY_FILE) == ["slurm:slurm", "600"]


def test_retry_until_secret_is_readable(new_head_node, key_secret):
    client = boto3.client("secretsmanager", region_name=REGION)
    arn = client.create_secret(Name="later")["ARN"]
    timer = threading.Timer(4, lambda: client.put_secret_value(SecretId=arn, SecretString=KEY))
    timer.start()
    result = new_head_node.run_custom_action("OnNodeStart", arn, PAUSE="1", **key_secret.environment)
    timer.join()
    assert result.returncode == 0, result.stdout
    assert "ResourceNotFoundException" in result.stdout
    assert new_head_node.get_path(KEY_FILE).read_text() == KEY


def test_replace_only_different_key(new_head_node):
    new_head_node.run_custom_action("OnNodeStart", KEY)
    before = read_file_identity(new_head_node.get_path(KEY_FILE))
    new_head_node.run_custom_action("OnNodeStart", KEY)
    assert read_file_identity(new_head_node.get_path(KEY_FILE)) == before
    new_head_node.run_custom_action("OnNodeStart", KEY.upper())
    assert new_head_node.get_path(KEY_FILE).read_text() == KEY.upper()
    assert read_owner_and_mode(new_head_node, KEY_FILE) == ["slurm:slurm", "600"]


@pytest.mark.parametrize("node_type", ["ComputeFleet", "LoginNode"])
def test_do_nothing_on_other_nodes(new_head_node, node_type):
    new_head_node.node_type = new_head_node.template_values["node_type"] = node_type
    new_head_node.write_template("cfnconfig", "/etc/parallelcluster/cfnconfig")
    assert new_head_node.run_script(START_SCRIPT).returncode == 0
    assert not new_head_node.get_path(KEY_FILE).exists()
