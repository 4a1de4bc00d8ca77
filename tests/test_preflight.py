from pathlib import Path

import pytest
import yaml

from sandbox import small_cluster
from slurm_cluster.aws import script_bucket
from slurm_cluster.config import boot_checks, cluster_config
from slurm_cluster.errors import ClusterError
from slurm_cluster.steps import preflight
from tests.support import ROOT
from tests.support.valid_files import render_configuration

FILE = Path("config.yml")


@pytest.fixture
def config(project):
    """A rendered configuration whose scripts exist."""
    s3 = project.s3
    script_bucket.ensure_bucket(s3, project.bucket, project.account, "eu-west-2")
    script_bucket.upload_scripts(s3, script_bucket.FOLDER, project.bucket, "one", project.account)
    uris = script_bucket.get_script_uris(ROOT / "bootstrap", project.bucket, "one")
    return render_configuration(**uris, BOOTSTRAP_BUCKET=project.bucket)


def check(project, config):
    FILE.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    preflight.check_configuration(cluster_config.load(FILE), FILE, "one", "eu-west-2", project.s3)


def test_complete_configuration_passes(project, config):
    check(project, config)


def test_node_without_access_to_its_scripts_is_named(project, config):
    config["Scheduling"]["SlurmQueues"][0]["Iam"]["S3Access"] = []
    config["HeadNode"]["Iam"]["S3Access"][0]["BucketName"] = "other"
    with pytest.raises(ClusterError) as error:
        check(project, config)
    assert "the head node may not read s3://" in str(error.value)
    assert "queue queue1 may not read s3://" in str(error.value)


def test_sequence_of_scripts_is_checked(project, config):
    config["HeadNode"]["CustomActions"]["OnNodeConfigured"] = {"Sequence": [{"Script": "s3://other/x.sh"}]}
    with pytest.raises(ClusterError, match="may not read s3://other/x.sh"):
        check(project, config)


def test_missing_script_is_named(project, config):
    uri = config["HeadNode"]["CustomActions"]["OnNodeStart"]["Script"]
    project.s3.delete_object(Bucket=project.bucket, Key=uri.split("/", 3)[3])
    with pytest.raises(ClusterError, match=uri):
        check(project, config)


@pytest.mark.parametrize("text", ["", "- 1", "a: ["])
def test_file_without_configuration_is_refused(project, text):
    with pytest.raises(ClusterError, match=r"config.yml"):
        check(project, text)


def test_configuration_of_another_region_is_refused(project, config):
    config["Region"] = "us-east-1"
    with pytest.raises(
        ClusterError, match='Region in config.yml is "us-east-1", but this command is for eu-west-2'
    ):
        check(project, config)


def test_missing_configuration_names_the_next_step(project):
    with pytest.raises(ClusterError, match="invoke render"):
        preflight.check_configuration(cluster_config.load(FILE), FILE, "one", "eu-west-2", project.s3)


def make_boot_script_config(**changed):
    """Return a configuration that runs the scripts of bootstrap/, with changed values."""
    uris = {
        "CUSTOM_BOOT_ACTION_START": "s3://bucket/one/on_node_start_ubuntu-71ab825ad3c1.sh",
        "CUSTOM_BOOT_ACTION_CONFIGURED": "s3://bucket/one/on_node_configured_ubuntu-68ca094d67f3.sh",
    }
    return render_configuration(**uris) | changed


def list_faults(tree):
    return boot_checks.list_faults(cluster_config.parse(tree))


@pytest.mark.parametrize("system", ["alinux2023", "rhel9", "rocky9"])
def test_system_without_apt_is_refused(system):
    [fault] = list_faults(make_boot_script_config(Image={"Os": system}))
    assert f'Image / Os is "{system}". The boot scripts need apt' in fault
    assert list_faults(make_boot_script_config(Image={"Os": "ubuntu2204"})) == []
    assert list_faults(render_configuration() | {"Image": {"Os": system}}) == []  # scripts of the user


@pytest.mark.parametrize("section", ["Database", "ExternalSlurmdbd"])
def test_accounting_section_is_refused(section):
    tree = make_boot_script_config()
    tree["Scheduling"]["SlurmSettings"][section] = {"Uri": "db.example.org"}
    [fault] = list_faults(tree)
    assert f"{section}: the boot script sets up accounting itself" in fault


def make_login_pool(tree, **iam):
    pool = {"Name": "login", "CustomActions": tree["Scheduling"]["SlurmQueues"][0]["CustomActions"]}
    return tree | {"LoginNodes": {"Pools": [pool | ({"Iam": iam} if iam else {})]}}


def test_login_pool_needs_a_policy_for_its_scripts():
    tree = make_boot_script_config()
    faults = list_faults(make_login_pool(tree))
    assert len(faults) == 2
    assert all(fault.startswith("login pool login may not read s3://bucket/one/on_node_") for fault in faults)
    assert all("add a policy for the bucket to Iam / AdditionalIamPolicies" in fault for fault in faults)
    policy = {"Policy": "arn:aws:iam::123456789012:policy/read-scripts"}
    assert list_faults(make_login_pool(tree, AdditionalIamPolicies=[policy])) == []
    assert list_faults(make_login_pool(tree, InstanceRole="arn:aws:iam::123456789012:role/login")) == []


def test_all_faults_are_in_one_list(project):
    tree = make_login_pool(make_boot_script_config(Image={"Os": "rocky9"}))
    tree["Scheduling"]["SlurmSettings"]["Database"] = {}
    tree["Region"] = "eu-west-2"
    with pytest.raises(ClusterError) as error:
        check(project, tree)
    lines = str(error.value).split("\n")
    assert lines[0] == "config.yml:"
    for part in "rocky9", "Database", "login pool login may not read", "does not exist":
        assert any(part in line for line in lines[1:])


def test_queue_without_boot_scripts_and_own_groups_are_warned_of():
    tree = make_boot_script_config()
    assert boot_checks.list_warnings(cluster_config.parse(tree)) == []
    del tree["Scheduling"]["SlurmQueues"][0]["CustomActions"]
    tree["HeadNode"]["Networking"]["SecurityGroups"] = ["sg-0123456789abcdef0"]
    no_podman, own_security_groups = boot_checks.list_warnings(cluster_config.parse(tree))
    assert no_podman == "queue queue1 does not run the boot scripts. Its nodes have no Podman."
    assert "SecurityGroups of its own" in own_security_groups


def test_storage_and_private_subnet_are_warned_of(project, network):
    tree = render_configuration(PUBLIC_SUBNET=network["private"], PRIVATE_SUBNET=network["private"])
    tree["SharedStorage"][0]["StorageType"] = "Ebs"
    FILE.write_text(yaml.safe_dump(tree))
    private, storage = preflight.list_all_warnings(project, cluster_config.load(FILE))
    assert f"{network['private']}, has no route to an internet gateway" in private
    assert storage.startswith("/shared of pcluster-ubuntu is on Ebs. A UQLE machine can only mount EFS.")
    FILE.write_text(yaml.safe_dump(render_configuration(PUBLIC_SUBNET=network["public"])))
    assert preflight.list_all_warnings(project, cluster_config.load(FILE)) == []


def test_login_pool_that_everybody_reaches_is_warned_of():
    tree = make_login_pool(make_boot_script_config())
    assert boot_checks.list_warnings(cluster_config.parse(tree)) == []  # as the head node
    tree["LoginNodes"]["Pools"][0]["Ssh"] = {"AllowedIps": "0.0.0.0/0"}
    [warning] = boot_checks.list_warnings(cluster_config.parse(tree))
    assert warning.startswith("login pool login: AllowedIps, 0.0.0.0/0, is all or much of the internet.")


def test_own_groups_make_the_storage_unimportant(project, network):
    tree = render_configuration(PUBLIC_SUBNET=network["public"]) | {"SharedStorage": []}
    FILE.write_text(yaml.safe_dump(tree))
    [storage] = preflight.list_all_warnings(project, cluster_config.load(FILE))
    assert storage.endswith("Without the shared files, `invoke connect-uqle --no-shared` works.")
    tree["HeadNode"]["Networking"]["SecurityGroups"] = ["sg-0123456789abcdef0"]
    FILE.write_text(yaml.safe_dump(tree))
    [own_security_groups] = preflight.list_all_warnings(project, cluster_config.load(FILE))
    assert "SecurityGroups of its own" in own_security_groups


@pytest.mark.parametrize("scheduler", ["awsbatch", "plugin"])
def test_boot_scripts_need_slurm(scheduler):
    tree = make_boot_script_config()
    tree["Scheduling"]["Scheduler"] = scheduler
    [fault] = list_faults(tree)
    assert f'Scheduling / Scheduler is "{scheduler}". The boot scripts need Slurm' in fault
    del tree["HeadNode"]["CustomActions"]
    assert list_faults(tree) == []  # no boot script fails
    [warning] = boot_checks.list_warnings(cluster_config.parse(tree))
    assert f'one: Scheduling / Scheduler is "{scheduler}", not slurm.' in warning


def test_cluster_without_rest_api_is_warned_of():
    tree = make_boot_script_config()
    del tree["HeadNode"]["CustomActions"]["OnNodeConfigured"]
    [scripts] = boot_checks.list_warnings(cluster_config.parse(tree))
    assert scripts.startswith("No REST API on port 8082")
    assert "the head node does not run both boot scripts. " in scripts
    tree = make_boot_script_config()
    settings = tree["Scheduling"]["SlurmSettings"]
    settings["CustomSlurmSettings"] = [{"authalttypes": "auth/jwt"}]
    assert boot_checks.list_warnings(cluster_config.parse(tree)) == []
    del settings["CustomSlurmSettings"]
    [tokens] = boot_checks.list_warnings(cluster_config.parse(tree))
    assert "one: CustomSlurmSettings has no AuthAltTypes: auth/jwt. `invoke render`" in tokens
    settings["CustomSlurmSettingsIncludeFile"] = "s3://bucket/slurm.conf"  # may contain AuthAltTypes
    assert boot_checks.list_warnings(cluster_config.parse(tree)) == []
    assert boot_checks.list_warnings(cluster_config.parse(render_configuration())) == []  # copies
    [both] = boot_checks.list_warnings(cluster_config.parse(yaml.safe_load(small_cluster.CONFIG)))
    assert "both boot scripts, and CustomSlurmSettings has no" in both
