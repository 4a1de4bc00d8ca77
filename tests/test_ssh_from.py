"""The addresses that may use SSH: a flag replaces the value in the files; without it, they keep theirs."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from slurm_cluster import cli
from slurm_cluster.aws import public_address
from slurm_cluster.config import parameters
from slurm_cluster.errors import ClusterError
from slurm_cluster.project import Project
from slurm_cluster.steps import render as render_step
from tests.support import SETTINGS
from tests.support.in_process import run_task
from tests.support.task_runner import get_output
from tests.support.valid_files import GOOD_PARAMETERS

PARAMETERS, CONFIG = Path("config-parameters.json"), Path("config.yml")
ONE = SETTINGS | {"cluster_name": "one"}
OLD, NEW = "203.0.113.7/32", "198.51.100.9/32"


def read_source() -> str:
    return json.loads(PARAMETERS.read_text())["SSH_FROM"]


def read_allowed_ips() -> str:
    return yaml.safe_load(CONFIG.read_text())["HeadNode"]["Ssh"]["AllowedIps"]


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """Return a function that serves a body, and returns its URL."""

    class Handler(BaseHTTPRequestHandler):
        body = b""

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def serve(body: bytes) -> str:
            Handler.body = body
            return f"http://127.0.0.1:{server.server_port}"

        yield serve
        server.shutdown()
        thread.join()


def test_flag_replaces_the_value_in_the_file(filled, invoke):
    printed = get_output(invoke("fill-parameters", "--ssh-from", NEW))
    assert f'Replaced SSH_FROM "{OLD}" with "{NEW}".' in printed
    assert read_source() == NEW
    assert "Replaced" not in get_output(invoke("fill-parameters", "--ssh-from", NEW))
    assert "Kept" not in get_output(invoke("fill-parameters"))
    assert read_source() == NEW


def test_setting_does_not_replace_the_value_in_the_file(filled, invoke):
    printed = get_output(invoke("fill-parameters", INVOKE_SSH_FROM=NEW))
    assert f'Kept SSH_FROM "{OLD}", and not "{NEW}". --ssh-from replaces it.' in printed
    assert read_source() == OLD
    assert f"PASS    SSH from: {OLD}" in invoke("check", INVOKE_SSH_FROM=NEW).stdout


def test_running_cluster_keeps_its_rule_and_the_task_says_so(filled, cluster, invoke):
    assert "The running cluster still has the old one" in get_output(
        invoke("fill-parameters", "--ssh-from", NEW)
    )


@pytest.fixture
def without_pcluster(monkeypatch):
    """End a task where it would start pcluster, after all warnings."""

    def refuse(*_, **__):
        raise ClusterError("pcluster is not started.")

    monkeypatch.setattr(cli, "run_command", refuse)


def test_wide_range_is_warned_of_in_every_setting(filled, cluster, without_pcluster):
    for task, *arguments in (
        ["fill_parameters", "0.0.0.0/0"],
        ["fill_parameters"],
        ["render"],
        ["create_cluster"],
        ["update_cluster", "0.0.0.0/1"],
        ["up", "0.0.0.0/0"],  # ends at the confirmation
    ):
        printed, _ = run_task(task, *arguments)
        expected = 0 if task == "create_cluster" else 1  # the cluster exists: nothing is done
        assert printed.count("Warning: SSH_FROM, 0.0.0.0/") == expected, (task, printed)
        assert printed.count("much of the internet") == expected, (task, printed)


def test_wide_range_in_the_users_configuration_is_warned_of(account, without_pcluster):
    for allowed_ips in ("0.0.0.0/0", "::/0", ""):
        rule = {"Ssh": {"AllowedIps": allowed_ips}} if allowed_ips else {}
        CONFIG.write_text(yaml.safe_dump({"Region": "eu-west-2", "HeadNode": rule}))
        printed, _ = run_task("create_cluster")
        expected = (
            f"HeadNode / Ssh / AllowedIps in config.yml, {allowed_ips}, is all"
            if allowed_ips
            else "config.yml has no HeadNode / Ssh / AllowedIps"
        )
        assert f"Warning: {expected}" in printed
        assert "SSH_FROM" not in printed
    CONFIG.write_text(yaml.safe_dump({"HeadNode": {"Networking": {"SecurityGroups": ["sg-1"]}}}))
    assert "AllowedIps" not in run_task("create_cluster")[0]  # pcluster makes no rule for SSH then


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("1.2.3.4", "(did you mean 1.2.3.4/32?)"),
        ("1.2.3.4/8", "(did you mean 1.2.3.4/32 or 1.0.0.0/8?)"),
        ("2001:db8::1", "(IPv6)"),
        ("::/0", "(IPv6, and all of the internet)"),
    ],
)
def test_wrong_source_gets_a_suggestion(value, meant):
    [fault] = parameters.validate_value("SSH_FROM", value)
    assert f'SSH_FROM is "{value}" {meant}, and must be one CIDR' in fault


# --- auto ---------------------------------------------------------------------------------------------------


def test_auto_takes_the_public_address_after_a_question(filled, invoke):
    get_output(invoke("fill-parameters", "--ssh-from", NEW))
    asked = get_output(invoke("fill-parameters", "--ssh-from", "auto"), 1)
    assert asked.startswith("The public address of this machine is 203.0.113.7/32.\nAllow SSH from")
    assert read_source() == NEW
    assert "public address" in get_output(invoke("fill-parameters", "--ssh-from", "auto", "--yes"))
    assert read_source() == "203.0.113.7/32"
    assert "with SSH from 203.0.113.7/32?" in get_output(invoke("up", "--ssh-from", "auto"), 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"1.2.3.4, 5.6.7.8", b"::1", b"1.2.3.4\n" * 50, b"\xff"])
def test_answer_that_is_no_address_is_refused(body, serve, monkeypatch):
    monkeypatch.setenv(public_address.SERVICE_VARIABLE, serve(body))
    with pytest.raises(ClusterError, match="no IPv4 address in its answer") as error:
        public_address.find_public_address()
    assert "Pass --ssh-from" in str(error.value)


def test_unreachable_address_service_is_reported(monkeypatch):
    monkeypatch.setenv(public_address.SERVICE_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(ClusterError, match="refused"):
        public_address.find_public_address()


def test_dry_run_does_not_ask_for_the_address(account, invoke, monkeypatch):
    monkeypatch.setenv(public_address.SERVICE_VARIABLE, "http://127.0.0.1:9")
    get_output(invoke("-R", "up", "--ssh-from", "auto"))


# --- update-cluster -----------------------------------------------------------------------------------------


def render(**changed: str) -> Project:
    PARAMETERS.write_text(json.dumps(GOOD_PARAMETERS | changed))
    project = Project(ONE)
    render_step.render(project)
    return project


def test_update_changes_parameters_and_configuration():
    project = render()
    render_step.replace_ssh_from(project, NEW)
    assert (read_source(), read_allowed_ips()) == (NEW, NEW)
    assert PARAMETERS.stat().st_mode & 0o777 == CONFIG.stat().st_mode & 0o777 == 0o600


def test_update_replaces_a_source_that_was_not_rendered():
    project = render()
    PARAMETERS.write_text(json.dumps(GOOD_PARAMETERS | {"SSH_FROM": "192.0.2.1/32"}))
    render_step.replace_ssh_from(project, NEW)
    assert (read_source(), read_allowed_ips()) == (NEW, NEW)


@pytest.mark.parametrize(("old", "new"), [("MaxCount: 2", "MaxCount: 3"), ("Region:", "# mine\nRegion:")])
def test_update_refuses_to_lose_edits(old, new):
    project = render()
    edited = CONFIG.read_text().replace(old, new)
    CONFIG.write_text(edited)
    with pytest.raises(ClusterError, match=r"config\.yml differs from what .* from line \d+ on") as error:
        render_step.replace_ssh_from(project, NEW)
    assert "`invoke render` would lose that" in str(error.value)
    assert (CONFIG.read_text(), read_source()) == (edited, OLD)


def test_wrong_flag_changes_nothing(filled, cluster, invoke):
    before = CONFIG.read_text()
    for task in ("update-cluster", "fill-parameters"):
        assert "did you mean 198.51.100.9/32?" in get_output(invoke(task, "--ssh-from", "198.51.100.9"), 1)
    assert (CONFIG.read_text(), read_source()) == (before, OLD)


def test_update_without_a_cluster_changes_nothing(filled, invoke):
    before = CONFIG.read_text()
    assert "There is no cluster" in get_output(invoke("update-cluster", "--ssh-from", NEW), 1)
    assert (CONFIG.read_text(), read_source()) == (before, OLD)
