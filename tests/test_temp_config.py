from pathlib import Path

import pytest

from slurm_cluster.config import temp_config
from slurm_cluster.errors import ClusterError
from tests.support.valid_files import GOOD_TEMP_CONFIG

FILE = Path("temp-config.yml")


def test_the_four_values_are_read():
    FILE.write_text(GOOD_TEMP_CONFIG)
    assert temp_config.read_temp_config(FILE) == (
        "eu-west-2",
        "k",
        "subnet-0123456789abcdef0",
        "subnet-0fedcba9876543210",
    )


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("Region: eu-west-2", "Region:", "Region is missing, and must be the name of a region"),
        ("Region: eu-west-2", "Region: [eu-west-2]", "Region is not text, and must be the name of a region"),
        ("Region: eu-west-2", "Region: London", 'Region is "London", and must be the name of a region'),
        (
            "{KeyName: k}",
            "{KeyName: 7}",
            "HeadNode / Ssh / KeyName is not text, and must be the name of an EC2",
        ),
        (
            "[subnet-0fedcba9876543210]",
            "[]",
            "Scheduling / SlurmQueues / first / Networking / SubnetIds / first is missing, and must be the id",
        ),
        (
            "[subnet-0fedcba9876543210]",
            "subnet-0fedcba9876543210",
            "Scheduling / SlurmQueues / first / Networking / SubnetIds / first is missing, and must be the id",
        ),
        ("HeadNode:", "HeadNode: [", "is not YAML"),
    ],
)
def test_missing_value_is_named_by_its_path(old, new, named):
    FILE.write_text(GOOD_TEMP_CONFIG.replace(old, new))
    with pytest.raises(ClusterError, match=named) as error:
        temp_config.read_temp_config(FILE)
    assert "temp-config.yml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- 1", "7"])
def test_all_faults_are_listed_one_a_line(text):
    FILE.write_text(text)
    with pytest.raises(ClusterError) as error:
        temp_config.read_temp_config(FILE)
    assert str(error.value).splitlines() == [
        "temp-config.yml:",
        "  Region is missing, and must be the name of a region, such as eu-west-2.",
        "  HeadNode / Ssh / KeyName is missing, and must be the name of an EC2 key pair: "
        "1 to 255 printable ASCII characters.",
        "  HeadNode / Networking / SubnetId is missing, and must be the id of a subnet, "
        "such as subnet-0123456789abcdef0.",
        "  Scheduling / SlurmQueues / first / Networking / SubnetIds / first is missing, and must be "
        "the id of a subnet, such as subnet-0123456789abcdef0.",
        "Correct the file, or run `invoke configure` again.",
    ]


@pytest.mark.parametrize(
    ("comment", "is_from_wizard"),
    [
        ("", True),
        ("# This network was there before the cluster: no task of ours takes it away.\n", False),  # version 1
        ("# This network was there before the cluster. No task deletes it.\n", False),
    ],
)
def test_comment_marks_an_existing_network(comment, is_from_wizard):
    FILE.write_text(comment + GOOD_TEMP_CONFIG)
    assert temp_config.is_from_wizard(FILE) == is_from_wizard


def test_missing_file_names_the_next_step():
    with pytest.raises(ClusterError, match="invoke configure"):
        temp_config.read_temp_config(FILE)
