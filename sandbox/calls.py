"""Clients of the emulated AWS for the sandbox itself: a stack's resources are made by the calls that AWS would make."""

import functools
from typing import Any

import boto3


@functools.cache
def client(service: str, region: str) -> Any:
    """Give a client of the emulated AWS, which is all that this process knows while it is up.

    Args:
        service: its name in boto3.
        region: the region that it speaks to.

    """
    return boto3.Session(region_name=region).client(service)  # type: ignore[call-overload]
