import pytest

from slurm_cluster import key_pair
from slurm_cluster.errors import ClusterError


def test_the_pair_is_ed25519_and_its_private_half_is_here_for_its_owner_alone(ec2):
    key_pair.create(ec2, "one")
    known = key_pair.require(ec2, "one")
    path = key_pair.private_key_file("one")
    assert known["KeyType"] == "ed25519"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert key_pair.public_half(path).split()[0] == "ssh-ed25519"
    key_pair.check(known, path)


def test_making_it_again_changes_nothing(ec2):
    key_pair.create(ec2, "one")
    before = key_pair.private_key_file("one").read_bytes()
    assert "nothing to do" in key_pair.create(ec2, "one")
    assert key_pair.private_key_file("one").read_bytes() == before


def test_a_run_that_was_killed_before_the_import_is_taken_up(ec2):
    key_pair.create(ec2, "one")
    before = key_pair.private_key_file("one").read_bytes()
    ec2.delete_key_pair(KeyName="one")
    key_pair.create(ec2, "one")
    assert key_pair.private_key_file("one").read_bytes() == before
    assert key_pair.find(ec2, "one")


def test_a_pair_whose_private_half_is_elsewhere_is_refused(ec2):
    key_pair.create(ec2, "one")
    key_pair.private_key_file("one").unlink()
    with pytest.raises(ClusterError, match="its private half is not in"):
        key_pair.create(ec2, "one")


def test_an_rsa_pair_is_refused(ec2):
    ec2.create_key_pair(KeyName="one", KeyType="rsa")
    with pytest.raises(ClusterError, match="is rsa, and ParallelCluster takes only ed25519"):
        key_pair.create(ec2, "one")


def test_a_file_that_holds_something_else_is_refused_and_kept(ec2):
    path = key_pair.private_key_file("one")
    path.parent.mkdir()
    path.write_text("something precious")
    with pytest.raises(ClusterError, match="is not an OpenSSH private key"):
        key_pair.create(ec2, "one")
    assert path.read_text() == "something precious"
    assert key_pair.find(ec2, "one") is None


def test_the_private_half_of_another_pair_is_noticed(ec2):
    key_pair.create(ec2, "one")
    key_pair.create(ec2, "two")
    known = key_pair.require(ec2, "one") | {"PublicKey": key_pair.public_half(key_pair.private_key_file("two"))}
    with pytest.raises(ClusterError, match="is not the private half of the key pair one"):
        key_pair.check(known, key_pair.private_key_file("one"))


def test_a_pair_that_is_not_there_says_how_to_make_it(ec2):
    with pytest.raises(ClusterError, match="invoke create-key-pair"):
        key_pair.require(ec2, "one")
