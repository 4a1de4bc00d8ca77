"""The network that the wizard made: a VPC, and in it the subnets of a stack."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster import aws, shared_storage, stack
from slurm_cluster.errors import ClusterError
from slurm_cluster.progress import Progress

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import VpcTypeDef
    from types_boto3_efs import EFSClient

VPC_PREFIX = "ParallelClusterVPC-"  # how the wizard names its VPCs, and below its stacks
STARTED = "%Y%m%d%H%M%S"  # how both end: the second in which the wizard was started, in UTC
STACK_PREFIX = "parallelclusternetworking-"


class Network(NamedTuple):
    """A network that may be taken away with its cluster."""

    vpc: str
    stacks: list[str]


def name(vpc: VpcTypeDef) -> str:
    """Give the VPC's Name tag."""
    return tag(vpc, "Name")


def tag(vpc: VpcTypeDef, key: str) -> str:
    """Give a tag of a VPC, or nothing."""
    return next((each["Value"] for each in vpc.get("Tags", []) if each["Key"] == key), "")


def vpcs(ec2: EC2Client) -> list[VpcTypeDef]:
    """Give all VPCs of the region."""
    return [vpc for page in ec2.get_paginator("describe_vpcs").paginate() for vpc in page["Vpcs"]]


def of_cluster(ec2: EC2Client, cluster: str) -> list[str]:
    """Give the ids of the VPCs that carry the cluster's tag."""
    return [vpc["VpcId"] for vpc in vpcs(ec2) if tag(vpc, aws.TAG) == cluster]


def subnets(ec2: EC2Client, vpc: str) -> list[str]:
    """Give the ids of a VPC's subnets."""
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    return [subnet["SubnetId"] for page in pages for subnet in page["Subnets"]]


def vpc_of_subnet(ec2: EC2Client, subnet: str) -> VpcTypeDef | None:
    """Give the VPC that a subnet is in, if there is such a subnet."""
    found = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [subnet]}])["Subnets"]
    return ec2.describe_vpcs(VpcIds=[found[0]["VpcId"]])["Vpcs"][0] if found else None


def claim(ec2: EC2Client, vpc: str, cluster: str) -> None:
    """Tag a VPC as the cluster's."""
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": aws.TAG, "Value": cluster}])


def made_since(ec2: EC2Client, before: Collection[str], began: str) -> list[str]:
    """Give the VPCs that can be the one of a wizard: new, nobody's, and named by the second of its start, or not named yet.

    Args:
        ec2: a client of EC2.
        before: the ids of the VPCs that were there before.
        began: when the wizard was started, as in the names of its VPCs.

    """
    new = [vpc for vpc in vpcs(ec2) if vpc["VpcId"] not in before and not tag(vpc, aws.TAG)]
    latest = (datetime.strptime(began, STARTED) + timedelta(minutes=2)).strftime(STARTED)
    ours = [vpc for vpc in new if began <= name(vpc).removeprefix(VPC_PREFIX) <= latest]
    return [vpc["VpcId"] for vpc in new if vpc in ours or (not name(vpc) and not subnets(ec2, vpc["VpcId"]))]


def refuse_second(ec2: EC2Client, cluster: str, besides: str = "") -> None:
    """Refuse to use another network than the one that carries the cluster's tag.

    Args:
        ec2: a client of EC2.
        cluster: whose.
        besides: the VPC that is to be used, where it is there already.

    Raises:
        ClusterError: an earlier run left one.
    """
    left = [vpc for vpc in of_cluster(ec2, cluster) if vpc != besides]
    if left:
        raise ClusterError(
            f"{', '.join(left)} is the network of {cluster}, but temp-config.yml is not here: "
            "work in the folder that has it, or remove the network with `invoke delete-network`."
        )


def find(ec2: EC2Client, cloudformation: CloudFormationClient, cluster: str, subnet: str | None) -> Network | None:
    """Find the network that goes with a cluster: by our tag, else the one of the wizard's stack that made its subnet.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        cluster: whose.
        subnet: the public subnet of temp-config.yml, where the wizard wrote it.

    Returns:
        None where there is none that may be taken away: it belongs to another cluster, or the wizard did not make it.

    """
    owned = of_cluster(ec2, cluster)
    if not owned and subnet:
        vpc = vpc_of_subnet(ec2, subnet)
        if vpc and not tag(vpc, aws.TAG) and subnet in wizard_subnets(cloudformation, vpc["VpcId"]):
            owned = [vpc["VpcId"]]
    if len(owned) > 1:
        raise ClusterError(f"{', '.join(owned)} are all tagged {aws.TAG}={cluster}: take the tag off those that are not.")
    return Network(owned[0], wizard_stacks(cloudformation, owned[0])) if owned else None


def why_not_found(ec2: EC2Client, cluster: str, subnet: str | None) -> str:
    """Say why there is no network to take away, where the person's files may name a subnet."""
    vpc = vpc_of_subnet(ec2, subnet) if subnet else None
    if not vpc:
        return f"There is no network that was made for {cluster}."
    return f"The network {vpc['VpcId']} stays: it lacks the tag {aws.TAG}={cluster}, by which the cluster's own is found."


def wizard_stacks(cloudformation: CloudFormationClient, vpc: str) -> list[str]:
    """Give the names of the stacks with which the wizard filled a VPC."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    made = [each for page in pages for each in page["Stacks"] if each["StackName"].startswith(STACK_PREFIX)]
    return [each["StackName"] for each in made if {"ParameterKey": "VpcId", "ParameterValue": vpc} in each.get("Parameters", [])]


def wizard_subnets(cloudformation: CloudFormationClient, vpc: str) -> list[str]:
    """Give the ids of the subnets that the wizard made in a VPC."""
    made = wizard_stacks(cloudformation, vpc)
    return [subnet for each in made for subnet in stack.resources(cloudformation, each, "AWS::EC2::Subnet")]


def others_in(ec2: EC2Client, cloudformation: CloudFormationClient, network: Network) -> list[str]:
    """Name what is in the network and not of the wizard: it would be cut off, or refuse to be deleted.

    Returns:
        The ids of subnets, network interfaces and security groups.

    """
    in_vpc = [{"Name": "vpc-id", "Values": [network.vpc]}]
    pages = ec2.get_paginator("describe_network_interfaces").paginate(Filters=in_vpc)  # type: ignore[arg-type]
    interfaces = [each for page in pages for each in page["NetworkInterfaces"]]
    gateways = {
        address.get("NetworkInterfaceId")
        for page in ec2.get_paginator("describe_nat_gateways").paginate(Filters=in_vpc)  # type: ignore[arg-type]
        for gateway in page["NatGateways"]
        for address in gateway["NatGatewayAddresses"]
    }
    group_pages = ec2.get_paginator("describe_security_groups").paginate(Filters=in_vpc)  # type: ignore[arg-type]
    groups = [each for page in group_pages for each in page["SecurityGroups"] if each["GroupName"] != "default"]
    others = [subnet for subnet in subnets(ec2, network.vpc) if subnet not in wizard_subnets(cloudformation, network.vpc)]
    others += [
        each.get("Attachment", {}).get("InstanceId") or each["NetworkInterfaceId"]
        for each in interfaces
        if each["NetworkInterfaceId"] not in gateways
    ]
    return sorted({*others, *(each["GroupId"] for each in groups)})


def refuse_in_use(ec2: EC2Client, cloudformation: CloudFormationClient, efs: EFSClient, cluster: str, network: Network) -> None:
    """Refuse to take a network away that something is in.

    Raises:
        ClusterError: the cluster, or something that the wizard did not make, is in it; it names what.
    """
    if stack.find(cloudformation, cluster):
        raise ClusterError(f"The cluster {cluster} is in the network {network.vpc}: `invoke delete-cluster` first.")
    others = others_in(ec2, cloudformation, network)
    if others:
        shared_storage.refuse_kept(cloudformation, efs, network.vpc, subnets(ec2, network.vpc))
        raise ClusterError(f"{', '.join(others)} is in {network.vpc} and was not made by the wizard: remove it first.")


def absent(ec2: EC2Client, subnets: Collection[str]) -> set[str]:
    """Give those of the subnets that are not there."""
    found = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": sorted(subnets)}])["Subnets"] if subnets else []
    return set(subnets) - {subnet["SubnetId"] for subnet in found}


def delete_vpc(ec2: EC2Client, vpc: str) -> None:
    """Delete a VPC in which nothing is any more."""
    with aws.done_before("InvalidVpcID.NotFound"):
        ec2.delete_vpc(VpcId=vpc)


def delete_stack(cloudformation: CloudFormationClient, made: str) -> Iterator[Progress]:
    """Delete a stack of the wizard, and give the progress of it until it is gone."""
    found = stack.find(cloudformation, made)
    if found:
        before = stack.newest_event(cloudformation, found["StackId"])
        cloudformation.delete_stack(StackName=made)
        yield from stack.watch(cloudformation, found["StackId"], before)
