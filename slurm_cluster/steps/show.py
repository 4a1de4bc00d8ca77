"""Print the status, and write the picture (README: Status)."""

from pathlib import Path

from slurm_cluster import files
from slurm_cluster.output import echo, echo_lines
from slurm_cluster.project import Project
from slurm_cluster.views import all_regions, picture, status


def show_status(p: Project, as_json: bool, everywhere: bool) -> None:
    """Print what exists, what is billed, and the next step.

    Args:
        p: the project.
        as_json: print JSON.
        everywhere: all clusters in all regions, without a next step.
    """
    view = all_regions if everywhere else status
    if as_json:
        echo(view.format_json(p))
    else:
        echo_lines(all_regions.format_all_regions(p) if everywhere else status.format_status(p))


def write_picture(p: Project, path: str) -> None:
    """Write a page with a diagram of the network."""
    if not p.skip_for_dry_run(f"write {path}"):
        files.write_file(Path(path), picture.render_page(p))
        echo(f"Wrote {path}. Open it in a browser.")
