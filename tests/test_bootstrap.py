import json

import pytest
from moto.s3.models import s3_backends

from sandbox.api_calls import client
from slurm_cluster.aws import script_bucket
from slurm_cluster.errors import ClusterError

ACCOUNT = "123456789012"
BUCKET = script_bucket.get_bucket_name(ACCOUNT, "eu-west-2")


@pytest.fixture
def s3(project):
    return project.s3


@pytest.fixture
def folder(tmp_path):
    for script in script_bucket.SCRIPTS.values():
        (tmp_path / script).write_text("#!/bin/bash\n")
    return tmp_path


def keys(s3):
    return sorted(entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []))


def test_bucket_is_private_encrypted_and_tls_only(s3):
    assert script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")
    assert not script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    [rule] = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    [statement] = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_bucket_is_in_the_clusters_region(account, region):
    s3, bucket = client("s3", region), script_bucket.get_bucket_name(ACCOUNT, region)
    script_bucket.ensure_bucket(s3, bucket, ACCOUNT, region)
    assert (s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1") == region


def test_next_run_completes_the_settings_of_a_killed_one(s3):
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")
    assert s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]


def test_bucket_of_another_account_is_not_written_to(s3):
    s3_backends["999999999999"]["aws"].create_bucket(BUCKET, "eu-west-2")
    with pytest.raises(ClusterError, match="belongs to another account"):
        script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")


def test_script_is_stored_once_by_content_hash(s3, folder):
    script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")
    assert len(script_bucket.upload_scripts(s3, folder, BUCKET, "one", ACCOUNT)) == 2
    assert script_bucket.upload_scripts(s3, folder, BUCKET, "one", ACCOUNT) == []
    (folder / "on_node_start_ubuntu.sh").write_text("#!/bin/bash\ntrue\n")
    [new] = script_bucket.upload_scripts(s3, folder, BUCKET, "one", ACCOUNT)
    assert new == script_bucket.get_script_uris(folder, BUCKET, "one")["CUSTOM_BOOT_ACTION_START"]
    assert len(keys(s3)) == 3
    body = s3.get_object(Bucket=BUCKET, Key=new.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    assert body == (folder / "on_node_start_ubuntu.sh").read_bytes()


def test_missing_objects_are_found_for_s3_uris_only(s3, folder):
    script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")
    [uri] = script_bucket.upload_scripts(s3, folder, BUCKET, "one", ACCOUNT)[:1]
    absent = [f"s3://{BUCKET}/absent.sh", "s3://no-such-bucket-anywhere/x.sh"]
    assert script_bucket.find_missing_objects(s3, [uri, *absent, "https://example.org/x.sh"]) == absent


def test_bucket_is_deleted_with_the_last_clusters_scripts(s3, folder):
    script_bucket.ensure_bucket(s3, BUCKET, ACCOUNT, "eu-west-2")
    script_bucket.upload_scripts(s3, folder, BUCKET, "one", ACCOUNT)
    script_bucket.upload_scripts(s3, folder, BUCKET, "one-more", ACCOUNT)
    script_bucket.delete_scripts(s3, BUCKET, "one", ACCOUNT)
    assert [key.split("/")[0] for key in keys(s3)] == ["one-more", "one-more"]
    assert script_bucket.delete_scripts(s3, BUCKET, "one-more", ACCOUNT)[-1] == f"s3://{BUCKET}"
    assert not script_bucket.bucket_exists(s3, BUCKET, ACCOUNT)
    assert script_bucket.delete_scripts(s3, BUCKET, "one-more", ACCOUNT) == []


def test_old_script_uris_are_replaced_until_the_cluster_exists():
    found = {
        "CUSTOM_BOOT_ACTION_START": "s3://b/one/start-new.sh",
        "BOOTSTRAP_BUCKET": "b",
        "AWS_REGION": "eu-west-2",
    }
    values = {"CUSTOM_BOOT_ACTION_START": "s3://b/one/start-old.sh", "AWS_REGION": "eu-west-2"}
    assert script_bucket.reconcile_script_uris(values, found, "one", cluster_exists=False) == (
        {"AWS_REGION": "eu-west-2"},
        found,
        [],
    )
    kept, late, said = script_bucket.reconcile_script_uris(values, found, "one", cluster_exists=True)
    assert kept == values
    assert "CUSTOM_BOOT_ACTION_START" not in late
    assert said == ["Kept CUSTOM_BOOT_ACTION_START: new boot scripts need a new cluster."]


def test_custom_script_uris_are_recognized():
    own = dict.fromkeys(script_bucket.SCRIPTS, "https://example.org/script.sh")
    assert script_bucket.has_custom_scripts(own, "b")
    assert not script_bucket.has_custom_scripts({}, "b")
    assert not script_bucket.has_custom_scripts(
        own | {"CUSTOM_BOOT_ACTION_START": "s3://b/one/start.sh"}, "b"
    )
