"""The real wizard: what it leaves when it is interrupted or fails, and what the tasks do not touch."""

import re
from datetime import datetime, timezone
from pathlib import Path

from sandbox import faults
from slurm_cluster.aws import network
from tests.support.task_runner import get_output


def test_interrupted_wizard_keeps_another_users_network(ec2, invoke, key_pair):
    """Kill B's wizard before its own VPC exists, at the moment when A's wizard creates one."""
    of_a = []

    def make_network_of_a():
        name = f"ParallelClusterVPC-{datetime.now(timezone.utc).strftime(network.TIMESTAMP)}"
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": name}])
        of_a.append(vpc)
        invoke.kill()

    with faults.inject(
        faults.kill_caller(make_network_of_a, after=False),
        then=faults.close_connection,
        only="CreateVpc",
        at=1,
    ):
        assert invoke("configure").returncode == -9
    [vpc] = of_a
    refused = invoke("configure")
    assert refused.returncode == 1
    assert f"--resources {vpc} --tags Key=slurm-cluster,Value=pcluster-ubuntu" in refused.printed
    assert "If none is yours, remove temp-config.yml.begun" in refused.printed
    assert vpc in invoke("delete-network").printed
    assert invoke("down", "--yes", "--all").returncode == 0
    assert [tag["Key"] for tag in ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Tags"]] == ["Name"]
    Path("temp-config.yml.begun").unlink()
    assert invoke("configure").returncode == 0
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]


def test_failed_wizard_leaves_a_vpc_that_delete_network_deletes(key_pair, ec2, invoke, monkeypatch):
    from sandbox.ec2 import SandboxEC2Backend

    def refuse(*_, **__):
        raise RuntimeError("no more subnets")

    monkeypatch.setattr(SandboxEC2Backend, "create_subnet", refuse)
    printed = get_output(invoke("configure"), 1)
    [vpc] = re.findall(r"It left (vpc-\w+): `invoke delete-network` deletes it", printed)
    assert "`invoke delete-network` deletes what is left of it." in get_output(invoke("configure"), 1)
    assert f"Deleted the network {vpc}" in get_output(invoke("delete-network"))
    assert [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]] == []
