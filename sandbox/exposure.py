"""The ports that security groups open, and how machines, file systems and buckets are protected."""

import json
from typing import Any, NamedTuple

import jmespath

from sandbox.inventory import NAME_TAG, call, call_if_set


class OpenPort(NamedTuple):
    """A port that one source can reach.

    Attributes:
        target: the Name tag of the machine or file system, or the launch template of future machines.
        ports: the protocol and port, such as `tcp 22`, or `all`.
        source: a network, a prefix list, or the name of a security group.

    """

    target: str
    ports: str
    source: str


class MachineProtection(NamedTuple):
    """How a machine is protected.

    Attributes:
        http_tokens: whether the metadata service requires tokens: `required` or `optional`.
        encrypted: whether all volumes are encrypted.

    """

    http_tokens: str
    encrypted: bool


class BucketProtection(NamedTuple):
    """How a bucket is protected.

    Attributes:
        private: whether all public access is blocked.
        encrypted: whether it is encrypted.
        tls_only: whether it denies requests without TLS.

    """

    private: bool
    encrypted: bool
    tls_only: bool


def list_open_ports(region: str) -> list[OpenPort]:
    """Return every port that a rule opens to a machine, a file system, or the machines of a launch template.

    All other ports are closed: a security group allows only what its rules name.
    https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html

    Args:
        region: the region's name.

    """
    groups = call(region, "ec2", "describe_security_groups")["SecurityGroups"]
    group_names = {group["GroupId"]: group["GroupName"] for group in groups}
    permissions = {group["GroupId"]: group["IpPermissions"] for group in groups}
    return sorted(
        {
            OpenPort(target, format_ports(permission), source)
            for target, group_ids in find_groups(region).items()
            for group_id in group_ids
            for permission in permissions[group_id]
            for source in list_sources(permission, group_names)
        }
    )


def find_groups(region: str) -> dict[str, set[str]]:
    """Return the ids of the security groups of all network interfaces and launch templates, by name."""
    names = {instance["InstanceId"]: get_name(instance) for instance in list_instances(region)}
    names |= load_mount_target_names(region)
    found: dict[str, set[str]] = {}
    for interface in call(region, "ec2", "describe_network_interfaces")["NetworkInterfaces"]:
        interface_id = interface["NetworkInterfaceId"]
        instance_id = interface.get("Attachment", {}).get("InstanceId")
        name = names.get(interface_id) or names.get(instance_id, interface_id)
        found.setdefault(name, set()).update(group["GroupId"] for group in interface["Groups"])
    for name, data in load_launch_templates(region).items():
        interfaces = data.get("NetworkInterfaces", [])
        group_ids = [group_id for interface in interfaces for group_id in interface.get("Groups", [])]
        found[name] = {*group_ids, *data.get("SecurityGroupIds", [])}
    return found


def list_instances(region: str) -> list[dict[str, Any]]:
    """Return all instances."""
    reservations = call(region, "ec2", "describe_instances")["Reservations"]
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def load_mount_target_names(region: str) -> dict[str, str]:
    """Return the names of the file systems, by the network interfaces of their mount targets."""
    names: dict[str, str] = {}
    for file_system in call(region, "efs", "describe_file_systems")["FileSystems"]:
        file_system_id = file_system["FileSystemId"]
        targets = call(region, "efs", "describe_mount_targets", FileSystemId=file_system_id)["MountTargets"]
        names |= {
            target["NetworkInterfaceId"]: f"{get_name(file_system)} (file system)" for target in targets
        }
    return names


def load_launch_templates(region: str) -> dict[str, dict[str, Any]]:
    """Return the data of each launch template's newest version, by a name for its machines."""
    found = {}
    for template in call(region, "ec2", "describe_launch_templates")["LaunchTemplates"]:
        arguments = {"LaunchTemplateId": template["LaunchTemplateId"], "Versions": ["$Latest"]}
        versions = call(region, "ec2", "describe_launch_template_versions", **arguments)
        data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        found[f"{template['LaunchTemplateName']} (launch template)"] = data
    return found


def get_name(resource: dict[str, Any]) -> str:
    """Return the Name tag."""
    return jmespath.search(NAME_TAG, resource) or "(no name)"


def format_ports(permission: dict[str, Any]) -> str:
    """Return the ports that a rule opens."""
    protocol, first, last = permission["IpProtocol"], permission.get("FromPort"), permission.get("ToPort")
    if protocol == "-1":
        return "all"
    if (first, last) in ((0, 65535), (None, None), (-1, -1)):
        return f"{protocol} all"
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def list_sources(permission: dict[str, Any], group_names: dict[str, str]) -> list[str]:
    """Return the sources that a rule allows; a group is shown by its name, without its random suffix."""
    group_ids = [pair["GroupId"] for pair in permission.get("UserIdGroupPairs", [])]
    return [
        *(ip_range["CidrIp"] for ip_range in permission.get("IpRanges", [])),
        *(ip_range["CidrIpv6"] for ip_range in permission.get("Ipv6Ranges", [])),
        *(prefix_list["PrefixListId"] for prefix_list in permission.get("PrefixListIds", [])),
        *(group_names[group_id].rpartition("-")[0] for group_id in group_ids),
    ]


def check_machines(region: str) -> dict[str, MachineProtection]:
    """Return how each machine is protected, and how those of each launch template would be.

    Args:
        region: the region's name.

    """
    volumes = call(region, "ec2", "describe_volumes")["Volumes"]
    found = {}
    for instance in list_instances(region):
        attached = [
            volume
            for volume in volumes
            if instance["InstanceId"] in [attachment["InstanceId"] for attachment in volume["Attachments"]]
        ]
        found[get_name(instance)] = build_protection(instance, attached)
    for name, data in load_launch_templates(region).items():
        mappings = data.get("BlockDeviceMappings", [])
        found[name] = build_protection(data, [mapping["Ebs"] for mapping in mappings if "Ebs" in mapping])
    return found


def build_protection(machine: dict[str, Any], volumes: list[dict[str, Any]]) -> MachineProtection:
    """Return how a machine with these volumes is protected."""
    http_tokens = machine.get("MetadataOptions", {}).get("HttpTokens", "optional")
    return MachineProtection(
        http_tokens, bool(volumes) and all(volume.get("Encrypted") for volume in volumes)
    )


def check_file_systems(region: str) -> dict[str, bool]:
    """Return whether each file system is encrypted."""
    file_systems = call(region, "efs", "describe_file_systems")["FileSystems"]
    return {get_name(file_system): bool(file_system.get("Encrypted")) for file_system in file_systems}


def check_buckets(region: str) -> dict[str, BucketProtection]:
    """Return how each bucket is protected.

    Args:
        region: the region's name.

    """
    found = {}
    for bucket in call(region, "s3", "list_buckets")["Buckets"]:
        name = bucket["Name"]
        access = call_if_set(region, "s3", "get_public_access_block", Bucket=name)
        blocks = access.get("PublicAccessBlockConfiguration", {})
        policy = call_if_set(region, "s3", "get_bucket_policy", Bucket=name).get("Policy", "")
        encryption = call_if_set(region, "s3", "get_bucket_encryption", Bucket=name)
        found[name] = BucketProtection(
            private=bool(blocks) and all(blocks.values()),
            encrypted="ServerSideEncryptionConfiguration" in encryption,
            tls_only=is_tls_only(policy, name),
        )
    return found


def is_tls_only(policy: str, bucket: str) -> bool:
    """Return whether a bucket's policy denies all requests without TLS."""
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement["Action"] == "s3:*"
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        and {arn.rpartition(":")[2] for arn in statement["Resource"]} >= {bucket, f"{bucket}/*"}
        for statement in json.loads(policy or '{"Statement": []}')["Statement"]
    )
