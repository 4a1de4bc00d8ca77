import json
from types import SimpleNamespace

import pytest

from slurm_cluster.errors import ClusterError
from slurm_cluster.steps import pcluster

SUCCEEDED = json.dumps({"message": "Request would have succeeded, but DryRun flag is set."})
REFUSED = json.dumps(
    {
        "message": "Invalid cluster configuration.",
        "configurationValidationErrors": [
            {"level": "WARNING", "type": "B", "message": "two\n words " + "long " * 30},
            {"level": "ERROR", "type": "A", "message": "no such subnet"},
        ],
    }
)


def test_region_is_passed_except_to_the_wizard():
    assert (
        pcluster.build_command("list-clusters", region="eu-west-2")
        == "pcluster list-clusters --region eu-west-2"
    )
    assert pcluster.build_command("configure", "-c", "a b.yml") == "pcluster configure -c 'a b.yml'"


def test_successful_dry_run_is_recognized():
    assert pcluster.check_dry_run(SUCCEEDED, "") == []
    assert pcluster.check_dry_run("a warning of Python\n" + SUCCEEDED, "") == []


def test_refusal_lists_errors_first_in_80_columns():
    with pytest.raises(ClusterError) as error:
        pcluster.check_dry_run(REFUSED, "")
    lines = str(error.value).splitlines()
    assert lines[0] == "pcluster refused: Invalid cluster configuration."
    assert lines[1] == "  ERROR A: no such subnet"
    assert lines[2].startswith("  WARNING B: two words long")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("stdout", "stderr"), [("", "no credentials"), ("no credentials", ""), ("{broken", "no credentials")]
)
def test_unknown_output_is_passed_on(stdout, stderr):
    with pytest.raises(ClusterError, match="pcluster refused: no credentials"):
        pcluster.check_result(SimpleNamespace(exited=1, stdout=stdout, stderr=stderr))


def test_success_prints_nothing():
    pcluster.check_result(SimpleNamespace(exited=0, stdout="anything", stderr=""))


def test_unreadable_answer_is_not_printed():
    answer = "Unable to parse response (no element found), invalid XML received. Further retries may succeed:\n<VpcId>"
    with pytest.raises(ClusterError) as error:
        pcluster.check_result(SimpleNamespace(exited=1, stdout=json.dumps({"message": answer}), stderr=""))
    first, hint = str(error.value).splitlines()
    assert first == "pcluster refused: Unable to parse response (no element found)"
    assert "Check the network" in hint
