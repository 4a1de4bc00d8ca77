"""The picture of what stands: one page with a drawing of the network, and the console's three views of it."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from slurm_cluster.views import connectivity
from slurm_cluster.views.cluster_state import Standing, groups_of, look, subnet_of, tag, target_for

if TYPE_CHECKING:
    from slurm_cluster.project import Project
    from slurm_cluster.views.connectivity import Reach

TEMPLATE = Path(__file__).with_name("picture.html.j2")
# in our boot script, and in the one that the console's launch wizard writes
FILE_SYSTEM = re.compile(r"(?:FILE_SYSTEM='|file_system_id_1=)(fs-[0-9a-f]+)")
MOUNT_POINT = re.compile(r"(?:MOUNT_POINT='|efs_mount_point_1=)(/[^'\s]*)")


class Field(NamedTuple):
    """A field of the console: its name, its lines, none of which are missing, and whether a checkbox is ticked."""

    label: str
    lines: list[str]
    ticked: bool | None = None


def page(p: Project) -> str:
    """Give the page: HTML that needs neither network nor script, and in which names and tags are text and nothing else."""
    loader, strict = jinja2.FileSystemLoader(TEMPLATE.parent), jinja2.StrictUndefined
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True)
    stands = look(p)
    arrows = connectivity.reaches(stands)
    return environment.get_template(TEMPLATE.name).render(
        cluster=p.cluster,
        region=p.region,
        now=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        stands=stands,
        tag=tag,
        reach=arrows,
        drawn=drawn(stands, arrows),
        ports=connectivity.PORTS,
        rules=[
            (rule, *connectivity.traffic(rule), connectivity.peer(rule)) for rule in connectivity.inbound(stands, [stands.group])
        ],
        admits_itself=bool(connectivity.self_rules(stands)),
        network_settings=network_settings(stands),
        file_system_settings=file_system_settings(stands),
        create=connectivity.CREATE,
        connect=connectivity.CONNECT,
        admit=connectivity.ADMIT,
    )


def drawn(s: Standing, arrows: dict[str, Reach]) -> dict[str, list[str]]:
    """Give the lines of each part of the drawing; none where it is missing."""
    home = s.head or s.uqle
    near = [subnet_of(s, home)] if home else [subnet for subnet in s.subnets if subnet["MapPublicIpOnLaunch"]]
    far = [subnet for subnet in s.subnets if subnet not in near]
    more = [f"and {len(far) - 1} other subnets"] if len(far) > 1 else []
    target = target_for(s, s.uqle or s.head)
    where = f"{target['MountTargetId']} at {target.get('IpAddress')}" if target else "no mount target"
    return {
        "outside": arrows["ssh_head"].source.split(", ") if arrows["ssh_head"].rules else ["nobody may come in"],
        "vpc": [f"{s.vpc['VpcId']}  {s.vpc['CidrBlock']}", tag(s.vpc)] if s.vpc else [],
        "near": [line for subnet in near for line in of_subnet(subnet)],
        "far": [line for subnet in far[:1] for line in of_subnet(subnet)] + more,
        "uqle": of_instance(s.uqle),
        "head": of_instance(s.head),
        "compute": [f"{len(s.compute)} nodes now", s.compute_group] if s.compute_group else [],
        "shared": [f"{s.file_system['FileSystemId']}  {s.file_system.get('Name', '')}", where] if s.file_system else [],
    }


def of_subnet(subnet: dict[str, Any]) -> list[str]:
    """Give the lines of a subnet."""
    return [subnet["SubnetId"], f"{subnet['CidrBlock']}  {subnet['AvailabilityZone']}", tag(subnet)]


def of_instance(instance: dict[str, Any]) -> list[str]:
    """Give the lines of an instance; none where there is none."""
    if not instance:
        return []
    addresses = [instance.get("PublicIpAddress") or "no public address", instance.get("PrivateIpAddress", "")]
    return [instance["InstanceId"], f"{instance['InstanceType']}, {instance['State']['Name']}", *addresses, *groups_of(instance)]


def network_settings(s: Standing) -> list[Field]:
    """Give the UQLE instance's network settings, as the console's launch wizard has them."""
    if not s.uqle:
        return [Field(label, []) for label in ("VPC", "Subnet", "Auto-assign public IP", "Security groups")]
    subnet, address = subnet_of(s, s.uqle), s.uqle.get("PublicIpAddress")
    how = "Disabled: it has the Elastic IP" if s.elastic else "Enabled:"
    return [
        Field("VPC", [s.uqle["VpcId"], f"{tag(s.vpc)}, {s.vpc.get('CidrBlock')}"]),
        Field("Subnet", [s.uqle["SubnetId"], f"{tag(subnet)}, {subnet.get('CidrBlock')}, {subnet.get('AvailabilityZone')}"]),
        Field("Auto-assign public IP", [f"{how} {address}" if address else f"No address while it is {s.uqle['State']['Name']}"]),
        Field("Security groups", [line for group in groups_of(s.uqle) for line in (group, s.group_names.get(group, ""))]),
    ]


def file_system_settings(s: Standing) -> list[Field]:
    """Give the UQLE instance's file system settings, as the console's launch wizard has them."""
    found, target = s.file_system, target_for(s, s.uqle or s.head)
    mounts, where = FILE_SYSTEM.search(s.user_data), MOUNT_POINT.search(s.user_data)
    by_script = bool(where and mounts and mounts[1] == found.get("FileSystemId"))
    others = [f"{group} {s.group_names.get(group, '')}" for group in groups_of(s.uqle) if group != s.group]
    attached = (
        f"Cannot be told: it is also a member of {', '.join(others)}" if others else "No: it has the head node's group alone"
    )
    script = (
        f"Yes: its user data mounts {found['FileSystemId']}" if by_script else "No: its user data does not mount this file system"
    )
    place = f"{target.get('IpAddress')} in {target.get('AvailabilityZoneName')}, {target.get('LifeCycleState')}"
    fields = [
        Field("File system", [found["FileSystemId"], found.get("Name") or "without a name"] if found else []),
        Field("Mount point", [where[1]] if where else []),
        Field("Mount target", [target["MountTargetId"], place] if target else []),
        Field("Automatically create and attach security groups", [attached], None if others else False),
        Field("Automatically mount shared file system by attaching required user data script", [script], by_script),
    ]
    return fields if s.uqle else fields[:3] + [Field(field.label, []) for field in fields[3:]]
