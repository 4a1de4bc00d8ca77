"""The README's steps as tasks, in the same order. Each task only calls its step in slurm_cluster/steps.

The imports are in the functions, so that `invoke --list` and completion with Tab are quick.
"""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from slurm_cluster.cli import LongStep, Step, get_project, run_module

SSH_FROM = (
    "addresses that may use SSH: one CIDR or prefix list, or auto for this machine's public address "
    "(default: SSH_FROM in config-parameters.json, then ssh_from in invoke.yaml)"
)
YES = "do not ask (default: ask)"


# --- Requirements -------------------------------------------------------------------------------------------


@task(klass=Step, read_only=True)
def check(c: Context) -> str:
    """Check the tools, credentials, quotas and permissions that the steps need.

    Changes: nothing
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke check
    """
    from slurm_cluster.steps import requirements

    return requirements.check(get_project(c))


@task(
    klass=Step,
    next_step="invoke check",
    help={"public-key": "file of an ed25519 public key to import (default: create a pair)"},
)
def create_key_pair(c: Context, public_key: str = "") -> None:
    """Create the ed25519 key pair, or import yours; keep an existing one.

    Changes: creates a key pair in EC2; writes the private key to ~/.ssh
    Costs:   nothing
    Undo:    aws ec2 delete-key-pair --key-name NAME, and remove the file
    Example: invoke create-key-pair --public-key ~/.ssh/id_ed25519.pub
    """
    from slurm_cluster.steps import requirements

    requirements.create_key_pair(get_project(c), public_key)


# --- Creating the VPC ---------------------------------------------------------------------------------------


@task(
    klass=LongStep,
    next_step="invoke upload-bootstrap",
    help={
        "head-node-subnet": "existing public subnet (default: the wizard creates a network)",
        "compute-subnet": "existing subnet with internet access (default: the wizard creates a network)",
    },
)
def configure(c: Context, head_node_subnet: str = "", compute_subnet: str = "") -> None:
    """Create the network with `pcluster configure`, or use an existing one.

    Changes: creates a VPC, two subnets and a NAT gateway; writes temp-config.yml
    Costs:   the NAT gateway and its address, from now on
    Undo:    invoke delete-network
    Example: invoke configure
    """
    from slurm_cluster.steps import vpc

    vpc.configure(get_project(c), head_node_subnet, compute_subnet)


# --- Creating the cluster configuration file ----------------------------------------------------------------


@task(klass=Step, next_step="invoke create-jwt-key")
def upload_bootstrap(c: Context) -> None:
    """Upload the nodes' boot scripts to a private S3 bucket.

    Changes: creates an S3 bucket, one per account and region, with two small objects
    Costs:   less than a cent a month
    Undo:    invoke down --all
    Example: invoke upload-bootstrap
    """
    from slurm_cluster.steps import configuration

    configuration.upload_bootstrap(get_project(c))


@task(klass=Step, next_step="invoke fill-parameters --ssh-from auto")
def create_jwt_key(c: Context) -> None:
    """Create a random JWT key that only the head node may read.

    Changes: creates a secret in Secrets Manager, and a policy to read it
    Costs:   the secret, 0.40 dollars a month
    Undo:    invoke down --all
    Example: invoke create-jwt-key
    """
    from slurm_cluster.steps import configuration

    configuration.create_jwt_key(get_project(c))


@task(
    klass=Step,
    next_step="invoke render",
    help={"ssh-from": SSH_FROM, "overwrite": "replace values that you entered (default: keep)", "yes": YES},
)
def fill_parameters(c: Context, ssh_from: str = "", overwrite: bool = False, yes: bool = False) -> None:
    """Write config-parameters.json from what the previous steps created.

    Changes: writes that file; keeps the values that you entered
    Costs:   nothing
    Undo:    remove the file, or edit it
    Example: invoke fill-parameters --ssh-from 203.0.113.7/32
    """
    from slurm_cluster.steps import configuration

    configuration.fill_parameters(get_project(c), ssh_from, overwrite, yes)


@task(klass=Step, next_step="invoke create-cluster")
def render(c: Context) -> None:
    """Write config.yml: the template with the parameters filled in.

    Changes: writes that file
    Costs:   nothing
    Undo:    remove the file
    Example: invoke render
    """
    from slurm_cluster.steps.render import render

    render(get_project(c))


# --- Creating the cluster -----------------------------------------------------------------------------------


@task(klass=LongStep)
def create_cluster(c: Context) -> str:
    """Create the cluster that config.yml describes, in about 15 minutes.

    Changes: creates a stack: head node, file system, security groups, roles
    Costs:   the head node, disks, file system and alarms, from now on
    Undo:    invoke delete-cluster
    Example: invoke create-cluster
    """
    from slurm_cluster.steps import cluster

    return cluster.create_cluster(get_project(c))


@task(
    klass=LongStep,
    next_step="invoke status",
    help={
        "ssh-from": "addresses that may use SSH, as for up; also changes the files (default: keep)",
        "yes": YES,
    },
)
def update_cluster(c: Context, ssh_from: str = "", yes: bool = False) -> None:
    """Update the running cluster to config.yml.

    Changes: what differs; pcluster lists the changes it cannot make
    Costs:   as the new configuration
    Undo:    render the previous configuration, then run this again
    Example: invoke update-cluster --ssh-from 203.0.113.7/32
    """
    from slurm_cluster.steps import cluster

    cluster.update_cluster(get_project(c), ssh_from, yes)


# --- Connecting the cluster to the UQLE API -----------------------------------------------------------------


@task(klass=Step, next_step="invoke create-instance")
def allow_head_node_group(c: Context) -> None:
    """Allow all traffic between the members of the head node's security group.

    Changes: adds an inbound rule to that security group
    Costs:   nothing
    Undo:    invoke disconnect-uqle
    Example: invoke allow-head-node-group
    """
    from slurm_cluster.steps import uqle

    uqle.allow_head_node_group(get_project(c))


@task(klass=LongStep, next_step="invoke handover")
def create_instance(c: Context) -> None:
    """Launch the UQLE machine, which mounts the cluster's file system.

    Changes: launches an instance in the head node's security group
    Costs:   the instance, its disk and its address, from now on
    Undo:    invoke disconnect-uqle
    Example: invoke create-instance
    """
    from slurm_cluster.steps import uqle

    uqle.create_instance(get_project(c))


@task(
    klass=LongStep,
    next_step="invoke handover",
    help={
        "no-shared": "do not mount the shared file system (default: mount it)",
        "allow-other-members": "launch it even if the group has other members (default: refuse)",
    },
)
def connect_uqle(c: Context, no_shared: bool = False, allow_other_members: bool = False) -> None:
    """Connect a UQLE machine: allow-head-node-group, then create-instance.

    Changes: adds the group's rule, and launches the instance
    Costs:   the instance, its disk and its address, from now on
    Undo:    invoke disconnect-uqle
    Example: invoke connect-uqle
    """
    from slurm_cluster.steps import uqle

    uqle.connect_uqle(get_project(c), not no_shared, allow_other_members)


@task(
    klass=Step,
    help={"with-key": "also write the JWT key to the file, without showing it (default: no)"},
)
def handover(c: Context, with_key: bool = False) -> str:
    """Show the values that UQLE needs, and write them to uqle.env.

    Changes: writes that file, mode 0600
    Costs:   nothing
    Undo:    remove the file
    Example: invoke handover --with-key
    """
    from slurm_cluster.steps import uqle

    return uqle.handover(get_project(c), with_key)


@task(
    klass=LongStep,
    next_step="invoke status",
    help={
        "url": "URL of slurmrestd, such as http://head-node:8082 (default: through an SSH tunnel)",
        "user": "user who runs the job (default: slurm)",
        "seconds": "how long the job may take, including the boot of its node (default: 900)",
    },
)
def verify(c: Context, url: str = "", user: str = "slurm", seconds: str = "900") -> None:
    """Run a job through the REST API, and name the part that does not work.

    Changes: writes a file of one line on /shared
    Costs:   a compute node for some minutes
    Undo:    nothing to undo
    Example: invoke verify
    """
    from slurm_cluster.steps import access

    access.verify(get_project(c), url, user, seconds)


@task(
    klass=Step,
    read_only=True,
    help={
        "user": "user whose jobs the token can run (default: slurm)",
        "hours": "lifetime, from 1 to 720 (default: 8)",
        "output": "file to write, mode 0600 (default: print, unless stdout is a terminal)",
    },
)
def token(c: Context, user: str = "slurm", hours: str = "8", output: str = "") -> None:
    """Create a token for a user or a program of the REST API.

    Changes: nothing; with --output, writes that file
    Costs:   nothing
    Undo:    none: the token expires; `invoke rotate-jwt-key` ends all tokens
    Example: invoke token --user alice --hours 24 --output alice.token
    """
    from slurm_cluster.steps import api_access

    api_access.create_token(get_project(c), user, hours, output)


@task(klass=Step, read_only=True, help={"port": "port of this machine (default: 8082)"})
def tunnel(c: Context, port: str = "8082") -> None:
    """Forward a local port to the REST API, until Ctrl-C.

    Changes: nothing
    Costs:   nothing
    Undo:    press Ctrl-C
    Example: invoke tunnel
    """
    from slurm_cluster.steps import api_access

    api_access.keep_tunnel_open(get_project(c), port)


# --- Debugging ----------------------------------------------------------------------------------------------


@task(
    klass=Step,
    read_only=True,
    help={
        "uqle": "the UQLE machine instead of the head node (default: the head node)",
        "forward": "port of that machine to open on this one, such as 2323 (default: none)",
    },
)
def ssh(c: Context, uqle: bool = False, forward: str = "") -> None:
    """Open a shell on the head node, or with --uqle on the UQLE machine.

    Changes: nothing
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke ssh --uqle
    """
    from slurm_cluster.steps import access

    access.open_shell(get_project(c), uqle, forward)


@task(
    klass=Step,
    read_only=True,
    help={
        "json": "print JSON for scripts (default: a table)",
        "all-regions": "show all clusters in all regions of the account (default: this cluster)",
    },
)
def status(c: Context, json: bool = False, all_regions: bool = False) -> None:
    """Show what exists, what is billed, and the next step.

    Changes: nothing
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke status --json
    """
    from slurm_cluster.steps import show

    show.show_status(get_project(c), json, all_regions)


@task(klass=Step, read_only=True, help={"file": "file to write (default: picture.html)"})
def picture(c: Context, file: str = "picture.html") -> None:
    """Draw the deployed network, as a page for a browser.

    Changes: writes picture.html
    Costs:   nothing
    Undo:    remove the file
    Example: invoke picture
    """
    from slurm_cluster.steps import show

    show.write_picture(get_project(c), file)


# --- Pausing ------------------------------------------------------------------------------------------------


@task(klass=LongStep, next_step="invoke resume")
def pause(c: Context) -> None:
    """Stop the compute fleet and the UQLE machine; keep all data.

    Changes: stops the fleet and the machine; running jobs end
    Costs:   lists what is still billed
    Undo:    invoke resume
    Example: invoke pause
    """
    from slurm_cluster.steps.pause import pause

    pause(get_project(c))


@task(klass=LongStep, next_step="invoke verify")
def resume(c: Context) -> None:
    """Start the compute fleet and the UQLE machine again.

    Changes: starts the fleet and the machine; the machine gets another address
    Costs:   the machine, and nodes while there are jobs
    Undo:    invoke pause
    Example: invoke resume
    """
    from slurm_cluster.steps.pause import resume

    resume(get_project(c))


# --- Rotating the JWT key -----------------------------------------------------------------------------------


@task(klass=Step)
def rotate_jwt_key(c: Context) -> None:
    """Replace the JWT key in the secret and on the running head node.

    Changes: the key; tokens signed with the old key are refused from then on
    Costs:   nothing
    Undo:    none: run it again for another key
    Example: invoke rotate-jwt-key
    """
    from slurm_cluster.steps.rotate import rotate_jwt_key

    rotate_jwt_key(get_project(c))


# --- Teardown -----------------------------------------------------------------------------------------------


@task(klass=LongStep, help={"yes": YES})
def disconnect_uqle(c: Context, yes: bool = False) -> str:
    """Terminate the UQLE machine, and remove the security group's rule.

    Changes: deletes the instance and its disk
    Costs:   nothing; the instance's costs end
    Undo:    invoke connect-uqle launches a new one
    Example: invoke disconnect-uqle
    """
    from slurm_cluster.steps import uqle

    return uqle.disconnect_uqle(get_project(c), yes)


@task(klass=LongStep, next_step="invoke delete-network", help={"yes": YES})
def delete_cluster(c: Context, yes: bool = False) -> None:
    """Delete the cluster, and with it all data on its file system.

    Changes: deletes the stack and its resources
    Costs:   nothing; the cluster's costs end
    Undo:    none: copy what you want to keep first
    Example: invoke delete-cluster
    """
    from slurm_cluster.steps import cluster

    cluster.delete_cluster(get_project(c), yes)


@task(klass=LongStep, next_step="invoke down --all")
def delete_network(c: Context) -> None:
    """Delete the network that the wizard created, if nothing else is in it.

    Changes: deletes the VPC, its stack, and temp-config.yml
    Costs:   nothing; the NAT gateway's costs end
    Undo:    invoke configure creates a new one
    Example: invoke delete-network
    """
    from slurm_cluster.steps import vpc

    vpc.delete_network(get_project(c))


@task(
    klass=LongStep,
    next_step="invoke status --all-regions",
    help={"all": "also delete the boot scripts and the JWT key (default: keep them)", "yes": YES},
)
def down(c: Context, all: bool = False, yes: bool = False) -> None:  # noqa: A002 - the flag's name
    """Delete everything in the order that AWS requires, and list what is left.

    Changes: deletes the UQLE machine, the cluster with its data, and the VPC
    Costs:   nothing; after --all, nothing is billed any more
    Undo:    none: copy what you want to keep first
    Example: invoke down --all
    """
    from slurm_cluster.steps import up_down

    up_down.down(get_project(c), all, yes)


# --- The whole path in one command --------------------------------------------------------------------------


@task(
    klass=LongStep,
    next_step="invoke verify",
    help={
        "ssh-from": SSH_FROM,
        "yes": YES,
        "without-uqle": "stop at the cluster, without a UQLE machine (default: connect one)",
    },
)
def up(c: Context, ssh_from: str = "", yes: bool = False, without_uqle: bool = False) -> None:
    """Run every step, from the key pair to uqle.env.

    Changes: creates what the steps create; keeps what exists
    Costs:   about 0.31 dollars an hour while idle; 0.22 without UQLE
    Undo:    invoke down
    Example: invoke up --ssh-from 203.0.113.7/32
    """
    from slurm_cluster.steps import up_down

    up_down.up(get_project(c), ssh_from, yes, not without_uqle)


@task(
    klass=Step, help={"template": "template to use, such as examples/gpu.yml (default: config.template.yml)"}
)
def rehearse(c: Context, template: str = "") -> None:
    """Run every step in an emulated AWS, then remove everything again.

    Changes: nothing: it uses a temporary folder and an emulated account
    Costs:   nothing
    Undo:    nothing to undo
    Example: invoke rehearse
    """
    run_module(c, "sandbox.rehearsal", *([template] if template else []))


@task(klass=Step, help={"run": "command to run in it, whose exit status is returned (default: a shell)"})
def sandbox(c: Context, run: str = "") -> None:
    """Open a shell in which AWS is emulated.

    Changes: nothing outside the shell
    Costs:   nothing
    Undo:    exit the shell: the emulated AWS is deleted
    Example: invoke sandbox --run 'aws ec2 describe-vpcs'
    """
    run_module(c, "sandbox", *(["sh", "-c", run] if run else []))
