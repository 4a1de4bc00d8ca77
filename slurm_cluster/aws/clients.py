"""Clients of AWS, the tag by which what belongs to a cluster is found again, and AWS's errors as sentences."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from slurm_cluster import errors

if TYPE_CHECKING:
    from types_boto3_ec2.literals import ResourceTypeType
    from types_boto3_ec2.type_defs import FilterTypeDef, TagSpecificationTypeDef
    from types_boto3_sts import STSClient

# The name tells these calls from others of the same person, as those of pcluster, in CloudTrail.
CONFIG = Config(retries={"mode": "standard"}, user_agent_appid="slurm-cluster")  # type: ignore[call-arg] # its stubs are older
for chatty in (
    "boto3",
    "botocore",
    "urllib3",
):  # in their debug messages stand the bodies of calls, and so the key
    logging.getLogger(chatty).setLevel(logging.INFO)

TAG = "slurm-cluster"  # its value is the cluster's name; what carries pcluster's own tags is deleted with the cluster

DENIED_CODES = {"403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


@functools.cache
def get_session() -> boto3.Session:
    """Give the session of this process: a second one would read AWS's descriptions of its services a second time."""
    return boto3.Session()


def make_client(service: str, region: str) -> Any:
    """Give a client of a service.

    Args:
        service: its name in boto3.
        region: always told: boto3 does not read AWS_REGION, and the profile's region may be another.

    """
    return get_session().client(service, region_name=region, config=CONFIG)  # type: ignore[call-overload]


def list_all(client: Any, operation: str, **arguments: Any) -> list[Any]:
    """Give all that a listing of AWS lists."""
    answer = client.get_paginator(operation).paginate(**arguments).build_full_result()
    return [each for value in answer.values() if isinstance(value, list) for each in value]


def run_concurrently(*questions: Callable[[], Any]) -> list[Any]:
    """Ask several things at the same time, and give the answers in the order of the questions."""
    with ThreadPoolExecutor(len(questions)) as pool:
        return list(pool.map(lambda question: question(), questions))


def get_account_id(sts: STSClient) -> str:
    """Give the number of the account that the credentials belong to."""
    return sts.get_caller_identity()["Account"]


def get_partition(region: str) -> str:
    """Give the partition of a region, the second part of an ARN: `aws`, `aws-cn` or `aws-us-gov`."""
    return get_session().get_partition_for_region(region)


def tag_filter(cluster: str) -> FilterTypeDef:
    """Give the filter that finds what belongs to the cluster."""
    return {"Name": f"tag:{TAG}", "Values": [cluster]}


def tag_specification(kind: ResourceTypeType, cluster: str, name: str) -> TagSpecificationTypeDef:
    """Give the tags with which a thing of EC2 is made, so that it is never without them."""
    return {"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}, {"Key": TAG, "Value": cluster}]}


def error_code(error: ClientError) -> str:
    """Give the code of an error that AWS answered, the part of it that is meant for programs."""
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def ignore_errors(*codes: str) -> Iterator[None]:
    """Take these refusals for success: the call took effect before, as when its answer was lost and boto3 asked again."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in codes:
            raise


def format_error(error: BotoCoreError | ClientError) -> str:
    """Say in one sentence what AWS, or the way to it, refused.

    Args:
        error: what boto3 raised; it names the call and holds AWS's message, and never an argument's secret value.

    """
    if isinstance(error, NoCredentialsError):
        return (
            "No AWS credentials were found: run `aws configure`, or try everything in `invoke sandbox` first."
        )
    if isinstance(error, (SSOError, TokenRetrievalError)):
        return "The AWS SSO session is over: `aws sso login`, with your --profile where you have one, then run this again."
    if isinstance(error, (NoConnectionError, HTTPClientError)):
        return f"AWS cannot be reached: {error}; check the network and the region, then run this again."
    if not isinstance(error, ClientError):
        return f"AWS cannot be used as it is configured here: {error}"
    words = error_message(error).partition(" Encoded authorization failure message")[0].rstrip(".")
    if error_code(error) in DENIED_CODES:
        action = errors.find_denied_action(words) or error.operation_name
        return f"AWS denies {action} to these credentials ({words}). {errors.find_hint('AccessDenied')}"
    return f"AWS refused {error.operation_name}: {words} ({error_code(error)}). {errors.find_hint(f'{error_code(error)}: {words}')}".strip()


def error_message(error: ClientError) -> str:
    """Give AWS's own words."""
    return error.response.get("Error", {}).get("Message", "")
