"""boto3 clients, and helpers for listings, tags and error codes that all modules in aws/ share."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore import loaders
from botocore.config import Config
from botocore.exceptions import ClientError

from slurm_cluster.aws import response_checks

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.literals import ResourceTypeType
    from types_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, TagSpecificationTypeDef

Found = TypeVar("Found")

# In CloudTrail, the app id distinguishes these calls from the user's other calls, such as pcluster's.
CONFIG = Config(retries={"mode": "standard"}, user_agent_appid="slurm-cluster")  # type: ignore[call-arg]
# On what we create; its value is the cluster's name. pcluster's own tag must not be used, because pcluster
# deletes everything that has it.
TAG = "slurm-cluster"
PCLUSTER_TAG = "parallelcluster:cluster-name"  # on all that pcluster creates; its value is the cluster's name

# Of instances, until they are terminated, and from then on
LIVE_STATES = ["pending", "running", "stopping", "stopped"]
TERMINATED_STATES = {"shutting-down", "terminated"}
SESSION_LOCK = threading.Lock()  # boto3's session makes one client at a time: it is not thread-safe

for name in ("boto3", "botocore", "urllib3"):  # their debug messages contain the bodies of calls
    logging.getLogger(name).setLevel(logging.INFO)


@functools.cache
def get_session() -> boto3.Session:
    """Return the session of this process. A second session would load the service models again."""
    session = boto3.Session()
    response_checks.register(session.events)
    return session


def make_client(service: str, region: str) -> Any:
    """Return a client of a service. Threads may call this at the same time, and share the client.

    Args:
        service: the service's name in boto3.
        region: the region. It is required, because boto3 ignores AWS_REGION and the profile may differ.
    """
    with SESSION_LOCK:
        return get_session().client(service, region_name=region, config=CONFIG)  # type: ignore[call-overload]


def list_region_names() -> set[str]:
    """Return the names of all regions that boto3 knows, in all partitions."""
    session = get_session()
    partitions = session.get_available_partitions()
    return {name for partition in partitions for name in session.get_available_regions("ec2", partition)}


def list_all(client: Any, operation: str, **arguments: Any) -> list[Any]:
    """Return the items of all pages of a listing."""
    pages = client.get_paginator(operation).paginate(**arguments).build_full_result()
    return [item for items in pages.values() if isinstance(items, list) for item in items]


def list_instances(ec2: EC2Client, *filters: FilterTypeDef) -> list[InstanceTypeDef]:
    """Return the instances that match all filters, in every state that EC2 still lists."""
    reservations = list_all(ec2, "describe_instances", Filters=filters)
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def run_concurrently(*calls: Callable[[], Any]) -> list[Any]:
    """Call functions at the same time, and return their results in the same order."""
    with ThreadPoolExecutor(len(calls) or 1) as pool:
        return list(pool.map(lambda call: call(), calls))


def get_partition(region: str) -> str:
    """Return the partition of a region, such as `aws` or `aws-us-gov`, the second part of an ARN."""
    return get_session().get_partition_for_region(region)


def get_dns_suffix(region: str) -> str:
    """Return the DNS suffix of a region's partition, with which the names of AWS's hosts end."""
    partitions = loaders.create_loader().load_data("partitions")["partitions"]
    suffixes: dict[str, str] = {
        partition["id"]: partition["outputs"]["dnsSuffix"] for partition in partitions
    }
    return suffixes[get_partition(region)]


def tag_filter(cluster_name: str) -> FilterTypeDef:
    """Return the filter for resources with the cluster's tag."""
    return {"Name": f"tag:{TAG}", "Values": [cluster_name]}


def pcluster_filter(cluster_name: str) -> FilterTypeDef:
    """Return the filter for resources of EC2 that pcluster created for a cluster."""
    return {"Name": f"tag:{PCLUSTER_TAG}", "Values": [cluster_name]}


def vpc_filter(*vpc_ids: str) -> FilterTypeDef:
    """Return the filter for resources in VPCs."""
    return {"Name": "vpc-id", "Values": list(vpc_ids)}


def tag_specification(
    resource_type: ResourceTypeType, cluster_name: str, name: str
) -> TagSpecificationTypeDef:
    """Return the tags to create a resource with, so that it never exists without them."""
    return {
        "ResourceType": resource_type,
        "Tags": [{"Key": "Name", "Value": name}, {"Key": TAG, "Value": cluster_name}],
    }


def get_tag(resource: Mapping[str, Any], key: str = "Name") -> str:
    """Return a tag of a resource, or an empty string."""
    return next((tag["Value"] for tag in resource.get("Tags", []) if tag["Key"] == key), "")


def error_code(error: ClientError) -> str:
    """Return the error code, such as AccessDenied."""
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def ignore_errors(*codes: str) -> Iterator[None]:
    """Ignore errors with these codes: an earlier attempt succeeded, but its response was lost."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in codes:
            raise


def find_or_none(find: Callable[[], Found], *codes: str) -> Found | None:
    """Return what a call returns, or None if AWS refuses it with one of these codes."""
    with ignore_errors(*codes):
        return find()
    return None
