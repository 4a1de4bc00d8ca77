"""The templates in examples/ are accepted by pcluster, and differ from config.template.yml only in their subject."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from sandbox import rehearsal
from slurm_cluster.aws import instance_types
from slurm_cluster.config import cluster_config, template
from slurm_cluster.state import sizes, storage
from slurm_cluster.state.storage import Storage
from slurm_cluster.steps import pcluster
from tests.support import REGION, ROOT
from tests.support.valid_files import GOOD_PARAMETERS, render_configuration

EXAMPLES = {path.stem: path for path in sorted((ROOT / "examples").iterdir())}
PARAMETERS = Path("config-parameters.json")
SIZES = {"HEAD_NODE_TYPE": "m7i.xlarge", "COMPUTE_TYPE": "c7i.4xlarge", "MAX_NODES": "20"}


@pytest.mark.parametrize(("template", "status"), [("examples/gpu.yml", 0), ("examples/none.yml", 1)])
def test_rehearsal_takes_a_template(monkeypatch, template, status):
    taken = []

    def run_step(step, folder, inventory):
        taken.append((folder / "config.template.yml").read_text())
        return rehearsal.StepResult(step.task, 0, "", ""), inventory

    monkeypatch.setattr(rehearsal, "emulated_aws", nullcontext)
    monkeypatch.setattr(rehearsal, "list_resources", lambda _: set())
    monkeypatch.setattr(rehearsal, "run_step", run_step)
    monkeypatch.setattr(rehearsal, "STEPS", [])
    assert rehearsal.main(str(ROOT / template)) == status
    assert taken == ([] if status else [EXAMPLES["gpu"].read_text()])


@pytest.mark.parametrize("name", EXAMPLES)
def test_rehearsal_creates_a_file_system_for_a_template(monkeypatch, name):
    taken = []

    def run_step(step, _folder, inventory):
        taken.append(step)
        return rehearsal.StepResult(step.task, 0, "", ""), inventory

    monkeypatch.setattr(rehearsal, "emulated_aws", nullcontext)
    monkeypatch.setattr(rehearsal, "list_resources", lambda _: set())
    monkeypatch.setattr(rehearsal, "run_step", run_step)
    monkeypatch.setattr(rehearsal, "create_file_system", lambda path: taken.append(path.name))
    monkeypatch.setattr(rehearsal, "delete_file_systems", lambda: taken.append("deleted"))
    assert rehearsal.main(str(EXAMPLES[name])) == 0
    usual = [*rehearsal.STEPS, rehearsal.TEARDOWN]
    if name != "existing-efs":
        assert taken == usual
        return
    assert taken.pop(-2) == "deleted"
    assert taken.pop([step.task for step in usual].index("render")) == "config-parameters.json"
    assert [step.task for step in taken] == [step.task for step in usual]
    [made] = [step.creates for step in taken if step.task == "create-cluster"]
    assert "file system" not in made


def test_file_system_of_the_rehearsal_can_be_mounted(project, ec2, network):
    PARAMETERS.write_text(json.dumps({"PRIVATE_SUBNET": network["private"]}))
    rehearsal.create_file_system(PARAMETERS)
    shared = Storage(json.loads(PARAMETERS.read_text())["FILE_SYSTEM"], "Efs", "/shared")
    [subnet] = ec2.describe_subnets(SubnetIds=[network["public"]])["Subnets"]
    assert storage.predict_mount_obstacle(project, shared, subnet) == ""
    rehearsal.delete_file_systems()
    assert project.efs.describe_file_systems()["FileSystems"] == []
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert "nfs" not in {group["GroupName"] for group in groups}


def render(name, **more):
    values = (
        GOOD_PARAMETERS | ({"FILE_SYSTEM": "fs-0123456789abcdef0"} if name == "existing-efs" else {}) | more
    )
    return template.render_template(EXAMPLES[name], values, PARAMETERS)


def create_file_system(ec2, project, network):
    """Create an EFS file system that admits plain NFS from the VPC. Return its id."""
    efs = project.efs
    file_system = efs.create_file_system(CreationToken="data")["FileSystemId"]
    group = ec2.create_security_group(GroupName="nfs", Description="NFS", VpcId=network["vpc"])["GroupId"]
    nfs = {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[nfs])
    efs.create_mount_target(FileSystemId=file_system, SubnetId=network["private"], SecurityGroups=[group])
    return file_system


def test_pcluster_accepts_each_example(ec2, project, network):
    values = {
        "PUBLIC_SUBNET": network["public"],
        "PRIVATE_SUBNET": network["private"],
        "SLURM_JWT_KEY": "k" * 32,
        "SLURM_JWT_POLICY": "",
    }
    dry_runs = {}
    for name in EXAMPLES:
        own = {"FILE_SYSTEM": create_file_system(ec2, project, network)} if name == "existing-efs" else {}
        Path(f"{name}.yml").write_text(render(name, **values, **own))
        arguments = ["--cluster-configuration", f"{name}.yml", "--cluster-name", "one", "--dryrun", "true"]
        command = [
            Path(sys.executable).with_name("pcluster"),
            "create-cluster",
            *arguments,
            "--region",
            REGION,
        ]
        dry_runs[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for dry_run in dry_runs.values():
        notices = pcluster.check_dry_run(*dry_run.communicate())
        assert not any(notice.startswith("ERROR") for notice in notices)


@pytest.mark.parametrize("sizes", [{}, SIZES])
@pytest.mark.parametrize("name", EXAMPLES)
def test_only_the_subject_of_an_example_differs(name, sizes):
    config, usual = yaml.safe_load(render(name, **sizes)), render_configuration(**sizes)
    if name == "existing-efs":
        assert config.pop("SharedStorage")[0]["EfsSettings"] == {"FileSystemId": "fs-0123456789abcdef0"}
        del usual["SharedStorage"]
    else:
        first, added = config["Scheduling"]["SlurmQueues"]
        assert added["Name"] == name
        del config["Scheduling"]["SlurmQueues"][1]
        for key in "Networking", "Iam", "CustomActions":
            assert added[key] == first[key]
    assert config == usual


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_says_why_and_what_it_costs(name):
    comment = EXAMPLES[name].read_text().partition("\nRegion:")[0]
    assert [line for line in comment.splitlines() if not line.startswith("# ")] == []
    for word in "Why:", "Costs:", "config.template.yml":
        assert word in comment


@pytest.mark.parametrize(("name", "code", "vcpus"), [("gpu", "L-DB2E81BA", 8), ("spot", "L-34B43A08", 20)])
def test_example_names_the_quota_that_it_needs(name, code, vcpus, ec2):
    groups = cluster_config.parse(yaml.safe_load(render(name))).groups
    counted = sizes.count_vcpus(groups, instance_types.describe_types(ec2, sizes.list_types(groups)))
    assert {key[0]: count for key, count in counted.items()}[code] == vcpus
    assert f"a quota of {vcpus} vCPUs for " in EXAMPLES[name].read_text()
    assert f", {code}." in EXAMPLES[name].read_text()
