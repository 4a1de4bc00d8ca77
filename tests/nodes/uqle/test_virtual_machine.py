"""The user data on a machine with a kernel of its own, as cloud-init runs it, with a real NFS server; Docker is a stand-in."""

import json
import re

import pytest

pytestmark = pytest.mark.xdist_group("uqle")

PACKAGES = ["nfs-common", "docker.io", "docker-compose-v2"]  # as Ubuntu calls them
ASKED = {"vers=4.1", "rsize=1048576", "wsize=1048576", "hard", "noresvport", "timeo=600", "retrans=2"}


def test_the_machine_takes_itself_to_be_in_ec2(machine, account):
    found = json.loads(machine.run("/bin/cat", "/run/cloud-init/instance-data.json").stdout)["v1"]
    assert found["cloud_id"] == "aws"
    assert found["instance_id"] == account.uqle["InstanceId"]
    assert found["region"] == "eu-west-2"


def test_nothing_is_read_from_the_metadata_service_without_a_token(machine, metadata):
    assert any(re.fullmatch(r"/[^/]+/user-data", path) for path in metadata.served)
    assert not any("user-data" in path for path in metadata.refused)
    without = "curl -s -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/user-data"
    assert machine.shell(without) == "401"


def test_cloud_init_runs_the_very_bytes_that_the_launch_gave_to_ec2(machine, account):
    found = machine.run("/bin/cat", "/var/lib/cloud/instance/scripts/part-001").stdout
    assert found.encode() == account.user_data
    assert (
        machine.run("/bin/cat", "/var/lib/cloud/instance/user-data.txt").stdout.encode() == account.user_data
    )


def test_the_script_succeeds_and_says_so_on_the_console(machine, account):
    result = json.loads(machine.run("/bin/cat", "/run/cloud-init/result.json").stdout)["v1"]
    assert (result["datasource"], result["errors"]) == ("DataSourceEc2Local", []), machine.console[-3000:]
    assert (
        f"[uqle_instance] {account.file_server} is mounted at /shared, and Docker is installed"
        in machine.console
    )


def test_ubuntus_packages_are_installed_by_one_command(machine):
    history = machine.run("/bin/cat", "/var/log/apt/history.log").stdout
    [command] = [
        line for line in history.splitlines() if line.startswith("Commandline:") and "nfs-common" in line
    ]
    assert command.split()[-3:] == PACKAGES
    listed = machine.run("/usr/bin/dpkg-query", "--show", "--showformat=${Status}\n", *PACKAGES).stdout
    assert listed.splitlines() == ["install ok installed"] * 3


def test_the_user_of_the_image_may_use_docker(machine):
    assert "docker" in machine.shell("id -nG ubuntu").split()


def test_the_share_is_mounted_with_the_options_that_aws_asks_for(machine, account):
    source, kind, options = machine.shell(
        "findmnt --noheadings --mountpoint /shared --output SOURCE,FSTYPE,OPTIONS"
    ).split()
    assert (source, kind) == (f"{account.file_server}:/", "nfs4")
    assert set(options.split(",")) >= ASKED, options
    assert f"addr={account.file_server_address}" in options
    assert machine.shell("grep -c ' /shared ' /etc/fstab") == "1"


def test_a_file_that_is_written_on_the_machine_is_on_the_server(machine, file_server):
    machine.shell("echo from the machine >/shared/written && sync /shared/written")
    assert (file_server.share / "written").read_text() == "from the machine\n"
    (file_server.share / "put").write_text("from the server\n")
    assert machine.shell("cat /shared/put") == "from the server"


def test_a_second_run_changes_nothing(machine):
    state = "cat /etc/fstab; stat -c %Z /etc/fstab; findmnt --noheadings /shared --output ID,OPTIONS"
    state += "; systemctl show -P MainPID docker"
    before = machine.shell(state)
    assert "is mounted at /shared" in machine.shell("/var/lib/cloud/instance/scripts/part-001", timeout=300)
    assert machine.shell(state) == before
