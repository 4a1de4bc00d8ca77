"""README, Everything in one command and Teardown: `up` and `down`, from the other steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurm_cluster.aws import holders, jwt_secret, retained, script_bucket, stack
from slurm_cluster.errors import ClusterError, NetworkInUseError
from slurm_cluster.output import confirm, echo_lines
from slurm_cluster.steps import cluster, configuration, render, requirements, uqle, vpc
from slurm_cluster.views import status

if TYPE_CHECKING:
    from slurm_cluster.project import Project

IDLE_COST = "0.31"  # dollars an hour with no job running, from docs/costs.md


def up(p: Project, ssh_from: str, yes: bool) -> None:
    """Run every step, from the key pair to the handover.

    Args:
        p: the project.
        ssh_from: the address range that may use SSH.
        yes: do not ask.
    """
    if not p.dry_run:
        p.get_ssh_from(ssh_from)  # refuses a wrong one before anything is created
        confirm(
            "This takes about 20 minutes. You pay from the creation of the network on: about "
            f"{IDLE_COST} dollars an hour with no job running. `invoke down --all` deletes everything again. "
            f"Create the cluster {p.cluster} in {p.region}?",
            yes,
        )
    requirements.create_key_pair(p, public_key="")
    vpc.configure(p, head_node_subnet="", compute_subnet="")
    configuration.upload_bootstrap(p)
    configuration.create_jwt_key(p)
    configuration.fill_parameters(p, ssh_from, overwrite=False)
    render.render(p)
    cluster.create_cluster(p)
    uqle.connect_uqle(p)
    uqle.handover(p, with_key=False)


def down(p: Project, everything: bool, yes: bool) -> None:
    """Delete the UQLE machine, the cluster and the network, in the order that AWS allows; print what is left.

    Args:
        p: the project.
        everything: delete the boot scripts, the secret and its policy too.
        yes: do not ask.

    Raises:
        ClusterError: the user did not confirm, a deletion failed, or something else is in the network.
    """
    if not p.dry_run:
        found = stack.find_stack_in_phase(p.cloudformation, p.cluster, *cluster.DELETABLE_PHASES)
        if found and stack.get_phase(found["StackStatus"]) != "deleting":
            holders.refuse_group_holders(p.cloudformation, p.ec2, p.efs, p.cluster, with_uqle=False)
        consequence = retained.describe_deletion(p.cloudformation, p.efs, found)
        question = f"Delete the UQLE machine, the cluster {p.cluster} and its network? {consequence}"
        confirm(question, yes, name=p.cluster)
    uqle.disconnect_uqle(p, yes)
    cluster.delete_cluster(p, yes=True)
    in_use = ""
    try:
        vpc.delete_network(p)
    except NetworkInUseError as error:  # another cluster may be in it: delete what belongs to this one alone
        in_use = str(error)
    if everything and not p.skip_for_dry_run("delete the boot scripts, the secret and its policy"):
        deleted = script_bucket.delete_scripts(p.s3, p.bucket, p.cluster, p.account)
        deleted += jwt_secret.delete_secret_and_policy(p.secretsmanager, p.iam, p.secret, p.policy)
        echo_lines(f"Deleted {name}." for name in deleted)
    if not p.dry_run:
        echo_lines(["Left:", *(f"  {leftover}" for leftover in status.list_leftovers(p))])
    if in_use:
        raise ClusterError(in_use)
