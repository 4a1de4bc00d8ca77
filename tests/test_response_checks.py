"""Answers that are not from AWS: calls are repeated, and no exception of botocore becomes a traceback."""

import re

import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.parsers import ResponseParserError

from sandbox import faults
from slurm_cluster.aws import clients, deployed_config
from slurm_cluster.errors import format_error, is_from_boto3
from tests.support import REGION
from tests.support.in_process import run_task

FAULTS = {
    "cut off": (faults.truncate_response, "cut off or damaged"),
    "web page": (faults.replace_response(), "a web page, with status (200|500)"),
    "XHTML": (faults.replace_response(b"<?xml version='1.0'?><html/>"), "(another document|cut off)"),
    "other XML": (faults.replace_response(b"<Answer/>"), "(another document|cut off)"),
    "other JSON": (faults.replace_response(b'{"ok": true}'), "(another document|cut off)"),
    "JSON list": (faults.replace_response(b"[1]"), "(another document|cut off)"),
    "proxy's refusal": (faults.replace_response(status=403, applied=False), "a web page, with status 403"),
    "proxy's error": (faults.replace_response(status=502, applied=False), "a web page, with status 502"),
    "proxy's text": (faults.replace_response(b"Access denied", 403, applied=False), "cut off or damaged"),
    "empty": (faults.replace_response(b""), "empty, with status 200"),
    "empty refusal": (faults.replace_response(b"", 403, applied=False), "empty, with status 403"),
}
CALLS = {  # one of each protocol
    "ec2": ("ec2", "describe_vpcs"),
    "query": ("cloudformation", "describe_stacks"),
    "rest-json": ("efs", "describe_file_systems"),
    "json": ("logs", "describe_log_groups"),
    "rest-xml": ("s3", "list_buckets"),
}
TAGGED = [{"Name": "tag:slurm-cluster", "Values": ["pcluster-ubuntu"]}]
NOT_OF_S3 = {"XHTML", "other XML"}  # S3 has no common root element: any XML may be from S3


@pytest.fixture(scope="module")
def aws(emulated_aws):
    """Return a function that makes a call, with clients that are created once."""
    clients_by_service = {service: clients.make_client(service, REGION) for service, _ in CALLS.values()}

    def make_call(protocol):
        service, operation = CALLS[protocol]
        answer = getattr(clients_by_service[service], operation)()
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

    return make_call


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch, account):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.mark.parametrize("protocol", CALLS)
def test_call_with_an_unreadable_answer_is_repeated(protocol, aws):
    expected = aws(protocol)
    for name, (fault, says) in FAULTS.items():
        if protocol == "rest-xml" and name in NOT_OF_S3:
            continue
        twice = faults.use_in_turn(fault, fault)
        with faults.inject(twice, then=twice) as injection:
            assert aws(protocol) == expected, name
        assert len(injection.calls) == 3, name
        with faults.inject(fault, then=fault) as injection, pytest.raises(ClientError) as raised:
            aws(protocol)
        assert len(injection.calls) == 3, name
        assert re.search(says, format_error(raised.value)), (name, format_error(raised.value))
        assert "then run this again." in format_error(raised.value)


def test_valid_answers_are_accepted(project):
    """An answer may be empty if the call returns nothing, and lack a member if there are no items."""
    project.s3.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": REGION})
    project.s3.put_bucket_policy(Bucket="mine", Policy="{}")
    project.s3.put_object(Bucket="mine", Key="one", Body=b"")
    project.s3.head_object(Bucket="mine", Key="one")
    project.s3.delete_object(Bucket="mine", Key="one")
    with pytest.raises(ClientError, match="404"):
        project.s3.head_object(Bucket="mine", Key="one")
    schema = {"AttributeName": "Id", "KeyType": "HASH"}, {"AttributeName": "Id", "AttributeType": "S"}
    project.dynamodb.create_table(
        TableName="t", KeySchema=[schema[0]], AttributeDefinitions=[schema[1]], BillingMode="PAY_PER_REQUEST"
    )
    assert "Item" not in project.dynamodb.get_item(TableName="t", Key={"Id": {"S": "none"}})


@pytest.mark.parametrize("fault", ["cut off", "web page", "empty"])
def test_repeated_launch_has_the_token_of_the_first(fault, cluster, project, invoke):
    with faults.inject(FAULTS[fault][0], only="RunInstances") as injection:
        assert invoke("create-instance").returncode == 0
    assert len(injection.calls) == 2
    assert len(project.ec2.describe_instances(Filters=TAGGED)["Reservations"]) == 1


def test_every_botocore_exception_is_reported(monkeypatch, project):
    """A client that boto3 creates itself, for example for an assumed role, can raise any of them."""

    def fail(*_):
        raise ResponseParserError("Unable to parse response: <secret>")

    monkeypatch.setattr("botocore.client.BaseClient._make_request", fail)
    printed, message = run_task("status")
    assert message.startswith("The response of AWS cannot be read (ResponseParserError). Check the network")
    assert "<secret>" not in printed + message


def test_our_own_exceptions_stay_visible():
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018 - it raises
    assert not is_from_boto3(raised.value)


class DamagedObject:
    """An S3 whose object is cut off each time but the last."""

    def __init__(self, damaged_reads):
        self.damaged_reads = damaged_reads

    def get_object(self, **_):
        return {"Body": self}

    def read(self):
        self.damaged_reads -= 1
        if self.damaged_reads >= 0:
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
        return b"Region: eu-west-2"


def test_damaged_object_is_read_again():
    assert deployed_config.read_object(DamagedObject(2), Bucket="b", Key="k") == "Region: eu-west-2"
    with pytest.raises(IncompleteReadError) as raised:
        deployed_config.read_object(DamagedObject(3), Bucket="b", Key="k")
    assert format_error(raised.value).startswith("The response of AWS cannot be read (IncompleteReadError).")
