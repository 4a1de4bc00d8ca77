import pytest

from slurm_cluster.config import cluster_config
from tests.support.valid_files import GOOD_PARAMETERS, render_configuration

SCRIPTS = [GOOD_PARAMETERS["CUSTOM_BOOT_ACTION_START"], GOOD_PARAMETERS["CUSTOM_BOOT_ACTION_CONFIGURED"]]


def test_rendered_template_is_parsed():
    config = cluster_config.parse(render_configuration())
    assert config.groups == [
        cluster_config.InstanceGroup(
            "the head node", ["t3.xlarge"], subnets=[GOOD_PARAMETERS["PUBLIC_SUBNET"]]
        ),
        cluster_config.InstanceGroup(
            "queue queue1", ["t3.large"], 2, subnets=[GOOD_PARAMETERS["PRIVATE_SUBNET"]]
        ),
    ]
    assert (config.region, config.os) == ("eu-west-2", "ubuntu2404")
    assert config.head_node == cluster_config.NodeConfig(
        "the head node",
        SCRIPTS,
        ["s3://bucket/one/*"],
        policies=[GOOD_PARAMETERS["SLURM_JWT_POLICY"]],
        subnets=[GOOD_PARAMETERS["PUBLIC_SUBNET"]],
        ssh_from=GOOD_PARAMETERS["SSH_FROM"],
    )
    assert config.queues == [
        cluster_config.NodeConfig(
            "queue queue1",
            SCRIPTS,
            ["s3://bucket/one/*"],
            subnets=[GOOD_PARAMETERS["PRIVATE_SUBNET"]],
        )
    ]
    assert config.storage == [cluster_config.StorageConfig("shared", "Efs", "/shared")]


def test_instance_lists_and_script_sequences_are_parsed():
    queue = {
        "Name": "q",
        "ComputeResources": [
            {"InstanceType": "a.large"},
            {"Instances": [{"InstanceType": "b.large"}, {"InstanceType": "c.large"}]},
        ],
        "CustomActions": {"OnNodeStart": {"Sequence": [{"Script": "s3://b/1"}, {"Script": "s3://b/2"}]}},
        "Iam": {"S3Access": [{"BucketName": "b"}, {"BucketName": "c", "KeyName": "d/*"}]},
    }
    config = cluster_config.parse({"Scheduling": {"SlurmQueues": [queue]}})
    assert config.queues == [
        cluster_config.NodeConfig("queue q", ["s3://b/1", "s3://b/2"], ["s3://b/*", "s3://c/d/*"])
    ]
    types = [group.instance_types for group in config.groups]
    assert types == [["a.large"], ["b.large", "c.large"]]


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "text",
        [],
        {"Region": 7, "Image": [], "HeadNode": "x", "Scheduling": {"SlurmQueues": "abc"}},
        {"HeadNode": {"InstanceType": 7, "CustomActions": [1], "Iam": {"S3Access": ["x"]}}},
        {"HeadNode": {"CustomActions": {"OnNodeStart": "x", "OnNodeConfigured": {"Script": 7}}}},
    ],
)
def test_missing_or_mistyped_values_are_empty(tree):
    head_node = cluster_config.NodeConfig("the head node", [], [])
    assert cluster_config.parse(tree) == cluster_config.ClusterConfig("", "", head_node, [])


@pytest.mark.parametrize("settings", [7, "Database", ["Database"], None])
def test_mistyped_slurm_settings_are_empty(settings):
    assert cluster_config.parse({"Scheduling": {"SlurmSettings": settings}}).accounting == ""
