"""Run the wizard of `pcluster configure`, and delete its network (README: Creating the VPC)."""

from slurm_cluster import errors, files, output
from slurm_cluster.aws import blockers, key_pair, network, stack, unclaimed_vpcs
from slurm_cluster.aws.clients import TAG, get_tag
from slurm_cluster.config import parameters, temp_config, wizard_note
from slurm_cluster.errors import ClusterError, CommandError
from slurm_cluster.output import echo, echo_lines
from slurm_cluster.project import Project
from slurm_cluster.state import sizes, unclaimed_networks
from slurm_cluster.steps import existing_network, pcluster, wizard, wizard_vpc

WIZARD_SECONDS = 3600
LOCK_TASK = "configure"  # delete-network takes the same lock; the message names this task


def configure(p: Project, head_node_subnet: str, compute_subnet: str) -> None:
    """Create the network with the wizard, or use an existing one.

    Args:
        p: the project.
        head_node_subnet: the id of an existing public subnet; empty for the wizard.
        compute_subnet: the id of an existing subnet for the compute nodes; required with head_node_subnet.
    """
    if head_node_subnet or compute_subnet:
        wanted = temp_config.TempConfig(p.region, p.key_pair, head_node_subnet, compute_subnet)
        if not p.skip_for_dry_run(f"write {p.temp_config} for {head_node_subnet} and {compute_subnet}"):
            echo(existing_network.use_existing_network(p.ec2, p.temp_config, p.cluster_name, wanted))
        return
    command = pcluster.build_command("configure", "-c", str(p.temp_config))
    if p.dry_run:
        p.run(command)
        return
    check_network_owner(p)
    ec2, cloudformation = p.ec2, p.cloudformation  # created before the lock, to hold it only briefly
    with files.acquire_lock(p.temp_config.parent, LOCK_TASK):
        wizard_vpc.claim_wizard_vpc(ec2, cloudformation, p.temp_config)
        network.refuse_incomplete(
            network.find_network(ec2, cloudformation, p.cluster_name, p.wizard_subnet), p.region
        )
        if files.exists(p.temp_config):
            check_configured_network(p)
            return
        check_ready(p)
        run_wizard(p, command)


def check_network_owner(p: Project) -> None:
    """Check that the network in temp-config.yml does not belong to another cluster.

    Raises:
        ClusterError: it has another cluster's tag.
    """
    vpc = network.find_vpc_of_subnet(p.ec2, p.wizard_subnet) if p.wizard_subnet else None
    owner = get_tag(vpc, TAG) if vpc else ""
    if owner not in ("", p.cluster_name):
        raise ClusterError(
            f"{p.temp_config} is for the cluster {owner}, and this command is for {p.cluster_name}. "
            "Use a folder for each cluster."
        )


def check_configured_network(p: Project) -> None:
    """Check that the network in temp-config.yml exists.

    Raises:
        ClusterError: it does not.
    """
    subnet = temp_config.read_temp_config(p.temp_config).public_subnet
    if network.find_vpc_of_subnet(p.ec2, subnet) is None:
        raise ClusterError(
            f"{p.temp_config} names {subnet}, which is not in {p.region}. "
            "Move the file away, then run this again."
        )
    echo(f"{p.temp_config} exists, and so does its network: nothing to do.")


def check_ready(p: Project) -> None:
    """Check that the wizard can run, and that the cluster has no network yet. Print unclaimed VPCs.

    Raises:
        ClusterError: there is no key pair, or the cluster has a network, or may have one.
    """
    key_pair.require_key_pair(p.ec2, p.key_pair)
    network.refuse_second_network(p.ec2, p.cluster_name)
    candidates = unclaimed_networks.list_candidate_vpcs(p)
    wizard_vpc.check_no_candidate_vpcs(candidates, p.temp_config, p.cluster_name, p.region)
    echo_lines(unclaimed_networks.format_unclaimed_vpcs(p))


def run_wizard(p: Project, command: str) -> None:
    """Run the wizard, answer its prompts, and claim its VPC.

    Raises:
        ClusterError: it did not finish. The message names the VPC that it left.
    """
    types = sizes.list_types(sizes.read_template_groups(p, p.template))
    answers = wizard.get_answers(p.region, p.key_pair, types)
    screen = wizard.WizardScreen(
        p.cloudformation, lambda stack_id: wizard_note.record_stack(p.temp_config, stack_id), p.quiet
    )
    reason, exit_status = "", 1
    with wizard_vpc.track_vpc(p.ec2, p.cloudformation, p.temp_config, p.cluster_name) as claimed:
        try:
            result = p.run(
                command,
                watchers=[wizard.PromptAnswerer(answers)],
                pty=True,
                fallback=False,
                in_stream=False,
                out_stream=screen,
                timeout=WIZARD_SECONDS,
            )
            reason = errors.find_hint(result.stdout)
        except KeyboardInterrupt:
            reason, exit_status = "it was stopped", 130
        except CommandError as error:
            reason = str(error)
    if files.exists(p.temp_config):  # pcluster exits with 0 even if it did not finish
        echo(f"Created the network {', '.join(claimed)}. {p.temp_config} names its subnets.")
        return
    lines = [f"The wizard did not finish{f': {reason}' if reason else ''}".rstrip(".") + "."]
    if claimed:
        lines.append(f"It left {claimed[0]}: `invoke delete-network` deletes it.")
    else:
        candidates = unclaimed_networks.list_candidate_vpcs(p)
        lines += unclaimed_vpcs.describe_unclaimed_vpcs(candidates, p.cluster_name, p.region)
    raise ClusterError("\n".join(lines), status=exit_status)


def delete_network(p: Project) -> None:
    """Delete the network that the wizard created for the cluster. If there is none, list unclaimed VPCs."""
    if not delete_own_network(p):
        echo_lines(unclaimed_networks.format_unclaimed_vpcs(p))


def delete_own_network(p: Project) -> bool:
    """Delete the network that the wizard created for the cluster.

    Returns:
        Whether there was one; True in a dry run.

    Raises:
        NetworkInUseError: something else is in it.
        ClusterError: the cluster is in it, or a stack was not deleted.
    """
    if p.skip_for_dry_run(f"delete the network of {p.cluster_name}"):
        return True
    ec2, cloudformation = p.ec2, p.cloudformation  # created before the lock, to hold it only briefly
    with files.acquire_lock(p.temp_config.parent, LOCK_TASK):
        wizard_vpc.claim_wizard_vpc(ec2, cloudformation, p.temp_config)
    found = network.find_network(p.ec2, p.cloudformation, p.cluster_name, p.wizard_subnet)
    if not found:
        echo(network.explain_no_network(p.ec2, p.cluster_name, p.public_subnet))
        return False
    network.refuse_network_in_use(p.ec2, p.cloudformation, p.efs, p.cluster_name, found)
    network.claim_vpc(p.ec2, found.vpc_id, p.cluster_name)
    for name in found.stacks:
        progress = network.delete_wizard_stack(p.cloudformation, name)
        if output.show_progress(progress, p.quiet) != "DELETE_COMPLETE":
            raise ClusterError(explain_failed_network_deletion(p, name, found))
    clear_deleted_subnets(p)  # before the VPC is deleted, so that an interrupted run can be repeated
    network.delete_vpc(p.ec2, found.vpc_id)
    echo(f"Deleted the network {found.vpc_id}.")
    return True


def explain_failed_network_deletion(p: Project, name: str, found: network.Network) -> str:
    """Return why a stack of a network was not deleted, what is still in the network, and what to do."""
    failed = stack.find_stack(p.cloudformation, name)
    reasons = stack.list_failures(p.cloudformation, failed["StackId"]) if failed else []
    lines = [f"The stack {name} of the network was not deleted.", *(f"  {reason}" for reason in reasons)]
    others = network.find_blockers(p.ec2, p.cloudformation, p.efs, p.cluster_name, found)
    if others:
        lines += [f"These resources are in {found.vpc_id}:", *blockers.format_blockers(others)]
    return "\n".join([*lines, "Fix the cause, then run this again."])


def clear_deleted_subnets(p: Project) -> None:
    """Remove deleted subnets from the user's files, so that the next network's can be filled in."""
    missing = network.find_missing_subnets(p.ec2, p.subnets)
    parameters.clear_values(p.parameter_file, missing)
    if files.exists(p.temp_config) and p.public_subnet in missing:
        p.temp_config.unlink(missing_ok=True)
        echo(f"Removed {p.temp_config}, which named the deleted subnets.")
