"""The VPC's network as the emulated AWS describes it: security groups, public addresses, private names."""

import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.nodes.support.machine import (
    create_network_namespace,
    delete_network_namespace,
    run_on_host,
    wait_until,
)
from tests.nodes.support.services import METADATA_ADDRESS, NAME_SERVER, start_tool

OPERATOR_ADDRESS = "198.51.100.7"
# Security groups do not filter responses, nor traffic to the name server and the metadata service.
SECURITY_GROUP_RULES = """
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
# Connections are refused, as when no program listens at the address.
REFUSE_RULES = """
table ip refuse {{
  chain output {{
    type filter hook output priority 0;
    ip daddr {address} tcp flags syn reject with tcp reset
  }}
}}
"""
INTERNET_GATEWAY_RULES = """
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
    """The network of the emulated AWS's machines, on the bridge that `cell` created.

    Args:
        ec2: an EC2 client.

    """

    def __init__(self, ec2: Any) -> None:
        self.ec2, self.addresses = ec2, list[str]()  # the addresses that security groups filter
        run_on_host("ip", "address", "add", f"{OPERATOR_ADDRESS}/32", "dev", "lo")
        public_addresses = "203.0.113.0/24"  # of the emulated AWS
        run_on_host("ip", "route", "add", public_addresses, "dev", "nodes", "src", OPERATOR_ADDRESS)
        self.name_server: subprocess.Popen[bytes] | None = None

    def list_interfaces(self) -> list[dict[str, Any]]:
        """Return all network interfaces of the account."""
        pages = self.ec2.get_paginator("describe_network_interfaces").paginate()
        return [interface for page in pages for interface in page["NetworkInterfaces"]]

    def list_security_groups(self) -> dict[str, Any]:
        """Return all security groups of the account, by id."""
        pages = self.ec2.get_paginator("describe_security_groups").paginate()
        return {group["GroupId"]: group for page in pages for group in page["SecurityGroups"]}

    def connect_machine(self, address: str) -> str:
        """Create the network namespace of a machine, filtered by its security groups. Return its name."""
        namespace = create_network_namespace(address)
        self.apply_security_groups(address)
        return namespace

    def disconnect_machine(self, address: str) -> None:
        """Delete the network namespace of a machine."""
        self.addresses.remove(address)
        delete_network_namespace(address)

    def apply_security_groups(self, *addresses: str) -> None:
        """Filter the traffic of these addresses, and of all earlier ones, by the current security groups."""
        self.addresses += [address for address in addresses if address not in self.addresses]
        for address in self.addresses:
            rules = render_address_rules(self.list_interfaces(), self.list_security_groups(), address)
            load_nft_rules(rules, f"m{address}")

    def forward_public_addresses(self) -> None:
        """Forward each public address to its machine, as an internet gateway does."""
        rules = [
            f"ip daddr {interface['Association']['PublicIp']} dnat to {interface['PrivateIpAddress']}"
            for interface in self.list_interfaces()
            if interface.get("Association")
        ]
        load_nft_rules(INTERNET_GATEWAY_RULES.format(addresses="\n    ".join(rules)))

    def start_name_server(self, addresses: dict[str, str]) -> None:
        """Start a name server that resolves only these names."""
        run_on_host("ip", "address", "add", f"{NAME_SERVER}/32", "dev", "lo")
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-resolv"]
        options += ["--no-hosts", "--bind-interfaces", f"--listen-address={NAME_SERVER}"]
        records = [f"--host-record={name},{address}" for name, address in addresses.items()]
        self.name_server = start_tool("dnsmasq", *options, *records, output=Path("/run/name-server.log"))
        wait_until(lambda: is_port_open(NAME_SERVER, 53), 10, "the name server listens")

    def stop(self) -> None:
        """Stop the name server. Everything else ends with the cell."""
        if self.name_server:
            self.name_server.kill()
            self.name_server.wait(10)


class NetworkInterface:
    """A new network interface in the VPC that is connected, but not in any of the cluster's security groups.

    Args:
        network: of the VPC.
        subnet_id: of the interface.

    """

    def __init__(self, network: Network, subnet_id: str) -> None:
        interface = network.ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]
        self.network = network
        self.id, self.address = interface["NetworkInterfaceId"], interface["PrivateIpAddress"]
        self.namespace = network.connect_machine(self.address)

    def join_security_group(self, group_id: str) -> None:
        """Make the interface a member of this security group only."""
        self.network.ec2.modify_network_interface_attribute(NetworkInterfaceId=self.id, Groups=[group_id])
        self.network.apply_security_groups()

    def delete(self) -> None:
        """Delete the interface."""
        self.network.disconnect_machine(self.address)
        self.network.ec2.delete_network_interface(NetworkInterfaceId=self.id)


def render_address_rules(interfaces: list[dict[str, Any]], groups: dict[str, Any], address: str) -> str:
    """Return nft rules that allow only what the security groups of an address allow.

    Args:
        interfaces: all of the account, to find the members of a group.
        groups: all security groups of the account, by id.
        address: of the interface to filter.

    """
    members: dict[str, list[str]] = {group_id: [] for group_id in groups}
    for interface in interfaces:
        for group in interface["Groups"]:
            members[group["GroupId"]].append(interface["PrivateIpAddress"])
    inbound, outbound = list[str](), list[str]()
    for group_id, group in groups.items():
        if address in members[group_id]:
            for permission in group["IpPermissions"]:
                inbound += convert_permission(permission, members, "saddr")
            for permission in group["IpPermissionsEgress"]:
                outbound += convert_permission(permission, members, "daddr")
    return SECURITY_GROUP_RULES.format(
        inbound="\n    ".join(inbound),
        outbound="\n    ".join(outbound),
        name_server=NAME_SERVER,
        metadata=METADATA_ADDRESS,
    )


def convert_permission(permission: dict[str, Any], members: dict[str, list[str]], side: str) -> list[str]:
    """Convert a permission of a security group to nft rules: one for each range and each member of a group.

    Args:
        permission: as EC2 describes it.
        members: the addresses of each group's members.
        side: saddr or daddr, the address of a packet that the permission is about.

    """
    protocol = permission["IpProtocol"]
    ports = f"{protocol} dport {permission['FromPort']}-{permission['ToPort']} " if protocol != "-1" else ""
    peers = [ip_range["CidrIp"] for ip_range in permission["IpRanges"]]
    peers += [member for pair in permission["UserIdGroupPairs"] for member in members[pair["GroupId"]]]
    return [f"ip {side} {peer} {ports}accept" for peer in peers]


def load_nft_rules(rules: str, namespace: str = "") -> None:
    """Load nft rules, all or none of them, in a network namespace or on the host."""
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    subprocess.run([*prefix, "nft", "--file", "-"], input=rules, text=True, check=True)


def is_port_open(address: str, port: int) -> bool:
    """Return whether a program accepts TCP connections there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
