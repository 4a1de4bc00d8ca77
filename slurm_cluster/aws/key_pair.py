"""The key pair for SSH to the head node and the UQLE machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from slurm_cluster import files
from slurm_cluster.aws import clients
from slurm_cluster.errors import ClusterError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import KeyPairInfoTypeDef

OTHER_NAME = "Choose another name: set INVOKE_KEY_PAIR, for example to `mine`"


def get_private_key_path(name: str) -> Path:
    """Return the path of a key pair's private key."""
    return Path.home() / ".ssh" / f"{name}.pem"


def find_key_pair(ec2: EC2Client, name: str) -> KeyPairInfoTypeDef | None:
    """Return a key pair as EC2 describes it; None if there is none."""
    return clients.find_or_none(
        lambda: ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0],
        "InvalidKeyPair.NotFound",
    )


def require_key_pair(ec2: EC2Client, name: str) -> KeyPairInfoTypeDef:
    """Return a key pair as EC2 describes it.

    Raises:
        ClusterError: there is none.
    """
    pair = find_key_pair(ec2, name)
    if pair is None:
        region = ec2.meta.region_name
        raise ClusterError(f"EC2 has no key pair {name} in {region}. `invoke create-key-pair` creates it.")
    return pair


def create_key_pair(ec2: EC2Client, name: str) -> str:
    """Create a key pair on this machine, and import its public key.

    The private key is written first, so that it is not lost if the run is killed.

    Args:
        ec2: a client of EC2.
        name: the name in EC2, and of the file.

    Returns:
        What was done, in a sentence.

    Raises:
        ClusterError: the existing key pair is not ed25519, or its private key is not in ~/.ssh.
    """
    path, pair = get_private_key_path(name), find_key_pair(ec2, name)
    if pair:
        check_key_pair(pair, path)
        return f"The key pair {name} exists, and its private key is in {path}: nothing to do."
    if not files.exists(path):
        private_key = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        # A second run may have written one at the same moment.
        files.write_file(path, private_key.decode(), mode=0o600, keep=True)
    with clients.ignore_errors("InvalidKeyPair.Duplicate"):
        ec2.import_key_pair(KeyName=name, PublicKeyMaterial=get_public_key(path).encode())
    check_key_pair(require_key_pair(ec2, name), path)
    return f"Created the key pair {name}. Its private key is in {path}."


def import_key_pair(ec2: EC2Client, name: str, public_path: Path) -> str:
    """Import the user's public key, and create a link ~/.ssh/NAME.pem to its private key.

    Args:
        ec2: a client of EC2.
        name: the name in EC2, and of the link.
        public_path: the public key, such as ~/.ssh/id_ed25519.pub. The private key is looked for beside it.

    Returns:
        What was done, in a sentence.

    Raises:
        ClusterError: it is not an ed25519 key, or EC2 or ~/.ssh has another key of that name.
    """
    public_key = read_public_key(public_path)
    path, pair = get_private_key_path(name), find_key_pair(ec2, name)
    beside = Path(str(public_path).removesuffix(".pub")).absolute()
    private_path = path if path.exists() or not beside.exists() else beside
    if pair and not is_same_key(pair.get("PublicKey", public_key), public_key):
        raise ClusterError(f"EC2 has another key with the name {name}. {OTHER_NAME}.")
    if private_path.exists() and not is_same_key(get_public_key(private_path), public_key):
        raise ClusterError(f"{private_path} is not the private key of {public_path}. {OTHER_NAME}.")
    if private_path != path:
        link_private_key(path, private_path)
    if not pair:
        ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public_key.encode())
    if not private_path.exists():
        return (
            f"Imported {public_path} as {name}. Put its private key into {path}: "
            "`invoke ssh` and `pcluster ssh` need it there."
        )
    return f"Imported {public_path} as {name}. {path} is its private key."


def link_private_key(path: Path, private_path: Path) -> None:
    """Create a link to the private key, instead of a copy.

    Raises:
        ClusterError: the link cannot be created.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.symlink_to(private_path)
    except OSError as error:
        raise ClusterError(f"Cannot link {path} to {private_path}: {error.strerror}.") from error


def is_same_key(one: str, other: str) -> bool:
    """Return whether two public keys in OpenSSH's format are the same, apart from their comments."""
    return one.split()[:2] == other.split()[:2]


def read_public_key(path: Path) -> str:
    """Return the content of a public key file.

    Raises:
        ClusterError: it is not an ed25519 key in OpenSSH's format.
    """
    text = files.read_text(path).strip()
    try:
        public_key = serialization.load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ClusterError(
            f"{path} is not a public key in OpenSSH's format, such as id_ed25519.pub."
        ) from error
    if not isinstance(public_key, Ed25519PublicKey):
        raise ClusterError(
            f"{path} is not an ed25519 key, the only type for Ubuntu nodes. "
            "`ssh-keygen -t ed25519` creates one."
        )
    return text


def get_public_key(path: Path) -> str:
    """Return the public key of a private key file, in OpenSSH's format.

    If the private key has a passphrase, the public key is read from the .pub file beside it.

    Raises:
        ClusterError: it is not an ed25519 key, or there is no such .pub file.
    """
    try:
        private_key = serialization.load_ssh_private_key(files.read_text(path).encode(), password=None)
    except TypeError:  # it has a passphrase
        return read_public_key(Path(f"{path.resolve()}.pub"))
    except ValueError as error:
        raise ClusterError(
            f"{path} is not an OpenSSH private key. Rename it, then run this again."
        ) from error
    if not isinstance(private_key, Ed25519PrivateKey):
        raise ClusterError(
            f"{path} is not an ed25519 key, the only type for Ubuntu nodes. Rename it, then run this again."
        )
    public_key = private_key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public_key.decode()


def check_key_pair(pair: KeyPairInfoTypeDef, path: Path) -> None:
    """Check that this machine has the private key of an EC2 key pair, and that it is ed25519.

    Args:
        pair: the key pair as EC2 describes it.
        path: its private key.

    Raises:
        ClusterError: it is not ed25519, or its private key is not in the file.
    """
    name, key_type = pair["KeyName"], pair.get("KeyType")
    if key_type != "ed25519":
        raise ClusterError(
            f"The key pair {name} is {key_type}, and ParallelCluster accepts only ed25519 on Ubuntu. "
            f"{OTHER_NAME}, and run `invoke create-key-pair`."
        )
    if not files.exists(path):
        raise ClusterError(
            f"EC2 has the key pair {name}, but its private key is not in {path}. "
            "Put it there, or use another name, such as INVOKE_KEY_PAIR=mine."
        )
    public_key = get_public_key(path)
    if not is_same_key(pair.get("PublicKey", public_key), public_key):
        raise ClusterError(f"{path} is not the private key of the key pair {name}. {OTHER_NAME}.")
