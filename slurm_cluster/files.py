"""Files that are either whole or not there."""

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from slurm_cluster.errors import ClusterError

PREFIX, SUFFIX = ".slurm-cluster-", ".partial"  # of temporary files; no other program names its files so


def read_text(path: Path) -> str:
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


def exists(path: Path) -> bool:
    """Say whether there is a file of that name, readable or not; a link to nothing is none.

    Raises:
        ClusterError: that cannot be told.

    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ClusterError(f"{path} cannot be read: {error.strerror}.") from error
    return True


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ClusterError: it cannot be read, or is not YAML.
    """
    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except Exception as error:  # of tags that do not fit their values, PyYAML raises what Python happens to
        raise ClusterError(f"{path} is not YAML: {describe_yaml_error(error)}.") from error


def describe_yaml_error(error: Exception) -> str:
    """Say what is wrong with a YAML file and where, without quoting the file: the line may hold a key."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        place = f"line {error.problem_mark.line + 1} column {error.problem_mark.column + 1}"
        return f"{' '.join(str(error.problem).split())}, {place}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character at {error.position + 1} is not allowed"
    return (
        "a value is not of its kind" if not isinstance(error, RecursionError) else "it is nested too deeply"
    )


@contextmanager
def acquire_lock(folder: Path, task: str) -> Iterator[None]:
    """Keep a second run of a task out of a folder, for as long as the context lasts or this process lives.

    Raises:
        ClusterError: one is at work there.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ClusterError(f"{folder} cannot be worked in: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClusterError(
                f"`invoke {task}` is at work in {folder.resolve()} already: wait for it."
            ) from error
        yield
    finally:
        os.close(descriptor)


def write_file(path: Path, text: str, mode: int = 0o644, *, keep: bool = False) -> None:
    """Write a file whole or not at all: a full disk or a killed process leaves what was there before.

    Args:
        path: where.
        text: what to write, byte for byte.
        mode: its permissions, which it has from its first byte on.
        keep: leave what is there as it is, also what came there in the meantime; else it is replaced.

    Raises:
        ClusterError: it cannot be written.

    """
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(path)
        descriptor, temporary = tempfile.mkstemp(
            prefix=f"{PREFIX}{path.name}.", suffix=SUFFIX, dir=path.parent
        )
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # while it is held, it is not abandoned
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        if keep:
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
            Path(temporary).unlink()
        else:
            Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ClusterError(f"{path} cannot be written: {error.strerror}.") from error


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left while they wrote a file: one may hold a key."""
    ours = re.compile(re.escape(f"{PREFIX}{path.name}.") + r"\w{8}" + re.escape(SUFFIX))
    for left in [entry for entry in path.parent.iterdir() if ours.fullmatch(entry.name)]:
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a FIFO would block
            with os.fdopen(descriptor) as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
