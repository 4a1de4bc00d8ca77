"""Find the VPC that the wizard created, and tag it as the cluster's.

An interrupted wizard leaves a VPC behind, but a new VPC can also be someone else's. So a VPC is tagged only
if the wizard printed its stack, or if temp-config.yml has its subnets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster.aws import clients, network, stack, unclaimed_vpcs
from slurm_cluster.config import temp_config, wizard_note
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import VpcTypeDef


@contextmanager
def track_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path, cluster_name: str
) -> Iterator[list[str]]:
    """Tag the VPC that the wizard creates in this context, even if the wizard fails or is interrupted.

    If this process is killed, the next run finds the VPC by the note in temp-config.yml.begun.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        temp_config_file: temp-config.yml.
        cluster_name: the cluster that the VPC is for.

    Yields:
        A list that holds the id of the claimed VPC afterwards.
    """
    existing = tuple(vpc["VpcId"] for vpc in network.list_vpcs(ec2))
    wizard_note.write_note(temp_config_file, wizard_note.WizardNote(cluster_name, existing))
    claimed: list[str] = []
    try:
        yield claimed
    finally:
        claimed += claim_wizard_vpc(ec2, cloudformation, temp_config_file)


def claim_wizard_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path
) -> list[str]:
    """Tag the VPC of a wizard that has ended, and delete the note. Keep the note if no VPC is found.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        temp_config_file: temp-config.yml, which does not exist if the wizard did not finish.

    Returns:
        The id of the VPC, if it is found.
    """
    note = wizard_note.read_note(temp_config_file)
    if not note.cluster:
        return []
    vpc = find_wizard_vpc(ec2, cloudformation, temp_config_file, note)
    if vpc and not clients.get_tag(vpc, clients.TAG):
        network.claim_vpc(ec2, vpc["VpcId"], note.cluster)
    elif not vpc and not network.list_cluster_vpcs(ec2, note.cluster):  # nor did the user tag one
        return []
    wizard_note.get_note_path(temp_config_file).unlink(missing_ok=True)
    return [vpc["VpcId"]] if vpc else []


def find_wizard_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path, note: wizard_note.WizardNote
) -> VpcTypeDef | None:
    """Find the VPC that a wizard created, by temp-config.yml or by the wizard's stack."""
    if temp_config.is_from_wizard(temp_config_file):
        subnet = temp_config.read_temp_config(temp_config_file).public_subnet
        vpc = network.find_vpc_of_subnet(ec2, subnet)
        return vpc if vpc and vpc["VpcId"] not in note.vpcs else None
    wizard_stack = stack.find_stack(cloudformation, note.stack) if note.stack else None
    if not wizard_stack:
        return None
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in wizard_stack.get("Parameters", [])}
    return next((vpc for vpc in network.list_vpcs(ec2) if vpc["VpcId"] == parameters.get("VpcId")), None)


def check_no_candidate_vpcs(
    vpcs: list[unclaimed_vpcs.UnclaimedVpc], temp_config_file: Path, cluster_name: str, region: str
) -> None:
    """Check that no VPC exists that an interrupted wizard may have created.

    Raises:
        ClusterError: there are such VPCs; it lists them with the commands to claim or delete each.
    """
    if vpcs:
        lines = [
            "An earlier `invoke configure` was interrupted. It may have created one of these VPCs.",
            *unclaimed_vpcs.describe_unclaimed_vpcs(vpcs, cluster_name, region),
            "Claim or delete the one that is yours.",
            f"If none is yours, remove {wizard_note.get_note_path(temp_config_file)}. Then run this again.",
        ]
        raise ClusterError("\n".join(lines))
