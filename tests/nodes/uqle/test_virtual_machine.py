"""The user data on a machine with its own kernel, run by cloud-init, with real NFS. Docker is a stub."""

import json
import re

import pytest

pytestmark = pytest.mark.xdist_group("uqle")

USER_DATA = "/var/lib/cloud/instance/scripts/part-001"
PACKAGES = ["nfs-common", "docker.io", "docker-compose-v2"]  # Ubuntu's names
MOUNT_OPTIONS = {"vers=4.1", "rsize=1048576", "wsize=1048576", "hard", "noresvport", "timeo=600", "retrans=2"}


def test_detect_ec2(virtual_machine, account):
    output = virtual_machine.run("/bin/cat", "/run/cloud-init/instance-data.json").stdout
    data = json.loads(output)["v1"]
    assert data["cloud_id"] == "aws"
    assert data["instance_id"] == account.uqle_instance["InstanceId"]
    assert data["region"] == "eu-west-2"


def test_read_metadata_with_token(virtual_machine, metadata_service):
    """The machine reads its user data only with a token."""
    assert any(re.fullmatch(r"/[^/]+/user-data", path) for path in metadata_service.served_paths)
    assert not any("user-data" in path for path in metadata_service.refused_paths)
    url = "http://169.254.169.254/latest/user-data"
    assert virtual_machine.run_shell(f"curl -s -o /dev/null -w '%{{http_code}}' {url}") == "401"


def test_run_unchanged_user_data(virtual_machine, account):
    """cloud-init runs exactly the bytes that were passed to EC2."""
    for path in USER_DATA, "/var/lib/cloud/instance/user-data.txt":
        assert virtual_machine.run("/bin/cat", path).stdout.encode() == account.user_data


def test_user_data_succeeds(virtual_machine, account):
    """The console shows the success message."""
    output = virtual_machine.run("/bin/cat", "/run/cloud-init/result.json").stdout
    result = json.loads(output)["v1"]
    console = virtual_machine.console
    assert (result["datasource"], result["errors"]) == ("DataSourceEc2Local", []), console[-3000:]
    message = f"{account.file_system_name} is mounted at /shared, and Docker is installed"
    assert f"[uqle_instance] {message}" in console


def test_install_packages_with_one_command(virtual_machine):
    history = virtual_machine.run("/bin/cat", "/var/log/apt/history.log").stdout
    commands = [line for line in history.splitlines() if line.startswith("Commandline:")]
    [command] = [line for line in commands if "nfs-common" in line]
    assert command.split()[-3:] == PACKAGES
    query = "/usr/bin/dpkg-query", "--show", "--showformat=${Status}\n", *PACKAGES
    assert virtual_machine.run(*query).stdout.splitlines() == ["install ok installed"] * 3


def test_default_user_may_use_docker(virtual_machine):
    assert "docker" in virtual_machine.run_shell("id -nG ubuntu").split()


def test_mount_with_recommended_options(virtual_machine, account):
    findmnt = "findmnt --noheadings --mountpoint /shared --output SOURCE,FSTYPE,OPTIONS"
    source, file_system_type, options = virtual_machine.run_shell(findmnt).split()
    assert (source, file_system_type) == (f"{account.file_system_name}:/", "nfs4")
    assert set(options.split(",")) >= MOUNT_OPTIONS, options
    assert f"addr={account.file_system_address}" in options
    assert virtual_machine.run_shell("grep -c ' /shared ' /etc/fstab") == "1"


def test_share_files_with_server(virtual_machine, file_server):
    virtual_machine.run_shell("echo from the machine >/shared/written && sync /shared/written")
    assert (file_server.share / "written").read_text() == "from the machine\n"
    (file_server.share / "put").write_text("from the server\n")
    assert virtual_machine.run_shell("cat /shared/put") == "from the server"


def test_second_run_changes_nothing(virtual_machine):
    read_state = "cat /etc/fstab; stat -c %Z /etc/fstab; findmnt --noheadings /shared --output ID,OPTIONS"
    read_state += "; systemctl show -P MainPID docker"
    before = virtual_machine.run_shell(read_state)
    assert "is mounted at /shared" in virtual_machine.run_shell(USER_DATA, timeout=300)
    assert virtual_machine.run_shell(read_state) == before
