"""Connect a UQLE machine, and write its settings (README: Connecting the cluster to the UQLE API)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import (
    clients,
    group_members,
    key_pair,
    nodes,
    routes,
    security_groups,
    stack,
    uqle_instance,
)
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import confirm, echo, echo_lines, show_progress
from slurm_cluster.state import storage
from slurm_cluster.steps import uqle_env

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2.type_defs import InstanceTypeDef

    from slurm_cluster.aws.uqle_instance import LaunchTarget
    from slurm_cluster.project import Project


STATUS = "invoke status"  # the next step if the task does not know enough to name a better one


class LaunchPlan(NamedTuple):
    """What a launch of the UQLE machine needs, read before anything is changed.

    Args:
        target: where it is launched.
        existing: the UQLE machine, if there is one already.
        image_id: the image for a new one.
    """

    target: LaunchTarget
    existing: InstanceTypeDef | None
    image_id: str


def plan_launch(p: Project, mount_shared: bool = True, allow_other_members: bool = False) -> LaunchPlan:
    """Read and check what a launch needs.

    Args:
        p: the project.
        mount_shared: whether the machine mounts the shared file system.
        allow_other_members: whether to launch it even if other machines are in the head node's group.

    Raises:
        ClusterError: there is no cluster to connect to, the machine could not mount the file system, another
            machine is in the group, or there is no key pair.
    """
    settings = p.get_uqle_settings()
    target, existing, pair, image_id = clients.run_concurrently(
        lambda: find_launch_target(p, mount_shared),
        lambda: uqle_instance.find_instance(p.ec2, p.cluster_name),
        lambda: key_pair.find_key_pair(p.ec2, settings.key_pair),
        lambda: uqle_instance.get_ubuntu_image_id(p.ec2, p.ssm, settings.instance_type),
    )
    if target.mount_obstacle and not existing:
        hint = "Nothing was changed. `invoke connect-uqle --no-shared` connects without the files."
        raise ClusterError(f"{target.mount_obstacle}\n{hint}")
    if not existing and pair is None:
        key_pair.require_key_pair(p.ec2, settings.key_pair)
    if target.other_members and not existing and not allow_other_members:
        warnings = group_members.describe_other_members(
            target.other_members, target.group_id, p.cluster_name, p.region
        )
        command = "invoke connect-uqle --allow-other-members"
        advice = f"Nothing was changed. To launch a new UQLE machine anyway, run `{command}`."
        raise ClusterError("\n".join([*warnings, advice]))
    return LaunchPlan(target, existing, image_id)


def find_launch_target(p: Project, mount_shared: bool = True) -> LaunchTarget:
    """Find where the UQLE machine is launched: the head node's group and subnet, and what it mounts.

    Independent values are read concurrently.

    Args:
        p: the project.
        mount_shared: whether the machine mounts the shared file system.

    Raises:
        ClusterError: there is no such cluster, or its head node is not running or has security groups of its
            own.
    """
    cluster, group_id = clients.run_concurrently(
        lambda: stack.require_cluster(p.cloudformation, p.cluster_name),
        lambda: security_groups.require_head_node_group_id(p.cloudformation, p.cluster_name),
    )
    node, used_token, other_members, shared, file_systems = clients.run_concurrently(
        lambda: nodes.require_head_node(p.ec2, cluster),
        lambda: uqle_instance.read_used_token(p.ec2, group_id),
        lambda: group_members.list_other_members(p.ec2, p.cluster_name, group_id),
        lambda: storage.load_shared(p, cluster),
        lambda: storage.load_file_systems(p.efs, cluster) if mount_shared else {},
    )
    file_system = storage.find_file_system(p.efs, shared, file_systems) if mount_shared else None
    [subnet], is_public, rules = clients.run_concurrently(
        lambda: p.ec2.describe_subnets(SubnetIds=[node["SubnetId"]])["Subnets"],
        lambda: routes.is_public(p.ec2, node["VpcId"], node["SubnetId"]),
        lambda: security_groups.list_group_rules(p.ec2, file_system.groups if file_system else []),
    )
    obstacle = ""
    if mount_shared:
        obstacle = storage.explain_mount_obstacle(p, shared, file_system, rules, subnet, group_id)
    return uqle_instance.LaunchTarget(
        cluster_name=p.cluster_name,
        region=p.region,
        stack_id=cluster["StackId"],
        group_id=group_id,
        subnet_id=subnet["SubnetId"],
        is_public=is_public,
        mount_obstacle=obstacle,
        file_system_id=shared.id if shared and mount_shared and not obstacle else "",
        used_token=used_token,
        other_members=tuple(other_members),
    )


def check_settings(p: Project) -> None:
    """Check the UQLE machine's settings before the cluster is created."""
    uqle_instance.get_ubuntu_image_id(p.ec2, p.ssm, p.get_uqle_settings().instance_type)


def allow_head_node_group(p: Project) -> None:
    """Add the rule that lets the members of the head node's group reach each other."""
    if p.skip_for_dry_run(f"let the members of {p.cluster_name}'s head node group reach each other"):
        return
    cluster = stack.require_cluster(p.cloudformation, p.cluster_name)
    nodes.require_head_node(p.ec2, cluster, allow_stopped=True)
    add_group_rule(p, security_groups.require_head_node_group_id(p.cloudformation, p.cluster_name))


def add_group_rule(p: Project, group_id: str) -> None:
    """Add the self rule to a security group, and print whether it was missing."""
    added = security_groups.add_self_rule(p.ec2, group_id)
    echo(f"{group_id} {'now' if added else 'already'} allows all traffic between its members.")


def create_instance(p: Project) -> None:
    """Launch the UQLE machine, unless it exists."""
    if not skip_launch_for_dry_run(p):
        launch(p, plan_launch(p))


def skip_launch_for_dry_run(p: Project, mount_shared: bool = True) -> bool:
    """Return whether this is a dry run; if so, print what would be launched."""
    settings = p.get_uqle_settings()
    mount = (
        f"mounts the file system of {p.cluster_name} at {settings.mount_point}"
        if mount_shared
        else "mounts nothing"
    )
    return p.skip_for_dry_run(f"launch a {settings.instance_type} that {mount}")


def launch(p: Project, plan: LaunchPlan) -> None:
    """Launch the UQLE machine and wait until it is running. If it exists, print how it differs."""
    settings = p.get_uqle_settings()
    user_data = uqle_instance.render_user_data(plan.target, settings.mount_point)
    if plan.existing:
        instance_id, state = plan.existing["InstanceId"], plan.existing["State"]["Name"]
        echo(f"The UQLE machine {instance_id} exists already and is {state}.")
        wrong_groups = group_members.explain_wrong_groups(plan.existing, plan.target.group_id, p.region)
        if wrong_groups:
            echo_lines(wrong_groups)
            return
        differences = uqle_instance.list_differences(p.ec2, plan.existing, plan.target, settings, user_data)
        echo_lines(f"It differs from a new launch: {difference}." for difference in differences)
        if differences:
            echo("`invoke disconnect-uqle connect-uqle` replaces it.")
        return
    if not plan.target.is_public:
        echo(
            f"{plan.target.subnet_id}, the head node's subnet, is private: "
            "the machine gets no public address."
        )
    instance_id = uqle_instance.launch_instance(p.ec2, plan.target, settings, plan.image_id, user_data)
    echo(f"Launched {instance_id}. Waiting until it is running ...")
    show_progress(uqle_instance.watch_instances(p.ec2, [instance_id], "running"), p.quiet)
    address = nodes.get_address(uqle_instance.require_instance(p.ec2, p.cluster_name, p.region))
    echo(f"The UQLE machine {instance_id} is running at {address}.")


def connect_uqle(p: Project, mount_shared: bool = True, allow_other_members: bool = False) -> None:
    """Check everything, then add the security group's rule and launch the UQLE machine.

    Args:
        p: the project.
        mount_shared: whether the machine mounts the shared file system.
        allow_other_members: whether to launch it even if other machines are in the head node's group.
    """
    if p.dry_run:
        allow_head_node_group(p)
        skip_launch_for_dry_run(p, mount_shared)
        return
    plan = plan_launch(p, mount_shared, allow_other_members)
    add_group_rule(p, plan.target.group_id)
    launch(p, plan)


def disconnect_uqle(p: Project, yes: bool) -> str:
    """Terminate the UQLE machine, then remove the group's rule, unless another machine needs it.

    Args:
        p: the project.
        yes: do not ask before several machines are terminated.

    Returns:
        The next step.

    Raises:
        ClusterError: several machines have the cluster's tag, and the user did not confirm.
    """
    action = f"terminate the UQLE machine of {p.cluster_name}, and remove the rule of the head node's group"
    if p.skip_for_dry_run(action):
        return ""
    group_id = security_groups.find_head_node_group_id(p.cloudformation, p.cluster_name)
    machines = uqle_instance.list_remaining_instances(p.ec2, p.cluster_name)
    if len(machines) > 1:
        names = ", ".join(machine["InstanceId"] for machine in machines)
        confirm(f"Several machines have the tag of {p.cluster_name}: {names}. Terminate all of them?", yes)
    terminated = uqle_instance.terminate_instances(p.ec2, machines, group_id)
    show_progress(uqle_instance.watch_instances(p.ec2, terminated, "terminated"), p.quiet)
    missing = f"There is no UQLE machine of {p.cluster_name} in {p.region}."
    echo(f"Terminated {', '.join(terminated)}." if terminated else missing)
    if not group_id:
        return STATUS
    others = group_members.list_other_members(p.ec2, p.cluster_name, group_id)
    if others and security_groups.has_self_rule(p.ec2, group_id):
        echo_lines(group_members.describe_other_members(others, group_id, p.cluster_name, p.region))
        echo(f"{group_id} keeps its rule, because another machine may need it.")
    elif security_groups.remove_self_rule(p.ec2, group_id):
        echo(f"{group_id} no longer allows traffic between its members.")
    return STATUS if others else "invoke delete-cluster"


def handover(p: Project, with_key: bool) -> str:
    """Print what UQLE needs, and write it to uqle.env.

    Args:
        p: the project.
        with_key: write the JWT key to the file too.

    Returns:
        The next step.
    """
    if p.skip_for_dry_run(f"write {p.handover_file} for the UQLE machine"):
        return ""
    cluster = stack.require_cluster(p.cloudformation, p.cluster_name)
    nodes.require_head_node(p.ec2, cluster, allow_stopped=True)
    host = stack.require_output(cluster, "HeadNodePrivateDnsName")
    machine = uqle_instance.find_instance(p.ec2, p.cluster_name)
    mount_point = find_mount_point(p, cluster, machine)
    key, api_host = p.read_jwt_key() if with_key else None, uqle_env.get_api_host(machine)
    uqle_env.write_uqle_env(p.handover_file, host, mount_point, key, api_host)
    secret = f"secret {p.custom_secret_arn or p.secret}"
    source = f"SLURM_JWT_KEY in {p.parameter_file}" if p.literal_key else secret
    echo_lines(
        uqle_env.format_summary(p.handover_file, host, mount_point, source, with_key, p.key_pair, machine)
    )
    group_id = security_groups.find_head_node_group_id(p.cloudformation, p.cluster_name)
    others = group_members.list_other_members(p.ec2, p.cluster_name, group_id) if group_id else []
    if group_id:
        machines = [machine] if machine else []
        echo_lines(group_members.explain_members(machines, others, group_id, p.cluster_name, p.region))
    if machine:
        return "invoke verify"
    echo("The cluster has no UQLE machine yet.")
    return STATUS if others else "invoke connect-uqle"


def find_mount_point(p: Project, cluster: StackTypeDef, machine: InstanceTypeDef | None) -> str:
    """Return where the UQLE machine mounts the shared file system; empty if it does not."""
    shared = storage.load_shared(p, cluster)
    if not shared or shared.kind != "Efs":
        return ""
    if machine and shared.id not in uqle_instance.read_user_data(p.ec2, machine["InstanceId"]):
        return ""
    return p.get_uqle_settings().mount_point
