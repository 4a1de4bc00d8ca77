import pytest

from slurm_cluster.project import Project
from slurm_cluster.views import checks
from tests.support import ROOT, SETTINGS

TEMPLATE = ROOT / "config.template.yml"


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


def test_small_quotas_fail_and_unreadable_ones_are_unknown(project):
    class Quotas:
        def get_service_quota(self, ServiceCode, QuotaCode):  # noqa: N803 - boto3's names
            if QuotaCode == "L-0263D0A3":
                return project.service_quotas.get_service_quota(ServiceCode="no-such", QuotaCode="L-1")
            return {"Quota": {"Value": 5.0 if QuotaCode == "L-1216C47A" else 50.0}}

    assert [check.result for check in checks.check_quotas(Quotas())] == ["FAIL", "PASS", "UNKNOWN"]


def test_instance_types_come_from_the_template():
    assert checks.list_instance_types(TEMPLATE) == ["t3.xlarge", "t3.large"]
