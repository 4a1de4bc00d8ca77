"""`up` and `down`: run the other steps in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurm_cluster.aws import (
    blockers,
    jwt_secret,
    network,
    retained,
    script_bucket,
    stack,
    stack_status,
    uqle_instance,
)
from slurm_cluster.config import wizard_note
from slurm_cluster.errors import ClusterError, NetworkInUseError
from slurm_cluster.output import confirm, echo, echo_lines
from slurm_cluster.steps import cluster, configuration, render, requirements, uqle, vpc
from slurm_cluster.views import status

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef

    from slurm_cluster.project import Project

IDLE_COST, IDLE_COST_WITHOUT_UQLE = "0.31", "0.22"  # dollars an hour with no job running, from docs/costs.md


def up(p: Project, ssh_from: str, yes: bool, with_uqle: bool = True) -> None:
    """Run every step, from the key pair to the handover.

    Args:
        p: the project.
        ssh_from: the address range that may use SSH; `auto` for this machine's public address.
        yes: do not ask.
        with_uqle: whether to connect a UQLE machine to the cluster.
    """
    if not p.dry_run:
        vpc.check_network_owner(p)
        if with_uqle:
            uqle.check_settings(p)
        ssh_from = configuration.resolve_ssh_from(p, ssh_from)
        source = p.get_ssh_from(ssh_from)  # fails on an invalid range before anything is created
        confirm(
            "This takes about 20 minutes. With the default sizes, it costs about "
            f"{IDLE_COST if with_uqle else IDLE_COST_WITHOUT_UQLE} dollars an hour while no job runs. "
            "`invoke down --all` deletes everything again. "
            f"Create the cluster {p.cluster_name} in {p.region}, with SSH from {source}?",
            yes,
        )
    requirements.create_key_pair(p, public_key="")
    vpc.configure(p, head_node_subnet="", compute_subnet="")
    configuration.upload_bootstrap(p)
    configuration.create_jwt_key(p)
    configuration.fill_parameters(p, ssh_from, overwrite=False, yes=True)
    render.render(p)
    cluster.create_cluster(p)
    if with_uqle:
        uqle.connect_uqle(p)
        uqle.handover(p, with_key=False)


def confirm_deletion(p: Project, found: StackTypeDef | None, delete_all: bool, yes: bool) -> None:
    """List what `down` will delete, and ask for confirmation. Do not ask if there is nothing.

    Args:
        p: the project.
        found: the cluster's stack, if there is one.
        delete_all: whether the boot scripts and the JWT key are deleted too.
        yes: do not ask.

    Raises:
        ClusterError: the user did not confirm.
    """
    parts: dict[str, object] = {
        "the UQLE machine": uqle_instance.list_remaining_instances(p.ec2, p.cluster_name),
        "the cluster": found,
        "the network": network.find_network(p.ec2, p.cloudformation, p.cluster_name, p.wizard_subnet)
        or wizard_note.read_note(p.temp_config).cluster,  # an interrupted wizard may have left one
    }
    if delete_all:
        parts["the boot scripts"] = script_bucket.count_scripts(p.s3, p.bucket, p.cluster_name, p.account)
        parts["the JWT key"] = jwt_secret.find_secret_arn(p.secretsmanager, p.secret)
    existing = [name for name, part in parts.items() if part]
    if not existing:
        echo(
            f"Nothing of the cluster {p.cluster_name} exists in {p.region}. "
            "`invoke status --all-regions` shows what exists elsewhere."
        )
        return
    consequence = retained.describe_deletion(p.cloudformation, p.efs, found)
    question = (
        f"Delete these of {p.cluster_name} in {p.region}: {', '.join(existing)}? {consequence}".rstrip()
    )
    confirm(question, yes, name=p.cluster_name)


def down(p: Project, delete_all: bool, yes: bool) -> None:
    """Delete the UQLE machine, the cluster and the network, in the order that AWS allows; print what is left.

    Args:
        p: the project.
        delete_all: delete the boot scripts, the secret and its policy too.
        yes: do not ask.

    Raises:
        ClusterError: the user did not confirm, a deletion failed, or something else is in the network.
    """
    if not p.dry_run:
        found = stack.find_stack_in_phase(p.cloudformation, p.cluster_name, *cluster.DELETABLE_PHASES)
        if found and stack_status.get_phase(found["StackStatus"]) != "deleting":
            blockers.refuse_group_blockers(p.cloudformation, p.ec2, p.efs, p.cluster_name, with_uqle=False)
        confirm_deletion(p, found, delete_all, yes)
    uqle.disconnect_uqle(p, yes)
    cluster.delete_cluster(p, yes=True)
    in_use = ""
    try:
        vpc.delete_own_network(p)  # the leftovers below list unclaimed VPCs
    except NetworkInUseError as error:  # delete the rest first, then report it
        in_use = str(error)
    if delete_all and not p.skip_for_dry_run("delete the boot scripts, the secret and its policy"):
        deleted = script_bucket.delete_scripts(p.s3, p.bucket, p.cluster_name, p.account)
        deleted += jwt_secret.delete_secret_and_policy(p.secretsmanager, p.iam, p.secret, p.policy)
        echo_lines(f"Deleted {name}." for name in deleted)
    if not p.dry_run:
        leftovers = status.list_leftovers(p)
        echo_lines(["Left:", *(f"  {leftover}" for leftover in leftovers)] if leftovers else [])
    if in_use:
        raise ClusterError(in_use)
