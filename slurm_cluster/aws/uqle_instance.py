"""The UQLE machine: an EC2 instance in the head node's group that mounts the cluster's file system."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import chevron
from botocore.exceptions import ClientError

from slurm_cluster import files
from slurm_cluster.aws import clients, instance_types, security_groups
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress
from slurm_cluster.waiting import poll

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, RunInstancesRequestTypeDef
    from types_boto3_ssm import SSMClient

# https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
IMAGE_PARAMETER = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"
USER_DATA_SCRIPT = Path(__file__).parents[2] / "bootstrap" / "uqle_instance_ubuntu.sh"
# The boot script makes the mount point immutable (chattr +i), so it must not be a system folder.
# https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html
SYSTEM_FOLDERS = {
    f"/{name}"
    for name in (
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "proc", "root"),
        *("run", "sbin", "snap", "sys", "tmp", "usr", "var"),
    )
}
PARENT_FOLDERS = {"/home", "/home/ubuntu", "/media", "/mnt", "/opt", "/srv"}
CORRECT_TYPE = "Correct it in invoke.yaml, or in INVOKE_UQLE_INSTANCE_TYPE."
ROOT_DEVICE = "/dev/sda1"  # of Ubuntu's images
# A tag on the head node's security group. It holds the client token of the last launch whose instance ended.
USED_TOKEN_TAG = f"{clients.TAG}:spent-client-token"
POLL_SECONDS, MAX_POLLS = 3, 200  # ten minutes
MAX_LAUNCHES = 3


class InstanceSettings(NamedTuple):
    """The user's settings of the machine, from invoke.yaml.

    Args:
        instance_type: such as t3.large.
        volume_gib: the size of its disk in GiB.
        mount_point: where it mounts the shared file system.
        key_pair: the name of its key pair.
    """

    instance_type: str
    volume_gib: int
    mount_point: str
    key_pair: str


class LaunchTarget(NamedTuple):
    """Where the machine is launched, as AWS describes the cluster.

    Args:
        cluster_name: the cluster's name.
        region: its region.
        stack_id: the id of its stack.
        group_id: the id of the head node's security group.
        subnet_id: the id of the head node's subnet.
        is_public: whether the subnet has a route to the internet, so that the machine gets a public address.
        file_system_id: the id of the shared file system; empty to mount none.
        used_token: the client token of the last instance, if it was terminated; else empty.
        mount_obstacle: why the machine cannot mount the shared storage; empty if it can, or mounts nothing.
        other_members: instances in the security group that are not tagged for the cluster.
    """

    cluster_name: str
    region: str
    stack_id: str
    group_id: str
    subnet_id: str
    is_public: bool
    file_system_id: str
    used_token: str = ""
    mount_obstacle: str = ""
    other_members: tuple[InstanceTypeDef, ...] = ()


def validate_settings(
    instance_type: str, volume_gib: str | int, mount_point: str, key_pair: str
) -> InstanceSettings:
    """Return the settings of the machine.

    Raises:
        ClusterError: a setting is invalid.
    """
    if not re.fullmatch(r"[a-z0-9-]{1,30}\.[a-z0-9-]{1,30}", instance_type):
        raise ClusterError(
            f"uqle.instance_type is {instance_type!r}. It must be an EC2 instance type, such as t3.large. "
            f"{CORRECT_TYPE}"
        )
    if not (re.fullmatch(r"[0-9]{1,5}", str(volume_gib)) and 8 <= int(volume_gib) <= 16384):
        raise ClusterError(f"uqle.volume_gib is {volume_gib!r}. It must be a number of GiB from 8 to 16384.")
    is_path = re.fullmatch(r"(/[A-Za-z0-9_.-]{1,255}){1,16}", mount_point)
    if not is_path or {".", ".."} & set(mount_point.split("/")):
        raise ClusterError(
            f"uqle.mount_point is {mount_point!r}. It must be an absolute path of plain characters, "
            "such as /shared."
        )
    top = f"/{mount_point.split('/')[1]}"
    if top in SYSTEM_FOLDERS or mount_point in PARENT_FOLDERS:
        raise ClusterError(
            f"uqle.mount_point is {mount_point!r}, which belongs to the system. "
            "Choose another folder, such as /shared or /mnt/shared."
        )
    return InstanceSettings(instance_type, int(volume_gib), mount_point, key_pair)


# --- Finding it ---------------------------------------------------------------------------------------------


def find_instance(ec2: EC2Client, cluster_name: str) -> InstanceTypeDef | None:
    """Find the cluster's UQLE machine by its tag; a terminated one does not count.

    Raises:
        ClusterError: there are several.
    """
    machines = list_live_instances(ec2, cluster_name)
    if len(machines) > 1:
        raise ClusterError(explain_several(machines, cluster_name))
    return machines[0] if machines else None


def explain_several(machines: list[InstanceTypeDef], cluster_name: str) -> str:
    """Return what to do about several UQLE machines of one cluster."""
    ids = ", ".join(machine["InstanceId"] for machine in machines)
    return (
        f"Several machines have the tag {clients.TAG}={cluster_name}: {ids}. Terminate all but one of them. "
        "`invoke disconnect-uqle` terminates every one."
    )


def list_live_instances(ec2: EC2Client, cluster_name: str) -> list[InstanceTypeDef]:
    """Return the instances with the cluster's tag that are not terminated or about to be, by their ids."""
    machines = list_tagged_instances(ec2, cluster_name)
    live = [machine for machine in machines if machine["State"]["Name"] in clients.LIVE_STATES]
    return sorted(live, key=lambda machine: machine["InstanceId"])


def require_instance(ec2: EC2Client, cluster_name: str, region: str) -> InstanceTypeDef:
    """Return the cluster's UQLE machine.

    Raises:
        ClusterError: there is none.
    """
    machine = find_instance(ec2, cluster_name)
    if machine is None:
        raise ClusterError(
            f"There is no UQLE machine of {cluster_name} in {region}. `invoke connect-uqle` launches one."
        )
    return machine


def list_tagged_instances(ec2: EC2Client, cluster_name: str) -> list[InstanceTypeDef]:
    """Return the instances with the cluster's tag, in every state that EC2 still lists."""
    return clients.list_instances(ec2, clients.tag_filter(cluster_name))


def list_remaining_instances(ec2: EC2Client, cluster_name: str) -> list[InstanceTypeDef]:
    """Return the instances with the cluster's tag that are not terminated."""
    machines = list_tagged_instances(ec2, cluster_name)
    return [machine for machine in machines if machine["State"]["Name"] != "terminated"]


def describe_instances(ec2: EC2Client, instance_ids: list[str]) -> list[InstanceTypeDef]:
    """Return those of the instances that EC2 lists; it may not list a new one yet."""
    return clients.list_instances(ec2, {"Name": "instance-id", "Values": instance_ids})


def read_user_data(ec2: EC2Client, instance_id: str) -> str:
    """Return the decoded user data of an instance."""
    attribute = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]
    return base64.b64decode(attribute.get("Value", "")).decode(errors="replace")


# --- Launching it -------------------------------------------------------------------------------------------


def render_user_data(target: LaunchTarget, mount_point: str) -> str:
    """Return the boot script with the file system and the mount point filled in.

    Args:
        target: the launch target, which has the file system and the region. The DNS name resolves only in
            zones with a mount target.
            https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-mount-cmd-dns-name.html
        mount_point: where the machine mounts the file system.
    """
    suffix = clients.get_dns_suffix(target.region)
    host = f"{target.file_system_id}.efs.{target.region}.{suffix}" if target.file_system_id else ""
    values = {"FILE_SYSTEM": host, "MOUNT_POINT": mount_point}
    rendered: str = chevron.render(files.read_text(USER_DATA_SCRIPT), values)
    return rendered


def get_ubuntu_image_id(ec2: EC2Client, ssm: SSMClient, instance_type: str) -> str:
    """Return the id of the newest Ubuntu 24.04 image for the processor of an instance type.

    Canonical publishes it as a parameter.

    Raises:
        ClusterError: the region has no such type.
    """
    architectures = instance_types.list_architectures(ec2, instance_type)
    if not architectures:
        region = ec2.meta.region_name
        raise ClusterError(
            f"uqle.instance_type is {instance_type}, which {region} does not have. {CORRECT_TYPE}"
        )
    parameter = IMAGE_PARAMETER.format("arm64" if "arm64" in architectures else "amd64")
    return ssm.get_parameter(Name=parameter)["Parameter"]["Value"]


def build_launch_request(
    target: LaunchTarget, settings: InstanceSettings, image_id: str, user_data: str, token: str
) -> RunInstancesRequestTypeDef:
    """Return the arguments of RunInstances."""
    name = f"{target.cluster_name}-uqle"
    volume = {
        "VolumeSize": settings.volume_gib,
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    interface = {
        "DeviceIndex": 0,
        "SubnetId": target.subnet_id,
        "Groups": [target.group_id],
        "AssociatePublicIpAddress": target.is_public,
        "DeleteOnTermination": True,
    }
    return {
        "ImageId": image_id,
        "InstanceType": settings.instance_type,  # type: ignore[typeddict-item]
        "KeyName": settings.key_pair,
        "MinCount": 1,
        "MaxCount": 1,
        "NetworkInterfaces": [interface],  # type: ignore[list-item]
        "BlockDeviceMappings": [{"DeviceName": ROOT_DEVICE, "Ebs": volume}],  # type: ignore[typeddict-item]
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 2,
        },
        "UserData": user_data,
        "TagSpecifications": [
            clients.tag_specification("instance", target.cluster_name, name),
            clients.tag_specification("volume", target.cluster_name, name),
        ],
        "ClientToken": token,
    }


def make_client_token(target: LaunchTarget, used_token: str) -> str:
    """Return the client token of a launch, by which EC2 recognizes a repeated request.

    Args:
        target: the launch target. The token depends on the stack's id: a recreated cluster gets new tokens.
        used_token: the token of the terminated instance, or empty. It makes the next token different.
    """
    return hashlib.sha256(f"{target.stack_id} {used_token}".encode()).hexdigest()[:32]


def read_used_token(ec2: EC2Client, group_id: str) -> str:
    """Return the used client token, from a tag on the head node's security group."""
    return clients.get_tag(security_groups.describe_group(ec2, group_id), USED_TOKEN_TAG)


def record_used_token(ec2: EC2Client, group_id: str, token: str) -> None:
    """Record that a launch has ended."""
    ec2.create_tags(Resources=[group_id], Tags=[{"Key": USED_TOKEN_TAG, "Value": token}])


def launch_instance(
    ec2: EC2Client, target: LaunchTarget, settings: InstanceSettings, image_id: str, user_data: str
) -> str:
    """Launch the instance. If the same token was used before, EC2 returns the instance of the first launch.

    Returns:
        The id of the instance.

    Raises:
        ClusterError: EC2 has the launch's token for an instance that it does not list.
    """
    used_token = target.used_token
    for _ in range(MAX_LAUNCHES):
        token = make_client_token(target, used_token)
        try:
            answer = ec2.run_instances(**build_launch_request(target, settings, image_id, user_data, token))
            return answer["Instances"][0]["InstanceId"]
        except ClientError as error:
            if error_code(error) not in ("IdempotentParameterMismatch", "IdempotentInstanceTerminated"):
                raise
        # An earlier launch used this token: its response was lost, or its instance was terminated by hand.
        existing = find_instance(ec2, target.cluster_name)
        if existing:
            return existing["InstanceId"]
        record_used_token(ec2, target.group_id, token)
        used_token = token
    raise ClusterError("EC2 still refuses the launch as a repeated one. Wait a minute, then run this again.")


def list_differences(
    ec2: EC2Client,
    instance: InstanceTypeDef,
    target: LaunchTarget,
    settings: InstanceSettings,
    user_data: str,
) -> list[str]:
    """Return how an existing instance differs from the current settings. Security groups are not compared.

    Args:
        ec2: a client of EC2.
        instance: the machine as EC2 describes it.
        target: where it would be launched now.
        settings: the settings now.
        user_data: its user data now.
    """
    compared = [
        ("type", instance["InstanceType"], settings.instance_type),
        ("key pair", instance.get("KeyName", "none"), settings.key_pair),
        ("subnet", instance["SubnetId"], target.subnet_id),
    ]
    differences = [
        f"its {name} is {is_now}, not {wanted}" for name, is_now, wanted in compared if is_now != wanted
    ]
    if read_user_data(ec2, instance["InstanceId"]) != user_data:
        differences.append("its boot script or its mount point is different")
    return differences


# --- Its states ---------------------------------------------------------------------------------------------


def watch_instances(ec2: EC2Client, instance_ids: list[str], wanted: str) -> Iterator[Progress]:
    """Poll instances until all of them are in a state, for ten minutes at most.

    Args:
        ec2: a client of EC2.
        instance_ids: their ids; EC2 may not list a new one yet.
        wanted: the state.

    Yields:
        The progress, at each poll at which they are not in the state.

    Raises:
        ClusterError: they do not reach it.
    """
    for instances in poll(lambda: describe_instances(ec2, instance_ids), [POLL_SECONDS] * MAX_POLLS):
        states = {instance["InstanceId"]: instance["State"]["Name"] for instance in instances}
        remaining = tuple(instance_id for instance_id in instance_ids if states.get(instance_id) != wanted)
        if not remaining:
            return
        if wanted not in clients.TERMINATED_STATES and clients.TERMINATED_STATES & set(states.values()):
            break
        status = ", ".join(sorted({states.get(instance_id, "pending") for instance_id in remaining}))
        yield Progress(f"{status}, to be {wanted}", now=remaining)
    raise ClusterError(
        f"{', '.join(remaining)} did not become {wanted}. See the state reason in the EC2 console."
    )


def stop_instance(ec2: EC2Client, cluster_name: str) -> list[str]:
    """Stop the UQLE machine. It keeps its disk, and gets another address when it is started.

    Returns:
        The ids of the instances that are stopping.
    """
    machine = find_instance(ec2, cluster_name)
    if machine is None or machine["State"]["Name"] == "stopped":
        return []
    ec2.stop_instances(InstanceIds=[machine["InstanceId"]])
    return [machine["InstanceId"]]


def start_instance(ec2: EC2Client, cluster_name: str) -> Iterator[Progress]:
    """Start the UQLE machine, if there is one, and yield its progress until it is running."""
    machine = find_instance(ec2, cluster_name)
    if machine is None:
        return
    if machine["State"]["Name"] == "stopping":
        yield from watch_instances(ec2, [machine["InstanceId"]], "stopped")
    if machine["State"]["Name"] in ("stopping", "stopped"):
        ec2.start_instances(InstanceIds=[machine["InstanceId"]])
    yield from watch_instances(ec2, [machine["InstanceId"]], "running")


def terminate_instances(ec2: EC2Client, machines: list[InstanceTypeDef], group_id: str | None) -> list[str]:
    """Terminate UQLE machines. Their group cannot be deleted until they are terminated.

    Args:
        ec2: a client of EC2.
        machines: the machines.
        group_id: the id of the head node's group, to record the used token on; None if it is deleted.

    Returns:
        The ids of the instances that are shutting down.
    """
    if not machines:
        return []
    if group_id:  # before the termination, so that an interrupted run can be repeated
        for machine in machines:
            record_used_token(ec2, group_id, machine.get("ClientToken", ""))
    instance_ids = [machine["InstanceId"] for machine in machines]
    ec2.terminate_instances(InstanceIds=instance_ids)
    return instance_ids
