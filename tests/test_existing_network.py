import re
from pathlib import Path

import pytest
import yaml

from sandbox import list_resources
from sandbox.small_cluster import make_cluster
from slurm_cluster.config import temp_config
from slurm_cluster.errors import ClusterError
from slurm_cluster.steps import existing_network
from tests.support import REGION
from tests.support.task_runner import get_output

FILE = Path("temp-config.yml")


@pytest.fixture
def office(ec2, key_pair):
    """Create a network without the wizard: a public subnet, and a private one with a NAT gateway."""
    vpc = ec2.create_vpc(CidrBlock="10.5.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    public, private = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.5.{n}.0/24")["Subnet"]["SubnetId"] for n in (0, 1)
    ]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    [main] = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=main["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address)["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=private)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    return {
        "vpc": vpc,
        "public": public,
        "private": private,
        "main": main["RouteTableId"],
        "table": table,
        "gateway": gateway,
    }


def configure(invoke, network, status=0):
    flags = ["--head-node-subnet", network["public"], "--compute-subnet", network["private"]]
    return get_output(invoke("configure", *flags), status)


def tags(ec2, network):
    found = ec2.describe_vpcs(VpcIds=[network["vpc"]])["Vpcs"][0].get("Tags", [])
    return found + [tag for each in subnets(ec2, network) for tag in each.get("Tags", [])]


def subnets(ec2, network):
    return ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [network["vpc"]]}])["Subnets"]


def test_existing_subnets_are_written_to_temp_config(office, invoke):
    before = list_resources(REGION)
    assert office["vpc"] in configure(invoke, office)
    assert temp_config.read_temp_config(FILE) == (
        REGION,
        "pcluster-ubuntu",
        office["public"],
        office["private"],
    )
    assert list_resources(REGION) == before


def test_using_it_again_changes_nothing(office, invoke):
    configure(invoke, office)
    before = FILE.read_text()
    configure(invoke, office)
    assert FILE.read_text() == before


def test_second_network_is_refused(office, network, invoke):
    FILE.unlink()
    assert f"pcluster-ubuntu has the network {network['vpc']}" in configure(invoke, office, status=1)
    assert not FILE.exists()


def test_cluster_in_it_is_deleted_and_the_network_kept(office, ec2, cloudformation, invoke):
    before = list_resources(REGION)
    configure(invoke, office)
    make_cluster("pcluster-ubuntu", office, cloudformation)
    get_output(invoke("connect-uqle"))
    assert re.search(rf"{office['vpc']}, .*existing network", get_output(invoke("status")))
    get_output(invoke("disconnect-uqle"))
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    printed = get_output(invoke("down", "--yes", "--all"))
    assert f"Kept the network {office['vpc']}" in printed
    left = {thing for thing in list_resources(REGION) if thing.kind not in ("bucket", "object")}
    assert left == before
    assert tags(ec2, office) == []
    assert FILE.exists()


def test_network_of_another_wizard_is_kept(network, ec2, invoke):
    ec2.delete_tags(Resources=[network["vpc"]], Tags=[{"Key": "slurm-cluster"}])
    FILE.unlink()
    configure(invoke, network)
    assert f"Kept the network {network['vpc']}" in get_output(invoke("delete-network"))
    FILE.unlink()
    Path("config-parameters.json").write_text(f'{{"PUBLIC_SUBNET": "{network["public"]}"}}')
    assert f"Kept the network {network['vpc']}" in get_output(invoke("delete-network"))
    assert len(subnets(ec2, network)) == 2


def test_own_network_is_reused_after_the_file_was_lost(network, ec2, invoke):
    FILE.unlink()
    configure(invoke, network)
    assert f"Deleted the network {network['vpc']}" in get_output(invoke("delete-network"))


def test_unusable_network_is_refused_with_all_reasons(office, ec2, invoke):
    ec2.modify_vpc_attribute(VpcId=office["vpc"], EnableDnsHostnames={"Value": False})
    ec2.modify_vpc_attribute(VpcId=office["vpc"], EnableDnsSupport={"Value": False})
    for table in office["main"], office["table"]:
        ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    printed = configure(invoke, office, status=1)
    for reason in (
        "has DNS support turned off",
        "has DNS hostnames turned off",
        "no route to an internet gateway",
        "no outbound internet access, such as a NAT gateway",
    ):
        assert reason in printed
    assert not FILE.exists()


@pytest.mark.parametrize(
    ("servers", "reason"),
    [
        (["10.9.0.53", "192.0.2.53"], r"other DNS servers than Amazon's \(10.9.0.53, 192.0.2.53\)"),
        (["AmazonProvidedDNS", "192.0.2.53"], r"other DNS servers than Amazon's \(192.0.2.53\)"),
        ([], "without a DNS server"),
    ],
)
def test_foreign_dns_servers_are_refused(office, ec2, servers, reason):
    use_dns_servers(ec2, office["vpc"], servers)
    with pytest.raises(ClusterError, match=reason):
        existing_network.check_subnets(ec2, office["public"], office["private"])


@pytest.mark.parametrize("servers", [["AmazonProvidedDNS"], ["169.254.169.253"], ["10.5.0.2"]])
def test_amazons_dns_servers_are_accepted_by_name_and_address(office, ec2, servers):
    use_dns_servers(ec2, office["vpc"], servers)
    assert existing_network.check_subnets(ec2, office["public"], office["private"]) == office["vpc"]


def use_dns_servers(ec2, vpc, servers):
    """Associate a VPC with new DHCP options."""
    options = [{"Key": "domain-name", "Values": ["office.example"]}]
    if servers:
        options.append({"Key": "domain-name-servers", "Values": servers})
    created = ec2.create_dhcp_options(DhcpConfigurations=options)["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=created, VpcId=vpc)


def test_internet_gateway_needs_public_addresses(office, ec2):
    ec2.replace_route(
        RouteTableId=office["table"], DestinationCidrBlock="0.0.0.0/0", GatewayId=office["gateway"]
    )
    with pytest.raises(ClusterError, match="assigns no public addresses"):
        existing_network.check_subnets(ec2, office["public"], office["private"])
    ec2.modify_subnet_attribute(SubnetId=office["private"], MapPublicIpOnLaunch={"Value": True})
    assert existing_network.check_subnets(ec2, office["public"], office["private"]) == office["vpc"]


def test_missing_or_separate_subnets_are_named(office, ec2):
    with pytest.raises(ClusterError, match="--compute-subnet is subnet-00000000, which is not a subnet"):
        existing_network.check_subnets(ec2, office["public"], "subnet-00000000")
    with pytest.raises(ClusterError, match="Pass --head-node-subnet too"):
        existing_network.check_subnets(ec2, "", office["private"])
    vpc = ec2.create_vpc(CidrBlock="10.6.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_subnet(VpcId=vpc, CidrBlock="10.6.0.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(ClusterError, match="two subnets of one VPC"):
        existing_network.check_subnets(ec2, office["public"], foreign)


def test_key_pair_is_required(office, ec2, invoke):
    ec2.delete_key_pair(KeyName="pcluster-ubuntu")
    assert "invoke create-key-pair" in configure(invoke, office, status=1)


def test_file_of_another_network_is_kept(office, network, invoke):
    before = FILE.read_text()
    assert "is for another network" in configure(invoke, office, status=1)
    assert FILE.read_text() == before == yaml.safe_dump(yaml.safe_load(before))
