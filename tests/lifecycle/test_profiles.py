"""Profiles, assumed roles and SSO work for the tasks and for pcluster as they do for `aws`."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sandbox.rehearsal import INVOKE
from tests.support.task_runner import get_output

CONFIG = """\
[profile work]
credential_process = {program}
[profile admin]
role_arn = arn:aws:iam::123456789012:role/admin
role_session_name = me
source_profile = work
[profile corporate]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Engineer
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = eu-west-2
sso_registration_scopes = sso:account:access
"""


@pytest.fixture
def callers(tmp_path) -> Path:
    """Write the user's profiles. Return the file in which the program for the keys logs its callers."""
    program, callers = tmp_path / "give-keys", tmp_path / "callers"
    program.write_text(
        f"#!/bin/sh\nps -ww -o args= -p $PPID >> {callers}\n"
        """echo '{"Version": 1, "AccessKeyId": "work", "SecretAccessKey": "work"}'\n"""
    )
    program.chmod(0o700)
    (tmp_path / "config").write_text(CONFIG.format(program=program))
    return callers


@pytest.fixture
def sso_portal() -> Iterator[HTTPServer]:
    """The portal that exchanges an SSO session's token for keys. It records the requests."""

    class Portal(BaseHTTPRequestHandler):
        def do_GET(self):
            sso_portal.requests.append((self.path, self.headers["x-amz-sso_bearer_token"]))
            keys = {
                "accessKeyId": "sso",
                "secretAccessKey": "sso",
                "sessionToken": "sso",
                "expiration": 4102444800000,
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"roleCredentials": keys}).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Portal) as sso_portal:
        sso_portal.requests = []
        thread = threading.Thread(target=sso_portal.serve_forever)
        thread.start()
        yield sso_portal
        sso_portal.shutdown()
        thread.join()


def invoke(*arguments, **environment):
    """Run a task in a new process, which reads the user's sessions when it starts."""
    command, whole = [*INVOKE, *arguments], {**os.environ, **environment}
    return subprocess.run(command, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def build_environment(name, tmp_path, **more):
    """Return environment variables that select a profile."""
    own = {"AWS_PROFILE": name, "AWS_CONFIG_FILE": str(tmp_path / "config")}
    return own | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_MAX_ATTEMPTS": "1"} | more


def log_in(until):
    """Write the file that `aws sso login` writes."""
    file = Path.home() / ".aws/sso/cache" / f"{hashlib.sha1(b'corp').hexdigest()}.json"  # noqa: S324 - botocore's name for it
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"accessToken": "token", "expiresAt": until}))


def test_profiles_role_is_assumed_by_tasks_and_pcluster(cluster, callers, tmp_path):
    environment = build_environment("admin", tmp_path)
    assert "as arn:aws:sts::123456789012:assumed-role/admin/me" in invoke("check", **environment).stdout
    callers.unlink()
    invoke("pause", **environment)
    assert ["/invoke " in line for line in callers.read_text().splitlines()] == [True, False]
    assert "/pcluster update-compute-fleet" in callers.read_text().splitlines()[1]


def test_sso_session_is_used_by_tasks_and_pcluster(cluster, callers, sso_portal, tmp_path):
    log_in("2099-01-01T00:00:00Z")
    environment = build_environment(
        "corporate", tmp_path, AWS_ENDPOINT_URL_SSO=f"http://127.0.0.1:{sso_portal.server_port}"
    )
    invoke("pause", **environment)
    path = "/federation/credentials?role_name=Engineer&account_id=123456789012"
    assert sso_portal.requests == [(path, "token"), (path, "token")]


def test_expired_sso_session_is_reported(account, callers, tmp_path):
    log_in("2020-01-01T00:00:00Z")
    printed = get_output(invoke("create-jwt-key", **build_environment("corporate", tmp_path)), 1)
    assert "The AWS SSO session has expired. Run `aws sso login`" in printed
    assert len(printed.splitlines()) == 1
