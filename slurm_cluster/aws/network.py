"""The network that the wizard made: a VPC, and in it the subnets of a stack."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import clients, shared_storage, stack
from slurm_cluster.errors import ClusterError, NetworkInUseError
from slurm_cluster.output import Progress

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import VpcTypeDef
    from types_boto3_efs import EFSClient

VPC_PREFIX = "ParallelClusterVPC-"  # how the wizard names its VPCs, and below its stacks
TIMESTAMP = "%Y%m%d%H%M%S"  # how both end: the second in which the wizard was started, in UTC
STACK_PREFIX = "parallelclusternetworking-"


class Network(NamedTuple):
    """A network that may be taken away with its cluster."""

    vpc: str
    stacks: list[str]


class UnclaimedVpc(NamedTuple):
    """A VPC that a wizard made and that nothing proves to be a cluster's.

    Args:
        id: its id.
        name: its Name tag, or nothing.
        stacks: the names of the wizard's stacks in it.
        nat_gateways: the ids of its NAT gateways.
    """

    id: str
    name: str
    stacks: list[str]
    nat_gateways: list[str]


def get_vpc_name(vpc: VpcTypeDef) -> str:
    """Give the VPC's Name tag."""
    return get_tag(vpc, "Name")


def get_tag(vpc: VpcTypeDef, key: str) -> str:
    """Give a tag of a VPC, or nothing."""
    return next((each["Value"] for each in vpc.get("Tags", []) if each["Key"] == key), "")


def list_vpcs(ec2: EC2Client) -> list[VpcTypeDef]:
    """Give all VPCs of the region."""
    return [vpc for page in ec2.get_paginator("describe_vpcs").paginate() for vpc in page["Vpcs"]]


def list_cluster_vpcs(ec2: EC2Client, cluster: str) -> list[str]:
    """Give the ids of the VPCs that carry the cluster's tag."""
    return [vpc["VpcId"] for vpc in list_vpcs(ec2) if get_tag(vpc, clients.TAG) == cluster]


def list_subnets(ec2: EC2Client, vpc: str) -> list[str]:
    """Give the ids of a VPC's subnets."""
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    return [subnet["SubnetId"] for page in pages for subnet in page["Subnets"]]


def find_vpc_of_subnet(ec2: EC2Client, subnet: str) -> VpcTypeDef | None:
    """Give the VPC that a subnet is in, if there is such a subnet."""
    found = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [subnet]}])["Subnets"]
    return ec2.describe_vpcs(VpcIds=[found[0]["VpcId"]])["Vpcs"][0] if found else None


def claim_vpc(ec2: EC2Client, vpc: str, cluster: str) -> None:
    """Tag a VPC as the cluster's."""
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": clients.TAG, "Value": cluster}])


def find_unclaimed_vpcs(
    ec2: EC2Client,
    cloudformation: CloudFormationClient,
    known: str = "",
    before: Collection[str] | None = None,
) -> list[UnclaimedVpc]:
    """Find the VPCs that a wizard made and that nothing proves to be a cluster's: no tag, and no node in them.

    They can be this person's, left by an interrupted wizard, or somebody else's: they are listed, never claimed.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        known: the id of the cluster's own VPC, which is left out.
        before: the ids of the VPCs that existed when an interrupted wizard began. Only VPCs made since are listed then,
            also those without a name: the wizard names its VPC in a second call.
    """

    def may_be_left(vpc: VpcTypeDef) -> bool:
        if vpc["VpcId"] in (known, *(before or ())) or get_tag(vpc, clients.TAG) or vpc.get("IsDefault"):
            return False
        return get_vpc_name(vpc).startswith(VPC_PREFIX) or (before is not None and not get_vpc_name(vpc))

    candidates = {vpc["VpcId"]: get_vpc_name(vpc) for vpc in list_vpcs(ec2) if may_be_left(vpc)}
    if not candidates:
        return []
    of_nodes = [
        {"Name": "vpc-id", "Values": list(candidates)},
        {"Name": "tag-key", "Values": ["parallelcluster:cluster-name"]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    nodes = [
        node
        for found in clients.list_all(ec2, "describe_instances", Filters=of_nodes)
        for node in found["Instances"]
    ]
    used = {node["VpcId"] for node in nodes}
    return [
        UnclaimedVpc(
            vpc, candidates[vpc], list_wizard_stacks(cloudformation, vpc), list_nat_gateways(ec2, vpc)
        )
        for vpc in candidates
        if vpc not in used
    ]


def list_nat_gateways(ec2: EC2Client, vpc: str) -> list[str]:
    """Return the ids of the NAT gateways in a VPC, which are billed."""
    found = clients.list_all(ec2, "describe_nat_gateways", Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    return [gateway["NatGatewayId"] for gateway in found if gateway["State"] in ("pending", "available")]


def describe_unclaimed_vpcs(found: list[UnclaimedVpc], cluster: str, region: str) -> list[str]:
    """Return the lines that list unclaimed VPCs: each with its age, its NAT gateway, and the commands to claim or delete it."""
    if not found:
        return []
    lines = [f"In {region}, left by an interrupted `invoke configure` or made by somebody else:"]
    for vpc in found:
        billed = (
            f", with {', '.join(vpc.nat_gateways)} ($ billed until you delete it)" if vpc.nat_gateways else ""
        )
        lines += [
            f"  {vpc.id} {vpc.name or 'without a name'}, {format_age(vpc.name)}{billed}",
            f"    To claim it for {cluster} (then `invoke delete-network` deletes it):",
            f"      aws ec2 create-tags --region {region} --resources {vpc.id} --tags Key={clients.TAG},Value={cluster}",
            "    To delete it:",
            f"      {format_deletion_command(vpc, region)}",
        ]
    return lines


def format_deletion_command(vpc: UnclaimedVpc, region: str) -> str:
    """Return the shell command that deletes the wizard's stacks in a VPC, then the VPC."""
    stacks = [
        f"aws cloudformation {action} --region {region} --stack-name {made}"
        for made in vpc.stacks
        for action in ("delete-stack", "wait stack-delete-complete")
    ]
    return " && ".join([*stacks, f"aws ec2 delete-vpc --region {region} --vpc-id {vpc.id}"])


def format_age(vpc_name: str) -> str:
    """Return how old a VPC is by the time in its name; EC2 does not tell when a VPC was created."""
    try:
        began = datetime.strptime(vpc_name.removeprefix(VPC_PREFIX), TIMESTAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        return "age unknown"
    hours = int((datetime.now(timezone.utc) - began).total_seconds() // 3600)
    return f"created {began:%Y-%m-%d %H:%M} UTC, {f'{hours // 24} days' if hours >= 48 else f'{hours} hours'} ago"


def refuse_second_network(ec2: EC2Client, cluster: str, besides: str = "") -> None:
    """Refuse to use another network than the one that carries the cluster's tag.

    Args:
        ec2: a client of EC2.
        cluster: whose.
        besides: the VPC that is to be used, where it is there already.

    Raises:
        ClusterError: an earlier run left one.
    """
    left = [vpc for vpc in list_cluster_vpcs(ec2, cluster) if vpc != besides]
    if left:
        raise ClusterError(
            f"{', '.join(left)} is the network of {cluster}, but temp-config.yml is not here: "
            "work in the folder that has it, or remove the network with `invoke delete-network`."
        )


def find_network(
    ec2: EC2Client, cloudformation: CloudFormationClient, cluster: str, subnet: str | None
) -> Network | None:
    """Find the network that goes with a cluster: by our tag, else the one of the wizard's stack that made its subnet.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        cluster: whose.
        subnet: the public subnet of temp-config.yml, where the wizard wrote it.

    Returns:
        None where there is none that may be taken away: it belongs to another cluster, or the wizard did not make it.

    """
    owned = list_cluster_vpcs(ec2, cluster)
    if not owned and subnet:
        vpc = find_vpc_of_subnet(ec2, subnet)
        if (
            vpc
            and not get_tag(vpc, clients.TAG)
            and subnet in list_wizard_subnets(cloudformation, vpc["VpcId"])
        ):
            owned = [vpc["VpcId"]]
    if len(owned) > 1:
        raise ClusterError(
            f"{', '.join(owned)} are all tagged {clients.TAG}={cluster}: take the tag off those that are not."
        )
    return Network(owned[0], list_wizard_stacks(cloudformation, owned[0])) if owned else None


def explain_no_network(ec2: EC2Client, cluster: str, subnet: str | None) -> str:
    """Say why there is no network to take away, where the person's files may name a subnet."""
    vpc = find_vpc_of_subnet(ec2, subnet) if subnet else None
    if not vpc:
        return f"There is no network that was made for {cluster}."
    return f"The network {vpc['VpcId']} stays: it lacks the tag {clients.TAG}={cluster}, by which the cluster's own is found."


def list_wizard_stacks(cloudformation: CloudFormationClient, vpc: str) -> list[str]:
    """Give the names of the stacks with which the wizard filled a VPC."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    made = [each for page in pages for each in page["Stacks"] if each["StackName"].startswith(STACK_PREFIX)]
    return [
        each["StackName"]
        for each in made
        if {"ParameterKey": "VpcId", "ParameterValue": vpc} in each.get("Parameters", [])
    ]


def list_wizard_subnets(cloudformation: CloudFormationClient, vpc: str) -> list[str]:
    """Give the ids of the subnets that the wizard made in a VPC."""
    made = list_wizard_stacks(cloudformation, vpc)
    return [
        subnet
        for each in made
        for subnet in stack.list_resource_ids(cloudformation, each, "AWS::EC2::Subnet")
    ]


def list_foreign_resources(
    ec2: EC2Client, cloudformation: CloudFormationClient, network: Network
) -> list[str]:
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
    groups = [
        each for page in group_pages for each in page["SecurityGroups"] if each["GroupName"] != "default"
    ]
    others = [
        subnet
        for subnet in list_subnets(ec2, network.vpc)
        if subnet not in list_wizard_subnets(cloudformation, network.vpc)
    ]
    others += [
        each.get("Attachment", {}).get("InstanceId") or each["NetworkInterfaceId"]
        for each in interfaces
        if each["NetworkInterfaceId"] not in gateways
    ]
    return sorted({*others, *(each["GroupId"] for each in groups)})


def refuse_network_in_use(
    ec2: EC2Client, cloudformation: CloudFormationClient, efs: EFSClient, cluster: str, network: Network
) -> None:
    """Refuse to take a network away that something is in.

    Raises:
        ClusterError: the cluster is in it.
        NetworkInUseError: something that the wizard did not make is in it; it names what.
    """
    if stack.find_stack(cloudformation, cluster):
        raise ClusterError(
            f"The cluster {cluster} is in the network {network.vpc}: `invoke delete-cluster` first."
        )
    others = list_foreign_resources(ec2, cloudformation, network)
    if others:
        shared_storage.refuse_retained(cloudformation, efs, network.vpc, list_subnets(ec2, network.vpc))
        raise NetworkInUseError(
            f"{', '.join(others)} is in {network.vpc} and was not made by the wizard: remove it first."
        )


def find_missing_subnets(ec2: EC2Client, subnets: Collection[str]) -> set[str]:
    """Give those of the subnets that are not there."""
    found = (
        ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": sorted(subnets)}])["Subnets"]
        if subnets
        else []
    )
    return set(subnets) - {subnet["SubnetId"] for subnet in found}


def delete_vpc(ec2: EC2Client, vpc: str) -> None:
    """Delete a VPC in which nothing is any more."""
    with clients.ignore_errors("InvalidVpcID.NotFound"):
        ec2.delete_vpc(VpcId=vpc)


def delete_wizard_stack(cloudformation: CloudFormationClient, made: str) -> Iterator[Progress]:
    """Delete a stack of the wizard, and give the progress of it until it is gone."""
    found = stack.find_stack(cloudformation, made)
    if found:
        before = stack.get_newest_event_id(cloudformation, found["StackId"])
        cloudformation.delete_stack(StackName=made)
        yield from stack.watch_stack(cloudformation, found["StackId"], before)
