"""Who may reach whom on which port, by the rules of the security groups alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any, NamedTuple

from slurm_cluster.config.uqle_env import PORT
from slurm_cluster.views.cluster_state import ClusterState, find_mount_target, get_group_ids

NFS, SSH, SLURMD, SLURMCTLD = 2049, 22, 6818, 6820
PORTS = {NFS: "NFS", SSH: "SSH", SLURMD: "slurmd", SLURMCTLD: "slurmctld", PORT: "Slurm REST API"}
CREATE_CLUSTER, CREATE_INSTANCE, ALLOW_GROUP = (
    "invoke create-cluster",
    "invoke create-instance",
    "invoke allow-head-node-group",
)
UPDATE_CLUSTER, RECONNECT = "invoke update-cluster", "invoke disconnect-uqle connect-uqle"
RESTORE_RULE = "pcluster made its rule with the cluster: put it back"
ANY_SOURCE = ("0.0.0.0/0", "::/0")


class Endpoint(NamedTuple):
    """One who reaches, or is reached: its name, its groups, its private address, and what makes it."""

    name: str
    groups: list[str]
    address: str
    make: str


class Connection(NamedTuple):
    """Who may reach whom over TCP: by which rules, and what to do where there is none; nothing to do: none is wanted."""

    source: str
    target: str
    port: int
    rules: list[str]
    next: str


def list_connections(s: ClusterState) -> dict[str, Connection]:
    """Say who may reach whom, by the name that the arrow has in the drawing."""
    head = Endpoint("head node", get_group_ids(s.head), s.head.get("PrivateIpAddress", ""), CREATE_CLUSTER)
    uqle = Endpoint(
        "UQLE instance", get_group_ids(s.uqle), s.uqle.get("PrivateIpAddress", ""), CREATE_INSTANCE
    )
    compute = Endpoint("compute nodes", [s.compute_group] if s.compute_group else [], "", CREATE_CLUSTER)
    shared = Endpoint(
        "file system", find_mount_target(s, s.uqle or s.head).get("Groups", []), "", CREATE_CLUSTER
    )
    return {
        "ssh_uqle": connect_from_outside(s, uqle, SSH, UPDATE_CLUSTER),
        "ssh_head": connect_from_outside(s, head, SSH, UPDATE_CLUSTER),
        "rest_outside": connect_from_outside(s, head, PORT, ""),
        "rest": connect_within(s, uqle, head, PORT, ALLOW_GROUP),
        "slurmctld": connect_within(s, compute, head, SLURMCTLD, RESTORE_RULE),
        "slurmd": connect_within(s, head, compute, SLURMD, RESTORE_RULE),
        "nfs_uqle": connect_within(s, uqle, shared, NFS, RECONNECT),
        "nfs_head": connect_within(s, head, shared, NFS, RESTORE_RULE),
        "nfs_compute": connect_within(s, compute, shared, NFS, RESTORE_RULE),
    }


def connect_from_outside(s: ClusterState, target: Endpoint, port: int, to_do: str) -> Connection:
    """Say who outside the network's groups may reach a port."""
    rules = [
        rule
        for rule in list_inbound_rules(s, target.groups)
        if covers_port(rule, port) and "ReferencedGroupInfo" not in rule
    ]
    named = [
        f"{get_source(rule)} (anybody)" if get_source(rule) in ANY_SOURCE else get_source(rule)
        for rule in rules
    ]
    ids = [rule["SecurityGroupRuleId"] for rule in rules]
    return Connection(
        ", ".join(named) or "outside",
        target.name,
        port,
        ids,
        to_do and (to_do if target.groups else target.make),
    )


def connect_within(s: ClusterState, source: Endpoint, target: Endpoint, port: int, to_do: str) -> Connection:
    """Say whether one end in the network may reach a port of another."""
    rules = [rule for rule in list_inbound_rules(s, target.groups) if covers_port(rule, port)]
    ids = [
        r["SecurityGroupRuleId"]
        for r in rules
        if get_source(r) in source.groups or is_in_range(source.address, r.get("CidrIpv4"))
    ]
    absent = next((end.make for end in (target, source) if not end.groups), "")
    return Connection(source.name, target.name, port, ids, absent or to_do)


def list_inbound_rules(s: ClusterState, groups: Collection[str]) -> list[dict[str, Any]]:
    """Give the inbound rules of groups: those for a port first, and those that admit the group's own members last."""
    own = [rule for rule in s.rules if rule["GroupId"] in groups and not rule["IsEgress"]]
    return sorted(
        own,
        key=lambda rule: (
            rule["IpProtocol"] == "-1",
            rule["FromPort"],
            get_source(rule) == rule["GroupId"],
            get_source(rule),
        ),
    )


def list_self_rules(s: ClusterState) -> list[str]:
    """Give the ids of the rules by which the head node's group admits its own members, all traffic."""
    rules = [
        rule
        for rule in list_inbound_rules(s, [s.group])
        if rule["IpProtocol"] == "-1" and get_source(rule) == s.group
    ]
    return [rule["SecurityGroupRuleId"] for rule in rules]


def get_source(rule: dict[str, Any]) -> str:
    """Give the source of an inbound rule: a group, a range of addresses or a prefix list."""
    group: str = rule.get("ReferencedGroupInfo", {}).get("GroupId", "")
    return group or rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId", "")


def format_traffic(rule: dict[str, Any]) -> tuple[str, str, str]:
    """Give a rule's type, protocol and port range, in the console's words."""
    protocol, first, last = rule["IpProtocol"], rule["FromPort"], rule["ToPort"]
    if protocol == "-1":
        return "All traffic", "All", "All"
    known = {("tcp", SSH): "SSH", ("tcp", NFS): "NFS"} if first == last else {}
    ports = str(first) if first == last else f"{first} - {last}"
    return known.get((protocol, first), f"Custom {protocol.upper()}"), protocol.upper(), ports


def covers_port(rule: dict[str, Any], port: int) -> bool:
    """Say whether a rule is about a TCP port."""
    return bool(
        rule["IpProtocol"] == "-1"
        or (rule["IpProtocol"] == "tcp" and rule["FromPort"] <= port <= rule["ToPort"])
    )


def is_in_range(address: str, block: str | None) -> bool:
    """Say whether an address is in a block of addresses."""
    return bool(address and block and ipaddress.ip_address(address) in ipaddress.ip_network(block))
