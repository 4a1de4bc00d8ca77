"""config.yml: the template with the parameters filled in, as the `chevron` command does it."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import chevron
import yaml

from slurm_cluster import files, parameters
from slurm_cluster.errors import ClusterError


def names_in(template: str) -> set[str]:
    """Give the names that a template needs: in mustache, three braces, or two with #, ^ or &."""
    return set(re.findall(r"{{[{#^&]\s*(\w+)\s*}}", template))


def render(template_file: Path, parameter_file: Path) -> str:
    """Render the cluster's configuration: the bytes that `chevron --data PARAMETERS TEMPLATE` prints.

    Args:
        template_file: config.template.yml.
        parameter_file: config-parameters.json.

    Returns:
        The configuration, as YAML.

    Raises:
        ClusterError: a value is missing, unknown, empty, a placeholder or not of its form, or would not be in the YAML what
            it is in the file.

    """
    template = files.read(template_file)
    values = parameters.read(parameter_file)
    parameters.check(values, names_in(template), parameter_file)
    rendered: str = chevron.render(template, values)
    if not survive(template, values, list(values)):
        wrong = [name for name in values if not survive(template, values, [name])]
        raise ClusterError(
            f"{parameter_file}: YAML would read another value of {', '.join(wrong)}: use plain characters."
        )
    return rendered


def survive(template: str, values: Mapping[str, str], names: list[str]) -> bool:
    """Say whether the YAML holds exactly these values in exactly their places, by comparing with unmistakable ones."""
    markers = {name: f"MARKER-{name}-END" for name in names if values[name]}
    try:
        actual = yaml.safe_load(chevron.render(template, values))
    except yaml.YAMLError:
        return False
    marked = yaml.safe_load(chevron.render(template, {**values, **markers}))
    return bool(replaced(marked, {marker: values[name] for name, marker in markers.items()}) == actual)


def replaced(tree: Any, by: Mapping[str, str]) -> Any:
    """Put values in the places of their markers, everywhere in a tree."""
    if isinstance(tree, dict):
        return {key: replaced(branch, by) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [replaced(branch, by) for branch in tree]
    if isinstance(tree, str):
        for marker, value in by.items():
            tree = tree.replace(marker, value)
    return tree


def warnings(values: Mapping[str, str]) -> list[str]:
    """Say what is allowed and yet dangerous.

    Args:
        values: checked parameters.

    """
    found = []
    if values["SSH_FROM"] == "0.0.0.0/0":
        found.append(
            "SSH_FROM is the whole internet: anybody may knock at the head node's and the UQLE machine's SSH port."
        )
    if parameters.is_literal_key(values["SLURM_JWT_KEY"]):
        found.append(
            "SLURM_JWT_KEY is the key itself: it then stands in config.yml, and ParallelCluster keeps it in its bucket and "
            "its logs. `invoke create-jwt-key` keeps it in Secrets Manager."
        )
    return found


def load(path: Path) -> dict[str, Any]:
    """Read a configuration that was rendered, by us or by hand.

    Raises:
        ClusterError: it is not there, or not a YAML mapping.

    """
    if not path.exists():
        raise ClusterError(f"{path} is not here: `invoke render` writes it.")
    try:
        configuration = yaml.safe_load(files.read(path))
    except yaml.YAMLError as error:
        raise ClusterError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(configuration, dict):
        raise ClusterError(f"{path} holds no configuration: `invoke render` writes it.")
    return configuration


def node_kinds(configuration: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give the parts of a configuration that have custom actions and permissions: the head node and each queue."""
    queues = (configuration.get("Scheduling") or {}).get("SlurmQueues") or []
    kinds = {f"queue {queue.get('Name')}": queue for queue in queues}
    return {"the head node": configuration.get("HeadNode") or {}, **kinds}


def scripts_of(kind: Mapping[str, Any]) -> list[str]:
    """Give the URIs of the scripts that one kind of node runs."""
    actions = (kind.get("CustomActions") or {}).values()
    listed = [each for action in actions for each in (action.get("Sequence") or [action])]
    return [each["Script"] for each in listed if "Script" in each]


def scripts(configuration: Mapping[str, Any]) -> set[str]:
    """Give the URIs of all scripts that nodes run."""
    return {uri for kind in node_kinds(configuration).values() for uri in scripts_of(kind)}


def unreadable_scripts(configuration: Mapping[str, Any]) -> list[str]:
    """Name the nodes that may not fetch a script from S3: they would fail when they boot, and the dry run passes.

    https://docs.aws.amazon.com/parallelcluster/latest/ug/HeadNode-v3.html#yaml-HeadNode-Iam-S3Access
    """
    found = []
    for name, kind in node_kinds(configuration).items():
        entries = (kind.get("Iam") or {}).get("S3Access") or []
        readable = [f"s3://{each.get('BucketName')}/{each.get('KeyName', '*')}" for each in entries]
        for uri in scripts_of(kind):
            if uri.startswith("s3://") and not any(fnmatchcase(uri, pattern) for pattern in readable):
                found.append(f"{name} may not read {uri}")
    return found
