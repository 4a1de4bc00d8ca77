"""The README's "connecting", for real: the UQLE machine reaches Slurm through the security groups, by what `handover` says.

The nodes boot in the places of the emulated AWS's: with its addresses, behind its groups, from the configuration that
`invoke up` rendered and the scripts that it uploaded. They share a folder of the file server, which the UQLE machine mounts.
"""

import shlex
from pathlib import Path

import pytest

from tests.nodes.cluster import REPOSITORY

pytestmark = pytest.mark.xdist_group("uqle")

# What the UQLE API does: it reads its environment, has Slurm run a job, and takes the result from its own mount point.
JOB = """
import os
from pathlib import Path
from slurm_cluster.verification import verify
environment = dict(line.split("=", 1) for line in Path("uqle.env").read_text().splitlines())
def read(path):
    return Path(environment["SHARED_MOUNT"] + path.removeprefix("/shared")).read_text()
for line in verify(environment["SLURM_URL"], environment["SLURM_JWT_KEY"], read_output=read):
    print(line)
"""


@pytest.fixture(scope="module")
def uqle(machine, connected, person):
    """The UQLE machine, with uqle.env on it, copied as `handover` says."""
    said = person.invoke("handover", "--with-key")
    [copy] = [line.strip() for line in said.splitlines() if line.strip().startswith("scp ")]
    person.run(*shlex.split(copy))
    return machine


def test_the_private_name_of_the_head_node_resolves_to_it_on_the_uqle_machine(uqle, connected, person):
    [url] = [
        line.removeprefix("SLURM_URL=") for line in (person.folder / "uqle.env").read_text().splitlines()[:1]
    ]
    name = url.removeprefix("http://").removesuffix(":8082")
    assert uqle.shell(f"getent hosts {name}").split() == [connected.head.address, name]


def test_uqle_runs_a_job_by_the_values_of_uqle_env_and_reads_its_output_under_its_own_mount_point(
    uqle, connected, person
):
    machine = next(each for each in person.invoke("handover").split() if each.startswith("ubuntu@")).rstrip(
        ":"
    )
    person.invoke("handover", "--with-key")
    key = ["-i", person.private_key]
    Path(person.folder, "job.py").write_text(JOB)
    person.run("scp", *key, "-r", str(REPOSITORY / "slurm_cluster"), "job.py", f"{machine}:")
    said = person.run("ssh", *key, machine, "python3 job.py").stdout
    links = [line.split()[0] for line in said.splitlines() if not line.startswith("job")]
    assert links == ["route", "slurmrestd", "token", "partition", "submit", "output", "accounting"], said
    assert "/shared/verify-slurm.txt, read on another machine" in said
    assert connected.compute.name in said
    assert uqle.shell("stat -c '%U %u' /shared/verify-slurm.txt").split()[1] == "401"


def test_verify_goes_through_the_uqle_machine_by_itself(uqle, connected, person):
    said = person.invoke("verify")
    assert "read on another machine" in said
    assert "COMPLETED, exit status 0" in said
