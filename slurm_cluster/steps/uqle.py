"""README, Connecting the cluster to the UQLE API: the group's rule, the UQLE machine and the handover."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import clients, key_pair, security_groups, stack, uqle_instance
from slurm_cluster.output import echo, echo_lines, show_progress
from slurm_cluster.steps import uqle_env

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

    from slurm_cluster.aws.uqle_instance import LaunchTarget
    from slurm_cluster.project import Project


class LaunchPlan(NamedTuple):
    """What a launch of the UQLE machine needs, read before anything is changed.

    Args:
        target: the head node's group and subnet, and the shared file system.
        existing: the UQLE machine, if there is one already.
        image_id: the image for a new one.
    """

    target: LaunchTarget
    existing: InstanceTypeDef | None
    image_id: str


def plan_launch(p: Project) -> LaunchPlan:
    """Read what a launch needs, with all requests at the same time.

    Raises:
        ClusterError: there is no cluster to connect to, or no key pair.
    """
    settings, ec2, ssm = p.get_uqle_settings(), p.ec2, p.ssm
    target, existing, pair, image_id = clients.run_concurrently(
        lambda: find_launch_target(p),
        lambda: uqle_instance.find_instance(ec2, p.cluster),
        lambda: key_pair.find_key_pair(ec2, settings.key_pair),
        lambda: uqle_instance.get_ubuntu_image_id(ssm),
    )
    if not existing and pair is None:
        key_pair.require_key_pair(ec2, settings.key_pair)
    return LaunchPlan(target, existing, image_id)


def find_launch_target(p: Project) -> LaunchTarget:
    """Find where the UQLE machine is launched: the head node's group and subnet.

    Raises:
        ClusterError: there is no such cluster, or its head node has security groups of its own.
    """
    cloudformation, ec2 = p.cloudformation, p.ec2
    cluster, group = clients.run_concurrently(
        lambda: stack.require_cluster(cloudformation, p.cluster),
        lambda: security_groups.get_head_node_group_id(cloudformation, p.cluster),
    )
    head_node = stack.get_output(cluster, "HeadNodeInstanceID")
    subnet, used_token = clients.run_concurrently(
        lambda: uqle_instance.get_subnet_id(ec2, head_node),
        lambda: uqle_instance.read_used_token(ec2, group),
    )
    file_system = stack.get_output(cluster, "EFSIds").split(",")[0]
    return uqle_instance.LaunchTarget(
        p.cluster, p.region, cluster["StackId"], group, subnet, file_system, used_token
    )


def allow_head_node_group(p: Project) -> None:
    """Add the rule that lets the members of the head node's group reach each other."""
    if not p.skip_for_dry_run(f"let the members of {p.cluster}'s head node group reach each other"):
        add_group_rule(p, find_launch_target(p).group)


def add_group_rule(p: Project, group: str) -> None:
    """Add the rule to a group, unless it has it."""
    added = security_groups.add_self_rule(p.ec2, group)
    echo(f"{group} {'now' if added else 'already'} allows all traffic between its members.")


def create_instance(p: Project) -> None:
    """Launch the UQLE machine, unless it exists."""
    if not skip_launch(p):
        launch(p, plan_launch(p))


def skip_launch(p: Project) -> bool:
    """Return whether this is a dry run, and print then what would be launched."""
    settings = p.get_uqle_settings()
    mount = f"mounts the file system of {p.cluster} at {settings.mount_point}"
    return p.skip_for_dry_run(f"launch a {settings.instance_type} that {mount}")


def launch(p: Project, plan: LaunchPlan) -> None:
    """Launch the UQLE machine and wait until it is running. If it exists, print how it differs."""
    settings = p.get_uqle_settings()
    user_data = uqle_instance.render_user_data(plan.target, settings.mount_point)
    if plan.existing:
        instance_id, state = plan.existing["InstanceId"], plan.existing["State"]["Name"]
        echo(f"The UQLE machine {instance_id} exists already and is {state}.")
        differences = uqle_instance.list_differences(p.ec2, plan.existing, plan.target, settings, user_data)
        echo_lines(f"It differs from the settings: {difference}." for difference in differences)
        if differences:
            echo("`invoke disconnect-uqle connect-uqle` replaces it.")
        return
    instance_id = uqle_instance.launch_instance(p.ec2, plan.target, settings, plan.image_id, user_data)
    echo(f"Launched {instance_id}. Waiting until it is running ...")
    show_progress(uqle_instance.watch_instances(p.ec2, [instance_id], "running"), p.quiet)
    address = uqle_instance.get_public_address(p.ec2, p.cluster)
    echo(f"The UQLE machine {instance_id} is running at {address}.")


def connect_uqle(p: Project) -> None:
    """Add the group's rule, then launch the UQLE machine; everything is checked before the first change."""
    if p.dry_run:
        allow_head_node_group(p)
        skip_launch(p)
        return
    plan = plan_launch(p)
    add_group_rule(p, plan.target.group)
    launch(p, plan)


def disconnect_uqle(p: Project) -> None:
    """Terminate the UQLE machine, then remove the group's rule."""
    action = f"terminate the UQLE machine of {p.cluster}, and remove the rule of the head node's group"
    if p.skip_for_dry_run(action):
        return
    group = stack.find_resource_id(p.cloudformation, p.cluster, "HeadNodeSecurityGroup")
    terminated = uqle_instance.terminate_instances(p.ec2, p.cluster, group)
    show_progress(uqle_instance.watch_instances(p.ec2, terminated, "terminated"), p.quiet)
    absent = f"There is no UQLE machine of {p.cluster} in {p.region}."
    echo(f"Terminated {', '.join(terminated)}." if terminated else absent)
    if group and security_groups.remove_self_rule(p.ec2, group):
        echo(f"{group} no longer allows traffic between its members.")


def handover(p: Project, with_key: bool) -> None:
    """Print what UQLE needs, and write it to uqle.env.

    Args:
        p: the project.
        with_key: write the JWT key to the file too.
    """
    if p.skip_for_dry_run(f"write {p.handover_file} for the UQLE machine"):
        return
    cluster = stack.require_cluster(p.cloudformation, p.cluster)
    head_node = stack.get_output(cluster, "HeadNodePrivateDnsName")
    mount_point = p.get_uqle_settings().mount_point
    uqle_env.write_uqle_env(p.handover_file, head_node, mount_point, p.read_jwt_key() if with_key else None)
    secret = f"secret {p.custom_secret_arn or p.secret}"
    source = f"SLURM_JWT_KEY in {p.parameter_file}" if p.literal_key else secret
    machine = uqle_instance.find_instance(p.ec2, p.cluster)
    echo_lines(
        uqle_env.format_summary(
            p.handover_file, head_node, mount_point, source, with_key, p.key_pair, machine
        )
    )
