"""The settings of invoke.yaml and of INVOKE_ variables: which there are, and each as what it has to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from slurm_cluster import files
from slurm_cluster.errors import ClusterError

FILES = ("temp_config", "parameter_file", "config_file", "handover_file")
UQLE = ("instance_type", "volume_gib", "mount_point")
TOP_LEVEL_NAMES = ("cluster_name", "key_pair", "ssh_from", "quiet", *FILES, "uqle")
SETTING_NAMES = (
    *TOP_LEVEL_NAMES[:-1],
    *(f"uqle_{name}" for name in UQLE),
)  # as variables have them, after INVOKE_
INVOKE_SECTIONS = ("run", "runners", "sudo", "tasks", "timeouts")
MAX_NAME_BYTES = 255  # bytes that file systems take


class Files(NamedTuple):
    """The files of the current folder that the steps read and write."""

    temp_config: Path
    parameter_file: Path
    config_file: Path
    handover_file: Path


def validate_settings_file(path: Path) -> None:
    """Refuse an invoke.yaml from which invoke itself, which reads it next, would make a traceback.

    Args:
        path: invoke.yaml.

    Raises:
        ClusterError: it is not YAML, has settings that there are not, or one that is not text.
    """
    found = files.read_yaml(path)
    if not isinstance(found, dict):
        raise ClusterError(
            f"{path} holds no settings: it must have lines as `cluster_name: pcluster-ubuntu`."
        )
    refuse_unknown(
        [*find_unknown(found, (*TOP_LEVEL_NAMES, *INVOKE_SECTIONS)), *find_unknown(found.get("uqle"), UQLE)],
        path,
    )
    for name in found.keys() & {*INVOKE_SECTIONS}:
        if not isinstance(found[name], dict):
            raise ClusterError(f"{name} in {path} is invoke's own, and must have settings below it.")
    if not isinstance(found.get("quiet", False), bool):
        raise ClusterError(f"quiet in {path} is {str(found['quiet'])[:60]!r}, and must be true or false.")
    texts = [name for name in found if name in TOP_LEVEL_NAMES and name not in ("quiet", "uqle")]
    for place in [*((name,) for name in texts), *(("uqle", name) for name in UQLE)]:
        get_setting(found, *place)


def validate_environment(environment: Mapping[str, str]) -> None:
    """Refuse INVOKE_ variables that nothing reads: who mistypes one would work on the default cluster without knowing it.

    Args:
        environment: the variables of the process.

    Raises:
        ClusterError: names those that there are.
    """
    ours = [name.upper() for name in SETTING_NAMES]
    others = tuple(f"{name.upper()}_" for name in INVOKE_SECTIONS)
    names = [name.removeprefix("INVOKE_") for name in environment if name.startswith("INVOKE_")]
    refuse_unknown(
        [f"INVOKE_{name}" for name in names if name not in (*ours, "DEBUG") and not name.startswith(others)]
    )


def find_unknown(found: object, names: Collection[str]) -> list[str]:
    """Give the keys of a mapping that are no names of settings."""
    return [repr(key)[:60] for key in found if key not in names] if isinstance(found, dict) else []


def refuse_unknown(wrong: list[str], path: Path | None = None) -> None:
    """Refuse names of settings that there are not.

    Raises:
        ClusterError: names those that there are.
    """
    if wrong:
        raise ClusterError(
            f"{', '.join(wrong)}{f' in {path}' if path else ''} is not a setting; there are {', '.join(SETTING_NAMES)}."
        )


def get_setting(settings: Mapping[str, Any], *place: str) -> str:
    """Give a setting, which is text; one that is left empty in the file is empty text.

    Raises:
        ClusterError: it is missing, or something else than text.
    """
    value: Any = settings
    try:
        for name in place:
            value = value[name]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ClusterError(
            f"{'.'.join(place)} is missing in the settings: invoke.yaml has it by default."
        ) from None
    if value is not None and not isinstance(value, str):
        raise ClusterError(f"{'.'.join(place)} is {str(value)[:60]!r}, and must be text: put it in quotes.")
    return value or ""


def get_file_paths(settings: Mapping[str, Any]) -> Files:
    """Give the files that the steps read and write.

    Raises:
        ClusterError: one of them cannot be the name of a file, or two are the same file.
    """
    paths = [get_path(settings, name) for name in FILES]
    for name, other in zip(FILES[1:], paths[1:], strict=True):
        first = FILES[[each.absolute() for each in paths].index(other.absolute())]
        if first != name:
            raise ClusterError(f"{first} and {name} are both {other}: give each a file of its own.")
    return Files(*paths)


def get_path(settings: Mapping[str, Any], name: str) -> Path:
    """Give a setting that is the name of a file."""
    given = get_setting(settings, name)
    too_long = any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in given.split("/"))
    if not given.isprintable() or too_long or given.endswith("/") or Path(given).name in ("", ".."):
        raise ClusterError(f"{name} is {given[:60]!r}, and must be the name of a file, as in invoke.yaml.")
    return Path(given)
