"""Who may reach whom on which port, by the rules of the security groups alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any, NamedTuple

from slurm_cluster.config.uqle_env import PORT
from slurm_cluster.views.cluster_state import Standing, groups_of, target_for

NFS, SSH, SLURMD, SLURMCTLD = 2049, 22, 6818, 6820
PORTS = {NFS: "NFS", SSH: "SSH", SLURMD: "slurmd", SLURMCTLD: "slurmctld", PORT: "Slurm REST API"}
CREATE, CONNECT, ADMIT = "invoke create-cluster", "invoke create-instance", "invoke allow-head-node-group"
UPDATE, MEMBER = "invoke update-cluster", "invoke disconnect-uqle connect-uqle"
PCLUSTERS = "pcluster made its rule with the cluster: put it back"
ANYBODY = ("0.0.0.0/0", "::/0")


class End(NamedTuple):
    """One who reaches, or is reached: its name, its groups, its private address, and what makes it."""

    name: str
    groups: list[str]
    address: str
    make: str


class Reach(NamedTuple):
    """Who may reach whom over TCP: by which rules, and what to do where there is none; nothing to do: none is wanted."""

    source: str
    target: str
    port: int
    rules: list[str]
    next: str


def reaches(s: Standing) -> dict[str, Reach]:
    """Say who may reach whom, by the name that the arrow has in the drawing."""
    head = End("head node", groups_of(s.head), s.head.get("PrivateIpAddress", ""), CREATE)
    uqle = End("UQLE instance", groups_of(s.uqle), s.uqle.get("PrivateIpAddress", ""), CONNECT)
    compute = End("compute nodes", [s.compute_group] if s.compute_group else [], "", CREATE)
    shared = End("file system", target_for(s, s.uqle or s.head).get("Groups", []), "", CREATE)
    return {
        "ssh_uqle": from_outside(s, uqle, SSH, UPDATE),
        "ssh_head": from_outside(s, head, SSH, UPDATE),
        "rest_outside": from_outside(s, head, PORT, ""),
        "rest": within(s, uqle, head, PORT, ADMIT),
        "slurmctld": within(s, compute, head, SLURMCTLD, PCLUSTERS),
        "slurmd": within(s, head, compute, SLURMD, PCLUSTERS),
        "nfs_uqle": within(s, uqle, shared, NFS, MEMBER),
        "nfs_head": within(s, head, shared, NFS, PCLUSTERS),
        "nfs_compute": within(s, compute, shared, NFS, PCLUSTERS),
    }


def from_outside(s: Standing, target: End, port: int, to_do: str) -> Reach:
    """Say who outside the network's groups may reach a port."""
    rules = [rule for rule in inbound(s, target.groups) if covers(rule, port) and "ReferencedGroupInfo" not in rule]
    named = [f"{peer(rule)} (anybody)" if peer(rule) in ANYBODY else peer(rule) for rule in rules]
    ids = [rule["SecurityGroupRuleId"] for rule in rules]
    return Reach(", ".join(named) or "outside", target.name, port, ids, to_do and (to_do if target.groups else target.make))


def within(s: Standing, source: End, target: End, port: int, to_do: str) -> Reach:
    """Say whether one end in the network may reach a port of another."""
    rules = [rule for rule in inbound(s, target.groups) if covers(rule, port)]
    ids = [r["SecurityGroupRuleId"] for r in rules if peer(r) in source.groups or is_in(source.address, r.get("CidrIpv4"))]
    absent = next((end.make for end in (target, source) if not end.groups), "")
    return Reach(source.name, target.name, port, ids, absent or to_do)


def inbound(s: Standing, groups: Collection[str]) -> list[dict[str, Any]]:
    """Give the inbound rules of groups: those for a port first, and those that admit the group's own members last."""
    own = [rule for rule in s.rules if rule["GroupId"] in groups and not rule["IsEgress"]]
    return sorted(own, key=lambda rule: (rule["IpProtocol"] == "-1", rule["FromPort"], peer(rule) == rule["GroupId"], peer(rule)))


def self_rules(s: Standing) -> list[str]:
    """Give the ids of the rules by which the head node's group admits its own members, all traffic."""
    rules = [rule for rule in inbound(s, [s.group]) if rule["IpProtocol"] == "-1" and peer(rule) == s.group]
    return [rule["SecurityGroupRuleId"] for rule in rules]


def peer(rule: dict[str, Any]) -> str:
    """Give the source of an inbound rule: a group, a range of addresses or a prefix list."""
    group: str = rule.get("ReferencedGroupInfo", {}).get("GroupId", "")
    return group or rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId", "")


def traffic(rule: dict[str, Any]) -> tuple[str, str, str]:
    """Give a rule's type, protocol and port range, in the console's words."""
    protocol, first, last = rule["IpProtocol"], rule["FromPort"], rule["ToPort"]
    if protocol == "-1":
        return "All traffic", "All", "All"
    known = {("tcp", SSH): "SSH", ("tcp", NFS): "NFS"} if first == last else {}
    ports = str(first) if first == last else f"{first} - {last}"
    return known.get((protocol, first), f"Custom {protocol.upper()}"), protocol.upper(), ports


def covers(rule: dict[str, Any], port: int) -> bool:
    """Say whether a rule is about a TCP port."""
    return bool(rule["IpProtocol"] == "-1" or (rule["IpProtocol"] == "tcp" and rule["FromPort"] <= port <= rule["ToPort"]))


def is_in(address: str, block: str | None) -> bool:
    """Say whether an address is in a block of addresses."""
    return bool(address and block and ipaddress.ip_address(address) in ipaddress.ip_network(block))
