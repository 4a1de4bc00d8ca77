"""The README's steps as tasks, in its order. Each is wiring: it reads the settings, calls a helper and says what came of it.

AWS's libraries are imported where they are used: `invoke --list` and shell completion load this file at every press of Tab.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context, Exit, Failure, Task, task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurm_cluster.stack import Progress
    from slurm_cluster.uqle_instance import Place, Settings

ROOT = Path(__file__).parent
TEMPLATE = ROOT / "config.template.yml"
BOOTSTRAP = ROOT / "bootstrap"
WIZARD_SECONDS = 3600


class Step(Task):  # type: ignore[type-arg]
    """A task whose expected failures are one sentence and status 1, never a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except KeyboardInterrupt:
            raise Exit(
                "Stopped. What was begun goes on in AWS; the same command takes it up again.", code=130
            ) from None
        except (Exit, Failure):
            raise
        except Exception as error:
            from botocore.exceptions import BotoCoreError, ClientError

            from slurm_cluster.aws import sentence
            from slurm_cluster.errors import ClusterError

            if isinstance(error, ClusterError):
                raise Exit(str(error), code=1) from None
            if isinstance(error, (BotoCoreError, ClientError)):
                raise Exit(sentence(error), code=1) from None
            raise


# --- settings ---------------------------------------------------------------------------------------------------------


def cluster(c: Context) -> str:
    """Give the name of the cluster."""
    from slurm_cluster.parameters import check_cluster_name

    return check_cluster_name(c.cluster_name)


def region(c: Context) -> str:
    """Give the region that everything happens in."""
    from slurm_cluster import regions

    return regions.resolve(Path(c.parameter_file), Path(c.temp_config))


def key_pair_name(c: Context) -> str:
    """Give the name of the key pair: of the files where they name one, else of the settings."""
    from slurm_cluster import parameters, temp_config

    if Path(c.parameter_file).exists():
        filled = parameters.given(parameters.read(Path(c.parameter_file))).get("SSH_KEY_PAIR")
        if filled:
            return str(filled)
    if Path(c.temp_config).exists():
        return temp_config.read(Path(c.temp_config)).key_pair
    return str(c.key_pair or cluster(c))


def client(c: Context, service: str) -> Any:
    """Give a client of an AWS service in the region."""
    from slurm_cluster import aws

    return aws.client(service, region(c))


def account(c: Context) -> str:
    """Give the number of the AWS account."""
    from slurm_cluster import aws

    return aws.account_id(client(c, "sts"))


def public_subnet(c: Context) -> str | None:
    """Give the public subnet that the files name, if they do."""
    from slurm_cluster import parameters, temp_config

    if Path(c.temp_config).exists():
        return temp_config.read(Path(c.temp_config)).public_subnet
    if Path(c.parameter_file).exists():
        return parameters.given(parameters.read(Path(c.parameter_file))).get("PUBLIC_SUBNET")
    return None


# --- saying, asking, running ------------------------------------------------------------------------------------------


def planned(c: Context, what: str) -> bool:
    """With --dry, say what would be done, and that nothing is to be; every task that changes anything begins here."""
    if c.config.run.dry:
        print(f"would {what}")
    return bool(c.config.run.dry)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost, unless --yes answered already."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Exit(f"{question} Nobody is here to ask: pass --yes.", code=1)
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Exit("Nothing was changed.", code=1)


def run(c: Context, command: str, **kwargs: Any) -> Any:
    """Run an outside command, shown before it runs, with this environment's programs first and the region told."""
    if not c.config.run.dry:  # which shows it by itself
        print(f"$ {command}", flush=True)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {"PATH": programs, "AWS_REGION": region(c), "AWS_DEFAULT_REGION": region(c)}
    return c.run(command, env=env, echo=False, warn=True, **kwargs)


def show(progress: Iterable[Progress]) -> str:
    """Print how far a stack has come, a line for each change, and give its final status."""
    import time

    began, shown, status = time.monotonic(), None, ""
    for each in progress:
        status = each.status
        if each != shown:
            seconds = int(time.monotonic() - began)
            clock = f"{seconds // 60:3}:{seconds % 60:02}"
            print(f"{clock}  {each.status}  {each.done} of {each.total} resources  {each.last}", flush=True)
        shown = each
    return status


# --- Requirements -----------------------------------------------------------------------------------------------------


@task(klass=Step)
def check(c: Context) -> None:
    """Look at everything that the steps will need; changes nothing."""
    from slurm_cluster import checks

    failed = False
    ssh_from = filled_ssh_from(c) or c.ssh_from
    for each in checks.run(cluster(c), region(c), key_pair_name(c), TEMPLATE, c.uqle.instance_type, ssh_from):
        print(f"{each.result:7} {each.name}: {each.detail}", flush=True)
        failed |= each.result == "FAIL"
    if failed:
        raise Exit("Put right what failed, then run this again.", code=1)


def filled_ssh_from(c: Context) -> str:
    """Give who may reach SSH as config-parameters.json has it."""
    from slurm_cluster import parameters

    path = Path(c.parameter_file)
    return str(parameters.given(parameters.read(path)).get("SSH_FROM", "")) if path.exists() else ""


@task(klass=Step)
def create_key_pair(c: Context) -> None:
    """Make the ed25519 key pair, its private half in ~/.ssh, mode 0600; one that is there is left alone."""
    from slurm_cluster import key_pair

    name = key_pair_name(c)
    if not planned(c, f"make the key pair {name}, its private half in {key_pair.private_key_file(name)}"):
        print(key_pair.create(client(c, "ec2"), name))


# --- Creating the VPC -------------------------------------------------------------------------------------------------


@task(klass=Step)
def configure(c: Context) -> None:
    """Make the VPC with the wizard of `pcluster configure`, answered as the README says; writes temp-config.yml."""
    from slurm_cluster import key_pair, network, pcluster, wizard

    path, ec2, name = Path(c.temp_config), client(c, "ec2"), key_pair_name(c)
    command = pcluster.command("configure", "-c", str(path))
    if c.config.run.dry:
        run(c, command)
        return
    if path.exists():
        subnet = str(public_subnet(c))
        if network.vpc_of_subnet(ec2, subnet) is None:
            raise Exit(
                f"{path} names {subnet}, which is not in this region: move it away, then run this again.", code=1
            )
        print(f"{path} is here, and its network stands: nothing to do.")
        return
    left = network.of_cluster(ec2, cluster(c))
    if left:
        raise Exit(f"{left[0]} is left of an earlier run without {path}: `invoke delete-network` removes it.", code=1)
    if key_pair.find(ec2, name) is None:
        raise Exit(f"EC2 has no key pair {name} in this region: `invoke create-key-pair` makes it.", code=1)
    before = {vpc["VpcId"] for vpc in network.vpcs(ec2)}
    answers = {**wizard.ANSWERS, "AWS Region ID": region(c), "EC2 Key Pair Name": name}
    refused = ""
    try:
        watchers = [wizard.Answers(answers)]
        run(c, command, watchers=watchers, pty=True, fallback=False, in_stream=False, timeout=WIZARD_SECONDS)
    except Failure as failure:
        refused = f" ({failure.reason or failure})"
    finally:
        new = [vpc for vpc in network.vpcs(ec2) if vpc["VpcId"] not in before]
        mine = [vpc["VpcId"] for vpc in new if network.name(vpc).startswith(network.VPC_PREFIX)]
        for vpc in mine:
            network.claim(ec2, vpc, cluster(c))
    if not path.exists():
        rest = f" {', '.join(mine)} is left: `invoke delete-network` removes it." if mine else ""
        raise Exit(f"The wizard did not finish{refused}.{rest}", code=1)
    print(f"The network {', '.join(mine)} stands; {path} names its subnets.")


# --- Creating the cluster configuration file --------------------------------------------------------------------------


@task(klass=Step)
def upload_bootstrap(c: Context) -> None:
    """Put the boot scripts into a private bucket, for the nodes to fetch."""
    from slurm_cluster import bootstrap

    if planned(c, f"put {', '.join(bootstrap.SCRIPTS.values())} into s3://slurm-cluster-bootstrap-.../{cluster(c)}/"):
        return
    owner, s3 = account(c), client(c, "s3")
    bucket = bootstrap.bucket_name(owner, region(c))
    if bootstrap.ensure_bucket(s3, bucket, owner, region(c)):
        print(f"Made the bucket {bucket}.")
    put = bootstrap.upload(s3, BOOTSTRAP, bucket, cluster(c), owner)
    print("\n".join(f"Put {uri}" for uri in put) or f"The scripts are in s3://{bucket}/{cluster(c)}/: nothing to do.")


@task(klass=Step)
def create_jwt_key(c: Context) -> None:
    """Make the random JWT key in Secrets Manager, and the policy by which the head node alone may read it."""
    from slurm_cluster import jwt_key

    name = jwt_key.secret_name(cluster(c), region(c))
    if planned(c, f"make the secret {name} with a random key, and a policy to read it"):
        return
    secret, new = jwt_key.ensure_secret(client(c, "secretsmanager"), name, cluster(c))
    policy = jwt_key.policy_arn(cluster(c), account(c), region(c))
    changed = jwt_key.ensure_policy(client(c, "iam"), policy, secret)
    print(f"{'Made a new key in' if new else 'The key stands in'} {secret}.")
    print(f"{'Wrote' if changed else 'There is'} the policy {policy}.")


@task(
    klass=Step,
    help={
        "ssh-from": "who may reach SSH: one CIDR or prefix list (default: ssh_from in invoke.yaml)",
        "overwrite": "replace also what a person wrote (default: keep it)",
    },
)
def fill_parameters(c: Context, ssh_from: str = "", overwrite: bool = False) -> None:
    """Write config-parameters.json from temp-config.yml, the scripts and the key; keeps what a person wrote."""
    from slurm_cluster import parameters

    path = Path(c.parameter_file)
    if planned(c, f"write {path} with values <from configure>, <from upload-bootstrap>, <from create-jwt-key>"):
        return
    values = parameters.read(path) if path.exists() else {}
    wanted = ssh_from or c.ssh_from
    if not wanted and "SSH_FROM" not in parameters.given(values):
        raise Exit("Nobody may reach SSH yet: say who, as in --ssh-from 203.0.113.7/32 for that one address.", code=1)
    faults = parameters.faults_of("SSH_FROM", wanted) if wanted else []
    if faults:
        raise Exit(f"{faults[0]}.", code=1)
    found = found_values(c) | ({"SSH_FROM": str(wanted)} if wanted else {})
    refuse_other_cluster(c, parameters.given(values))
    values, pinned = settle_scripts(c, values, found)
    filled, kept = parameters.fill(values, found, overwrite=overwrite)
    parameters.write(path, filled)
    print("\n".join([*pinned, *kept, f"Wrote {path}: {len(parameters.given(filled))} values."]))


def refuse_other_cluster(c: Context, values: dict[str, Any]) -> None:
    """Refuse parameters that were filled in for a cluster of another name."""
    if values.get("CLUSTER_NAME", cluster(c)) != cluster(c):
        raise Exit(
            f"{c.parameter_file} is of the cluster {values['CLUSTER_NAME']}, and this command is about {cluster(c)}: "
            "work in another folder, or set cluster_name or INVOKE_CLUSTER_NAME.",
            code=1,
        )


def settle_scripts(c: Context, values: dict[str, Any], found: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Keep the script URIs of a cluster that stands, which pcluster lets nobody change; else let go of those of ours."""
    from slurm_cluster import bootstrap, stack

    if stack.find(client(c, "cloudformation"), cluster(c)) is None:
        return bootstrap.without_own(values, found["BOOTSTRAP_BUCKET"], cluster(c)), []
    changed = [name for name in bootstrap.SCRIPTS if values.get(name) and values[name] != found[name]]
    found.update({name: values[name] for name in changed})
    return values, [f"{name} stays {values[name]}: new boot scripts need a new cluster." for name in changed]


def found_values(c: Context) -> dict[str, str]:
    """Give the parameters as the steps before made them."""
    from slurm_cluster import bootstrap, jwt_key, temp_config

    network = temp_config.read(Path(c.temp_config))
    owner = account(c)
    bucket = bootstrap.bucket_name(owner, region(c))
    scripts = bootstrap.uris(BOOTSTRAP, bucket, cluster(c))
    if bootstrap.missing(client(c, "s3"), list(scripts.values())):
        raise Exit(
            f"The boot scripts are not in s3://{bucket}/{cluster(c)}/: `invoke upload-bootstrap` puts them there.",
            code=1,
        )
    secret = jwt_key.find_secret(client(c, "secretsmanager"), jwt_key.secret_name(cluster(c), region(c)))
    policy = jwt_key.policy_arn(cluster(c), owner, region(c))
    if not secret or not jwt_key.policy_exists(client(c, "iam"), policy):
        raise Exit("The JWT key or the policy to read it is not there: `invoke create-jwt-key` makes them.", code=1)
    return {
        "AWS_REGION": network.region,
        "SSH_KEY_PAIR": network.key_pair,
        "PRIVATE_SUBNET": network.private_subnet,
        "PUBLIC_SUBNET": network.public_subnet,
        **scripts,
        "SLURM_JWT_KEY": secret,
        "SLURM_JWT_POLICY": policy,
        "BOOTSTRAP_BUCKET": bucket,
        "CLUSTER_NAME": cluster(c),
    }


@task(klass=Step)
def render(c: Context) -> None:
    """Write config.yml: the template with the parameters filled in, as the `chevron` command does it."""
    from slurm_cluster import configuration, files, parameters

    source, path = Path(c.parameter_file), Path(c.config_file)
    if planned(c, f"write {path} from {TEMPLATE.name} and {source}"):
        return
    rendered = configuration.render(TEMPLATE, source)
    values = parameters.read(source)
    refuse_other_cluster(c, values)
    for warning in configuration.warnings(values):
        print(f"Warning: {warning}", file=sys.stderr)
    files.write(path, rendered, mode=0o600)
    print(f"Wrote {path}: `invoke create-cluster` has pcluster look at it first.")


# --- Creating the cluster ---------------------------------------------------------------------------------------------


@task(klass=Step)
def create_cluster(c: Context) -> None:
    """Create the cluster of config.yml: pcluster's dry run, the real command, then progress until it stands."""
    from slurm_cluster import pcluster, stack

    name, cloudformation = cluster(c), client(c, "cloudformation")
    create = ["create-cluster", "--cluster-configuration", c.config_file, "--cluster-name", name]
    dry_run, real = (pcluster.command(*create, *more, region=region(c)) for more in (["--dryrun", "true"], []))
    if c.config.run.dry:
        run(c, dry_run)
        run(c, real)
        return
    found = stack.find(cloudformation, name)
    if found is None:
        check_configuration(c)
        answer = run(c, dry_run, hide=True)
        for warning in pcluster.check_dry_run(answer.stdout, answer.stderr):
            print(warning)
        answer = run(c, real, hide=True)
        if answer.failed:
            raise Exit(pcluster.refusal(answer.stdout, answer.stderr), code=1)
        found = stack.require_begun(cloudformation, name)
    elif found["StackStatus"] in stack.STANDING:
        print(f"The cluster {name} stands: {found['StackStatus']}.")
        return
    elif found["StackStatus"] != "CREATE_IN_PROGRESS":
        raise Exit(f"The cluster {name} is {found['StackStatus']}: `invoke delete-cluster` first.", code=1)
    if show(stack.watch(cloudformation, found["StackId"])) != "CREATE_COMPLETE":
        raise Exit(failure_of(c, found["StackId"]), code=1)
    print(f"The cluster {name} stands.")


def check_configuration(c: Context) -> None:
    """Check what pcluster's dry run does not look at: that the nodes may fetch the scripts, and that these are there."""
    from slurm_cluster import bootstrap, configuration

    rendered = configuration.load(Path(c.config_file))
    if rendered.get("Region") != region(c):
        raise Exit(
            f"{c.config_file} is for {rendered.get('Region')}, not {region(c)}: `invoke render` writes it anew.", code=1
        )
    unreadable = configuration.unreadable_scripts(rendered)
    if unreadable:
        raise Exit(f"{c.config_file}: {'; '.join(unreadable)}: give them S3Access to it.", code=1)
    missing = bootstrap.missing(client(c, "s3"), sorted(configuration.scripts(rendered)))
    if missing:
        raise Exit(f"{', '.join(missing)} is not there: `invoke upload-bootstrap`, fill-parameters and render.", code=1)


def failure_of(c: Context, stack_id: str) -> str:
    """Say why a cluster was not created: the resources that failed, and the end of the head node's log."""
    from slurm_cluster import node_log, stack

    reasons = stack.failures(client(c, "cloudformation"), stack_id)
    log = node_log.tail(client(c, "logs"), cluster(c))
    told = [
        f"The cluster {cluster(c)} was not created.",
        *reasons,
        *([f"The end of {log[0]}:", *log[1:]] if log else []),
    ]
    return "\n  ".join([*told, "`invoke delete-cluster` takes away what is left of it."])


# --- Connecting the cluster to the UQLE API ---------------------------------------------------------------------------


def place(c: Context) -> Place:
    """Give the place of the UQLE instance: the head node's neighbourhood."""
    from slurm_cluster import security_groups, stack, uqle_instance

    cloudformation = client(c, "cloudformation")
    found = stack.require(cloudformation, cluster(c))
    group = security_groups.head_node_group(cloudformation, cluster(c))
    subnet = uqle_instance.subnet_of(client(c, "ec2"), stack.output(found, "HeadNodeInstanceID"))
    file_system = stack.output(found, "EFSIds").split(",")[0]
    return uqle_instance.Place(cluster(c), region(c), found["StackId"], group, subnet, file_system)


def settings(c: Context) -> Settings:
    """Give the settings of the UQLE instance."""
    from slurm_cluster import uqle_instance

    wanted = c.uqle
    return uqle_instance.check_settings(wanted.instance_type, wanted.volume_gib, wanted.mount_point, key_pair_name(c))


@task(klass=Step)
def allow_head_node_group(c: Context) -> None:
    """Let the members of the head node's group reach each other, and so the UQLE machine reach port 8082."""
    from slurm_cluster import security_groups, stack

    if planned(c, f"let the members of {cluster(c)}'s head node group reach each other"):
        return
    stack.require(client(c, "cloudformation"), cluster(c))
    group = security_groups.head_node_group(client(c, "cloudformation"), cluster(c))
    added = security_groups.allow_members(client(c, "ec2"), group)
    print(f"{'Now' if added else 'Already'} {group} admits all traffic of its own members.")


@task(klass=Step)
def create_instance(c: Context) -> None:
    """Launch the UQLE instance in the head node's group; it mounts the cluster's file system and installs Docker."""
    from slurm_cluster import key_pair, uqle_instance

    wanted = settings(c)
    if planned(
        c, f"launch a {wanted.instance_type} that mounts the file system of {cluster(c)} at {wanted.mount_point}"
    ):
        return
    ec2, where = client(c, "ec2"), place(c)
    script = uqle_instance.user_data(BOOTSTRAP / "uqle_instance_ubuntu.sh", where, wanted.mount_point)
    found = uqle_instance.find(ec2, cluster(c))
    if found:
        print(f"The UQLE instance {found['InstanceId']} is {found['State']['Name']}.")
        for difference in uqle_instance.differences(ec2, found, where, wanted, script):
            print(
                f"It is not as the settings have it: {difference}; `invoke disconnect-uqle connect-uqle` makes a new one."
            )
        return
    if key_pair.find(ec2, wanted.key_pair) is None:
        raise Exit(f"EC2 has no key pair {wanted.key_pair} in this region: `invoke create-key-pair` makes it.", code=1)
    identifier = uqle_instance.launch(ec2, where, wanted, uqle_instance.image(client(c, "ssm")), script)
    print(f"Launched {identifier}; waiting until it runs ...", flush=True)
    running = uqle_instance.wait_until_running(ec2, identifier)
    print(f"The UQLE instance {identifier} runs at {running.get('PublicIpAddress', 'no public address')}.")


@task(klass=Step)
def connect_uqle(c: Context) -> None:
    """Connect a UQLE machine: allow-head-node-group, then create-instance."""
    allow_head_node_group(c)
    create_instance(c)


@task(klass=Step, help={"with-key": "put the JWT key into the file too, never on the screen (default: leave it out)"})
def handover(c: Context, with_key: bool = False) -> None:
    """Give the four things that UQLE asks for, on the screen and as uqle.env."""
    from slurm_cluster import handover, jwt_key, key_pair, stack, uqle_instance

    path, mount_point = Path(c.handover_file), settings(c).mount_point
    if planned(c, f"write {path} for the UQLE machine"):
        return
    head_node = stack.output(stack.require(client(c, "cloudformation"), cluster(c)), "HeadNodePrivateDnsName")
    literal = literal_key(c)
    secret = jwt_key.secret_name(cluster(c), region(c))
    key = (literal or jwt_key.read(client(c, "secretsmanager"), secret)) if with_key else None
    handover.write(path, head_node, mount_point, key)
    machine = uqle_instance.find(client(c, "ec2"), cluster(c))
    print(f"Slurm URL      {handover.url(head_node)}")
    print(f"Slurm port     {handover.PORT}")
    print(f"JWT key        {'in SLURM_JWT_KEY of ' + c.parameter_file if literal else 'secret ' + secret}")
    print(f"Mount point    {mount_point}")
    print(f"Wrote {path}, {'with' if with_key else 'without'} the key.")
    if machine and machine.get("PublicIpAddress"):
        private = key_pair.private_key_file(key_pair_name(c))
        print("Copy it to the UQLE machine with")
        print(f"  {shlex.join(handover.copy_command(path, private, machine['PublicIpAddress']))}")
    else:
        print("There is no UQLE machine yet: `invoke connect-uqle` makes it.")


def literal_key(c: Context) -> str:
    """Give the key where config-parameters.json holds it itself, as the original README had it."""
    from slurm_cluster import parameters

    path = Path(c.parameter_file)
    key = parameters.given(parameters.read(path)).get(parameters.SECRET, "") if path.exists() else ""
    return str(key) if key and parameters.is_literal_key(str(key)) else ""


# --- Debugging --------------------------------------------------------------------------------------------------------


@task(klass=Step, help={"uqle": "the UQLE machine instead of the head node (default: the head node)"})
def ssh(c: Context, uqle: bool = False) -> None:
    """Open a shell on the head node, or with --uqle on the UQLE machine."""
    from slurm_cluster import key_pair, pcluster, uqle_instance

    private = str(key_pair.private_key_file(key_pair_name(c)))
    command = pcluster.command("ssh", "--cluster-name", cluster(c), "-i", private, region=region(c))
    if uqle:
        machine = None if c.config.run.dry else uqle_instance.find(client(c, "ec2"), cluster(c))
        if not machine and not c.config.run.dry:
            raise Exit("There is no UQLE machine: `invoke connect-uqle` makes it.", code=1)
        command = shlex.join(
            ["ssh", "-i", private, f"ubuntu@{machine['PublicIpAddress'] if machine else '<from connect-uqle>'}"]
        )
    answer = run(c, command, pty=sys.stdin.isatty())
    if answer.failed:
        raise Exit("The shell ended with an error, or could not be opened.", code=answer.exited)


@task(klass=Step)
def status(c: Context) -> None:
    """Show what stands, what of it goes on costing money, and the next step; changes nothing."""
    from slurm_cluster import status

    parts = status.parts(status_clients(c), cluster(c), account(c), region(c), public_subnet(c))
    print(f"Cluster {cluster(c)} in {region(c)}")
    for part in parts:
        print(f"  {part.name:13} {part.found or 'missing'}{'  (costs: ' + part.costs + ')' if part.costs else ''}")
    print(f"Next: {status.next_step(parts)}")


def status_clients(c: Context) -> Any:
    """Give the clients that status asks."""
    from slurm_cluster import status

    return status.Clients(*(client(c, service) for service in status.Clients._fields))


# --- Taking it away ---------------------------------------------------------------------------------------------------


@task(klass=Step)
def disconnect_uqle(c: Context) -> None:
    """Terminate the UQLE instance, wait until it is gone, and take the group's rule away."""
    from slurm_cluster import security_groups, stack, uqle_instance

    if planned(c, f"terminate the UQLE instance of {cluster(c)}, and take the rule of the head node's group away"):
        return
    ec2 = client(c, "ec2")
    group = stack.physical_id(client(c, "cloudformation"), cluster(c), "HeadNodeSecurityGroup")
    gone = uqle_instance.terminate(ec2, cluster(c), group)
    print(f"Terminated {', '.join(gone)}." if gone else "There is no UQLE instance.")
    if group and security_groups.revoke_members(ec2, group):
        print(f"{group} no longer admits its own members.")


@task(klass=Step, help={"yes": "do not ask (default: ask)"})
def delete_cluster(c: Context, yes: bool = False) -> None:
    """Delete the cluster, and with it the data on its file system; waits until it is gone."""
    from slurm_cluster import pcluster, security_groups, stack

    name, cloudformation = cluster(c), client(c, "cloudformation")
    command = pcluster.command("delete-cluster", "--cluster-name", name, region=region(c))
    if c.config.run.dry:
        run(c, command)
        return
    found = stack.find(cloudformation, name)
    if found is None:
        print(f"There is no cluster {name}.")
        return
    others = security_groups.foreign_members(cloudformation, client(c, "ec2"), name)
    if others:
        raise Exit(
            f"{', '.join(others)} is in a security group of {name}, which AWS then cannot delete: "
            "`invoke disconnect-uqle` for the UQLE machine; terminate others yourself.",
            code=1,
        )
    if found["StackStatus"] != "DELETE_IN_PROGRESS":
        confirm(f"Delete the cluster {name} in {region(c)}, and all data on its shared file system?", yes)
        answer = run(c, command, hide=True)
        if answer.failed:
            raise Exit(pcluster.refusal(answer.stdout, answer.stderr), code=1)
    if show(stack.watch(cloudformation, found["StackId"])) != "DELETE_COMPLETE":
        reasons = stack.failures(cloudformation, found["StackId"])
        raise Exit("\n  ".join([f"The cluster {name} was not deleted: run this again.", *reasons]), code=1)
    print(f"The cluster {name} is gone.")


@task(klass=Step)
def delete_network(c: Context) -> None:
    """Delete the VPC and the subnets that the wizard made for the cluster; refuses while anything else is in them."""
    from slurm_cluster import network, stack

    if planned(c, f"delete the network of {cluster(c)}"):
        return
    ec2, cloudformation = client(c, "ec2"), client(c, "cloudformation")
    if stack.find(cloudformation, cluster(c)):
        raise Exit(f"The cluster {cluster(c)} is in the network: `invoke delete-cluster` first.", code=1)
    found = network.find(ec2, cloudformation, cluster(c), public_subnet(c))
    if found is None:
        print(f"There is no network that was made for {cluster(c)}.")
        return
    others = network.others_in(ec2, cloudformation, found)
    if others:
        raise Exit(f"{', '.join(others)} is in {found.vpc} and was not made by the wizard: remove it first.", code=1)
    for each in found.stacks:
        if show(network.delete_stack(cloudformation, each)) != "DELETE_COMPLETE":
            raise Exit(
                f"The stack {each} was not deleted: see its events in CloudFormation, then run this again.", code=1
            )
    ec2.delete_vpc(VpcId=found.vpc)
    print(f"The network {found.vpc} is gone.")


@task(
    klass=Step,
    help={"all": "the boot scripts and the JWT key too (default: keep them)", "yes": "do not ask (default: ask)"},
)
def down(c: Context, all: bool = False, yes: bool = False) -> None:  # noqa: A002 - the flag's name
    """Take everything away, in the order that AWS allows, and list what is left."""
    from slurm_cluster import bootstrap, jwt_key, status

    if not c.config.run.dry:
        confirm(f"Take away the UQLE machine, the cluster {cluster(c)} with all data on /shared, and its network?", yes)
    disconnect_uqle(c)
    delete_cluster(c, yes=True)
    delete_network(c)
    if all and not planned(c, "delete the boot scripts, the secret and its policy"):
        bucket = bootstrap.bucket_name(account(c), region(c))
        secret, policy = (
            jwt_key.secret_name(cluster(c), region(c)),
            jwt_key.policy_arn(cluster(c), account(c), region(c)),
        )
        gone = bootstrap.remove(client(c, "s3"), bucket, cluster(c), account(c))
        gone += jwt_key.remove(client(c, "secretsmanager"), client(c, "iam"), secret, policy)
        print("\n".join(f"Deleted {each}." for each in gone))
    if not c.config.run.dry:
        left = status.left_behind(status_clients(c), cluster(c))
        print("\n".join(["Left on purpose:", *(f"  {each}" for each in left)]) if left else "Nothing is left.")
        print(
            "temp-config.yml, config-parameters.json and config.yml here name what is gone: move them away before `invoke up`."
        )


# --- All of it --------------------------------------------------------------------------------------------------------


@task(
    klass=Step,
    help={"ssh-from": "who may reach SSH (default: ssh_from in invoke.yaml)", "yes": "do not ask (default: ask)"},
)
def up(c: Context, ssh_from: str = "", yes: bool = False) -> None:
    """Go the whole way: from the key pair to the handover. What stands already is left as it is."""
    if not (ssh_from or c.ssh_from or filled_ssh_from(c)) and not c.config.run.dry:
        raise Exit("Nobody may reach SSH yet: say who, as in --ssh-from 203.0.113.7/32 for that one address.", code=1)
    if not c.config.run.dry:
        confirm(f"Make the cluster {cluster(c)} in {region(c)}, which costs money from its network on?", yes)
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
    """Walk the whole path in an emulated AWS, and back: no account, no cost, a folder and a home of its own."""
    run_here(c, ["-m", "rehearsal"])


@task(klass=Step, help={"run": "a command to run in it, whose status is passed on (default: a shell)"})
def sandbox(c: Context, run: str = "") -> None:
    """Open a shell in which AWS is an emulated one, which is gone when you leave."""
    run_here(c, ["-m", "sandbox", *(["sh", "-c", run] if run else [])])


def run_here(c: Context, arguments: list[str]) -> None:
    """Run a module of this repository in the person's folder, with this environment's programs first on the PATH."""
    env = {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    answer = c.run(shlex.join([sys.executable, *arguments]), env=env, echo=False, warn=True, pty=sys.stdin.isatty())
    if answer.failed:
        raise Exit(code=answer.exited)
