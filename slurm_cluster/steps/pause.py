"""Stop and start the compute fleet and the UQLE machine (README: Pausing)."""

from slurm_cluster.aws import fleet, nodes, stack, uqle_instance
from slurm_cluster.output import echo, echo_lines, show_progress
from slurm_cluster.project import Project
from slurm_cluster.steps import pcluster
from slurm_cluster.views import status


def pause(p: Project) -> None:
    """Stop the compute fleet and the UQLE machine, and print what is still billed."""
    request_fleet_status(p, "STOP_REQUESTED")
    if p.skip_for_dry_run("stop the UQLE machine"):
        return
    stopped = uqle_instance.stop_instance(p.ec2, p.cluster_name)
    show_progress(fleet.watch_fleet(p.dynamodb, p.cluster_name, "STOPPED"), p.quiet)
    show_progress(uqle_instance.watch_instances(p.ec2, stopped, "stopped"), p.quiet)
    echo("The compute fleet is stopped.")
    absent = f"There is no running UQLE machine of {p.cluster_name} in {p.region}."
    echo(f"Stopped {', '.join(stopped)}." if stopped else absent)
    echo_lines(status.list_paused_costs(p))


def resume(p: Project) -> None:
    """Start the compute fleet and the UQLE machine."""
    request_fleet_status(p, "START_REQUESTED")
    if p.skip_for_dry_run("start the UQLE machine"):
        return
    show_progress(uqle_instance.start_instance(p.ec2, p.cluster_name), p.quiet)
    show_progress(fleet.watch_fleet(p.dynamodb, p.cluster_name, "RUNNING"), p.quiet)
    echo("The compute fleet is running.")
    machine = uqle_instance.find_instance(p.ec2, p.cluster_name)
    if machine:
        echo(f"The UQLE machine {machine['InstanceId']} is running at {nodes.get_address(machine)}.")
    else:
        echo(f"There is no UQLE machine of {p.cluster_name} in {p.region}.")


def request_fleet_status(p: Project, requested: str) -> None:
    """Ask pcluster to stop or start the compute fleet.

    Args:
        p: the project.
        requested: STOP_REQUESTED or START_REQUESTED.

    Raises:
        ClusterError: there is no such cluster, its head node is not running, or pcluster refused.
    """
    if not p.dry_run:  # only a running head node stops and starts the compute nodes
        nodes.require_head_node(p.ec2, stack.require_cluster(p.cloudformation, p.cluster_name))
    arguments = ["--cluster-name", p.cluster_name, "--status", requested]
    command = pcluster.build_command("update-compute-fleet", *arguments, region=p.region)
    pcluster.check_result(p.run(command, hide=True))
