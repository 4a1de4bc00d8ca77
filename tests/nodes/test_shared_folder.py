"""The owner of /shared after OnNodeConfigured: slurm if the folder is new and empty, else the previous owner."""

import pytest

from tests.nodes.support.cluster import SINGLE_HEAD_ADDRESSES, HeadNode


@pytest.fixture(scope="module")
def head_node(installed_layers):
    node = HeadNode(SINGLE_HEAD_ADDRESSES, installed_layers)
    yield node
    node.destroy()


@pytest.fixture
def run_with_shared(head_node):
    """Run OnNodeConfigured after a shell command has prepared a /shared. Return its owner, and the log."""

    def run(prepare):
        mount = "umount --quiet /shared; mount -t tmpfs -o mode=1777 tmpfs /shared"
        head_node.nsenter("bash", "-c", f"{mount} && {prepare}")
        result = head_node.run_custom_action("OnNodeConfigured")
        assert result.returncode == 0, result.stdout
        return head_node.nsenter("stat", "-c", "%U:%G %a", "/shared").stdout.strip(), result.stdout

    return run


def test_slurm_gets_new_file_system(run_with_shared):
    """A new ext4 file system contains a folder lost+found."""
    owner, _ = run_with_shared("mkdir /shared/lost+found")
    assert owner == "slurm:slurm 1777"


@pytest.mark.parametrize(
    ("prepare", "owner"),
    [
        pytest.param(
            "groupadd -f research; chown :research /shared; chmod 2775 /shared", "root:research 2775"
        ),
        pytest.param("chown ubuntu:ubuntu /shared", "ubuntu:ubuntu 1777"),
        pytest.param("touch /shared/file", "root:root 1777"),
        pytest.param("touch /shared/.hidden", "root:root 1777"),
    ],
    ids=["group", "user", "file", "hidden file"],
)
def test_existing_file_system_keeps_owner(run_with_shared, prepare, owner):
    kept, log = run_with_shared(prepare)
    assert kept == owner
    assert f"/shared is not new and keeps its owner, {owner.split()[0]}" in log


def test_refused_change_of_owner_is_a_warning(run_with_shared):
    """A read-only file system refuses the change, as one with root squash does."""
    owner, log = run_with_shared("mount -o remount,ro /shared")
    assert owner == "root:root 1777"
    assert "WARNING: cannot give /shared to user slurm" in log
    assert "chown: changing ownership of '/shared'" in log
