"""A record of all calls to the emulated AWS: source, operation, arguments and response.

with record.record_calls() as calls:
    ...
assert "RunInstances" in {call.operation for call in calls}
"""

import io
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model

from sandbox.api_calls import Environ, StartResponse, WsgiApp
from sandbox.faults import Source, parse_call

# Services whose name in a signature differs from that in boto3
BOTO3_NAMES = {
    "elasticfilesystem": "efs",
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
}
LOCK = threading.Lock()


class RecordedCall:
    """A call, as it was sent.

    Args:
        environ: the request.
        source: `tools`, or `stacks` if the sandbox made the call for a stack's resource.
        request_body: the body of the request.
        response_body: the body of the response.

    """

    def __init__(self, environ: Environ, source: Source, request_body: bytes, response_body: bytes) -> None:
        self.environ = {name: value for name, value in environ.items() if isinstance(value, str)}
        self.source, self.request_body, self.response_body = source, request_body, response_body
        self.user_agent: str = environ.get("HTTP_USER_AGENT", "")

    def build_request(self) -> Request:
        """Return the request, as if it had not been read yet."""
        body = {"CONTENT_LENGTH": str(len(self.request_body)), "wsgi.input": io.BytesIO(self.request_body)}
        return Request({**self.environ, **body})

    @cached_property
    def service(self) -> str:
        """The service's name in boto3."""
        signed_name = parse_call(self.build_request().environ).service
        return BOTO3_NAMES.get(signed_name, signed_name)

    @cached_property
    def _operation(self) -> tuple[OperationModel, dict[str, Any]]:
        """The operation, and its arguments in the request's path."""
        name = parse_call(self.build_request().environ).name
        if " " not in name:
            return get_service_model(self.service).operation_model(name), {}
        operation, path_arguments = get_service_router(self.service).match(self.build_request())
        return operation, path_arguments

    @property
    def operation(self) -> str:
        """The operation, such as `RunInstances`."""
        name: str = self._operation[0].name
        return name

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The call's arguments, as boto3 takes them."""
        operation, path_arguments = self._operation
        request, model = self.build_request(), get_service_model(self.service)
        parser = PROTOCOL_PARSERS[determine_request_protocol(model, request.content_type)]
        arguments: dict[str, Any] = parser(operation, map_type=dict).parse(
            {
                "method": request.method,
                "headers": request.headers,
                "url_path": request.path,
                "url_params": path_arguments,
                "values": request.values,
                "body": request.data,
            }
        )
        return arguments

    @property
    def sent_data(self) -> list[bytes]:
        """All sent data: the URL, the headers, and the bodies of the request and the response."""
        prefixes = ("HTTP_", "PATH", "QUERY")
        head = "\n".join(value for name, value in self.environ.items() if name.startswith(prefixes))
        return [head.encode(), self.request_body, self.response_body]


records: list[list[RecordedCall]] = []


def add_recording(app: WsgiApp, source: Source) -> WsgiApp:
    """Return an app that adds each signed call to all active records."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not records or "HTTP_AUTHORIZATION" not in environ:
            return app(environ, start_response)
        body = Request(environ).get_data(cache=False)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        response = list(app(environ, start_response))
        with LOCK:
            for record in records:
                record.append(RecordedCall(environ, source, body, b"".join(response)))
        return response

    return answer


@contextmanager
def record_calls() -> Iterator[list[RecordedCall]]:
    """Record all calls.

    Yields:
        The calls, in the order in which they were answered.

    """
    calls: list[RecordedCall] = []
    records.append(calls)
    try:
        yield calls
    finally:
        records.remove(calls)
