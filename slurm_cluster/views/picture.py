"""The picture of what stands: one page with a drawing of the network, and the console's three views of it."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from slurm_cluster.views import connectivity
from slurm_cluster.views.cluster_state import (
    ClusterState,
    find_mount_target,
    find_subnet,
    get_group_ids,
    get_tag,
    load_state,
)

if TYPE_CHECKING:
    from slurm_cluster.project import Project
    from slurm_cluster.views.connectivity import Connection

TEMPLATE = Path(__file__).with_name("picture.html.j2")
# in our boot script, and in the one that the console's launch wizard writes
FILE_SYSTEM_PATTERN = re.compile(r"(?:FILE_SYSTEM='|file_system_id_1=)(fs-[0-9a-f]+)")
MOUNT_POINT_PATTERN = re.compile(r"(?:MOUNT_POINT='|efs_mount_point_1=)(/[^'\s]*)")


class Field(NamedTuple):
    """A field of the console: its name, its lines, none of which are missing, and whether a checkbox is ticked."""

    label: str
    lines: list[str]
    ticked: bool | None = None


def render_page(p: Project) -> str:
    """Give the page: HTML that needs neither network nor script, and in which names and tags are text and nothing else."""
    loader, strict = jinja2.FileSystemLoader(TEMPLATE.parent), jinja2.StrictUndefined
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True
    )
    stands = load_state(p)
    arrows = connectivity.list_connections(stands)
    return environment.get_template(TEMPLATE.name).render(
        cluster=p.cluster,
        region=p.region,
        now=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        stands=stands,
        tag=get_tag,
        reach=arrows,
        drawn=list_drawing_labels(stands, arrows),
        ports=connectivity.PORTS,
        rules=[
            (rule, *connectivity.format_traffic(rule), connectivity.get_source(rule))
            for rule in connectivity.list_inbound_rules(stands, [stands.group])
        ],
        admits_itself=bool(connectivity.list_self_rules(stands)),
        network_settings=list_network_fields(stands),
        file_system_settings=list_file_system_fields(stands),
        create=connectivity.CREATE_CLUSTER,
        connect=connectivity.CREATE_INSTANCE,
        admit=connectivity.ALLOW_GROUP,
    )


def list_drawing_labels(s: ClusterState, arrows: dict[str, Connection]) -> dict[str, list[str]]:
    """Give the lines of each part of the drawing; none where it is missing."""
    home = s.head or s.uqle
    near = (
        [find_subnet(s, home)] if home else [subnet for subnet in s.subnets if subnet["MapPublicIpOnLaunch"]]
    )
    far = [subnet for subnet in s.subnets if subnet not in near]
    more = [f"and {len(far) - 1} other subnets"] if len(far) > 1 else []
    target = find_mount_target(s, s.uqle or s.head)
    where = f"{target['MountTargetId']} at {target.get('IpAddress')}" if target else "no mount target"
    return {
        "outside": arrows["ssh_head"].source.split(", ")
        if arrows["ssh_head"].rules
        else ["nobody may come in"],
        "vpc": [f"{s.vpc['VpcId']}  {s.vpc['CidrBlock']}", get_tag(s.vpc)] if s.vpc else [],
        "near": [line for subnet in near for line in label_subnet(subnet)],
        "far": [line for subnet in far[:1] for line in label_subnet(subnet)] + more,
        "uqle": label_instance(s.uqle),
        "head": label_instance(s.head),
        "compute": [f"{len(s.compute)} nodes now", s.compute_group] if s.compute_group else [],
        "shared": [f"{s.file_system['FileSystemId']}  {s.file_system.get('Name', '')}", where]
        if s.file_system
        else [],
    }


def label_subnet(subnet: dict[str, Any]) -> list[str]:
    """Give the lines of a subnet."""
    return [subnet["SubnetId"], f"{subnet['CidrBlock']}  {subnet['AvailabilityZone']}", get_tag(subnet)]


def label_instance(instance: dict[str, Any]) -> list[str]:
    """Give the lines of an instance; none where there is none."""
    if not instance:
        return []
    addresses = [instance.get("PublicIpAddress") or "no public address", instance.get("PrivateIpAddress", "")]
    return [
        instance["InstanceId"],
        f"{instance['InstanceType']}, {instance['State']['Name']}",
        *addresses,
        *get_group_ids(instance),
    ]


def list_network_fields(s: ClusterState) -> list[Field]:
    """Give the UQLE instance's network settings, as the console's launch wizard has them."""
    if not s.uqle:
        return [Field(label, []) for label in ("VPC", "Subnet", "Auto-assign public IP", "Security groups")]
    subnet, address = find_subnet(s, s.uqle), s.uqle.get("PublicIpAddress")
    how = "Disabled: it has the Elastic IP" if s.elastic else "Enabled:"
    return [
        Field("VPC", [s.uqle["VpcId"], f"{get_tag(s.vpc)}, {s.vpc.get('CidrBlock')}"]),
        Field(
            "Subnet",
            [
                s.uqle["SubnetId"],
                f"{get_tag(subnet)}, {subnet.get('CidrBlock')}, {subnet.get('AvailabilityZone')}",
            ],
        ),
        Field(
            "Auto-assign public IP",
            [f"{how} {address}" if address else f"No address while it is {s.uqle['State']['Name']}"],
        ),
        Field(
            "Security groups",
            [line for group in get_group_ids(s.uqle) for line in (group, s.group_names.get(group, ""))],
        ),
    ]


def list_file_system_fields(s: ClusterState) -> list[Field]:
    """Give the UQLE instance's file system settings, as the console's launch wizard has them."""
    found, target = s.file_system, find_mount_target(s, s.uqle or s.head)
    mounts, where = FILE_SYSTEM_PATTERN.search(s.user_data), MOUNT_POINT_PATTERN.search(s.user_data)
    by_script = bool(where and mounts and mounts[1] == found.get("FileSystemId"))
    others = [
        f"{group} {s.group_names.get(group, '')}" for group in get_group_ids(s.uqle) if group != s.group
    ]
    attached = (
        f"Cannot be told: it is also a member of {', '.join(others)}"
        if others
        else "No: it has the head node's group alone"
    )
    script = (
        f"Yes: its user data mounts {found['FileSystemId']}"
        if by_script
        else "No: its user data does not mount this file system"
    )
    place = (
        f"{target.get('IpAddress')} in {target.get('AvailabilityZoneName')}, {target.get('LifeCycleState')}"
    )
    fields = [
        Field("File system", [found["FileSystemId"], found.get("Name") or "without a name"] if found else []),
        Field("Mount point", [where[1]] if where else []),
        Field("Mount target", [target["MountTargetId"], place] if target else []),
        Field("Automatically create and attach security groups", [attached], None if others else False),
        Field(
            "Automatically mount shared file system by attaching required user data script",
            [script],
            by_script,
        ),
    ]
    return fields if s.uqle else fields[:3] + [Field(field.label, []) for field in fields[3:]]
