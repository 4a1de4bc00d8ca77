import subprocess
from pathlib import Path

import pytest

from slurm_cluster.aws import key_pair
from slurm_cluster.errors import ClusterError


def test_key_is_ed25519_and_readable_by_its_owner_only(ec2):
    key_pair.create_key_pair(ec2, "one")
    known = key_pair.require_key_pair(ec2, "one")
    path = key_pair.get_private_key_path("one")
    assert known["KeyType"] == "ed25519"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert key_pair.get_public_key(path).split()[0] == "ssh-ed25519"
    key_pair.check_key_pair(known, path)


def test_creating_again_changes_nothing(ec2):
    key_pair.create_key_pair(ec2, "one")
    before = key_pair.get_private_key_path("one").read_bytes()
    assert "nothing to do" in key_pair.create_key_pair(ec2, "one")
    assert key_pair.get_private_key_path("one").read_bytes() == before


def test_run_after_a_kill_completes_the_import(ec2):
    key_pair.create_key_pair(ec2, "one")
    before = key_pair.get_private_key_path("one").read_bytes()
    ec2.delete_key_pair(KeyName="one")
    key_pair.create_key_pair(ec2, "one")
    assert key_pair.get_private_key_path("one").read_bytes() == before
    assert key_pair.find_key_pair(ec2, "one")


def test_key_pair_without_its_private_key_here_is_refused(ec2):
    key_pair.create_key_pair(ec2, "one")
    key_pair.get_private_key_path("one").unlink()
    with pytest.raises(ClusterError, match="its private key is not in"):
        key_pair.create_key_pair(ec2, "one")


def test_rsa_pair_is_refused(ec2):
    ec2.create_key_pair(KeyName="one", KeyType="rsa")
    with pytest.raises(ClusterError, match="is rsa, and ParallelCluster accepts only ed25519"):
        key_pair.create_key_pair(ec2, "one")


def test_file_with_other_content_is_refused_and_kept(ec2):
    path = key_pair.get_private_key_path("one")
    path.parent.mkdir()
    path.write_text("something precious")
    with pytest.raises(ClusterError, match="is not an OpenSSH private key"):
        key_pair.create_key_pair(ec2, "one")
    assert path.read_text() == "something precious"
    assert key_pair.find_key_pair(ec2, "one") is None


def test_private_key_of_another_pair_is_refused(ec2):
    key_pair.create_key_pair(ec2, "one")
    key_pair.create_key_pair(ec2, "two")
    known = key_pair.require_key_pair(ec2, "one") | {
        "PublicKey": key_pair.get_public_key(key_pair.get_private_key_path("two"))
    }
    with pytest.raises(ClusterError, match="is not the private key of the key pair one"):
        key_pair.check_key_pair(known, key_pair.get_private_key_path("one"))


def test_missing_key_pair_names_the_next_step(ec2):
    with pytest.raises(ClusterError, match="invoke create-key-pair"):
        key_pair.require_key_pair(ec2, "one")


def own_key(passphrase="", kind="ed25519"):
    """Create a user's key with ssh-keygen. Return the file of its public key."""
    (Path.home() / ".ssh").mkdir(mode=0o700, exist_ok=True)
    file = Path.home() / ".ssh" / f"id_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", file], check=True)
    return file.with_suffix(".pub")


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_own_key_is_imported_and_linked(ec2, passphrase):
    public = own_key(passphrase)
    assert "Imported" in key_pair.import_key_pair(ec2, "one", public)
    path = key_pair.get_private_key_path("one")
    assert path.readlink() == public.with_suffix("")
    known = key_pair.require_key_pair(ec2, "one")
    assert known["KeyType"] == "ed25519"
    key_pair.check_key_pair(known | {"PublicKey": public.read_text()}, path)
    assert "nothing to do" in key_pair.create_key_pair(ec2, "one")
    key_pair.import_key_pair(ec2, "one", public)


def test_missing_private_key_names_its_path(ec2):
    public = own_key()
    public.with_suffix("").unlink()
    path = key_pair.get_private_key_path("one")
    assert f"Put its private key into {path}" in key_pair.import_key_pair(ec2, "one", public)
    assert key_pair.find_key_pair(ec2, "one")
    with pytest.raises(ClusterError, match=f"its private key is not in {path}"):
        key_pair.create_key_pair(ec2, "one")


def test_other_public_keys_are_refused_before_the_import(ec2):
    public = own_key()
    for file, reason in [
        (own_key(kind="rsa"), "is not an ed25519 key"),
        (public.with_suffix(""), "is not a public key"),
        (Path("absent.pub"), "Cannot read"),
    ]:
        with pytest.raises(ClusterError, match=reason):
            key_pair.import_key_pair(ec2, "one", file)
    assert key_pair.find_key_pair(ec2, "one") is None
    assert not key_pair.get_private_key_path("one").is_symlink()


def test_existing_keys_of_that_name_are_kept(ec2):
    key_pair.create_key_pair(ec2, "one")
    before, public = key_pair.get_private_key_path("one").read_bytes(), own_key()
    with pytest.raises(ClusterError, match="EC2 has another key with the name one"):
        key_pair.import_key_pair(ec2, "one", public)
    ec2.delete_key_pair(KeyName="one")
    with pytest.raises(ClusterError, match="is not the private key of"):
        key_pair.import_key_pair(ec2, "one", public)
    assert key_pair.get_private_key_path("one").read_bytes() == before
    assert key_pair.find_key_pair(ec2, "one") is None


def test_failed_link_is_reported(ec2):
    public = own_key()
    key_pair.get_private_key_path("one").symlink_to("nowhere")
    with pytest.raises(ClusterError, match="Cannot link"):
        key_pair.import_key_pair(ec2, "one", public)
    assert key_pair.find_key_pair(ec2, "one") is None
