"""README, Status: what exists, and the picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slurm_cluster import files
from slurm_cluster.output import echo, echo_lines
from slurm_cluster.views import picture, status

if TYPE_CHECKING:
    from slurm_cluster.project import Project


def show_status(p: Project, as_json: bool) -> None:
    """Print what exists, what of it is billed, and the next step."""
    echo_lines([status.format_json(p)] if as_json else status.format_status(p))


def write_picture(p: Project, path: str) -> None:
    """Write a page with a diagram of the network."""
    if not p.skip_for_dry_run(f"write {path}"):
        files.write_file(Path(path), picture.render_page(p))
        echo(f"Wrote {path}. Open it in a browser.")
