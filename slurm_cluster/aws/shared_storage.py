"""The shared file system: what becomes of its data when the cluster is deleted, and what of it stays in the network."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slurm_cluster.aws import clients, stack
from slurm_cluster.errors import NetworkInUseError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_efs import EFSClient

FILE_SYSTEM_TYPE = "AWS::EFS::FileSystem"


def describe_deletion(
    cloudformation: CloudFormationClient, efs: EFSClient, found: StackTypeDef | None
) -> str:
    """Say what becomes of the data on /shared when the cluster is deleted, and how much it is.

    Args:
        cloudformation: a client of CloudFormation.
        efs: a client of EFS.
        found: the cluster's stack; None where there is none.

    """
    if not found:
        return ""
    told = []
    for identifier in stack.list_resource_ids(cloudformation, found["StackId"], FILE_SYSTEM_TYPE):
        held = f"{identifier} with {format_size(efs, identifier)}"
        kept = stack.is_retained(cloudformation, found["StackId"], FILE_SYSTEM_TYPE)
        told.append(f"{held} is kept, and goes on costing." if kept else f"The data on /shared dies: {held}.")
    return " ".join(told)


def format_size(efs: EFSClient, identifier: str) -> str:
    """Give the size of a file system, in words; an account may not tell."""
    try:
        held = efs.describe_file_systems(FileSystemId=identifier)["FileSystems"][0]["SizeInBytes"]["Value"]
    except ClientError:
        return "an unknown size"
    return f"{held / 2**30:.1f} GiB" if held >= 2**30 else f"{held / 2**20:.1f} MiB"


def refuse_retained(
    cloudformation: CloudFormationClient, efs: EFSClient, vpc: str, subnets: Collection[str]
) -> None:
    """Refuse to take a network away that a file system is still reached through, as one that outlived its cluster.

    Raises:
        NetworkInUseError: there is one; it names what stays, and how it goes.
    """
    of_clusters = {
        held
        for cluster in stack.list_clusters(cloudformation)
        for held in stack.list_resource_ids(cloudformation, cluster, FILE_SYSTEM_TYPE)
    }
    alone = [
        each
        for each in clients.list_all(efs, "describe_file_systems")
        if each["FileSystemId"] not in of_clusters
    ]
    for each in alone:
        targets = clients.list_all(efs, "describe_mount_targets", FileSystemId=each["FileSystemId"])
        inside = [target["MountTargetId"] for target in targets if target["SubnetId"] in subnets]
        groups = {
            group
            for target in inside
            for group in efs.describe_mount_target_security_groups(MountTargetId=target)["SecurityGroups"]
        }
        if inside:
            raise NetworkInUseError(
                f"The file system {each['FileSystemId']} was kept when its cluster was deleted, and is reached through {vpc} "
                f"by {', '.join(inside)} of {', '.join(sorted(groups))}. Take both away, then run this again: "
                f"{'; '.join(f'`aws efs delete-mount-target --mount-target-id {target}`' for target in inside)}; "
                f"{'; '.join(f'`aws ec2 delete-security-group --group-id {group}`' for group in sorted(groups))}. "
                f"The data stays, and costs, until `aws efs delete-file-system --file-system-id {each['FileSystemId']}`."
            )
