"""The tasks as a user runs them: each in a separate process."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from sandbox import list_resources
from sandbox.small_cluster import make_cluster
from slurm_cluster import cli
from slurm_cluster.aws import jwt_secret, script_bucket, security_groups
from slurm_cluster.config import parameters
from slurm_cluster.steps.uqle import find_launch_target
from tests.support import REGION, ROOT, in_process
from tests.support.task_runner import get_output


def values():
    return json.loads(Path("config-parameters.json").read_text())


def test_fill_parameters_uses_what_the_steps_created(filled, network, project):
    assert values() == {
        "AWS_REGION": REGION,
        "SSH_KEY_PAIR": "pcluster-ubuntu",
        "PRIVATE_SUBNET": network["private"],
        "PUBLIC_SUBNET": network["public"],
        "CUSTOM_BOOT_ACTION_START": values()["CUSTOM_BOOT_ACTION_START"],
        "CUSTOM_BOOT_ACTION_CONFIGURED": values()["CUSTOM_BOOT_ACTION_CONFIGURED"],
        "SLURM_JWT_KEY": jwt_secret.find_secret_arn(project.secretsmanager, project.secret),
        "SLURM_JWT_POLICY": project.policy,
        "BOOTSTRAP_BUCKET": project.bucket,
        "CLUSTER_NAME": "pcluster-ubuntu",
        "SSH_FROM": "203.0.113.7/32",
        **dict.fromkeys(parameters.SIZES, ""),  # empty: the template's defaults
    }


def test_fill_parameters_keeps_typed_values(filled, invoke):
    text = Path("config-parameters.json").read_text()
    Path("config-parameters.json").write_text(text.replace("203.0.113.7/32", "198.51.100.1/32"))
    assert "Kept SSH_FROM" not in get_output(invoke("fill-parameters"))
    assert values()["SSH_FROM"] == "198.51.100.1/32"
    get_output(invoke("fill-parameters", "--overwrite", INVOKE_SSH_FROM="203.0.113.7/32"))
    assert values()["SSH_FROM"] == "203.0.113.7/32"


def test_recreated_secret_is_filled_in_again(filled, project, invoke):
    old = values()["SLURM_JWT_KEY"]
    project.secretsmanager.delete_secret(SecretId=project.secret, ForceDeleteWithoutRecovery=True)
    get_output(invoke("create-jwt-key"))
    get_output(invoke("fill-parameters"))
    assert (
        values()["SLURM_JWT_KEY"] == jwt_secret.find_secret_arn(project.secretsmanager, project.secret) != old
    )


def test_custom_secret_is_kept_and_read(network, upload, cluster, project, invoke):
    own = project.secretsmanager.create_secret(Name="mine", SecretString="m" * 40)["ARN"]
    Path("config-parameters.json").write_text(
        json.dumps({"SLURM_JWT_KEY": own, "SSH_FROM": "203.0.113.7/32"})
    )
    get_output(invoke("fill-parameters"))
    assert (values()["SLURM_JWT_KEY"], values()["SLURM_JWT_POLICY"]) == (own, "")
    get_output(invoke("handover", "--with-key"))
    assert f"SLURM_JWT_KEY={'m' * 40}\n" in Path("uqle.env").read_text()


def test_config_of_another_cluster_is_refused(filled, invoke):
    Path("config-parameters.json").unlink()
    assert "is for another cluster than second" in get_output(
        invoke("create-cluster", INVOKE_CLUSTER_NAME="second"), 1
    )


def test_invalid_settings_and_files_give_no_traceback(account, invoke, tmp_path):
    assert "uqle.volume_gib is 'many'" in get_output(
        invoke("-R", "create-instance", INVOKE_UQLE_VOLUME_GIB="many"), 1
    )
    Path("temp-config.yml").write_text("Region: 2026-99-99")
    assert "temp-config.yml is not YAML" in get_output(invoke("status"), 1)
    Path("temp-config.yml").unlink()
    Path.home().joinpath(".ssh").write_text("")
    assert "pcluster-ubuntu.pem: Not a directory" in get_output(invoke("create-key-pair"), 1)


def test_down_keeps_a_network_with_another_cluster(cluster, network, cloudformation, upload, invoke):
    make_cluster("second", network, cloudformation)
    cloudformation.delete_stack(StackName="pcluster-ubuntu")
    printed = get_output(invoke("down", "--yes", "--all"), 1)
    assert "It holds resources that the wizard did not create:" in printed
    assert "Deleted s3://" in printed
    assert "Left:" in printed
    assert cloudformation.describe_stacks(StackName="second")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


def test_literal_key_and_custom_scripts_need_no_secret_or_bucket(network, invoke):
    own = dict.fromkeys(
        ("CUSTOM_BOOT_ACTION_START", "CUSTOM_BOOT_ACTION_CONFIGURED"), "https://example.org/script.sh"
    )
    Path("config-parameters.json").write_text(
        json.dumps(own | {"SLURM_JWT_KEY": "k" * 40, "SSH_FROM": "203.0.113.7/32"})
    )
    get_output(invoke("fill-parameters"))
    assert (values()["SLURM_JWT_POLICY"], values()["BOOTSTRAP_BUCKET"], values()["SLURM_JWT_KEY"]) == (
        "",
        "",
        "k" * 40,
    )
    printed = get_output(invoke("render"))
    assert "SLURM_JWT_KEY is the key itself" in printed
    assert "k" * 40 not in printed
    assert Path("config.yml").stat().st_mode & 0o777 == 0o600


def test_each_step_names_the_missing_one(network, invoke, key_pair):
    assert "invoke upload-bootstrap" in get_output(
        invoke("fill-parameters", "--ssh-from", "203.0.113.7/32"), 1
    )
    get_output(invoke("upload-bootstrap"))
    assert "invoke create-jwt-key" in get_output(invoke("fill-parameters", "--ssh-from", "203.0.113.7/32"), 1)
    assert "--ssh-from 203.0.113.7/32" in get_output(invoke("fill-parameters"), 1)
    assert "SSH_FROM is" in get_output(invoke("fill-parameters", "--ssh-from", "everybody"), 1)
    assert "invoke fill-parameters" in get_output(invoke("render"), 1)
    assert "invoke render" in get_output(invoke("create-cluster"), 1)
    for task in ("connect-uqle", "allow-head-node-group", "create-instance", "handover"):
        assert "invoke create-cluster" in get_output(invoke(task), 1)
    assert "invoke connect-uqle" in get_output(invoke("ssh", "--uqle"), 1)
    assert sorted(os.listdir()) == ["temp-config.yml"]


def test_invalid_cluster_name_is_refused_by_every_task(invoke):
    for task in ("check", "status", "render", "down"):
        assert "cluster_name in invoke.yaml, or INVOKE_CLUSTER_NAME" in get_output(
            invoke(task, INVOKE_CLUSTER_NAME="1 cluster"), 1
        )


def test_files_of_another_cluster_are_refused(filled, invoke):
    for task in (["fill-parameters"], ["render"]):
        assert "is for the cluster pcluster-ubuntu" in get_output(
            invoke(*task, INVOKE_CLUSTER_NAME="second"), 1
        )


def test_nothing_is_deleted_without_confirmation(cluster, invoke):
    before = list_resources(REGION)
    for task in ("down", "delete-cluster", "up"):
        assert "pass --yes" in get_output(
            invoke(task, *(["--ssh-from", "203.0.113.7/32"] if task == "up" else [])), 1
        )
    assert list_resources(REGION) == before


def test_up_refuses_a_mistyped_machine_before_it_asks(account, ec2):
    settings = {"uqle": {"instance_type": "t3.larg", "volume_gib": "30", "mount_point": "/shared"}}
    printed, refusal = in_process.run_task("up", "203.0.113.7/32", True, **settings)
    assert refusal.startswith("uqle.instance_type is t3.larg, which eu-west-2 does not have.")
    assert not printed
    assert not ec2.describe_key_pairs()["KeyPairs"]


def test_up_without_uqle_ends_with_the_cluster(invoke):
    plan = ["-R", "up", "--ssh-from", "203.0.113.7/32"]
    only_cluster, everything = get_output(invoke(*plan, "--without-uqle")), get_output(invoke(*plan))
    assert everything.startswith(only_cluster)
    assert only_cluster.splitlines()[-1].startswith("    --cluster-name pcluster-ubuntu")
    assert "launch a t3.large" in everything.removeprefix(only_cluster)


def test_dry_runs_change_nothing_and_show_commands(cluster, invoke):
    Path("temp-config.yml").unlink()
    before, files = list_resources(REGION), os.listdir()
    printed = get_output(invoke("-R", "up", "--ssh-from", "203.0.113.7/32")) + get_output(
        invoke("-R", "down", "--all")
    )
    printed += get_output(invoke("-R", "ssh")) + get_output(invoke("-R", "ssh", "--uqle"))
    commands = printed.replace(" \\\n    ", " ").splitlines()
    assert [line for line in commands if line.startswith("$ ")] == [
        "$ pcluster configure -c temp-config.yml",
        "$ pcluster create-cluster --cluster-configuration config.yml --cluster-name pcluster-ubuntu --dryrun true "
        "--region eu-west-2",
        "$ pcluster create-cluster --cluster-configuration config.yml --cluster-name pcluster-ubuntu --region eu-west-2",
        "$ pcluster delete-cluster --cluster-name pcluster-ubuntu --region eu-west-2",
        f"$ pcluster ssh --cluster-name pcluster-ubuntu -i {Path.home()}/.ssh/pcluster-ubuntu.pem --region eu-west-2",
        f"$ ssh -i {Path.home()}/.ssh/pcluster-ubuntu.pem 'ubuntu@<from connect-uqle>'",
    ]
    assert "<from configure>" in printed
    assert list_resources(REGION) == before
    assert os.listdir() == files


def test_connect_disconnect_and_connect_again(cluster, ec2, invoke):
    first = get_output(invoke("connect-uqle"))
    again = get_output(invoke("connect-uqle"))
    [identifier] = re.findall(r"Launched (i-\w+)", first)
    assert f"The UQLE machine {identifier} exists already and is running." in again
    assert "m6i.large" in get_output(invoke("create-instance", INVOKE_UQLE_INSTANCE_TYPE="m6i.large"))
    assert identifier in get_output(invoke("delete-cluster", "--yes"), 1)
    assert "ubuntu@203.0.113." in get_output(invoke("ssh", "--uqle"), 255)
    assert f"Terminated {identifier}." in get_output(invoke("disconnect-uqle"))
    assert "There is no UQLE machine of pcluster-ubuntu in eu-west-2." in get_output(
        invoke("disconnect-uqle")
    )
    assert identifier not in get_output(invoke("connect-uqle"))


def test_connect_without_key_pair_changes_nothing(cluster, ec2, project, invoke):
    ec2.delete_key_pair(KeyName="pcluster-ubuntu")
    assert (
        "EC2 has no key pair pcluster-ubuntu in eu-west-2. `invoke create-key-pair` creates it."
        in " ".join(get_output(invoke("connect-uqle"), 1).split())
    )
    assert not security_groups.has_self_rule(ec2, find_launch_target(project).group_id)


def test_key_is_in_the_file_only_and_on_request(filled, cluster, invoke, project):
    key = jwt_secret.read_key(project.secretsmanager, project.secret)
    printed = get_output(invoke("handover"))
    assert key not in Path("uqle.env").read_text()
    printed += get_output(invoke("-d", "handover", "--with-key"))
    assert f"\nSLURM_JWT_KEY={key}\n" in Path("uqle.env").read_text()
    assert Path("uqle.env").stat().st_mode & 0o777 == 0o600
    assert key not in printed


def test_script_uris_of_a_running_cluster_are_kept(filled, cluster, invoke):
    text = Path("config-parameters.json").read_text()
    older = re.sub(r"on_node_start_ubuntu-\w+", "on_node_start_ubuntu-000000000000", text)
    Path("config-parameters.json").write_text(older)
    printed = get_output(invoke("fill-parameters", "--overwrite"))
    assert "Kept CUSTOM_BOOT_ACTION_START: new boot scripts need a new cluster." in printed
    assert "on_node_start_ubuntu-000000000000" in values()["CUSTOM_BOOT_ACTION_START"]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "There are no AWS credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS cannot be reached"),
        ({"AWS_PROFILE": "nobodys"}, "(nobodys) could not be found. Correct AWS_PROFILE, or add the profile"),
        ({"AWS_REGION": "atlantis"}, "atlantis"),
    ],
)
def test_missing_access_to_aws_is_reported(invoke, environment, sentence):
    assert sentence in get_output(invoke("create-jwt-key", AWS_MAX_ATTEMPTS="1", **environment), 1)


def test_listing_and_rendering_load_no_boto3(filled):
    code = (
        "import sys, invoke, tasks; c = invoke.Context(invoke.Config(project_location=sys.argv[1])); c.config.load_project();"
        "tasks.render(c); print({'boto3', 'botocore', 'pcluster'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    import sys

    answer = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.endswith("set()\n")


# --- steps out of order -------------------------------------------------------------------------------------


def test_down_checks_before_it_asks(invoke):
    printed = get_output(invoke("down", "--all"))
    assert printed.startswith(
        "Nothing of the cluster pcluster-ubuntu exists in eu-west-2. `invoke status --all-regions`"
    )


def test_down_asks_for_what_exists(network, upload, invoke):
    question = "Delete these of pcluster-ubuntu in eu-west-2: the network"
    assert f"{question}? There is no terminal" in get_output(invoke("down"), 1)
    assert f"{question}, the boot scripts? There is no terminal" in get_output(invoke("down", "--all"), 1)


def test_verify_without_a_cluster_names_the_cluster_first(account):
    assert in_process.run_task("verify")[1].startswith("There is no cluster pcluster-ubuntu in eu-west-2")


def test_ssh_without_a_cluster_is_reported(invoke):
    printed = get_output(invoke("ssh"), 1)
    assert "There is no cluster pcluster-ubuntu in eu-west-2" in printed
    assert "shell" not in printed


def test_dry_run_says_that_it_does_not_read_the_account(invoke):
    assert "It does not read the account" in invoke("-R", "create-jwt-key").stdout


def test_success_ends_with_the_next_step_and_failure_does_not(key_pair, invoke):
    assert get_output(invoke("upload-bootstrap")).endswith("\nNext: invoke create-jwt-key\n")
    assert "Next:" not in get_output(invoke("render"), 1)
    assert "Next:" not in get_output(invoke("-R", "create-jwt-key"))


def test_next_steps_are_commands_and_no_task_lacks_one():
    steps = [step for step in vars(in_process.TASKS).values() if isinstance(step, cli.Step)]
    names = {step.name.replace("_", "-") for step in steps}
    assert {step.next_step.split()[1] for step in steps if step.next_step} <= names
    without = {step.name for step in steps if not step.next_step}
    decides = {
        "check",
        "create_cluster",
        "disconnect_uqle",
        "handover",
    }  # their next step depends on the result
    ends_differently = {"picture", "rotate_jwt_key", "ssh", "status", "token", "tunnel"}
    assert without == {*decides, *ends_differently, "rehearse", "sandbox"}


def test_bucket_that_vanished_meanwhile_counts_as_deleted(project, monkeypatch):
    monkeypatch.setattr(script_bucket, "bucket_exists", lambda *_: True)  # it existed a moment ago
    bucket = project.s3, project.bucket, project.cluster_name, project.account
    assert script_bucket.delete_scripts(*bucket) == []
    assert script_bucket.count_scripts(*bucket) == 0
