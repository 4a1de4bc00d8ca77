"""The network of a VPC as the emulated AWS has it: security groups filter, public addresses lead in, private names resolve."""

import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.nodes.machine import host, plug_in, unplug, wait_for
from tests.nodes.uqle.services import METADATA, NAME_SERVER, start_tool

PERSON = "198.51.100.7"  # where the person is whose tests these are
# A security group holds no answers up, and neither the name server nor the metadata service.
FILTER = """
add table inet security_groups
delete table inet security_groups
table inet security_groups {{
  chain inbound {{
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iif lo accept
    {inbound}
  }}
  chain outbound {{
    type filter hook output priority 0; policy drop;
    ct state established,related accept
    oif lo accept
    ip daddr {{ {name_server}, {metadata} }} accept
    {outbound}
  }}
}}
"""
# As when nothing listens there.
REFUSE = """
table ip refuse {{
  chain output {{
    type filter hook output priority 0;
    ip daddr {address} tcp flags syn reject with tcp reset
  }}
}}
"""
GATEWAY = """
add table ip internet_gateway
delete table ip internet_gateway
table ip internet_gateway {{
  chain output {{
    type nat hook output priority -100;
    {addresses}
  }}
}}
"""


class Network:
    """The network of the emulated AWS's machines, on the bridge that `cell` made.

    Args:
        ec2: a client of EC2, which knows all that is in it.

    """

    def __init__(self, ec2: Any) -> None:
        self.ec2, self.plugged = ec2, list[str]()
        host("ip", "address", "add", f"{PERSON}/32", "dev", "lo")
        host(
            "ip", "route", "add", "203.0.113.0/24", "dev", "nodes", "src", PERSON
        )  # what the sandbox gives out
        self.name_server: subprocess.Popen[bytes] | None = None

    def interfaces(self) -> list[dict[str, Any]]:
        """Give all network interfaces of the account."""
        pages = self.ec2.get_paginator("describe_network_interfaces").paginate()
        return [interface for page in pages for interface in page["NetworkInterfaces"]]

    def plug_in(self, address: str) -> str:
        """Make the network namespace of a machine, and have its groups filter it."""
        namespace = plug_in(address)
        self.filter(address)
        return namespace

    def filter(self, *addresses: str) -> None:
        """Have the security groups, as they are now, filter what comes to these addresses, and goes out from there."""
        self.plugged += [address for address in addresses if address not in self.plugged]
        for address in self.plugged:
            nft(packet_filter(self.interfaces(), self.groups(), address), f"m{address}")

    def unplug(self, address: str) -> None:
        """Take the network namespace of a machine away."""
        self.plugged.remove(address)
        unplug(address)

    def groups(self) -> dict[str, Any]:
        """Give all security groups of the account."""
        pages = self.ec2.get_paginator("describe_security_groups").paginate()
        return {group["GroupId"]: group for page in pages for group in page["SecurityGroups"]}

    def open_gateway(self) -> None:
        """Lead each public address to its machine."""
        public = {
            i["Association"]["PublicIp"]: i["PrivateIpAddress"]
            for i in self.interfaces()
            if i.get("Association")
        }
        nft(GATEWAY.format(addresses="\n    ".join(f"ip daddr {a} dnat to {b}" for a, b in public.items())))

    def resolve(self, names: dict[str, str]) -> None:
        """Answer for these names, and for no other."""
        host("ip", "address", "add", f"{NAME_SERVER}/32", "dev", "lo")
        options = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]
        records = [f"--host-record={name},{address}" for name, address in names.items()]
        command = ["dnsmasq", *options, f"--listen-address={NAME_SERVER}", *records]
        self.name_server = start_tool(*command, output=Path("/run/name-server.log"))
        wait_for(lambda: answers(NAME_SERVER, 53), 10, "the name server answers")

    def stop(self) -> None:
        """End the name server; all else goes with the cell."""
        if self.name_server:
            self.name_server.kill()
            self.name_server.wait(10)


class Stranger:
    """A network interface of the VPC that is in none of the cluster's groups, plugged in.

    Args:
        network: that of the VPC.
        subnet: its subnet.

    """

    def __init__(self, network: Network, subnet: str) -> None:
        made = network.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
        self.network, self.id, self.address = network, made["NetworkInterfaceId"], made["PrivateIpAddress"]
        self.namespace = network.plug_in(self.address)

    def join(self, group: str) -> None:
        """Be a member of a security group."""
        self.network.ec2.modify_network_interface_attribute(NetworkInterfaceId=self.id, Groups=[group])
        self.network.filter()

    def remove(self) -> None:
        """Be gone from the VPC."""
        self.network.unplug(self.address)
        self.network.ec2.delete_network_interface(NetworkInterfaceId=self.id)


def packet_filter(interfaces: list[dict[str, Any]], groups: dict[str, Any], address: str) -> str:
    """Give what the security groups of an address allow, and nothing else, in the language of nft.

    Args:
        interfaces: all of the account, for who is a member of a group.
        groups: all of the account, by their ids.
        address: of the interface.

    """
    members: dict[str, list[str]] = {group: [] for group in groups}
    for interface in interfaces:
        for group in interface["Groups"]:
            members[group["GroupId"]].append(interface["PrivateIpAddress"])
    own = [groups[group] for group in groups if address in members[group]]
    inbound = [
        rule for group in own for each in group["IpPermissions"] for rule in rules(each, members, "saddr")
    ]
    outbound = [
        rule
        for group in own
        for each in group["IpPermissionsEgress"]
        for rule in rules(each, members, "daddr")
    ]
    lines = {"inbound": "\n    ".join(inbound), "outbound": "\n    ".join(outbound)}
    return FILTER.format(name_server=NAME_SERVER, metadata=METADATA, **lines)


def rules(permission: dict[str, Any], members: dict[str, list[str]], side: str) -> list[str]:
    """Give the rules of nft for a permission of a security group: one for each range, and for each group's members."""
    kind = permission["IpProtocol"]
    ports = "" if kind == "-1" else f"{kind} dport {permission['FromPort']}-{permission['ToPort']} "
    peers = [each["CidrIp"] for each in permission["IpRanges"]]
    peers += [member for pair in permission["UserIdGroupPairs"] for member in members[pair["GroupId"]]]
    return [f"ip {side} {peer} {ports}accept" for peer in peers]


def nft(rules: str, namespace: str = "") -> None:
    """Load rules, all or none of them."""
    where = ["ip", "netns", "exec", namespace] if namespace else []
    subprocess.run([*where, "nft", "--file", "-"], input=rules, text=True, check=True)


def answers(address: str, port: int) -> bool:
    """Say whether anything takes connections there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
