from pathlib import Path

import pytest
import yaml

from sandbox.public_images import get_image_id
from slurm_cluster.config import parameters
from slurm_cluster.project import Project
from slurm_cluster.views import checks
from tests.support import ROOT, SETTINGS
from tests.support.valid_files import render_configuration

TEMPLATE, PARAMETERS = ROOT / "config.template.yml", Path("config-parameters.json")


def results(**settings):
    found = list(checks.run_checks(Project(SETTINGS | {"ssh_from": "203.0.113.7/32"} | settings), TEMPLATE))
    named = {check.name: check for check in found if check.name not in ("quota", "permissions")}
    return named, [check for check in found if check.name == "quota"]


def test_ready_account_passes(key_pair):
    named, quotas = results()
    assert {check.result for check in named.values()} == {"PASS"}
    assert "account 123456789012" in named["credentials"].detail
    assert str(key_pair) in named["key pair"].detail
    assert "t3.large, t3.xlarge in eu-west-2a" in named["instance types"].detail
    assert {quota.result for quota in quotas} <= {"PASS", "UNKNOWN"}


def test_missing_resources_fail_with_the_next_step(account, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    named, _ = results()
    assert named["key pair"].result == named["Node.js"].result == "FAIL"
    assert "invoke create-key-pair" in named["key pair"].detail
    assert "https://nodejs.org" in named["Node.js"].detail


def test_types_without_a_common_zone_fail(key_pair):
    uqle = SETTINGS["uqle"] | {"instance_type": "x9.huge"}
    assert results(uqle=uqle)[0]["instance types"].result == "FAIL"


def test_no_request_without_credentials(account, own_session, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    named, quotas = results()
    assert named["credentials"].result == "FAIL"
    assert "aws configure" in named["credentials"].detail
    assert "key pair" not in named
    assert quotas == []


@pytest.mark.parametrize(
    ("ssh_from", "result"), [("", "WARN"), ("0.0.0.0/0", "WARN"), ("203.0.113.7/32", "PASS")]
)
def test_ssh_source_is_checked(key_pair, ssh_from, result):
    assert results(ssh_from=ssh_from)[0]["SSH from"].result == result


class Quotas:
    """The quotas of an account: each is 5, and one cannot be read."""

    def __init__(self, service_quotas):
        self.service_quotas = service_quotas

    def get_service_quota(self, ServiceCode, QuotaCode):  # noqa: N803 - boto3's names
        if QuotaCode == "L-0263D0A3":
            return self.service_quotas.get_service_quota(ServiceCode="no-such", QuotaCode="L-1")
        return {"Quota": {"Value": 5.0}}


def test_small_quotas_fail_and_unreadable_ones_are_unknown(key_pair, project):
    project.service_quotas = Quotas(project.service_quotas)
    quotas = [check for check in checks.run_checks(project, TEMPLATE) if check.name == "quota"]
    assert [(check.result, check.detail) for check in quotas] == [
        (
            "FAIL",
            "L-1216C47A allows 5; 10 vCPUs of on-demand standard instances needed. "
            "Request an increase in Service Quotas.",
        ),
        ("PASS", "L-F678F1CE allows 5; 1 VPC needed"),
        ("UNKNOWN", "cannot read L-0263D0A3; 2 Elastic IPs needed"),
    ]


def test_sizes_in_the_parameter_file_count(key_pair):
    parameters.write_parameters(PARAMETERS, {"COMPUTE_TYPE": "c7i.4xlarge", "MAX_NODES": "20"})
    named, quotas = results()
    assert named["sizes"].detail == "at most 1 t3.xlarge, 20 c7i.4xlarge, from config.template.yml"
    assert "20 private addresses are needed" in named["addresses"].detail
    assert "326 vCPUs of on-demand standard instances" in quotas[0].detail  # 4 + 20 x 16 + 2


def test_config_is_used_instead_of_the_template_if_it_exists(key_pair):
    config = render_configuration(MAX_NODES="7")
    Path("config.yml").write_text(yaml.safe_dump(config))
    assert results()[0]["sizes"].detail == "at most 1 t3.xlarge, 7 t3.large, from config.yml"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config-parameters.json", '{"MAX_NODES": 20}'),
        ("config-parameters.json", '{"COMPUTE_TYPE": "t3 large"}'),
        ("config.yml", "Region: ["),
    ],
)
def test_sizes_that_cannot_be_read_fail_with_the_file(key_pair, file, content):
    Path(file).write_text(content)
    named, _ = results()
    assert named["sizes"].result == "FAIL"
    assert file in named["sizes"].detail


def test_system_without_apt_fails(project, tmp_path):
    other = tmp_path / "config.template.yml"
    other.write_text((ROOT / "config.template.yml").read_text().replace("ubuntu2404", "rocky9"))
    [fault] = checks.check_boot_scripts(checks.read_configs(project, other))
    assert (fault.name, fault.result) == ("boot scripts", "FAIL")
    assert "rocky9" in fault.detail
    assert list(checks.check_boot_scripts(checks.read_configs(project, TEMPLATE))) == []


def test_images_are_those_of_the_configuration(key_pair, ec2):
    """The image has the head node's system and processor, or is the one in the file."""
    config = render_configuration(HEAD_NODE_TYPE="t4g.xlarge", COMPUTE_TYPE="c7g.large")
    config["Image"]["Os"] = "ubuntu2204"
    Path("config.yml").write_text(yaml.safe_dump(config))
    name = "aws-parallelcluster-3.16.1-ubuntu-2204-lts-hvm-arm64-1"
    assert get_image_id("eu-west-2", name) in results()[0]["images"].detail
    config["Image"]["Os"] = "rocky9"
    Path("config.yml").write_text(yaml.safe_dump(config))
    image = results()[0]["images"]
    assert image.result == "FAIL"
    assert "aws-parallelcluster-3.16.1-rocky9-hvm-arm64" in image.detail
    config["Image"]["CustomAmi"] = "ami-0123456789abcdef0"
    Path("config.yml").write_text(yaml.safe_dump(config))
    assert "nodes ami-0123456789abcdef0, UQLE" in results()[0]["images"].detail


def test_configuration_without_rest_api_is_warned_of(key_pair):
    config = render_configuration()
    del config["HeadNode"]["CustomActions"]
    Path("config.yml").write_text(yaml.safe_dump(config))
    warning = results()[0]["configuration"]
    assert (warning.result, warning.detail[:11]) == ("WARN", "No REST API")
