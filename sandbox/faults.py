"""Failing calls: a call fails before it takes effect, or takes effect and its response is lost.

By default, faults are injected into the calls of the tools under test. With `source="stacks"`, they are
injected into the calls by which the sandbox creates and deletes a stack's resources.

    with faults.inject(faults.lose_response, at=3) as injection:
        ...                                         # the third call takes effect, but its response is lost
    assert [call.name for call in injection.failed_calls] == ["RunInstances"]
"""

import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs

from sandbox.api_calls import Environ, Moto, StartResponse, WsgiApp

Fault = WsgiApp
Source = Literal["tools", "stacks"]
WEB_PAGE = b"<!DOCTYPE html><html><head><title>Blocked</title></head><body><p>Access denied.</body></html>"


class Call(NamedTuple):
    """A call to AWS.

    Attributes:
        service: the service's name in the signature.
        name: the operation, such as `RunInstances`; if the protocol has none, method and path, such as
            `PUT /bucket?policy`.

    """

    service: str
    name: str


# --- Faults ---


def close_connection(environ: Environ, _: StartResponse) -> Iterable[bytes]:
    """Close the connection before the call takes effect."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)  # else the server waits for another call
    raise ConnectionResetError


def lose_response(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let the call take effect, then close the connection."""
    apply_call(environ)
    return close_connection(environ, start_response)


def truncate_response(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let the call take effect, and send only the first half of its response."""
    head: list[Any] = []
    body = b"".join(Moto.app(environ, lambda status, headers, *_: head.extend([status, headers])))
    half, [status, headers] = body[: len(body) // 2], head
    kept_headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start_response(status, [*kept_headers, ("Content-Length", str(len(half)))])
    return [half]


def replace_response(body: bytes = WEB_PAGE, status: int = 200, *, applied: bool = True) -> Fault:
    """Return the fault that answers as a proxy does, with nothing from AWS in body or headers.

    Args:
        body: the answer's body; by default a web page.
        status: the answer's status.
        applied: whether the call takes effect first.

    """

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if applied:
            apply_call(environ)
        start_response(
            f"{status} Replaced", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
        )
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return answer


def fail_with_500(_: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 500; the call takes no effect."""
    start_response("500 Internal Server Error", [("Content-Length", "0")])
    return [b""]


def throttle(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the service's error for too many calls; the call takes no effect."""
    errors = {
        "s3": ("SlowDown", "Please reduce your request rate.", 503),
        "ec2": ("RequestLimitExceeded", "Limit exceeded.", 503),
    }
    error = errors.get(parse_call(environ).service, ("ThrottlingException", "Rate exceeded", 400))
    return fail_with_error(*error)(environ, start_response)


def fail_with_error(code: str, message: str = "", status: int = 400) -> Fault:
    """Return the fault that answers with an error of AWS; the call takes no effect."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        service = parse_call(environ).service
        body, content_type = format_error(service, environ, code, message or f"{code} was injected.")
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("x-amzn-errortype", code),
            ("x-amzn-requestid", "injected"),
        ]
        start_response(f"{status} {code}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return answer


def kill_caller(kill: Callable[[], object], *, after: bool) -> Fault:
    """Return the fault that kills the caller.

    Args:
        kill: kills the caller.
        after: whether the call takes effect before the caller is killed.

    """

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if after:
            apply_call(environ)
        kill()
        return close_connection(environ, start_response)

    return answer


def use_in_turn(*faults: Fault) -> Fault:
    """Return the fault that applies each of these faults once, in this order, and then none."""
    remaining = iter(faults)
    return lambda environ, start_response: next(remaining, Moto.app)(environ, start_response)


def hold_until(count: int, seconds: float = 5) -> Fault:
    """Return the fault that holds calls until there are `count` of them, then lets them all through."""
    barrier = threading.Barrier(count)

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(seconds)
        return Moto.app(environ, start_response)

    return answer


def apply_call(environ: Environ) -> None:
    """Let a call take effect, and drop its response."""
    for _ in Moto.app(environ, lambda *_: None):
        pass


def format_error(service: str, environ: Environ, code: str, message: str) -> tuple[bytes, str]:
    """Return an error in the format of the service's protocol, and its content type."""
    if "HTTP_X_AMZ_TARGET" in environ or service in ("lambda", "elasticfilesystem"):
        return json.dumps({"__type": code, "message": message}).encode(), "application/json"
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    document = error if service == "s3" else f"<Response><Errors>{error}</Errors></Response>"
    return document.encode(), "text/xml"


# --- Injection ---


class Injection:
    """A fault, and the calls that it applies to.

    Args:
        fault: what happens to one call.
        at: the number of that call, counted from 1; with 0, calls are only recorded.
        then: the fault of every later call; None for no fault.
        only: a regular expression; only calls whose names match it count.

    Attributes:
        calls: the calls that counted.
        failed_calls: the calls to which `fault` or `then` was applied.

    """

    def __init__(self, fault: Fault, at: int, then: Fault | None, only: str) -> None:
        self.fault, self.at, self.then, self.only = fault, at, then, only
        self.calls: list[Call] = []
        self.failed_calls: list[Call] = []
        self.lock = threading.Lock()

    def find_fault(self, call: Call) -> Fault | None:
        """Count a call, and return the fault to apply to it."""
        with self.lock:
            if not re.search(self.only, call.name):
                return None
            self.calls.append(call)
            number = len(self.calls)
            fault = self.fault if number == self.at else self.then if 0 < self.at < number else None
            if fault:
                self.failed_calls.append(call)
            return fault


injections: dict[Source, Injection] = {}


def add_faults(source: Source) -> WsgiApp:
    """Return moto's app with the injected faults for the calls of one source."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        fault = None
        if source in injections and "HTTP_AUTHORIZATION" in environ:
            fault = injections[source].find_fault(parse_call(environ))
        return (fault or Moto.app)(environ, start_response)

    return answer


@contextmanager
def inject(
    fault: Fault, at: int = 1, *, then: Fault | None = None, only: str = "", source: Source = "tools"
) -> Iterator[Injection]:
    """Inject a fault into one call.

    Args:
        fault: what happens to the call.
        at: the call's number, counted from 1.
        then: the fault of every later call; None for no fault.
        only: a regular expression; only calls whose names match it count.
        source: whose calls count: those of the `tools`, or those by which `stacks` create their resources.

    Yields:
        The injection, with the calls.

    """
    injections[source] = Injection(fault, at, then, only)
    try:
        yield injections[source]
    finally:
        del injections[source]


@contextmanager
def collect_calls() -> Iterator[list[Call]]:
    """Yield a list that collects the calls of the tools."""
    with inject(close_connection, at=0) as injection:
        yield injection.calls


def parse_call(environ: Environ) -> Call:
    """Return the call that a request makes."""
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    service = scope[1] if scope else ""
    if "HTTP_X_AMZ_TARGET" in environ:
        return Call(service, environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2])
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = parse_qs(body.decode()).get("Action")
        if action:
            return Call(service, action[0])
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    return Call(service, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query}")
