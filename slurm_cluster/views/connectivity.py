"""The connections that the cluster needs, and the security group rules that allow them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws.file_system import NFS
from slurm_cluster.aws.security_groups import covers_port, get_source
from slurm_cluster.slurm import REST_PORT
from slurm_cluster.state.cluster_state import ClusterState, find_mount_target, get_group_ids

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import SecurityGroupRuleTypeDef

SSH, SLURMD, SLURMCTLD = 22, 6818, 6820
PORTS = {NFS: "NFS", SSH: "SSH", SLURMD: "slurmd", SLURMCTLD: "slurmctld", REST_PORT: "Slurm REST API"}
CREATE_CLUSTER = "invoke create-cluster"
RECREATE_CLUSTER = "invoke delete-cluster create-cluster"
CREATE_INSTANCE = "invoke create-instance"
CONNECT_WITHOUT_SHARE = "invoke connect-uqle --no-shared"
ALLOW_GROUP = "invoke allow-head-node-group"
UPDATE_CLUSTER = "invoke update-cluster"
DISCONNECT = "invoke disconnect-uqle"
RECONNECT = "invoke disconnect-uqle connect-uqle"
RESTORE_RULE = "Restore this rule: pcluster created it with the cluster, and it was removed since."
ANY_SOURCE = ("0.0.0.0/0", "::/0")


class Endpoint(NamedTuple):
    """One end of a connection.

    Args:
        name: its name in the table of connections.
        groups: the ids of its security groups; empty if it does not exist.
        address: its private IPv4 address, if it has one.
        command: the command that creates it.
    """

    name: str
    groups: list[str]
    address: str
    command: str


class Connection(NamedTuple):
    """A TCP connection that the cluster needs, or that must be blocked, and the rules that allow it.

    Args:
        source: the name of the endpoint that connects, or the sources of the rules.
        target: the name of the endpoint that listens.
        port: the TCP port.
        rules: the ids of the rules that allow it; empty if it is blocked.
        remedy: what to do if it is blocked; empty if it must be blocked.
    """

    source: str
    target: str
    port: int
    rules: list[str]
    remedy: str


def list_connections(s: ClusterState) -> dict[str, Connection]:
    """Return the connections, by the names of their arrows in the diagram.

    Connections to the file system are left out if the shared storage is not EFS.
    """
    create = RECREATE_CLUSTER if s.status else CREATE_CLUSTER
    head_node = Endpoint(
        "head node", get_group_ids(s.head_node), s.head_node.get("PrivateIpAddress", ""), create
    )
    uqle = Endpoint(
        "UQLE machine",
        get_group_ids(s.uqle_instance),
        s.uqle_instance.get("PrivateIpAddress", ""),
        CREATE_INSTANCE,
    )
    compute = Endpoint("compute nodes", s.compute_groups, "", create)
    connections = {
        "ssh_uqle": find_outside_connection(s, uqle, SSH, UPDATE_CLUSTER),
        "ssh_head": find_outside_connection(s, head_node, SSH, UPDATE_CLUSTER),
        "rest_outside": find_outside_connection(s, head_node, REST_PORT, ""),
        "rest": find_vpc_connection(s, uqle, head_node, REST_PORT, explain_group_rule(s)),
        "slurmctld": find_vpc_connection(s, compute, head_node, SLURMCTLD, RESTORE_RULE),
        "slurmd": find_vpc_connection(s, head_node, compute, SLURMD, RESTORE_RULE),
    }
    if s.status and not s.file_system:
        return connections
    mount_target = find_mount_target(s, s.uqle_instance or s.head_node)
    shared = Endpoint("file system", mount_target.groups if mount_target else [], "", create)
    nfs_uqle = find_vpc_connection(s, uqle, shared, NFS, RECONNECT)
    if s.mount_obstacle:
        nfs_uqle = nfs_uqle._replace(rules=[], remedy=s.mount_obstacle)
    return connections | {
        "nfs_uqle": nfs_uqle,
        "nfs_head": find_vpc_connection(s, head_node, shared, NFS, RESTORE_RULE),
        "nfs_compute": find_vpc_connection(s, compute, shared, NFS, RESTORE_RULE),
    }


def explain_group_rule(s: ClusterState) -> str:
    """Return how to let the UQLE machine reach the head node."""
    if not s.own_security_groups:
        return ALLOW_GROUP
    return (
        f"Allow all traffic between the members of {s.own_security_groups[0]}, "
        "and launch the UQLE machine in it."
    )


def find_outside_connection(s: ClusterState, target: Endpoint, port: int, remedy: str) -> Connection:
    """Return the connection to a port from address ranges and prefix lists."""
    rules = [
        rule
        for rule in list_inbound_rules(s, target.groups)
        if covers_port(rule, port) and "ReferencedGroupInfo" not in rule
    ]
    sources = [get_source(rule) for rule in rules]
    labels = [f"{source} (anyone)" if source in ANY_SOURCE else source for source in sources]
    rule_ids = [rule["SecurityGroupRuleId"] for rule in rules]
    is_missing = remedy and not target.groups
    return Connection(
        source=", ".join(labels) or "outside",
        target=target.name,
        port=port,
        rules=rule_ids,
        remedy=target.command if is_missing else remedy,
    )


def find_vpc_connection(
    s: ClusterState, source: Endpoint, target: Endpoint, port: int, remedy: str
) -> Connection:
    """Return the connection between two endpoints in the VPC."""
    rule_ids = [
        rule["SecurityGroupRuleId"]
        for rule in list_inbound_rules(s, target.groups)
        if covers_port(rule, port)
        and (get_source(rule) in source.groups or is_in_range(source.address, rule.get("CidrIpv4")))
    ]
    missing = [endpoint.command for endpoint in (target, source) if not endpoint.groups]
    return Connection(source.name, target.name, port, rule_ids, missing[0] if missing else remedy)


def list_inbound_rules(s: ClusterState, groups: Collection[str]) -> list[SecurityGroupRuleTypeDef]:
    """Return the inbound rules of security groups: rules for ports first, self rules last."""

    def sort_key(rule: SecurityGroupRuleTypeDef) -> tuple[bool, int, bool, str]:
        source = get_source(rule)
        return rule["IpProtocol"] == "-1", rule["FromPort"], source == rule["GroupId"], source

    inbound = [rule for rule in s.rules if rule["GroupId"] in groups and not rule["IsEgress"]]
    return sorted(inbound, key=sort_key)


def list_self_rules(s: ClusterState) -> list[str]:
    """Return the ids of the rules that allow all traffic inside the head node's group."""
    return [
        rule["SecurityGroupRuleId"]
        for rule in list_inbound_rules(s, [s.head_node_group])
        if rule["IpProtocol"] == "-1" and get_source(rule) == s.head_node_group
    ]


def format_traffic(rule: SecurityGroupRuleTypeDef) -> tuple[str, str, str]:
    """Return a rule's type, protocol and port range in the words of the EC2 console."""
    protocol, first, last = rule["IpProtocol"], rule["FromPort"], rule["ToPort"]
    if protocol == "-1":
        return "All traffic", "All", "All"
    types = {("tcp", SSH): "SSH", ("tcp", NFS): "NFS"} if first == last else {}
    port_range = str(first) if first == last else f"{first} - {last}"
    return types.get((protocol, first), f"Custom {protocol.upper()}"), protocol.upper(), port_range


def is_in_range(address: str, block: str | None) -> bool:
    """Return whether an IP address is in a CIDR block."""
    return bool(address and block and ipaddress.ip_address(address) in ipaddress.ip_network(block))
