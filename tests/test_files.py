import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_cluster import files
from slurm_cluster.errors import ClusterError
from tests.support import ROOT


def test_file_is_replaced_atomically_with_its_mode():
    files.write_file(Path("f"), "old", mode=0o600)
    files.write_file(Path("f"), "new\r\n\u00e9", mode=0o600)
    assert Path("f").read_bytes() == "new\r\n\u00e9".encode()
    assert Path("f").stat().st_mode & 0o777 == 0o600
    assert os.listdir() == ["f"]


def test_full_disk_keeps_the_old_file(monkeypatch):
    files.write_file(Path("f"), "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClusterError, match="Cannot write f: No space left on device"):
        files.write_file(Path("f"), "new")
    assert Path("f").read_text() == "old"
    assert os.listdir() == ["f"]


def test_files_of_other_programs_are_kept():
    others = [".f.swp", ".f.bak", ".f.orig", ".slurm-cluster-f.partial", ".slurm-cluster-g.abcd1234.partial"]
    for name in others:
        Path(name).write_text("mine")
    files.write_file(Path("f"), "text")
    assert sorted(os.listdir()) == sorted([*others, "f"])


def test_fifo_neither_blocks_nor_is_removed():
    os.mkfifo(".f.fifo")
    os.mkfifo(".slurm-cluster-f.abcd1234.partial")
    code = "from pathlib import Path; from slurm_cluster import files; files.write_file(Path('f'), 'text')"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=20
    )
    assert sorted(os.listdir()) == [".f.fifo", ".slurm-cluster-f.abcd1234.partial", "f"]


def test_leftover_of_a_killed_process_is_removed():
    Path(".slurm-cluster-f.abcd1234.partial").write_text("half a key")
    files.write_file(Path("f"), "text")
    assert os.listdir() == ["f"]


def test_unreadable_or_unwritable_files_are_named():
    with pytest.raises(ClusterError, match=r"Cannot read absent: No such file"):
        files.read_text(Path("absent"))
    Path("file").write_text("")
    with pytest.raises(ClusterError, match="Cannot write file/f"):
        files.write_file(Path("file/f"), "")
