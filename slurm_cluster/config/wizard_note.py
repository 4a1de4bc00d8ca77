"""temp-config.yml.begun: what is needed to find and tag the wizard's VPC if the wizard is interrupted."""

import json
from pathlib import Path
from typing import NamedTuple

from slurm_cluster import files
from slurm_cluster.errors import ClusterError


class WizardNote(NamedTuple):
    """The content of the note.

    Args:
        cluster: the cluster that the wizard was started for; empty if there is no note.
        vpcs: the ids of the VPCs that existed before the wizard started.
        stack: the id of the wizard's stack, once the wizard has printed it.
    """

    cluster: str = ""
    vpcs: tuple[str, ...] = ()
    stack: str = ""


def get_note_path(temp_config_file: Path) -> Path:
    """Return the path of the note."""
    return temp_config_file.with_name(f"{temp_config_file.name}.begun")


def read_note(temp_config_file: Path) -> WizardNote:
    """Read the note; return an empty one if there is none.

    Raises:
        ClusterError: the file is not a note.
    """
    path = get_note_path(temp_config_file)
    if not files.exists(path):
        return WizardNote()
    try:
        values = json.loads(files.read_text(path))
        return WizardNote(values["cluster"], tuple(values["vpcs"]), values.get("stack", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{path} is not a note of `invoke configure`. Remove it, then run this again."
        ) from error


def write_note(temp_config_file: Path, note: WizardNote) -> None:
    """Write the note."""
    files.write_file(get_note_path(temp_config_file), json.dumps(note._asdict(), indent=2) + "\n")


def record_stack(temp_config_file: Path, stack_id: str) -> None:
    """Add the id of the wizard's stack to the note."""
    write_note(temp_config_file, read_note(temp_config_file)._replace(stack=stack_id))
