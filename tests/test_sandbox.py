"""The emulated AWS is isolated from the real one, and refuses what EC2 refuses."""

import ipaddress
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sandbox import __main__ as sandbox_program
from sandbox import list_resources, public_images, stacks
from sandbox.api_calls import client
from sandbox.rehearsal import INVOKE
from tests.support import ROOT
from tests.support.terminal import CTRL_C, Terminal

REGION = "eu-west-2"
PERSONS = {
    "AWS_PROFILE": "work",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_ENDPOINT_URL": "https://real.example",
    "AWS_ENDPOINT_URL_EC2": "https://real.example",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/real",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/real",
    "AWS_CA_BUNDLE": "/real",
}


@pytest.fixture
def in_sandbox(capfd, monkeypatch):
    """Return a function that runs a command as `python -m sandbox` does, which takes seconds to start."""

    def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        status = sandbox_program.main(list(command))
        return subprocess.CompletedProcess(command, status, *capfd.readouterr())

    return run


PRINT_ENVIRONMENT = [sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))"]


def test_users_aws_settings_are_removed(tmp_path):
    """In a separate process, which takes seconds, because the settings are removed before moto is loaded."""
    script = f"{shlex.join(PRINT_ENVIRONMENT)} > {tmp_path}/inside; echo begun; sleep 60"
    whole = [sys.executable, "-m", "sandbox", "sh", "-c", script]
    terminal = Terminal(whole, **{**PERSONS, "PYTHONPATH": str(ROOT)})
    terminal.wait_for("begun")
    terminal.type(CTRL_C)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.written
    inside = json.loads((tmp_path / "inside").read_text())
    assert {name for name in inside if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_CHECKIP",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_EC2_METADATA_DISABLED",
    }
    assert inside["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert inside["AWS_ACCESS_KEY_ID"] == inside["AWS_SECRET_ACCESS_KEY"] == "sandbox"
    assert inside["AWS_CONFIG_FILE"] == inside["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert inside["HOME"] != os.environ["HOME"]


def test_other_hosts_are_unreachable(in_sandbox):
    inside = json.loads(
        in_sandbox(*PRINT_ENVIRONMENT, HTTPS_PROXY="http://real.example", no_proxy="*").stdout
    )
    assert {inside[name] for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")} == {
        "http://127.0.0.1:9"
    }
    assert inside["no_proxy"] == inside["NO_PROXY"] == "127.0.0.1,localhost"
    code = "import boto3; boto3.client('sts', endpoint_url='https://sts.amazonaws.com').get_caller_identity()"
    answer = in_sandbox(sys.executable, "-c", code)
    assert answer.returncode == 1
    assert "Failed to connect to proxy URL" in answer.stderr


@pytest.mark.parametrize("program", ["ssh", "scp"])
def test_ssh_connects_to_nothing(program, in_sandbox):
    answer = in_sandbox(program, "ubuntu@203.0.113.1")
    assert answer.returncode == 255
    assert answer.stderr == f"{program}: no machine boots in the emulated AWS\n"


def test_exit_status_is_passed_on(in_sandbox):
    assert in_sandbox("sh", "-c", "exit 7").returncode == 7
    assert in_sandbox("sh", "-c", "kill -9 $$").returncode == 137
    absent = in_sandbox("no-such-program")
    assert (absent.returncode, absent.stderr) == (127, "no-such-program: No such file or directory\n")


def test_invoke_passes_on_status_and_output(invoke):
    answer = invoke("sandbox", "--run", "echo $AWS_ACCESS_KEY_ID; exit 7")
    assert (answer.returncode, answer.stdout) == (7, "sandbox\n")


def test_shell_has_banner_prompt_and_active_environment():
    shells = [shell for shell in ("sh", "bash", "zsh", "fish") if shutil.which(shell)]
    assert {"sh", "bash"} <= set(shells)
    terminal = Terminal([*INVOKE, "sandbox"], SHELL=shutil.which("sh"), PS1="mine")
    terminal.wait_for("This shell uses an emulated AWS")
    for shell in shells:
        terminal.wait_for(r"\[sandbox\] ")
        terminal.type(f"{shell}\r")
        terminal.wait_for(r"\[sandbox\] ")
        terminal.type("command -v invoke; exit 3\r")
        terminal.wait_for(str(Path(sys.executable).with_name("invoke")))
    terminal.wait_for(r"\[sandbox\] ")
    terminal.type("exit 3\r")
    assert terminal.end() == 3


def test_failures_of_the_emulator_are_in_its_log_only(in_sandbox):
    """A client that disconnects and an unknown call would print tracebacks."""
    code = (
        "import os, socket, struct, time, boto3\n"
        "host, port = os.environ['AWS_ENDPOINT_URL'].removeprefix('http://').split(':')\n"
        "s = socket.create_connection((host, int(port)))\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
        "s.send(b'GET /moto-api/data.json HTTP/1.1\\r\\nContent-Length: 5\\r\\n\\r\\n'); s.close()\n"
        "try: boto3.client('ec2').describe_ipam_policies()\n"
        "except Exception: pass\n"
        "time.sleep(1)"
    )
    answer = in_sandbox(sys.executable, "-c", code)
    assert answer.returncode == 0
    assert answer.stderr == ""


def test_users_own_aws_comes_first(tmp_path, in_sandbox):
    own = tmp_path / "aws"
    own.write_text("#!/bin/sh\necho the own one, with $1\n")
    own.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert in_sandbox("aws", "help", PATH=path).stdout == "the own one, with help\n"
    without = os.pathsep.join(["/usr/bin", "/bin"])
    if not shutil.which("aws", path=without):
        assert in_sandbox("aws", "--version", PATH=without).stdout.startswith("aws-cli/1.")


def test_sandbox_listens_on_loopback_only(ec2):
    host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
    assert host[0] == "127.0.0.1"
    with pytest.raises(OSError, match=r"refused|unreachable"):
        socket.create_connection(("127.0.0.2", int(host[1])), timeout=2)


def test_addresses_are_from_the_documentation_range(ec2, network):
    image = public_images.get_image_id(REGION, public_images.UBUNTU_IMAGE)
    interface = {"DeviceIndex": 0, "SubnetId": network["public"], "AssociatePublicIpAddress": True}
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, NetworkInterfaces=[interface])
    ec2.allocate_address(Domain="vpc")
    instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    given = [instance["PublicIpAddress"] for instance in instances]
    given += [address["PublicIp"] for address in ec2.describe_addresses()["Addresses"]]
    assert len(given) == len(set(given)) == 3
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("203.0.113.0/24") for address in given)


def get_error_code(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def test_client_token_outlives_its_instance(ec2):
    launch = {
        "ImageId": public_images.get_image_id(REGION, public_images.UBUNTU_IMAGE),
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": "t",
    }
    first = ec2.run_instances(**launch)["Instances"][0]["InstanceId"]
    assert ec2.run_instances(**launch)["Instances"][0]["InstanceId"] == first
    assert (
        get_error_code(ec2.run_instances, **launch, InstanceType="t3.large") == "IdempotentParameterMismatch"
    )
    ec2.terminate_instances(InstanceIds=[first])
    assert get_error_code(ec2.run_instances, **launch) == "IdempotentInstanceTerminated"
    assert (
        get_error_code(ec2.run_instances, **launch, InstanceType="t3.large") == "IdempotentParameterMismatch"
    )
    without = {key: value for key, value in launch.items() if key != "ClientToken"}
    assert len({ec2.run_instances(**without)["Instances"][0]["InstanceId"] for _ in range(2)}) == 2


def test_resources_in_use_are_not_deleted(ec2, cluster, network):
    assert get_error_code(ec2.delete_security_group, GroupId=cluster["group"]) == "DependencyViolation"
    assert get_error_code(ec2.delete_subnet, SubnetId=network["public"]) == "DependencyViolation"
    assert get_error_code(ec2.delete_vpc, VpcId=network["vpc"]) == "DependencyViolation"
    [gateway] = ec2.describe_internet_gateways()["InternetGateways"]
    detach = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": network["vpc"]}
    assert get_error_code(ec2.detach_internet_gateway, **detach) == "DependencyViolation"


def test_stack_with_a_used_group_is_not_deleted(ec2, cloudformation, cluster, network):
    image = public_images.get_image_id(REGION, public_images.UBUNTU_IMAGE)
    interface = {"DeviceIndex": 0, "SubnetId": network["public"], "Groups": [cluster["group"]]}
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, NetworkInterfaces=[interface])
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    [stack] = cloudformation.describe_stacks(StackName="pcluster-ubuntu")["Stacks"]
    assert stack["StackStatus"] == "DELETE_FAILED"
    ec2.terminate_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    assert get_error_code(cloudformation.describe_stacks, StackName="pcluster-ubuntu") == "ValidationError"


def test_deleted_stack_leaves_nothing(ec2, cloudformation, account):
    before = list_resources(REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    template = public_images.NETWORK_TEMPLATE.read_text()
    given = {
        "VpcId": vpc,
        "InternetGatewayId": "",
        "PublicCIDR": "10.0.0.0/24",
        "PrivateCIDR": "10.0.16.0/20",
    }
    given["AvailabilityZone"] = "eu-west-2a"
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    cloudformation.create_stack(StackName="n", TemplateBody=template, Parameters=parameters)
    made = {thing.kind for thing in list_resources(REGION) - before}
    assert made >= {"VPC", "subnet", "internet gateway", "NAT gateway", "Elastic IP", "route table", "stack"}
    cloudformation.delete_stack(StackName="n")
    ec2.delete_vpc(VpcId=vpc)
    assert list_resources(REGION) == before


def test_each_region_has_the_public_images(account):
    for region in "us-east-1", "ap-southeast-2":
        for parameter, name in public_images.UBUNTU_PARAMETERS.items():
            image_id = client("ssm", region).get_parameter(Name=parameter)["Parameter"]["Value"]
            [image] = client("ec2", region).describe_images(ImageIds=[image_id])["Images"]
            assert image["Name"] == name
            assert image["Architecture"] == ("arm64" if "/arm64/" in parameter else "x86_64")


def test_stack_events_are_in_order(cloudformation, monkeypatch):
    monkeypatch.setattr(stacks, "SECONDS_PER_RESOURCE", 0.1)
    monkeypatch.setattr(stacks, "MIN_SLOW_RESOURCES", 1)
    resources = {
        f"Handle{number}": {"Type": "AWS::CloudFormation::WaitConditionHandle"} for number in range(10)
    }
    cloudformation.create_stack(StackName="slow", TemplateBody=json.dumps({"Resources": resources}))
    told = []
    while not told or told[-1][0] == "CREATE_IN_PROGRESS":
        status = cloudformation.describe_stacks(StackName="slow")["Stacks"][0]["StackStatus"]
        events = cloudformation.describe_stack_events(StackName="slow")["StackEvents"]
        told.append((status, sum(event["ResourceStatus"] == "CREATE_COMPLETE" for event in events)))
    numbers = [number for _, number in told]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 5
    assert told[-1] == ("CREATE_COMPLETE", 11)


def test_compute_fleet_changes_step_by_step(ec2):
    dynamodb = client("dynamodb", REGION)
    table = {"AttributeName": "Id", "KeyType": "HASH"}, {"AttributeName": "Id", "AttributeType": "S"}
    name, key = "parallelcluster-x", {"Id": {"S": "COMPUTE_FLEET"}}
    dynamodb.create_table(
        TableName=name, KeySchema=[table[0]], AttributeDefinitions=[table[1]], BillingMode="PAY_PER_REQUEST"
    )
    dynamodb.put_item(TableName=name, Item={**key, "Data": {"M": {"status": {"S": "STOP_REQUESTED"}}}})
    seen = [dynamodb.get_item(TableName=name, Key=key)["Item"]["Data"]["M"]["status"]["S"] for _ in range(3)]
    assert seen == ["STOPPING", "STOPPED", "STOPPED"]


def test_stack_adopts_an_existing_log_group(cloudformation):
    group = "{Type: AWS::Logs::LogGroup, DeletionPolicy: Retain, Properties: {LogGroupName: /aws/parallelcluster/x-202611240000}}"
    for _ in range(2):
        stack = cloudformation.create_stack(StackName="x", TemplateBody=f"Resources: {{Group: {group}}}")[
            "StackId"
        ]
        assert (
            cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
        )
        cloudformation.delete_stack(StackName=stack)
        assert (
            cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
        )
