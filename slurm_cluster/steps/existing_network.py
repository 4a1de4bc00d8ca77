"""Use an existing network: check it first, and never tag, change or delete it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster import files
from slurm_cluster.aws import key_pair, network, routes
from slurm_cluster.config import temp_config
from slurm_cluster.config.temp_config import TempConfig
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef, SubnetTypeDef

AMAZON_DNS = {"AmazonProvidedDNS", "169.254.169.253"}


def use_existing_network(ec2: EC2Client, path: Path, cluster_name: str, wanted: TempConfig) -> str:
    """Write temp-config.yml for an existing network. Nothing in AWS changes.

    Args:
        ec2: a client of EC2.
        path: temp-config.yml.
        cluster_name: the cluster's name.
        wanted: the values for the file.

    Returns:
        A sentence that says what was done.

    Raises:
        ClusterError: a cluster cannot run in the network, the key pair does not exist, or the cluster has
            another network.
    """
    if files.exists(path) and temp_config.read_temp_config(path) != wanted:
        raise ClusterError(f"{path} is for another network. Move the file away, then run this again.")
    key_pair.require_key_pair(ec2, wanted.key_pair)
    vpc = check_subnets(ec2, wanted.public_subnet, wanted.private_subnet)
    network.refuse_second_network(ec2, cluster_name, allowed_vpc=vpc)
    if not files.exists(path):
        temp_config.write_temp_config(path, wanted)
    return f"{path} contains subnets of {vpc}. No task deletes this network."


def check_subnets(ec2: EC2Client, head_node: str, compute: str) -> str:
    """Check that nodes can boot in these subnets. Otherwise, the creation would fail after half an hour.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/network-configuration-v3.html

    Args:
        ec2: a client of EC2.
        head_node: the subnet of the head node and the UQLE machine.
        compute: the subnet of the compute nodes.

    Returns:
        The id of the VPC of both.

    Raises:
        ClusterError: a cluster cannot run in them; it lists all reasons.
    """
    public = require_subnet(ec2, "--head-node-subnet", head_node)
    private = require_subnet(ec2, "--compute-subnet", compute)
    vpc = public["VpcId"]
    if private["VpcId"] != vpc:
        raise ClusterError(
            f"{head_node} is in {vpc}, and {compute} is in {private['VpcId']}. Choose two subnets of one VPC."
        )
    faults = [
        f"{vpc} has {setting} turned off: nodes cannot resolve the file system's name. Turn it on."
        for setting in list_missing_dns_settings(ec2, vpc)
    ]
    servers = list_dns_servers(ec2, vpc)
    if not servers:
        faults.append(f"{vpc} has DHCP options without a DNS server. Use AmazonProvidedDNS.")
    foreign = sorted(servers - AMAZON_DNS)
    if foreign:
        faults.append(
            f"{vpc} uses other DNS servers than Amazon's ({', '.join(foreign)}): the nodes cannot resolve "
            "the names of the file system and the head node. Use AmazonProvidedDNS in its DHCP options."
        )
    if not routes.is_public(ec2, vpc, head_node):
        faults.append(f"{head_node} has no route to an internet gateway: you cannot reach the head node.")
    route = routes.find_default_route(ec2, vpc, compute)
    if not route:
        faults.append(
            f"{compute} has no outbound internet access, such as a NAT gateway: "
            "nodes cannot download packages."
        )
    elif routes.is_to_internet_gateway(route) and not private["MapPublicIpOnLaunch"]:
        faults.append(
            f"{compute} assigns no public addresses: nodes cannot use its route to the internet gateway."
        )
    if faults:
        raise ClusterError("\n  ".join(["A cluster cannot run in this network:", *faults]))
    return vpc


def require_subnet(ec2: EC2Client, flag: str, identifier: str) -> SubnetTypeDef:
    """Return a subnet.

    Raises:
        ClusterError: its flag is missing, or there is no such subnet.
    """
    if not identifier:
        raise ClusterError(
            f"Pass {flag} too. "
            "An existing network needs a subnet for the head node and one for the compute nodes."
        )
    subnets = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [identifier]}])["Subnets"]
    if not subnets:
        region = ec2.meta.region_name
        raise ClusterError(f"{flag} is {identifier}, which is not a subnet of this account in {region}.")
    return subnets[0]


def list_missing_dns_settings(ec2: EC2Client, vpc_id: str) -> list[str]:
    """Return the names of the DNS settings that are off.

    https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-mount-cmd-dns-name.html
    """
    support = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsSupport")["EnableDnsSupport"]
    hostnames = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsHostnames")["EnableDnsHostnames"]
    settings = {"DNS support": support, "DNS hostnames": hostnames}
    return [name for name, setting in settings.items() if not setting["Value"]]


def list_dns_servers(ec2: EC2Client, vpc_id: str) -> set[str]:
    """Return the DNS servers in a VPC's DHCP options; AmazonProvidedDNS stands for the VPC's own resolver.

    A VPC without DHCP options has none.
    https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
    """
    described = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]
    identifiers: FilterTypeDef = {"Name": "dhcp-options-id", "Values": [described["DhcpOptionsId"]]}
    servers = {
        value["Value"]
        for options in ec2.describe_dhcp_options(Filters=[identifiers])["DhcpOptions"]
        for option in options["DhcpConfigurations"]
        if option["Key"] == "domain-name-servers"
        for value in option["Values"]
    }
    own = str(ipaddress.ip_network(described["CidrBlock"])[2])
    return {"AmazonProvidedDNS" if server == own else server for server in servers}
