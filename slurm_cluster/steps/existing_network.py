"""A network that was there before the cluster: looked at before it is used, and never tagged, changed or deleted by us."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster import files
from slurm_cluster.aws import key_pair, network
from slurm_cluster.config import temp_config
from slurm_cluster.config.temp_config import TempConfig
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import RouteTypeDef, SubnetTypeDef

ANY_ADDRESS = "0.0.0.0/0"


def use_existing_network(ec2: EC2Client, path: Path, cluster: str, wanted: TempConfig) -> str:
    """Write the temp-config.yml that the wizard writes when it is given a network; nothing in AWS changes.

    Args:
        ec2: a client of EC2.
        path: temp-config.yml.
        cluster: who is to live in the network.
        wanted: its region, key pair and subnets.

    Returns:
        What was done, in a sentence.

    Raises:
        ClusterError: a cluster would not work in it, the key pair is not there, or there is another network for the cluster.

    """
    if files.exists(path) and temp_config.read_temp_config(path) != wanted:
        raise ClusterError(f"{path} is here, and names another network: move it away, then run this again.")
    key_pair.require_key_pair(ec2, wanted.key_pair)
    vpc = check_subnets(ec2, wanted.public_subnet, wanted.private_subnet)
    network.refuse_second_network(ec2, cluster, besides=vpc)
    if not files.exists(path):
        temp_config.write_temp_config(path, wanted)
    return f"{path} names subnets of {vpc}. What was there before the cluster is never taken away with it."


def check_subnets(ec2: EC2Client, head_node: str, compute: str) -> str:
    """Refuse subnets that the nodes cannot boot in, which would show half an hour later.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/network-configuration-v3.html

    Args:
        ec2: a client of EC2.
        head_node: the subnet of the head node and the UQLE machine.
        compute: the subnet of the compute nodes.

    Returns:
        The VPC that both are in.

    Raises:
        ClusterError: they do not fit; all reasons are named.

    """
    public, private = (
        describe_subnet(ec2, "--head-node-subnet", head_node),
        describe_subnet(ec2, "--compute-subnet", compute),
    )
    vpc = public["VpcId"]
    if private["VpcId"] != vpc:
        raise ClusterError(
            f"{head_node} is in {vpc} and {compute} in {private['VpcId']}: name two subnets of one VPC."
        )
    faults = [
        f"{vpc} has no {what}, without which the file system's name is not found"
        for what in list_missing_dns_settings(ec2, vpc)
    ]
    if not find_default_route(ec2, vpc, head_node).get("GatewayId", "").startswith("igw-"):
        faults.append(f"{head_node} has no route to an internet gateway, so nobody reaches the head node")
    out = find_default_route(ec2, vpc, compute)
    if not out:
        faults.append(f"{compute} has no route out, as a NAT gateway, so its nodes find no packages")
    elif out.get("GatewayId", "").startswith("igw-") and not private["MapPublicIpOnLaunch"]:
        faults.append(
            f"{compute} gives no public addresses, so its internet gateway is no way out for the nodes"
        )
    if faults:
        raise ClusterError(f"A cluster does not work in this network: {'; '.join(faults)}.")
    return vpc


def describe_subnet(ec2: EC2Client, flag: str, identifier: str) -> SubnetTypeDef:
    """Give a subnet as EC2 has it.

    Raises:
        ClusterError: it is not told, or there is none.
    """
    if not identifier:
        raise ClusterError(f"Name {flag} too: an existing network is told by both of its subnets.")
    found = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [identifier]}])["Subnets"]
    if not found:
        raise ClusterError(f"{flag} is {identifier}, which is not a subnet of this region and account.")
    return found[0]


def list_missing_dns_settings(ec2: EC2Client, vpc: str) -> list[str]:
    """Name the DNS settings that are off.

    https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-mount-cmd-dns-name.html
    """
    support = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsSupport")["EnableDnsSupport"]["Value"]
    names = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"][
        "Value"
    ]
    return [what for what, on in (("DNS support", support), ("DNS hostnames", names)) if not on]


def find_default_route(ec2: EC2Client, vpc: str, subnet: str) -> RouteTypeDef:
    """Give the route by which a subnet reaches the internet, of its own table or else the VPC's; empty where it has none."""
    pages = ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    tables = [table for page in pages for table in page["RouteTables"]]
    own = [table for table in tables for each in table["Associations"] if each.get("SubnetId") == subnet]
    main = [table for table in tables for each in table["Associations"] if each.get("Main")]
    ways = [route for route in (own or main)[0]["Routes"] if route.get("DestinationCidrBlock") == ANY_ADDRESS]
    working = [route for route in ways if route["State"] == "active"]
    return working[0] if working else {}
