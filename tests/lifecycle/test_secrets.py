"""The JWT key is only in its secret and, on request, in uqle.env; the private key is only in ~/.ssh."""

import base64
import binascii
import gzip
import io
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization

from sandbox import faults
from slurm_cluster.aws import clients, jwt_secret
from tests.support.in_process import run_task
from tests.support.recorded_walk import CLUSTER

pytestmark = pytest.mark.xdist_group("walk")
MAY_TELL = {
    ("secretsmanager", "CreateSecret"),
    ("secretsmanager", "PutSecretValue"),
    ("secretsmanager", "GetSecretValue"),
}


def forms(secret: bytes) -> list[bytes]:
    """Return the forms of a secret: plain, in URLs, in hexadecimal, and in base64 at any offset."""
    inside = []
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + secret)
        inside += [
            encoded[4 if offset else 0 : len(encoded) - 4],
            base64.urlsafe_b64encode(b"x" * offset + secret)[4:-4],
        ]
    quoted = "".join(f"%{byte:02X}" for byte in secret).encode()
    return [
        secret,
        urllib.parse.quote(secret).encode(),
        quoted,
        quoted.lower(),
        binascii.hexlify(secret),
        *inside,
    ]


def unpacked(content: bytes) -> Iterator[bytes]:
    """Return a content, and what is packed in it."""
    yield content
    if content.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(content))
        for name in archive.namelist():
            yield from unpacked(archive.read(name))
    if content.startswith(b"\x1f\x8b"):
        yield from unpacked(gzip.decompress(content))
    if content.startswith(b"\x78"):
        try:
            yield from unpacked(zlib.decompress(content))
        except zlib.error:
            return


def tells(content: bytes, secrets: list[bytes]) -> bool:
    """Return whether a content contains a secret in any form, also encoded as a whole."""
    lines = [text for each in unpacked(content) for text in (each, each.replace(b"\n", b""))]
    return any(form in text for text in lines for form in secrets)


@pytest.fixture(scope="module")
def key(walked):
    return forms(walked.key.encode())


@pytest.fixture(scope="module")
def private(walked):
    loaded = serialization.load_ssh_private_key(walked.private_key.encode(), password=None)
    seed = loaded.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    lines = [line.encode() for line in walked.private_key.splitlines() if not line.startswith("-----")]
    return [*forms(seed), *lines[1:]]  # the first line is the same in all such files


def test_search_finds_secrets():
    secret = b"abcdefghij-klmnopqrst_uvwxyz0123456789ABCDE"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", b"y" + secret)
    hidden = [
        b"x" + secret,
        archive.getvalue(),
        gzip.compress(secret),
        zlib.compress(secret),
        secret.hex().encode(),
    ]
    hidden += [base64.b64encode(b"p" * length + secret + b"more") for length in range(7)]
    hidden += [base64.urlsafe_b64encode(b"p" * length + secret) for length in range(7)]
    hidden += [base64.encodebytes(b"p" * 70 + secret)]
    hidden += ["".join(f"%{byte:02x}" for byte in secret).encode()]
    assert [each for each in hidden if not tells(each, forms(secret))] == []
    assert not tells(b"another text", forms(secret))


def test_no_output_contains_a_secret(walked, key, private):
    assert [step for step, said in walked.outputs.items() if tells(said.encode(), key + private)] == []
    assert all("invoke" in said for said in walked.outputs.values())


def test_key_is_sent_only_to_secrets_manager(walked, key, private):
    told = {
        (call.service, call.operation)
        for call in walked.calls
        if any(tells(part, key) for part in call.sent_data)
    }
    assert told == MAY_TELL - {
        ("secretsmanager", "PutSecretValue")
    }  # which gave the secret another key, later
    assert [
        call.operation for call in walked.calls if any(tells(part, private) for part in call.sent_data)
    ] == []


def test_key_is_in_uqle_env_only(walked, key):
    assert {name: mode for name, (mode, content) in walked.files.items() if tells(content, key)} == {
        "work/uqle.env": 0o600
    }
    assert f"SLURM_JWT_KEY={walked.key}\n".encode() in walked.files["work/uqle.env"][1]
    assert {
        "work/config.yml",
        "work/config-parameters.json",
        "home/.parallelcluster/pcluster-cli.log",
    } <= walked.files.keys()


def test_private_key_is_in_its_file_only(walked, private):
    found = {name: mode for name, (mode, content) in walked.files.items() if tells(content, private)}
    assert found == {f"home/.ssh/{CLUSTER}.pem": 0o600}


def test_no_process_shows_a_secret(walked, key, private):
    assert [each for each in walked.process_data if tells(each, key + private)] == []
    assert any(b"create-cluster" in each and b"pcluster" in each for each in walked.process_data)


def test_parameter_files_are_readable_by_their_owner_only(walked):
    assert {
        walked.files[f"work/{name}"][0] for name in ("config.yml", "config-parameters.json", "uqle.env")
    } == {0o600}


@pytest.mark.parametrize(
    "fault", [faults.lose_response, faults.fail_with_500, faults.fail_with_error("AccessDeniedException")]
)
def test_no_fault_makes_a_task_print_the_key(fault, cluster, project, monkeypatch):
    # AWS_MAX_ATTEMPTS would stay: botocore writes it into the retries of the Config that all clients share.
    monkeypatch.setitem(clients.CONFIG.retries, "total_max_attempts", 1)
    run_task("create_jwt_key")
    key = forms(jwt_secret.read_key(project.secretsmanager, project.secret).encode())
    for task, arguments in ("create_jwt_key", []), ("handover", [True]):
        with faults.inject(fault, at=0, only="Secret") as counted:
            run_task(task, *arguments)
        assert counted.calls
        for at in range(1, len(counted.calls) + 1):
            with faults.inject(fault, at, then=fault, only="Secret") as injected:
                said = run_task(task, *arguments)
            assert injected.failed_calls
            assert not tells("".join(said).encode(), key), (task, at)
