"""config.template.yml: the cluster's configuration, before chevron fills in the parameters."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import chevron
import yaml
from chevron.tokenizer import tokenize

from slurm_cluster import files
from slurm_cluster.config import cluster_config, parameters
from slurm_cluster.errors import ClusterError

PLACEHOLDER = "PLACEHOLDER"  # a value that YAML cannot misread
LINE_MARK = "\ue000"  # a character for private use
TAGS = {
    "partial": "{{> ... }} would read another file",
    "set delimiter": "{{= ... =}} changes the delimiters",
    "no escape?": "{{{ needs three closing braces",
}


class Tag(NamedTuple):
    """A tag of the template.

    Args:
        kind: as chevron's tokenizer calls it: variable, no escape, section, inverted section, end ...
        name: the name of the parameter.
        line: the number of the tag's line.
    """

    kind: str
    name: str
    line: int


def list_tags(template_file: Path) -> list[Tag]:
    """Return the tags of a template.

    Raises:
        ClusterError: the file cannot be read, or has a tag that is wrong or not supported. The message lists
            all faults with their lines.
    """
    # chevron drops a line that holds only a tag. A mark in each line keeps the line numbers right.
    marked = mark_lines(files.read_text(template_file)).replace("{{}}", "{{ }}")  # chevron would crash
    tags, line = [], 1
    try:
        for kind, content in tokenize(marked):
            if kind == "literal":
                line += content.count("\n")
            else:
                tags.append(Tag(kind, content, line))
    except chevron.ChevronError as error:
        raise ClusterError(
            f"{template_file}: {explain_chevron_error(error)}. Correct the template."
        ) from error
    faults = [f"line {tag.line}: {fault}" for tag in tags for fault in [find_tag_fault(tag)] if fault]
    if faults:
        hint = "Only {{{ NAME }}}, and the sections {{# NAME }} and {{^ NAME }}, are supported."
        raise ClusterError(parameters.format_faults(template_file, faults, hint))
    return tags


def mark_lines(template: str) -> str:
    """Return the template with LINE_MARK and the line number at the end of each line."""
    lines = enumerate(template.split("\n"), 1)
    return "\n".join(f"{line}{LINE_MARK}{number}" for number, line in lines)


def explain_chevron_error(error: chevron.ChevronError) -> str:
    """Return the line and the fault of a chevron error."""
    message = str(error)
    line = int(re.findall(r"line (\d+)", message)[-1])
    closing = re.match(r'Trying to close tag "(.*)"', message)
    if closing:  # chevron counts one line too many here
        tag = f"{{{{/ {parameters.sanitize(closing[1])} }}}}"
        return f"line {line - 1}: {tag} does not close the section that is open"
    section = re.search(r'the tag "(.*)" was never closed', message)
    if section:
        return f"line {line}: the section {{{{# {parameters.sanitize(section[1])} }}}} is not closed"
    return f"line {line}: a tag is not closed"


def find_tag_fault(tag: Tag) -> str:
    """Return what is wrong with a tag; empty if nothing is.

    A name such as `title` is refused: inside a section, chevron would find the method str.title.
    """
    if tag.kind in TAGS:
        return TAGS[tag.kind]
    if not re.fullmatch(r"\w+", tag.name) or hasattr(str, tag.name):
        return f"{parameters.sanitize(tag.name)} cannot be the name of a parameter"
    return ""


def parse_template(
    template_file: Path, parameter_file: Path, values: Mapping[str, Any]
) -> cluster_config.ClusterConfig:
    """Return the cluster's configuration from a template, with placeholders for parameters not yet filled in.

    Args:
        template_file: config.template.yml.
        parameter_file: config-parameters.json, for messages.
        values: its filled values. The others become PLACEHOLDER; an empty size becomes the template's
            default.

    Raises:
        ClusterError: the template cannot be read, or does not render to YAML; or a size is wrong.
    """
    names = {tag.name for tag in list_tags(template_file)}
    check_yaml(template_file, names)
    sizes = {name: values.get(name, "") for name in parameters.SIZES}
    faults = [fault for name in sizes for fault in parameters.validate_value(name, sizes[name])]
    if faults:
        raise ClusterError(parameters.format_faults(parameter_file, faults, "Correct the file."))
    plain = {name: value for name, value in values.items() if re.fullmatch(r"[\w.-]+", str(value))}
    known = {**dict.fromkeys(names, PLACEHOLDER), **plain, **sizes}
    return cluster_config.parse(render_to_yaml(template_file, known))


def check_yaml(template_file: Path, names: Collection[str]) -> None:
    """Check that the template renders to YAML, with all parameters filled in and with all of them empty."""
    for value in PLACEHOLDER, "":
        render_to_yaml(template_file, dict.fromkeys(names, value))


def render_to_yaml(template_file: Path, values: Mapping[str, str]) -> Any:
    """Return the parsed configuration of a template.

    Args:
        template_file: config.template.yml.
        values: values that YAML cannot misread.

    Raises:
        ClusterError: the template does not render to YAML. The message has the template's line.
    """
    template = files.read_text(template_file)
    try:
        return files.parse_yaml(chevron.render(template, values))
    except yaml.MarkedYAMLError as error:
        line = find_error_line(template, values, error)
        fault = f"line {line}: {files.describe_yaml_problem(error)}"
        raise ClusterError(f"{template_file}: {fault}. Correct the template.") from error
    except yaml.YAMLError as error:
        fault = files.describe_yaml_error(error)
        raise ClusterError(f"{template_file} is not YAML: {fault}. Correct the template.") from error


def find_error_line(template: str, values: Mapping[str, str], error: yaml.MarkedYAMLError) -> str:
    """Return the template's line number for a YAML error, which has only the line number of the output."""
    lines = chevron.render(mark_lines(template.rstrip("\n")), values).split("\n")
    try:
        files.parse_yaml("\n".join(line.partition(LINE_MARK)[0] for line in lines))
    except yaml.MarkedYAMLError as marked_error:
        error = marked_error
    index = error.problem_mark.line if error.problem_mark else 0
    return str(lines[min(index, len(lines) - 1)].partition(LINE_MARK)[2])


def render_template(template_file: Path, values: Mapping[str, Any], parameter_file: Path) -> str:
    """Render the cluster's configuration: the bytes that `chevron --data PARAMETERS TEMPLATE` prints.

    Args:
        template_file: config.template.yml.
        values: the values in config-parameters.json.
        parameter_file: config-parameters.json, for messages.

    Returns:
        The configuration, as YAML.

    Raises:
        ClusterError: the template is wrong, a value is missing, unknown or wrong, or YAML would change a
            value.
    """
    tags = list_tags(template_file)
    names = {tag.name for tag in tags}
    check_yaml(template_file, names)
    parameters.validate_parameters(values, names, parameter_file)
    escaped = [
        f"line {tag.line}: chevron would write {tag.name} with HTML escapes"
        for tag in tags
        if tag.kind == "variable" and re.search('["&<>]', values.get(tag.name, ""))
    ]
    if escaped:
        raise ClusterError(
            parameters.format_faults(template_file, escaped, "Write three braces, such as {{{ NAME }}}.")
        )
    template = files.read_text(template_file)
    rendered: str = chevron.render(template, values)
    if not is_unchanged(template, values, list(values)):
        safe = {name: PLACEHOLDER if value else "" for name, value in values.items()}
        wrong = [name for name in values if not is_unchanged(template, {**safe, name: values[name]}, [name])]
        raise ClusterError(
            f"{parameter_file}: YAML would read another value of {', '.join(wrong)}. Use plain characters."
        )
    return rendered


def is_unchanged(template: str, values: Mapping[str, str], names: list[str]) -> bool:
    """Return whether YAML reads each value unchanged: compare it with a rendering of safe markers."""
    markers = {name: f"MARKER-{name}-END" for name in names if values[name]}
    try:
        actual = files.parse_yaml(chevron.render(template, values))
    except yaml.YAMLError:
        return False
    marked = files.parse_yaml(chevron.render(template, {**values, **markers}))
    expected = replace_markers(marked, {marker: values[name] for name, marker in markers.items()})
    return bool(expected == replace_markers(actual, {}))


def replace_markers(tree: Any, values: Mapping[str, str]) -> Any:
    """Return a tree with its markers replaced. Integers become strings, because YAML reads MaxCount as one.

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
    return str(tree) if type(tree) is int else tree  # not a bool


def list_warnings(values: Mapping[str, str]) -> list[str]:
    """Return a warning for each value that is valid but dangerous.

    Args:
        values: validated parameters; a template need not have all of them.
    """
    warnings, ssh_from, key = [], values.get("SSH_FROM", ""), values.get(parameters.KEY_PARAMETER, "")
    if ssh_from and parameters.is_wide_range(ssh_from):
        warnings.append(parameters.format_wide_warning(ssh_from))
    if key and parameters.is_literal_key(key):
        warnings.append(f"SLURM_JWT_KEY is the key itself: {parameters.LITERAL_KEY_WARNING}")
    return warnings
