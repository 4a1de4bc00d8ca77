"""What UQLE has to be told: where Slurm is, its port, its key, and where the shared file system is mounted."""

from pathlib import Path

from slurm_cluster import files

PORT = 8082
KEY_LINE = "SLURM_JWT_KEY="


def url(head_node: str) -> str:
    """Give the Slurm URL.

    Args:
        head_node: its private DNS name, which resolves inside the VPC alone.

    """
    return f"http://{head_node}:{PORT}"


def write(path: Path, head_node: str, mount_point: str, key: str | None) -> None:
    """Write the file for the UQLE machine, for its owner's eyes alone.

    Args:
        path: uqle.env.
        head_node: the head node's private DNS name.
        mount_point: of the shared file system on the UQLE machine.
        key: the JWT key, exactly as Slurm has it; None leaves it out.

    """
    lines = [f"SLURM_URL={url(head_node)}", f"SLURM_PORT={PORT}", f"SHARED_MOUNT={mount_point}"]
    if key is not None:
        lines.append(f"{KEY_LINE}{key}")
    files.write(path, "".join(f"{line}\n" for line in lines), mode=0o600)


def copy_command(path: Path, key_file: Path, address: str) -> list[str]:
    """Give the command that copies the file to the UQLE machine."""
    return ["scp", "-i", str(key_file), str(path), f"ubuntu@{address}:"]
