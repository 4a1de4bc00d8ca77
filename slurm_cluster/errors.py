"""Our errors, and what a person does next when AWS refuses."""

import re


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
    """An outside command was given up before it ended: it asked something unforeseen, or took too long."""


class NetworkInUseError(ClusterError):
    """A network cannot be deleted, because something else than the wizard's own resources is in it."""


QUOTA = "ask for more in the console under Service Quotas, or free some of it, then run this again"
HINTS = {  # what AWS's codes and words begin to mean for a person; the first that fits counts
    r"InsufficientInstanceCapacity|InsufficientHostCapacity|not have sufficient \S+ capacity": (
        "AWS has no such machine free in this Availability Zone now: wait, or name another instance type, then run this again."
    ),
    r"Throttl\w+|RequestLimitExceeded|SlowDown|TooManyRequests\w*|Rate exceeded": (
        "AWS asks to go slower: wait a minute, then run this again."
    ),
    r"VcpuLimitExceeded|InstanceLimitExceeded|vCPU limit": f"The account's quota of vCPUs (L-1216C47A) is used up: {QUOTA}.",
    r"AddressLimitExceeded|maximum number of addresses": f"The account's quota of Elastic IPs (L-0263D0A3) is used up: {QUOTA}.",
    r"VpcLimitExceeded|maximum number of VPCs": f"The account's quota of VPCs (L-F678F1CE) is used up: {QUOTA}.",
    r"\w*LimitExceeded|TooManyBuckets|QuotaExceeded\w*|ServiceQuota\w+": f"A quota of the account is used up: {QUOTA}.",
    r"InvalidAMIID|[Ii]mage id .* does not exist|ParameterNotFound": (
        "The image is not in this region: choose a region that ParallelCluster supports; `invoke check` looks for the images."
    ),
    r"OptInRequired|SubscriptionRequired": "The account is not signed up for this: open the AWS console once, and confirm.",
    r"InvalidClientTokenId|UnrecognizedClient\w*|AuthFailure|InvalidAccessKeyId|SignatureDoesNotMatch|not able to validate": (
        "Renew the credentials (`aws configure`, or `aws sso login`), and see that the region is enabled for the account."
    ),
    r"Expired\w*Token\w*|TokenExpired|RequestExpired|token \S* ?(is|has) expired": (
        "The session is over: `aws sso login`, or renew the credentials, then run this again."
    ),
    r"RequestTimeTooSkewed|Signature expired|Signature not yet current": (
        "This machine's clock is wrong: set it, then run this again."
    ),
    r"AccessDenied\w*|UnauthorizedOperation|not authorized to perform": (
        "Ask whoever looks after the account for this permission, then run this again."
    ),
    r"InternalError|InternalFailure|ServiceUnavailable\w*|^Unavailable|^50\d:|Status Code: 50\d": (
        "The service is out of order: wait, see https://health.aws.amazon.com, then run this again."
    ),
}
DENIED_ACTION = re.compile(r"not authorized to perform:? ([\w-]+:\w+)")


def find_hint(words: str) -> str:
    """Say what to do next about AWS's words; nothing where they are not known.

    Args:
        words: an error's code and message, or the reason of a stack's event.

    """
    return next((advice for pattern, advice in HINTS.items() if re.search(pattern, words)), "")


def find_denied_action(words: str) -> str:
    """Give the action that AWS denied, as ec2:RunInstances, where it names it."""
    found = DENIED_ACTION.search(words)
    return found[1] if found else ""
