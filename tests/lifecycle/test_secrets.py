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
ALLOWED_CALLS = {
    ("secretsmanager", "CreateSecret"),
    ("secretsmanager", "PutSecretValue"),
    ("secretsmanager", "GetSecretValue"),
}


def list_forms(secret: bytes) -> list[bytes]:
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


def unpack(content: bytes) -> Iterator[bytes]:
    """Yield a content, and everything that is compressed in it."""
    yield content
    if content.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(content))
        for name in archive.namelist():
            yield from unpack(archive.read(name))
    if content.startswith(b"\x1f\x8b"):
        yield from unpack(gzip.decompress(content))
    if content.startswith(b"\x78"):
        try:
            yield from unpack(zlib.decompress(content))
        except zlib.error:
            return


def contains(content: bytes, secrets: list[bytes]) -> bool:
    """Return whether a content contains a secret in any form, also if the whole content is encoded."""
    lines = [text for each in unpack(content) for text in (each, each.replace(b"\n", b""))]
    return any(form in text for text in lines for form in secrets)


@pytest.fixture(scope="module")
def key_forms(walk):
    return list_forms(walk.key.encode())


@pytest.fixture(scope="module")
def private_key_forms(walk):
    loaded = serialization.load_ssh_private_key(walk.private_key.encode(), password=None)
    seed = loaded.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    lines = [line.encode() for line in walk.private_key.splitlines() if not line.startswith("-----")]
    return [*list_forms(seed), *lines[1:]]  # the first line is the same in all such files


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
    assert [each for each in hidden if not contains(each, list_forms(secret))] == []
    assert not contains(b"another text", list_forms(secret))


def test_no_output_contains_a_secret(walk, key_forms, private_key_forms):
    assert [
        step
        for step, output in walk.outputs.items()
        if contains(output.encode(), key_forms + private_key_forms)
    ] == []
    assert all("invoke" in output for output in walk.outputs.values())


def test_key_is_sent_only_to_secrets_manager(walk, key_forms, private_key_forms):
    sending_calls = {
        (call.service, call.operation)
        for call in walk.calls
        if any(contains(part, key_forms) for part in call.sent_data)
    }
    assert sending_calls == ALLOWED_CALLS - {
        ("secretsmanager", "PutSecretValue")
    }  # rotation stored another key later
    assert [
        call.operation
        for call in walk.calls
        if any(contains(part, private_key_forms) for part in call.sent_data)
    ] == []


def test_key_is_in_uqle_env_only(walk, key_forms):
    assert {name: mode for name, (mode, content) in walk.files.items() if contains(content, key_forms)} == {
        "work/uqle.env": 0o600
    }
    assert f"SLURM_JWT_KEY={walk.key}\n".encode() in walk.files["work/uqle.env"][1]
    assert {
        "work/config.yml",
        "work/config-parameters.json",
        "home/.parallelcluster/pcluster-cli.log",
    } <= walk.files.keys()


def test_private_key_is_in_its_file_only(walk, private_key_forms):
    found = {
        name: mode for name, (mode, content) in walk.files.items() if contains(content, private_key_forms)
    }
    assert found == {f"home/.ssh/{CLUSTER}.pem": 0o600}


def test_no_process_shows_a_secret(walk, key_forms, private_key_forms):
    assert [each for each in walk.process_data if contains(each, key_forms + private_key_forms)] == []
    assert any(b"create-cluster" in each and b"pcluster" in each for each in walk.process_data)


def test_parameter_files_are_readable_by_their_owner_only(walk):
    assert {
        walk.files[f"work/{name}"][0] for name in ("config.yml", "config-parameters.json", "uqle.env")
    } == {0o600}


@pytest.mark.parametrize(
    "fault", [faults.lose_response, faults.fail_with_500, faults.fail_with_error("AccessDeniedException")]
)
def test_key_is_not_printed_after_a_fault(fault, cluster, project, monkeypatch):
    # Not AWS_MAX_ATTEMPTS: botocore would store it in the Config that all clients share.
    monkeypatch.setitem(clients.CONFIG.retries, "total_max_attempts", 1)
    run_task("create_jwt_key")
    key_forms = list_forms(jwt_secret.read_key(project.secretsmanager, project.secret).encode())
    for task, arguments in ("create_jwt_key", []), ("handover", [True]):
        with faults.inject(fault, at=0, only="Secret") as counted:
            run_task(task, *arguments)
        assert counted.calls
        for at in range(1, len(counted.calls) + 1):
            with faults.inject(fault, at, then=fault, only="Secret") as injected:
                output = run_task(task, *arguments)
            assert injected.failed_calls
            assert not contains("".join(output).encode(), key_forms), (task, at)
