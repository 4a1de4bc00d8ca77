"""The same machine in a later boot, and its twin, whose file server is away."""

import pytest

from tests.nodes.uqle.network import nft
from tests.nodes.uqle.virtual_machine import is_mounted, no_file_can_be_written

pytestmark = pytest.mark.xdist_group("uqle")


@pytest.fixture(scope="module")
def rebooted(rebooting):
    """The machine, which has booted again."""
    rebooting.twin.result()
    return rebooting.machine


@pytest.fixture(scope="module")
def unserved(rebooted, rebooting):
    """The twin: the file server refused it when it came to mount."""
    yield from rebooting.booted_twin()


def test_the_mount_is_back_before_docker_starts(rebooted, file_server):
    assert is_mounted(rebooted)
    assert rebooted.shell("cat /shared/kept") == "before the reboot"
    times = rebooted.shell(
        "systemctl show -P ActiveEnterTimestampMonotonic shared.mount; systemctl show -P ExecMainStartTimestampMonotonic docker"
    )
    mounted, docker = map(int, times.split())
    assert 0 < mounted < docker
    rebooted.shell("echo after the reboot >/shared/after && sync /shared/after")
    assert (file_server.share / "after").read_text() == "after the reboot\n"


def test_nothing_runs_again(rebooted):
    before, now = rebooted.shell("cat /shared/installed; stat -c %Y /var/log/apt/history.log").split()
    assert before == now
    assert rebooted.console.count("is mounted at /shared, and Docker is installed") == 1


def test_without_the_server_the_boot_goes_on_and_tells_what_failed(unserved):
    assert not is_mounted(unserved)
    assert "shared.mount" in unserved.shell("systemctl --failed --no-legend")
    assert unserved.shell("systemctl is-active docker multi-user.target", check=False).split() == [
        "active",
        "active",
    ]
    assert float(unserved.shell("cut -d' ' -f1 /proc/uptime")) < 300


def test_without_the_server_nothing_is_written_to_the_local_disk_in_its_place(unserved):
    assert no_file_can_be_written(unserved)


def test_when_the_server_is_there_it_can_be_mounted(unserved, rebooting):
    nft("delete table ip refuse", rebooting.network.namespace)
    unserved.shell("mount /shared")
    assert unserved.shell("cat /shared/kept") == "before the reboot"
