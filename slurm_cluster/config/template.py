"""config.template.yml: the cluster's configuration, before chevron fills in the parameters."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chevron
import yaml

from slurm_cluster import files
from slurm_cluster.config import cluster_config, parameters
from slurm_cluster.errors import ClusterError

PLACEHOLDER = "PLACEHOLDER"  # a value that YAML cannot misread


def find_names(template: str) -> set[str]:
    """Return the names of a template's parameters: in three braces, or in two with #, ^ or &."""
    return set(re.findall(r"{{[{#^&]\s*(\w+)\s*}}", template))


def parse_template(template_file: Path) -> cluster_config.ClusterConfig:
    """Return the cluster of a template, with PLACEHOLDER as the value of every parameter.

    Raises:
        ClusterError: the template cannot be read, or does not render to YAML.
    """
    template = files.read_text(template_file)
    try:
        tree = files.parse_yaml(chevron.render(template, dict.fromkeys(find_names(template), PLACEHOLDER)))
    except (yaml.YAMLError, chevron.ChevronError) as error:
        raise ClusterError(f"{template_file} does not render to YAML. Correct the template.") from error
    return cluster_config.parse(tree)


def render_template(template_file: Path, values: Mapping[str, Any], parameter_file: Path) -> str:
    """Render the cluster's configuration: the bytes that `chevron --data PARAMETERS TEMPLATE` prints.

    Args:
        template_file: config.template.yml.
        values: the values in config-parameters.json.
        parameter_file: config-parameters.json, for messages.

    Returns:
        The configuration, as YAML.

    Raises:
        ClusterError: a value is missing, unknown or wrong, or YAML would read another value.
    """
    template = files.read_text(template_file)
    parameters.validate_parameters(values, find_names(template), parameter_file)
    parse_template(template_file)
    rendered: str = chevron.render(template, values)
    if not is_unchanged(template, values, list(values)):
        safe = {name: PLACEHOLDER if value else "" for name, value in values.items()}
        wrong = [name for name in values if not is_unchanged(template, {**safe, name: values[name]}, [name])]
        raise ClusterError(
            f"{parameter_file}: YAML would read another value of {', '.join(wrong)}. Use plain characters."
        )
    return rendered


def is_unchanged(template: str, values: Mapping[str, str], names: list[str]) -> bool:
    """Return whether the YAML has exactly these values in their places, by rendering safe markers instead."""
    markers = {name: f"MARKER-{name}-END" for name in names if values[name]}
    try:
        actual = files.parse_yaml(chevron.render(template, values))
    except yaml.YAMLError:
        return False
    marked = files.parse_yaml(chevron.render(template, {**values, **markers}))
    expected = replace_markers(marked, {marker: values[name] for name, marker in markers.items()})
    return bool(expected == actual)


def replace_markers(tree: Any, values: Mapping[str, str]) -> Any:
    """Return a tree with its markers replaced.

    Args:
        tree: parsed YAML.
        values: the values by marker.
    """
    if isinstance(tree, dict):
        return {key: replace_markers(branch, values) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [replace_markers(branch, values) for branch in tree]
    if isinstance(tree, str):
        for marker, value in values.items():
            tree = tree.replace(marker, value)
    return tree


def list_warnings(values: Mapping[str, str]) -> list[str]:
    """Return a warning for each value that is valid but dangerous.

    Args:
        values: validated parameters.
    """
    warnings = []
    if parameters.is_wide_range(values["SSH_FROM"]):
        warnings.append(parameters.format_wide_warning(values["SSH_FROM"]))
    if parameters.is_literal_key(values["SLURM_JWT_KEY"]):
        warnings.append(f"SLURM_JWT_KEY is the key itself: {parameters.LITERAL_KEY_WARNING}")
    return warnings
