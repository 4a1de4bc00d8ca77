"""Files that are either whole or not there."""

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from slurm_cluster.errors import ClusterError


def read(path: Path) -> str:
    """Give the text of a file that a person, or a step before this one, wrote.

    Raises:
        ClusterError: it cannot be read, or is not UTF-8.

    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ClusterError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ClusterError(f"{path} is not UTF-8 text: byte {error.start + 1} is not of it.") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ClusterError: it cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(read(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ClusterError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all: a full disk or a killed process leaves what was there before.

    Args:
        path: where; what is there is replaced.
        text: what to write, byte for byte.
        mode: its permissions, which it has from its first byte on.

    Raises:
        ClusterError: it cannot be written.

    """
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ClusterError(f"{path} cannot be written: {error.strerror}.") from error
