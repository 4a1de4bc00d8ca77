"""The S3 bucket from which the nodes download their boot scripts."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slurm_cluster import files
from slurm_cluster.aws import clients
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import (
        CreateBucketRequestTypeDef,
        PublicAccessBlockConfigurationTypeDef,
        ServerSideEncryptionConfigurationTypeDef,
    )

FOLDER = Path(__file__).parents[2] / "bootstrap"
BUCKET_PREFIX = "slurm-cluster-bootstrap-"
SCRIPTS = {
    "CUSTOM_BOOT_ACTION_START": "on_node_start_ubuntu.sh",
    "CUSTOM_BOOT_ACTION_CONFIGURED": "on_node_configured_ubuntu.sh",
}
MAX_ATTEMPTS, RETRY_SECONDS = 30, 10  # to create a bucket whose name was just freed
PRIVATE: PublicAccessBlockConfigurationTypeDef = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
ENCRYPTED: ServerSideEncryptionConfigurationTypeDef = {
    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
}


def get_bucket_name(account: str, region: str) -> str:
    """Return the name of the bucket: bucket names are global, so account and region are part of it."""
    return f"{BUCKET_PREFIX}{account}-{region}"


def is_script_bucket(bucket: str) -> bool:
    """Return whether `upload-bootstrap` created a bucket."""
    return bucket.startswith(BUCKET_PREFIX)


def get_region(bucket: str) -> str:
    """Return the region in the name of a bucket that `upload-bootstrap` created."""
    return bucket.removeprefix(BUCKET_PREFIX).partition("-")[2]


def get_script_uris(folder: Path, bucket: str, cluster_name: str) -> dict[str, str]:
    """Return the URI of each script, by parameter name.

    Each object's name contains a hash of its content: a new script never replaces one that nodes boot from.

    Args:
        folder: the local folder of the scripts.
        bucket: the bucket's name.
        cluster_name: the cluster's name, which is their folder in the bucket.
    """
    return {
        name: f"s3://{bucket}/{get_object_key(folder / script, cluster_name)}"
        for name, script in SCRIPTS.items()
    }


def get_object_key(script: Path, cluster_name: str) -> str:
    """Return the key of a script's object."""
    digest = hashlib.sha256(files.read_text(script).encode()).hexdigest()
    return f"{cluster_name}/{script.stem}-{digest[:12]}{script.suffix}"


def has_custom_scripts(values: Mapping[str, Any], bucket: str) -> bool:
    """Return whether the URIs of both scripts point outside the bucket of `upload-bootstrap`."""
    uris = [str(values.get(name, "")) for name in SCRIPTS]
    return all(uris) and not any(uri.startswith(f"s3://{bucket}/") for uri in uris)


def reconcile_script_uris(
    values: Mapping[str, Any], found: Mapping[str, str], cluster_name: str, cluster_exists: bool
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Choose between the script URIs in config-parameters.json and those of the newest upload.

    The scripts of an existing cluster's head node cannot be changed, so its URIs are kept.

    Args:
        values: the values in the file.
        found: the values from the newest upload and the other steps.
        cluster_name: the cluster's name.
        cluster_exists: whether its stack exists.

    Returns:
        The values in the file and the found values, each without the URIs that must not be used, and a
        sentence for each found URI that was dropped.
    """
    prefix = f"s3://{found.get('BOOTSTRAP_BUCKET')}/{cluster_name}/"
    uploaded = [name for name in SCRIPTS if name in found and str(values.get(name, "")).startswith(prefix)]
    if not cluster_exists:
        return {name: value for name, value in values.items() if name not in uploaded}, dict(found), []
    late = [name for name in uploaded if values[name] != found[name]]
    sentences = [f"Kept {name}: new boot scripts need a new cluster." for name in late]
    return dict(values), {name: value for name, value in found.items() if name not in late}, sentences


def ensure_bucket(s3: S3Client, bucket: str, account: str, region: str) -> bool:
    """Create the bucket if needed, and make it private, encrypted and TLS-only.

    Args:
        s3: a client of S3.
        bucket: the bucket's name.
        account: the account that must own it; another account's bucket is never written to.
        region: the bucket's region.

    Returns:
        Whether it was created now.
    """
    is_new = not bucket_exists(s3, bucket, account)
    if is_new:
        create_bucket(s3, bucket, region)
    policy = json.dumps(build_tls_policy(bucket, region))
    s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=PRIVATE, ExpectedBucketOwner=account
    )
    s3.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration=ENCRYPTED, ExpectedBucketOwner=account
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=policy, ExpectedBucketOwner=account)
    return is_new


def create_bucket(s3: S3Client, bucket: str, region: str) -> None:
    """Create a bucket. S3 refuses a name for a while after a bucket of that name was deleted."""
    request: CreateBucketRequestTypeDef = {"Bucket": bucket}
    if region != "us-east-1":  # which S3 refuses as a constraint
        request["CreateBucketConfiguration"] = {"LocationConstraint": region}  # type: ignore[typeddict-item]
    for _ in range(MAX_ATTEMPTS):
        try:
            with clients.ignore_errors("BucketAlreadyOwnedByYou"):
                s3.create_bucket(**request)
            break
        except ClientError as error:
            if clients.error_code(error) != "OperationAborted":
                raise
            time.sleep(RETRY_SECONDS)
    s3.get_waiter("bucket_exists").wait(Bucket=bucket)


def bucket_exists(s3: S3Client, bucket: str, account: str) -> bool:
    """Return whether the account has the bucket.

    Raises:
        ClusterError: another account has it.
    """
    try:
        answer = clients.find_or_none(
            lambda: s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account), "404", "NoSuchBucket"
        )
    except ClientError as error:
        if clients.error_code(error) in ("403", "AccessDenied"):
            raise ClusterError(
                f"The bucket {bucket} belongs to another account, or your credentials may not read it. "
                "Ask the account's administrator for access to it."
            ) from error
        raise
    return answer is not None


def build_tls_policy(bucket: str, region: str) -> dict[str, object]:
    """Return the policy that refuses requests without TLS.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
    """
    arn = f"arn:{clients.get_partition(region)}:s3:::{bucket}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def upload_scripts(s3: S3Client, folder: Path, bucket: str, cluster_name: str, account: str) -> list[str]:
    """Upload the scripts that are not in the bucket yet.

    Returns:
        The URIs of those that were uploaded now.
    """
    uploaded = []
    for script in SCRIPTS.values():
        key, content = get_object_key(folder / script, cluster_name), (folder / script).read_bytes()
        if not object_exists(s3, bucket, key):
            s3.put_object(Bucket=bucket, Key=key, Body=content, ExpectedBucketOwner=account)
            uploaded.append(f"s3://{bucket}/{key}")
    return uploaded


def object_exists(s3: S3Client, bucket: str, key: str) -> bool:
    """Return whether a bucket has an object."""
    codes = "404", "NoSuchKey", "NoSuchBucket"
    return clients.find_or_none(lambda: s3.head_object(Bucket=bucket, Key=key), *codes) is not None


def find_missing_objects(s3: S3Client, uris: list[str]) -> list[str]:
    """Return those s3:// URIs that have no object. pcluster's dry run does not check this."""
    parts = {uri: uri.removeprefix("s3://").split("/", 1) for uri in uris if uri.startswith("s3://")}
    return [uri for uri, (bucket, key) in parts.items() if not object_exists(s3, bucket, key)]


def count_scripts(s3: S3Client, bucket: str, cluster_name: str, account: str) -> int:
    """Return the number of the cluster's scripts in the bucket."""
    if not bucket_exists(s3, bucket, account):
        return 0
    with clients.ignore_errors("NoSuchBucket"):  # somebody else deleted it meanwhile
        return s3.list_objects_v2(Bucket=bucket, Prefix=f"{cluster_name}/").get("KeyCount", 0)
    return 0


def delete_scripts(s3: S3Client, bucket: str, cluster_name: str, account: str) -> list[str]:
    """Delete the cluster's scripts, then the bucket if it is empty.

    Returns:
        What was deleted.
    """
    if not bucket_exists(s3, bucket, account):
        return []
    deleted = []
    with clients.ignore_errors("NoSuchBucket"):  # somebody else deleted it meanwhile
        keys = [entry["Key"] for entry in clients.list_all(s3, "list_objects_v2", Bucket=bucket)]
        own = [key for key in keys if key.startswith(f"{cluster_name}/")]
        for key in own:
            s3.delete_object(Bucket=bucket, Key=key, ExpectedBucketOwner=account)
            deleted.append(f"s3://{bucket}/{key}")
        if len(own) == len(keys):
            deleted.append(f"s3://{bucket}")
            s3.delete_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    return deleted
