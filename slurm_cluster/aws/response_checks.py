"""Detect responses that do not come from AWS: truncated, empty, or a proxy's web page.

botocore would raise errors of various classes, or return part of the data as if it were complete. Instead,
report such a response as a server error with the code `UnreadableResponse`. botocore then retries with the
same client token, and finally raises a ClientError.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from slurm_cluster.errors import UNREADABLE

if TYPE_CHECKING:
    from botocore.hooks import BaseEventHooks
    from botocore.model import OperationModel

BAD_GATEWAY = 502  # botocore retries a call with this status
REQUEST_ID_HEADERS = {"x-amzn-requestid", "x-amz-request-id"}  # each answer of AWS has one of them
READS = ("Describe", "Get", "List")
MAY_BE_EMPTY = {"GetItem"}  # when the table has no such item


def register(events: BaseEventHooks) -> None:
    """Check every answer that the clients of a session get.

    Args:
        events: the session's events. https://docs.aws.amazon.com/botocore/latest/topics/events.html
    """
    events.register("before-parse", check_answer)
    # Handlers of a more specific event run first, so botocore's retry handler sees the changed status.
    events.register("needs-retry.*.*", update_status)


def check_answer(
    operation_model: OperationModel,
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    """Turn an answer that is not AWS's into an error of a server.

    Args:
        operation_model: the call.
        response_dict: the answer, before botocore parses it.
        customized_response_dict: what botocore puts into the parsed answer.
    """
    fault = find_fault(operation_model, response_dict)
    if fault:
        customized_response_dict["Error"] = {"Code": UNREADABLE, "Message": fault}
        response_dict.update(status_code=BAD_GATEWAY, body=b"")


def update_status(response: tuple[Any, dict[str, Any]] | None, **_: object) -> None:
    """Set the status that makes botocore retry the call."""
    if response and response[1].get("Error", {}).get("Code") == UNREADABLE:
        response[0].status_code = BAD_GATEWAY


def find_fault(call: OperationModel, answer: dict[str, Any]) -> str:
    """Return why a response cannot come from AWS; empty if it can.

    Args:
        call: the call.
        answer: its status_code, headers and body.
    """
    status, body = answer["status_code"], answer["body"]
    if not isinstance(body, bytes):  # a stream
        return ""
    text = body.strip()
    if text[:9].lower().startswith((b"<html", b"<!doctype")):
        return f"it is a web page, with status {status}"
    if not text:
        has_id = any(name.lower() in REQUEST_ID_HEADERS for name in answer["headers"])
        is_complete = status >= 500 or (has_id and not has_body(call, status))
        return "" if is_complete else f"it is empty, with status {status}"
    if status < 300 and (not has_body(call, status) or is_plain_text(call)):  # nobody parses it
        return ""
    check = CHECKS.get(call.service_model.resolved_protocol)
    try:
        is_expected = check is None or check(call, status, text)
    except (ValueError, ElementTree.ParseError):
        return "it is cut off or damaged"
    return "" if is_expected else "it is another document"


def has_body(call: OperationModel, status: int) -> bool:
    """Return whether AWS's answer to a call always has a body."""
    protocol, output = call.service_model.resolved_protocol, call.output_shape
    if status >= 300 or call.http.get("method") == "HEAD":
        return protocol in ("ec2", "query")
    if protocol in ("ec2", "query"):
        return True
    members = output.members.values() if output else []
    return any("location" not in member.serialization for member in members)


def is_plain_text(call: OperationModel) -> bool:
    """Return whether the body is a plain value, such as a bucket policy, and not a document."""
    output = call.output_shape
    payload = output.serialization.get("payload") if output else None
    return bool(output and payload and output.members[payload].type_name in ("string", "blob"))


def is_expected_json(call: OperationModel, status: int, text: bytes) -> bool:
    """Return whether a JSON document is an error, or has at least one member of the expected output."""
    document = json.loads(text)
    if not isinstance(document, dict):
        return False
    output = call.output_shape
    if status >= 300 or not output or not call.name.startswith(READS) or call.name in MAY_BE_EMPTY:
        return True
    members = output.members.items()
    return any(member.serialization.get("name", name) in document for name, member in members)


def is_expected_xml(call: OperationModel, status: int, text: bytes) -> bool:
    """Return whether a document in XML is an error, or the answer to a call."""
    root = ElementTree.fromstring(text).tag.rpartition("}")[2]  # noqa: S314 - botocore parses it too
    is_rest = call.service_model.resolved_protocol == "rest-xml"  # its documents have names of their own
    return is_rest or status >= 300 or root == f"{call.name}Response"


CHECKS = {  # by botocore's names of the protocols; others, such as CBOR, are not checked
    "ec2": is_expected_xml,
    "query": is_expected_xml,
    "rest-xml": is_expected_xml,
    "json": is_expected_json,
    "rest-json": is_expected_json,
}
