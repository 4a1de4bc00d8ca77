"""The configuration of a running cluster, as pcluster keeps it in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)

from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_s3 import S3Client

MAX_READS = 3


def read_deployed_config(s3: S3Client, cluster: StackTypeDef) -> str:
    """Return the configuration that the cluster was created with, or last updated to, as YAML.

    The parameters of the stack say where pcluster stores it in S3.

    Args:
        s3: a client of S3.
        cluster: the cluster's stack.

    Raises:
        ClusterError: it cannot be read.
    """
    parameters = {
        parameter["ParameterKey"]: parameter.get("ParameterValue", "")
        for parameter in cluster.get("Parameters", [])
    }
    bucket, folder = parameters.get("ResourcesS3Bucket", ""), parameters.get("ArtifactS3RootDirectory", "")
    version = {"VersionId": parameters["ConfigVersion"]} if parameters.get("ConfigVersion") else {}
    name = cluster["StackName"]
    if not bucket or not folder:
        raise ClusterError(
            f"The stack {name} "
            "has no parameters for the location of its configuration. Did pcluster create it?"
        )
    key = f"{folder}/configs/cluster-config.yaml"
    try:
        return read_object(s3, Bucket=bucket, Key=key, **version)
    except ClientError as error:
        raise ClusterError(
            f"The configuration of {name} cannot be read from s3://{bucket}/{key} ({error_code(error)})."
        ) from error


def read_object(s3: S3Client, **request: Any) -> str:
    """Return the text of an object in S3. botocore repeats a call, but not the reading of its body."""
    reads = 0
    while True:
        reads += 1
        try:
            return s3.get_object(**request)["Body"].read().decode(errors="replace")
        except (FlexibleChecksumError, HTTPClientError, IncompleteReadError):
            if reads == MAX_READS:
                raise
