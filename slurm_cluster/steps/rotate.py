"""Rotate the JWT key on a running cluster (README: Changing the JWT key)."""

from slurm_cluster import files
from slurm_cluster.aws import jwt_secret, key_pair, script_bucket, stack
from slurm_cluster.output import echo
from slurm_cluster.project import Project
from slurm_cluster.slurm import key_rotation, ssh
from slurm_cluster.steps.access import find_head_node_login


def rotate_jwt_key(p: Project) -> None:
    """Replace the JWT key, and verify that Slurm accepts the new one and refuses the old one.

    Raises:
        ClusterError: it is a literal key, the head node cannot be reached, or Slurm refuses the new key.
    """
    if p.skip_for_dry_run(
        f"put a new key into the secret of {p.cluster_name}, and install it on the head node"
    ):
        return
    key_rotation.refuse_literal_key(p.literal_key, p.parameter_file)
    cluster = stack.require_cluster(p.cloudformation, p.cluster_name)
    head_node = stack.require_output(cluster, "HeadNodePrivateDnsName")
    login, identity_file = find_head_node_login(p, cluster), key_pair.get_private_key_path(p.key_pair)
    old_key = p.read_jwt_key()
    secret = p.custom_secret_arn or jwt_secret.find_secret_arn(p.secretsmanager, p.secret) or p.secret
    script = files.read_text(script_bucket.FOLDER / script_bucket.SCRIPTS["CUSTOM_BOOT_ACTION_START"])
    key_rotation.check_root_access(login, identity_file)
    new_key = jwt_secret.create_random_key()
    p.secretsmanager.put_secret_value(SecretId=secret, SecretString=new_key)
    echo(f"Stored a new key in {secret}. Installing it on the head node ...")
    key_rotation.install_key(login, identity_file, secret, script)
    with ssh.open_tunnel(login, identity_file, head_node) as url:
        echo(key_rotation.verify_rotation(url, new_key, old_key))
    echo(
        "UQLE still has the old key. "
        f"Run `invoke handover --with-key`, then copy {p.handover_file} to the UQLE machine."
    )
