"""The note beside temp-config.yml that exists from the start of a wizard until its VPC is proven and tagged.

A wizard that is stopped leaves a VPC behind. A VPC that was created at the same time can be another person's.
So only these are tagged as the cluster's: the VPC of the stack that this wizard printed, and the VPC of the
subnets in temp-config.yml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster import files
from slurm_cluster.aws import clients, network, stack
from slurm_cluster.config import temp_config
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import VpcTypeDef


class WizardNote(NamedTuple):
    """The content of the note.

    Args:
        cluster: the cluster that the wizard works for; empty if there is no note.
        vpcs: the ids of the VPCs that existed before the wizard started.
        stack: the id of the wizard's stack, once the wizard has printed it.
    """

    cluster: str = ""
    vpcs: tuple[str, ...] = ()
    stack: str = ""


def get_note_path(temp_config_file: Path) -> Path:
    """Return the path of the note."""
    return temp_config_file.with_name(f"{temp_config_file.name}.begun")


def read_note(temp_config_file: Path) -> WizardNote:
    """Read the note; return an empty one if there is none.

    Raises:
        ClusterError: the file is not a note.
    """
    path = get_note_path(temp_config_file)
    if not files.exists(path):
        return WizardNote()
    try:
        values = json.loads(files.read_text(path))
        return WizardNote(values["cluster"], tuple(values["vpcs"]), values.get("stack", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{path} is not a note of `invoke configure`. Remove it, then run this again."
        ) from error


def write_note(temp_config_file: Path, note: WizardNote) -> None:
    """Write the note."""
    files.write_file(get_note_path(temp_config_file), json.dumps(note._asdict(), indent=2) + "\n")


def record_stack(temp_config_file: Path, stack_id: str) -> None:
    """Add the id of the wizard's stack to the note."""
    write_note(temp_config_file, read_note(temp_config_file)._replace(stack=stack_id))


@contextmanager
def track_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path, cluster: str
) -> Iterator[list[str]]:
    """Claim the VPC that the wizard creates within the context, even if the wizard fails or is stopped.

    If this process is killed, the next run claims the VPC by the note.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        temp_config_file: temp-config.yml.
        cluster: the cluster that the VPC is for.

    Yields:
        A list that holds the id of the claimed VPC afterwards.
    """
    existing = tuple(vpc["VpcId"] for vpc in network.list_vpcs(ec2))
    write_note(temp_config_file, WizardNote(cluster, existing))
    claimed: list[str] = []
    try:
        yield claimed
    finally:
        claimed += claim_proven_vpc(ec2, cloudformation, temp_config_file)


def claim_proven_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path
) -> list[str]:
    """Tag the VPC of a wizard that has ended, if it is proven, and remove the note; otherwise keep the note.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        temp_config_file: temp-config.yml, which does not exist if the wizard did not finish.

    Returns:
        The id of the proven VPC, if there is one.
    """
    note = read_note(temp_config_file)
    if not note.cluster:
        return []
    vpc = find_proven_vpc(ec2, cloudformation, temp_config_file, note)
    if vpc and not clients.get_tag(vpc, clients.TAG):
        network.claim_vpc(ec2, vpc["VpcId"], note.cluster)
    elif not vpc and not network.list_cluster_vpcs(ec2, note.cluster):  # nor has the user tagged one
        return []
    get_note_path(temp_config_file).unlink(missing_ok=True)
    return [vpc["VpcId"]] if vpc else []


def find_proven_vpc(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path, note: WizardNote
) -> VpcTypeDef | None:
    """Find the VPC that a wizard provably created, by temp-config.yml or by the wizard's stack."""
    if temp_config.is_from_wizard(temp_config_file):
        subnet = temp_config.read_temp_config(temp_config_file).public_subnet
        vpc = network.find_vpc_of_subnet(ec2, subnet)
        return vpc if vpc and vpc["VpcId"] not in note.vpcs else None
    wizard_stack = stack.find_stack(cloudformation, note.stack) if note.stack else None
    if not wizard_stack:
        return None
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in wizard_stack.get("Parameters", [])}
    return next((vpc for vpc in network.list_vpcs(ec2) if vpc["VpcId"] == parameters.get("VpcId")), None)


def find_unproven_vpcs(
    ec2: EC2Client, cloudformation: CloudFormationClient, temp_config_file: Path
) -> list[network.UnclaimedVpc]:
    """Find the VPCs that an interrupted wizard may have created; none if there is no note."""
    note = read_note(temp_config_file)
    return network.find_unclaimed_vpcs(ec2, cloudformation, before=note.vpcs) if note.cluster else []


def refuse_unproven_vpcs(
    vpcs: list[network.UnclaimedVpc], temp_config_file: Path, cluster: str, region: str
) -> None:
    """Refuse to start a second wizard while VPCs exist that an interrupted one may have created.

    Raises:
        ClusterError: there are such VPCs; it lists them with the commands to claim or delete each.
    """
    if vpcs:
        lines = [
            "An earlier `invoke configure` was interrupted, and may have created a VPC.",
            *network.describe_unclaimed_vpcs(vpcs, cluster, region),
            "Claim or delete the VPC that is yours, then run this again.",
            f"If none is yours, remove {get_note_path(temp_config_file)}, then run this again.",
        ]
        raise ClusterError("\n".join(lines))
