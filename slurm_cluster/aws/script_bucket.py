"""The boot scripts in S3: where the nodes fetch them from."""

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
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CreateBucketRequestTypeDef

FOLDER = Path(__file__).parents[2] / "bootstrap"
MAX_ATTEMPTS = 30  # tries, ten seconds apart
BUCKET_PREFIX = "slurm-cluster-bootstrap-"
SCRIPTS = {
    "CUSTOM_BOOT_ACTION_START": "on_node_start_ubuntu.sh",
    "CUSTOM_BOOT_ACTION_CONFIGURED": "on_node_configured_ubuntu.sh",
}


def get_bucket_name(account: str, region: str) -> str:
    """Give the name of the bucket: one for each account and region, as bucket names are the world's."""
    return f"{BUCKET_PREFIX}{account}-{region}"


def is_script_bucket(bucket: str) -> bool:
    """Say whether a bucket is one of those that `upload-bootstrap` makes."""
    return bucket.startswith(BUCKET_PREFIX)


def get_script_uris(folder: Path, bucket: str, cluster: str) -> dict[str, str]:
    """Give the URI of each script: its name tells its content, so a changed script never replaces one that nodes boot from.

    Args:
        folder: where the scripts are, here.
        bucket: where they are, or will be, in S3.
        cluster: whose they are.

    Returns:
        The URIs, by the names that the template has for them.

    """
    return {
        name: f"s3://{bucket}/{get_object_key(folder / script, cluster)}" for name, script in SCRIPTS.items()
    }


def get_object_key(script: Path, cluster: str) -> str:
    """Give the key of a script's object."""
    digest = hashlib.sha256(files.read_text(script).encode()).hexdigest()
    return f"{cluster}/{script.stem}-{digest[:12]}{script.suffix}"


def has_custom_scripts(values: Mapping[str, Any], bucket: str) -> bool:
    """Say whether a person keeps both scripts somewhere else, as on a web server."""
    given = [str(values.get(name, "")) for name in SCRIPTS]
    return all(given) and not any(uri.startswith(f"s3://{bucket}/") for uri in given)


def reconcile_script_uris(
    values: Mapping[str, Any], found: Mapping[str, str], cluster: str, stands: bool
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Decide between the script URIs of config-parameters.json and those of the newest upload.

    Args:
        values: what the file holds.
        found: what the newest upload, and the other steps, made.
        cluster: whose scripts they are.
        stands: whether the cluster stands: pcluster lets nobody change the scripts of a head node then.

    Returns:
        The values without URIs that an older upload of ours left, what was found without URIs that come too late, and a
        sentence for each of these.
    """
    own = f"s3://{found.get('BOOTSTRAP_BUCKET')}/{cluster}/"
    ours = [name for name in SCRIPTS if name in found and str(values.get(name, "")).startswith(own)]
    if not stands:
        return {name: value for name, value in values.items() if name not in ours}, dict(found), []
    late = [name for name in ours if values[name] != found[name]]
    said = [f"{name} stays as it was: new boot scripts need a new cluster." for name in late]
    return dict(values), {name: value for name, value in found.items() if name not in late}, said


def ensure_bucket(s3: S3Client, bucket: str, account: str, region: str) -> bool:
    """Make the bucket, private, encrypted and for TLS only, and put these settings right where it is there.

    Args:
        s3: a client of S3.
        bucket: its name.
        account: who must own it; a bucket of that name that is somebody else's is never written to.
        region: where it is.

    Returns:
        Whether it was made now.

    """
    made = not bucket_exists(s3, bucket, account)
    if made:
        request: CreateBucketRequestTypeDef = {"Bucket": bucket}
        if region != "us-east-1":  # which S3 wants unsaid
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}  # type: ignore[typeddict-item]
        create_bucket(s3, request)
    everything = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=everything,  # type: ignore[arg-type]
        ExpectedBucketOwner=account,
    )
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        ExpectedBucketOwner=account,
    )
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps(build_tls_policy(bucket, region)), ExpectedBucketOwner=account
    )
    return made


def create_bucket(s3: S3Client, request: CreateBucketRequestTypeDef) -> None:
    """Make the bucket; where one of its name was deleted a moment ago, S3 wants some patience."""
    for _ in range(MAX_ATTEMPTS):
        try:
            with clients.ignore_errors("BucketAlreadyOwnedByYou"):
                s3.create_bucket(**request)
            break
        except ClientError as error:
            if error_code(error) != "OperationAborted":
                raise
            time.sleep(10)
    s3.get_waiter("bucket_exists").wait(Bucket=request["Bucket"])


def bucket_exists(s3: S3Client, bucket: str, account: str) -> bool:
    """Say whether the account has the bucket.

    Raises:
        ClusterError: another account has it.

    """
    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except ClientError as error:
        if error_code(error) in ("404", "NoSuchBucket"):
            return False
        if error_code(error) in ("403", "AccessDenied"):
            raise ClusterError(
                f"The bucket {bucket} is not this account's, or its credentials may not look at it."
            ) from error
        raise
    return True


def build_tls_policy(bucket: str, region: str) -> dict[str, object]:
    """Give the policy that refuses requests without TLS.

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


def upload_scripts(s3: S3Client, folder: Path, bucket: str, cluster: str, account: str) -> list[str]:
    """Put the scripts that are not there yet into the bucket.

    Returns:
        The URIs of those that were put there now.

    """
    put = []
    for script in SCRIPTS.values():
        key = get_object_key(folder / script, cluster)
        if not object_exists(s3, bucket, key):
            s3.put_object(
                Bucket=bucket, Key=key, Body=(folder / script).read_bytes(), ExpectedBucketOwner=account
            )
            put.append(f"s3://{bucket}/{key}")
    return put


def object_exists(s3: S3Client, bucket: str, key: str) -> bool:
    """Say whether the bucket has the object."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in ("404", "NoSuchKey", "NoSuchBucket"):
            return False
        raise
    return True


def find_missing_objects(s3: S3Client, uris: list[str]) -> list[str]:
    """Give those of the s3:// URIs at which there is nothing; the dry run of pcluster does not look."""
    parts = {uri: uri.removeprefix("s3://").split("/", 1) for uri in uris if uri.startswith("s3://")}
    return [uri for uri, (bucket, key) in parts.items() if not object_exists(s3, bucket, key)]


def count_scripts(s3: S3Client, bucket: str, cluster: str, account: str) -> int:
    """Count the cluster's scripts in the bucket."""
    if not bucket_exists(s3, bucket, account):
        return 0
    return s3.list_objects_v2(Bucket=bucket, Prefix=f"{cluster}/").get("KeyCount", 0)


def delete_scripts(s3: S3Client, bucket: str, cluster: str, account: str) -> list[str]:
    """Delete the cluster's scripts, and the bucket when nothing of another cluster is in it.

    Returns:
        What was deleted.

    """
    if not bucket_exists(s3, bucket, account):
        return []
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    own = [key for key in keys if key.startswith(f"{cluster}/")]
    for key in own:
        s3.delete_object(Bucket=bucket, Key=key, ExpectedBucketOwner=account)
    gone = [f"s3://{bucket}/{key}" for key in own]
    if len(own) == len(keys):
        with clients.ignore_errors("NoSuchBucket"):
            s3.delete_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        gone.append(f"s3://{bucket}")
    return gone
