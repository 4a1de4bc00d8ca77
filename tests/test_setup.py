"""pip, uv and Poetry install from the same files: pyproject.toml, and the lock made from it."""

import re
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_lock_pins_every_package_with_hashes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    asked = [
        Requirement(text) for text in project["project"]["dependencies"] + groups["dev"] + groups["by-hand"]
    ]
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-aws.lock")]
    entries = re.split(r"(?m)^(?=[a-z])", "".join(locks))
    pinned = {name: entry for entry in entries for name in re.findall(r"^([\w.-]+)(?:\[.*?\])?==", entry)}
    for requirement in asked:
        entry = pinned[canonicalize_name(requirement.name)]
        [version] = re.findall(r"==([^\s;]+)", entry.splitlines()[0])
        assert requirement.specifier.contains(version), requirement
    assert all("--hash=sha256:" in entry for entry in pinned.values())
    assert len(pinned) > len(asked)


def test_no_environment_of_a_user_has_an_aws_program():
    # The tests' aws is version 1. Its program would come before the user's own on PATH.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert not re.search(r"(?m)^awscli==", (ROOT / "requirements.lock").read_text())
    assert "awscli" not in str(project["project"]) + str(project["dependency-groups"]["dev"])
    assert project["tool"]["poetry"]["group"]["by-hand"]["optional"] is True
    recipe = (ROOT / "Makefile").read_text().partition("\n.venv/installed:")[2]
    assert "\t@rm -f $(BIN)/aws $(BIN)/aws.cmd $(BIN)/aws_*\n" in recipe
