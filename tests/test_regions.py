import json
import os
import re
from pathlib import Path

import boto3
import pytest

from slurm_cluster import cli
from slurm_cluster.aws import clients, jwt_secret, permissions, script_bucket, uqle_instance
from slurm_cluster.config import regions
from slurm_cluster.errors import ClusterError
from tests.support import ROOT, in_process
from tests.support.task_runner import get_output
from tests.support.valid_files import GOOD_TEMP_CONFIG

PARAMETERS, TEMP_CONFIG = Path("config-parameters.json"), Path("temp-config.yml")


@pytest.fixture(autouse=True)
def no_region(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")


def resolved():
    in_files = regions.read_file_region(PARAMETERS, TEMP_CONFIG)
    return regions.resolve_region(
        in_files, os.environ, boto3.Session().region_name, clients.list_region_names()
    )


def test_files_win_over_environment_and_environment_over_profile(monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert resolved() == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    assert resolved() == "us-east-2"
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert resolved() == "us-east-1"
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG)
    assert resolved() == "eu-west-2"
    TEMP_CONFIG.unlink()
    PARAMETERS.write_text(json.dumps({"AWS_REGION": "eu-central-1"}))
    assert resolved() == "eu-central-1"


def test_placeholder_is_no_region():
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG)
    PARAMETERS.write_text(json.dumps({"AWS_REGION": "<Region in temp-config.yml>"}))
    assert resolved() == "eu-west-2"


def test_contradicting_files_are_refused():
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG)
    PARAMETERS.write_text(json.dumps({"AWS_REGION": "us-east-1"}))
    with pytest.raises(
        ClusterError, match=r"us-east-1 in config-parameters.json, and Region is eu-west-2 in temp-config.yml"
    ):
        resolved()


def test_missing_region_names_the_next_step():
    with pytest.raises(ClusterError, match="No AWS region is set"):
        resolved()


def test_invalid_region_is_named(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "london; rm -rf")
    with pytest.raises(ClusterError, match="london"):
        resolved()


# --- partitions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", ["cn-north-1", "cn-northwest-1"])
def test_china_is_refused(monkeypatch, region):
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(ClusterError, match=f"{region}. Regions in China are not supported"):
        resolved()


@pytest.mark.parametrize(
    ("region", "partition", "dns_suffix"),
    [
        ("eu-west-2", "aws", "amazonaws.com"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
    ],
)
def test_arns_and_host_names_are_of_the_regions_partition(monkeypatch, region, partition, dns_suffix):
    monkeypatch.setenv("AWS_REGION", region)
    assert resolved() == region
    target = uqle_instance.LaunchTarget("one", region, "", "sg-1", "subnet-1", True, "fs-1")
    assert f"FILE_SYSTEM='fs-1.efs.{region}.{dns_suffix}'" in uqle_instance.render_user_data(
        target, "/shared"
    )
    scope = permissions.PolicyScope("one", region, "123456789012")
    policies = [permissions.load_policy(path, scope) for path in permissions.FILES]
    tls_policy = script_bucket.build_tls_policy("a-bucket", region)
    written = json.dumps([*policies, tls_policy, jwt_secret.get_policy_arn("one", "123456789012", region)])
    assert set(re.findall(r"arn:([^:]+):", written)) == {partition}


def test_no_partition_is_hard_coded():
    """Except the one that load_policy replaces, and a service that all partitions share."""
    found = {
        (path.name, match)
        for path in [*(ROOT / "slurm_cluster").rglob("*.py"), ROOT / "config.template.yml"]
        for match in re.findall(r"arn:aws:|amazonaws\.com", path.read_text())
    }
    assert found == {("permissions.py", "arn:aws:"), ("public_address.py", "amazonaws.com")}


def test_unreadable_aws_files_are_named(monkeypatch, tmp_path):
    loop = tmp_path / "config"
    loop.symlink_to(loop)  # not even root opens it
    for variable in regions.PROFILE_FILES:
        with pytest.raises(ClusterError, match=f"Cannot read {loop}: "):
            regions.refuse_unreadable_profile({variable: str(loop)})
    with pytest.raises(ClusterError, match="Is a directory"):
        regions.refuse_unreadable_profile({"AWS_CONFIG_FILE": str(tmp_path)})
    os.mkfifo(tmp_path / "fifo")
    regions.refuse_unreadable_profile({"AWS_CONFIG_FILE": str(tmp_path / "fifo")})  # boto3 ignores it
    regions.refuse_unreadable_profile({"AWS_CONFIG_FILE": str(tmp_path / "absent")})


# --- the files and the environment differ -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "prefix"),
    [
        ({"AWS_REGION": "us-east-1"}, "AWS_REGION=eu-west-2"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "AWS_DEFAULT_REGION=eu-west-2"),
        ({"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "us-east-1"}, "AWS_DEFAULT_REGION=eu-west-2"),
        (
            {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"},
            "AWS_REGION=eu-west-2 AWS_DEFAULT_REGION=eu-west-2",
        ),
    ],
)
def test_conflict_shows_the_command_that_resolves_it(environment, prefix):
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG)
    in_files = regions.read_file_region(PARAMETERS, TEMP_CONFIG)
    conflict = regions.describe_conflict(in_files, environment, "down")
    assert f"\n  {prefix} invoke down\n" in conflict
    resolved = environment | dict(setting.split("=") for setting in prefix.split())
    assert not regions.describe_conflict(in_files, resolved, "down")
    assert not regions.describe_conflict(regions.FileRegion(), environment, "down")


def test_changing_tasks_refuse_a_conflict_and_reading_tasks_warn(account, invoke):
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG)
    for variable in regions.VARIABLES:
        printed = get_output(invoke("create-key-pair", **{variable: "us-east-1"}), 1)
        assert f"temp-config.yml is for eu-west-2, but {variable} is us-east-1." in printed
        assert f"  {variable}=eu-west-2 invoke create-key-pair" in printed
        answer = invoke("status", **{variable: "us-east-1"})
        assert answer.returncode == 0
        assert answer.stderr.startswith(
            f"Warning: temp-config.yml is for eu-west-2, but {variable} is us-east-1."
        )
        assert answer.stdout.startswith("Cluster pcluster-ubuntu in eu-west-2")


def test_profile_region_is_no_conflict(account, invoke, tmp_path):
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG)
    (tmp_path / "config").write_text("[default]\nregion = us-east-1\n")
    assert "Created the key pair" in get_output(
        invoke("create-key-pair", AWS_CONFIG_FILE=str(tmp_path / "config"))
    )


def test_unknown_region_is_refused(account, invoke):
    for files in ("", GOOD_TEMP_CONFIG):
        TEMP_CONFIG.write_text(files) if files else None
        for variable in regions.VARIABLES:
            printed = get_output(invoke("status", **{variable: "eu-wst-2"}), 1)
            assert f"{variable} is eu-wst-2. boto3 knows no such region. Did you mean eu-west-2?" in printed
    TEMP_CONFIG.write_text(GOOD_TEMP_CONFIG.replace("eu-west-2", "eu-west-9"))
    assert "The region in temp-config.yml is eu-west-9." in get_output(invoke("status"), 1)


def test_unknown_region_of_the_profile_is_named(monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\nregion = eu-wst-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ClusterError, match=r"The region of the AWS profile is eu-wst-2\."):
        resolved()


@pytest.mark.parametrize("unused", ["london", "eu-wst-2", "cn-north-1"])
def test_only_the_variable_that_counts_must_be_valid(monkeypatch, unused):
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", unused)
    assert resolved() == "eu-west-2"


def test_read_only_tasks_are_those_that_change_nothing():
    steps = [step for step in vars(in_process.TASKS).values() if isinstance(step, cli.Step)]
    assert {step.name for step in steps if step.read_only} == {
        *("check", "picture", "ssh", "status", "token", "tunnel")
    }
