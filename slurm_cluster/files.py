"""The user's files: read with clear errors, written whole or not at all."""

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

PREFIX, SUFFIX = ".slurm-cluster-", ".partial"  # of temporary files; no other program uses these names


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ClusterError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ClusterError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ClusterError(f"{path} is not UTF-8 text: byte {error.start + 1} is invalid.") from error


def exists(path: Path) -> bool:
    """Return whether a file exists, readable or not; a dangling link does not count.

    Raises:
        ClusterError: its folder cannot be read.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ClusterError(f"Cannot read {path}: {error.strerror}.") from error
    return True


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ClusterError: it cannot be read, or is not YAML.
    """
    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except Exception as error:  # PyYAML raises various errors for tags that do not fit their values
        raise ClusterError(f"{path} is not YAML: {describe_yaml_error(error)}.") from error


def describe_yaml_error(error: Exception) -> str:
    """Return what is wrong in a YAML file and where, without quoting the file: the line may hold a key."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{' '.join(str(error.problem).split())}, line {mark.line + 1} column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character at {error.position + 1} is not allowed"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a value does not fit its tag"


@contextmanager
def acquire_lock(folder: Path, task: str) -> Iterator[None]:
    """Lock a folder against a second run of a task, within the context or until this process ends.

    Raises:
        ClusterError: the task is running in the folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ClusterError(f"Cannot open {folder}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"`invoke {task}` is running in {folder.resolve()} already. Wait for it."
            raise ClusterError(message) from error
        yield
    finally:
        os.close(descriptor)


def write_file(path: Path, text: str, mode: int = 0o644, *, keep: bool = False) -> None:
    """Write a file whole or not at all: a full disk or a killed process leaves the old file.

    Args:
        path: the file.
        text: its content, byte for byte.
        mode: its permissions, from its first byte on.
        keep: keep an existing file, even one that was created meanwhile.

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
            fcntl.flock(file, fcntl.LOCK_EX)  # another process removes only files without a lock
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
        raise ClusterError(f"Cannot write {path}: {error.strerror}.") from error


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left while they wrote a file: one may hold a key."""
    pattern = re.compile(re.escape(f"{PREFIX}{path.name}.") + r"\w{8}" + re.escape(SUFFIX))
    for leftover in [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]:
        with suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a FIFO would block
            with os.fdopen(descriptor) as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    leftover.unlink()
