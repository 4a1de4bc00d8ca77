"""Read the user's files with clear errors, and write them atomically."""

import fcntl
import json
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

MAX_BYTES = 1_000_000  # of a file that a user wrote
MAX_VALUES = 100_000  # in a YAML file; a cluster's configuration has some hundred
TAB = "a tab instead of spaces"
PREFIX, SUFFIX = ".slurm-cluster-", ".partial"  # of temporary files; no other program uses these names


def read_text(path: Path, absence_hint: str = "") -> str:
    """Return the text of a file, without a byte order mark.

    Args:
        path: the file.
        absence_hint: what to do if it does not exist.

    Raises:
        ClusterError: it cannot be read, is not a regular file, is too large, or is not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would block
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ClusterError(
                    f"{path} is not a regular file. Move it away, or put a file of text in its place."
                )
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        if absence_hint and isinstance(error, FileNotFoundError):
            raise ClusterError(f"{path} does not exist. {absence_hint}") from error
        raise ClusterError(f"Cannot read {path}: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        limit = f"{MAX_BYTES // 10**6} MB"
        raise ClusterError(f"{path} is larger than {limit}, and was not read. Move it away, or shorten it.")
    try:
        return content.decode("utf-8-sig")
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


def read_yaml(path: Path, absence_hint: str = "") -> Any:
    """Return the content of a YAML file.

    Args:
        path: the file.
        absence_hint: what to do if it does not exist.

    Raises:
        ClusterError: it cannot be read, or is not YAML.
    """
    try:
        return parse_yaml(read_text(path, absence_hint))
    except yaml.YAMLError as error:
        raise ClusterError(f"{path} is not YAML: {describe_yaml_error(error)}. Correct the file.") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ClusterError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ClusterError(f"{path} is not JSON, {place}: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise ClusterError(
            f"{path} cannot be read: a number is too long, or the JSON is nested too deeply."
        ) from error


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with a line and a column in every error."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; raise a MarkedYAMLError if it does not fit its tag."""
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # PyYAML raises various errors for values that do not fit their tags
            problem = "a value does not fit its tag, or a date does not exist"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


class NestingError(yaml.MarkedYAMLError):
    """YAML that is nested too deeply."""


def parse_yaml(text: str) -> Any:
    """Return the content of YAML text. Every YAML file of a user is read by this function.

    Raises:
        YAMLError: it is not YAML, or its aliases lead back to themselves or expand without end.
    """
    loader = Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        count_values(root, {})
        return loader.construct_document(root)
    except RecursionError as error:
        mark = loader.get_mark()
        raise NestingError(problem="it is nested too deeply", problem_mark=mark) from error
    finally:
        loader.dispose()


def count_values(node: yaml.Node, counts: dict[yaml.Node, int | None]) -> int:
    """Return the number of values in a node. An alias counts each time it is used.

    Args:
        node: the node.
        counts: the count of each node visited so far; None while it is being counted.

    Raises:
        YAMLError: a node contains itself, or there are more than MAX_VALUES.
    """
    if node not in counts:
        counts[node] = None
        children = list(node.value) if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in children for part in pair]
        counts[node] = 1 + sum(count_values(child, counts) for child in children)
    count = counts[node]
    if count is None or count > MAX_VALUES:
        endless = f"its aliases expand to more than {MAX_VALUES} values"
        problem = "an alias leads back to itself" if count is None else endless
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return count


def describe_yaml_problem(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong at a place in a YAML file."""
    problem = " ".join(str(error.problem).split())
    return TAB if problem.startswith(r"found character '\t'") else problem


def describe_yaml_error(error: yaml.YAMLError) -> str:
    """Return what is wrong in a YAML file and where, without quoting the file: the line may hold a key."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{describe_yaml_problem(error)}, line {mark.line + 1} column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character at {error.position + 1} is not allowed"
    return str(error)


@contextmanager
def acquire_lock(folder: Path, task: str) -> Iterator[None]:
    """Hold a lock on a folder, so that the task cannot run in it twice at the same time.

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
            raise ClusterError(
                f"`invoke {task}` is running in {folder.resolve()} already. Wait for it."
            ) from error
        yield
    finally:
        os.close(descriptor)


def write_file(path: Path, text: str, mode: int = 0o644, *, keep: bool = False) -> None:
    """Write a file atomically: after a full disk or a killed process, the old file is still there.

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
