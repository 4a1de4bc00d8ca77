"""The key pair by which a person reaches the head node and the UQLE machine over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from slurm_cluster import files
from slurm_cluster.aws import clients
from slurm_cluster.aws.clients import error_code
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import KeyPairInfoTypeDef


def get_private_key_path(name: str) -> Path:
    """Give the file that the private half is looked for in."""
    return Path.home() / ".ssh" / f"{name}.pem"


def find_key_pair(ec2: EC2Client, name: str) -> KeyPairInfoTypeDef | None:
    """Look the key pair up in EC2."""
    try:
        return ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0]
    except ClientError as error:
        if error_code(error) == "InvalidKeyPair.NotFound":
            return None
        raise


def require_key_pair(ec2: EC2Client, name: str) -> KeyPairInfoTypeDef:
    """Give the key pair as EC2 has it.

    Raises:
        ClusterError: EC2 has none of that name.
    """
    known = find_key_pair(ec2, name)
    if known is None:
        raise make_missing_error(name)
    return known


def make_missing_error(name: str) -> ClusterError:
    """Say that EC2 has no such key pair."""
    return ClusterError(f"EC2 has no key pair {name} in this region: `invoke create-key-pair` makes it.")


def create_key_pair(ec2: EC2Client, name: str) -> str:
    """Make the key pair here, and import its public half: nothing is lost when this is killed in between.

    Args:
        ec2: a client of EC2.
        name: the name in EC2, and of the file.

    Returns:
        What was done, in a sentence.

    Raises:
        ClusterError: EC2 has a key pair of that name whose private half is not here, or of the wrong kind.

    """
    path, known = get_private_key_path(name), find_key_pair(ec2, name)
    if known:
        check_key_pair(known, path)
        return f"The key pair {name} is in EC2 and its private half in {path}: nothing to do."
    if not files.exists(path):
        private = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        files.write_file(
            path, private.decode(), mode=0o600, keep=True
        )  # a second run at this moment made another one
    with clients.ignore_errors("InvalidKeyPair.Duplicate"):
        ec2.import_key_pair(KeyName=name, PublicKeyMaterial=get_public_key(path).encode())
    check_key_pair(require_key_pair(ec2, name), path)
    return f"Made the key pair {name}; its private half is in {path}."


def import_key_pair(ec2: EC2Client, name: str, public: Path) -> str:
    """Import a public key that a person has; its private half stays where it is, and a link in ~/.ssh leads to it.

    Args:
        ec2: a client of EC2.
        name: the name in EC2, and of the link.
        public: the file of the public key, as ~/.ssh/id_ed25519.pub; the private half is looked for beside it.

    Returns:
        What was done, in a sentence.

    Raises:
        ClusterError: it is not an ed25519 key, or EC2 or ~/.ssh has another one of that name.

    """
    half, path, known = read_public_key(public), get_private_key_path(name), find_key_pair(ec2, name)
    beside = Path(str(public).removesuffix(".pub")).absolute()
    private = path if path.exists() or not beside.exists() else beside
    if known and not is_same_key(known.get("PublicKey", half), half):
        raise ClusterError(
            f"EC2 has another key as {name}: choose a name for this one, as in INVOKE_KEY_PAIR=mine."
        )
    if private.exists() and not is_same_key(get_public_key(private), half):
        raise ClusterError(
            f"{private} is not the private half of {public}: choose a name for it, as in INVOKE_KEY_PAIR=mine."
        )
    if private != path:
        link_private_key(path, private)
    if not known:
        ec2.import_key_pair(KeyName=name, PublicKeyMaterial=half.encode())
    if not private.exists():
        return f"Imported {public} as {name}. Put its private half into {path}: `invoke ssh` and `pcluster ssh` need it there."
    return f"Imported {public} as {name}; {path} is its private half."


def link_private_key(path: Path, private: Path) -> None:
    """Let a private key be found under the key pair's name, without a copy of it.

    Raises:
        ClusterError: the link cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.symlink_to(private)
    except OSError as error:
        raise ClusterError(f"{path} cannot be linked to {private}: {error.strerror}.") from error


def is_same_key(one: str, other: str) -> bool:
    """Say whether two public keys in OpenSSH's form are one, whatever their comments."""
    return one.split()[:2] == other.split()[:2]


def read_public_key(path: Path) -> str:
    """Read a public key file.

    Raises:
        ClusterError: it does not hold an ed25519 key in OpenSSH's form.
    """
    text = files.read_text(path).strip()
    try:
        public = serialization.load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ClusterError(f"{path} is not a public key in OpenSSH's form, as id_ed25519.pub is.") from error
    if not isinstance(public, Ed25519PublicKey):
        raise ClusterError(
            f"{path} is not an ed25519 key, the only kind that Ubuntu's nodes take: `ssh-keygen -t ed25519`."
        )
    return text


def get_public_key(path: Path) -> str:
    """Give the public half of a private key file, in OpenSSH's form; with a passphrase, of the .pub file beside it.

    Raises:
        ClusterError: the file does not hold an ed25519 key, or its public half is not to be had.

    """
    try:
        private = serialization.load_ssh_private_key(files.read_text(path).encode(), password=None)
    except TypeError:  # it has a passphrase
        return read_public_key(Path(f"{path.resolve()}.pub"))
    except ValueError as error:
        raise ClusterError(f"{path} is not an OpenSSH private key: move it away.") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ClusterError(
            f"{path} is not an ed25519 key, the only kind that Ubuntu's nodes take: move it away."
        )
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()


def check_key_pair(known: KeyPairInfoTypeDef, path: Path) -> None:
    """Refuse a key pair of EC2 that will not open the head node from here.

    Raises:
        ClusterError: it is not ed25519, or its private half is not in the file.

    """
    name, kind = known["KeyName"], known.get("KeyType")
    if kind != "ed25519":
        raise ClusterError(
            f"The key pair {name} is {kind}, and ParallelCluster takes only ed25519 on Ubuntu: "
            "name another one, as in INVOKE_KEY_PAIR=name, and run `invoke create-key-pair`."
        )
    if not files.exists(path):
        raise ClusterError(
            f"The key pair {name} is in EC2, but its private half is not in {path}: "
            "put it there, or name another key pair, as in INVOKE_KEY_PAIR=name."
        )
    here = get_public_key(path)
    if not is_same_key(known.get("PublicKey", here), here):
        raise ClusterError(
            f"{path} is not the private half of the key pair {name}: name another, as in INVOKE_KEY_PAIR=name."
        )
