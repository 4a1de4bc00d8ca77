"""The settings in invoke.yaml and INVOKE_ variables."""

import itertools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from slurm_cluster import files
from slurm_cluster.errors import ClusterError

FILES = ("temp_config", "parameter_file", "config_file", "handover_file")
UQLE = ("instance_type", "volume_gib", "mount_point")
TOP_LEVEL_NAMES = ("cluster_name", "key_pair", "ssh_from", "shared_dir", "quiet", *FILES)
SETTING_NAMES = (*TOP_LEVEL_NAMES, *(f"uqle_{name}" for name in UQLE))
INVOKE_SECTIONS = ("run", "runners", "sudo", "tasks", "timeouts")
RUNTIME_SUFFIXES = (".yaml", ".yml", ".json")  # invoke would run a .py file
MAX_NAME_BYTES = 255  # the limit of file systems


def validate_settings_file(path: Path) -> None:
    """Check invoke.yaml before invoke reads it, because invoke would fail with a traceback.

    Args:
        path: invoke.yaml.

    Raises:
        ClusterError: it is not YAML, a setting is unknown or missing, or has the wrong type.
    """
    settings = files.read_yaml(path)
    validate_settings(settings, path)
    for name in UQLE:
        get_setting(settings, "uqle", name)


def validate_runtime_file(path: Path) -> None:
    """Check the settings file of `invoke -f`, because invoke would ignore it or fail with a traceback.

    https://docs.pyinvoke.org/en/stable/concepts/configuration.html

    Args:
        path: the file, which has some of the settings.

    Raises:
        ClusterError: it cannot be read, a setting is unknown, or has the wrong type.
    """
    if path.suffix not in RUNTIME_SUFFIXES:
        raise ClusterError(f"{path} has settings, so its name must end in {', '.join(RUNTIME_SUFFIXES)}.")
    settings = files.read_json(path) if path.suffix == ".json" else files.read_yaml(path)
    validate_settings(settings, path)
    uqle = settings.get("uqle", {})
    if not isinstance(uqle, dict):
        raise ClusterError(f"uqle in {path} is a section, and must contain settings.")
    for name in uqle:
        get_setting(settings, "uqle", name)


def validate_settings(settings: Any, path: Path) -> None:
    """Check that all settings are known and have the right type.

    Args:
        settings: the content of a file.
        path: the file, for messages.

    Raises:
        ClusterError: it names them.
    """
    if not isinstance(settings, dict):
        raise ClusterError(f"{path} has no settings. Write lines such as `cluster_name: pcluster-ubuntu`.")
    unknown = find_unknown(settings, (*TOP_LEVEL_NAMES, "uqle", *INVOKE_SECTIONS))
    refuse_unknown([*unknown, *find_unknown(settings.get("uqle"), UQLE)], path)
    for name in INVOKE_SECTIONS:
        if not isinstance(settings.get(name, {}), dict):
            raise ClusterError(f"{name} in {path} is a section of invoke itself, and must contain settings.")
    if not isinstance(settings.get("quiet", False), bool):
        raise ClusterError(f"quiet in {path} is {str(settings['quiet'])[:60]!r}. It must be true or false.")
    for name in TOP_LEVEL_NAMES:
        if name in settings and name != "quiet":
            get_setting(settings, name)


def validate_environment(environment: Mapping[str, str]) -> None:
    """Refuse unknown INVOKE_ variables. With a mistyped name, a task would change the default cluster.

    Args:
        environment: the variables of the process.

    Raises:
        ClusterError: it lists the unknown variables, and the settings.
    """
    variables = {
        "INVOKE_DEBUG",
        "INVOKE_RUNTIME_CONFIG",
        *(f"INVOKE_{name.upper()}" for name in SETTING_NAMES),
    }
    sections = tuple(f"INVOKE_{name.upper()}_" for name in INVOKE_SECTIONS)
    ours = [name for name in environment if name.startswith("INVOKE_") and not name.startswith(sections)]
    refuse_unknown([name for name in ours if name not in variables])


def find_unknown(settings: object, names: Collection[str]) -> list[str]:
    """Return the keys of a mapping that are not names of settings."""
    return [repr(key)[:60] for key in settings if key not in names] if isinstance(settings, dict) else []


def refuse_unknown(unknown: list[str], path: Path | None = None) -> None:
    """Refuse names that are not settings.

    Raises:
        ClusterError: it lists them, several in a line each, and the settings.
    """
    if unknown:
        place = f" in {path}" if path else ""
        faults = [f"{name}{place} is not a setting." for name in unknown]
        separator = "\n" if len(faults) > 1 else " "
        raise ClusterError(separator.join([*faults, f"The settings are {', '.join(SETTING_NAMES)}."]))


def get_setting(settings: Mapping[str, Any], *path: str) -> str:
    """Return a setting; an empty string if the file gives it no value.

    Args:
        settings: all settings.
        path: the setting's name, after its section if it has one.

    Raises:
        ClusterError: the setting is missing, or is not text.
    """
    value: Any = settings
    name = ".".join(path)
    try:
        for key in path:
            value = value[key]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ClusterError(f"The setting {name} is missing. Add it to invoke.yaml.") from None
    if value is not None and not isinstance(value, str):
        raise ClusterError(f"The setting {name} is {str(value)[:60]!r}, and must be text. Put it in quotes.")
    return value or ""


def get_file_paths(settings: Mapping[str, Any]) -> list[Path]:
    """Return the files that the steps read and write, in the order of FILES.

    Raises:
        ClusterError: a setting cannot be the name of a file, or two settings name the same file.
    """
    paths = {name: get_path(settings, name) for name in FILES}
    for (name, path), (other_name, other) in itertools.combinations(paths.items(), 2):
        if path.absolute() == other.absolute():
            raise ClusterError(
                f"The settings {name} and {other_name} name the same file, {other}. "
                "Choose two different files."
            )
    return list(paths.values())


def get_path(settings: Mapping[str, Any], name: str) -> Path:
    """Return the path in a setting."""
    text = get_setting(settings, name)
    is_too_long = any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in text.split("/"))
    if not text.isprintable() or is_too_long or text.endswith("/") or Path(text).name in ("", ".."):
        raise ClusterError(f"The setting {name} is {text[:60]!r}, and must be the name of a file.")
    return Path(text)
