"""The user data on the machine's twin, whose packets to the file server go nowhere at its first boot."""

import pytest

from tests.nodes.uqle.virtual_machine import cloud_init, is_mounted, no_file_can_be_written

pytestmark = [pytest.mark.xdist_group("uqle"), pytest.mark.usefixtures("rebooting")]  # while the other one boots again


@pytest.fixture(scope="module")
def lonely(booting):
    """The twin, which found no file server when its user data came to mount; it is tried for half a minute."""
    yield from booting.booted_twin()


def test_without_the_server_the_first_boot_ends_and_the_failure_is_seen(lonely, account):
    status = cloud_init(lonely)
    assert status["status"] == "error"
    assert "1 failures (part-001)" in str(status["errors"])
    error = f"cannot mount {account.file_server} at /shared (tried for 30 s): see the mount error above"
    assert f"[uqle_instance] ERROR: {error}" in lonely.console
    assert lonely.shell("systemctl is-active multi-user.target ssh docker", check=False).split()[0] == "active"


def test_without_the_server_the_script_ends_with_the_status_of_its_cause(lonely):
    log = lonely.run("/bin/cat", "/var/log/cloud-init.log").stdout
    assert "Exit code: 75" in log


def test_without_the_server_nothing_is_written_to_the_local_disk_in_its_place(lonely):
    assert not is_mounted(lonely)
    assert no_file_can_be_written(lonely)


def test_run_again_when_the_server_is_there_the_script_mounts_the_share(lonely, booting, account, file_server):
    booting.network.join(account.head_group)
    assert "is mounted at /shared" in lonely.shell("/var/lib/cloud/instance/scripts/part-001", timeout=300)
    lonely.shell("echo at last >/shared/late && sync /shared/late")
    assert (file_server.share / "late").read_text() == "at last\n"
    assert lonely.shell("grep -c ' /shared ' /etc/fstab") == "1"
