"""EC2 instance types: their vCPUs, the quotas that count them, and the zones that offer them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slurm_cluster.aws import clients

if TYPE_CHECKING:
    from collections.abc import Collection

    from types_boto3_ec2 import EC2Client


class VcpuQuota(NamedTuple):
    """A pair of quotas that count the vCPUs of running instances.

    Args:
        name: AWS's name for these instance families, such as `G and VT`.
        families: the families: the letters of a type before its generation, such as `g`.
        on_demand: the code of the quota for on-demand instances.
        spot: the code of the quota for spot instances; empty if there is none.
    """

    name: str
    families: tuple[str, ...]
    on_demand: str
    spot: str


# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
VCPU_QUOTAS = [
    VcpuQuota(
        "standard",
        ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"),
        "L-1216C47A",
        "L-34B43A08",
    ),
    VcpuQuota("G and VT", ("g", "gr", "vt"), "L-DB2E81BA", "L-3819A6DF"),
    VcpuQuota("P", ("p",), "L-417A185B", "L-7212CCBC"),
    VcpuQuota("P5", ("p5",), "L-417A185B", "L-C4BD4855"),  # spot instances have a quota of their own
    VcpuQuota("DL", ("dl",), "L-6E869C2A", "L-85EED4F7"),
    VcpuQuota("F", ("f",), "L-74FC7D96", "L-88CF9481"),
    VcpuQuota("High Memory", ("u",), "L-43DA4232", ""),
    VcpuQuota("HPC", ("hpc",), "L-F7808C92", ""),
    VcpuQuota("Inf", ("inf",), "L-1945791B", "L-B5D1601B"),
    VcpuQuota("Trn", ("trn",), "L-2C3B7624", "L-6B0D517C"),
    VcpuQuota("X", ("x",), "L-7295265B", "L-E3A00192"),
]


class TypeSize(NamedTuple):
    """What one instance of a type uses up.

    Args:
        vcpus: its vCPUs, as the quotas count them.
        addresses: the private addresses it needs, one for each network card.
    """

    vcpus: int
    addresses: int


def find_vcpu_quota(instance_type: str) -> VcpuQuota | None:
    """Return the quotas that count an instance type, or None if its family is unknown."""
    letters = re.match("p5|[a-z]*", instance_type)
    family = letters[0] if letters else ""
    return next((quota for quota in VCPU_QUOTAS if family in quota.families), None)


def describe_types(ec2: EC2Client, names: Collection[str]) -> dict[str, TypeSize]:
    """Return the size of each instance type, by name. Types that the region does not have are left out."""
    types = clients.list_all(
        ec2, "describe_instance_types", Filters=[{"Name": "instance-type", "Values": sorted(names)}]
    )
    return {
        found["InstanceType"]: TypeSize(
            found["VCpuInfo"]["DefaultVCpus"], found["NetworkInfo"].get("MaximumNetworkCards", 1)
        )
        for found in types
    }


def list_architectures(ec2: EC2Client, name: str) -> list[str]:
    """Return the architectures of an instance type, such as arm64; none if the region does not have it."""
    types = clients.list_all(
        ec2, "describe_instance_types", Filters=[{"Name": "instance-type", "Values": [name]}]
    )
    return types[0]["ProcessorInfo"]["SupportedArchitectures"] if types else []


def find_zones(ec2: EC2Client, names: Collection[str]) -> dict[str, set[str]]:
    """Return the Availability Zones that offer instance types, by name."""
    offerings = clients.list_all(
        ec2,
        "describe_instance_type_offerings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": sorted(names)}],
    )
    zones: dict[str, set[str]] = {name: set() for name in names}
    for offering in offerings:
        zones[offering["InstanceType"]].add(offering["Location"])
    return zones
