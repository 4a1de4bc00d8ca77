import json
import re

import pytest

from sandbox import faults
from slurm_cluster.aws import jwt_secret
from slurm_cluster.errors import ClusterError


@pytest.fixture
def manager(project):
    return project.secretsmanager


@pytest.fixture
def iam(project):
    return project.iam


def document(iam, arn):
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def test_names_contain_cluster_and_region(project):
    assert project.secret == "pcluster-ubuntu-eu-west-2-slurm-jwt-key"
    assert project.policy.endswith(":policy/parallelcluster/pcluster-ubuntu-eu-west-2-read-slurm-jwt-key")


def test_key_is_43_safe_characters(manager, project):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", jwt_secret.read_key(manager, project.secret))


def test_existing_key_is_kept(manager, project):
    arn, new = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    assert new
    assert jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu") == (arn, False)
    assert jwt_secret.read_key(manager, project.secret) == key


def test_deleted_secret_is_restored_with_a_new_key(manager, iam, project):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    old = jwt_secret.read_key(manager, project.secret)
    jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy)
    assert jwt_secret.find_secret_arn(manager, project.secret) is None
    arn, new = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    assert new
    assert jwt_secret.find_secret_arn(manager, project.secret) == arn
    assert jwt_secret.read_key(manager, project.secret) != old


def test_secret_deleted_by_others_is_restored_with_its_key(manager, project):
    arn, _ = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    manager.delete_secret(SecretId=project.secret, RecoveryWindowInDays=7)
    assert jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu") == (arn, False)
    assert jwt_secret.read_key(manager, project.secret) == key


@pytest.mark.parametrize("cut_at", [1, 2])
def test_truncated_answer_keeps_the_key(cut_at, manager, project, invoke):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    with faults.inject(
        faults.use_in_turn(*[faults.truncate_response] * cut_at), then=None, only="DescribeSecret"
    ) as injection:
        answer = invoke("create-jwt-key")
    assert injection.failed_calls
    assert answer.returncode == 0, answer.printed
    assert jwt_secret.read_key(manager, project.secret) == key


def test_repeated_truncated_answers_are_reported(manager, project, invoke):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    for task in ("create-jwt-key", "fill-parameters --ssh-from 203.0.113.7/32", "status"):
        with faults.inject(faults.truncate_response, then=faults.truncate_response, only="DescribeSecret"):
            assert invoke(*task.split()).returncode == 1
    assert jwt_secret.read_key(manager, project.secret) == key


def test_truncated_answer_to_create_secret_creates_one_key(manager, project, invoke):
    with faults.inject(faults.truncate_response, only="CreateSecret"):
        assert invoke("create-jwt-key").returncode == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", jwt_secret.read_key(manager, project.secret))


def test_policy_allows_reading_this_secret_only(manager, iam, project):
    arn, _ = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    assert jwt_secret.ensure_policy(iam, project.policy, arn)
    assert not jwt_secret.ensure_policy(iam, project.policy, arn)
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}
    assert document(iam, project.policy) == {"Version": "2012-10-17", "Statement": [statement]}


def test_changed_policy_is_corrected_every_time(iam, project):
    jwt_secret.ensure_policy(
        iam, project.policy, "arn:aws:secretsmanager:eu-west-2:123456789012:secret:right"
    )
    for _ in range(6):
        wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.create_policy_version(
            PolicyArn=project.policy, PolicyDocument=json.dumps(wide), SetAsDefault=True
        )
        jwt_secret.ensure_policy(
            iam, project.policy, "arn:aws:secretsmanager:eu-west-2:123456789012:secret:right"
        )
        assert document(iam, project.policy)["Statement"][0]["Resource"].endswith(":right")


def test_own_secret_is_recognized_by_its_arn(project):
    arn = f"arn:aws:secretsmanager:eu-west-2:123456789012:secret:{project.secret}"
    assert jwt_secret.is_cluster_secret(f"{arn}-AbCdEf", project.secret)
    assert not jwt_secret.is_cluster_secret(f"{arn}-two-AbCdEf", project.secret)
    assert not jwt_secret.is_cluster_secret(
        "arn:aws:secretsmanager:eu-west-2:123456789012:secret:mine-AbCdEf", project.secret
    )
    assert not jwt_secret.is_cluster_secret("k" * 43, project.secret)


def test_deleting_twice_is_harmless(manager, iam, project):
    arn, _ = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    jwt_secret.ensure_policy(iam, project.policy, arn)
    assert len(jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy)) == 2
    assert jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy) == []


def test_attached_policy_is_reported(manager, iam, project):
    jwt_secret.ensure_policy(iam, project.policy, "arn:aws:secretsmanager:eu-west-2:123456789012:secret:x")
    iam.create_role(RoleName="other", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="other", PolicyArn=project.policy)
    with pytest.raises(ClusterError, match="still attached to a role"):
        jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy)


def test_missing_secret_names_the_next_step(manager, project):
    with pytest.raises(ClusterError, match="invoke create-jwt-key"):
        jwt_secret.read_key(manager, project.secret)
