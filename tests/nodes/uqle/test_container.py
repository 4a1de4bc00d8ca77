"""The user data on a node without a kernel of its own: Docker and compose, which it installs, with the shared folder.

The share is a folder that a stand-in of `mount.nfs4` binds, because this machine's kernel may lack NFS: the real one is in
`test_virtual_machine`.
"""

import pytest

from slurm_cluster import uqle_instance
from tests.nodes.cluster import root
from tests.nodes.machine import NETWORK, Machine

PLACE = uqle_instance.Place("pcluster-ubuntu", "eu-west-2", "stack", "sg-1", "subnet-1", "fs-0123456789abcdef0")

SCRIPT = "/var/lib/cloud/instance/scripts/part-001"
STAND_IN = """#!/bin/sh
# mount.nfs4 SOURCE FOLDER [-o OPTIONS]
exec mount --internal-only --bind /srv/share "$2"
"""
COMPOSE = """
services:
  server:
    image: test
    command: sh -c "echo written by the server >/data/page && exec httpd -f -p 8000 -h /data"
    volumes: ["/shared/data:/data"]
  client:
    image: test
    command: sh -c "until wget -q -O /data/fetched http://server:8000/page; do sleep 1; done"
    volumes: ["/shared/data:/data"]
    depends_on: [server]
"""
IMAGE = """
set -o errexit
mkdir -p /tmp/image/bin /tmp/image/tmp
cp /bin/busybox /tmp/image/bin
for name in sh httpd wget sleep; do ln -sf busybox "/tmp/image/bin/$name"; done
tar --create --directory /tmp/image . | docker import - test
"""


class DockerHost(Machine):
    """A machine in which containers can run as on one with a kernel of its own."""

    options = (
        "--capability=all",
        "--system-call-filter=add_key keyctl bpf",
        "--tmpfs=/var/lib/docker:mode=711",
        "--tmpfs=/var/lib/containerd:mode=711",
    )


@pytest.fixture
def share(tmp_path):
    return tmp_path


@pytest.fixture
def node(share):
    node = DockerHost("uqle", f"{NETWORK}.40", [root("uqle") / "root"], {"/srv/share": share})
    try:
        node.write("/etc/resolv.conf", "")
        node.write("/etc/cloud/cloud-init.disabled", "")  # the test does what it would do
        for unit in "systemd-networkd", "systemd-networkd-wait-online", "systemd-networkd.socket":
            name = unit if "." in unit else f"{unit}.service"
            node.path(f"/etc/systemd/system/{name}").symlink_to("/dev/null")
        node.boot()
        node.enter("useradd", "--create-home", "ubuntu")
        node.enter("dpkg-divert", "--local", "--rename", "--add", "/usr/sbin/mount.nfs4")
        node.write("/usr/sbin/mount.nfs4", STAND_IN, mode=0o755)
        node.write(SCRIPT, uqle_instance.user_data(PLACE, "/shared"), mode=0o755)
        yield node
    finally:
        node.destroy()


def test_docker_and_compose_run_two_services_that_share_the_folder(node, share):
    assert node.path("/bin/sh").readlink().name == "dash"
    done = node.run(SCRIPT, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{PLACE.file_system}.efs.{PLACE.region}.amazonaws.com is mounted at /shared, and Docker is installed" in done.stdout
    node.write("/srv/compose.yaml", COMPOSE)
    node.run("bash", "-c", IMAGE)
    command = "cd /srv && mkdir -p /shared/data && docker compose up --quiet-pull --exit-code-from client"
    node.run("bash", "-c", command)
    assert (share / "data/page").read_text() == (share / "data/fetched").read_text() == "written by the server\n"


def test_a_package_that_is_not_to_be_had_is_named_and_the_mount_point_takes_no_files(node, share):
    node.path("/srv/packages/Packages").write_text("")
    done = node.run(SCRIPT, check=False, WAIT="2", PAUSE="1")
    assert done.returncode == 69
    assert done.stdout.splitlines()[-1].endswith(
        "cannot install nfs-common and Docker (tried for 2 s): see the apt-get error above"
    )
    assert node.run("bash", "-c", "echo lost >/shared/file", check=False).returncode != 0
    assert list(node.path("/shared").iterdir()) == list(share.iterdir()) == []


def test_a_script_that_was_killed_ends_in_the_same_state_when_it_runs_again(node, share):
    for seconds in "0.5", "3", "8":
        node.run("timeout", "--signal=KILL", seconds, SCRIPT, check=False)
        node.enter("dpkg", "--configure", "-a", check=False)
    done = node.run(SCRIPT, check=False)
    assert done.returncode == 0, done.stdout
    assert node.path("/etc/fstab").read_text().count(" /shared nfs4 ") == 1
    assert node.enter("systemctl", "is-active", "docker").stdout.strip() == "active"
