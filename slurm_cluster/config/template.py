"""config.yml: the template with the parameters filled in, as the `chevron` command does it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chevron
import yaml

from slurm_cluster import files
from slurm_cluster.config import parameters
from slurm_cluster.errors import ClusterError


def find_names(template: str) -> set[str]:
    """Give the names that a template needs: in mustache, three braces, or two with #, ^ or &."""
    return set(re.findall(r"{{[{#^&]\s*(\w+)\s*}}", template))


def render_template(template_file: Path, values: Mapping[str, Any], parameter_file: Path) -> str:
    """Render the cluster's configuration: the bytes that `chevron --data PARAMETERS TEMPLATE` prints.

    Args:
        template_file: config.template.yml.
        values: what config-parameters.json holds.
        parameter_file: its name, for messages.

    Returns:
        The configuration, as YAML.

    Raises:
        ClusterError: a value is missing, unknown, empty, a placeholder or not of its form, or would not be in the YAML what
            it is in the file.

    """
    template = files.read_text(template_file)
    parameters.validate_parameters(values, find_names(template), parameter_file)
    rendered: str = chevron.render(template, values)
    if not is_unchanged(template, values, list(values)):
        harmless = {name: "x" if value else "" for name, value in values.items()}
        wrong = [
            name for name in values if not is_unchanged(template, {**harmless, name: values[name]}, [name])
        ]
        raise ClusterError(
            f"{parameter_file}: YAML would read another value of {', '.join(wrong)}: use plain characters."
        )
    return rendered


def is_unchanged(template: str, values: Mapping[str, str], names: list[str]) -> bool:
    """Say whether the YAML holds exactly these values in exactly their places, by comparing with unmistakable ones."""
    markers = {name: f"MARKER-{name}-END" for name in names if values[name]}
    try:
        actual = yaml.safe_load(chevron.render(template, values))
    except yaml.YAMLError:
        return False
    marked = yaml.safe_load(chevron.render(template, {**values, **markers}))
    return bool(replace_markers(marked, {marker: values[name] for name, marker in markers.items()}) == actual)


def replace_markers(tree: Any, by: Mapping[str, str]) -> Any:
    """Put values in the places of their markers, everywhere in a tree."""
    if isinstance(tree, dict):
        return {key: replace_markers(branch, by) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [replace_markers(branch, by) for branch in tree]
    if isinstance(tree, str):
        for marker, value in by.items():
            tree = tree.replace(marker, value)
    return tree


def list_warnings(values: Mapping[str, str]) -> list[str]:
    """Say what is allowed and yet dangerous.

    Args:
        values: checked parameters.

    """
    found = []
    if parameters.is_wide_range(values["SSH_FROM"]):
        found.append(f"SSH_FROM, {values['SSH_FROM']}, {parameters.WIDE_WARNING}")
    if parameters.is_literal_key(values["SLURM_JWT_KEY"]):
        found.append(f"SLURM_JWT_KEY is the key itself: {parameters.LITERAL_KEY_WARNING}")
    return found
