"""Create, update and delete the cluster with `pcluster` (README: Creating the cluster)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurm_cluster.aws import blockers, nodes, retained, stack, stack_status
from slurm_cluster.config import cluster_config, parameters
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import confirm, echo, echo_lines, show_progress
from slurm_cluster.state import cluster_state, storage
from slurm_cluster.steps import configuration, pcluster, preflight
from slurm_cluster.steps.render import replace_ssh_from

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef

    from slurm_cluster.project import Project

VERIFY = "invoke verify"
DELETABLE_PHASES = ("creating", "complete", "half-updated", "failed", "deleting")


def build_configuration_command(p: Project, action: str, *more: str) -> str:
    """Return the pcluster command that creates or updates the cluster from config.yml."""
    arguments = ["--cluster-configuration", str(p.config_file), "--cluster-name", p.cluster_name]
    return pcluster.build_command(action, *arguments, *more, region=p.region)


def check_config_file(p: Project) -> None:
    """Refuse a config.yml with which nodes cannot boot. Warn about features that it disables."""
    config = cluster_config.load(p.config_file)
    ssh_from = config.head_node.ssh_from
    if ssh_from:
        is_own = ssh_from != p.filled_values.get("SSH_FROM")
        setting = f"HeadNode / Ssh / AllowedIps in {p.config_file}" if is_own else "SSH_FROM"
        configuration.warn_of_wide_range(p, ssh_from, setting)
    elif not config.head_node.own_security_groups:
        p.warn(f"{p.config_file} has no HeadNode / Ssh / AllowedIps. {parameters.OPEN_BY_DEFAULT}")
    preflight.check_configuration(config, p.config_file, p.cluster_name, p.region, p.s3)
    for warning in preflight.list_all_warnings(p, config):
        p.warn(warning)


def create_cluster(p: Project) -> str:
    """Create the cluster of config.yml, or watch a creation that is in progress.

    Returns:
        The next step.

    Raises:
        ClusterError: config.yml is refused, the creation failed, or an existing cluster has lost its head
            node.
    """
    dry_run = build_configuration_command(p, "create-cluster", "--dryrun", "true")
    create = build_configuration_command(p, "create-cluster")
    if p.dry_run:
        p.run(dry_run)
        p.run(create)
        return ""
    found = stack.find_stack_in_phase(p.cloudformation, p.cluster_name, "complete", "creating")
    if found and stack_status.get_phase(found["StackStatus"]) == "complete":
        nodes.require_head_node(p.ec2, found, allow_stopped=True)
        echo(f"The cluster {p.cluster_name} exists already: {found['StackStatus']}.")
        return choose_connect_command(p, found)
    if not found:
        check_config_file(p)
        result = p.run(dry_run, hide=True)
        echo_lines(pcluster.check_dry_run(result.stdout, result.stderr))
        pcluster.check_result(p.run(create, hide=True))
        found = stack.wait_until_listed(p.cloudformation, p.cluster_name)
    if show_progress(stack.watch_stack(p.cloudformation, found["StackId"]), p.quiet) != "CREATE_COMPLETE":
        reason = stack.explain_failed_creation(p.cloudformation, p.logs, p.cluster_name, found["StackId"])
        raise ClusterError(reason)
    echo(f"Created the cluster {p.cluster_name}.")
    return choose_connect_command(p, found)


def choose_connect_command(p: Project, cluster: StackTypeDef) -> str:
    """Return the step after the creation: connect-uqle with the right flags, or verify if it cannot work."""
    config, fault = cluster_state.load_config_or_error(p.s3, cluster)
    if config.head_node.own_security_groups:
        return VERIFY
    shared = storage.find_shared(storage.list_storage(config, cluster), p.shared_dir)
    obstacle = storage.explain_mount_obstacle(p, shared, loaded=None, rules=[], subnet=None, group_id="")
    flag = " --no-shared" if obstacle and not fault else ""
    return f"invoke connect-uqle{flag} (without UQLE: {VERIFY})"


def update_cluster(p: Project, ssh_from: str, yes: bool) -> None:
    """Update the cluster to config.yml.

    Args:
        p: the project.
        ssh_from: the address range that may use SSH, which replaces the one in config-parameters.json and
            config.yml; `auto` for this machine's public address; empty to keep it.
        yes: do not ask.

    Raises:
        ClusterError: config.yml is refused, the head node is not running, or the update failed and was
            rolled back.
    """
    command = build_configuration_command(p, "update-cluster")
    if p.dry_run:
        if ssh_from:
            p.skip_for_dry_run(f"replace SSH_FROM in {p.parameter_file} and {p.config_file}")
        p.run(command)
        return
    ssh_from = configuration.confirm_ssh_from(p, ssh_from, yes)
    found = stack.find_stack(p.cloudformation, p.cluster_name)
    if found and stack_status.get_phase(found["StackStatus"]) == "updating":  # an earlier run was stopped
        show_progress(stack.watch_stack(p.cloudformation, found["StackId"]))
    found = stack.require_cluster(p.cloudformation, p.cluster_name)
    nodes.require_head_node(p.ec2, found)  # which applies the update: CloudFormation waits for it
    if ssh_from:
        replace_ssh_from(p, ssh_from)
    check_config_file(p)
    last_event = stack.get_newest_event_id(p.cloudformation, found["StackId"])
    result = p.run(command, hide=True)
    if pcluster.has_no_changes(result.stdout):
        echo(f"The cluster {p.cluster_name} matches {p.config_file} already: nothing to do.")
        return
    pcluster.check_result(result)
    progress = stack.watch_stack(p.cloudformation, found["StackId"], last_event)
    if show_progress(progress, p.quiet) != "UPDATE_COMPLETE":
        reasons = stack.list_failures(p.cloudformation, found["StackId"])
        message = (
            f"The cluster {p.cluster_name} was not updated. Its previous configuration is still in place."
        )
        raise ClusterError("\n  ".join([message, *reasons]))
    echo(f"Updated the cluster {p.cluster_name} to {p.config_file}.")


def delete_cluster(p: Project, yes: bool) -> None:
    """Delete the cluster and the data on its file system.

    Args:
        p: the project.
        yes: do not ask.

    Raises:
        ClusterError: the user did not confirm, another resource uses the cluster's security groups, or the
            deletion failed.
    """
    command = pcluster.build_command("delete-cluster", "--cluster-name", p.cluster_name, region=p.region)
    if p.dry_run:
        p.run(command)
        return
    found = stack.find_stack_in_phase(p.cloudformation, p.cluster_name, *DELETABLE_PHASES)
    if not found:
        echo(f"There is no cluster {p.cluster_name} in {p.region}.")
        return
    if stack_status.get_phase(found["StackStatus"]) != "deleting":
        blockers.refuse_group_blockers(p.cloudformation, p.ec2, p.efs, p.cluster_name)
    last_event = ""
    if found["StackStatus"] != "DELETE_IN_PROGRESS":
        consequence = retained.describe_deletion(p.cloudformation, p.efs, found)
        confirm(f"Delete the cluster {p.cluster_name} in {p.region}? {consequence}", yes, name=p.cluster_name)
        last_event = stack.get_newest_event_id(p.cloudformation, found["StackId"])
        result = p.run(command, hide=True)
        now = stack.find_stack(p.cloudformation, p.cluster_name)
        has_started = now is None or now["StackStatus"] == "DELETE_IN_PROGRESS"
        if not has_started:  # a deletion that has started counts, even if pcluster reported an error
            pcluster.check_result(result)
    progress = stack.watch_stack(p.cloudformation, found["StackId"], last_event)
    if show_progress(progress, p.quiet) != "DELETE_COMPLETE":
        raise ClusterError(explain_failed_cluster_deletion(p, found["StackId"]))
    echo(f"Deleted the cluster {p.cluster_name}.")


def explain_failed_cluster_deletion(p: Project, stack_id: str) -> str:
    """Return why a cluster was not deleted, what still uses its groups, and what to do."""
    reasons = stack.list_failures(p.cloudformation, stack_id)
    lines = [f"The cluster {p.cluster_name} was not deleted.", *(f"  {reason}" for reason in reasons)]
    found = blockers.find_group_blockers(p.cloudformation, p.ec2, p.efs, p.cluster_name)
    if found:
        lines += [
            f"These resources use security groups of {p.cluster_name}:",
            *blockers.format_blockers(found),
        ]
    return "\n".join([*lines, "Fix the cause, then run this again."])
