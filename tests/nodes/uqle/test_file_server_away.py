"""The user data on a machine whose file server is away at its first boot."""

from collections.abc import Iterator

import pytest

from tests.nodes.uqle.conftest import MAC
from tests.nodes.uqle.virtual_machine import VirtualMachine, cloud_init, is_mounted, no_file_can_be_written


@pytest.fixture(scope="module")
def lonely(uqle_network, metadata, file_server) -> Iterator[VirtualMachine]:
    """A virtual machine after a first boot during which the file server was away; it is tried for a minute."""
    file_server.stop()
    machine = VirtualMachine("lonely", uqle_network, MAC, WAIT="60")
    try:
        machine.wait_until_booted()
        yield machine
    finally:
        machine.destroy()


def test_without_the_server_the_first_boot_ends_and_the_failure_is_seen(lonely, account):
    status = cloud_init(lonely)
    assert status["status"] == "error"
    assert "1 failures (part-001)" in str(status["errors"])
    said = f"[uqle_instance] ERROR: {account.file_server} is not mounted at /shared, tried for 60 s: see what mount says above"
    assert said in lonely.console
    assert lonely.shell("systemctl is-active multi-user.target ssh docker", check=False).split()[0] == "active"


def test_without_the_server_the_script_ends_with_the_status_of_its_cause(lonely):
    log = lonely.run("/bin/cat", "/var/log/cloud-init.log").stdout
    assert "Exit code: 75" in log


def test_without_the_server_nothing_is_written_to_the_local_disk_in_its_place(lonely):
    assert not is_mounted(lonely)
    assert no_file_can_be_written(lonely)


def test_run_again_when_the_server_is_there_the_script_mounts_the_share(lonely, file_server):
    file_server.start()
    try:
        assert "is mounted at /shared" in lonely.shell("/var/lib/cloud/instance/scripts/part-001", timeout=300)
        lonely.shell("echo at last >/shared/late && sync /shared/late")
        assert (file_server.share / "late").read_text() == "at last\n"
        assert lonely.shell("grep -c ' /shared ' /etc/fstab") == "1"
    finally:
        file_server.stop()
