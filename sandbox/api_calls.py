"""Clients of the emulated AWS for the sandbox itself: a stack's resources are made by the calls that AWS would make.

They go to moto past the network, and past the faults that are meant for the tools.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import get_session
from moto.core.botocore_stubber import MockRawResponse
from werkzeug.test import EnvironBuilder, run_wsgi_app

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


class Moto:
    """Where moto is, while it is up, and the way to it for the calls of the sandbox itself."""

    aws: Wsgi
    way: Wsgi


def answered(request: AWSPreparedRequest, **_: Any) -> Any:
    """Have moto answer a call, without the network."""
    headers = [
        (name, value.decode() if isinstance(value, bytes) else value)
        for name, value in request.headers.items()
    ]
    body: Any = request.body
    body = body.read() if hasattr(body, "read") else body
    environ = EnvironBuilder(request.url, method=request.method, headers=headers, data=body).get_environ()
    chunks, status, told = run_wsgi_app(Moto.way, environ, buffered=True)
    return AWSResponse(request.url, int(status.split()[0]), told, MockRawResponse(b"".join(chunks)))  # type: ignore[arg-type]


def session(region: str) -> boto3.Session:
    """Give a session whose calls are the sandbox's own."""
    own = get_session()
    own.register("before-send", answered)  # type: ignore[arg-type]
    return boto3.Session(botocore_session=own, region_name=region)


@functools.cache
def client(service: str, region: str) -> Any:
    """Give a client of the emulated AWS, which is all that this process knows while it is up.

    Args:
        service: its name in boto3.
        region: the region that it speaks to.

    """
    return session(region).client(service)  # type: ignore[call-overload]
