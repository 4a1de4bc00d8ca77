"""Jobs and containers in real cgroups: one machine with its own kernel is head node and compute node."""

from hashlib import sha256

import pytest

from tests.nodes.support.cluster import (
    KEY,
    REPOSITORY,
    SCRIPTS_FOLDER,
    NodeAddresses,
    get_root_file_system,
    get_template_values,
    render_slurm_files,
    render_template,
)
from tests.nodes.support.machine import NETWORK_PREFIX, create_network_namespace
from tests.nodes.support.services import mount_tools
from tests.nodes.support.virtual_machine import VirtualMachine

ADDRESS = "10.0.2.15"  # in QEMU's own network
NAME = "ip-10-0-2-15"
# ParallelCluster's settings with EnableMemoryBasedScheduling, in place of those for machines without cgroups.
SETTINGS = {
    "ProctrackType=proctrack/linuxproc": "ProctrackType=proctrack/cgroup",
    "TaskPlugin=task/none": "TaskPlugin=task/affinity,task/cgroup",
    "SelectTypeParameters=CR_CPU": "SelectTypeParameters=CR_CPU_Memory",
    "CgroupPlugin=disabled": "ConstrainCores=yes\nConstrainRAMSpace=yes",
}
SET_UP = f"""
set -e
ip link set lo up && ip address add {ADDRESS}/24 dev eth0 && ip link set eth0 up
hostname {NAME} && hostname >/etc/hostname
systemctl daemon-reload
install -d -m 1777 /shared
{SCRIPTS_FOLDER}/on_node_start_ubuntu.sh {KEY}
systemctl enable --now slurmctld
{SCRIPTS_FOLDER}/on_node_configured_ubuntu.sh
systemctl enable --now slurmd # ParallelCluster launches compute nodes only when the head node is complete
install -D -m 755 /bin/busybox /tmp/image/bin/sh && chmod 755 /tmp/image /tmp/image/bin
tar --create --directory /tmp/image --file /shared/image.tar .
"""
RUN = "podman run --rm --network=none localhost/test /bin/sh -c"


def render_files():
    """Return all files that ParallelCluster writes, and the boot scripts: path to text and mode."""
    values = get_template_values(NodeAddresses(ADDRESS, ADDRESS, NAME), "HeadNode")
    files = render_slurm_files(values)
    for path, (text, mode) in files.items():
        for setting, real in SETTINGS.items():
            text = text.replace(f"{setting}\n", f"{real}\n")
        files[path] = text, mode
    for name in "slurmctld", "slurmd":
        path = f"/etc/systemd/system/{name}.service"
        files[path] = render_template(f"{name}.service", values), 0o644
    for name in "on_node_start_ubuntu.sh", "on_node_configured_ubuntu.sh":
        files[f"{SCRIPTS_FOLDER}/{name}"] = (REPOSITORY / "bootstrap" / name).read_text(), 0o755
    files["/etc/parallelcluster/cfnconfig"] = render_template("cfnconfig", values), 0o644
    files["/etc/hosts"] = f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n", 0o644
    return files


@pytest.fixture(scope="module")
def machine():
    """The machine after all boot scripts ran.

    This takes minutes, so its snapshot is cached until one of the files changes.
    """
    mount_tools(get_root_file_system("tools"))
    namespace = create_network_namespace(f"{NETWORK_PREFIX}.40")
    folder, files = get_root_file_system("node"), render_files()
    version = sha256(repr((files, SET_UP)).encode()).hexdigest()[:12]
    snapshot = folder / f"set-up-{version}"
    machine = VirtualMachine("node", namespace, folder, 2, snapshot if snapshot.exists() else None)
    machine.wait_until_booted()
    if not snapshot.exists():
        for old_snapshot in folder.glob("set-up-*"):
            old_snapshot.unlink()
        machine.write_files(files)
        machine.run("/bin/bash", "-c", SET_UP, timeout=600, pause=5)
        machine.save(snapshot)
    yield machine
    machine.destroy()


@pytest.fixture(scope="module")
def run_job(machine):
    """Run a job of user slurm, and return its output, its number and fields of it from accounting.

    The commands run on the machine in one script, because each call of its agent takes a second.
    """

    def run(script, options, fields, before_end=":"):
        machine.write_files({"/root/job": (f"#!/bin/bash\n{script}\n", 0o755)})
        sacct = f"sacct --noheader --parsable2 --jobs=$job.batch --format={fields}"
        lines = machine.run(
            "/bin/bash",
            "-c",
            f"""PATH=/opt/slurm/bin:$PATH
job=$(runuser -u slurm -- sbatch --parsable --chdir=/shared --output=/shared/%j.out {options} </root/job)
{before_end}
until {sacct},end | grep -v Unknown | grep -q .; do sleep 1; done
echo $job; {sacct}; cat /shared/$job.out""",
            timeout=200,
            pause=3,
        ).stdout.splitlines()
        return "\n".join(lines[2:]), lines[0], lines[1].split("|")

    return run


def test_scripts_use_cgroups(machine):
    """Accounting reads the cgroups, and slurmrestd's memory is limited."""
    limit = "/sys/fs/cgroup/system.slice/slurmrestd.service/memory.max"
    output = machine.run_shell(f"/opt/slurm/bin/scontrol show config; cat {limit}")
    assert "jobacct_gather/cgroup" in output
    assert "proctrack/cgroup" in output
    assert output.splitlines()[-1] == str(512 * 2**20)


def test_container_is_counted_and_limited(run_job):
    """The container uses 100 MB and some processor time. It sees one of two processors."""
    script = f"""
podman import --quiet /shared/image.tar localhost/test
{RUN} 'nproc; dd if=/dev/zero of=/dev/null bs=100M count=30; cat /proc/1/cgroup'
cat /proc/self/cgroup"""
    options, fields = "--mem=300 --cpus-per-task=1 --acctg-freq=task=1", "state,maxrss,totalcpu"
    output, job_id, (state, memory, seconds) = run_job(script, options, fields)
    assert (state, bool(memory)) == ("COMPLETED", True), output
    assert "1" in output.splitlines()
    assert f"/job_{job_id}/step_batch/" in output
    assert int(memory.removesuffix("K")) > 100_000
    assert seconds > "00:01"


def test_container_cannot_exceed_memory_of_job(run_job):
    script = f"{RUN} 'dd if=/dev/zero of=/dev/null bs=400M count=1; echo survived'"
    output, _, (state,) = run_job(script, "--mem=200", "state")
    assert state == "OUT_OF_MEMORY", output


def test_scancel_ends_container(machine, run_job):
    container = "'[s]leep 54321'"
    cancel = f"""until grep -qs started /shared/$job.out; do sleep 1; done
pgrep --count --uid slurm --full {container} >/root/before
scancel $job"""
    output, job_id, (state,) = run_job(
        f"{RUN} 'echo started; exec sleep 54321'", "--mem=200", "state", cancel
    )
    assert state == "CANCELLED", output
    check = f"cat /root/before; pgrep --count --full {container}; find /sys/fs/cgroup -name job_{job_id}"
    before, after, *folders = machine.run_shell(f"sleep 5; {check}").split()
    assert int(before) >= 1
    assert (after, folders) == ("0", [])
