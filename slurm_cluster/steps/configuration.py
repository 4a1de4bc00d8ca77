"""Prepare boot scripts, JWT key and parameters (README: Creating the cluster configuration file)."""

from slurm_cluster import files
from slurm_cluster.aws import jwt_secret, script_bucket, stack
from slurm_cluster.aws.public_address import find_public_address
from slurm_cluster.config import parameters, temp_config
from slurm_cluster.config.settings import get_setting
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import confirm, echo, echo_lines
from slurm_cluster.project import Project
from slurm_cluster.steps.vpc import check_network_owner

AUTO = "auto"  # as --ssh-from: this machine's public address


def upload_bootstrap(p: Project) -> None:
    """Upload the boot scripts to a private bucket."""
    scripts = ", ".join(script_bucket.SCRIPTS.values())
    if p.skip_for_dry_run(f"upload {scripts} to s3://slurm-cluster-bootstrap-.../{p.cluster_name}/"):
        return
    check_network_owner(p)
    if script_bucket.ensure_bucket(p.s3, p.bucket, p.account, p.region):
        echo(f"Created the bucket {p.bucket}.")
    uploaded = script_bucket.upload_scripts(p.s3, script_bucket.FOLDER, p.bucket, p.cluster_name, p.account)
    echo_lines(f"Uploaded {uri}" for uri in uploaded)
    if not uploaded:
        echo(f"The boot scripts are already in s3://{p.bucket}/{p.cluster_name}/: nothing to do.")


def create_jwt_key(p: Project) -> None:
    """Create the secret with a random JWT key, and the policy to read it."""
    if p.skip_for_dry_run(f"create the secret {p.secret} with a random key, and a policy to read it"):
        return
    check_network_owner(p)
    secret, is_new = jwt_secret.ensure_secret(p.secretsmanager, p.secret, p.cluster_name)
    changed = jwt_secret.ensure_policy(p.iam, p.policy, secret)
    echo(f"{'Created a new key' if is_new else 'Kept the key'} in {secret}.")
    echo(f"{'Wrote' if changed else 'Kept'} the policy {p.policy}.")


def resolve_ssh_from(p: Project, flag: str) -> str:
    """Return the validated address range of --ssh-from, and warn if it is too wide.

    Args:
        p: the project.
        flag: the flag; `auto` for this machine's public address, which is printed; empty for none.
    """
    if not flag:
        return ""
    if flag == AUTO:
        flag = f"{find_public_address()}/32"
        echo(f"The public address of this machine is {flag}.")
    ssh_from = p.get_ssh_from(flag)
    warn_of_wide_range(p, ssh_from)
    return ssh_from


def warn_of_wide_range(p: Project, ssh_from: str, setting: str = "SSH_FROM") -> None:
    """Warn if all or much of the internet may use SSH."""
    if parameters.is_wide_range(ssh_from):
        p.warn(parameters.format_wide_warning(ssh_from, setting))


def confirm_ssh_from(p: Project, flag: str, yes: bool) -> str:
    """Return the address range of the flag --ssh-from. Ask before this machine's public address is used."""
    ssh_from = resolve_ssh_from(p, flag)
    if flag == AUTO:
        confirm(f"Allow SSH from {ssh_from}?", yes)
    return ssh_from


def fill_parameters(p: Project, ssh_from: str, overwrite: bool, yes: bool) -> None:
    """Write config-parameters.json from what the previous steps created.

    Args:
        p: the project.
        ssh_from: the address range that may use SSH, which replaces the one in the file; `auto` for this
            machine's public address; empty for the one in the file or the settings.
        overwrite: replace values that are already in the file.
        yes: do not ask.
    """
    sources = "<from configure>, <from upload-bootstrap> and <from create-jwt-key>"
    if p.skip_for_dry_run(f"write {p.parameter_file}, with {sources}"):
        return
    file_values = parameters.read_parameters(p.parameter_file) if files.exists(p.parameter_file) else {}
    ssh_from = confirm_ssh_from(p, ssh_from, yes)
    range_to_use = ssh_from or get_setting(p.settings, "ssh_from") or p.get_ssh_from()
    found_values = {"SSH_FROM": p.get_ssh_from(range_to_use), **find_parameters(p)}
    cluster_exists = stack.find_stack(p.cloudformation, p.cluster_name) is not None
    file_values, found_values, dropped_messages = script_bucket.reconcile_script_uris(
        file_values, found_values, p.cluster_name, cluster_exists
    )
    if not cluster_exists and jwt_secret.is_cluster_secret(
        str(file_values.get(parameters.KEY_PARAMETER, "")), p.secret
    ):
        file_values = {**file_values, parameters.KEY_PARAMETER: ""}  # a recreated secret has a new ARN
    old_ssh_from = parameters.filter_filled(file_values).get("SSH_FROM", ssh_from)
    if ssh_from:
        file_values = {**file_values, "SSH_FROM": ssh_from}
    merged_values, kept_messages = parameters.merge_parameters(file_values, found_values, overwrite=overwrite)
    warn_of_wide_range(p, str(merged_values["SSH_FROM"]))
    parameters.write_parameters(p.parameter_file, merged_values)
    echo_lines([*dropped_messages, *kept_messages])
    if ssh_from and old_ssh_from != ssh_from:
        echo(f"Replaced SSH_FROM {parameters.shorten(old_ssh_from)} with {parameters.shorten(ssh_from)}.")
        if cluster_exists:
            echo(
                "The running cluster still has the old range. "
                "Run `invoke render update-cluster` to change it."
            )
    echo(f"Wrote {p.parameter_file}: {len(parameters.filter_filled(merged_values))} values.")


def find_parameters(p: Project) -> dict[str, str]:
    """Return the parameters that the previous steps created.

    Raises:
        ClusterError: one of these steps has not been run.
    """
    network = temp_config.read_temp_config(p.temp_config)
    found = {
        "AWS_REGION": network.region,
        "SSH_KEY_PAIR": network.key_pair,
        "PRIVATE_SUBNET": network.private_subnet,
        "PUBLIC_SUBNET": network.public_subnet,
        "CLUSTER_NAME": p.cluster_name,
    }
    if not script_bucket.has_custom_scripts(p.filled_values, p.bucket):
        scripts = script_bucket.get_script_uris(script_bucket.FOLDER, p.bucket, p.cluster_name)
        if script_bucket.find_missing_objects(p.s3, list(scripts.values())):
            raise ClusterError(
                f"The boot scripts are not in s3://{p.bucket}. Run `invoke upload-bootstrap` first."
            )
        found |= {**scripts, "BOOTSTRAP_BUCKET": p.bucket}
    if not p.literal_key and not p.custom_secret_arn:
        secret = jwt_secret.find_secret_arn(p.secretsmanager, p.secret)
        if not secret or not jwt_secret.policy_exists(p.iam, p.policy):
            raise ClusterError(
                f"The secret {p.secret}, or the policy to read it, does not exist in {p.region}. "
                "Run `invoke create-jwt-key` first."
            )
        found |= {"SLURM_JWT_KEY": secret, "SLURM_JWT_POLICY": p.policy}
    return found
