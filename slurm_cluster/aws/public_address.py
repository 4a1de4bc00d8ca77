"""The public address of this machine, as AWS sees it."""

import http.client
import ipaddress
import os
import urllib.request

from slurm_cluster.errors import ClusterError

# https://docs.aws.amazon.com/vpc/latest/userguide/working-with-security-group-rules.html names this service.
SERVICE = "https://checkip.amazonaws.com"
# Replaces the URL, as AWS_ENDPOINT_URL_EC2 does for EC2:
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
SERVICE_VARIABLE = "AWS_ENDPOINT_URL_CHECKIP"
TIMEOUT = 5  # seconds
MAX_BYTES = 100


def find_public_address() -> str:
    """Return the IPv4 address with which this machine reaches the internet.

    Raises:
        ClusterError: the service cannot be reached, or does not return an IPv4 address.
    """
    url = os.environ.get(SERVICE_VARIABLE) or SERVICE
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - ours, or the user's own
            return str(ipaddress.IPv4Address(answer.read(MAX_BYTES).decode().strip()))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = "no IPv4 address in its answer" if isinstance(error, ValueError) else str(error)
        raise ClusterError(
            f"{url} did not return the public address of this machine: {reason}. "
            "Pass --ssh-from ADDRESS/32, with your own address."
        ) from error
