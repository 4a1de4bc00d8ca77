"""The user data on a machine in nspawn, with real Docker and Compose, which it installs.

The host's kernel may lack NFS, so a stub of `mount.nfs4` mounts a folder. `test_virtual_machine` uses NFS.
"""

import pytest

from slurm_cluster.aws import uqle_instance
from slurm_cluster.steps import uqle_env
from tests.nodes.support.cluster import (
    CLUSTER_NAME,
    DEBIAN_SUITES,
    REGION,
    REPOSITORY,
    get_root_file_system,
)
from tests.nodes.support.machine import NETWORK_PREFIX, Machine, wait_until

PLACE = uqle_instance.LaunchTarget(
    CLUSTER_NAME, REGION, "stack", "sg-1", "subnet-1", True, "fs-0123456789abcdef0"
)

USER_DATA = "/var/lib/cloud/instance/scripts/part-001"
MOUNT_STUB = """#!/bin/sh
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
IMPORT_IMAGE = """
set -o errexit
mkdir -p /tmp/image/bin /tmp/image/tmp
cp /bin/busybox /tmp/image/bin
for name in sh httpd wget sleep; do ln -sf busybox "/tmp/image/bin/$name"; done
tar --create --directory /tmp/image . | docker import - test
"""
# UQLE's repository is private. These services use Slurm and the shared files like UQLE's API and runner.
UQLE_COMPOSE = """
services:
  api:
    image: python
    command: [python3, submit.py]
    env_file: uqle.env
    working_dir: /srv
    volumes: ["/srv:/srv:ro"]
  runner:
    image: python
    command: [python3, /srv/read.py]
    volumes: ["/srv:/srv:ro", "/shared:/shared:ro"]
networks:
  default: {name: uqle_network, external: true}
"""
SUBMIT_JOB = """
import os
from slurm_cluster.slurm.rest_client import SlurmClient
client = SlurmClient(os.environ["SLURM_URL"], os.environ["SLURM_JWT_KEY"], "slurm")
list(client.discover_version())
client.submit_job("uqle", "#!/bin/sh\\nhostname >/shared/uqle.new && mv /shared/uqle.new /shared/uqle.txt")
"""
READ_OUTPUT = """
import time
from pathlib import Path
output = Path("/shared/uqle.txt")
while not output.exists():
    time.sleep(0.2)
print("read", output.read_text(), flush=True)
"""
# There is no registry, so the machine's own Python becomes an image.
IMPORT_PYTHON = """
set -o errexit -o pipefail
cd /
libraries=$(find usr/lib/x86_64-linux-gnu -maxdepth 2 -name '*.so*')
tar --create bin etc/ssl lib lib64 usr/lib64 usr/bin/python3* usr/lib/python3* $libraries | docker import - python
"""


class DockerMachine(Machine):
    """A machine in nspawn that may run containers."""

    options = (
        "--capability=all",
        "--system-call-filter=add_key keyctl bpf",
        "--tmpfs=/var/lib/docker:mode=711",
        "--tmpfs=/var/lib/containerd:mode=711",
    )


@pytest.fixture
def share(request, tmp_path):
    """The folder that the machine mounts: the cluster's, if the test has one."""
    if "cluster" in request.fixturenames:
        return request.getfixturevalue("cluster").head_node.get_path("/shared")
    return tmp_path


@pytest.fixture
def machine(share):
    layers = [get_root_file_system("uqle") / "root"]
    machine = DockerMachine("uqle", f"{NETWORK_PREFIX}.45", layers, {"/srv/share": share})
    try:
        machine.write_file("/etc/resolv.conf", "")
        machine.write_file("/etc/cloud/cloud-init.disabled", "")  # the tests run the user data themselves
        for unit in "networkd.service", "networkd-wait-online.service", "networkd.socket":
            machine.get_path(f"/etc/systemd/system/systemd-{unit}").symlink_to("/dev/null")
        machine.boot()
        machine.nsenter("useradd", "--create-home", "ubuntu")
        machine.nsenter("dpkg-divert", "--local", "--rename", "--add", "/usr/sbin/mount.nfs4")
        machine.write_file("/usr/sbin/mount.nfs4", MOUNT_STUB, mode=0o755)
        machine.write_file(USER_DATA, uqle_instance.render_user_data(PLACE, "/shared"), mode=0o755)
        yield machine
    finally:
        machine.destroy()


def test_run_compose_services_on_share(machine, share):
    assert machine.get_path("/bin/sh").readlink().name == "dash"
    result = machine.run(USER_DATA, check=False)
    assert result.returncode == 0, result.stdout
    file_system = f"{PLACE.file_system_id}.efs.{PLACE.region}.amazonaws.com"
    assert f"{file_system} is mounted at /shared, and Docker is installed" in result.stdout
    machine.write_file("/srv/compose.yaml", COMPOSE)
    machine.run("bash", "-c", IMPORT_IMAGE)
    compose_up = "docker compose up --quiet-pull --exit-code-from client"
    machine.run("bash", "-c", f"cd /srv && mkdir -p /shared/data && {compose_up}")
    page, fetched_page = (share / "data/page").read_text(), (share / "data/fetched").read_text()
    assert page == fetched_page == "written by the server\n"


@pytest.mark.parametrize("cluster", DEBIAN_SUITES[:1], indirect=True)
def test_run_job_and_read_its_output_in_compose_services(machine, share, cluster, tmp_path):
    """The services need only uqle.env and the shared folder."""
    head_node, key = cluster.head_node, cluster.rest_api.key
    uqle_env.write_uqle_env(tmp_path / "uqle.env", head_node.address, "/shared", key, "")
    assert machine.run(USER_DATA, check=False).returncode == 0
    machine.write_file("/srv/uqle.env", (tmp_path / "uqle.env").read_text(), mode=0o600)
    files = {"compose.yml": UQLE_COMPOSE, "submit.py": SUBMIT_JOB, "read.py": READ_OUTPUT}
    for path in REPOSITORY.glob("slurm_cluster/**/*.py"):
        files[str(path.relative_to(REPOSITORY))] = path.read_text()
    for name, text in files.items():
        machine.write_file(f"/srv/{name}", text)
    machine.run("bash", "-c", IMPORT_PYTHON)
    machine.run("docker", "network", "create", "uqle_network")
    compose = "docker-compose --file /srv/compose.yml"
    machine.run("bash", "-c", f"{compose} up --detach")
    logs = ""

    def has_read_output():
        nonlocal logs
        logs = machine.run("bash", "-c", f"{compose} logs --no-log-prefix").stdout
        assert "Traceback" not in logs, logs
        return "read " in logs

    wait_until(has_read_output, 60, "the job has written its file, and the runner has read it", pause=1)
    assert f"read {cluster.compute_node.name}\n" in logs
    assert (share / "uqle.txt").read_text() == f"{cluster.compute_node.name}\n"


def test_report_missing_package(machine, share):
    """The mount point stays protected from writes."""
    machine.get_path("/srv/packages/Packages").write_text("")
    result = machine.run(USER_DATA, check=False, WAIT="2", PAUSE="1")
    assert result.returncode == 69
    message = "cannot install nfs-common and Docker (tried for 2 s): see the apt-get error above"
    assert result.stdout.splitlines()[-1].endswith(message)
    assert machine.run("bash", "-c", "echo lost >/shared/file", check=False).returncode != 0
    assert list(machine.get_path("/shared").iterdir()) == list(share.iterdir()) == []


def test_rerun_after_kills(machine, share):
    for seconds in "0.5", "3", "8":
        machine.run("timeout", "--signal=KILL", seconds, USER_DATA, check=False)
        machine.nsenter("dpkg", "--configure", "-a", check=False)
    result = machine.run(USER_DATA, check=False)
    assert result.returncode == 0, result.stdout
    assert machine.get_path("/etc/fstab").read_text().count(" /shared nfs4 ") == 1
    assert machine.nsenter("systemctl", "is-active", "docker").stdout.strip() == "active"


def test_without_a_file_system_nothing_is_mounted(machine):
    machine.write_file(
        USER_DATA, uqle_instance.render_user_data(PLACE._replace(file_system_id=""), "/shared"), mode=0o755
    )
    result = machine.run(USER_DATA, check=False)
    assert result.returncode == 0, result.stdout
    assert "Docker is installed; no file system is mounted" in result.stdout
    assert "/shared" not in machine.run("cat", "/etc/fstab").stdout
    assert not machine.get_path("/shared").exists()
    assert "docker" in machine.run("id", "--groups", "--name", "ubuntu").stdout
