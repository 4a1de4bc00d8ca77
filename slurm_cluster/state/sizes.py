"""What a cluster needs at its maximum counts: vCPUs of each quota, private addresses, zones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from slurm_cluster.aws import clients, instance_types
from slurm_cluster.config.template import PLACEHOLDER, parse_template
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import SubnetTypeDef

    from slurm_cluster.aws.instance_types import TypeSize
    from slurm_cluster.config.cluster_config import ClusterConfig, InstanceGroup
    from slurm_cluster.project import Project

WIZARD_ADDRESSES = 4091  # in the private subnet that the wizard creates, a /20


def read_template_groups(p: Project, template: Path) -> list[InstanceGroup]:
    """Return the groups of instances in the template, with the sizes in config-parameters.json."""
    return list_groups(parse_template(template, p.parameter_file, p.filled_values))


def list_groups(config: ClusterConfig) -> list[InstanceGroup]:
    """Return the node groups. Types and subnets that are still placeholders are left out."""
    return [
        replace(group, subnets=[subnet for subnet in group.subnets if subnet != PLACEHOLDER])
        for group in config.groups
        if PLACEHOLDER not in group.instance_types
    ]


def list_types(groups: list[InstanceGroup]) -> list[str]:
    """Return the different instance types, the head node's first."""
    return list(dict.fromkeys(name for group in groups for name in group.instance_types))


def format_groups(groups: list[InstanceGroup]) -> str:
    """Return the maximum counts and the types, such as `1 t3.xlarge, 2 t3.large`."""
    return ", ".join(
        f"{group.max_count} {' or '.join(group.instance_types)}{' (spot)' if group.is_spot else ''}"
        for group in groups
    )


def count_vcpus(groups: list[InstanceGroup], types: Mapping[str, TypeSize]) -> Counter[tuple[str, str]]:
    """Return the number of vCPUs needed from each quota, by the quota's code and description.

    If a group has several types, the largest one counts. Capacity blocks are not counted.

    Args:
        groups: the groups of instances.
        types: the sizes of their types.
    """
    total: Counter[tuple[str, str]] = Counter()
    for group in groups:
        largest: dict[tuple[str, str], int] = {}
        for name in group.instance_types:
            quota = instance_types.find_vcpu_quota(name)
            if not quota or name not in types or group.capacity_type == "CAPACITY_BLOCK":
                continue
            kind, code = ("spot", quota.spot) if group.is_spot else ("on-demand", quota.on_demand)
            key = code, f"vCPUs of {kind} {quota.name} instances"
            largest[key] = max(largest.get(key, 0), types[name].vcpus)
        for key, vcpus in largest.items():
            total[key] += group.max_count * vcpus
    return total


def load_subnets(ec2: EC2Client, groups: list[InstanceGroup]) -> dict[str, SubnetTypeDef]:
    """Return the subnets of the groups that exist, by id."""
    subnet_ids = sorted({subnet for group in groups for subnet in group.subnets})
    filters = [{"Name": "subnet-id", "Values": subnet_ids}]
    subnets = clients.list_all(ec2, "describe_subnets", Filters=filters) if subnet_ids else []
    return {subnet["SubnetId"]: subnet for subnet in subnets}


def check_zones(ec2: EC2Client, groups: list[InstanceGroup], subnets: Mapping[str, SubnetTypeDef]) -> str:
    """Check that the subnets' zones offer all instance types. Without subnets, check that any one zone does.

    Args:
        ec2: a client of EC2.
        groups: the groups of instances.
        subnets: the existing subnets, by id.

    Returns:
        The types and the zones.

    Raises:
        ClusterError: a type is not offered.
    """
    types = sorted(list_types(groups))
    zones = instance_types.find_zones(ec2, types)
    known = {subnet["AvailabilityZone"] for subnet in subnets.values()}
    for group in groups:
        own = {subnets[subnet]["AvailabilityZone"] for subnet in group.subnets if subnet in subnets}
        for name in group.instance_types:
            if own and not own & zones[name]:
                raise ClusterError(
                    f"{', '.join(sorted(own))} does not offer {name}, which {group.name} uses. "
                    "Choose another type, or another subnet."
                )
    common = set.intersection(*zones.values())
    if not common and not known:
        raise ClusterError(
            f"No Availability Zone of this region offers all of {', '.join(types)}. "
            "Choose other instance types."
        )
    return f"{', '.join(types)} in {', '.join(sorted(known or common))}"


def check_addresses(
    groups: list[InstanceGroup], types: Mapping[str, TypeSize], subnets: Mapping[str, SubnetTypeDef]
) -> str:
    """Check that the queues' subnets have enough free private addresses.

    Args:
        groups: the groups of instances.
        types: the sizes of their types.
        subnets: the existing subnets, by id.

    Returns:
        How many are needed, and how many are free.

    Raises:
        ClusterError: there are not enough.
    """
    needed: Counter[tuple[str, ...]] = Counter()
    for group in groups:
        if group.name.startswith("queue"):
            addresses = max(
                (types[name].addresses for name in group.instance_types if name in types), default=1
            )
            needed[tuple(group.subnets)] += group.max_count * addresses
    details = []
    for subnet_ids, count in needed.items():
        existing = [subnet for subnet in subnet_ids if subnet in subnets]
        free = sum(subnets[subnet]["AvailableIpAddressCount"] for subnet in existing)
        where = (
            f"{', '.join(existing)} has {free} free"
            if existing
            else f"the wizard's subnet will have {WIZARD_ADDRESSES}"
        )
        if count > (free if existing else WIZARD_ADDRESSES):
            raise ClusterError(f"{count} private addresses are needed; {where}. Use a larger subnet.")
        details.append(f"{count} private addresses are needed; {where}")
    return "; ".join(details) or "there are no queues"
