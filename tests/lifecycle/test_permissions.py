"""The policies allow exactly what the recorded steps need, no less and no more."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from sandbox.api_calls import client
from sandbox.policies import as_list, is_allowed, is_match
from sandbox.record import RecordedCall
from slurm_cluster.aws import permissions
from slurm_cluster.project import Project
from slurm_cluster.views import checks
from tests.support import REGION, ROOT, SETTINGS
from tests.support.recorded_walk import RecordedWalk

pytestmark = pytest.mark.xdist_group("walk")

ACCOUNT = "123456789012"
TASKS, *OTHERS = (json.loads(path.read_text()) for path in permissions.FILES)
PCLUSTER = {"Statement": [statement for policy in OTHERS for statement in policy["Statement"]]}
LIMIT = 6144  # characters of a managed policy, without white space
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
PREFIXES = {"efs": "elasticfilesystem", "service-quotas": "servicequotas"}
ACTIONS = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "lambda:Invoke": "lambda:InvokeFunction",
}
NOBODYS = {("stacks", "ListTables")}  # the sandbox's own calls, which a node would make in AWS
FREE = {"sts:GetCallerIdentity"}  # needs no permission
# The policies that ParallelCluster documents for its users, without AWS Batch, FSx, login nodes and images.
# docs/permissions.md gives the reason for each difference.
# https://github.com/aws/aws-parallelcluster/blob/develop/cloudformation/policies/parallelcluster-policies.yaml
# https://docs.aws.amazon.com/parallelcluster/latest/ug/iam-roles-in-parallelcluster-v3.html#iam-roles-in-parallelcluster-v3-example-user-policies
DOCUMENTED = """
ec2: Describe* AllocateAddress AssociateAddress AttachNetworkInterface AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress
 CreateFleet CreateLaunchTemplate CreateLaunchTemplateVersion CreateNetworkInterface CreatePlacementGroup CreateSecurityGroup
 CreateSnapshot CreateTags CreateVolume DeleteLaunchTemplate DeleteNetworkInterface DeletePlacementGroup DeleteSecurityGroup
 DeleteTags DeleteVolume DisassociateAddress ModifyLaunchTemplate ModifyNetworkInterfaceAttribute ModifyVolume
 ModifyVolumeAttribute ReleaseAddress RevokeSecurityGroupEgress RevokeSecurityGroupIngress RunInstances
 TerminateInstances
dynamodb: DescribeTable ListTagsOfResource CreateTable DeleteTable GetItem PutItem UpdateItem Query TagResource UntagResource
route53: ChangeResourceRecordSets ChangeTagsForResource CreateHostedZone DeleteHostedZone GetChange GetHostedZone
 ListResourceRecordSets ListQueryLoggingConfigs
cloudformation: *
cloudwatch: PutDashboard ListDashboards DeleteDashboards GetDashboard PutMetricAlarm DeleteAlarms DescribeAlarms PutCompositeAlarm
iam: GetRole GetRolePolicy GetPolicy GetInstanceProfile SimulatePrincipalPolicy DeleteServiceLinkedRole CreateInstanceProfile DeleteInstanceProfile AddRoleToInstanceProfile
 RemoveRoleFromInstanceProfile PassRole CreateRole DeleteRole TagRole UntagRole PutRolePolicy DeleteRolePolicy AttachRolePolicy
 DetachRolePolicy
lambda: CreateFunction TagResource DeleteFunction GetFunctionConfiguration GetFunction InvokeFunction AddPermission
 RemovePermission UpdateFunctionConfiguration ListTags UntagResource
s3: *
elasticfilesystem: *
logs: DeleteLogGroup PutRetentionPolicy DescribeLogGroups CreateLogGroup TagResource UntagResource FilterLogEvents GetLogEvents
 CreateExportTask DescribeLogStreams DescribeExportTasks DescribeMetricFilters PutMetricFilter DeleteMetricFilter
 ListTagsForResource
resource-groups: ListGroupResources GetGroupConfiguration
"""


class Need(NamedTuple):
    """One permission that a call needs."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


KINDS = {
    "i": "instance",
    "sg": "security-group",
    "vol": "volume",
    "vpc": "vpc",
    "subnet": "subnet",
    "eni": "network-interface",
}


def list_needs(call: RecordedCall, tags: dict[str, dict[str, str]]) -> Iterator[Need]:
    """Return the permissions that a call needs, with their resources."""
    given, service = call.arguments, PREFIXES.get(call.service, call.service)
    action = ACTIONS.get(f"{service}:{call.operation}", f"{service}:{call.operation}")
    if action == "s3:GetObject" and "VersionId" in given:
        action = "s3:GetObjectVersion"
    if call.operation == "RunInstances" and "LaunchTemplate" not in given:
        yield from list_launch_needs(given)
        return
    ids = (
        re.findall(r"'((?:i|sg|vol|vpc)-[0-9a-f]{8,17})'", str(given))
        if service == "ec2" and "Describe" not in action
        else []
    )
    for identifier in ids[:1]:
        resource = f"arn:aws:ec2:{REGION}:{ACCOUNT}:{KINDS[identifier.split('-')[0]]}/{identifier}"
        context = {f"aws:ResourceTag/{key}": value for key, value in tags.get(identifier, {}).items()}
        yield Need(action, resource, tuple(context.items()))
    if not ids:
        yield Need(action, build_arn(service, given), build_context(given))
    if call.operation == "CreateSecret":
        yield Need("secretsmanager:TagResource", build_arn(service, given))


def list_launch_needs(given: dict) -> Iterator[Need]:
    """Return the permissions that a launch needs for its resources and tags."""
    asked = {
        each["ResourceType"]: {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        for each in given.get("TagSpecifications", [])
    }
    for kind in ("instance", "volume"):
        context = {f"aws:RequestTag/{key}": value for key, value in asked.get(kind, {}).items()}
        yield Need("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/*", tuple(context.items()))
        launch = (("ec2:CreateAction", "RunInstances"),)
        yield Need("ec2:CreateTags", f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/*", launch)
    for kind in ("key-pair", "network-interface", "security-group", "subnet"):
        yield Need("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/x")
    yield Need("ec2:RunInstances", f"arn:aws:ec2:{REGION}::image/x")
    if "IamInstanceProfile" in given:
        yield Need(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/parallelcluster/x",
            (("iam:PassedToService", "ec2.amazonaws.com"),),
        )


def build_context(given: dict) -> tuple[tuple[str, str], ...]:
    """Return the condition keys that a call's arguments set."""
    return (("iam:PolicyARN", given["PolicyArn"]),) if "RoleName" in given and "PolicyArn" in given else ()


def build_arn(service: str, given: dict) -> str:
    """Return the ARN of a call's resource, or *."""

    def first(*names: str) -> str:
        return next((str(given[name]) for name in names if given.get(name)), "")

    here = f"{REGION}:{ACCOUNT}"
    if service == "s3" and first("Bucket"):
        return f"arn:aws:s3:::{first('Bucket')}" + (f"/{first('Key')}" if first("Key") else "")
    if service == "secretsmanager" and first("SecretId", "Name"):
        name = first("SecretId", "Name")
        return name if name.startswith("arn:") else f"arn:aws:secretsmanager:{here}:secret:{name}-AbCdEf"
    if service == "iam" and first("RoleName"):
        return f"arn:aws:iam::{ACCOUNT}:role/parallelcluster/{first('RoleName')}"
    if service == "iam" and first("InstanceProfileName"):
        return f"arn:aws:iam::{ACCOUNT}:instance-profile/parallelcluster/{first('InstanceProfileName')}"
    if service == "iam" and first("PolicyName"):
        return f"arn:aws:iam::{ACCOUNT}:policy{first('Path') or '/'}{first('PolicyName')}"
    if service == "iam" and first("PolicyArn"):
        return first("PolicyArn")
    if service == "cloudformation" and first("StackName"):
        name = first("StackName")
        return name if name.startswith("arn:") else f"arn:aws:cloudformation:{here}:stack/{name}/x"
    names = {
        "logs": ("log-group:", first("logGroupName")),
        "dynamodb": ("table/", first("TableName")),
        "lambda": ("function:", first("FunctionName").rpartition(":")[2]),
        "ssm": ("parameter", first("Name")),
        "ec2": ("key-pair/", first("KeyName")),
    }
    kind, name = names.get(service, ("", ""))
    if service == "cloudwatch" and (given.get("AlarmName") or given.get("AlarmNames")):
        kind, name = "alarm:", first("AlarmName") or given["AlarmNames"][0]
    if service == "cloudwatch" and first("DashboardName"):
        return f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{first('DashboardName')}"
    if service == "elasticfilesystem" and not given.get("FileSystemId"):
        return f"arn:aws:elasticfilesystem:{here}:file-system/x"
    return f"arn:aws:{service}:{REGION}:{'' if service == 'ssm' else ACCOUNT}:{kind}{name}" if name else "*"


def list_task_needs(walk: RecordedWalk) -> set[Need]:
    return {
        need
        for call in walk.calls
        if "app/slurm-cluster" in call.user_agent
        for need in list_needs(call, walk.tags)
    }


def list_pcluster_needs(walk: RecordedWalk) -> set[Need]:
    """Return what pcluster needs, and what CloudFormation needs on behalf of its caller."""
    others = [call for call in walk.calls if "app/slurm-cluster" not in call.user_agent]
    return {
        need
        for call in others
        if (call.source, call.operation) not in NOBODYS
        for need in list_needs(call, walk.tags)
    }


def find_denied(asked: set[Need], *policies: dict) -> list[Need]:
    """Return the permissions that the policies do not allow."""
    return sorted(
        n
        for n in asked
        if n.action not in FREE and not is_allowed(policies, n.action, n.resource, dict(n.context))
    )


def list_actions(policy: dict) -> set[str]:
    return {action for statement in policy["Statement"] for action in as_list(statement["Action"])}


def test_tasks_policy_allows_every_call(walk):
    assert find_denied(list_task_needs(walk), TASKS) == []


def test_tasks_policy_allows_nothing_else(walk):
    called = {need.action for need in list_task_needs(walk)}
    assert (
        sorted(action for action in list_actions(TASKS) if not any(is_match(action, each) for each in called))
        == []
    )


def test_each_statement_of_the_tasks_policy_is_needed(walk):
    asked = list_task_needs(walk)
    for statement in TASKS["Statement"]:
        others = {**TASKS, "Statement": [each for each in TASKS["Statement"] if each is not statement]}
        assert find_denied(asked, others), statement["Sid"]


def test_all_policies_allow_every_call_of_pcluster(walk):
    assert find_denied(list_pcluster_needs(walk), TASKS, PCLUSTER) == []


def test_differences_from_parallelclusters_policies_are_documented():
    services = re.findall(r"^([a-z0-9-]+):((?:[ \w*]|\n )+)", DOCUMENTED, re.MULTILINE)
    theirs = {f"{service}:{name}" for service, names in services for name in names.split()}
    ours = list_actions(PCLUSTER)
    added = {action for action in ours if not any(is_match(pattern, action) for pattern in theirs)}
    left_out = {action for action in theirs if not any(is_match(pattern, action) for pattern in ours)}
    document = (ROOT / "docs" / "permissions.md").read_text()
    rows = re.findall(r"^\| (\+|-) \| (.+?) \|", document, re.MULTILINE)
    listed = {
        sign: {action for mark, cell in rows if mark == sign for action in re.findall(r"`(\S+)`", cell)}
        for sign in "+-"
    }
    assert listed == {"+": added, "-": left_out - {"cloudformation:*"}}


def test_only_a_launch_may_tag_instances():
    """Otherwise any instance could get the cluster's tag, and then be terminated."""
    instance = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0"
    assert not is_allowed([TASKS], "ec2:CreateTags", instance, {})
    assert not is_allowed([TASKS], "ec2:CreateTags", instance, {"ec2:CreateAction": "CreateVolume"})
    assert is_allowed([TASKS], "ec2:CreateTags", instance, {"ec2:CreateAction": "RunInstances"})
    group = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/sg-0123456789abcdef0"
    assert not is_allowed([TASKS], "ec2:CreateTags", group, {})


@pytest.mark.parametrize("path", sorted(permissions.IAM.iterdir()))
def test_policies_are_valid(path):
    policy = json.loads(path.read_text())
    longest = permissions.load_policy(path, permissions.PolicyScope("x" * 40, "us-gov-west-1", ACCOUNT))
    assert len(json.dumps(longest, separators=(",", ":"))) <= LIMIT
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)


def test_changes_are_restricted_to_the_clusters_names_or_tags():
    free = {
        *("Look", "KeyPair", "TagLaunch", "ClaimNetwork", "LaunchWith", "UbuntusImage", "ScriptsBucket"),
        "NetworksStack",
    }
    for statement in TASKS["Statement"]:
        assert statement["Sid"] in free or "pcluster-ubuntu" in json.dumps(statement), statement["Sid"]


# --- The permissions boundary -------------------------------------------------------------------------------

BOUNDARY = json.loads((permissions.IAM / "permissions-boundary.json").read_text())
BOUNDARY_ARN = f"arn:aws:iam::{ACCOUNT}:policy/slurm-cluster-boundary"


def test_boundary_allows_what_the_roles_of_a_cluster_do(walk):
    documents = [
        document
        for template in walk.templates.values()
        for resource in template["Resources"].values()
        for blocker in [resource.get("Properties", {}), *resource.get("Properties", {}).get("Policies", [])]
        if (document := blocker.get("PolicyDocument"))
    ]
    granted = {action for document in documents for action in list_actions(document)}
    assert {"iam:PassRole", "ec2:CreateFleet"} <= granted
    role = f"arn:aws:iam::{ACCOUNT}:role/parallelcluster/pcluster-ubuntu/x"
    assert [
        action for action in granted if not is_allowed([BOUNDARY], action.replace("*", "x"), role, {})
    ] == []


def test_boundary_keeps_roles_from_becoming_administrators():
    admin = f"arn:aws:iam::{ACCOUNT}:role/admin"
    for action in (
        "CreateRole",
        "PutRolePolicy",
        "AttachUserPolicy",
        "CreateAccessKey",
        "DeleteRolePermissionsBoundary",
    ):
        assert not is_allowed([BOUNDARY], f"iam:{action}", admin, {})
    for action in ("iam:PassRole", "sts:AssumeRole"):
        assert not is_allowed([BOUNDARY], action, admin, {})


def test_conditions_in_the_documentation_require_the_boundary():
    """The program in docs/permissions.md changes the policy so that each role needs the boundary."""
    document = (ROOT / "docs" / "permissions.md").read_text()
    [program] = re.findall(r"^python3 - .*<<'END'[^\n]*\n(.*?)^END", document, re.MULTILINE | re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["-", BOUNDARY_ARN, str(permissions.IAM / "permissions-iam.json")])
        exec(program, {})  # noqa: S102 - ours
    policy = json.loads(printed.getvalue())
    role, other = f"arn:aws:iam::{ACCOUNT}:role/parallelcluster/x", f"{BOUNDARY_ARN}2"
    managed = {"iam:PolicyARN": "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
    for action, context in [
        ("iam:CreateRole", {}),
        ("iam:PutRolePolicy", {}),
        ("iam:DeleteRolePolicy", {}),
        ("iam:AttachRolePolicy", managed),
        ("iam:DetachRolePolicy", managed),
    ]:
        assert is_allowed([policy], action, role, {**context, "iam:PermissionsBoundary": BOUNDARY_ARN}), (
            action
        )
        assert not is_allowed([policy], action, role, {**context, "iam:PermissionsBoundary": other}), action
        assert not is_allowed([policy], action, role, context), action


# --- check --------------------------------------------------------------------------------------------------


@pytest.fixture
def person(account, own_session, monkeypatch):
    """A user with an access key and without permissions."""
    iam = client("iam", REGION)
    iam.create_user(UserName="person")
    key = iam.create_access_key(UserName="person")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    return iam


def list_results(**settings):
    return [(check.result, check.detail) for check in checks.check_permissions(Project(SETTINGS | settings))]


def test_user_with_all_policies_lacks_nothing(person):
    for path in permissions.FILES:
        arn = person.create_policy(PolicyName=path.stem, PolicyDocument=path.read_text())["Policy"]["Arn"]
        person.attach_user_policy(UserName="person", PolicyArn=arn)
    assert list_results() == [
        ("PASS", "everything in iam/permissions.json is allowed"),
        ("PASS", "everything in iam/permissions-pcluster.json is allowed"),
        ("PASS", "everything in iam/permissions-iam.json is allowed"),
    ]
    # The policies are for one cluster; only the names of roles do not contain its name.
    assert [result for result, _ in list_results(cluster_name="second")] == ["WARN", "WARN", "PASS"]


def test_missing_actions_are_named(person):
    lacking = json.loads((ROOT / "iam" / "permissions.json").read_text())
    lacking["Statement"] = [each for each in lacking["Statement"] if each["Sid"] != "Scripts"]
    person.put_user_policy(UserName="person", PolicyName="some", PolicyDocument=json.dumps(lacking))
    missing = "s3:DeleteObject, s3:GetObject, s3:PutObject"
    assert list_results()[0] == (
        "WARN",
        f"no permission for {missing}; iam/permissions.json lists what is needed",
    )


def test_unreadable_permissions_are_unknown(account):
    assert [result for result, _ in list_results()] == ["UNKNOWN"] * 3


def test_assumed_role_is_checked_as_its_role():
    assert (
        permissions.get_principal_arn("arn:aws:sts::123456789012:assumed-role/Admin/me")
        == "arn:aws:iam::123456789012:role/Admin"
    )
    assert (
        permissions.get_principal_arn("arn:aws:iam::123456789012:user/me")
        == "arn:aws:iam::123456789012:user/me"
    )
