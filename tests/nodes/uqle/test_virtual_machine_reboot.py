"""The same machine after a reboot, and its clone, which reboots without a file server."""

import pytest

from tests.nodes.support.network import load_nft_rules
from tests.nodes.support.virtual_machine import is_share_mounted, is_share_write_protected

pytestmark = pytest.mark.xdist_group("uqle")


@pytest.fixture(scope="module")
def rebooted_machine(reboot):
    """The machine after its reboot."""
    reboot.clone.result()
    return reboot.machine


@pytest.fixture(scope="module")
def clone_without_server(rebooted_machine, reboot):
    """The clone after its boot, in which the file server refused the connection."""
    yield from reboot.wait_for_clone()


def test_mount_before_docker_starts(rebooted_machine, file_server):
    assert is_share_mounted(rebooted_machine)
    assert rebooted_machine.run_shell("cat /shared/kept") == "before the reboot"
    times = rebooted_machine.run_shell(
        "systemctl show -P ActiveEnterTimestampMonotonic shared.mount;"
        " systemctl show -P ExecMainStartTimestampMonotonic docker"
    )
    mounted, docker_started = map(int, times.split())
    assert 0 < mounted < docker_started
    rebooted_machine.run_shell("echo after the reboot >/shared/after && sync /shared/after")
    assert (file_server.share / "after").read_text() == "after the reboot\n"


def test_user_data_does_not_run_again(rebooted_machine):
    read_times = "cat /shared/installed; stat -c %Y /var/log/apt/history.log"
    before, after = rebooted_machine.run_shell(read_times).split()
    assert before == after
    assert rebooted_machine.console.count("is mounted at /shared, and Docker is installed") == 1


def test_boot_without_server(clone_without_server):
    """The boot completes, and systemd lists the failed mount."""
    assert not is_share_mounted(clone_without_server)
    assert "shared.mount" in clone_without_server.run_shell("systemctl --failed --no-legend")
    is_active = "systemctl is-active docker multi-user.target"
    assert clone_without_server.run_shell(is_active, check=False).split() == ["active", "active"]
    assert float(clone_without_server.run_shell("cut -d' ' -f1 /proc/uptime")) < 300


def test_protect_mount_point_without_server(clone_without_server):
    """Nothing can be written to the local disk instead of the share."""
    assert is_share_write_protected(clone_without_server)


def test_mount_when_server_returns(clone_without_server, reboot):
    load_nft_rules("delete table ip refuse", reboot.clone_interface.namespace)
    clone_without_server.run_shell("mount /shared")
    assert clone_without_server.run_shell("cat /shared/kept") == "before the reboot"
