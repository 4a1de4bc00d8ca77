"""Run the tasks on an account and a folder of an older version. README.md says how they were recorded."""

import hashlib
import json
import os
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import jmespath
import pytest
import yaml

from sandbox import Resource, list_resources, record, small_cluster
from sandbox.api_calls import client
from sandbox.public_images import PCLUSTER_VERSION, UBUNTU_IMAGE, get_image_id
from sandbox.small_cluster import make_cluster, start_fleet
from slurm_cluster.config import parameters
from tests.support import REGION
from tests.support.prepared_account import prepare_network

DATA = Path(__file__).parent
CLUSTER = "pcluster-ubuntu"
PRIVATE_KEY = ".ssh/pcluster-ubuntu.pem"  # in the home folder
ARTIFACTS = f"parallelcluster/{PCLUSTER_VERSION}/clusters/{CLUSTER}-0123456789abcdef"
BUCKET_OF_PCLUSTER = "parallelcluster-a886058fcd5cd5a8-v1-do-not-delete"
# A stand-in for ssh that logs its arguments. It fails when the secret is named: no Slurm answers here.
SSH = """#!/bin/sh
cat >/dev/null
echo "$*" >>"$SSH_LOG"
case "$*" in *arn:aws:secretsmanager:*) exit 73 ;; esac
"""


def fill(value: Any, ids: dict[str, str]) -> Any:
    """Return a recorded value with <NAME> replaced by that id, and <file.ext> by the text of that file."""
    if isinstance(value, dict):
        return {name: fill(part, ids) for name, part in value.items()}
    if isinstance(value, list):
        return [fill(part, ids) for part in value]
    if not isinstance(value, str):
        return value
    text = re.sub(r"<([a-z/-]+\.[a-z]+)>", lambda found: (DATA / found[1]).read_text(), value)
    return re.sub(r"<([A-Z_]+)>", lambda found: ids[found[1]], text)


def replay(state: str, ids: dict[str, str]) -> None:
    """Repeat the recorded calls of a state, and collect the ids that AWS returns."""
    for recorded in yaml.safe_load((DATA / "account.yml").read_text())[state]:
        service, operation = recorded["call"].split(".")
        answer = getattr(client(service, REGION), operation)(**fill(recorded["arguments"], ids))
        ids |= {name: jmespath.search(path, answer) for name, path in recorded.get("id", {}).items()}


@pytest.fixture
def disconnected(ec2, cloudformation) -> dict[str, str]:
    """Restore the account and the folder as they were after `disconnect-uqle`.

    The quick helpers make the network and the cluster, because pcluster created them, not the old version.

    Returns:
        The ids, by the names of their placeholders.
    """
    network = prepare_network(ec2, cloudformation)
    tags = ec2.describe_vpcs(VpcIds=[network["vpc"]])["Vpcs"][0]["Tags"]
    ec2.delete_tags(Resources=[network["vpc"]], Tags=tags)  # the recorded ones follow
    template = small_cluster.TEMPLATE.replace("  ConfigVersion: {Type: String}\n", "")  # the newest one
    for name, value in ("ArtifactS3RootDirectory", ARTIFACTS), ("ResourcesS3Bucket", BUCKET_OF_PCLUSTER):
        template = template.replace(
            f"{name}: {{Type: String}}", f"{name}: {{Type: String, Default: {value}}}"
        )
    cluster = make_cluster(CLUSTER, network, cloudformation, template, config=None)
    private_key = Path.home() / PRIVATE_KEY
    private_key.parent.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private_key], check=True)
    outputs = cloudformation.describe_stacks(StackName=CLUSTER)["Stacks"][0]["Outputs"]
    stack = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    ids = {
        "VPC": network["vpc"],
        "PUBLIC_SUBNET": network["public"],
        "PRIVATE_SUBNET": network["private"],
        "GROUP": cluster["group"],
        "FILE_SYSTEM": stack["EFSIds"],
        "HEAD_NODE": stack["HeadNodePrivateDnsName"],
        "ARTIFACTS": ARTIFACTS,
        "IMAGE": get_image_id(REGION, UBUNTU_IMAGE),
        "KEY": secrets.token_urlsafe(32),
        "PUBLIC_KEY": private_key.with_suffix(".pem.pub").read_text(),
    }
    for name, spent in ("FIRST_TOKEN", ""), ("SECOND_TOKEN", "FIRST_TOKEN"):
        ids[name] = hashlib.sha256(f"{cluster['stack']} {ids.get(spent, '')}".encode()).hexdigest()[:32]
    replay("after disconnect-uqle", ids)
    for file in (DATA / "folder").iterdir():
        Path(file.name).write_text(fill(file.read_text(), ids))
        Path(file.name).chmod(0o600)
    return ids


@pytest.fixture
def connected(disconnected) -> dict[str, str]:
    """Restore the account and the folder as they were with a UQLE machine. Return the ids."""
    replay("after connecting again", disconnected)
    return disconnected


@pytest.fixture
def empty(account) -> set[Resource]:
    return set(list_resources(REGION))


def run(invoke, *task: str, status: int = 0, **environment: str) -> str:
    """Run a task, and return what it printed."""
    done = invoke(*task, **environment)
    assert done.returncode == status, done.printed
    return done.printed


def count(calls: list[record.RecordedCall], operation: str) -> int:
    return [call.operation for call in calls].count(operation)


def test_status_finds_everything(connected, invoke):
    start_fleet(CLUSTER)
    found = json.loads(run(invoke, "status", "--json"))
    ids = {part["id"] for part in found["parts"]}
    assert "" not in ids, found
    expected = ("VPC", "PUBLIC_SUBNET", "PRIVATE_SUBNET", "GROUP", "FILE_SYSTEM", "INSTANCE")
    assert {connected[name] for name in expected} <= ids
    assert found["next"] == "invoke verify"
    assert connected["INSTANCE"] in run(invoke, "status")


@pytest.mark.xdist_group("upgrade")  # groups start early, and this test takes longest
def test_update_cluster_has_nothing_to_change(connected, invoke):
    with record.record_calls() as calls:
        assert "nothing to do" in run(invoke, "update-cluster")
    assert count(calls, "UpdateStack") == 0


def test_connect_uqle_finds_the_machine(connected, invoke):
    with record.record_calls() as calls:
        assert connected["INSTANCE"] in run(invoke, "connect-uqle")
    assert count(calls, "RunInstances") == 0


def test_the_first_launch_after_a_disconnect_succeeds(disconnected, invoke):
    with record.record_calls() as calls:
        run(invoke, "connect-uqle")
    assert count(calls, "RunInstances") == 1  # the group's tag names the used token


def test_up_keeps_what_exists(connected, invoke):
    before = list_resources(REGION)
    files = {
        path: yaml.safe_load(path.read_text()) for path in map(Path, ("config-parameters.json", "config.yml"))
    }
    run(invoke, "up", "--yes")
    # this version adds sizes with defaults, and a setting for update-cluster
    files[Path("config-parameters.json")] |= dict.fromkeys(parameters.SIZES, "")
    slurm = files[Path("config.yml")]["Scheduling"]["SlurmSettings"]
    slurm["CustomSlurmSettings"].append({"DisableRootJobs": "YES"})
    after = list_resources(REGION)
    assert before <= after
    assert {thing.kind for thing in after - before} <= {"object"}  # today's boot scripts, for new clusters
    assert {path: yaml.safe_load(path.read_text()) for path in files} == files
    run(invoke, "handover", "--with-key")
    old, new = fill((DATA / "folder" / "uqle.env").read_text(), connected), Path("uqle.env").read_text()
    assert new.startswith(old)
    names = [
        line.partition("=")[0] for line in new.removeprefix(old).splitlines() if not line.startswith("#")
    ]
    assert names == ["UQLE_API_HOST", "UQLE_CLI_TAG", "UQLE_CLI_TOKEN"]


def test_rotate_jwt_key_reaches_the_head_node(connected, invoke, ec2, tmp_path):
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run(invoke, "rotate-jwt-key", status=1, PATH=path, SSH_LOG=str(tmp_path / "log"))
    key = client("secretsmanager", REGION).get_secret_value(SecretId=connected["SECRET"])["SecretString"]
    assert key != connected["KEY"]
    head_nodes = [{"Name": "tag:parallelcluster:node-type", "Values": ["HeadNode"]}]
    [head_node] = ec2.describe_instances(Filters=head_nodes)["Reservations"][0]["Instances"]
    login = f"-i {Path.home() / PRIVATE_KEY} ubuntu@{head_node['PublicIpAddress']} "
    commands = (tmp_path / "log").read_text().splitlines()
    assert [command for command in commands if login not in command] == []
    assert connected["SECRET"] in commands[-1]


def test_down_removes_everything(empty, connected, invoke):
    run(invoke, "down", "--yes", "--all")
    left = list_resources(REGION) - empty
    assert {thing.kind for thing in left} == {"key pair", "bucket", "object", "secret to be deleted"}
    assert [thing.id for thing in left if thing.kind == "bucket"] == [BUCKET_OF_PCLUSTER]
    assert not Path("temp-config.yml").exists()
