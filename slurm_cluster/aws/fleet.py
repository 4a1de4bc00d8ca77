"""The status of the compute fleet, which ParallelCluster keeps in a DynamoDB table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slurm_cluster.aws import clients
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress
from slurm_cluster.waiting import poll

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

UNKNOWN = "UNKNOWN"  # ParallelCluster's word: the head node has not reported yet
POLL_SECONDS, MAX_POLLS = 3, 300  # a quarter of an hour


def get_fleet_status(dynamodb: DynamoDBClient, cluster_name: str) -> str:
    """Return the status, such as RUNNING or STOPPED.

    Read the table directly: ten times faster than `pcluster describe-compute-fleet`, which reads the same.
    """
    answer = clients.find_or_none(
        lambda: dynamodb.get_item(
            TableName=f"parallelcluster-{cluster_name}", Key={"Id": {"S": "COMPUTE_FLEET"}}
        ),
        "ResourceNotFoundException",
    )
    return answer["Item"]["Data"]["M"]["status"]["S"] if answer and "Item" in answer else UNKNOWN


def watch_fleet(dynamodb: DynamoDBClient, cluster_name: str, wanted: str) -> Iterator[Progress]:
    """Poll the fleet until it has a status, for a quarter of an hour at most.

    Args:
        dynamodb: a client of DynamoDB.
        cluster_name: the cluster's name.
        wanted: RUNNING or STOPPED.

    Yields:
        The progress at each poll, until the status is reached.

    Raises:
        ClusterError: it does not reach the status.
    """
    for status in poll(lambda: get_fleet_status(dynamodb, cluster_name), [POLL_SECONDS] * MAX_POLLS):
        if status == wanted:
            return
        yield Progress(f"compute fleet {status}, to be {wanted}")
    raise ClusterError(
        f"The compute fleet is still {status}, not {wanted}. "
        "See /var/log/parallelcluster/clustermgtd on the head node (`invoke ssh`)."
    )
