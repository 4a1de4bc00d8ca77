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


def test_names_carry_the_cluster_and_the_region(project):
    assert project.secret == "pcluster-ubuntu-eu-west-2-slurm-jwt-key"
    assert project.policy.endswith(":policy/parallelcluster/pcluster-ubuntu-eu-west-2-read-slurm-jwt-key")


def test_the_key_is_43_characters_that_need_no_quoting(manager, project):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", jwt_secret.read_key(manager, project.secret))


def test_a_key_that_stands_is_not_made_again(manager, project):
    arn, new = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    assert new
    assert jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu") == (arn, False)
    assert jwt_secret.read_key(manager, project.secret) == key


def test_a_secret_that_is_to_be_deleted_comes_back_with_another_key(manager, iam, project):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    old = jwt_secret.read_key(manager, project.secret)
    jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy)
    assert jwt_secret.find_secret_arn(manager, project.secret) is None
    arn, new = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    assert new
    assert jwt_secret.find_secret_arn(manager, project.secret) == arn
    assert jwt_secret.read_key(manager, project.secret) != old


def test_a_secret_that_somebody_else_scheduled_for_deletion_comes_back_with_its_key(manager, project):
    arn, _ = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    manager.delete_secret(SecretId=project.secret, RecoveryWindowInDays=7)
    assert jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu") == (arn, False)
    assert jwt_secret.read_key(manager, project.secret) == key


@pytest.mark.parametrize("cut_at", [1, 2])
def test_an_answer_that_is_cut_off_never_leads_to_another_key(cut_at, manager, project, invoke):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    with faults.inject(
        faults.use_in_turn(*[faults.truncate_response] * cut_at), then=None, only="DescribeSecret"
    ) as injection:
        answer = invoke("create-jwt-key")
    assert injection.failed_calls
    assert answer.returncode == 0, answer.printed
    assert jwt_secret.read_key(manager, project.secret) == key


def test_answers_that_are_all_cut_off_are_a_sentence_and_leave_the_key(manager, project, invoke):
    jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    key = jwt_secret.read_key(manager, project.secret)
    for task in ("create-jwt-key", "fill-parameters --ssh-from 203.0.113.7/32", "status"):
        with faults.inject(faults.truncate_response, then=faults.truncate_response, only="DescribeSecret"):
            assert invoke(*task.split()).returncode == 1
    assert jwt_secret.read_key(manager, project.secret) == key


def test_a_new_secret_whose_answer_is_cut_off_is_created_once(manager, project, invoke):
    with faults.inject(faults.truncate_response, only="CreateSecret"):
        assert invoke("create-jwt-key").returncode == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", jwt_secret.read_key(manager, project.secret))


def test_the_policy_allows_to_read_that_one_secret_and_nothing_else(manager, iam, project):
    arn, _ = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    assert jwt_secret.ensure_policy(iam, project.policy, arn)
    assert not jwt_secret.ensure_policy(iam, project.policy, arn)
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}
    assert document(iam, project.policy) == {"Version": "2012-10-17", "Statement": [statement]}


def test_a_policy_that_somebody_widened_is_put_right_however_often(iam, project):
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


def test_an_arn_of_our_own_secret_is_told_from_others(project):
    arn = f"arn:aws:secretsmanager:eu-west-2:123456789012:secret:{project.secret}"
    assert jwt_secret.is_cluster_secret(f"{arn}-AbCdEf", project.secret)
    assert not jwt_secret.is_cluster_secret(f"{arn}-two-AbCdEf", project.secret)
    assert not jwt_secret.is_cluster_secret(
        "arn:aws:secretsmanager:eu-west-2:123456789012:secret:mine-AbCdEf", project.secret
    )
    assert not jwt_secret.is_cluster_secret("k" * 43, project.secret)


def test_removing_twice_does_no_harm(manager, iam, project):
    arn, _ = jwt_secret.ensure_secret(manager, project.secret, "pcluster-ubuntu")
    jwt_secret.ensure_policy(iam, project.policy, arn)
    assert len(jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy)) == 2
    assert jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy) == []


def test_a_policy_that_a_role_still_has_is_named(manager, iam, project):
    jwt_secret.ensure_policy(iam, project.policy, "arn:aws:secretsmanager:eu-west-2:123456789012:secret:x")
    iam.create_role(RoleName="other", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="other", PolicyArn=project.policy)
    with pytest.raises(ClusterError, match="still attached to a role"):
        jwt_secret.delete_secret_and_policy(manager, iam, project.secret, project.policy)


def test_reading_a_key_that_is_not_there_says_what_to_do(manager, project):
    with pytest.raises(ClusterError, match="invoke create-jwt-key"):
        jwt_secret.read_key(manager, project.secret)
