"""`invoke status --all-regions` finds resources in other regions, and of other clusters."""

import json

from sandbox import faults
from sandbox.api_calls import client
from slurm_cluster.aws import clients, jwt_secret, uqle_instance
from slurm_cluster.steps import uqle
from slurm_cluster.views import all_regions
from tests.support import REGION
from tests.support.in_process import run_task


def test_everything_of_all_clusters_is_found(project, cluster, network, monkeypatch):
    abroad, efs = client("ec2", "us-east-1"), client("efs", "ap-south-1")
    manager = client("secretsmanager", "us-east-1")
    jwt_secret.ensure_secret(manager, "abroad-us-east-1-slurm-jwt-key", "abroad")
    jwt_secret.ensure_secret(manager, "deleted", "abroad")
    manager.delete_secret(SecretId="deleted")
    manager.create_secret(Name="of another program", SecretString="x")
    run_task("upload_bootstrap")
    vpc = abroad.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    abroad.create_tags(Resources=[vpc], Tags=[{"Key": clients.TAG, "Value": "abroad"}])
    tag = {"Key": "parallelcluster:cluster-name", "Value": "gone"}
    kept = efs.create_file_system(Tags=[tag])["FileSystemId"]
    efs.create_file_system(Tags=[{"Key": "Name", "Value": "of another program"}])
    uqle.create_instance(project)
    machine = uqle_instance.find_instance(project.ec2, project.cluster_name)["InstanceId"]
    regions = [{"RegionName": name} for name in (REGION, "us-east-1", "ap-south-1", "eu-west-1")]
    monkeypatch.setattr(project.ec2, "describe_regions", lambda: {"Regions": regions})  # each takes a while
    found = all_regions.find_in_all_regions(project)
    assert {(item.region, item.kind, item.id, item.cluster) for item in found[1]} == {
        (REGION, "cluster", "pcluster-ubuntu", "pcluster-ubuntu"),
        (REGION, "UQLE machine", machine, "pcluster-ubuntu"),
        (REGION, "network", network["vpc"], "pcluster-ubuntu"),
        ("us-east-1", "network", vpc, "abroad"),
        ("us-east-1", "JWT key", "abroad-us-east-1-slurm-jwt-key", "abroad"),
        (REGION, "boot scripts", project.bucket, ""),
        ("ap-south-1", "retained file system", kept, "gone"),
    }
    monkeypatch.setattr(all_regions, "find_in_all_regions", lambda _: found)  # takes seconds
    lines = run_task("status", False, True)[0].splitlines()
    assert f"  network               {vpc}, of abroad" in lines  # without a NAT gateway, it is not billed
    assert f"$ retained file system  {kept}, of gone, 0.0 GiB" in lines
    assert "$ cluster               pcluster-ubuntu" in lines
    assert "$ JWT key               abroad-us-east-1-slurm-jwt-key, of abroad" in lines
    assert f"  boot scripts          {project.bucket}" in lines
    assert max(map(len, lines)) <= 80
    parsed = json.loads(run_task("status", True, True)[0])
    assert {item["region"] for item in parsed["resources"]} == {REGION, "us-east-1", "ap-south-1"}
    assert REGION in parsed["regions"]


def test_empty_account_is_reported(project, monkeypatch):
    monkeypatch.setattr(all_regions, "find_in_all_regions", lambda _: ([REGION], []))
    assert "There are no clusters, and no resources with the tag slurm-cluster." in "\n".join(
        all_regions.format_all_regions(project)
    )


def test_region_that_cannot_be_read_is_unknown(project):
    denied = faults.fail_with_error("AccessDenied")
    with faults.inject(denied, then=denied, only="DescribeStacks"):
        [finding] = all_regions.find_in_region(REGION)
    assert (finding.region, finding.kind, finding.is_billed) == (REGION, "UNKNOWN", False)
    assert "AWS denies" in finding.detail


def test_regions_read_before_a_refusal_are_shown(project, network):
    denied = faults.fail_with_error("AccessDenied")
    with faults.inject(denied, then=denied, only="ListSecrets"):
        found = all_regions.find_in_region(REGION)
    assert [finding.kind for finding in found] == ["network", "UNKNOWN"]
    assert "AWS denies" in found[1].detail
