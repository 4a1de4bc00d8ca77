"""The compute fleet: whether Slurm may boot nodes, as ParallelCluster keeps it in a table of the cluster's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slurm_cluster.aws import code

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

UNKNOWN = "UNKNOWN"  # in ParallelCluster's word: the head node has not told yet


def status(dynamodb: DynamoDBClient, cluster: str) -> str:
    """Give the status, as RUNNING or STOPPED, from where `pcluster describe-compute-fleet` has it, in a tenth of its time."""
    try:
        answer = dynamodb.get_item(TableName=f"parallelcluster-{cluster}", Key={"Id": {"S": "COMPUTE_FLEET"}})
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return UNKNOWN
    return answer["Item"]["Data"]["M"]["status"]["S"] if "Item" in answer else UNKNOWN
