"""Faults as AWS has them, and the way to it: a call fails before it takes effect, or takes effect and its answer is lost.

They meet the calls of the tools under test, or when asked those by which the sandbox makes a stack's resources:

    with faults.injected(faults.lost, at=3) as met:
        ...                                         # the third call takes effect, and nobody hears of it
    assert [call.name for call in met] == ["RunInstances"]
"""

import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from sandbox.api_calls import Environ, Moto, StartResponse

Fault = Callable[[Environ, StartResponse], Iterable[bytes]]


class Call(NamedTuple):
    """A call to AWS.

    Args:
        service: as it stands in the call's signature.
        name: the operation, as RunInstances; where the protocol has none, the method and what it is about, as `PUT /b?policy`.

    """

    service: str
    name: str


# --- What can go wrong ------------------------------------------------------------------------------------------------


def closed(environ: Environ, _: StartResponse) -> Iterable[bytes]:
    """Close the connection before the call takes effect."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)  # else the server waits for another call on it
    raise ConnectionResetError


def lost(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let the call take effect, and lose the answer."""
    take_effect(environ)
    return closed(environ, start_response)


def cut_off(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let the call take effect, and pass on only the first half of the answer."""
    head: list[Any] = []
    whole = b"".join(Moto.aws(environ, lambda status, headers, *_: head.extend([status, headers])))
    half, [status, headers] = whole[: len(whole) // 2], head
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start_response(status, [*kept, ("Content-Length", str(len(half)))])
    return [half]


def broken(_: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 500, as a service that is out of order; the call takes no effect."""
    start_response("500 Internal Server Error", [("Content-Length", "0")])
    return [b""]


def refusing(code: str, message: str = "", status: int = 400) -> Fault:
    """Give the fault by which AWS refuses a call with an error of its own; it takes no effect."""

    def refuse(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body, kind = error_body(called(environ).service, environ, code, message or f"{code} was injected.")
        head = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-errortype", code)]
        start_response(f"{status} {code}", head)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return refuse


def throttled(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Refuse a call because there were too many, in the words of its service."""
    words = {
        "s3": ("SlowDown", "Please reduce your request rate.", 503),
        "ec2": ("RequestLimitExceeded", "Limit exceeded.", 503),
    }
    refuse = refusing(*words.get(called(environ).service, ("ThrottlingException", "Rate exceeded", 400)))
    return refuse(environ, start_response)


def killing(kill: Callable[[], object], *, after: bool) -> Fault:
    """Give the fault by which the caller is killed, after the call took effect or before; the answer finds nobody."""

    def die(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if after:
            take_effect(environ)
        kill()
        return closed(environ, start_response)

    return die


def first(*faults: Fault) -> Fault:
    """Give the fault that is each of these once, one after the other, at the calls that it meets; then none."""
    coming = iter(faults)
    return lambda environ, start_response: next(coming, Moto.aws)(environ, start_response)


def meeting(calls: int, seconds: float = 5) -> Fault:
    """Give the fault by which calls are held until so many of them are there, and then take effect at the same moment."""
    barrier = threading.Barrier(calls)

    def meet(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(seconds)
        return Moto.aws(environ, start_response)

    return meet


def take_effect(environ: Environ) -> None:
    """Have AWS do what it is asked, and drop its answer."""
    for _ in Moto.aws(environ, lambda *_: None):
        pass


def error_body(service: str, environ: Environ, code: str, message: str) -> tuple[bytes, str]:
    """Give an error in the form of the service's protocol, and its content type."""
    if "HTTP_X_AMZ_TARGET" in environ or service in ("lambda", "elasticfilesystem"):
        return json.dumps({"__type": code, "message": message}).encode(), "application/json"
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    whole = error if service == "s3" else f"<Response><Errors>{error}</Errors></Response>"
    return whole.encode(), "text/xml"


# --- Where it goes wrong ----------------------------------------------------------------------------------------------


class Injection:
    """A fault that waits for its call.

    Args:
        fault: what is to go wrong.
        at: which of the calls meets it, counted from 1; 0 meets none, and only counts.
        then: what meets every call after that one; None lets them through.
        only: which calls count, as a pattern for their names.

    """

    def __init__(self, fault: Fault, at: int, then: Fault | None, only: str) -> None:
        self.fault, self.at, self.then, self.only = fault, at, then, only
        self.calls: list[Call] = []
        self.met: list[Call] = []
        self.lock = threading.Lock()

    def meet(self, call: Call) -> Fault | None:
        """Count a call, and give the fault that it meets."""
        with self.lock:
            if not re.search(self.only, call.name):
                return None
            self.calls.append(call)
            count = len(self.calls)
            meets = self.fault if count == self.at else self.then if 0 < self.at < count else None
            if meets:
                self.met.append(call)
            return meets


waiting: dict[str, Injection] = {}  # of the tools, and of the stacks


def way_of_tools(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let a call of the tools through to the emulated AWS, or have it meet its fault."""
    return way("tools", environ, start_response)


def way_of_stacks(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let a call through by which a stack makes or deletes a resource, or have it meet its fault."""
    return way("stacks", environ, start_response)


def way(whose: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let a call through, or have it meet its fault."""
    fault = (
        waiting[whose].meet(called(environ)) if whose in waiting and "HTTP_AUTHORIZATION" in environ else None
    )
    return (fault or Moto.aws)(environ, start_response)


@contextmanager
def injected(
    fault: Fault, at: int = 1, *, then: Fault | None = None, only: str = "", whose: str = "tools"
) -> Iterator[Injection]:
    """Have a fault meet one call of those that are made while the context lasts.

    Args:
        fault: what goes wrong.
        at: at which call, counted from 1.
        then: what goes wrong at each call after it; None: nothing.
        only: count only calls with such names, a regular expression.
        whose: the calls of the `tools`, or those by which `stacks` make their resources.

    Yields:
        What was called, and which calls met it.

    """
    waiting[whose] = Injection(fault, at, then, only)
    try:
        yield waiting[whose]
    finally:
        del waiting[whose]


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Record the calls of the tools that are made while the context lasts."""
    with injected(closed, at=0) as injection:
        yield injection.calls


def called(environ: Environ) -> Call:
    """Say which call a request is."""
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
