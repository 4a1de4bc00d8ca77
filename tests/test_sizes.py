"""The vCPUs, addresses and zones that a cluster needs at its maximum, as `invoke check` computes them."""

import re
from pathlib import Path

import pytest

from slurm_cluster.aws import instance_types
from slurm_cluster.config import cluster_config
from slurm_cluster.config.cluster_config import InstanceGroup
from slurm_cluster.errors import ClusterError
from slurm_cluster.state import sizes
from tests.support import ROOT

CONFIG = {
    "HeadNode": {"InstanceType": "t3.xlarge"},
    "Scheduling": {
        "SlurmQueues": [
            {"Name": "cpu", "ComputeResources": [{"InstanceType": "c7i.4xlarge", "MaxCount": 20}]},
            {"Name": "gpu", "ComputeResources": [{"InstanceType": "g5.xlarge", "MaxCount": 4}]},
            {"Name": "p4", "ComputeResources": [{"InstanceType": "p4d.24xlarge", "MaxCount": 2}]},
            {
                "Name": "spot",
                "CapacityType": "SPOT",
                "ComputeResources": [
                    {"Instances": [{"InstanceType": "c7i.large"}, {"InstanceType": "c7i.xlarge"}]},
                    {"InstanceType": "g5.xlarge", "MaxCount": 1},
                ],
            },
            {
                "Name": "reserved",
                "CapacityType": "CAPACITY_BLOCK",
                "ComputeResources": [{"InstanceType": "p4d.24xlarge", "MaxCount": 8}],
            },
        ]
    },
    "LoginNodes": {"Pools": [{"Name": "login", "InstanceType": "t3.large", "Count": 3}]},
}
GROUPS = cluster_config.parse(CONFIG).groups


def test_each_quota_counts_its_own_vcpus(ec2):
    types = instance_types.describe_types(ec2, sizes.list_types(GROUPS))
    assert sizes.count_vcpus(GROUPS, types) == {
        ("L-1216C47A", "vCPUs of on-demand standard instances"): 4 + 20 * 16 + 3 * 2,
        ("L-DB2E81BA", "vCPUs of on-demand G and VT instances"): 4 * 4,
        ("L-417A185B", "vCPUs of on-demand P instances"): 2 * 96,
        ("L-34B43A08", "vCPUs of spot standard instances"): 10 * 4,  # 10 without MaxCount; the larger type
        ("L-3819A6DF", "vCPUs of spot G and VT instances"): 4,
    }
    # a p4d.24xlarge has four network cards
    assert sizes.check_addresses(GROUPS, types, {}).startswith(f"{20 + 4 + 2 * 4 + 10 + 1 + 8 * 4} private")


def test_description_names_types_and_maximum_counts():
    assert sizes.format_groups(GROUPS[:2] + GROUPS[4:5]) == (
        "1 t3.xlarge, 20 c7i.4xlarge, 10 c7i.large or c7i.xlarge (spot)"
    )


@pytest.mark.parametrize(
    ("instance_type", "name"),
    [
        ("im4gn.large", "standard"),
        ("is4gen.large", "standard"),
        ("gr6.4xlarge", "G and VT"),
        ("p5.48xlarge", "P5"),
        ("p3dn.24xlarge", "P"),
        ("dl1.24xlarge", "DL"),
        ("d3.xlarge", "standard"),
        ("hpc7a.96xlarge", "HPC"),
        ("inf2.xlarge", "Inf"),
        ("trn1.2xlarge", "Trn"),
        ("u-6tb1.56xlarge", "High Memory"),
        ("u7i-12tb.224xlarge", "High Memory"),
        ("x2idn.16xlarge", "X"),
    ],
)
def test_family_decides_the_quota(instance_type, name):
    assert instance_types.find_vcpu_quota(instance_type).name == name


def test_unknown_family_has_no_quota():
    assert instance_types.find_vcpu_quota("mac2.metal") is None
    assert instance_types.find_vcpu_quota("9.large") is None


def test_zones_of_existing_subnets_count(ec2, network):
    subnets = {"public": [network["public"]], "private": [network["private"]]}
    head_node = InstanceGroup("the head node", ["t3.xlarge"], subnets=subnets["public"])
    zone = sizes.load_subnets(ec2, [head_node])[network["public"]]["AvailabilityZone"]
    offered = InstanceGroup("queue a", ["t3.large"], subnets=subnets["private"])
    existing = sizes.load_subnets(ec2, [head_node, offered])
    assert sizes.check_zones(ec2, [head_node, offered], existing).endswith(f" in {zone}")
    missing = InstanceGroup("queue b", ["x9.huge"], subnets=subnets["private"])
    with pytest.raises(ClusterError, match=f"{zone} does not offer x9.huge, which queue b uses"):
        sizes.check_zones(ec2, [head_node, missing], existing)


def test_subnet_needs_an_address_for_each_node(ec2, network):
    queue = InstanceGroup("queue a", ["t3.large"], 100_000, subnets=[network["private"]])
    with pytest.raises(ClusterError, match=f"100000 private addresses are needed; {network['private']} has"):
        sizes.check_addresses([queue], {}, sizes.load_subnets(ec2, [queue]))
    with pytest.raises(ClusterError, match="the wizard's subnet will have 4091"):
        sizes.check_addresses([queue], {}, {})


def test_types_from_the_users_parameters_are_found(project):
    edited = Path("config.template.yml")
    text = (ROOT / "config.template.yml").read_text()
    edited.write_text(re.sub("'{{.* HEAD_NODE_TYPE .*", "{{{ OTHER_TYPE }}}", text))
    assert sizes.list_types(sizes.read_template_groups(project, edited)) == ["t3.large"]
    Path("config-parameters.json").write_text('{"OTHER_TYPE": "m7i.large"}')
    assert sizes.list_types(sizes.read_template_groups(project, edited)) == ["m7i.large", "t3.large"]
