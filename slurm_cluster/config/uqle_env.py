"""What UQLE has to be told: where Slurm is, its port, its key, and where the shared file system is mounted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster import files
from slurm_cluster.aws.key_pair import get_private_key_path

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

PORT = 8082


def get_slurm_url(head_node: str) -> str:
    """Give the Slurm URL.

    Args:
        head_node: its private DNS name, which resolves inside the VPC alone.

    """
    return f"http://{head_node}:{PORT}"


def write_uqle_env(path: Path, head_node: str, mount_point: str, key: str | None) -> None:
    """Write the file for the UQLE machine, for its owner's eyes alone.

    Args:
        path: uqle.env.
        head_node: the head node's private DNS name.
        mount_point: of the shared file system on the UQLE machine.
        key: the JWT key, exactly as Slurm has it; None leaves it out.

    """
    lines = [f"SLURM_URL={get_slurm_url(head_node)}", f"SLURM_PORT={PORT}", f"SHARED_MOUNT={mount_point}"]
    if key is not None:
        lines.append(f"SLURM_JWT_KEY={key}")
    files.write_file(path, "".join(f"{line}\n" for line in lines), mode=0o600)


def format_summary(
    path: Path,
    head_node: str,
    mount_point: str,
    key: str,
    with_key: bool,
    key_pair: str,
    machine: InstanceTypeDef | None,
) -> list[str]:
    """Say what the person notes, and how the file gets to the UQLE machine.

    Args:
        path: uqle.env.
        head_node: the head node's private DNS name.
        mount_point: of the shared file system on the UQLE machine.
        key: where the JWT key is, in words.
        with_key: whether the file holds it.
        key_pair: the name of the key pair that opens the machine.
        machine: the UQLE instance, where there is one.
    """
    lines = [
        f"Slurm URL      {get_slurm_url(head_node)}",
        f"Slurm port     {PORT}",
        f"JWT key        {key}",
        f"Mount point    {mount_point}",
        f"Wrote {path}, {'with' if with_key else 'without'} the key.",
    ]
    if machine is None or not machine.get("PublicIpAddress"):
        return [*lines, "There is no UQLE machine yet: `invoke connect-uqle` makes it."]
    copy = [
        "scp",
        "-i",
        str(get_private_key_path(key_pair)),
        str(path),
        f"ubuntu@{machine['PublicIpAddress']}:",
    ]
    return [*lines, "Copy it to the UQLE machine with", f"  {shlex.join(copy)}"]
