"""The UQLE machine: an EC2 instance in the head node's group, with the cluster's file system mounted."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import chevron
from botocore.exceptions import ClientError

from slurm_cluster import files
from slurm_cluster.aws import clients
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import Progress

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, RunInstancesRequestTypeDef
    from types_boto3_ssm import SSMClient

# https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
IMAGE_PARAMETER = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
USER_DATA_SCRIPT = Path(__file__).parents[2] / "bootstrap" / "uqle_instance_ubuntu.sh"
ROOT_DEVICE = "/dev/sda1"  # of Ubuntu's images
USED_TOKEN_TAG = (
    f"{clients.TAG}:spent-client-token"  # on the head node's group: the launch that a disconnect ended
)
POLL_SECONDS, MAX_POLLS = 3, 200  # ten minutes, looking every three seconds
END_STATES = {"shutting-down", "terminated"}
LIVE_STATES = ["pending", "running", "stopping", "stopped"]


class InstanceSettings(NamedTuple):
    """What the person decides about the instance, in invoke.yaml."""

    instance_type: str
    volume_gib: int
    mount_point: str
    key_pair: str


class LaunchTarget(NamedTuple):
    """Where the instance goes: the head node's neighbourhood, as AWS has it, and the launch that a disconnect ended there."""

    cluster: str
    region: str
    stack_id: str
    group: str
    subnet: str
    file_system: str
    spent_token: str = ""


def validate_settings(
    instance_type: str, volume_gib: str | int, mount_point: str, key_pair: str
) -> InstanceSettings:
    """Check what invoke.yaml, or the environment, says of the instance.

    Raises:
        ClusterError: a setting is not what AWS, or the boot script, can take.

    """
    if not re.fullmatch(r"[a-z0-9-]{1,30}\.[a-z0-9-]{1,30}", instance_type):
        raise ClusterError(
            f"uqle.instance_type is {instance_type!r}, and must be an EC2 instance type, as t3.large."
        )
    if not (re.fullmatch(r"[0-9]{1,5}", str(volume_gib)) and 8 <= int(volume_gib) <= 16384):
        raise ClusterError(f"uqle.volume_gib is {volume_gib!r}, and must be a number of GiB from 8 to 16384.")
    if not re.fullmatch(r"(/[A-Za-z0-9_.-]{1,255}){1,16}", mount_point) or {".", ".."} & set(
        mount_point.split("/")
    ):
        raise ClusterError(
            f"uqle.mount_point is {mount_point!r}, and must be an absolute path of plain characters, as /shared."
        )
    return InstanceSettings(instance_type, int(volume_gib), mount_point, key_pair)


def find_instance(ec2: EC2Client, cluster: str) -> InstanceTypeDef | None:
    """Find the cluster's UQLE instance by its tag, unless it is terminated or about to be.

    Raises:
        ClusterError: there is more than one, so that somebody has to choose.

    """
    found = [i for i in list_tagged_instances(ec2, cluster) if i["State"]["Name"] in LIVE_STATES]
    if len(found) > 1:
        ids = ", ".join(sorted(instance["InstanceId"] for instance in found))
        raise ClusterError(
            f"{ids} are all tagged {clients.TAG}={cluster}: terminate those that are too many."
        )
    return found[0] if found else None


def get_public_address(ec2: EC2Client, cluster: str) -> str:
    """Give the public address of the UQLE instance.

    Raises:
        ClusterError: there is none.
    """
    found = find_instance(ec2, cluster)
    if found is None or not found.get("PublicIpAddress"):
        raise ClusterError("There is no UQLE machine with a public address: `invoke connect-uqle` makes one.")
    return found["PublicIpAddress"]


def list_tagged_instances(ec2: EC2Client, cluster: str) -> list[InstanceTypeDef]:
    """Give all instances with the cluster's tag, in every state that EC2 still tells of."""
    pages = ec2.get_paginator("describe_instances").paginate(Filters=[clients.tag_filter(cluster)])
    return [
        instance
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]


def get_subnet_id(ec2: EC2Client, instance: str) -> str:
    """Give the subnet that an instance is in."""
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["SubnetId"]


def render_user_data(place: LaunchTarget, mount_point: str) -> str:
    """Give the boot script with the file system and the mount point filled in.

    Args:
        place: for the file system's name, which resolves where it has a mount target.
            https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-mount-cmd-dns-name.html
        mount_point: where the instance mounts it.

    """
    host = f"{place.file_system}.efs.{place.region}.amazonaws.com"
    rendered: str = chevron.render(
        files.read_text(USER_DATA_SCRIPT), {"FILE_SYSTEM": host, "MOUNT_POINT": mount_point}
    )
    return rendered


def get_ubuntu_image_id(ssm: SSMClient) -> str:
    """Give the id of the newest Ubuntu 24.04 image, which Canonical publishes as a parameter."""
    return ssm.get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]


def build_launch_request(
    place: LaunchTarget, settings: InstanceSettings, image_id: str, script: str, token: str
) -> RunInstancesRequestTypeDef:
    """Give all that EC2 is asked for."""
    name = f"{place.cluster}-uqle"
    volume = {
        "VolumeSize": settings.volume_gib,
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    interface = {
        "DeviceIndex": 0,
        "SubnetId": place.subnet,
        "Groups": [place.group],
        "AssociatePublicIpAddress": True,
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
        "UserData": script,
        "TagSpecifications": [
            clients.tag_specification(kind, place.cluster, name) for kind in ("instance", "volume")
        ],
        "ClientToken": token,
    }


def make_client_token(place: LaunchTarget, spent: str) -> str:
    """Give the token of a launch: the same for one attempt repeated, another one after the instance was taken away.

    Args:
        place: the stack's id is in it, so that another cluster of the same name has others.
        spent: the token of the launch before, or nothing.

    """
    return hashlib.sha256(f"{place.stack_id} {spent}".encode()).hexdigest()[:32]


def read_used_token(ec2: EC2Client, group: str) -> str:
    """Give the token of the launch that was ended last, which the head node's group remembers."""
    on_group = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0].get("Tags", [])
    return next((tag["Value"] for tag in on_group if tag["Key"] == USED_TOKEN_TAG), "")


def record_used_token(ec2: EC2Client, group: str, token: str) -> None:
    """Remember that a launch is over."""
    ec2.create_tags(Resources=[group], Tags=[{"Key": USED_TOKEN_TAG, "Value": token}])


def launch_instance(
    ec2: EC2Client, place: LaunchTarget, settings: InstanceSettings, image_id: str, script: str
) -> str:
    """Launch the instance, once: EC2 answers a repeated token with the instance that it had.

    Returns:
        The id of the instance.

    Raises:
        ClusterError: EC2 holds the launch's token for an instance that cannot be found.

    """
    spent = place.spent_token
    for _ in range(3):
        token = make_client_token(place, spent)
        try:
            answer = ec2.run_instances(**build_launch_request(place, settings, image_id, script, token))
            return answer["Instances"][0]["InstanceId"]
        except ClientError as error:
            if error_code(error) not in ("IdempotentParameterMismatch", "IdempotentInstanceTerminated"):
                raise
        # The token was used before: by a launch whose answer was lost, or by one whose instance was terminated by hand.
        living = find_instance(ec2, place.cluster)
        if living:
            return living["InstanceId"]
        record_used_token(ec2, place.group, token)
        spent = token
    raise ClusterError(
        "EC2 goes on refusing the launch as a repeated one: wait a minute, then run this again."
    )


def watch_instances(ec2: EC2Client, instances: list[str], wanted: str) -> Iterator[Progress]:
    """Look at instances until all of them are in a state, ten minutes at most.

    Args:
        ec2: a client of EC2.
        instances: their ids; EC2 may not know a new one yet.
        wanted: the state.

    Yields:
        How far they are, at each look at which they are not there.

    Raises:
        ClusterError: they do not come to it.
    """
    for _ in range(MAX_POLLS):
        states = {each["InstanceId"]: each["State"]["Name"] for each in describe_instances(ec2, instances)}
        under_way = tuple(each for each in instances if states.get(each) != wanted)
        if not under_way:
            return
        if wanted not in END_STATES and END_STATES & set(states.values()):
            break
        status = ", ".join(sorted({states.get(each, "pending") for each in under_way}))
        yield Progress(f"{status}, to be {wanted}", now=under_way)
        time.sleep(POLL_SECONDS)
    raise ClusterError(
        f"{', '.join(under_way)} does not come to be {wanted}: see its state reason in the EC2 console."
    )


def describe_instances(ec2: EC2Client, instances: list[str]) -> list[InstanceTypeDef]:
    """Give those of the instances that EC2 knows."""
    reservations = clients.list_all(
        ec2, "describe_instances", Filters=[{"Name": "instance-id", "Values": instances}]
    )
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def stop_instance(ec2: EC2Client, cluster: str) -> list[str]:
    """Stop the UQLE instance; it keeps its disk, and gets another address when it is started.

    Returns:
        The ids of what is to be stopped.
    """
    found = find_instance(ec2, cluster)
    if found is None or found["State"]["Name"] == "stopped":
        return []
    ec2.stop_instances(InstanceIds=[found["InstanceId"]])
    return [found["InstanceId"]]


def start_instance(ec2: EC2Client, cluster: str) -> Iterator[Progress]:
    """Start the UQLE instance, where there is one, and give the progress of it until it runs."""
    found = find_instance(ec2, cluster)
    if found is None:
        return
    if found["State"]["Name"] == "stopping":
        yield from watch_instances(ec2, [found["InstanceId"]], "stopped")
    if found["State"]["Name"] in ("stopping", "stopped"):
        ec2.start_instances(InstanceIds=[found["InstanceId"]])
    yield from watch_instances(ec2, [found["InstanceId"]], "running")


def list_differences(
    ec2: EC2Client, instance: InstanceTypeDef, place: LaunchTarget, settings: InstanceSettings, script: str
) -> list[str]:
    """Say where an instance that stands is not what the settings ask for.

    Args:
        ec2: a client of EC2.
        instance: as it stands.
        place: where it would be launched now.
        settings: what it would be launched with now.
        script: its user data now.

    """
    asked = {
        "type": settings.instance_type,
        "key pair": settings.key_pair,
        "subnet": place.subnet,
        "groups": place.group,
    }
    groups = sorted(group["GroupId"] for nic in instance["NetworkInterfaces"] for group in nic["Groups"])
    stands = {
        "type": instance["InstanceType"],
        "key pair": instance.get("KeyName", "none"),
        "subnet": instance["SubnetId"],
        "groups": ", ".join(groups),
    }
    found = [
        f"its {what} is {stands[what]}, not {asked[what]}" for what in asked if stands[what] != asked[what]
    ]
    encoded = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")[
        "UserData"
    ]
    if base64.b64decode(encoded.get("Value", "")) != script.encode():
        found.append("its boot script or mount point is another one")
    return found


def terminate_instances(ec2: EC2Client, cluster: str, group: str | None) -> list[str]:
    """Terminate the cluster's UQLE instance; until it is terminated, its group cannot be deleted.

    Args:
        ec2: a client of EC2.
        cluster: whose.
        group: the head node's group, which remembers that the launch is over; None where it is gone.

    Returns:
        The ids of the instances that are to be terminated.

    """
    instances = [i for i in list_tagged_instances(ec2, cluster) if i["State"]["Name"] != "terminated"]
    ids = [instance["InstanceId"] for instance in instances]
    if not ids:
        return []
    if group:  # before the end: when this is stopped in between, the next run still finds the instance
        for instance in instances:
            record_used_token(ec2, group, instance.get("ClientToken", ""))
    ec2.terminate_instances(InstanceIds=ids)
    return ids
