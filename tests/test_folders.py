"""A folder belongs to one cluster: its files, its template and its settings."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from sandbox import list_resources
from sandbox.rehearsal import INVOKE
from slurm_cluster.project import ROOT, TEMPLATE, Project
from slurm_cluster.steps import render as render_step
from tests.support import REGION, SETTINGS
from tests.support.task_runner import get_output
from tests.support.valid_files import GOOD_PARAMETERS

PARAMETERS = Path("config-parameters.json")
SECOND = {"INVOKE_CLUSTER_NAME": "second"}


def test_second_cluster_is_refused_before_anything_is_created(network, invoke):
    PARAMETERS.write_text(json.dumps({"CLUSTER_NAME": "pcluster-ubuntu"}))
    before = list_resources(REGION)
    for task in (
        "up --yes --ssh-from 203.0.113.7/32",
        "create-jwt-key",
        "upload-bootstrap",
        "down --yes --all",
    ):
        printed = get_output(invoke(*task.split(), **SECOND), 1)
        assert "is for the cluster pcluster-ubuntu, and this command is for second" in printed
        assert "  mkdir -p ../second && cd ../second\n" in printed
        assert f"  INVOKE_CLUSTER_NAME=second invoke -r {ROOT} {task.split()[0]}" in printed
    PARAMETERS.unlink()  # the folder of a cluster that has only its network
    for task in "up --yes --ssh-from 203.0.113.7/32", "configure", "create-jwt-key", "upload-bootstrap":
        printed = get_output(invoke(*task.split(), **SECOND), 1)
        assert "temp-config.yml is for the cluster pcluster-ubuntu, and this command is for second" in printed
    assert list_resources(REGION) == before


@pytest.mark.parametrize("key", ["k" * 40, GOOD_PARAMETERS["SLURM_JWT_KEY"]])
def test_status_does_not_show_the_key_of_another_cluster(key, project, invoke):
    PARAMETERS.write_text(json.dumps({"CLUSTER_NAME": "one", "SLURM_JWT_KEY": key}))
    second = Project(SETTINGS | {"cluster_name": "second"})
    assert (second.literal_key, second.custom_secret_arn, second.filled_values) == ("", "", {})
    answer = invoke("status", **SECOND)
    assert answer.returncode == 0
    assert "JWT key          missing: invoke create-jwt-key" in answer.stdout
    assert answer.stderr.startswith("Warning: config-parameters.json is for the cluster one")


def test_template_of_the_folder_is_used():
    PARAMETERS.write_text(json.dumps(GOOD_PARAMETERS))
    project = Project(SETTINGS | {"cluster_name": "one"})
    render_step.render(project)
    assert "# of this folder" not in Path("config.yml").read_text()
    Path(TEMPLATE.name).write_text(f"{TEMPLATE.read_text()}# of this folder\n")
    render_step.render(project)
    assert Path("config.yml").read_text().endswith("# of this folder\n")


# --- invoke's own settings file -----------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INVOKE, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_settings_file_of_the_folder_is_used(account):
    Path("settings.yaml").write_text("cluster_name: third\nuqle: {volume_gib: '50'}\n")
    for answer in (
        run("-f", "settings.yaml", "-R", "create-jwt-key"),
        run("-R", "create-jwt-key", INVOKE_RUNTIME_CONFIG="settings.yaml"),
    ):
        assert "third-eu-west-2-slurm-jwt-key" in answer.stdout, answer.stderr


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("absent.yaml", None, "Cannot read absent.yaml: No such file"),
        ("settings.toml", "", "its name must end in .yaml, .yml, .json"),
        ("broken.yaml", "cluster_name: [", "broken.yaml is not YAML"),
        ("broken.json", "{", "broken.json is not JSON"),
        ("other.yaml", "clustername: x", "'clustername' in other.yaml is not a setting"),
        ("typed.yml", "cluster_name: 7", "The setting cluster_name is '7', and must be text"),
        ("section.json", '{"uqle": 7}', "uqle in section.json is a section"),
    ],
)
def test_invalid_settings_file_is_reported(name, text, reason):
    if text is not None:
        Path(name).write_text(text)
    answer = run("-f", name, "--list")
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert reason in answer.stderr
