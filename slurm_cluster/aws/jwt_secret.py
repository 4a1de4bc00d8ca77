"""The JWT key of Slurm's REST API: a secret in Secrets Manager, and the policy by which the head node may read it."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

DELETED_TAG = f"{clients.TAG}:key-is-over"  # on the secret, from its deletion until another key is in it
MAX_ATTEMPTS = 3  # to get a complete answer
IAM_PATH = (
    "/parallelcluster/"  # IAM names that AWS's own policies for users of ParallelCluster are confined to
)


def get_secret_name(cluster: str, region: str) -> str:
    """Give the name of the secret."""
    return f"{cluster}-{region}-slurm-jwt-key"


def get_policy_arn(cluster: str, account: str, region: str) -> str:
    """Give the ARN of the policy; IAM's names are those of all regions, so the region is in it."""
    return f"arn:{clients.get_partition(region)}:iam::{account}:policy{IAM_PATH}{cluster}-{region}-read-slurm-jwt-key"


def is_cluster_secret(arn: str, name: str) -> bool:
    """Say whether an ARN is that of a secret of this name: AWS ends it in six characters that are other ones each time."""
    return (
        re.fullmatch(rf"arn:[^:]+:secretsmanager:[^:]+:\d+:secret:{re.escape(name)}-\w{{6}}", arn) is not None
    )


def describe_secret(manager: SecretsManagerClient, name: str) -> DescribeSecretResponseTypeDef | None:
    """Return the secret as Secrets Manager describes it; None only if it says that there is none.

    Raises:
        ClusterError: the answer is incomplete, as when it was cut off: botocore then returns what is left of it.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            secret = manager.describe_secret(SecretId=name)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        if secret.get("ARN"):
            return secret
    raise ClusterError(f"AWS's answer about the secret {name} was incomplete: run this again.")


def find_secret_arn(manager: SecretsManagerClient, name: str) -> str | None:
    """Return the secret's ARN; None where there is none, or one that is scheduled for deletion."""
    secret = describe_secret(manager, name)
    return None if secret is None or secret.get("DeletedDate") else secret["ARN"]


def ensure_secret(manager: SecretsManagerClient, name: str, cluster: str) -> tuple[str, bool]:
    """Create the secret, or restore it: with a new key if our own `remove` had scheduled it for deletion.

    Args:
        manager: a client of Secrets Manager.
        name: the secret's name.
        cluster: for its tag.

    Returns:
        Its ARN, and whether the key in it is new. The key is 43 characters of A-Z, a-z, 0-9, - and _: 32 random bytes, as
        Slurm asks for. https://slurm.schedmd.com/jwt.html

    """
    secret = describe_secret(manager, name)
    if secret is None:
        made = False
        with clients.ignore_errors("ResourceExistsException"):  # somebody was quicker, and it is their key
            tags = [{"Key": clients.TAG, "Value": cluster}]
            manager.create_secret(Name=name, SecretString=secrets.token_urlsafe(32), Tags=tags)  # type: ignore[arg-type]
            made = True
        secret = describe_secret(manager, name)
        if secret is None:
            raise ClusterError(
                f"AWS does not show the secret {name} yet, which was just created: run this again."
            )
        return secret["ARN"], made
    if secret.get("DeletedDate"):
        manager.restore_secret(SecretId=name)
    over = DELETED_TAG in {tag["Key"] for tag in secret.get("Tags", [])}
    if not over and secret.get(
        "VersionIdsToStages"
    ):  # the key may be in use: only rotate-jwt-key replaces it
        return secret["ARN"], False
    manager.put_secret_value(SecretId=name, SecretString=secrets.token_urlsafe(32))
    manager.untag_resource(SecretId=name, TagKeys=[DELETED_TAG])
    return secret["ARN"], True


def ensure_policy(iam: IAMClient, arn: str, secret_arn: str) -> bool:
    """Make the policy that lets its holder read this one secret, or put it right.

    Args:
        iam: a client of IAM.
        arn: the policy's ARN.
        secret_arn: the one resource that it names.

    Returns:
        Whether anything had to be done.

    """
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret_arn}],
    }
    if not policy_exists(iam, arn):
        with clients.ignore_errors("EntityAlreadyExists"):
            iam.create_policy(
                PolicyName=arn.split("/")[-1], Path=IAM_PATH, PolicyDocument=json.dumps(document)
            )
        iam.get_waiter("policy_exists").wait(PolicyArn=arn)
        return True
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    if iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"] == document:
        return False
    delete_old_policy_versions(iam, arn)  # there may be five at most
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)
    return True


def policy_exists(iam: IAMClient, arn: str) -> bool:
    """Say whether the policy is there."""
    try:
        iam.get_policy(PolicyArn=arn)
    except ClientError as error:
        if error_code(error) == "NoSuchEntity":
            return False
        raise
    return True


def delete_old_policy_versions(iam: IAMClient, arn: str) -> None:
    """Delete the policy's versions that are not in force: IAM keeps five at most, and deletes no policy that has them."""
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            with clients.ignore_errors("NoSuchEntity"):
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])


def read_key(manager: SecretsManagerClient, name: str) -> str:
    """Give the key, which is for a file of mode 0600 and nothing else.

    Args:
        manager: a client of Secrets Manager.
        name: the secret's name or ARN.

    Raises:
        ClusterError: there is no such secret, or the answer was incomplete.

    """
    try:
        key = manager.get_secret_value(SecretId=name).get("SecretString")
    except ClientError as error:
        if error_code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
            raise ClusterError(
                "The secret with the JWT key is not there: `invoke create-jwt-key` makes it."
            ) from error
        raise
    if not key:
        raise ClusterError(
            "AWS's answer with the JWT key was incomplete, or the secret is not text: run this again."
        )
    return key


def delete_secret_and_policy(manager: SecretsManagerClient, iam: IAMClient, name: str, arn: str) -> list[str]:
    """Schedule the secret for deletion in seven days, the soonest that can be undone, and delete the policy.

    Returns:
        What was deleted.

    Raises:
        ClusterError: something still uses the policy.

    """
    gone = []
    if policy_exists(iam, arn):
        delete_old_policy_versions(iam, arn)
        try:
            with clients.ignore_errors("NoSuchEntity"):
                iam.delete_policy(PolicyArn=arn)
        except ClientError as error:
            if error_code(error) != "DeleteConflict":
                raise
            raise ClusterError(
                f"The policy {arn} is still attached to a role: detach it, then run this again."
            ) from error
        gone.append(f"policy {arn.split('/')[-1]}")
    if find_secret_arn(manager, name):
        manager.tag_resource(SecretId=name, Tags=[{"Key": DELETED_TAG, "Value": "yes"}])
        with clients.ignore_errors("InvalidRequestException"):
            manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
        gone.append(f"secret {name} (for good in 7 days)")
    return gone
