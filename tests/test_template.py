"""Errors in config.template.yml: the message names the template and the line, never config-parameters.json."""

from pathlib import Path

import pytest

from slurm_cluster.config import template
from slurm_cluster.errors import ClusterError
from tests.support import ROOT
from tests.support.valid_files import GOOD_PARAMETERS

FILE, PARAMETERS = Path("config.template.yml"), Path("config-parameters.json")
TEXT = (ROOT / "config.template.yml").read_text()
LAST_LINE = len(TEXT.splitlines())


def refuse(text, **more):
    FILE.write_text(text)
    with pytest.raises(ClusterError) as error:
        template.render_template(FILE, GOOD_PARAMETERS | more, PARAMETERS)
    return str(error.value)


@pytest.mark.parametrize(
    "tag", ["{{ TEAM }}", "{{TEAM}}", "{{{ TEAM }}}", "{{& TEAM }}", "{{# TEAM }}x{{/ TEAM }}"]
)
def test_every_kind_of_name_is_required(tag):
    text = f"{TEXT}Tags:\n  - Key: team\n    Value: '{tag}'\n"
    assert "config-parameters.json: TEAM is missing" in refuse(text)
    assert template.render_template(FILE, GOOD_PARAMETERS | {"TEAM": "x"}, PARAMETERS).endswith(
        "    Value: 'x'\n"
    )


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ("{{{ TEAM.SHORT }}}", "TEAM.SHORT cannot be the name"),
        ("{{# TEAM }}{{ . }}{{/ TEAM }}", ". cannot be the name"),
        ("{{# TEAM }}{{ title }}{{/ TEAM }}", "title cannot be the name"),
        ("{{> other }}", "{{> ... }} would read another file"),
        ("{{= <% %> =}}", "{{= ... =}} changes the delimiters"),
        ("{{{ TEAM }}", "{{{ needs three closing braces"),
        ("{{}}", "cannot be the name"),
        ("{{# TEAM }}", "the section {{# TEAM }} is not closed"),
        ("{{/ TEAM }}", "{{/ TEAM }} does not close the section that is open"),
        ("{{# TEAM }}{{/ OTHER }}", "{{/ OTHER }} does not close"),
        ("{{ TEAM", "a tag is not closed"),
    ],
)
def test_unsupported_tags_are_refused_with_the_line(tag, fault):
    refusal = refuse(f"{TEXT}Tags:\n  - Key: team\n    Value: '{tag}'\n", TEAM="x")
    assert refusal.startswith("config.template.yml: ")
    assert f"line {LAST_LINE + 3}: " in refusal
    assert fault in refusal
    assert "config-parameters.json" not in refusal


def test_several_faults_have_a_line_each():
    assert refuse("{{{ A.B }}}\n{{> C }}\n").splitlines()[1:3] == [
        "  line 1: A.B cannot be the name of a parameter.",
        "  line 2: {{> ... }} would read another file.",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("  DetailedMonitoring: true", "\tDetailedMonitoring: true"),
        ("SharedStorage:", "SharedStorage: ["),
        ("  - Name: shared", "  - Name: 'shared"),
        ("      - BucketName: '{{{ BOOTSTRAP_BUCKET }}}'", "\t- BucketName: '{{{ BOOTSTRAP_BUCKET }}}'"),
        (
            "    S3Access:{{^ BOOTSTRAP_BUCKET }} []{{/ BOOTSTRAP_BUCKET }}",
            "    S3Access:{{^ BOOTSTRAP_BUCKET }} ]{{/ BOOTSTRAP_BUCKET }}",
        ),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_its_line(line, fault):
    number = TEXT.splitlines().index(line) + 1
    refusal = refuse(TEXT.replace(line, fault, 1))
    named = int(refusal.removeprefix("config.template.yml: line ").partition(":")[0])
    # YAML notices a missing bracket or quote only after it
    assert named == number or (fault[-1] in "[d" and number < named <= LAST_LINE)
    assert "config-parameters.json" not in refusal


@pytest.mark.parametrize("fault", ["Date: 2001-99-99", "Flag: !!bool x", "Loop: &a [*a]", "Bell: \x07"])
def test_value_that_yaml_cannot_read_is_reported(fault):
    # PyYAML gives no line for a character that is not allowed.
    start = (
        "config.template.yml is not YAML: "
        if "\x07" in fault
        else f"config.template.yml: line {LAST_LINE + 1}: "
    )
    assert refuse(f"{TEXT}{fault}\n").startswith(start)


def test_value_changed_by_two_braces_is_refused():
    refusal = refuse(f"{TEXT}Team: '{{{{ TEAM }}}}'\n", TEAM="a&b")
    assert f"config.template.yml: line {LAST_LINE + 1}: chevron would write TEAM with HTML escapes" in refusal
