from pathlib import Path

import pytest
import yaml

from slurm_cluster.aws import script_bucket
from slurm_cluster.errors import ClusterError
from slurm_cluster.steps import preflight
from tests.support import ROOT
from tests.support.valid_files import render_configuration

FILE = Path("config.yml")


@pytest.fixture
def config(project):
    """A rendered configuration whose scripts are where it says."""
    s3 = project.s3
    script_bucket.ensure_bucket(s3, project.bucket, project.account, "eu-west-2")
    script_bucket.upload_scripts(s3, script_bucket.FOLDER, project.bucket, "one", project.account)
    uris = script_bucket.get_script_uris(ROOT / "bootstrap", project.bucket, "one")
    return render_configuration(**uris, BOOTSTRAP_BUCKET=project.bucket)


def check(project, config):
    FILE.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    preflight.check_configuration(FILE, "one", "eu-west-2", project.s3)


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
        ClusterError, match='Region in config.yml is "us-east-1", and this command is for eu-west-2'
    ):
        check(project, config)


def test_missing_configuration_names_the_next_step(project):
    with pytest.raises(ClusterError, match="invoke render"):
        preflight.check_configuration(FILE, "one", "eu-west-2", project.s3)
