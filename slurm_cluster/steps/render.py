"""Render config.yml. In a module of its own, because it must not import boto3."""

import itertools

from slurm_cluster import files
from slurm_cluster.config import boot_checks, cluster_config, parameters, template
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo
from slurm_cluster.project import Project


def render(p: Project) -> None:
    """Write config.yml: the template with the parameters filled in."""
    if p.skip_for_dry_run(f"write {p.config_file} from {p.template.name} and {p.parameter_file}"):
        return
    values = parameters.read_parameters(p.parameter_file)
    rendered = template.render_template(p.template, values, p.parameter_file)
    faults = boot_checks.list_faults(cluster_config.parse(files.parse_yaml(rendered)))
    if faults:
        raise ClusterError(parameters.format_faults(p.template, faults))
    for warning in template.list_warnings(values):
        p.warn(warning)
    files.write_file(p.config_file, rendered, mode=0o600)
    echo(f"Wrote {p.config_file}.")


def replace_ssh_from(p: Project, ssh_from: str) -> None:
    """Replace SSH_FROM in config-parameters.json and in config.yml.

    Args:
        p: the project.
        ssh_from: the address range that may use SSH, validated.

    Raises:
        ClusterError: a file is missing or invalid, or rendering would discard edits in config.yml.
    """
    values = parameters.read_parameters(p.parameter_file)
    actual = files.read_text(p.config_file)
    used = cluster_config.load(p.config_file).head_node.ssh_from
    if parameters.validate_value("SSH_FROM", used):
        used = ssh_from
    expected = template.render_template(p.template, {**values, "SSH_FROM": used}, p.parameter_file)
    if actual != expected:
        line = find_difference(actual, expected)
        raise ClusterError(
            f"{p.config_file} differs from what `invoke render` writes, from line {line} on.\n"
            f"If you edited {p.config_file}: `invoke render` would discard your edits. "
            "Change AllowedIps there yourself, then run `invoke update-cluster`.\n"
            f"If you edited the template or {p.parameter_file}: run `invoke render` first."
        )
    rendered = template.render_template(p.template, {**values, "SSH_FROM": ssh_from}, p.parameter_file)
    parameters.write_parameters(p.parameter_file, {**values, "SSH_FROM": ssh_from})
    files.write_file(p.config_file, rendered, mode=0o600)
    echo(f"Replaced SSH_FROM in {p.parameter_file}, and wrote {p.config_file}.")


def find_difference(actual: str, expected: str) -> int:
    """Return the number of the first line that differs between two different texts."""
    lines = itertools.zip_longest(actual.splitlines(True), expected.splitlines(True))
    return next(number for number, (one, other) in enumerate(lines, 1) if one != other)
