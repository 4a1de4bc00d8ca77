import errno
import os
import subprocess
import sys
import time
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


# --- files of a user that must not be read as a whole -------------------------------------------------------


def test_only_regular_files_of_a_limited_size_are_read():
    os.mkfifo("fifo")
    Path("folder").mkdir()
    with pytest.raises(ClusterError, match="Cannot read folder: Is a directory"):
        files.read_text(Path("folder"))
    for name in ("fifo", "/dev/zero"):
        with pytest.raises(ClusterError, match=rf"{name} is not a regular file\. Move it away"):
            files.read_text(Path(name))
    Path("large").write_bytes(b"x" * files.MAX_BYTES)
    assert len(files.read_text(Path("large"))) == files.MAX_BYTES
    Path("large").write_bytes(b"x" * (files.MAX_BYTES + 1))
    with pytest.raises(ClusterError, match="larger than 1 MB, and was not read\\. Move it away"):
        files.read_text(Path("large"))


def test_byte_order_mark_is_ignored_in_json_and_yaml():
    Path("f").write_text('\ufeff{"a": 1}')
    assert files.read_yaml(Path("f")) == files.read_json(Path("f")) == {"a": 1}


MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 31)
)
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 31))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MERGES, "its aliases expand to more than 100000 values"),
        (ALIASES, "its aliases expand to more than 100000 values"),
        ("Region: &a [*a]", "an alias leads back to itself"),
        ("Region: &a {<<: *a}", "an alias leads back to itself"),
        ("Region: 2001-99-99", "a date does not exist"),
        ("[" * 3_000, "it is nested too deeply"),
        ("a:\n\tb: 1", r"a tab instead of spaces, line 2 column 1\. Correct the file\."),
    ],
    ids=["merge keys", "aliases", "cycle", "merged cycle", "date", "depth", "tab"],
)
def test_yaml_without_end_is_refused_at_once(text, reason):
    Path("f").write_text(text)
    start = time.process_time()
    with pytest.raises(ClusterError, match=f"f is not YAML: .*{reason}") as error:
        files.read_yaml(Path("f"))
    assert time.process_time() - start < 30  # seconds; without the limit, hours or no end
    assert len(str(error.value)) < 200


def test_aliases_and_merge_keys_are_allowed():
    Path("f").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a")
    assert files.read_yaml(Path("f")) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
