"""The README's steps as tasks, in its order. Each is wiring: it calls helpers, and says what came of it.

AWS's libraries are imported where they are used: `invoke --list` and shell completion load this file at every press of Tab.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, Exit, Failure, task

from slurm_cluster.cli import (
    ROOT,
    LongStep,
    Step,
    echo,
    echo_lines,
    get_project,
    run_command,
    run_module,
    skip_for_dry_run,
)

if TYPE_CHECKING:
    from slurm_cluster.project import Project

TEMPLATE = ROOT / "config.template.yml"
WIZARD_SECONDS = 3600
SSH_FROM = "who may reach SSH: one CIDR or prefix list (default: ssh_from in invoke.yaml)"
YES = "do not ask (default: ask)"


# --- Requirements -----------------------------------------------------------------------------------------------------


@task(klass=Step)
def check(c: Context) -> None:
    """Look at everything that the steps will need.

    Changes: nothing
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke check
    """
    from slurm_cluster.views import checks

    failed = False
    for each in checks.run_checks(get_project(c), TEMPLATE):
        echo(f"{each.result:7} {each.name}: {each.detail}")
        failed |= each.result == "FAIL"
    if failed:
        raise Exit("Put right what failed, then run this again.", code=1)


@task(
    klass=Step,
    help={"public-key": "an ed25519 one of yours to import, as ~/.ssh/id_ed25519.pub (default: make a pair)"},
)
def create_key_pair(c: Context, public_key: str = "") -> None:
    """Make the ed25519 key pair, or import yours; one that is there stays.

    Changes: a key pair in EC2; its private half in ~/.ssh, mode 0600
    Costs:   nothing
    Undo:    aws ec2 delete-key-pair --key-name NAME, and remove the file
    Example: invoke create-key-pair --public-key ~/.ssh/id_ed25519.pub
    """
    from slurm_cluster.aws import key_pair

    p = get_project(c)
    if skip_for_dry_run(
        c, f"make the key pair {p.key_pair}, its private half in {key_pair.get_private_key_path(p.key_pair)}"
    ):
        return
    if public_key:
        echo(key_pair.import_key_pair(p.ec2, p.key_pair, Path(public_key).expanduser()))
    else:
        echo(key_pair.create_key_pair(p.ec2, p.key_pair))


# --- Creating the VPC -------------------------------------------------------------------------------------------------


@task(
    klass=LongStep,
    help={
        "head-node-subnet": "a public subnet that is there, instead of the wizard's (default: the wizard makes a network)",
        "compute-subnet": "with it, a subnet of the same VPC with a way out (default: the wizard makes a network)",
    },
)
def configure(c: Context, head_node_subnet: str = "", compute_subnet: str = "") -> None:
    """Make the network by `pcluster configure`, or name one that is there.

    Changes: a VPC, two subnets, a NAT gateway; writes temp-config.yml
    Costs:   the NAT gateway and its address, from now on
    Undo:    invoke delete-network
    Example: invoke configure
    """
    from slurm_cluster import errors, files
    from slurm_cluster.aws import network
    from slurm_cluster.config import temp_config
    from slurm_cluster.steps import existing_network, pcluster, wizard
    from slurm_cluster.views import checks

    p = get_project(c)
    if head_node_subnet or compute_subnet:
        wanted = temp_config.TempConfig(p.region, p.key_pair, head_node_subnet, compute_subnet)
        if not skip_for_dry_run(c, f"write {p.temp_config} for {head_node_subnet} and {compute_subnet}"):
            echo(existing_network.use_existing_network(p.ec2, p.temp_config, p.cluster, wanted))
        return
    command = pcluster.build_command("configure", "-c", str(p.temp_config))
    if c.config.run.dry:
        run_command(c, p, command)
        return
    ec2, cloudformation = p.ec2, p.cloudformation
    with files.acquire_lock(p.temp_config.parent, "configure"):
        wizard.claim_proven_vpc(ec2, cloudformation, p.temp_config)
        if files.exists(p.temp_config):
            echo(wizard.check_done(ec2, p.temp_config))
            return
        wizard.check_ready(ec2, p.cluster, p.key_pair)
        wizard.refuse_unproven_vpcs(
            wizard.find_unproven_vpcs(ec2, cloudformation, p.temp_config), p.temp_config, p.cluster, p.region
        )
        echo_lines(
            network.describe_unclaimed_vpcs(
                network.find_unclaimed_vpcs(ec2, cloudformation), p.cluster, p.region
            )
        )
        answers, refused, status = (
            wizard.get_answers(p.region, p.key_pair, checks.list_instance_types(TEMPLATE)),
            "",
            1,
        )
        with wizard.track_vpc(ec2, cloudformation, p.temp_config, p.cluster) as made:
            try:
                screen = wizard.WizardScreen(cloudformation, p.temp_config, c.quiet)
                how = {
                    "pty": True,
                    "fallback": False,
                    "in_stream": False,
                    "out_stream": screen,
                    "timeout": WIZARD_SECONDS,
                }
                advised = errors.find_hint(
                    run_command(c, p, command, watchers=[wizard.PromptAnswerer(answers)], **how).stdout
                )
                refused = f": {advised}".rstrip(":. ")
            except KeyboardInterrupt:
                refused, status = ", as it was stopped", 130
            except Failure as failure:
                refused = f": {failure.reason or 'it took longer than an hour'}"
    if not files.exists(p.temp_config):
        left = [f"{made[0]} is left: `invoke delete-network` removes it."] if made else []
        if not made:
            unproven = wizard.find_unproven_vpcs(ec2, cloudformation, p.temp_config)
            left = network.describe_unclaimed_vpcs(unproven, p.cluster, p.region)
        raise Exit("\n".join([f"The wizard did not finish{refused}.", *left]), code=status)
    echo(f"The network {', '.join(made)} stands; {p.temp_config} names its subnets.")


# --- Creating the cluster configuration file --------------------------------------------------------------------------


@task(klass=Step)
def upload_bootstrap(c: Context) -> None:
    """Put the boot scripts into a private bucket, for the nodes to fetch.

    Changes: a bucket for the account and region, two small objects in it
    Costs:   less than a cent a month
    Undo:    invoke down --all
    Example: invoke upload-bootstrap
    """
    from slurm_cluster.aws import script_bucket

    p = get_project(c)
    if skip_for_dry_run(
        c,
        f"put {', '.join(script_bucket.SCRIPTS.values())} into s3://slurm-cluster-bootstrap-.../{p.cluster}/",
    ):
        return
    if script_bucket.ensure_bucket(p.s3, p.bucket, p.account, p.region):
        echo(f"Made the bucket {p.bucket}.")
    put = script_bucket.upload_scripts(p.s3, script_bucket.FOLDER, p.bucket, p.cluster, p.account)
    echo(
        "\n".join(f"Put {uri}" for uri in put)
        or f"The scripts are in s3://{p.bucket}/{p.cluster}/: nothing to do."
    )


@task(klass=Step)
def create_jwt_key(c: Context) -> None:
    """Make the random JWT key, which the head node alone may read.

    Changes: a secret in Secrets Manager, and a policy to read it
    Costs:   the secret, 0.40 dollars a month
    Undo:    invoke down --all
    Example: invoke create-jwt-key
    """
    from slurm_cluster.aws import jwt_secret

    p = get_project(c)
    if skip_for_dry_run(c, f"make the secret {p.secret} with a random key, and a policy to read it"):
        return
    secret, new = jwt_secret.ensure_secret(p.secretsmanager, p.secret, p.cluster)
    changed = jwt_secret.ensure_policy(p.iam, p.policy, secret)
    echo(f"{'Made a new key in' if new else 'The key stands in'} {secret}.")
    echo(f"{'Wrote' if changed else 'There is'} the policy {p.policy}.")


@task(
    klass=Step,
    help={"ssh-from": SSH_FROM, "overwrite": "replace also what a person wrote (default: keep it)"},
)
def fill_parameters(c: Context, ssh_from: str = "", overwrite: bool = False) -> None:
    """Write config-parameters.json from what the steps before made.

    Changes: that file; what a person wrote in it stays
    Costs:   nothing
    Undo:    remove the file, or edit it
    Example: invoke fill-parameters --ssh-from 203.0.113.7/32
    """
    from slurm_cluster import files
    from slurm_cluster.aws import jwt_secret, script_bucket, stack
    from slurm_cluster.config import parameters

    p = get_project(c)
    if skip_for_dry_run(
        c,
        f"write {p.parameter_file}, with <from configure>, <from upload-bootstrap> and <from create-jwt-key>",
    ):
        return
    values = parameters.read_parameters(p.parameter_file) if files.exists(p.parameter_file) else {}
    parameters.refuse_other_cluster(values, p.cluster, p.parameter_file)
    found = {"SSH_FROM": p.get_ssh_from(ssh_from), **p.found_parameters()}
    stands = stack.find_stack(p.cloudformation, p.cluster) is not None
    values, found, said = script_bucket.reconcile_script_uris(values, found, p.cluster, stands)
    if jwt_secret.is_cluster_secret(str(values.get(parameters.KEY_PARAMETER, "")), p.secret) and not stands:
        values = values | {parameters.KEY_PARAMETER: ""}  # a secret that was made anew has another ARN
    filled, kept = parameters.merge_parameters(values, found, overwrite=overwrite)
    parameters.write_parameters(p.parameter_file, filled)
    echo_lines([*said, *kept, f"Wrote {p.parameter_file}: {len(parameters.filter_filled(filled))} values."])


@task(klass=Step)
def render(c: Context) -> None:
    """Write config.yml: the template with the parameters filled in.

    Changes: that file, in which `chevron` would write the same
    Costs:   nothing
    Undo:    remove the file
    Example: invoke render
    """
    from slurm_cluster import files
    from slurm_cluster.config import parameters, settings, template

    named = settings.get_file_paths(c.config)
    source, path = named.parameter_file, named.config_file
    if skip_for_dry_run(c, f"write {path} from {TEMPLATE.name} and {source}"):
        return
    cluster, values = (
        parameters.validate_cluster_name(settings.get_setting(c.config, "cluster_name")),
        parameters.read_parameters(source),
    )
    rendered = template.render_template(TEMPLATE, values, source)
    parameters.refuse_other_cluster(values, cluster, source)
    for warning in template.list_warnings(values):
        echo(f"Warning: {warning}", to=sys.stderr)
    files.write_file(path, rendered, mode=0o600)
    echo(f"Wrote {path}: `invoke create-cluster` has pcluster look at it first.")


# --- Creating the cluster ---------------------------------------------------------------------------------------------


@task(klass=LongStep)
def create_cluster(c: Context) -> None:
    """Create the cluster of config.yml, in about 15 minutes.

    Changes: the cluster's stack: head node, file system, groups, roles
    Costs:   the head node, disks, file system, alarms, from now on
    Undo:    invoke delete-cluster
    Example: invoke create-cluster
    """
    from slurm_cluster import output
    from slurm_cluster.aws import stack
    from slurm_cluster.steps import pcluster, preflight

    p = get_project(c)
    create = ["create-cluster", "--cluster-configuration", str(p.config_file), "--cluster-name", p.cluster]
    dry_run, real = (
        pcluster.build_command(*create, *more, region=p.region) for more in (["--dryrun", "true"], [])
    )
    if c.config.run.dry:
        run_command(c, p, dry_run)
        run_command(c, p, real)
        return
    cloudformation = p.cloudformation
    begun = stack.find_stack_to_resume(cloudformation, p.cluster)
    if begun and begun["StackStatus"] in stack.STABLE_STATUSES:
        echo(f"The cluster {p.cluster} stands: {begun['StackStatus']}.")
        return
    if not begun:
        preflight.check_configuration(p.config_file, p.cluster, p.region, p.s3)
        answer = run_command(c, p, dry_run, hide=True)
        echo_lines(pcluster.check_dry_run(answer.stdout, answer.stderr))
        pcluster.check_result(run_command(c, p, real, hide=True))
        begun = stack.wait_until_listed(cloudformation, p.cluster)
    if (
        output.show_progress(stack.watch_stack(cloudformation, begun["StackId"]), c.quiet)
        != "CREATE_COMPLETE"
    ):
        raise Exit(
            stack.explain_failed_creation(cloudformation, p.logs, p.cluster, begun["StackId"]),
            code=1,
        )
    echo(f"The cluster {p.cluster} stands.")


@task(klass=LongStep)
def update_cluster(c: Context) -> None:
    """Bring config.yml, rendered anew, onto the running cluster.

    Changes: what differs in the stack; what cannot be changed is named
    Costs:   what the new configuration costs
    Undo:    render the configuration before, then run this again
    Example: invoke render update-cluster
    """
    from slurm_cluster import output
    from slurm_cluster.aws import stack
    from slurm_cluster.steps import pcluster, preflight

    p = get_project(c)
    update = ["update-cluster", "--cluster-configuration", str(p.config_file), "--cluster-name", p.cluster]
    command = pcluster.build_command(*update, region=p.region)
    if c.config.run.dry:
        run_command(c, p, command)
        return
    cloudformation = p.cloudformation
    begun = stack.find_stack(cloudformation, p.cluster)
    if begun and begun["StackStatus"] in stack.UPDATING_STATUSES:  # by an earlier run, which was stopped
        output.show_progress(stack.watch_stack(cloudformation, begun["StackId"]))
    found = stack.require_cluster(cloudformation, p.cluster)
    preflight.check_configuration(p.config_file, p.cluster, p.region, p.s3)
    before = stack.get_newest_event_id(cloudformation, found["StackId"])
    answer = run_command(c, p, command, hide=True)
    if pcluster.has_no_changes(answer.stdout):
        echo(f"The cluster {p.cluster} is as {p.config_file} has it: nothing to do.")
        return
    pcluster.check_result(answer)
    if (
        output.show_progress(stack.watch_stack(cloudformation, found["StackId"], before), c.quiet)
        != "UPDATE_COMPLETE"
    ):
        reasons = stack.list_failures(cloudformation, found["StackId"])
        raise Exit(
            "\n  ".join([f"The cluster {p.cluster} was not updated, and is as before.", *reasons]), code=1
        )
    echo(f"The cluster {p.cluster} is as {p.config_file} has it.")


# --- Connecting the cluster to the UQLE API ---------------------------------------------------------------------------


@task(klass=Step)
def allow_head_node_group(c: Context) -> None:
    """Let members of the head node's group reach each other on all ports.

    Changes: an inbound rule of that group
    Costs:   nothing
    Undo:    invoke disconnect-uqle
    Example: invoke allow-head-node-group
    """
    from slurm_cluster.aws import security_groups

    p = get_project(c)
    if skip_for_dry_run(c, f"let the members of {p.cluster}'s head node group reach each other"):
        return
    group = p.place().group
    added = security_groups.add_self_rule(p.ec2, group)
    echo(f"{'Now' if added else 'Already'} {group} admits all traffic of its own members.")


@task(klass=LongStep)
def create_instance(c: Context) -> None:
    """Launch the UQLE instance, which mounts the cluster's file system.

    Changes: an instance in the head node's group, with Docker
    Costs:   the instance, its disk and its address, from now on
    Undo:    invoke disconnect-uqle
    Example: invoke create-instance
    """
    from slurm_cluster import output
    from slurm_cluster.aws import uqle_instance

    p = get_project(c)
    settings = p.get_uqle_settings()
    if skip_for_dry_run(
        c,
        f"launch a {settings.instance_type} that mounts the file system of {p.cluster} at {settings.mount_point}",
    ):
        return
    place, found, image = p.before_launch()
    ec2, script = p.ec2, uqle_instance.render_user_data(place, settings.mount_point)
    if found:
        echo(f"The UQLE instance {found['InstanceId']} is {found['State']['Name']}.")
        for difference in uqle_instance.list_differences(ec2, found, place, settings, script):
            echo(f"It is not as set: {difference}; `invoke disconnect-uqle connect-uqle` makes a new one.")
        return
    identifier = uqle_instance.launch_instance(ec2, place, settings, image, script)
    echo(f"Launched {identifier}; waiting until it runs ...")
    output.show_progress(uqle_instance.watch_instances(ec2, [identifier], "running"), c.quiet)
    echo(f"The UQLE instance {identifier} runs at {uqle_instance.get_public_address(ec2, p.cluster)}.")


@task(klass=LongStep)
def connect_uqle(c: Context) -> None:
    """Connect a UQLE machine: allow-head-node-group, then create-instance.

    Changes: the group's rule and the instance
    Costs:   the instance, its disk and its address, from now on
    Undo:    invoke disconnect-uqle
    Example: invoke connect-uqle
    """
    if not c.config.run.dry:
        get_project(c).before_launch()  # what is missing is found missing before the rule is made
    allow_head_node_group(c)
    create_instance(c)


@task(
    klass=Step,
    help={"with-key": "put the JWT key into the file too, never on the screen (default: leave it out)"},
)
def handover(c: Context, with_key: bool = False) -> None:
    """Give the four things that UQLE asks for, and write them to uqle.env.

    Changes: that file, mode 0600
    Costs:   nothing
    Undo:    remove the file
    Example: invoke handover --with-key
    """
    from slurm_cluster.aws import stack, uqle_instance
    from slurm_cluster.config import uqle_env

    p = get_project(c)
    if skip_for_dry_run(c, f"write {p.handover_file} for the UQLE machine"):
        return
    found = stack.require_cluster(p.cloudformation, p.cluster)
    head_node, mount_point = stack.get_output(found, "HeadNodePrivateDnsName"), p.get_uqle_settings().mount_point
    key = p.read_jwt_key() if with_key else None
    uqle_env.write_uqle_env(p.handover_file, head_node, mount_point, key)
    where = (
        f"in SLURM_JWT_KEY of {p.parameter_file}" if p.literal_key else f"secret {p.custom_secret_arn or p.secret}"
    )
    machine = uqle_instance.find_instance(p.ec2, p.cluster)
    echo_lines(
        uqle_env.format_summary(p.handover_file, head_node, mount_point, where, with_key, p.key_pair, machine)
    )


@task(
    klass=LongStep,
    help={
        "url": "of slurmrestd, as http://head-node:8082 (default: through an SSH tunnel)",
        "user": "whose job it is (default: slurm)",
        "seconds": "how long the job may take, with the boot of its node (default: 900)",
    },
)
def verify(c: Context, url: str = "", user: str = "slurm", seconds: int = 900) -> None:
    """Run a real job through the REST API, and say which link is broken.

    Changes: nothing that stays but a file of one line on /shared
    Costs:   a compute node for some minutes
    Undo:    nothing to undo
    Example: invoke verify
    """
    from slurm_cluster import output
    from slurm_cluster.aws import key_pair, stack
    from slurm_cluster.slurm import smoke_job, ssh

    p = get_project(c)
    if skip_for_dry_run(c, f"run a job of user {user} through the REST API of {p.cluster}"):
        return
    key = p.read_jwt_key()
    if url:
        output.echo_lines(smoke_job.run_smoke_job(url, key, user, seconds=seconds), "the job", c.quiet)
        return
    found, private = (
        stack.require_cluster(p.cloudformation, p.cluster),
        key_pair.get_private_key_path(p.key_pair),
    )
    machine = ssh.find_jump_host(p.ec2, found, p.get_uqle_settings().mount_point)

    def read(path: str) -> str:
        return ssh.read_remote_file(
            machine.through, private, machine.shared + path.removeprefix(ssh.SHARED_DIR)
        )

    with ssh.open_tunnel(machine.through, private, stack.get_output(found, "HeadNodePrivateDnsName")) as end:
        output.echo_lines(
            smoke_job.run_smoke_job(end, key, user, seconds=seconds, read_output=read), "the job", c.quiet
        )


# --- Debugging --------------------------------------------------------------------------------------------------------


@task(klass=Step, help={"uqle": "the UQLE machine instead of the head node (default: the head node)"})
def ssh(c: Context, uqle: bool = False) -> None:
    """Open a shell on the head node, or with --uqle on the UQLE machine.

    Changes: nothing
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke ssh --uqle
    """
    from slurm_cluster.aws import key_pair, uqle_instance
    from slurm_cluster.steps import pcluster

    p = get_project(c)
    private = str(key_pair.get_private_key_path(p.key_pair))
    command = pcluster.build_command("ssh", "--cluster-name", p.cluster, "-i", private, region=p.region)
    if uqle:
        address = (
            "<from connect-uqle>" if c.config.run.dry else uqle_instance.get_public_address(p.ec2, p.cluster)
        )
        command = shlex.join(["ssh", "-i", private, f"ubuntu@{address}"])
    answer = run_command(c, p, command, interactive=True, pty=sys.stdin.isatty())
    if answer is not None and answer.failed:
        raise Exit("The shell ended with an error, or could not be opened.", code=answer.exited)


@task(klass=Step, help={"json": "for scripts (default: for people)"})
def status(c: Context, json: bool = False) -> None:
    """Show what stands, what of it goes on costing, and the next step.

    Changes: nothing
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke status --json
    """
    from slurm_cluster.views import status

    echo_lines([status.format_json(get_project(c))] if json else status.format_status(get_project(c)))


@task(klass=Step, help={"file": "the page to write (default: picture.html)"})
def picture(c: Context, file: str = "picture.html") -> None:
    """Draw what stands, in a page for any browser.

    Changes: the file picture.html
    Costs:   nothing
    Undo:    remove the file
    Example: invoke picture
    """
    from slurm_cluster import files
    from slurm_cluster.views import picture

    p = get_project(c)
    if not skip_for_dry_run(c, f"write {file}"):
        files.write_file(Path(file), picture.render_page(p))
        echo(f"Wrote {file}: open it in a browser.")


# --- Pausing ----------------------------------------------------------------------------------------------------------


@task(klass=LongStep)
def pause(c: Context) -> None:
    """Stop the compute fleet and the UQLE machine; all data stays.

    Changes: both are stopped, and jobs that run end with their nodes
    Costs:   what cannot be stopped goes on, and is named
    Undo:    invoke resume
    Example: invoke pause
    """
    from slurm_cluster import output
    from slurm_cluster.aws import fleet, uqle_instance
    from slurm_cluster.views import status

    p = get_project(c)
    ask_fleet(c, "STOP_REQUESTED")
    if skip_for_dry_run(c, "stop the UQLE instance"):
        return
    ec2 = p.ec2
    stopped = uqle_instance.stop_instance(ec2, p.cluster)
    output.show_progress(fleet.watch_fleet(p.dynamodb, p.cluster, "STOPPED"), c.quiet)
    output.show_progress(uqle_instance.watch_instances(ec2, stopped, "stopped"), c.quiet)
    echo("The compute fleet is stopped.")
    echo(f"Stopped {', '.join(stopped)}." if stopped else "No UQLE instance runs.")
    echo_lines(status.list_paused_costs())


@task(klass=LongStep)
def resume(c: Context) -> None:
    """Start the compute fleet and the UQLE machine again.

    Changes: both run; the machine has another address
    Costs:   the machine, and nodes when there are jobs
    Undo:    invoke pause
    Example: invoke resume
    """
    from slurm_cluster import output
    from slurm_cluster.aws import fleet, uqle_instance

    p = get_project(c)
    ask_fleet(c, "START_REQUESTED")
    if skip_for_dry_run(c, "start the UQLE instance"):
        return
    ec2 = p.ec2
    output.show_progress(uqle_instance.start_instance(ec2, p.cluster), c.quiet)
    output.show_progress(fleet.watch_fleet(p.dynamodb, p.cluster, "RUNNING"), c.quiet)
    machine = uqle_instance.find_instance(ec2, p.cluster)
    echo("The compute fleet is running.")
    echo(
        f"{machine['InstanceId']} runs at {machine.get('PublicIpAddress')}."
        if machine
        else "There is no UQLE instance."
    )


def ask_fleet(c: Context, wanted: str) -> None:
    """Have pcluster ask the compute fleet to stop or start."""
    from slurm_cluster.aws import stack
    from slurm_cluster.steps import pcluster

    p = get_project(c)
    if not c.config.run.dry:
        stack.require_cluster(p.cloudformation, p.cluster)
    command = ["update-compute-fleet", "--cluster-name", p.cluster, "--status", wanted]
    answer = run_command(c, p, pcluster.build_command(*command, region=p.region), hide=True)
    if not c.config.run.dry:
        pcluster.check_result(answer)


# --- Changing a cluster that stands -----------------------------------------------------------------------------------


@task(klass=Step)
def rotate_jwt_key(c: Context) -> None:
    """Put a new JWT key into the secret and onto the running head node.

    Changes: that key; tokens of the old one are refused from then on
    Costs:   nothing
    Undo:    none: run it again for yet another key
    Example: invoke rotate-jwt-key
    """
    from slurm_cluster.aws import jwt_secret, key_pair, stack
    from slurm_cluster.slurm import key_rotation, ssh

    p = get_project(c)
    if skip_for_dry_run(c, f"put a new key into the secret of {p.cluster}, and have its head node take it"):
        return
    key_rotation.refuse_literal_key(p.literal_key, p.parameter_file)
    found, private = (
        stack.require_cluster(p.cloudformation, p.cluster),
        key_pair.get_private_key_path(p.key_pair),
    )
    through, manager = ssh.find_head_node_host(p.ec2, found), p.secretsmanager
    old, secret = p.read_jwt_key(), p.custom_secret_arn or jwt_secret.find_secret_arn(manager, p.secret) or p.secret
    key_rotation.check_root_access(through, private)
    new = key_rotation.put_new_key(manager, secret)
    echo(f"Put a new key into {secret}; the head node takes it ...")
    key_rotation.install_key(through, private, secret)
    with ssh.open_tunnel(through, private, stack.get_output(found, "HeadNodePrivateDnsName")) as url:
        echo(key_rotation.verify_rotation(url, new, old))
    echo("UQLE still has the old key: `invoke handover --with-key`, then copy the file to its machine again.")


# --- Taking it away ---------------------------------------------------------------------------------------------------


@task(klass=LongStep)
def disconnect_uqle(c: Context) -> None:
    """Terminate the UQLE instance, and take the group's rule away.

    Changes: the instance and its disk are gone for good
    Costs:   nothing; the instance's costs end
    Undo:    invoke connect-uqle makes a new one
    Example: invoke disconnect-uqle
    """
    from slurm_cluster import output
    from slurm_cluster.aws import security_groups, stack, uqle_instance

    p = get_project(c)
    if skip_for_dry_run(
        c, f"terminate the UQLE instance of {p.cluster}, and take the rule of the head node's group away"
    ):
        return
    ec2 = p.ec2
    group = stack.find_resource_id(p.cloudformation, p.cluster, "HeadNodeSecurityGroup")
    gone = uqle_instance.terminate_instances(ec2, p.cluster, group)
    output.show_progress(uqle_instance.watch_instances(ec2, gone, "terminated"), c.quiet)
    echo(f"Terminated {', '.join(gone)}." if gone else "There is no UQLE instance.")
    if group and security_groups.remove_self_rule(ec2, group):
        echo(f"{group} no longer admits its own members.")


@task(klass=LongStep, help={"yes": YES})
def delete_cluster(c: Context, yes: bool = False) -> None:
    """Delete the cluster, and with it all data on its file system.

    Changes: the stack and what it made are gone for good
    Costs:   nothing; the cluster's costs end
    Undo:    none: copy what you want to keep first
    Example: invoke delete-cluster
    """
    from slurm_cluster import output
    from slurm_cluster.aws import security_groups, shared_storage, stack
    from slurm_cluster.steps import pcluster

    p = get_project(c)
    command = pcluster.build_command("delete-cluster", "--cluster-name", p.cluster, region=p.region)
    if c.config.run.dry:
        run_command(c, p, command)
        return
    cloudformation = p.cloudformation
    found = stack.find_stack(cloudformation, p.cluster)
    if not found:
        echo(f"There is no cluster {p.cluster}.")
        return
    security_groups.refuse_foreign_members(cloudformation, p.ec2, p.cluster)
    before = ""
    if found["StackStatus"] != "DELETE_IN_PROGRESS":
        fate = shared_storage.describe_deletion(cloudformation, p.efs, found)
        output.confirm(f"Delete the cluster {p.cluster} in {p.region}? {fate}", yes, name=p.cluster)
        before = stack.get_newest_event_id(cloudformation, found["StackId"])
        answer = run_command(c, p, command, hide=True)
        if stack.find_stack(
            cloudformation, p.cluster
        ):  # else it is gone already, whatever pcluster makes of that
            pcluster.check_result(answer)
    if (
        output.show_progress(stack.watch_stack(cloudformation, found["StackId"], before), c.quiet)
        != "DELETE_COMPLETE"
    ):
        reasons = stack.list_failures(cloudformation, found["StackId"])
        raise Exit(
            "\n  ".join([f"The cluster {p.cluster} was not deleted: run this again.", *reasons]), code=1
        )
    echo(f"The cluster {p.cluster} is gone.")


@task(klass=LongStep)
def delete_network(c: Context) -> None:
    """Delete the network that the wizard made, unless something is in it.

    Changes: the VPC and its stack are gone, and temp-config.yml
    Costs:   nothing; the NAT gateway's costs end
    Undo:    invoke configure makes a new one
    Example: invoke delete-network
    """
    p = get_project(c)
    if not skip_for_dry_run(c, f"delete the network of {p.cluster}"):
        remove_network(p, c.quiet)


def remove_network(p: Project, quiet: bool) -> None:
    """Delete the network that the wizard made.

    Raises:
        NetworkInUseError: something else is in it.
    """
    from slurm_cluster import files, output
    from slurm_cluster.aws import network
    from slurm_cluster.config import parameters
    from slurm_cluster.errors import ClusterError
    from slurm_cluster.steps import wizard

    ec2, cloudformation = p.ec2, p.cloudformation
    with files.acquire_lock(p.temp_config.parent, "configure"):
        wizard.claim_proven_vpc(ec2, cloudformation, p.temp_config)
    found = network.find_network(ec2, cloudformation, p.cluster, p.wizard_subnet)
    if not found:
        echo(network.explain_no_network(ec2, p.cluster, p.public_subnet))
        echo_lines(
            network.describe_unclaimed_vpcs(
                network.find_unclaimed_vpcs(ec2, cloudformation), p.cluster, p.region
            )
        )
        return
    network.refuse_network_in_use(ec2, cloudformation, p.efs, p.cluster, found)
    network.claim_vpc(ec2, found.vpc, p.cluster)  # so that it is found again when this is stopped half-way
    for each in found.stacks:
        if (
            output.show_progress(network.delete_wizard_stack(cloudformation, each), quiet)
            != "DELETE_COMPLETE"
        ):
            raise ClusterError(
                f"The stack {each} was not deleted: see its events in CloudFormation, then run this again."
            )
    gone = network.find_missing_subnets(
        ec2, p.subnets
    )  # before the VPC goes: when this is stopped in between, it is still found
    parameters.clear_values(p.parameter_file, gone)
    if files.exists(p.temp_config) and p.public_subnet in gone:
        p.temp_config.unlink(missing_ok=True)
        echo(f"Removed {p.temp_config}, which named its subnets.")
    network.delete_vpc(ec2, found.vpc)
    echo(f"The network {found.vpc} is gone.")


@task(klass=LongStep, help={"all": "the boot scripts and the JWT key too (default: keep them)", "yes": YES})
def down(c: Context, all: bool = False, yes: bool = False) -> None:  # noqa: A002 - the flag's name
    """Take everything away, in the order that AWS allows; list what is left.

    Changes: UQLE machine, cluster with its data, and network are gone
    Costs:   nothing; with --all, nothing of it costs any more
    Undo:    none: copy what you want to keep first
    Example: invoke down --all
    """
    from slurm_cluster import output
    from slurm_cluster.aws import jwt_secret, script_bucket, shared_storage, stack
    from slurm_cluster.errors import NetworkInUseError
    from slurm_cluster.views import status

    p = get_project(c)
    if not c.config.run.dry:
        found = stack.find_stack(p.cloudformation, p.cluster)
        fate = shared_storage.describe_deletion(p.cloudformation, p.efs, found)
        output.confirm(
            f"Take away the UQLE machine, the cluster {p.cluster} and its network? {fate}",
            yes,
            name=p.cluster,
        )
    disconnect_uqle(c)
    delete_cluster(c, yes=True)
    kept = ""
    if not skip_for_dry_run(c, f"delete the network of {p.cluster}"):
        try:
            remove_network(p, c.quiet)
        except (
            NetworkInUseError
        ) as refused:  # another cluster may be in it: what is this one's alone goes all the same
            kept = str(refused)
    if all and not skip_for_dry_run(c, "delete the boot scripts, the secret and its policy"):
        gone = script_bucket.delete_scripts(p.s3, p.bucket, p.cluster, p.account)
        gone += jwt_secret.delete_secret_and_policy(p.secretsmanager, p.iam, p.secret, p.policy)
        echo_lines(f"Deleted {each}." for each in gone)
    if not c.config.run.dry:
        echo_lines(["Left:", *(f"  {each}" for each in status.list_leftovers(p))])
    if kept:
        raise Exit(kept, code=1)


# --- All of it --------------------------------------------------------------------------------------------------------


@task(klass=LongStep, help={"ssh-from": SSH_FROM, "yes": YES})
def up(c: Context, ssh_from: str = "", yes: bool = False) -> None:
    """Go the whole way, from the key pair to the handover.

    Changes: what the steps make; what stands already stays as it is
    Costs:   about 0.31 dollars an hour from then on
    Undo:    invoke down
    Example: invoke up --ssh-from 203.0.113.7/32
    """
    from slurm_cluster import output

    p = get_project(c)
    if not c.config.run.dry:
        p.get_ssh_from(ssh_from)
        output.confirm(
            f"Make the cluster {p.cluster} in {p.region}, which costs money from its network on?", yes
        )
    create_key_pair(c)
    configure(c)
    upload_bootstrap(c)
    create_jwt_key(c)
    fill_parameters(c, ssh_from=ssh_from)
    render(c)
    create_cluster(c)
    connect_uqle(c)
    handover(c)


@task(klass=Step)
def rehearse(c: Context) -> None:
    """Walk the whole path in an emulated AWS, and back.

    Changes: nothing: it has a folder, a home and an account of its own
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke rehearse
    """
    run_module(c, "sandbox.rehearsal")


@task(klass=Step, help={"run": "a command to run in it, whose status is passed on (default: a shell)"})
def sandbox(c: Context, run: str = "") -> None:
    """Open a shell in which AWS is an emulated one.

    Changes: nothing outside of it
    Costs:   nothing
    Undo:    leave it: what it holds is gone then
    Example: invoke sandbox --run 'aws ec2 describe-vpcs'
    """
    run_module(c, "sandbox", *(["sh", "-c", run] if run else []))
