"""README, Render the configuration. Apart from the other steps, because it must not load AWS's libraries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import yaml

from slurm_cluster import files
from slurm_cluster.config import boot_checks, cluster_config, parameters, template
from slurm_cluster.errors import ClusterError
from slurm_cluster.output import echo
from slurm_cluster.project import TEMPLATE

if TYPE_CHECKING:
    from slurm_cluster.project import Project


def render(p: Project) -> None:
    """Write config.yml: the template with the parameters filled in."""
    if p.skip_for_dry_run(f"write {p.config_file} from {TEMPLATE.name} and {p.parameter_file}"):
        return
    values = parameters.read_parameters(p.parameter_file)
    rendered = template.render_template(TEMPLATE, values, p.parameter_file)
    parameters.refuse_other_cluster(values, p.cluster, p.parameter_file)
    faults = boot_checks.list_faults(cluster_config.parse(yaml.safe_load(rendered)))
    if faults:
        raise ClusterError(parameters.format_faults(TEMPLATE, faults))
    for warning in template.list_warnings(values):
        echo(f"Warning: {warning}", to=sys.stderr)
    files.write_file(p.config_file, rendered, mode=0o600)
    echo(f"Wrote {p.config_file}. Next: `invoke create-cluster`, which validates it first.")
