import json
from pathlib import Path

import pytest

from slurm_cluster.config import regions
from slurm_cluster.errors import ClusterError
from tests.support.valid_files import GOOD_TEMP_CONFIG as GOOD

PARAMETERS, TEMP_CONFIG = Path("config-parameters.json"), Path("temp-config.yml")


@pytest.fixture(autouse=True)
def no_region(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")


def resolved():
    return regions.resolve_region(PARAMETERS, TEMP_CONFIG)


def test_the_files_come_before_the_environment_and_the_environment_before_the_profile(monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert resolved() == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    assert resolved() == "us-east-2"
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert resolved() == "us-east-1"
    TEMP_CONFIG.write_text(GOOD)
    assert resolved() == "eu-west-2"
    TEMP_CONFIG.unlink()
    PARAMETERS.write_text(json.dumps({"AWS_REGION": "eu-central-1"}))
    assert resolved() == "eu-central-1"


def test_a_placeholder_names_no_region():
    TEMP_CONFIG.write_text(GOOD)
    PARAMETERS.write_text(json.dumps({"AWS_REGION": "<Region in temp-config.yml>"}))
    assert resolved() == "eu-west-2"


def test_two_files_that_contradict_each_other_are_refused():
    TEMP_CONFIG.write_text(GOOD)
    PARAMETERS.write_text(json.dumps({"AWS_REGION": "us-east-1"}))
    with pytest.raises(
        ClusterError, match=r"us-east-1 in config-parameters.json, and Region is eu-west-2 in temp-config.yml"
    ):
        resolved()


def test_no_region_at_all_says_how_to_set_one():
    with pytest.raises(ClusterError, match="No AWS region is set"):
        resolved()


def test_what_is_no_region_and_what_is_no_profile_are_named(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "london; rm -rf")
    with pytest.raises(ClusterError, match="london"):
        resolved()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(ClusterError, match="nobodys"):
        resolved()
