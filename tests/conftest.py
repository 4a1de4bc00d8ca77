"""Every test runs in the emulated AWS, one for each worker, emptied before each test: none can reach a real account."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sandbox
from sandbox import stacks
from sandbox.api_calls import client
from sandbox.public_images import PCLUSTER_VERSION
from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import clients
from slurm_cluster.project import Project
from tests.walker import Walker

ROOT = Path(__file__).parent.parent
REGION = "eu-west-2"
SETTINGS = yaml.safe_load((ROOT / "invoke.yaml").read_text())


@pytest.fixture(scope="session", autouse=True)
def emulated_aws() -> Iterator[None]:
    with sandbox.emulated_aws():
        yield


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in os.environ if name.startswith("INVOKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def own_session() -> Iterator[None]:
    """A session of AWS for a test that changes who the person is; the others share one, which reads AWS's descriptions once."""
    clients.get_session.cache_clear()
    yield
    clients.get_session.cache_clear()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty account, in which nothing takes time."""
    sandbox.reset()
    monkeypatch.setattr(stacks, "SECONDS_PER_RESOURCE", 0)
    monkeypatch.setattr(stacks, "MIN_DELETION_SECONDS", 0)


@pytest.fixture
def project(account: None) -> Project:
    return Project(SETTINGS)


@pytest.fixture
def ec2(account: None) -> Any:
    return client("ec2", REGION)


@pytest.fixture
def cloudformation(account: None) -> Any:
    return client("cloudformation", REGION)


@pytest.fixture(scope="session")
def walker(emulated_aws: None) -> Iterator[Walker]:
    started = Walker()
    yield started
    started.close()


@pytest.fixture
def invoke(walker: Walker, account: None) -> Walker:
    """Run invoke as a person does: a process of its own in the current folder."""
    return walker


@pytest.fixture
def key_pair(ec2: Any) -> Path:
    """A key pair of the cluster's name, with its private half here."""
    from slurm_cluster.aws import key_pair

    key_pair.create_key_pair(ec2, "pcluster-ubuntu")
    return key_pair.get_private_key_path("pcluster-ubuntu")


@pytest.fixture
def network(key_pair: Path, ec2: Any, cloudformation: Any) -> dict[str, str]:
    """The network that the wizard makes, and the temp-config.yml that it leaves, without its questions."""
    return lay_network(ec2, cloudformation)


def lay_network(
    ec2: Any, cloudformation: Any, cluster: str = "pcluster-ubuntu", began: str = "20261124000000"
) -> dict[str, str]:
    """Make the network of a cluster, and the file that names it."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    tags = [
        {"Key": "Name", "Value": f"ParallelClusterVPC-{began}"},
        {"Key": "slurm-cluster", "Value": cluster},
    ]
    ec2.create_tags(Resources=[vpc], Tags=tags)
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    host = f"https://{REGION}-aws-parallelcluster.s3.{REGION}.amazonaws.com"
    parameters = {
        "AvailabilityZone": f"{REGION}a",
        "InternetGatewayId": "",
        "VpcId": vpc,
        "PublicCIDR": "10.0.0.0/24",
        "PrivateCIDR": "10.0.16.0/20",
    }
    cloudformation.create_stack(
        StackName=f"parallelclusternetworking-pubpriv-{began}",
        TemplateURL=f"{host}/parallelcluster/{PCLUSTER_VERSION}/templates/networking/public-private-{PCLUSTER_VERSION}.cfn.json",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    stack = cloudformation.describe_stacks(StackName=f"parallelclusternetworking-pubpriv-{began}")["Stacks"][
        0
    ]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    public, private = outputs["PublicSubnetId"], outputs["PrivateSubnetId"]
    configuration = {
        "Region": REGION,
        "HeadNode": {"Ssh": {"KeyName": cluster}, "Networking": {"SubnetId": public}},
        "Scheduling": {"SlurmQueues": [{"Name": "queue1", "Networking": {"SubnetIds": [private]}}]},
    }
    Path("temp-config.yml").write_text(yaml.safe_dump(configuration))
    return {"vpc": vpc, "public": public, "private": private}


@pytest.fixture
def cluster(network: dict[str, str], cloudformation: Any, ec2: Any) -> dict[str, str]:
    """A stack with the logical ids, outputs and tags by which a cluster of ParallelCluster is known, made in a second."""
    return make_cluster("pcluster-ubuntu", network, cloudformation)


def run_fleet(name: str) -> None:
    """Make the table in which the compute fleet's status is, as it is when the fleet runs."""
    dynamodb, table = client("dynamodb", REGION), f"parallelcluster-{name}"
    keys = [{"AttributeName": "Id", "KeyType": "HASH"}], [{"AttributeName": "Id", "AttributeType": "S"}]
    dynamodb.create_table(
        TableName=table, KeySchema=keys[0], AttributeDefinitions=keys[1], BillingMode="PAY_PER_REQUEST"
    )
    data = {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": {"S": "2026-11-24 00:00:00+00:00"}}
    dynamodb.put_item(TableName=table, Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": data}})


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The whole path and back, walked once for all tests of the group `walk`."""
    from tests.walk import walk

    return walk(tmp_path_factory.mktemp("walk"))
