"""The compute fleet: the head node's daemon, which would take up what is asked of it."""

from typing import Any

from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends

TABLE = "parallelcluster-"  # and the cluster's name
NEXT = {
    "STOP_REQUESTED": "STOPPING",
    "STOPPING": "STOPPED",
    "START_REQUESTED": "STARTING",
    "STARTING": "RUNNING",
}


class Tables(DynamoDBBackend):
    """One region's tables."""

    __module__ = DynamoDBBackend.__module__  # moto finds the addresses of a service by it

    def get_item(self, table_name: str, *args: Any, **kwargs: Any) -> Any:
        """Answer a look at the fleet, which has come one state further since the last one."""
        item = super().get_item(table_name, *args, **kwargs)
        if item and table_name.startswith(TABLE) and "Data" in item.attrs:
            status = item.attrs["Data"].value["status"]
            status.value = NEXT.get(status.value, status.value)
        return item


dynamodb_backends.backend = Tables
