from pathlib import Path

import pytest

from slurm_cluster.config import temp_config
from slurm_cluster.errors import ClusterError
from tests.support.valid_files import GOOD_TEMP_CONFIG as GOOD

FILE = Path("temp-config.yml")


def test_the_four_values_of_the_readmes_table_are_read():
    FILE.write_text(GOOD)
    assert temp_config.read_temp_config(FILE) == (
        "eu-west-2",
        "k",
        "subnet-0123456789abcdef0",
        "subnet-0fedcba9876543210",
    )


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("Region: eu-west-2", "Region:", "no text at Region"),
        ("Region: eu-west-2", "Region: [eu-west-2]", "no text at Region"),
        ("{KeyName: k}", "{KeyName: 7}", "no text at HeadNode / Ssh / KeyName"),
        (
            "[subnet-0fedcba9876543210]",
            "[]",
            "no text at Scheduling / SlurmQueues / first / Networking / SubnetIds / first",
        ),
        ("HeadNode:", "HeadNode: [", "is not YAML"),
        (GOOD, "", "no text at Region"),
        (GOOD, "- 1", "no text at Region"),
    ],
)
def test_a_value_that_is_not_there_is_named_by_its_place(old, new, named):
    FILE.write_text(GOOD.replace(old, new))
    with pytest.raises(ClusterError, match=named) as error:
        temp_config.read_temp_config(FILE)
    assert "temp-config.yml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_told_how_to_make():
    with pytest.raises(ClusterError, match="invoke configure"):
        temp_config.read_temp_config(FILE)
