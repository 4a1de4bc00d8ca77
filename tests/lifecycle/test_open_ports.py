"""The open ports of a cluster, and its protection, as AWS reports them. Any added or removed rule fails a test."""

import re

import pytest

from sandbox import exposure
from slurm_cluster.config import template
from slurm_cluster.project import Project
from slurm_cluster.views import checks
from tests.support import REGION, ROOT, SETTINGS
from tests.support.recorded_walk import SSH_FROM
from tests.support.valid_files import GOOD_PARAMETERS

pytestmark = pytest.mark.xdist_group("walk")

HEAD_NODES, COMPUTE = "pcluster-ubuntu-HeadNodeSecurityGroup", "pcluster-ubuntu-ComputeSecurityGroup"
FILE_SYSTEM = "pcluster-ubuntu-EFSD18aac96b905b4b3SecurityGroup"
MACHINES = {
    "HeadNode": "head node",
    "pcluster-ubuntu-uqle": "UQLE machine",
    "pcluster-ubuntu-queue1-t3large (launch template)": "compute nodes",
    "shared (file system)": "file system",
}
SOURCES = {
    HEAD_NODES: "head node, UQLE machine",  # the members of its group
    COMPUTE: "compute nodes",
    FILE_SYSTEM: "file system",
    SSH_FROM: "`SSH_FROM`",
}
OPEN_PORTS = {
    *((machine, "all", source) for machine in MACHINES for source in (HEAD_NODES, COMPUTE)),
    *((machine, "tcp 22", SSH_FROM) for machine in ("HeadNode", "pcluster-ubuntu-uqle")),
    ("shared (file system)", "all", FILE_SYSTEM),
}


def test_all_open_ports_are_listed(walk):
    assert {tuple(port) for port in walk.open_ports} == OPEN_PORTS


def test_rest_port_is_open_to_the_cluster_only(walk):
    def opens(ports: str) -> bool:
        first, _, last = ports.rpartition(" ")[2].partition("-")
        return ports.endswith("all") or int(first) <= 8082 <= int(last or first)

    assert {port.source for port in walk.open_ports if opens(port.ports)} <= {
        HEAD_NODES,
        COMPUTE,
        FILE_SYSTEM,
    }


def test_only_ssh_is_open_to_the_outside(walk):
    networks = {
        (port.ports, port.source) for port in walk.open_ports if re.match(r"[0-9a-f:.]+/|pl-", port.source)
    }
    assert networks == {("tcp 22", SSH_FROM)}


def test_added_rule_shows_as_open_port(ec2, cluster):
    peer = ec2.create_security_group(GroupName="peer-x", Description="x")["GroupId"]
    before = exposure.list_open_ports(REGION)
    for permission in (
        {"IpProtocol": "tcp", "FromPort": 8082, "ToPort": 8082, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {"IpProtocol": "udp", "FromPort": 1, "ToPort": 9, "PrefixListIds": [{"PrefixListId": "pl-01234567"}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": peer}]},
        {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": [{"CidrIp": "0.0.0.0/1"}]},
    ):
        ec2.authorize_security_group_ingress(GroupId=cluster["group"], IpPermissions=[permission])
    new = {(port.ports, port.source) for port in set(exposure.list_open_ports(REGION)) - set(before)}
    assert new == {
        ("tcp 8082", "::/0"),
        ("udp 1-9", "pl-01234567"),
        ("all", "peer"),
        ("tcp all", "0.0.0.0/1"),
    }


@pytest.mark.parametrize(
    ("source", "warned"), [("0.0.0.0/0", True), ("0.0.0.0/1", True), ("128.0.0.0/1", True), (SSH_FROM, False)]
)
def test_check_and_render_warn_of_ssh_from_everywhere(account, source, warned):
    check = checks.check_ssh_source(Project(SETTINGS | {"ssh_from": source}))
    assert (check.result, source in check.detail) == ("WARN" if warned else "PASS", True)
    assert (
        any(source in warning for warning in template.list_warnings(GOOD_PARAMETERS | {"SSH_FROM": source}))
        == warned
    )


def test_machines_require_imdsv2_and_encrypted_volumes(walk):
    assert walk.machines.keys() >= {
        "HeadNode",
        "pcluster-ubuntu-uqle",
        "pcluster-ubuntu-queue1-t3large (launch template)",
    }
    assert {name: machine for name, machine in walk.machines.items() if machine != ("required", True)} == {}


def test_shared_file_system_is_encrypted(walk):
    assert walk.encrypted == {"shared": True}


def test_buckets_are_encrypted_and_tls_only(walk):
    for name, bucket in walk.buckets.items():
        assert bucket == (name.startswith("slurm-cluster-bootstrap-"), True, True), name
    assert len(walk.buckets) == 2


def test_documented_connections_match_the_cluster(walk):
    row = rf"^\| ({'|'.join(MACHINES.values())}) \| ([^|]+) \| ([^|]+) \|$"
    shown = re.findall(row, (ROOT / "docs" / "permissions.md").read_text(), re.MULTILINE)
    expected: dict[tuple[str, str], list[str]] = {}
    for port in walk.open_ports:
        if port.source != FILE_SYSTEM:  # mount targets open no connections
            expected.setdefault((MACHINES[port.target], port.ports), []).append(SOURCES[port.source])
    assert shown == [(*port, ", ".join(sorted(sources, reverse=True))) for port, sources in expected.items()]
