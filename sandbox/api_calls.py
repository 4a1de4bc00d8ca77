"""Clients of the emulated AWS for the sandbox itself.

CloudFormation creates a stack's resources by calls to other services. Here, these calls go to moto without
the network, and are not affected by the faults that tests inject into the calls of the tools.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.loaders import create_loader
from botocore.session import get_session
from moto.core.botocore_stubber import MockRawResponse
from werkzeug.test import EnvironBuilder, run_wsgi_app

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

LOADER = create_loader()  # shared by all sessions, so that each service's description is read only once


class Moto:
    """The running server of moto.

    Attributes:
        app: moto's app, without faults and recording.
        app_for_stacks: the app that answers the sandbox's own calls.

    """

    app: WsgiApp
    app_for_stacks: WsgiApp


def send_to_moto(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
    """Return moto's response to a request, without the network."""
    headers = [
        (name, value.decode() if isinstance(value, bytes) else value)
        for name, value in request.headers.items()
    ]
    body: Any = request.body
    body = body.read() if hasattr(body, "read") else body
    environ = EnvironBuilder(request.url, method=request.method, headers=headers, data=body).get_environ()
    chunks, status, response_headers = run_wsgi_app(Moto.app_for_stacks, environ, buffered=True)
    raw_response = MockRawResponse(b"".join(chunks))
    return AWSResponse(request.url, int(status.split()[0]), response_headers, raw_response)  # type: ignore[arg-type]


def create_session(region: str) -> boto3.Session:
    """Return a session for the sandbox's own calls."""
    botocore_session = get_session()
    botocore_session.register_component("data_loader", LOADER)
    botocore_session.register("before-send", send_to_moto)  # type: ignore[arg-type]
    return boto3.Session(botocore_session=botocore_session, region_name=region)


@functools.cache
def client(service: str, region: str) -> Any:
    """Return a client of the emulated AWS.

    Args:
        service: its name in boto3.
        region: the name of the region.

    """
    return create_session(region).client(service)  # type: ignore[call-overload]
