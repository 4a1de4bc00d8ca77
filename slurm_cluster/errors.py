"""Error classes, and AWS errors formatted as messages with a hint on what to do next."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

RETRY = "then run this again"
CHECK_NETWORK = f"Check the network, and the proxy if there is one, {RETRY}."
REQUEST_QUOTA = f"Request an increase in the console under Service Quotas, or free some of it, {RETRY}"
# What AWS's error codes and messages mean for the user; the first pattern that matches counts.
HINTS = {
    r"InsufficientInstanceCapacity|InsufficientHostCapacity|not have sufficient \S+ capacity": (
        "AWS has no free machine of this type in this Availability Zone. "
        f"Wait, or choose another instance type, {RETRY}."
    ),
    r"Throttl\w+|RequestLimitExceeded|SlowDown|TooManyRequests\w*|Rate exceeded": (
        f"AWS is throttling requests. Wait a minute, {RETRY}."
    ),
    r"VcpuLimitExceeded|InstanceLimitExceeded|vCPU limit": (
        f"The account's quota of vCPUs (L-1216C47A) is used up. {REQUEST_QUOTA}."
    ),
    r"AddressLimitExceeded|maximum number of addresses": (
        f"The account's quota of Elastic IPs (L-0263D0A3) is used up. {REQUEST_QUOTA}."
    ),
    r"VpcLimitExceeded|maximum number of VPCs": (
        f"The account's quota of VPCs (L-F678F1CE) is used up. {REQUEST_QUOTA}."
    ),
    r"\w*LimitExceeded|TooManyBuckets|QuotaExceeded\w*|ServiceQuota\w+": (
        f"A quota of the account is used up. {REQUEST_QUOTA}."
    ),
    r"InvalidAMIID|[Ii]mage id .* does not exist|ParameterNotFound": (
        "The image is not in this region. Choose a region that ParallelCluster supports; "
        "`invoke check` looks for the images."
    ),
    r"OptInRequired|SubscriptionRequired": (
        "The account is not signed up for this service. Open the service in the AWS console once to sign up."
    ),
    (
        r"InvalidClientTokenId|UnrecognizedClient\w*|AuthFailure|InvalidAccessKeyId|SignatureDoesNotMatch"
        r"|not able to validate"
    ): (
        "Renew the credentials (`aws configure` or `aws sso login`), "
        "and check that the region is enabled for the account."
    ),
    r"Expired\w*Token\w*|TokenExpired|RequestExpired|token \S* ?(is|has) expired": (
        f"The session has expired. Run `aws sso login`, or renew the credentials, {RETRY}."
    ),
    r"RequestTimeTooSkewed|Signature expired|Signature not yet current": (
        f"The clock of this machine is wrong. Set it, {RETRY}."
    ),
    r"AccessDenied\w*|UnauthorizedOperation|not authorized to perform": (
        f"Ask the account's administrator for this permission, {RETRY}."
    ),
    r"Unable to parse response": CHECK_NETWORK,
    r"DependencyViolation|has a dependent object|has dependencies": (
        f"Another resource still uses this one. Delete the other resource, {RETRY}."
    ),
    r"InternalError|InternalFailure|ServiceUnavailable\w*|^Unavailable|^50\d:|Status Code: 50\d": (
        f"The service is not available. Wait, see https://health.aws.amazon.com, {RETRY}."
    ),
}
DENIED_ACTION = re.compile(r"not authorized to perform:? ([\w-]+:\w+)")
UNREADABLE = "UnreadableResponse"  # our own error code, for a response that does not come from AWS
DENIED_CODES = {"403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


class ClusterError(Exception):
    """An expected failure: one sentence that says what is wrong, and what to do next.

    Args:
        message: the sentence.
        status: the exit status of the task.
    """

    def __init__(self, message: str = "", *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class CommandError(ClusterError):
    """An external command was stopped: it asked an unexpected question, or timed out."""


class NetworkInUseError(ClusterError):
    """A network cannot be deleted, because something that the wizard did not create is in it."""


def find_hint(error_text: str) -> str:
    """Return a hint on what to do about an AWS error; empty if there is none.

    Args:
        error_text: an error's code and message, or the reason in a stack event.
    """
    return next((hint for pattern, hint in HINTS.items() if re.search(pattern, error_text)), "")


def is_from_boto3(error: BaseException) -> bool:
    """Return whether an exception, of whatever class, was raised in or passed through boto3 or botocore."""
    names = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name.partition(".")[0] in ("boto3", "botocore") for name in names)


def format_error(error: Exception) -> str:
    """Return boto3's error as one sentence with the next step.

    Args:
        error: boto3's error. Its message never contains the value of a secret argument.
    """
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return format_refusal(error)
    if isinstance(error, exceptions.WaiterError) and "Error" in error.last_response:
        return format_refusal(exceptions.ClientError(error.last_response, error.kwargs["name"]))
    if isinstance(error, exceptions.NoCredentialsError):
        return (
            "There are no AWS credentials. Run `aws configure`, or try everything in `invoke sandbox` first."
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return f"{error}. Correct AWS_PROFILE, or add the profile with `aws configure`."
    if isinstance(error, (exceptions.SSOError, exceptions.TokenRetrievalError)):
        return f"The AWS SSO session has expired. Run `aws sso login` for your profile, {RETRY}."
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return f"AWS cannot be reached: {error}. Check the network and the region, {RETRY}."
    is_damaged = isinstance(error, (exceptions.FlexibleChecksumError, exceptions.IncompleteReadError))
    # The message of another library's error may quote the response, and so a secret.
    if is_damaged or not isinstance(error, exceptions.BotoCoreError):
        return f"The response of AWS cannot be read ({type(error).__name__}). {CHECK_NETWORK}"
    return (
        f"boto3 cannot call AWS with this configuration: {error}. Check ~/.aws/config and the AWS_ variables."
    )


def format_refusal(error: ClientError) -> str:
    """Return the message for an error response of AWS, with a hint."""
    answer = error.response.get("Error", {})
    code = answer.get("Code", "")
    words = answer.get("Message", "").partition(" Encoded authorization failure message")[0].rstrip(".")
    if code == UNREADABLE:
        return f"The response to {error.operation_name} does not come from AWS: {words}. {CHECK_NETWORK}"
    if code in DENIED_CODES:
        named = DENIED_ACTION.search(words)
        action = named[1] if named else error.operation_name
        return f"AWS denies {action} to these credentials ({words}). {find_hint('AccessDenied')}"
    hint = find_hint(f"{code}: {words}")
    return f"AWS refused {error.operation_name}: {words} ({code}). {hint}".strip()
