"""The next step, from the rows of `invoke status`."""

import textwrap

from slurm_cluster.aws import blockers, network, stack_status
from slurm_cluster.output import get_width
from slurm_cluster.project import Project
from slurm_cluster.state import unclaimed_networks
from slurm_cluster.views import connectivity
from slurm_cluster.views.resources import EXISTING_NETWORK, Resource

DELETE_CLUSTER, DELETE_NETWORK = "invoke delete-cluster", "invoke delete-network"


def get_next_step(p: Project, resources: list[Resource]) -> str:
    """Return the next command: to watch what is in progress, else to delete what failed, else to create.

    Args:
        p: the project.
        resources: the rows of `list_resources`.
    """
    states = {
        resource.name: resource.details.get("status") or resource.details.get("state") or resource.id
        for resource in resources
    }
    unfinished = find_unfinished_step(p, resources)
    if unfinished is not None:
        return unfinished
    if states.get("head node") == "terminated":
        has_config = p.config_file.exists()
        return find_deletion_step(p, connectivity.RECREATE_CLUSTER if has_config else DELETE_CLUSTER)
    repair = next((resource.repair for resource in resources if resource.repair), "")
    if repair:
        return repair
    missing = next((resource for resource in resources if resource.is_missing), None)
    if missing and missing.name == "cluster":
        if not p.parameter_file.exists():
            return "invoke fill-parameters --ssh-from <your address>/32"
        return connectivity.CREATE_CLUSTER if p.config_file.exists() else "invoke render"
    if missing and missing.name == "VPC" and unclaimed_networks.list_candidate_vpcs(p):
        return f"claim or delete your VPC in the list above, then run {missing.command}"
    if missing:
        return missing.command
    if states["compute fleet"] == "STOPPED" or states["UQLE machine"] == "stopped":
        return "invoke resume"
    is_connected = bool(states["UQLE machine"])
    return "invoke handover" if is_connected and not p.handover_file.exists() else "invoke verify"


def find_unfinished_step(p: Project, resources: list[Resource]) -> str | None:
    """Return the command for an incomplete stack, or for a network that the files in this folder do not name.

    If the task would refuse, return the first command that removes what blocks it.

    Args:
        p: the project.
        resources: the rows of `list_resources`.

    Returns:
        None if there is no such stack or network; an empty string if there is nothing to do but wait.
    """
    statuses = {resource.name: resource.details.get("status", "") for resource in resources}
    cluster = statuses["cluster"]
    if stack_status.get_phase(cluster) not in ("", "complete"):
        command = stack_status.find_next_command(
            stack_status.CLUSTER_TASKS, p.cluster_name, cluster, p.region
        )
        if command == "invoke update-cluster" and not p.config_file.exists():
            return ""  # only wait: without config.yml, update-cluster would fail after AWS has finished
        return find_deletion_step(p, command) if stack_status.get_phase(cluster) == "failed" else command
    if cluster:
        return None
    network_stack = next((resource for resource in resources if resource.name == "network stack"), None)
    command = DELETE_NETWORK
    if network_stack:
        status = network_stack.details["status"]
        command = stack_status.find_next_command(
            stack_status.NETWORK_TASKS, network_stack.id, status, p.region
        )
    elif not is_network_missing_in_files(p, resources):
        return None
    if command == DELETE_NETWORK:
        own = network.find_network(p.ec2, p.cloudformation, p.cluster_name, p.wizard_subnet)
        found = network.find_blockers(p.ec2, p.cloudformation, p.efs, p.cluster_name, own) if own else []
        return found[0].commands[0] if found else command
    return command


def find_deletion_step(p: Project, command: str) -> str:
    """Return a deletion command, or the first command that removes what blocks the deletion."""
    found = blockers.find_group_blockers(p.cloudformation, p.ec2, p.efs, p.cluster_name)
    return found[0].commands[0] if found else command


def is_network_missing_in_files(p: Project, resources: list[Resource]) -> bool:
    """Return whether the cluster has its own network, but no file names it: its wizard was interrupted."""
    [vpc] = [resource for resource in resources if resource.name == "VPC"]
    return bool(vpc.id) and vpc.details.get("whose") != EXISTING_NETWORK and not p.subnets


def explain_statuses(p: Project, resources: list[Resource]) -> list[str]:
    """Return the lines that explain a cluster, or a network, whose stack is not complete."""
    sentences = [
        stack_status.explain_status(
            "cluster" if resource.name == "cluster" else "network", resource.id, status, p.region
        )
        for resource in resources
        if resource.name in ("cluster", "network stack")
        for status in [resource.details.get("status", "")]
        if stack_status.get_phase(status) not in ("", "complete")
    ]
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, get_width(), break_on_hyphens=False)
    ]
