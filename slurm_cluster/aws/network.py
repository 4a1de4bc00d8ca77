"""The network of a cluster: the VPC that the wizard created, and the wizard's stack with its subnets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import blockers, clients, stack, stack_status
from slurm_cluster.errors import ClusterError, NetworkInUseError
from slurm_cluster.output import Progress

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import VpcTypeDef
    from types_boto3_efs import EFSClient

# The wizard's names are a prefix and its start time in UTC.
VPC_PREFIX = "ParallelClusterVPC-"
STACK_PREFIX = "parallelclusternetworking-"
TIMESTAMP = "%Y%m%d%H%M%S"


class Network(NamedTuple):
    """A network that the wizard created for a cluster.

    Args:
        vpc_id: the id of the VPC.
        stacks: the statuses of the wizard's stacks in it, by name.
    """

    vpc_id: str
    stacks: dict[str, str]


def list_vpcs(ec2: EC2Client) -> list[VpcTypeDef]:
    """Return all VPCs of the region."""
    return clients.list_all(ec2, "describe_vpcs")


def list_cluster_vpcs(ec2: EC2Client, cluster_name: str) -> list[str]:
    """Return the ids of the VPCs with the cluster's tag."""
    return [vpc["VpcId"] for vpc in list_vpcs(ec2) if clients.get_tag(vpc, clients.TAG) == cluster_name]


def find_vpc_of_subnet(ec2: EC2Client, subnet_id: str) -> VpcTypeDef | None:
    """Return the VPC of a subnet; None if there is no such subnet."""
    subnets = ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [subnet_id]}])["Subnets"]
    return ec2.describe_vpcs(VpcIds=[subnets[0]["VpcId"]])["Vpcs"][0] if subnets else None


def claim_vpc(ec2: EC2Client, vpc_id: str, cluster_name: str) -> None:
    """Tag a VPC as the cluster's."""
    ec2.create_tags(Resources=[vpc_id], Tags=[{"Key": clients.TAG, "Value": cluster_name}])


def list_nat_gateways(ec2: EC2Client, vpc_id: str) -> list[str]:
    """Return the ids of a VPC's NAT gateways that are billed."""
    gateways = clients.list_all(ec2, "describe_nat_gateways", Filters=[clients.vpc_filter(vpc_id)])
    return [gateway["NatGatewayId"] for gateway in gateways if gateway["State"] in ("pending", "available")]


# --- The cluster's network ----------------------------------------------------------------------------------


def refuse_second_network(ec2: EC2Client, cluster_name: str, allowed_vpc: str = "") -> None:
    """Check that no other VPC has the cluster's tag.

    Args:
        ec2: a client of EC2.
        cluster_name: the cluster's name.
        allowed_vpc: the id of the VPC that is to be used, if it exists already.

    Raises:
        ClusterError: there is another one.
    """
    others = [vpc for vpc in list_cluster_vpcs(ec2, cluster_name) if vpc != allowed_vpc]
    if others:
        raise ClusterError(
            f"{cluster_name} has the network {', '.join(others)}, but temp-config.yml is not in this folder. "
            "Work in the folder that has it, or delete the network with `invoke delete-network`."
        )


def find_network(
    ec2: EC2Client, cloudformation: CloudFormationClient, cluster_name: str, subnet_id: str | None
) -> Network | None:
    """Find the network of a cluster: by its tag, else by the wizard's stack that created a subnet.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        cluster_name: the cluster's name.
        subnet_id: the public subnet in temp-config.yml, if the wizard wrote it.

    Returns:
        None if there is no network that may be deleted with the cluster.

    Raises:
        ClusterError: several VPCs have the cluster's tag.
    """
    vpcs = list_cluster_vpcs(ec2, cluster_name)
    if not vpcs and subnet_id:
        vpc = find_vpc_of_subnet(ec2, subnet_id)
        is_unclaimed = vpc is not None and not clients.get_tag(vpc, clients.TAG)
        if vpc and is_unclaimed and subnet_id in list_wizard_subnets(cloudformation, vpc["VpcId"]):
            vpcs = [vpc["VpcId"]]
    if len(vpcs) > 1:
        raise ClusterError(
            f"Several VPCs have the tag {clients.TAG}={cluster_name}: {', '.join(vpcs)}. "
            "Remove the tag from all but the cluster's own."
        )
    return Network(vpcs[0], find_wizard_stacks(cloudformation, vpcs[0])) if vpcs else None


def refuse_incomplete(network: Network | None, region: str) -> None:
    """Refuse to use a network whose stack is not complete.

    Raises:
        ClusterError: it is not; the message says what to do.
    """
    for name, status in network.stacks.items() if network else ():
        if stack_status.get_phase(status) not in ("complete", "half-updated"):
            raise ClusterError(stack_status.explain_status("network", name, status, region))


def explain_no_network(ec2: EC2Client, cluster_name: str, subnet_id: str | None) -> str:
    """Return why there is no network to delete, given the public subnet in the user's files."""
    vpc = find_vpc_of_subnet(ec2, subnet_id) if subnet_id else None
    if not vpc:
        return f"There is no network that was created for {cluster_name} in {ec2.meta.region_name}."
    return f"Kept the network {vpc['VpcId']}: it does not have the tag {clients.TAG}={cluster_name}."


def find_wizard_stacks(cloudformation: CloudFormationClient, vpc_id: str) -> dict[str, str]:
    """Return the statuses of the stacks with which the wizard filled a VPC, by name."""
    parameter = {"ParameterKey": "VpcId", "ParameterValue": vpc_id}
    return {
        found["StackName"]: found["StackStatus"]
        for found in clients.list_all(cloudformation, "describe_stacks")
        if found["StackName"].startswith(STACK_PREFIX) and parameter in found.get("Parameters", [])
    }


def list_wizard_subnets(cloudformation: CloudFormationClient, vpc_id: str) -> list[str]:
    """Return the ids of the subnets that the wizard created in a VPC."""
    return [
        subnet
        for name in find_wizard_stacks(cloudformation, vpc_id)
        for subnet in stack.list_resource_ids(cloudformation, name, "AWS::EC2::Subnet")
    ]


# --- Deleting it --------------------------------------------------------------------------------------------


def refuse_network_in_use(
    ec2: EC2Client, cloudformation: CloudFormationClient, efs: EFSClient, cluster_name: str, network: Network
) -> None:
    """Refuse to delete a network while something is in it.

    Raises:
        ClusterError: the cluster is in it, or a stack of the network cannot be deleted now.
        NetworkInUseError: the network holds something that the wizard did not create. The message lists it.
    """
    if stack.find_stack(cloudformation, cluster_name):
        raise ClusterError(
            f"The cluster {cluster_name} is in the network {network.vpc_id}. "
            "Run `invoke delete-cluster` first."
        )
    for name, status in network.stacks.items():
        if stack_status.get_phase(status) in ("updating", "importing", "unknown"):
            raise ClusterError(stack_status.explain_status("network", name, status, ec2.meta.region_name))
    found = find_blockers(ec2, cloudformation, efs, cluster_name, network)
    if found:
        lines = [
            f"Kept the network {network.vpc_id}. It holds resources that the wizard did not create:",
            *blockers.format_blockers(found),
            "To delete the network, remove them, then run this again.",
        ]
        raise NetworkInUseError("\n".join(lines))


def find_blockers(
    ec2: EC2Client, cloudformation: CloudFormationClient, efs: EFSClient, cluster_name: str, network: Network
) -> list[blockers.Blocker]:
    """Return what is in a network and was not created by the wizard."""
    own_subnets = list_wizard_subnets(cloudformation, network.vpc_id)
    return blockers.find_network_blockers(ec2, cloudformation, efs, network.vpc_id, own_subnets, cluster_name)


def find_missing_subnets(ec2: EC2Client, subnets: Collection[str]) -> set[str]:
    """Return those of the subnets that do not exist."""
    if not subnets:
        return set()
    by_id = [{"Name": "subnet-id", "Values": sorted(subnets)}]
    return set(subnets) - {
        subnet["SubnetId"] for subnet in clients.list_all(ec2, "describe_subnets", Filters=by_id)
    }


def delete_vpc(ec2: EC2Client, vpc_id: str) -> None:
    """Delete an empty VPC."""
    with clients.ignore_errors("InvalidVpcID.NotFound"):
        ec2.delete_vpc(VpcId=vpc_id)


def delete_wizard_stack(cloudformation: CloudFormationClient, name: str) -> Iterator[Progress]:
    """Delete a stack of the wizard, and yield its progress until it is deleted."""
    found = stack.find_stack(cloudformation, name)
    if found:
        last_event = stack.get_newest_event_id(cloudformation, found["StackId"])
        cloudformation.delete_stack(StackName=name)
        yield from stack.watch_stack(cloudformation, found["StackId"], last_event)
