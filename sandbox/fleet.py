"""The compute fleet's status. It changes on request; in AWS, a daemon on the head node changes it."""

from typing import Any

from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends

TABLE_PREFIX = "parallelcluster-"  # followed by the cluster's name
NEXT_STATUS = {
    "STOP_REQUESTED": "STOPPING",
    "STOPPING": "STOPPED",
    "START_REQUESTED": "STARTING",
    "STARTING": "RUNNING",
}


class SandboxDynamoDBBackend(DynamoDBBackend):
    """The tables of one region."""

    __module__ = DynamoDBBackend.__module__  # moto derives the service's URLs from it

    def get_item(self, table_name: str, *args: Any, **kwargs: Any) -> Any:
        """Return an item; a fleet's status moves to the next one each time it is read."""
        item = super().get_item(table_name, *args, **kwargs)
        if item and table_name.startswith(TABLE_PREFIX) and "Data" in item.attrs:
            status = item.attrs["Data"].value["status"]
            status.value = NEXT_STATUS.get(status.value, status.value)
        return item


dynamodb_backends.backend = SandboxDynamoDBBackend
