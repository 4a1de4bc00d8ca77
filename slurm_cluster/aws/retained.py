"""Find which storage is deleted with a cluster, and which storage of deleted clusters is still billed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from slurm_cluster.aws import blockers, clients, stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.client import BaseClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef
    from types_boto3_efs import EFSClient
    from types_boto3_efs.type_defs import FileSystemDescriptionTypeDef

FILE_SYSTEM_TYPE = "AWS::EFS::FileSystem"
STORAGE_TYPES = (FILE_SYSTEM_TYPE, "AWS::EC2::Volume", "AWS::FSx::FileSystem")


def describe_deletion(
    cloudformation: CloudFormationClient, efs: EFSClient, cluster: StackTypeDef | None
) -> str:
    """Return a message about the shared storage that is deleted with a cluster or kept, with its sizes.

    Args:
        cloudformation: a client of CloudFormation.
        efs: a client of EFS.
        cluster: the cluster's stack; None if there is none.
    """
    if not cluster:
        return ""
    template = stack.get_template_resources(cloudformation, cluster["StackId"])
    deleted: list[str] = []
    kept: list[str] = []
    for resource in stack.list_resources(cloudformation, cluster["StackId"]):
        if resource["ResourceType"] not in STORAGE_TYPES:
            continue
        content = resource["PhysicalResourceId"]
        if resource["ResourceType"] == FILE_SYSTEM_TYPE:
            content += f" with {format_size(efs, content)}"
        policy = template.get(resource["LogicalResourceId"], {}).get("DeletionPolicy")
        (kept if policy == "Retain" else deleted).append(content)
    sentences = [f"This deletes the data on the shared storage: {', '.join(deleted)}."] if deleted else []
    sentences += [f"{content} is kept, and is billed until you delete it." for content in kept]
    return " ".join(sentences)


def format_size(efs: EFSClient, file_system: str) -> str:
    """Return the size of a file system in words."""
    try:
        answer = efs.describe_file_systems(FileSystemId=file_system)
    except ClientError:
        return "an unknown size"
    size = answer["FileSystems"][0]["SizeInBytes"]["Value"]
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


class Retained(NamedTuple):
    """Storage that outlived its cluster, and is billed.

    Args:
        kind: `file system`, `volume` or, for example, `FSx Lustre file system`.
        id: its id.
        size: its size in words.
        vpcs: the VPCs that hold its mount targets, and so cannot be deleted yet.
        commands: the commands that delete it, in their order.
    """

    kind: str
    id: str
    size: str
    vpcs: list[str]
    commands: list[str]


def find_retained(
    cloudformation: CloudFormationClient, ec2: EC2Client, efs: EFSClient, fsx: BaseClient, cluster_name: str
) -> list[Retained]:
    """Return the storage that pcluster created for a cluster, and that is no longer part of its stack.

    Args:
        cloudformation: a client of CloudFormation.
        ec2: a client of EC2.
        efs: a client of EFS.
        fsx: a client of FSx.
        cluster_name: the cluster's name, which is a tag of all that pcluster creates.
    """

    def is_of_cluster(file_system: Mapping[str, Any]) -> bool:
        return clients.get_tag(file_system, clients.PCLUSTER_TAG) == cluster_name

    region = ec2.meta.region_name
    is_free: FilterTypeDef = {"Name": "status", "Values": ["available"]}
    volumes, file_systems, of_fsx = clients.run_concurrently(
        lambda: clients.list_all(
            ec2, "describe_volumes", Filters=[clients.pcluster_filter(cluster_name), is_free]
        ),
        lambda: [found for found in clients.list_all(efs, "describe_file_systems") if is_of_cluster(found)],
        lambda: [found for found in list_fsx(fsx) if is_of_cluster(found)],
    )
    if not volumes and not file_systems and not of_fsx:
        return []
    # After the listings: what is created meanwhile is then in the stack.
    own_ids = list_stack_ids(cloudformation, cluster_name)
    return [
        *(
            describe_file_system(ec2, efs, file_system)
            for file_system in file_systems
            if file_system["FileSystemId"] not in own_ids
        ),
        *(
            describe_fsx(file_system, region)
            for file_system in of_fsx
            if file_system["FileSystemId"] not in own_ids
        ),
        *(
            Retained(
                "volume",
                volume["VolumeId"],
                f"{volume['Size']} GiB",
                [],
                [f"aws ec2 delete-volume --region {region} --volume-id {volume['VolumeId']}"],
            )
            for volume in volumes
            if volume["VolumeId"] not in own_ids
        ),
    ]


def list_stack_ids(cloudformation: CloudFormationClient, cluster_name: str) -> set[str]:
    """Return the ids of all resources of a cluster's stack; none if there is no such stack."""
    resources = clients.find_or_none(
        lambda: stack.list_resources(cloudformation, cluster_name), "ValidationError"
    )
    return {resource["PhysicalResourceId"] for resource in resources or []}


def describe_file_system(
    ec2: EC2Client, efs: EFSClient, file_system: FileSystemDescriptionTypeDef
) -> Retained:
    """Return a file system that was kept, with the commands that delete it and its groups."""
    file_system_id, region = file_system["FileSystemId"], ec2.meta.region_name
    targets = clients.list_all(efs, "describe_mount_targets", FileSystemId=file_system_id)
    groups = {
        group
        for target in targets
        for group in efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])[
            "SecurityGroups"
        ]
    }
    of_groups = [{"Name": "group-id", "Values": sorted(groups)}]
    described = clients.list_all(ec2, "describe_security_groups", Filters=of_groups) if groups else []
    return Retained(
        "file system",
        file_system_id,
        format_size(efs, file_system_id),
        sorted({target["VpcId"] for target in targets}),
        [
            *(command for target in targets for command in blockers.describe_target(target, region).commands),
            *(
                f"aws ec2 delete-security-group --region {region} --group-id {group['GroupId']}"
                for group in described
                if group["GroupName"] != "default"  # which is deleted with its VPC, and not before
            ),
            f"aws efs delete-file-system --region {region} --file-system-id {file_system_id}",
        ],
    )


def list_fsx(fsx: BaseClient) -> list[Any]:
    """Return all file systems of FSx; none without the permission, which `invoke check` reports."""
    with clients.ignore_errors("AccessDeniedException"):
        return clients.list_all(fsx, "describe_file_systems")
    return []


def describe_fsx(file_system: Mapping[str, Any], region: str) -> Retained:
    """Return a file system of FSx that was kept, with the command that deletes it."""
    file_system_id = file_system["FileSystemId"]
    return Retained(
        f"FSx {file_system['FileSystemType'].capitalize()} file system",
        file_system_id,
        f"{file_system['StorageCapacity']} GiB",
        [file_system["VpcId"]] if file_system.get("VpcId") else [],
        [f"aws fsx delete-file-system --region {region} --file-system-id {file_system_id}"],
    )


def format_retained(retained: Retained) -> list[str]:
    """Return lines that name storage that was kept, and the commands that delete it."""
    held = f"; it keeps {', '.join(retained.vpcs)} from being deleted" if retained.vpcs else ""
    first = (
        f"{retained.kind} {retained.id} with {retained.size} was kept ($ billed until you delete it){held}:"
    )
    return [first, *(f"  {command}" for command in retained.commands)]
