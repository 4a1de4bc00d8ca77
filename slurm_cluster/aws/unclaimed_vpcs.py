"""Unclaimed VPCs: VPCs that a wizard created, with neither a cluster's tag nor nodes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import clients, network

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client


class UnclaimedVpc(NamedTuple):
    """A VPC that a wizard created, with neither a cluster's tag nor nodes.

    Args:
        id: the VPC's id.
        name: its Name tag, or empty.
        stacks: the names of the wizard's stacks in it.
        nat_gateways: the ids of its NAT gateways, which are billed.
    """

    id: str
    name: str
    stacks: list[str]
    nat_gateways: list[str]


def find_unclaimed_vpcs(
    ec2: EC2Client,
    cloudformation: CloudFormationClient,
    earlier_vpc_ids: Collection[str] | None = None,
) -> list[UnclaimedVpc]:
    """Find the VPCs that a wizard created, without a cluster's tag and without nodes.

    They may be left from an interrupted wizard, or belong to someone else. So they are listed, not used.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        earlier_vpc_ids: the VPCs from before an interrupted wizard. If given, only newer ones are listed,
            even without a name, because the wizard names its VPC in a second call.
    """
    names = {
        vpc["VpcId"]: clients.get_tag(vpc)
        for vpc in network.list_vpcs(ec2)
        if vpc["VpcId"] not in (earlier_vpc_ids or ())
        and not clients.get_tag(vpc, clients.TAG)
        and not vpc.get("IsDefault")
    }
    found = [
        vpc
        for vpc, name in names.items()
        if name.startswith(network.VPC_PREFIX) or (earlier_vpc_ids is not None and not name)
    ]
    if not found:
        return []
    nodes = clients.list_instances(
        ec2,
        clients.vpc_filter(*found),
        {"Name": "tag-key", "Values": [clients.PCLUSTER_TAG]},
        {"Name": "instance-state-name", "Values": clients.LIVE_STATES},
    )
    vpcs_with_nodes = {node["VpcId"] for node in nodes}
    return [
        UnclaimedVpc(
            vpc,
            names[vpc],
            [*network.find_wizard_stacks(cloudformation, vpc)],
            network.list_nat_gateways(ec2, vpc),
        )
        for vpc in found
        if vpc not in vpcs_with_nodes
    ]


def describe_unclaimed_vpcs(vpcs: list[UnclaimedVpc], cluster_name: str, region: str) -> list[str]:
    """Return lines that list unclaimed VPCs, with the commands to claim or delete each."""
    if not vpcs:
        return []
    lines = [f"An interrupted `invoke configure`, or somebody else, created these networks in {region}:"]
    for vpc in vpcs:
        gateways = ", ".join(vpc.nat_gateways)
        billed = f", with {gateways} ($ billed until you delete it)" if gateways else ""
        tag = f"--tags Key={clients.TAG},Value={cluster_name}"
        lines += [
            f"  {vpc.id} {vpc.name or 'without a name'}, {format_age(vpc.name)}{billed}",
            f"    To claim it for {cluster_name}, so that `invoke delete-network` deletes it",
            "    (an administrator may have to run this):",
            f"      aws ec2 create-tags --region {region} --resources {vpc.id} {tag}",
            "    To delete it:",
            f"      {format_deletion_command(vpc, region)}",
        ]
    return lines


def format_deletion_command(vpc: UnclaimedVpc, region: str) -> str:
    """Return the shell command that deletes the wizard's stacks in a VPC, then the VPC."""
    commands = [
        f"aws cloudformation {action} --region {region} --stack-name {name}"
        for name in vpc.stacks
        for action in ("delete-stack", "wait stack-delete-complete")
    ]
    return " && ".join([*commands, f"aws ec2 delete-vpc --region {region} --vpc-id {vpc.id}"])


def format_age(vpc_name: str) -> str:
    """Return when a VPC was created, from the time in its name, because EC2 does not record it."""
    try:
        start = datetime.strptime(vpc_name.removeprefix(network.VPC_PREFIX), network.TIMESTAMP).replace(
            tzinfo=timezone.utc
        )
    except ValueError:
        return "age unknown"
    hours = int((datetime.now(timezone.utc) - start).total_seconds() // 3600)
    age = f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours >= 2 else "less than 2 hours"
    return f"created {start:%Y-%m-%d %H:%M} UTC, {age} ago"
