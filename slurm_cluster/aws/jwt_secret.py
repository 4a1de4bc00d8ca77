"""The JWT key of Slurm's REST API: the secret that holds it, and the policy to read it."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

DELETED_TAG = f"{clients.TAG}:key-is-over"  # on a secret that `down --all` deleted: it is not used again
IAM_PATH = "/parallelcluster/"  # of AWS's documented policies for users of ParallelCluster
KEY_BYTES = 32  # as in https://slurm.schedmd.com/jwt.html
RECOVERY_DAYS = 7  # the shortest time in which a deleted secret can be restored


def get_policy_arn(cluster_name: str, account: str, region: str) -> str:
    """Return the ARN of a cluster's policy. IAM's names are global, so the region is part of it."""
    name = f"{cluster_name}-{region}-read-slurm-jwt-key"
    return f"arn:{clients.get_partition(region)}:iam::{account}:policy{IAM_PATH}{name}"


def is_cluster_secret(arn: str, name: str) -> bool:
    """Return whether an ARN is that of a secret with this name; AWS appends six random characters."""
    pattern = rf"arn:[^:]+:secretsmanager:[^:]+:\d+:secret:{re.escape(name)}-\w{{6}}"
    return re.fullmatch(pattern, arn) is not None


def describe_secret(manager: SecretsManagerClient, name: str) -> DescribeSecretResponseTypeDef | None:
    """Return a secret's description; None if the secret does not exist. Other errors are raised."""
    return clients.find_or_none(lambda: manager.describe_secret(SecretId=name), "ResourceNotFoundException")


def find_secret_arn(manager: SecretsManagerClient, name: str) -> str | None:
    """Return a secret's ARN; None if there is none, or if it is scheduled for deletion."""
    secret = describe_secret(manager, name)
    return None if secret is None or secret.get("DeletedDate") else secret["ARN"]


def create_random_key() -> str:
    """Return a random key: 43 characters of A-Z, a-z, 0-9, - and _."""
    return secrets.token_urlsafe(KEY_BYTES)


def ensure_secret(manager: SecretsManagerClient, name: str, cluster_name: str) -> tuple[str, bool]:
    """Create a secret with a random key, or restore a deleted one. Keep a key that may be in use.

    Args:
        manager: a client of Secrets Manager.
        name: the secret's name.
        cluster_name: the cluster's name, for the tag.

    Returns:
        The secret's ARN, and whether the key is new.
    """
    secret = describe_secret(manager, name)
    if secret is None:
        is_new = create_secret(manager, name, cluster_name)
        arn = find_secret_arn(manager, name)
        if arn is None:
            raise ClusterError(
                f"The new secret {name} is not visible yet. Wait some seconds, then run this again."
            )
        return arn, is_new
    if secret.get("DeletedDate"):
        manager.restore_secret(SecretId=name)
    was_deleted_by_us = DELETED_TAG in {tag["Key"] for tag in secret.get("Tags", [])}
    if secret.get("VersionIdsToStages") and not was_deleted_by_us:
        return secret["ARN"], False
    manager.put_secret_value(SecretId=name, SecretString=create_random_key())
    manager.untag_resource(SecretId=name, TagKeys=[DELETED_TAG])
    return secret["ARN"], True


def create_secret(manager: SecretsManagerClient, name: str, cluster_name: str) -> bool:
    """Create a secret with a random key; return False if another process has just created it."""
    with clients.ignore_errors("ResourceExistsException"):
        manager.create_secret(
            Name=name, SecretString=create_random_key(), Tags=[{"Key": clients.TAG, "Value": cluster_name}]
        )
        return True
    return False


def ensure_policy(iam: IAMClient, arn: str, secret_arn: str) -> bool:
    """Create the policy that allows reading one secret, or correct it.

    Args:
        iam: a client of IAM.
        arn: the policy's ARN.
        secret_arn: the ARN of the secret.

    Returns:
        Whether anything was changed.
    """
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret_arn}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    if not policy_exists(iam, arn):
        with clients.ignore_errors("EntityAlreadyExists"):
            name = arn.split("/")[-1]
            iam.create_policy(PolicyName=name, Path=IAM_PATH, PolicyDocument=json.dumps(document))
        iam.get_waiter("policy_exists").wait(PolicyArn=arn)
        return True
    version_id = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=version_id)["PolicyVersion"]
    if version["Document"] == document:
        return False
    delete_old_policy_versions(iam, arn)
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)
    return True


def policy_exists(iam: IAMClient, arn: str) -> bool:
    """Return whether a policy exists."""
    return clients.find_or_none(lambda: iam.get_policy(PolicyArn=arn), "NoSuchEntity") is not None


def delete_old_policy_versions(iam: IAMClient, arn: str) -> None:
    """Delete the versions of a policy that are not the default.

    IAM keeps at most five versions, and does not delete a policy that has old ones.
    """
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            with clients.ignore_errors("NoSuchEntity"):
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])


def read_key(manager: SecretsManagerClient, name: str) -> str:
    """Return the JWT key. Never print it; write it only to a file with mode 0600.

    Args:
        manager: a client of Secrets Manager.
        name: the secret's name or ARN.

    Raises:
        ClusterError: the secret does not exist, or holds no text.
    """
    secret = clients.find_or_none(
        lambda: manager.get_secret_value(SecretId=name),
        "ResourceNotFoundException",
        "InvalidRequestException",  # it is scheduled for deletion
    )
    if secret is None:
        raise ClusterError(
            f"The secret {name} with the JWT key does not exist in {manager.meta.region_name}. "
            "`invoke create-jwt-key` creates it."
        )
    key = secret.get("SecretString")
    if not key:
        raise ClusterError(f"The secret {name} is binary. Store the JWT key as text (SecretString) in it.")
    return key


def delete_secret_and_policy(manager: SecretsManagerClient, iam: IAMClient, name: str, arn: str) -> list[str]:
    """Schedule a secret for deletion in seven days, the shortest time that AWS offers, and delete its policy.

    Args:
        manager: a client of Secrets Manager.
        iam: a client of IAM.
        name: the secret's name.
        arn: the policy's ARN.

    Returns:
        What was deleted.

    Raises:
        ClusterError: the policy is attached to a role.
    """
    deleted = []
    if policy_exists(iam, arn):
        delete_policy(iam, arn)
        deleted.append(f"policy {arn.split('/')[-1]}")
    if find_secret_arn(manager, name):
        manager.tag_resource(SecretId=name, Tags=[{"Key": DELETED_TAG, "Value": "yes"}])
        with clients.ignore_errors("InvalidRequestException"):
            manager.delete_secret(SecretId=name, RecoveryWindowInDays=RECOVERY_DAYS)
        deleted.append(f"secret {name} (can be restored for {RECOVERY_DAYS} days)")
    return deleted


def delete_policy(iam: IAMClient, arn: str) -> None:
    """Delete a policy with all its versions."""
    delete_old_policy_versions(iam, arn)
    try:
        with clients.ignore_errors("NoSuchEntity"):
            iam.delete_policy(PolicyArn=arn)
    except ClientError as error:
        if clients.error_code(error) != "DeleteConflict":
            raise
        raise ClusterError(
            f"The policy {arn} is still attached to a role. Detach it, then run this again."
        ) from error
