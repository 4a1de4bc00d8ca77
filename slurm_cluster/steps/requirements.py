"""Run the preflight checks, and create the key pair (README: Requirements)."""

from pathlib import Path

from slurm_cluster.aws import key_pair
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo
from slurm_cluster.project import Project
from slurm_cluster.views import checks


def check(p: Project) -> str:
    """Check everything that the steps need, and print the results.

    Returns:
        The next step.

    Raises:
        ClusterError: a check failed.
    """
    failed = False
    for result in checks.run_checks(p, p.template):
        echo(f"{result.result:7} {result.name}: {result.detail}")
        failed |= result.result == "FAIL"
    if failed:
        raise ClusterError("Fix what failed, then run this again.")
    return "invoke status" if p.network else "invoke configure"


def create_key_pair(p: Project, public_key: str) -> None:
    """Create the key pair, or import a public key.

    Args:
        p: the project.
        public_key: the path of a public key to import; empty to create a pair.
    """
    path = key_pair.get_private_key_path(p.key_pair)
    if public_key:
        if not p.skip_for_dry_run(
            f"import {public_key} as the key pair {p.key_pair}, and link {path} to its private key"
        ):
            echo(key_pair.import_key_pair(p.ec2, p.key_pair, Path(public_key).expanduser()))
    elif not p.skip_for_dry_run(f"create the key pair {p.key_pair}, with its private key in {path}"):
        echo(key_pair.create_key_pair(p.ec2, p.key_pair))
