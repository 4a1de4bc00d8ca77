"""Storage and a deletion: what is deleted with a cluster, what outlives it, and what that holds."""

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
    cloudformation: CloudFormationClient, efs: EFSClient, cluster: StackTypeDef | None
) -> str:
    """Return what happens to the data on /shared when a cluster is deleted, and how much data it is.

    Args:
        cloudformation: a client of CloudFormation.
        efs: a client of EFS.
        cluster: the cluster's stack; None if there is none.
    """
    if not cluster:
        return ""
    sentences = []
    for file_system in stack.list_resource_ids(cloudformation, cluster["StackId"], FILE_SYSTEM_TYPE):
        content = f"{file_system} with {format_size(efs, file_system)}"
        if stack.is_retained(cloudformation, cluster["StackId"], FILE_SYSTEM_TYPE):
            sentences.append(f"{content} is kept, and is billed until you delete it.")
        else:
            sentences.append(f"This deletes the data on /shared: {content}.")
    return " ".join(sentences)


def format_size(efs: EFSClient, file_system: str) -> str:
    """Return the size of a file system in words."""
    try:
        answer = efs.describe_file_systems(FileSystemId=file_system)
    except ClientError:
        return "an unknown size"
    size = answer["FileSystems"][0]["SizeInBytes"]["Value"]
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def refuse_retained(
    cloudformation: CloudFormationClient, efs: EFSClient, vpc: str, subnets: Collection[str]
) -> None:
    """Refuse to delete a network in which a file system without a cluster still has mount targets.

    Args:
        cloudformation: a client of CloudFormation.
        efs: a client of EFS.
        vpc: the network's VPC.
        subnets: the ids of its subnets.

    Raises:
        NetworkInUseError: there is one; the message has the commands that remove it.
    """
    of_clusters = {
        file_system
        for cluster in stack.list_clusters(cloudformation)
        for file_system in stack.list_resource_ids(cloudformation, cluster, FILE_SYSTEM_TYPE)
    }
    for description in clients.list_all(efs, "describe_file_systems"):
        file_system = description["FileSystemId"]
        if file_system in of_clusters:
            continue
        targets = [
            target["MountTargetId"]
            for target in clients.list_all(efs, "describe_mount_targets", FileSystemId=file_system)
            if target["SubnetId"] in subnets
        ]
        if targets:
            raise NetworkInUseError(explain_retained(efs, vpc, file_system, targets))


def explain_retained(efs: EFSClient, vpc: str, file_system: str, targets: list[str]) -> str:
    """Return how to remove a retained file system's mount targets and groups from a network."""
    groups = {
        group
        for target in targets
        for group in efs.describe_mount_target_security_groups(MountTargetId=target)["SecurityGroups"]
    }
    commands = [
        *(f"aws efs delete-mount-target --mount-target-id {target}" for target in targets),
        *(f"aws ec2 delete-security-group --group-id {group}" for group in sorted(groups)),
    ]
    return "\n".join(
        [
            f"The file system {file_system} was kept when its cluster was deleted. It is still in {vpc}.",
            "Delete its mount targets and their security groups, then run this again:",
            *(f"  {command}" for command in commands),
            "The data is kept, and billed, until you delete the file system:",
            f"  aws efs delete-file-system --file-system-id {file_system}",
        ]
    )
