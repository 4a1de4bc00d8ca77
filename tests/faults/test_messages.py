"""If AWS refuses a call, the task prints a short message with the next step."""

import re
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import stack

DENIED = (
    "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/eve is not authorized to perform: "
    "ec2:RunInstances on resource: arn:aws:ec2:eu-west-2:123456789012:instance/* because no identity-based policy allows it. "
    f"Encoded authorization failure message: {'x' * 600}"
)
VCPUS = (
    "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket that the specified "
    "instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
)
CAPACITY = "We currently do not have sufficient t3.xlarge capacity in the Availability Zone you requested (eu-west-2a)."
ADDRESSES = "The maximum number of addresses has been reached."
SPENT = "The provided token has expired."
UNKNOWN = "AWS was not able to validate the provided access credentials"
REFUSALS = [
    (
        "create-instance",
        "RunInstances",
        ("UnauthorizedOperation", DENIED, 403),
        r"AWS denies ec2:RunInstances .* Ask the account's administrator",
    ),
    (
        "create-instance",
        "RunInstances",
        ("VcpuLimitExceeded", VCPUS, 400),
        r"quota of vCPUs \(L-1216C47A\) is used up. Request",
    ),
    (
        "create-instance",
        "RunInstances",
        ("InsufficientInstanceCapacity", CAPACITY, 500),
        r"no free machine of this type .*\. Wait, or choose",
    ),
    (
        "create-instance",
        "RunInstances",
        ("InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist", 400),
        "image is not",
    ),
    (
        "create-instance",
        "GetParameter",
        ("ParameterNotFound", "", 400),
        "The image is not in this region. Choose",
    ),
    (
        "create-instance",
        "Describe",
        ("ExpiredToken", SPENT, 400),
        "The session has expired. Run `aws sso login`",
    ),
    ("create-instance", "Describe", ("AuthFailure", UNKNOWN, 401), "check that the region is enabled"),
    (
        "create-instance",
        "Describe",
        ("RequestLimitExceeded", "Request limit exceeded.", 503),
        "throttling requests. Wait a minute",
    ),
    ("create-instance", "Describe", ("ServiceUnavailable", "", 503), "The service is not available. Wait"),
    (
        "upload-bootstrap",
        "PUT",
        ("TooManyBuckets", "You have attempted to create more buckets than allowed", 400),
        "A quota of",
    ),
    ("upload-bootstrap", "PUT", ("AccessDenied", "Access Denied", 403), "AWS denies CreateBucket to these"),
    (
        "create-jwt-key",
        "CreateSecret",
        ("AccessDeniedException", DENIED.replace("ec2:RunInstances", "a:B"), 400),
        "AWS denies a:B",
    ),
    (
        "create-jwt-key",
        "CreatePolicy",
        ("LimitExceeded", "Cannot exceed quota for PoliciesPerAccount: 1500.", 409),
        "A quota of",
    ),
    (
        "create-jwt-key",
        "GetCallerIdentity",
        ("InvalidClientTokenId", "The security token is invalid.", 403),
        "Renew the cred",
    ),
    (
        "create-jwt-key",
        "CreateSecret",
        ("RequestTimeTooSkewed", "Too large a difference.", 403),
        "clock of this machine is wrong. Set it",
    ),
]


def is_short_message(printed: str) -> bool:
    """Return whether the output is short, has no traceback, and ends with a period."""
    last = printed.strip().splitlines()[-1]
    return "Traceback" not in printed and last.endswith(".") and len(last) < 600


@pytest.mark.parametrize(
    ("task", "only", "refusal", "says"),
    REFUSALS,
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_refused_task_names_the_next_step(task, only, refusal, says, cluster, invoke):
    with faults.inject(
        faults.fail_with_error(*refusal), then=faults.fail_with_error(*refusal), only=only
    ) as injection:
        result = invoke(task, AWS_MAX_ATTEMPTS="1")
    assert injection.failed_calls
    assert result.returncode == 1
    assert re.search(says, result.printed), result.printed
    assert is_short_message(result.printed), result.printed


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (faults.close_connection, "AWS cannot be reached: .*. Check the network and the region"),
        (faults.fail_with_500, "The service is not available. Wait"),
        (faults.throttle, "AWS is throttling requests. Wait a minute"),
    ],
)
def test_unreachable_service_is_reported(fault, says, invoke):
    with faults.inject(fault, then=fault):
        result = invoke("create-jwt-key")
    assert result.returncode == 1
    assert re.search(says, result.printed), result.printed
    assert is_short_message(result.printed), result.printed


def test_expired_sso_session_is_reported(invoke):
    Path("config").write_text(
        "[profile work]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\nregion = eu-west-2\n"
        "[sso-session s]\nsso_region = eu-west-2\nsso_start_url = https://example.org/start\n"
    )
    unset = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    result = invoke(
        "create-jwt-key", AWS_PROFILE="work", AWS_CONFIG_FILE=str(Path("config").resolve()), **unset
    )
    assert result.returncode == 1
    assert "`aws sso login`" in result.printed
    assert is_short_message(result.printed), result.printed


@pytest.mark.parametrize(
    ("only", "refusal", "says"),
    [
        (
            "RunInstances",
            ("InsufficientInstanceCapacity", CAPACITY),
            "AWS has no free machine of this type in this Availability Zone",
        ),
        ("RunInstances", ("VcpuLimitExceeded", VCPUS), r"quota of vCPUs \(L-1216C47A\)"),
    ],
)
def test_refused_stack_names_the_next_step(only, refusal, says, network, cloudformation, invoke):
    with faults.inject(
        faults.fail_with_error(*refusal), then=faults.fail_with_error(*refusal), only=only, source="stacks"
    ) as injection:
        made = make_cluster("pcluster-ubuntu", network, cloudformation)
    assert injection.failed_calls
    cause, *_, hint = stack.list_failures(cloudformation, made["stack"])
    assert refusal[1] in cause
    assert re.search(says, hint), hint


def test_quota_of_the_wizards_stack_is_reported(cloudformation):
    template = "Resources: {Address: {Type: AWS::EC2::EIP}}"
    with faults.inject(
        faults.fail_with_error("AddressLimitExceeded", ADDRESSES), only="AllocateAddress", source="stacks"
    ):
        made = cloudformation.create_stack(
            StackName="parallelclusternetworking-pubpriv-1", TemplateBody=template
        )["StackId"]
    cause, hint = stack.list_failures(cloudformation, made)
    assert ADDRESSES in cause
    assert "quota of Elastic IPs (L-0263D0A3)" in hint
