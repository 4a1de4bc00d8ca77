"""The README's chapter on connecting: the UQLE machine reaches Slurm with the values that `handover` prints.

The nodes have the addresses, security groups, configuration and boot scripts that `invoke up` creates in the
emulated AWS. They share a folder of the file server, which the UQLE machine mounts.
"""

import shlex
from pathlib import Path

import pytest

from tests.nodes.support.cluster import REPOSITORY

pytestmark = pytest.mark.xdist_group("uqle")

# Like the UQLE API, read the environment, run a job on Slurm, and read the result from the mount point.
VERIFY_ON_UQLE_MACHINE = """
import os
from pathlib import Path
from slurm_cluster.slurm.smoke_job import run_smoke_job
lines = Path("uqle.env").read_text().splitlines()
environment = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
def read(path):
    return Path(environment["SHARED_MOUNT"] + path.removeprefix("/shared")).read_text()
for line in run_smoke_job(environment["SLURM_URL"], environment["SLURM_JWT_KEY"], read_output=read):
    print(line)
"""


@pytest.fixture(scope="module")
def uqle_machine(virtual_machine, connected_cluster, operator):
    """The UQLE machine with uqle.env, copied by the command that `handover` prints."""
    output = operator.run_task("handover", "--with-key")
    [copy] = [line.strip() for line in output.splitlines() if line.strip().startswith("scp ")]
    operator.run(*shlex.split(copy))
    return virtual_machine


def test_resolve_head_node_name(uqle_machine, connected_cluster, operator):
    """The private DNS name in uqle.env is that of the head node."""
    first_line = (operator.folder / "uqle.env").read_text().splitlines()[0]
    assert first_line.startswith("SLURM_URL=")
    name = first_line.removeprefix("SLURM_URL=http://").removesuffix(":8082")
    assert uqle_machine.run_shell(f"getent hosts {name}").split() == [
        connected_cluster.head_node.address,
        name,
    ]


def test_run_job_from_uqle_machine(uqle_machine, connected_cluster, operator):
    """The values of uqle.env are enough to run a job and to read its output."""
    words = operator.run_task("handover").split()
    login = next(word for word in words if word.startswith("ubuntu@")).rstrip(":")
    operator.run_task("handover", "--with-key")
    identity = ["-i", operator.private_key]
    Path(operator.folder, "job.py").write_text(VERIFY_ON_UQLE_MACHINE)
    operator.run("scp", *identity, "-r", str(REPOSITORY / "slurm_cluster"), "job.py", f"{login}:")
    output = operator.run("ssh", *identity, login, "python3 job.py").stdout
    steps = [line.split()[0] for line in output.splitlines() if not line.startswith("job")]
    assert steps == ["route", "slurmrestd", "token", "partition", "submit", "output", "accounting"], output
    assert "/shared/verify-slurm.txt, read on another machine" in output
    assert connected_cluster.compute_node.name in output
    assert uqle_machine.run_shell("stat -c '%U %u' /shared/verify-slurm.txt").split()[1] == "401"


def test_verify_through_uqle_machine(uqle_machine, connected_cluster, operator):
    """Without options, `verify` connects through the UQLE machine."""
    output = operator.run_task("verify")
    assert "read on another machine" in output
    assert "COMPLETED, exit status 0" in output
