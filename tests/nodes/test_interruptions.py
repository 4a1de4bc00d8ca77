"""The boot scripts, killed at any moment and run again, end as a run that nobody disturbed."""

import pytest

from tests.nodes.cluster import KEY, KEY_FILE, SCRIPTS, SINGLE, HeadNode, RestApi
from tests.nodes.machine import wait_for

# Bash reads it before a script: it counts the commands, and kills the script and its children before one of them.
KILLER = """
case $0 in *on_node_*)
  set -o functrace
  trap '[ $((++commands)) != "$KILL_AT" ] || kill -KILL 0' DEBUG
  trap 'echo $commands >/root/commands' EXIT ;;
esac
"""
MOMENTS = [f"{percent} %" for percent in range(5, 100, 10)]


def run_until(node, command, action="OnNodeConfigured"):
    """Run the script, and kill it before one of its commands; 0 is none."""
    node.write("/root/killer", KILLER)
    return node.action(action, BASH_ENV="/root/killer", KILL_AT=str(command))


@pytest.fixture(scope="module")
def undisturbed(installed):
    """How many commands a whole run has, and what it makes of the node."""
    node = HeadNode(SINGLE, installed)
    try:
        assert run_until(node, 0).returncode == 0
        return int(node.path("/root/commands").read_text()), node.state()
    finally:
        node.destroy()


def test_a_start_that_is_killed_before_any_of_its_commands_is_made_good_by_the_next(new_head):
    state = "stat -c '%n %U:%G %a' /var/spool/slurm.state /var/spool/slurm.state/*"
    assert run_until(new_head, 0, "OnNodeStart").returncode == 0
    commands, undisturbed = (
        int(new_head.path("/root/commands").read_text()),
        new_head.enter("bash", "-c", state).stdout,
    )
    assert commands > 15
    for command in range(1, commands):
        new_head.enter("rm", "-rf", "/var/spool/slurm.state")
        assert run_until(new_head, command, "OnNodeStart").returncode != 0
        assert new_head.action("OnNodeStart").returncode == 0
        assert new_head.enter("bash", "-c", state).stdout == undisturbed
        assert new_head.path(KEY_FILE).read_text() == KEY


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_made_good_by_the_next(undisturbed, installed_head, moment):
    commands, state = undisturbed
    killed = run_until(installed_head, commands * int(moment.split()[0]) // 100)
    assert killed.returncode != 0, killed.stdout
    again = installed_head.action("OnNodeConfigured")
    assert again.returncode == 0, again.stdout
    assert installed_head.state() == state
    rest = RestApi(installed_head, KEY)
    assert rest.get(f"/slurm/{rest.version()}/diag")


def test_a_run_that_is_killed_while_it_installs_and_again_is_made_good_by_the_next(
    undisturbed, configured_head
):
    configured_head.copy_script("on_node_configured_ubuntu.sh")
    for package in "libdbi-perl", "mariadb-server":
        configured_head.enter(
            "systemd-run", "--quiet", "--collect", "--unit=action", f"{SCRIPTS}/on_node_configured_ubuntu.sh"
        )
        listed = ("dpkg-query", "--show", "--showformat", "${db:Status-Status}", package)
        wait_for(
            lambda listed=listed: configured_head.enter(*listed, check=False).stdout == "unpacked",
            60,
            f"{package} is unpacked",
        )
        configured_head.enter("systemctl", "kill", "--signal=KILL", "action")
        wait_for(
            lambda: configured_head.enter("systemctl", "is-active", "action", check=False).returncode,
            10,
            "it ends",
        )
    again = configured_head.action("OnNodeConfigured")
    assert again.returncode == 0, again.stdout
    assert configured_head.state() == undisturbed[1]
