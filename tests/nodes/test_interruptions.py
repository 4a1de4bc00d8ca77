"""A boot script that is killed at any moment and run again has the same result as an undisturbed run."""

import pytest

from tests.nodes.support.cluster import KEY, KEY_FILE, SCRIPTS_FOLDER, SINGLE_HEAD_ADDRESSES, HeadNode
from tests.nodes.support.machine import wait_until
from tests.nodes.support.rest_api import RestApi

# Bash sources this file before a script. It counts the commands of the script, and kills the script and its
# children before the command with the number KILL_AT.
KILLER = """
case $0 in *on_node_*)
  set -o functrace
  trap '[ $((++commands)) != "$KILL_AT" ] || kill -KILL 0' DEBUG
  trap 'echo $commands >/root/commands' EXIT ;;
esac
"""
MOMENTS = [f"{percent} %" for percent in range(5, 100, 10)]


def run_and_kill(node, command_number, action="OnNodeConfigured"):
    """Run a script and kill it before this command. 0 runs the whole script."""
    node.write_file("/root/killer", KILLER)
    return node.run_custom_action(action, BASH_ENV="/root/killer", KILL_AT=str(command_number))


def read_command_count(node):
    return int(node.get_path("/root/commands").read_text())


@pytest.fixture(scope="module")
def undisturbed_run(installed_layers):
    """The number of commands in an undisturbed run, and the state of the node after it."""
    node = HeadNode(SINGLE_HEAD_ADDRESSES, installed_layers)
    try:
        assert run_and_kill(node, 0).returncode == 0
        return read_command_count(node), node.read_state()
    finally:
        node.destroy()


def test_rerun_start_after_kill_at_any_command(new_head_node):
    list_state = "stat -c '%n %U:%G %a' /var/spool/slurm.state /var/spool/slurm.state/*"
    assert run_and_kill(new_head_node, 0, "OnNodeStart").returncode == 0
    commands = read_command_count(new_head_node)
    expected_state = new_head_node.nsenter("bash", "-c", list_state).stdout
    assert commands > 15
    for command_number in range(1, commands):
        new_head_node.nsenter("rm", "-rf", "/var/spool/slurm.state")
        assert run_and_kill(new_head_node, command_number, "OnNodeStart").returncode != 0
        assert new_head_node.run_custom_action("OnNodeStart").returncode == 0
        assert new_head_node.nsenter("bash", "-c", list_state).stdout == expected_state
        assert new_head_node.get_path(KEY_FILE).read_text() == KEY


@pytest.mark.parametrize("moment", MOMENTS)
def test_rerun_configured_after_kill(undisturbed_run, installed_head_node, moment):
    commands, expected_state = undisturbed_run
    killed = run_and_kill(installed_head_node, commands * int(moment.split()[0]) // 100)
    assert killed.returncode != 0, killed.stdout
    second_run = installed_head_node.run_custom_action("OnNodeConfigured")
    assert second_run.returncode == 0, second_run.stdout
    assert installed_head_node.read_state() == expected_state
    rest_api = RestApi(installed_head_node.address, KEY)
    assert rest_api.get(f"/slurm/{rest_api.find_newest_version()}/diag")


def test_rerun_configured_after_kills_during_installation(undisturbed_run, configured_head_node):
    _, expected_state = undisturbed_run
    script = "on_node_configured_ubuntu.sh"
    configured_head_node.copy_script(script)
    for package in "libdbi-perl", "mariadb-server":
        start = "systemd-run", "--quiet", "--collect", "--unit=action", f"{SCRIPTS_FOLDER}/{script}"
        configured_head_node.nsenter(*start)
        wait_until_unpacked(configured_head_node, package)
        configured_head_node.nsenter("systemctl", "kill", "--signal=KILL", "action")
        is_active = "systemctl", "is-active", "action"
        wait_until(
            lambda query=is_active: configured_head_node.nsenter(*query, check=False).returncode,
            10,
            "the script has ended",
        )
    last_run = configured_head_node.run_custom_action("OnNodeConfigured")
    assert last_run.returncode == 0, last_run.stdout
    assert configured_head_node.read_state() == expected_state


def wait_until_unpacked(node, package):
    query = ("dpkg-query", "--show", "--showformat", "${db:Status-Status}", package)
    wait_until(lambda: node.nsenter(*query, check=False).stdout == "unpacked", 60, f"{package} is unpacked")
