"""Complete tasks and flags with Tab in bash and zsh, set up as docs/configuration.md says."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.terminal import Terminal

SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
PROGRAMS = str(Path(sys.executable).parent)


@pytest.fixture(params=SHELLS)
def shell(request, monkeypatch, tmp_path):
    """Start a shell in the repository's folder, set up with the documented lines."""
    if not shutil.which(request.param):
        pytest.fail(
            f"{request.param} is not installed: `sudo apt-get install {request.param}`, then run this again.",
            pytrace=False,
        )
    monkeypatch.chdir(ROOT)
    document = (ROOT / "docs" / "configuration.md").read_text()
    [block] = re.findall(
        rf"^```{request.param}\n([^`]*--print-completion-script [^`]*)```", document, re.MULTILINE
    )
    shell = Terminal(
        SHELLS[request.param], PATH=f"{PROGRAMS}:/usr/bin:/bin", PS1="ready> ", HOME=str(tmp_path)
    )
    shell.wait_for("ready> ")
    shell.type(f"{block}echo set''up\n")
    shell.wait_for("setup\r.*ready> ")
    yield shell
    shell.process.close(force=True)


def test_task_is_completed(shell):
    shell.type("invoke create-j\t")
    shell.wait_for("invoke create-jwt-key")


def test_flag_is_completed(shell):
    shell.type("invoke handover --with\t")
    shell.wait_for("invoke handover --with-key")
