"""The shared storage of a cluster: mount directories from its configuration, ids from its stack."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import yaml

from slurm_cluster import files
from slurm_cluster.aws import clients, file_system, security_groups, stack
from slurm_cluster.aws.deployed_config import read_deployed_config
from slurm_cluster.config import cluster_config
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_cloudformation.type_defs import StackTypeDef
    from types_boto3_ec2.type_defs import SecurityGroupRuleTypeDef, SubnetTypeDef
    from types_boto3_efs import EFSClient
    from types_boto3_s3 import S3Client

    from slurm_cluster.aws.file_system import FileSystem
    from slurm_cluster.config.cluster_config import ClusterConfig, StorageConfig
    from slurm_cluster.project import Project

EFS, EBS, RAID, FSX = "EFS", "EBS", "RAID", "FSX"  # how pcluster's outputs begin, such as EFSIds


class Storage(NamedTuple):
    """A file system or volume that the nodes of a cluster share.

    Args:
        id: its id; empty if pcluster has not created it yet.
        kind: its StorageType, such as Efs or FsxLustre.
        mount_dir: where the nodes mount it.
        access_point: the id of the EFS access point that the nodes mount it through; empty for none.
    """

    id: str
    kind: str
    mount_dir: str
    access_point: str = ""


def load_config(s3: S3Client, cluster: StackTypeDef) -> ClusterConfig:
    """Return the configuration of a running cluster.

    Args:
        s3: a client of S3.
        cluster: the cluster's stack.

    Raises:
        ClusterError: pcluster's copy of it cannot be read, or is not YAML.
    """
    text = read_deployed_config(s3, cluster)
    try:
        return cluster_config.parse(files.parse_yaml(text))
    except yaml.YAMLError as error:
        raise ClusterError(
            f"pcluster's copy of the configuration of {cluster['StackName']} is not YAML: "
            f"{files.describe_yaml_error(error)}. Run `invoke update-cluster` to write it again."
        ) from error


def list_storage(config: ClusterConfig, cluster: StackTypeDef | None = None) -> list[Storage]:
    """Return the shared storage of a cluster, in the order of its configuration.

    The stack has one output for each kind of storage, with the ids in the order of the configuration.
    https://github.com/aws/aws-parallelcluster/blob/v3.16.1/cli/src/pcluster/templates/cluster_stack.py

    Args:
        config: the configuration.
        cluster: the stack; None before it is created.
    """
    remaining = {family: list_output_ids(cluster, family) for family in (EFS, EBS, RAID, FSX)}
    if config.has_internal_efs:  # for pcluster's own files
        del remaining[EFS][:1]
    storage = []
    for entry in config.storage:
        ids = remaining[get_family(entry)]
        listed = ids.pop(0) if ids else ""
        storage.append(Storage(entry.existing_id or listed, entry.kind, entry.mount_dir, entry.access_point))
    return storage


def list_output_ids(cluster: StackTypeDef | None, family: str) -> list[str]:
    """Return the ids of a kind of storage in the outputs of a stack; none without a stack."""
    ids = stack.find_output(cluster, f"{family}Ids") if cluster else ""
    return ids.split(",") if ids else []


def get_family(entry: StorageConfig) -> str:
    """Return the prefix of the stack output that holds a storage's id."""
    if entry.kind == "Efs":
        return EFS
    if entry.kind == "Ebs":
        return RAID if entry.is_raid else EBS
    return FSX


def find_shared(storage: list[Storage], shared_dir: str) -> Storage | None:
    """Return the storage that the nodes mount at the shared directory, if there is one."""
    return next((item for item in storage if item.mount_dir == shared_dir), None)


def load_shared(p: Project, cluster: StackTypeDef) -> Storage | None:
    """Return the storage that the nodes of a running cluster mount at the shared directory, if there is one.

    Raises:
        ClusterError: the configuration of the cluster cannot be read.
    """
    return find_shared(list_storage(load_config(p.s3, cluster), cluster), p.shared_dir)


def load_file_systems(efs: EFSClient, cluster: StackTypeDef) -> dict[str, FileSystem]:
    """Return the EFS file systems in the outputs of a cluster's stack, by id.

    Only the configuration says which one is shared, but loading all of them lets both be read concurrently.
    """
    ids = list_output_ids(cluster, EFS)
    calls = [functools.partial(file_system.load_file_system, efs, identifier) for identifier in ids]
    loaded = clients.run_concurrently(*calls)
    return {identifier: found for identifier, found in zip(ids, loaded, strict=True) if found}


def find_file_system(
    efs: EFSClient, shared: Storage | None, loaded: Mapping[str, FileSystem]
) -> FileSystem | None:
    """Return the EFS file system of the shared storage; None if there is none.

    Args:
        efs: a client of EFS.
        shared: the storage at the shared directory.
        loaded: the file systems from `load_file_systems`. One that is missing here is loaded.
    """
    if not shared or shared.kind != "Efs" or not shared.id:
        return None
    return loaded.get(shared.id) or file_system.load_file_system(efs, shared.id)


def predict_mount_obstacle(p: Project, shared: Storage | None, subnet: SubnetTypeDef | None) -> str:
    """Return why a UQLE machine could not mount the shared storage of a cluster that does not exist yet.

    Args:
        p: the project.
        shared: the storage at the shared directory.
        subnet: the subnet of the machine; None if it does not exist.
    """
    loaded = find_file_system(p.efs, shared, {})
    rules = security_groups.list_group_rules(p.ec2, loaded.groups if loaded else [])
    return explain_mount_obstacle(p, shared, loaded, rules, subnet, group_id="")


def explain_mount_obstacle(
    p: Project,
    shared: Storage | None,
    loaded: FileSystem | None,
    rules: list[SecurityGroupRuleTypeDef],
    subnet: SubnetTypeDef | None,
    group_id: str,
) -> str:
    """Return why a UQLE machine cannot mount the shared storage, and what helps; empty if it can.

    Args:
        p: the project.
        shared: the storage at the shared directory.
        loaded: its file system, if it is on EFS and exists.
        rules: the rules of the security groups of its mount targets; further rules do not matter.
        subnet: the subnet of the machine; None if it does not exist.
        group_id: the id of its security group; empty if it does not exist yet.
    """
    if shared is None:
        return (
            f"The cluster {p.cluster_name} has no shared storage at {p.shared_dir}. "
            "If it is mounted elsewhere, set shared_dir in invoke.yaml to its MountDir."
        )
    if shared.kind != "Efs":
        return f"{p.shared_dir} of {p.cluster_name} is on {shared.kind}. A UQLE machine can only mount EFS."
    if shared.access_point:
        return (
            f"The nodes mount {shared.id} through the access point {shared.access_point}, which plain NFS "
            "cannot use. Share the file system without an access point."
        )
    if group_id and not shared.id:
        return f"The outputs of the stack {p.cluster_name} do not name the file system at {p.shared_dir}."
    if not shared.id or not subnet:
        return ""  # pcluster will create it, and allow access from the head node's security group
    if loaded is None:
        return f"The file system {shared.id} does not exist in {p.region}."
    return file_system.explain_nfs_obstacle(loaded, rules, subnet, group_id)
