import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_cluster.config import parameters, template
from slurm_cluster.errors import ClusterError
from tests.support import ROOT
from tests.support.valid_files import GOOD_PARAMETERS, render_configuration

TEMPLATE, FILE = ROOT / "config.template.yml", Path("config-parameters.json")
LITERAL = {"SLURM_JWT_KEY": "k&<>{{x}}" + "k" * 32, "SLURM_JWT_POLICY": ""}
SIZES = {"HEAD_NODE_TYPE": "c7i.xlarge", "COMPUTE_TYPE": "c7i.4xlarge", "MAX_NODES": "20"}
EMPTY_SIZES = dict.fromkeys(SIZES, "")
ELSEWHERE = dict.fromkeys(
    ("CUSTOM_BOOT_ACTION_START", "CUSTOM_BOOT_ACTION_CONFIGURED"), "https://example.org/s.sh?a=1&b=2"
)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        SIZES,
        EMPTY_SIZES,
        LITERAL,
        ELSEWHERE | {"BOOTSTRAP_BUCKET": ""},
        {"SSH_KEY_PAIR": "a & b <c> \u00e9"[:9]},
    ],
)
def test_output_equals_the_chevron_command(changed):
    parameters.write_parameters(FILE, GOOD_PARAMETERS | changed)
    chevron = Path(sys.executable).with_name("chevron")
    by_hand = subprocess.run([chevron, "--data", FILE, TEMPLATE], capture_output=True, check=True).stdout
    assert template.render_template(TEMPLATE, parameters.read_parameters(FILE), FILE).encode() == by_hand


def test_cluster_matches_the_original_in_todays_terms():
    config = render_configuration()
    head, [queue] = config["HeadNode"], config["Scheduling"]["SlurmQueues"]
    assert config["Image"] == {"Os": "ubuntu2404"}
    assert (head["InstanceType"], head["Networking"]["ElasticIp"]) == ("t3.xlarge", True)
    assert head["Networking"]["SubnetId"] == GOOD_PARAMETERS["PUBLIC_SUBNET"]
    assert head["Ssh"] == {"KeyName": "pcluster-ubuntu", "AllowedIps": "203.0.113.7/32"}
    assert queue["Networking"]["SubnetIds"] == [GOOD_PARAMETERS["PRIVATE_SUBNET"]]
    [resource] = queue["ComputeResources"]
    assert (resource["InstanceType"], resource["MinCount"], resource["MaxCount"]) == ("t3.large", 0, 2)
    [storage] = config["SharedStorage"]
    assert (storage["MountDir"], storage["StorageType"], storage["EfsSettings"]) == (
        "/shared",
        "Efs",
        {"Encrypted": True},
    )


def test_sizes_are_parameters_with_defaults():
    config = render_configuration(**SIZES)
    assert config["HeadNode"]["InstanceType"] == "c7i.xlarge"
    [resource] = config["Scheduling"]["SlurmQueues"][0]["ComputeResources"]
    assert resource == {"Name": "compute", "InstanceType": "c7i.4xlarge", "MinCount": 0, "MaxCount": 20}
    assert render_configuration(**EMPTY_SIZES) == render_configuration()


def test_empty_sizes_do_not_need_a_place_in_the_template(tmp_path):
    old = tmp_path / "config.template.yml"
    old.write_text(
        re.sub(r"'?{{\^ (HEAD_NODE_TYPE|COMPUTE_TYPE|MAX_NODES) .*", "t3.large", TEMPLATE.read_text())
    )
    template.render_template(old, GOOD_PARAMETERS | EMPTY_SIZES, FILE)
    with pytest.raises(ClusterError, match="MAX_NODES is not in the template"):
        template.render_template(old, GOOD_PARAMETERS | EMPTY_SIZES | {"MAX_NODES": "3"}, FILE)


def test_one_s3_entry_for_each_bucket_and_key_for_head_node_only():
    config = render_configuration()
    head, [queue] = config["HeadNode"], config["Scheduling"]["SlurmQueues"]
    for kind in head, queue:
        assert kind["Iam"]["S3Access"] == [{"BucketName": "bucket", "KeyName": "one/*"}]
        assert kind["CustomActions"]["OnNodeStart"]["Script"] == GOOD_PARAMETERS["CUSTOM_BOOT_ACTION_START"]
        assert kind["CustomActions"]["OnNodeConfigured"] == {
            "Script": GOOD_PARAMETERS["CUSTOM_BOOT_ACTION_CONFIGURED"]
        }
    assert head["CustomActions"]["OnNodeStart"]["Args"] == [GOOD_PARAMETERS["SLURM_JWT_KEY"]]
    assert head["Iam"]["AdditionalIamPolicies"] == [{"Policy": GOOD_PARAMETERS["SLURM_JWT_POLICY"]}]
    assert str(config).count(GOOD_PARAMETERS["SLURM_JWT_KEY"]) == 1


def test_empty_bucket_and_policy_leave_their_sections_empty():
    head = render_configuration(BOOTSTRAP_BUCKET="", **LITERAL)["HeadNode"]
    assert head["Iam"] == {"S3Access": [], "AdditionalIamPolicies": []}


def test_slurm_uses_the_key_file_of_the_boot_script():
    custom = render_configuration()["Scheduling"]["SlurmSettings"]["CustomSlurmSettings"]
    assert custom == [
        {"AuthAltTypes": "auth/jwt"},
        {"AuthAltParameters": "jwt_key=/var/spool/slurm.state/jwt_hs256.key"},
        {"DisableRootJobs": "YES"},
    ]
    assert (
        "KEY_FILE=/var/spool/slurm.state/jwt_hs256.key"
        in (ROOT / "bootstrap/on_node_start_ubuntu.sh").read_text()
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(GOOD_PARAMETERS)), value=st.text(max_size=50))
def test_any_value_survives_rendering_or_is_refused(name, value):
    try:
        config = render_configuration(**{name: value})
    except ClusterError as refused:
        config, sentence = None, str(refused)
    if config is None:
        assert f"{name} is " in sentence or sentence.endswith(
            f"another value of {name}. Use plain characters."
        )
    else:
        assert not value or any(value in leaf for leaf in leaves(config))


def leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    if not isinstance(tree, list):
        return [str(tree)]
    return [leaf for branch in tree for leaf in leaves(branch)]


@pytest.mark.parametrize("value", ["it's", "'", "a'b: c"])
def test_value_that_yaml_reads_differently_is_refused(value):
    with pytest.raises(ClusterError, match="YAML would read another value of SSH_KEY_PAIR"):
        template.render_template(TEMPLATE, GOOD_PARAMETERS | {"SSH_KEY_PAIR": value}, FILE)


def test_dangerous_values_are_warned_of():
    assert template.list_warnings(GOOD_PARAMETERS) == []
    assert template.list_warnings({}) == []  # of a template without parameters
    assert len(template.list_warnings(GOOD_PARAMETERS | {"SSH_FROM": "0.0.0.0/0"} | LITERAL)) == 2
    assert LITERAL["SLURM_JWT_KEY"] not in str(template.list_warnings(GOOD_PARAMETERS | LITERAL))
