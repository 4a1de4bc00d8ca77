"""`invoke picture`: a page with a diagram of the network, and settings as the AWS console shows them."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jinja2

from slurm_cluster.aws.clients import get_tag
from slurm_cluster.aws.security_groups import get_source
from slurm_cluster.state.cluster_state import (
    ClusterState,
    find_mount_target,
    find_subnet,
    get_group_ids,
    load_state,
)
from slurm_cluster.views import connectivity

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef, SubnetTypeDef

    from slurm_cluster.project import Project
    from slurm_cluster.views.connectivity import Connection

TEMPLATE = Path(__file__).with_name("picture.html.j2")
GROUPS_LABEL = "Firewall (security groups)"
# Match our boot script, and the user data that the console's launch wizard writes.
FILE_SYSTEM_PATTERN = re.compile(r"(?:FILE_SYSTEM='|file_system_id_1=)(fs-[0-9a-f]+)")
MOUNT_POINT_PATTERN = re.compile(r"(?:MOUNT_POINT='|efs_mount_point_1=)(/[^'\s]*)")


class Field(NamedTuple):
    """A field of the console's launch wizard.

    Args:
        label: its name.
        lines: the lines of its value; empty if the value is missing.
        ticked: whether its checkbox is ticked; None for a field without a checkbox.
    """

    label: str
    lines: list[str]
    ticked: bool | None = None


def render_page(p: Project) -> str:
    """Return the HTML page. It loads nothing, has no scripts, and escapes every value."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    state = load_state(p)
    connections = connectivity.list_connections(state)
    groups = state.own_security_groups or [state.head_node_group]
    rules = connectivity.list_inbound_rules(state, groups)
    create_cluster = connectivity.RECREATE_CLUSTER if state.status else connectivity.CREATE_CLUSTER
    has_group = state.head_node_group or state.own_security_groups
    return environment.get_template(TEMPLATE.name).render(
        cluster=p.cluster_name,
        region=p.region,
        now=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        state=state,
        get_tag=get_tag,
        connections=connections,
        labels=list_diagram_labels(state, connections),
        ports=connectivity.PORTS,
        rules=[(rule, *connectivity.format_traffic(rule), get_source(rule)) for rule in rules],
        has_self_rule=bool(connectivity.list_self_rules(state)),
        network_settings=list_network_fields(state),
        file_system_settings=list_file_system_fields(state),
        create_cluster=create_cluster,
        instance_command=connectivity.CREATE_INSTANCE if state.head_node else create_cluster,
        group_command=connectivity.explain_group_rule(state) if has_group else create_cluster,
    )


def list_diagram_labels(s: ClusterState, connections: dict[str, Connection]) -> dict[str, list[str]]:
    """Return the text lines of each shape in the diagram; an empty list if its resource does not exist."""
    instance = s.head_node or s.uqle_instance
    public = [subnet for subnet in s.subnets if subnet["MapPublicIpOnLaunch"]]
    near = [find_subnet(s, instance)] if instance else public
    far = [subnet for subnet in s.subnets if subnet not in near]
    far_lines = label_subnet(far[0]) if far else []
    if len(far) > 1:
        far_lines.append(f"and {len(far) - 1} other subnets")
    shared = [f"{s.shared.id}  at {s.shared.mount_dir}"] if s.shared else []
    if s.status and not s.shared:
        shared = ["nothing at the shared directory"]
    if s.file_system:
        target = find_mount_target(s, s.uqle_instance or s.head_node)
        name = f"{s.file_system['FileSystemId']}  {s.file_system.get('Name', '')}"
        shared = [name, "no mount target"]
        if target:
            shared[1] = f"{target.id} at {target.address} in {target.zone}, {target.state}"
    ssh = connections["ssh_head"]
    return {
        "outside": ssh.source.split(", ") if ssh.rules else ["no SSH access"],
        "vpc": [f"{s.vpc['VpcId']}  {s.vpc['CidrBlock']}", get_tag(s.vpc)] if s.vpc else [],
        "near": [line for subnet in near for line in label_subnet(subnet)],
        "far": far_lines,
        "uqle": label_instance(s.uqle_instance),
        "head": label_instance(s.head_node),
        "compute": [f"{len(s.compute_nodes)} nodes", *s.compute_groups] if s.compute_groups else [],
        "shared": shared,
    }


def label_subnet(subnet: SubnetTypeDef) -> list[str]:
    """Return the lines of a subnet."""
    return [subnet["SubnetId"], f"{subnet['CidrBlock']}  {subnet['AvailabilityZone']}", get_tag(subnet)]


def label_instance(instance: InstanceTypeDef) -> list[str]:
    """Return the lines of an instance; none if it is missing."""
    if not instance:
        return []
    return [
        instance["InstanceId"],
        f"{instance['InstanceType']}, {instance['State']['Name']}",
        instance.get("PublicIpAddress") or "no public address",
        instance.get("PrivateIpAddress", ""),
        *get_group_ids(instance),
    ]


def list_network_fields(s: ClusterState) -> list[Field]:
    """Return the UQLE machine's network settings, as the launch wizard shows them."""
    instance = s.uqle_instance
    if not instance:
        return [Field(label, []) for label in ("VPC", "Subnet", "Auto-assign public IP", GROUPS_LABEL)]
    subnet = find_subnet(s, instance)
    subnet_line = f"{get_tag(subnet)}, {subnet.get('CidrBlock')}, {subnet.get('AvailabilityZone')}"
    public_ip = f"No address while the instance is {instance['State']['Name']}"
    if "PublicIpAddress" in instance:
        mode = "Disabled: it has the Elastic IP" if s.has_elastic_ip else "Enabled:"
        public_ip = f"{mode} {instance['PublicIpAddress']}"
    groups = [(group_id, s.group_names.get(group_id, "")) for group_id in get_group_ids(instance)]
    return [
        Field("VPC", [instance["VpcId"], f"{get_tag(s.vpc)}, {s.vpc.get('CidrBlock')}"]),
        Field("Subnet", [instance["SubnetId"], subnet_line]),
        Field("Auto-assign public IP", [public_ip]),
        Field(GROUPS_LABEL, [line for group in groups for line in group]),
    ]


def list_file_system_fields(s: ClusterState) -> list[Field]:
    """Return the UQLE machine's file system settings, as the launch wizard shows them."""
    file_system = s.file_system
    file_system_id = file_system["FileSystemId"] if file_system else ""
    mounted, mount_point = FILE_SYSTEM_PATTERN.search(s.user_data), MOUNT_POINT_PATTERN.search(s.user_data)
    fields = [
        Field("File system", [file_system_id, file_system.get("Name") or "no name"] if file_system else []),
        Field("Mount point", [mount_point[1]] if mount_point else []),
    ]
    groups_label = "Automatically create and attach security groups"
    mount_label = "Automatically mount shared file system by attaching required user data script"
    if not s.uqle_instance:
        return [*fields, Field(groups_label, []), Field(mount_label, [])]
    other_groups = [
        f"{group_id} {s.group_names.get(group_id, '')}"
        for group_id in get_group_ids(s.uqle_instance)
        if group_id != s.head_node_group
    ]
    if other_groups:
        groups = Field(groups_label, [f"Unknown: it is also a member of {', '.join(other_groups)}"])
    else:
        groups = Field(groups_label, ["No: its only group is the head node's"], ticked=False)
    if mount_point and mounted and mounted[1] == file_system_id:
        mount = Field(mount_label, [f"Yes: its user data mounts {file_system_id}"], ticked=True)
    else:
        mount = Field(mount_label, ["No: its user data does not mount this file system"], ticked=False)
    return [*fields, groups, mount]
