"""The values that UQLE needs: Slurm's URL and port, the JWT key, and the mount point of the shared files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster import files
from slurm_cluster.aws.key_pair import get_private_key_path
from slurm_cluster.aws.nodes import get_address
from slurm_cluster.slurm import API_VERSIONS, REST_PORT

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

UQLE_PORT = 2323  # of the UQLE API, on the UQLE machine
OLD_API_HINT = (
    f"Slurm answers API {API_VERSIONS}. A UQLE of 2022 asks for v0.0.37: see docs/clients.md, UQLE."
)


def get_slurm_url(head_node: str) -> str:
    """Return the Slurm URL.

    Args:
        head_node: the head node's private DNS name, which only resolves inside the VPC.
    """
    return f"http://{head_node}:{REST_PORT}"


def get_api_host(machine: InstanceTypeDef | None) -> str:
    """Return the URL of the UQLE API on the UQLE machine; empty if there is no machine yet."""
    address = machine.get("PrivateIpAddress") if machine else ""
    return f"http://{address}:{UQLE_PORT}" if address else ""


def write_uqle_env(path: Path, head_node: str, mount_point: str, key: str | None, api_host: str) -> None:
    """Write the values for the UQLE machine. Only the file's owner may read it.

    Args:
        path: uqle.env.
        head_node: the head node's private DNS name.
        mount_point: where the UQLE machine mounts the shared file system; empty if it does not.
        key: the JWT key, exactly as Slurm has it; None leaves it out.
        api_host: the URL of the UQLE API; empty if it is not known yet.
    """
    lines = [
        f"SLURM_URL={get_slurm_url(head_node)}",
        f"SLURM_PORT={REST_PORT}",
        f"SHARED_MOUNT={mount_point}",
    ]
    if key is not None:
        lines.append(f"SLURM_JWT_KEY={key}")
    lines += [
        f"# Slurm answers API {API_VERSIONS}",
        f"UQLE_API_HOST={api_host}",
        "UQLE_CLI_TAG=",
        "UQLE_CLI_TOKEN=",
    ]
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
    """Return the lines that list the values, and the command that copies the file to the UQLE machine.

    Args:
        path: uqle.env.
        head_node: the head node's private DNS name.
        mount_point: where the UQLE machine mounts the shared file system; empty if it does not.
        key: where the JWT key is, in words.
        with_key: whether the file contains the key.
        key_pair: the name of the machine's key pair.
        machine: the UQLE machine, if there is one.
    """
    lines = [
        f"Slurm URL      {get_slurm_url(head_node)}",
        f"Slurm port     {REST_PORT}",
        f"JWT key        {key}",
        f"Mount point    {mount_point or 'none: the UQLE machine does not mount the shared files'}",
        f"UQLE API host  {get_api_host(machine) or 'not known without a UQLE machine'}",
        OLD_API_HINT,
        f"Wrote {path}, {'with' if with_key else 'without'} the key.",
    ]
    if machine is None:
        return lines
    private_key, target = str(get_private_key_path(key_pair)), f"ubuntu@{get_address(machine)}:"
    command = shlex.join(["scp", "-i", private_key, str(path), target])
    where = "" if machine.get("PublicIpAddress") else " from inside the VPC, or by VPN,"
    return [*lines, f"Copy it to the UQLE machine{where} with", f"  {command}"]
