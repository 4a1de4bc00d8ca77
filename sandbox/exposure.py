"""Who may reach what: the doors that all security groups and their rules leave open, and how what stands is protected."""

import json
from typing import Any, NamedTuple

import jmespath

from sandbox.api_calls import client
from sandbox.inventory import answer


class Door(NamedTuple):
    """An open door.

    Args:
        machine: what is reached: by its Name tag, or, where no machine runs yet, the launch template of such machines.
        ports: as `tcp 22`, or `all`.
        source: who may reach it: a network, a prefix list, or the members of a group by the group's name.

    """

    machine: str
    ports: str
    source: str


def table(region: str) -> list[Door]:
    """Give every door that a rule opens to a machine, a file system, or a machine that a launch template makes.

    What is not in it is closed: a security group lets in nothing that no rule of it names.
    https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html

    Args:
        region: the region's name.

    """
    groups = {
        each["GroupId"]: each for each in answer(region, "ec2", "describe_security_groups")["SecurityGroups"]
    }
    doors = set()
    for machine, members in members_of_groups(region).items():
        for permission in [each for member in members for each in groups[member]["IpPermissions"]]:
            doors |= {Door(machine, ports(permission), source) for source in sources(permission, groups)}
    return sorted(doors)


def members_of_groups(region: str) -> dict[str, set[str]]:
    """Give all that has security groups, and which: instances, mount targets, other interfaces, and launch templates."""
    found: dict[str, set[str]] = {}
    listed = answer(region, "ec2", "describe_instances")
    names = {
        each["InstanceId"]: name_of(each) for each in jmespath.search("Reservations[].Instances[]", listed)
    }
    names |= mount_targets(region)
    for interface in answer(region, "ec2", "describe_network_interfaces")["NetworkInterfaces"]:
        identifier = interface["NetworkInterfaceId"]
        name = names.get(identifier) or names.get(
            interface.get("Attachment", {}).get("InstanceId"), identifier
        )
        found.setdefault(name, set()).update(group["GroupId"] for group in interface["Groups"])
    for name, data in launch_templates(region).items():
        of_interfaces = [
            group for each in data.get("NetworkInterfaces", []) for group in each.get("Groups", [])
        ]
        found[f"{name} (launch template)"] = {*of_interfaces, *data.get("SecurityGroupIds", [])}
    return found


def mount_targets(region: str) -> dict[str, str]:
    """Give the network interfaces of file systems, and whose each is."""
    efs, found = client("efs", region), {}
    for system in answer(region, "efs", "describe_file_systems")["FileSystems"]:
        for target in efs.describe_mount_targets(FileSystemId=system["FileSystemId"])["MountTargets"]:
            found[target["NetworkInterfaceId"]] = f"{name_of(system)} (file system)"
    return found


def launch_templates(region: str) -> dict[str, dict[str, Any]]:
    """Give what each launch template in its newest version makes of a machine."""
    ec2, found = client("ec2", region), {}
    for each in answer(region, "ec2", "describe_launch_templates")["LaunchTemplates"]:
        told = ec2.describe_launch_template_versions(
            LaunchTemplateId=each["LaunchTemplateId"], Versions=["$Latest"]
        )
        found[each["LaunchTemplateName"]] = told["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return found


def name_of(thing: dict[str, Any]) -> str:
    """Give the Name tag."""
    return next((tag["Value"] for tag in thing.get("Tags", []) if tag["Key"] == "Name"), "without a name")


def ports(permission: dict[str, Any]) -> str:
    """Say which ports a rule opens."""
    protocol, first, last = permission["IpProtocol"], permission.get("FromPort"), permission.get("ToPort")
    if protocol == "-1":
        return "all"
    if (first, last) in ((0, 65535), (None, None), (-1, -1)):
        return f"{protocol} all"
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def sources(permission: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    """Name those whom a rule lets in; a group by its name, of which the random end is left out."""
    return [
        *(each["CidrIp"] for each in permission.get("IpRanges", [])),
        *(each["CidrIpv6"] for each in permission.get("Ipv6Ranges", [])),
        *(each["PrefixListId"] for each in permission.get("PrefixListIds", [])),
        *(
            groups[each["GroupId"]]["GroupName"].rpartition("-")[0]
            for each in permission.get("UserIdGroupPairs", [])
        ),
    ]


class Machine(NamedTuple):
    """How a machine, or one that a launch template makes, is protected.

    Args:
        metadata: whether its metadata service wants tokens: `required`, or `optional`.
        encrypted: whether all its volumes are encrypted.

    """

    metadata: str
    encrypted: bool


def machines_of(region: str) -> dict[str, Machine]:
    """Say of each machine, and of each launch template, how it is protected.

    Args:
        region: the region's name.

    """
    volumes = answer(region, "ec2", "describe_volumes")["Volumes"]
    found = {}
    for each in jmespath.search("Reservations[].Instances[]", answer(region, "ec2", "describe_instances")):
        own = [
            volume
            for volume in volumes
            if each["InstanceId"] in [a["InstanceId"] for a in volume["Attachments"]]
        ]
        told = each.get("MetadataOptions", {}).get("HttpTokens", "optional")
        found[name_of(each)] = Machine(told, bool(own) and all(volume["Encrypted"] for volume in own))
    for name, data in launch_templates(region).items():
        disks = [disk["Ebs"] for disk in data.get("BlockDeviceMappings", []) if "Ebs" in disk]
        told = data.get("MetadataOptions", {}).get("HttpTokens", "optional")
        found[f"{name} (launch template)"] = Machine(
            told, bool(disks) and all(disk.get("Encrypted") for disk in disks)
        )
    return found


def file_systems(region: str) -> dict[str, bool]:
    """Say of each file system whether it is encrypted."""
    listed = answer(region, "efs", "describe_file_systems")["FileSystems"]
    return {name_of(each): bool(each.get("Encrypted")) for each in listed}


class Bucket(NamedTuple):
    """How a bucket is protected: whether all public access is blocked, it is encrypted, and refuses requests without TLS."""

    private: bool
    encrypted: bool
    tls_only: bool


def buckets(region: str) -> dict[str, Bucket]:
    """Say of each bucket how it is protected.

    Args:
        region: the region's name.

    """
    s3, found = client("s3", region), {}
    for name in jmespath.search("Buckets[].Name", s3.list_buckets()):
        block = optional(s3, "get_public_access_block", Bucket=name).get("PublicAccessBlockConfiguration", {})
        policy = optional(s3, "get_bucket_policy", Bucket=name).get("Policy", "")
        encrypted = "ServerSideEncryptionConfiguration" in optional(s3, "get_bucket_encryption", Bucket=name)
        found[name] = Bucket(bool(block) and all(block.values()), encrypted, is_tls_only(policy, name))
    return found


def optional(s3: Any, operation: str, **arguments: str) -> dict[str, Any]:
    """Give a setting of a bucket, or nothing where it has none."""
    try:
        told: dict[str, Any] = getattr(s3, operation)(**arguments)
    except s3.exceptions.ClientError:
        return {}
    return told


def is_tls_only(policy: str, bucket: str) -> bool:
    """Say whether a bucket's policy denies everybody everything without TLS."""
    return any(
        (each["Effect"], each["Principal"], each["Action"])
        in (("Deny", "*", "s3:*"), ("Deny", {"AWS": "*"}, "s3:*"))
        and each["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and {arn.rpartition(":")[2] for arn in each["Resource"]} >= {bucket, f"{bucket}/*"}
        for each in json.loads(policy or '{"Statement": []}')["Statement"]
        if "Condition" in each
    )
