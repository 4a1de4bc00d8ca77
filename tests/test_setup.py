"""What pip, uv and Poetry read is one: pyproject.toml, and the lock that was made from it."""

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
    asked = [
        Requirement(each) for each in project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    ]
    entries = re.split(r"(?m)^(?=[a-z])", (ROOT / "requirements.lock").read_text())
    pinned = {name: entry for entry in entries for name in re.findall(r"^([\w.-]+)(?:\[.*?\])?==", entry)}
    for requirement in asked:
        entry = pinned[canonicalize_name(requirement.name)]
        [version] = re.findall(r"==([^\s;]+)", entry.splitlines()[0])
        assert requirement.specifier.contains(version), requirement
    assert all("--hash=sha256:" in entry for entry in pinned.values())
    assert len(pinned) > len(asked)
