"""A record of all calls that the emulated AWS was asked for while it was kept: by whom, what, with what, and the answer.

with record.kept() as calls:
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

from sandbox import faults
from sandbox.api_calls import Environ, StartResponse, Wsgi

# What boto3 calls a service whose calls are signed with another name
SERVICES = {"elasticfilesystem": "efs", "monitoring": "cloudwatch", "servicequotas": "service-quotas"}
records: list[list["Call"]] = []
LOCK = threading.Lock()


class Call:
    """A call, as it came over the wire.

    Args:
        environ: the request.
        whose: `tools` or, where the sandbox makes a stack's resource, `stacks`.
        body: of the request.
        answer: of the response.

    """

    def __init__(self, environ: Environ, whose: str, body: bytes, answer: bytes) -> None:
        self.environ = {name: value for name, value in environ.items() if isinstance(value, str)}
        self.whose, self.body, self.answer = whose, body, answer
        self.agent: str = environ.get("HTTP_USER_AGENT", "")

    def request(self) -> Request:
        """Give the request, to be read once more."""
        return Request(
            {**self.environ, "CONTENT_LENGTH": str(len(self.body)), "wsgi.input": io.BytesIO(self.body)}
        )

    @cached_property
    def service(self) -> str:
        """The service's name in boto3."""
        signed = faults.called(self.request().environ).service
        return SERVICES.get(signed, signed)

    @cached_property
    def _operation(self) -> tuple[OperationModel, dict[str, Any]]:
        """The operation, and what stands in the path for it."""
        named = faults.called(self.request().environ).name
        if " " not in named:
            return get_service_model(self.service).operation_model(named), {}
        operation, in_path = get_service_router(self.service).match(self.request())
        return operation, in_path

    @property
    def operation(self) -> str:
        """The operation, as RunInstances."""
        name: str = self._operation[0].name
        return name

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What the call was given, as boto3 has it."""
        operation, in_path = self._operation
        request, model = self.request(), get_service_model(self.service)
        parser = PROTOCOL_PARSERS[determine_request_protocol(model, request.content_type)](
            operation, map_type=dict
        )
        wire = {
            "method": request.method,
            "headers": request.headers,
            "url_path": request.path,
            "url_params": in_path,
        }
        whole: dict[str, Any] = parser.parse({**wire, "values": request.values, "body": request.data})
        return whole

    @property
    def wire(self) -> list[bytes]:
        """All that went over the wire: the address, the heads, the request and the answer."""
        heads = "\n".join(
            str(value) for name, value in self.environ.items() if name.startswith(("HTTP_", "PATH", "QUERY"))
        )
        return [heads.encode(), self.body, self.answer]


def way(through: Wsgi, whose: str) -> Wsgi:
    """Give a way to the emulated AWS that is written down."""

    def recorded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not records or "HTTP_AUTHORIZATION" not in environ:
            return through(environ, start_response)
        body = Request(environ).get_data(cache=False)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        answer = list(through(environ, start_response))
        with LOCK:
            for each in records:
                each.append(Call(environ, whose, body, b"".join(answer)))
        return answer

    return recorded


@contextmanager
def kept() -> Iterator[list[Call]]:
    """Keep a record while the context lasts.

    Yields:
        The calls, in the order in which they were answered.

    """
    calls: list[Call] = []
    records.append(calls)
    try:
        yield calls
    finally:
        records.remove(calls)
