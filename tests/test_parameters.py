import json
from pathlib import Path

import pytest
import yaml

from slurm_cluster.config import parameters, template
from slurm_cluster.errors import ClusterError
from tests.support import ROOT
from tests.support.valid_files import GOOD_PARAMETERS

FILE = Path("config-parameters.json")


def test_rules_example_and_template_have_the_same_names():
    example = json.loads((ROOT / "config-parameters.example.json").read_text())
    assert list(example) == list(parameters.RULES)
    assert {tag.name for tag in template.list_tags(ROOT / "config.template.yml")} == set(example)
    assert all(
        parameters.is_placeholder(value) != (name in parameters.SIZES) for name, value in example.items()
    )


def test_valid_values_pass():
    parameters.validate_parameters(GOOD_PARAMETERS, set(parameters.RULES), FILE)
    parameters.validate_parameters(
        GOOD_PARAMETERS | {"BOOTSTRAP_BUCKET": "", "SLURM_JWT_POLICY": "", "SLURM_JWT_KEY": "k" * 32},
        set(GOOD_PARAMETERS),
        FILE,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "london"),
        ("AWS_REGION", ""),
        ("AWS_REGION", "<Region>"),
        ("SSH_KEY_PAIR", "two\nlines"),
        ("SSH_KEY_PAIR", 7),
        ("SSH_KEY_PAIR", None),
        ("PRIVATE_SUBNET", ["subnet-0123456789abcdef0"]),
        ("PUBLIC_SUBNET", "vpc-0123456789abcdef0"),
        ("CUSTOM_BOOT_ACTION_START", "http://example.org/start.sh"),
        ("CUSTOM_BOOT_ACTION_START", "s3://bucket"),
        ("BOOTSTRAP_BUCKET", "Bucket"),
        ("CLUSTER_NAME", "1st"),
        ("CLUSTER_NAME", "a" * 61),
        ("SLURM_JWT_POLICY", "arn:aws:iam::1:role/x"),
        ("SSH_FROM", "203.0.113.7"),
        ("SSH_FROM", "203.0.113.7/24"),
        ("SSH_FROM", "203.0.113.7/32,203.0.113.8/32"),
        ("SSH_FROM", "300.0.0.1/32"),
        ("SSH_FROM", "2001:db8::/32"),
        ("HEAD_NODE_TYPE", "t3 xlarge"),
        ("COMPUTE_TYPE", "t3"),
        ("COMPUTE_TYPE", "<type>"),
        ("COMPUTE_TYPE", "it's.large"),
        ("MAX_NODES", "0"),
        ("MAX_NODES", 2),
        ("MAX_NODES", "10000"),
    ],
)
def test_invalid_value_is_named_with_what_is_allowed(name, value):
    with pytest.raises(ClusterError) as error:
        parameters.validate_parameters(GOOD_PARAMETERS | {name: value}, set(parameters.RULES), FILE)
    assert f"config-parameters.json: {name} is " in str(error.value)
    assert parameters.RULES[name].allowed in str(error.value)


@pytest.mark.parametrize("value", ["203.0.113.7/32", "0.0.0.0/0", "10.0.0.0/8", "pl-0123456789abcdef0"])
def test_ssh_source_is_one_network_or_prefix_list(value):
    parameters.validate_parameters(GOOD_PARAMETERS | {"SSH_FROM": value}, set(GOOD_PARAMETERS), FILE)


def test_invalid_key_is_not_shown():
    with pytest.raises(ClusterError) as error:
        parameters.validate_parameters(
            GOOD_PARAMETERS | {"SLURM_JWT_KEY": "too-short-a-key"}, set(GOOD_PARAMETERS), FILE
        )
    assert "too-short-a-key" not in str(error.value)


def test_all_missing_and_unknown_names_are_listed():
    values = {
        name: value for name, value in GOOD_PARAMETERS.items() if name not in ("AWS_REGION", "SSH_FROM")
    } | {"REGION": "x"}
    with pytest.raises(ClusterError) as error:
        parameters.validate_parameters(values, set(GOOD_PARAMETERS), FILE)
    assert str(error.value).splitlines() == [
        "config-parameters.json:",
        "  AWS_REGION is missing, and must be the name of a region, such as eu-west-2.",
        "  SSH_FROM is missing, and must be one CIDR, such as 203.0.113.7/32, or one prefix list, "
        "such as pl-0123456789abcdef0.",
        "  REGION is not in the template.",
        "Correct the file. `invoke fill-parameters` fills in the results of the earlier steps.",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "is not JSON, line 1 column 2"),
        ('{"A": 1,}', "is not JSON"),
        ("[]", "must hold one JSON object"),
        ('{"A": "1",\t"B": "2"}', r"fails: a tab instead of spaces, line 1 column 11\. Replace the tab\."),
        ('{"A": "1", "A": "2"}', "has the key A twice"),
        ('{\t"A": "1"\n\t,"B": "2"}', "as YAML, and fails: "),
        ('{"A": "\\ud800"}', r"an incomplete \\u escape. Write the values as plain text."),
        ('{"A": 1e3}', "as YAML, and gets different values"),
        ("[" * 3000 + "]" * 3000, "is nested too deeply. It must hold one JSON object"),
        ("[" * 5000, "is nested too deeply. It must hold one JSON object"),
        ('{"A": ' + "[" * 500 + "]" * 500 + "}", "is nested too deeply"),
    ],
)
def test_file_that_chevron_reads_differently_is_refused(text, named):
    FILE.write_text(text)
    with pytest.raises(ClusterError, match=named) as error:
        parameters.read_parameters(FILE)
    assert "config-parameters.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_byte_order_mark_is_accepted_as_in_yaml():
    FILE.write_text('\ufeff{"A": "1"}')
    assert parameters.read_parameters(FILE) == {"A": "1"} == yaml.safe_load(FILE.read_text())


def test_binary_file_is_refused():
    FILE.write_bytes(b'{"A": "\xff"}')
    with pytest.raises(ClusterError, match="not UTF-8"):
        parameters.read_parameters(FILE)


def test_missing_file_names_the_next_step():
    with pytest.raises(ClusterError, match="invoke fill-parameters"):
        parameters.read_parameters(FILE)


def test_filling_keeps_what_the_user_wrote():
    values = {
        "AWS_REGION": "",
        "SSH_KEY_PAIR": "<key>",
        "PUBLIC_SUBNET": "mine",
        "SLURM_JWT_KEY": "my own key",
        "OTHER": "x",
    }
    found = {
        "AWS_REGION": "eu-west-2",
        "SSH_KEY_PAIR": "k",
        "PUBLIC_SUBNET": "theirs",
        "SLURM_JWT_KEY": "arn:x",
    }
    filled, kept = parameters.merge_parameters(values, found, overwrite=False)
    assert (filled["AWS_REGION"], filled["SSH_KEY_PAIR"]) == ("eu-west-2", "k")
    assert (filled["PUBLIC_SUBNET"], filled["SLURM_JWT_KEY"], filled["OTHER"]) == ("mine", "my own key", "x")
    assert list(filled)[: len(parameters.RULES)] == list(parameters.RULES)
    assert kept == [
        'Kept PUBLIC_SUBNET "mine", and not "theirs". --overwrite replaces it.',
        "Kept SLURM_JWT_KEY. --overwrite replaces it.",
    ]


def test_overwrite_replaces_what_the_user_wrote():
    filled, kept = parameters.merge_parameters(
        {"PUBLIC_SUBNET": "mine"}, {"PUBLIC_SUBNET": "theirs"}, overwrite=True
    )
    assert filled["PUBLIC_SUBNET"] == "theirs"
    assert kept == []


def test_file_is_readable_by_its_owner_only():
    parameters.write_parameters(FILE, GOOD_PARAMETERS)
    assert FILE.stat().st_mode & 0o777 == 0o600
    assert parameters.read_parameters(FILE) == GOOD_PARAMETERS


def test_deleted_values_are_cleared():
    parameters.write_parameters(FILE, GOOD_PARAMETERS)
    parameters.clear_values(FILE, [GOOD_PARAMETERS["PUBLIC_SUBNET"], GOOD_PARAMETERS["PRIVATE_SUBNET"]])
    assert parameters.read_parameters(FILE) == GOOD_PARAMETERS | {"PUBLIC_SUBNET": "", "PRIVATE_SUBNET": ""}
    parameters.clear_values(Path("absent.json"), ["x"])
    assert not Path("absent.json").exists()
