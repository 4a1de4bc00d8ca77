"""The user data on the machine's clone, which cannot reach the file server at its first boot."""

import pytest

from tests.nodes.support.virtual_machine import (
    is_share_mounted,
    is_share_write_protected,
    read_cloud_init_status,
)

# `reboot`: the other machine reboots meanwhile.
pytestmark = [pytest.mark.xdist_group("uqle"), pytest.mark.usefixtures("reboot")]


@pytest.fixture(scope="module")
def clone_without_server(first_boot):
    """The clone after its first boot: its user data tried for half a minute to mount, and failed."""
    yield from first_boot.wait_for_clone()


def test_first_boot_reports_failed_mount(clone_without_server, account):
    status = read_cloud_init_status(clone_without_server)
    assert status["status"] == "error"
    assert "1 failures (part-001)" in str(status["errors"])
    message = (
        f"cannot mount {account.file_system_name} at /shared (tried for 30 s): see the mount error above"
    )
    assert f"[uqle_instance] ERROR: {message}" in clone_without_server.console
    is_active = "systemctl is-active multi-user.target ssh docker"
    assert clone_without_server.run_shell(is_active, check=False).split()[0] == "active"


def test_exit_with_mount_status(clone_without_server):
    log = clone_without_server.run("/bin/cat", "/var/log/cloud-init.log").stdout
    assert "Exit code: 75" in log


def test_protect_mount_point_without_server(clone_without_server):
    """Nothing can be written to the local disk instead of the share."""
    assert not is_share_mounted(clone_without_server)
    assert is_share_write_protected(clone_without_server)


def test_rerun_mounts_when_server_is_reachable(clone_without_server, first_boot, account, file_server):
    first_boot.clone_interface.join_security_group(account.head_group_id)
    user_data = "/var/lib/cloud/instance/scripts/part-001"
    assert "is mounted at /shared" in clone_without_server.run_shell(user_data, timeout=300)
    clone_without_server.run_shell("echo at last >/shared/late && sync /shared/late")
    assert (file_server.share / "late").read_text() == "at last\n"
    assert clone_without_server.run_shell("grep -c ' /shared ' /etc/fstab") == "1"
