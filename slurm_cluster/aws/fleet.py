"""The compute fleet: whether Slurm may boot nodes, as ParallelCluster keeps it in a table of the cluster's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

UNKNOWN = "UNKNOWN"  # in ParallelCluster's word: the head node has not told yet
POLL_SECONDS, MAX_POLLS = 3, 300  # a quarter of an hour, looking every three seconds


def get_fleet_status(dynamodb: DynamoDBClient, cluster: str) -> str:
    """Give the status, as RUNNING or STOPPED, from where `pcluster describe-compute-fleet` has it, in a tenth of its time."""
    try:
        answer = dynamodb.get_item(TableName=f"parallelcluster-{cluster}", Key={"Id": {"S": "COMPUTE_FLEET"}})
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        return UNKNOWN
    return answer["Item"]["Data"]["M"]["status"]["S"] if "Item" in answer else UNKNOWN


def watch_fleet(dynamodb: DynamoDBClient, cluster: str, wanted: str) -> Iterator[Progress]:
    """Look at the fleet until it is in a status, a quarter of an hour at most.

    Args:
        dynamodb: a client of DynamoDB.
        cluster: whose.
        wanted: RUNNING or STOPPED.

    Yields:
        Its status, at each look at which it is another one.

    Raises:
        ClusterError: it does not come to it.
    """
    for _ in range(MAX_POLLS):
        now = get_fleet_status(dynamodb, cluster)
        if now == wanted:
            return
        yield Progress(f"compute fleet {now}, to be {wanted}")
        time.sleep(POLL_SECONDS)
    log = "/var/log/parallelcluster/clustermgtd"
    raise ClusterError(
        f"The compute fleet is {now}, and does not come to be {wanted}: `invoke ssh`, and see {log}."
    )
