"""A cluster whose compute node does not exist until a job needs it, as in ParallelCluster."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from slurm_cluster.aws import jwt_secret
from slurm_cluster.slurm import key_rotation, ssh
from slurm_cluster.slurm.smoke_job import run_smoke_job
from tests.nodes.support.cluster import (
    KEY,
    KEY_FILE,
    REGION,
    REPOSITORY,
    ComputeNode,
    HeadNode,
    NodeAddresses,
    get_root_file_system,
)
from tests.nodes.support.machine import NETWORK_PREFIX, wait_until
from tests.nodes.support.uqle import AWS_CONFIG

NODE = "queue1-dy-t3large-1"
ADDRESSES = NodeAddresses(f"{NETWORK_PREFIX}.4", f"{NETWORK_PREFIX}.5", NODE)
URL = f"http://{ADDRESSES.head}:8082"


@pytest.fixture(scope="module")
def layers():
    return [get_root_file_system("trixie")]


@pytest.fixture(scope="module")
def secret_arn(aws_environment):
    client = boto3.client("secretsmanager", region_name=REGION)
    return client.create_secret(Name="key-of-cloud-nodes", SecretString=KEY)["ARN"]


@pytest.fixture(scope="module")
def head_node(layers, secret_arn, aws_environment) -> Iterator[HeadNode]:
    node = HeadNode(ADDRESSES, layers)
    node.write_file("/root/.aws/config", AWS_CONFIG.format(region=REGION, **aws_environment))
    assert node.run_custom_action("OnNodeStart", secret_arn, HOME="/root").returncode == 0
    node.configure()
    result = node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 0, result.stdout
    yield node
    node.destroy()


@pytest.fixture(scope="module")
def compute_node(layers, head_node):
    """The instance that is launched, and boots, when Slurm resumes the node."""
    resumed = head_node.get_path("/var/spool/slurm.state/resumed")

    def launch() -> ComputeNode:
        wait_until(resumed.exists, 120, "Slurm resumes the node")
        node = ComputeNode(ADDRESSES, layers, head_node)
        assert node.run_custom_action("OnNodeStart").returncode == 0
        node.configure()
        assert node.run_custom_action("OnNodeConfigured").returncode == 0
        return node

    with ThreadPoolExecutor() as pool:
        node = pool.submit(launch)
        yield node
        node.result().destroy()


def read_node_state(head_node):
    return head_node.run_slurm_command("sinfo", "--noheader", "--all", "--format=%T", f"--nodes={NODE}")


def run_verify(head_node):
    return list(run_smoke_job(URL, head_node.get_path(KEY_FILE).read_text(), pause=0.5))


def test_rerun_changes_nothing(head_node):
    state, pids = head_node.read_state(), head_node.read_main_pids()
    result = head_node.run_custom_action("OnNodeConfigured")
    assert "starting" not in result.stdout
    assert (head_node.read_state(), head_node.read_main_pids()) == (state, pids)


def test_verify_waits_for_node_that_is_powered_up(head_node, compute_node):
    """ParallelCluster's prolog and epilog also run for the job."""
    assert head_node.get_path("/var/spool/slurm.state/resumed").exists() is False
    assert read_node_state(head_node) == "idle~"
    lines = run_verify(head_node)
    assert f"on {NODE}: a compute node is booting, which takes minutes" in " ".join(lines)
    assert "COMPLETED, exit status 0" in lines[-1]
    job_id = next(line for line in lines if line.startswith("submit")).split()[2]
    for program in "prolog", "epilog":
        log = compute_node.result().get_path(f"/var/log/{program}")
        wait_until(log.exists, 10, f"the {program} has run")
        assert log.read_text().split() == [job_id]


def test_rotate_key(head_node, compute_node, secret_arn, monkeypatch):
    def run_remote(_jump_host, _identity_file, command, script=""):
        head_node.write_file("/root/script", script)
        return head_node.run("bash", "-c", f"({command}) </root/script", HOME="/root", check=False)

    monkeypatch.setattr(ssh, "run_remote", run_remote)
    client = boto3.client("secretsmanager", region_name=REGION)
    new_key = jwt_secret.create_random_key()
    client.put_secret_value(SecretId=secret_arn, SecretString=new_key)
    script = (REPOSITORY / "bootstrap/on_node_start_ubuntu.sh").read_text()
    key_rotation.install_key("head node", REPOSITORY, secret_arn, script)
    assert "the old key is refused" in key_rotation.verify_rotation(URL, new_key, KEY)
    assert head_node.get_path(KEY_FILE).read_text() == new_key
    assert "COMPLETED, exit status 0" in run_verify(head_node)[-1]
