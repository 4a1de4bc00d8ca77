"""The policies allow what CloudFormation does with each resource of the recorded templates.

CloudFormation acts with the permissions of the user who creates the stack. moto creates most resources of a stack
without a recorded call, so the tests read the needs from the templates: their types, names and properties.
"""

import json
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sandbox.policies import as_list, is_allowed, is_match
from slurm_cluster.aws import permissions
from tests.support import REGION

pytestmark = pytest.mark.xdist_group("walk")

ACCOUNT = "123456789012"
POLICIES = [json.loads(path.read_text()) for path in permissions.FILES]
# AWS's schemas of its resource types list the actions of each handler. cfn-lint contains a copy of them.
SCHEMAS = Path(*find_spec("cfnlint").submodule_search_locations, "data", "schemas")
REFERENCE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_"

# Why an action of a handler is not needed.
PROPERTY = "for a property that the templates do not have"
UPDATE = "for an update that neither the tasks nor pcluster make"
OPTIONAL = "ParallelCluster's documented policies do without it"


class Row(NamedTuple):
    """The permissions that a resource type needs.

    Args:
        document: AWS's list of the service's actions, below REFERENCE.
        arn: the resource's ARN. {Name} is the value of a property, or the name that CloudFormation generates.
        create, tag, read, update, delete: the actions.
        unused: patterns of actions in AWS's schema that are not needed, by the reason.
    """

    document: str
    arn: str
    create: str = ""
    tag: str = ""
    read: str = ""
    update: str = ""
    delete: str = ""
    unused: dict[str, str] = {}  # noqa: RUF012 - never changed

    def list_actions(self) -> list[str]:
        return " ".join([self.create, self.tag, self.read, self.update, self.delete]).split()


def make_ec2_row(
    kind: str, create: str, read: str, delete: str, tag: str = "ec2:CreateTags ec2:DeleteTags", **others: Any
) -> Row:
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/x-0123456789abcdef0"
    return Row("amazonec2.html", arn, create, tag, read, delete=delete, **others)


def make_alarm_row(create: str) -> Row:
    return Row(
        "amazoncloudwatch.html",
        f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{AlarmName}}",
        create,
        "cloudwatch:TagResource cloudwatch:UntagResource",
        "cloudwatch:DescribeAlarms cloudwatch:ListTagsForResource",
        update=create,
        delete="cloudwatch:DeleteAlarms",
    )


LOG_GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{LogGroupName}}"
TABLE = {
    # --- The wizard's network -------------------------------------------------------------------------------
    "AWS::EC2::InternetGateway": make_ec2_row(
        "internet-gateway",
        "ec2:CreateInternetGateway",
        "ec2:DescribeInternetGateways",
        "ec2:DeleteInternetGateway",
    ),
    "AWS::EC2::VPCGatewayAttachment": make_ec2_row(
        "internet-gateway",
        "ec2:AttachInternetGateway",
        "ec2:DescribeInternetGateways ec2:DescribeVpnGateways",
        "ec2:DetachInternetGateway",
        tag="",
        unused={PROPERTY: "ec2:AttachVpnGateway ec2:DetachVpnGateway"},
    ),
    "AWS::EC2::Subnet": make_ec2_row(
        "subnet",
        "ec2:CreateSubnet ec2:ModifySubnetAttribute",
        "ec2:DescribeSubnets ec2:DescribeNetworkAcls",
        "ec2:DeleteSubnet",
        unused={UPDATE: "ec2:AssociateSubnetCidrBlock ec2:DisassociateSubnetCidrBlock"},
    ),
    "AWS::EC2::EIP": make_ec2_row(
        "elastic-ip",
        "ec2:AllocateAddress",
        "ec2:DescribeAddresses",
        "ec2:ReleaseAddress",
        unused={PROPERTY: "ec2:AcceptAddressTransfer"},
    ),
    "AWS::EC2::NatGateway": make_ec2_row(
        "natgateway",
        "ec2:CreateNatGateway",
        "ec2:DescribeNatGateways",
        "ec2:DeleteNatGateway",
        unused={
            UPDATE: "ec2:AssociateNatGatewayAddress ec2:DisassociateNatGatewayAddress "
            "ec2:AssignPrivateNatGatewayAddress ec2:UnassignPrivateNatGatewayAddress"
        },
    ),
    "AWS::EC2::RouteTable": make_ec2_row(
        "route-table", "ec2:CreateRouteTable", "ec2:DescribeRouteTables", "ec2:DeleteRouteTable"
    ),
    "AWS::EC2::SubnetRouteTableAssociation": make_ec2_row(
        "route-table",
        "ec2:AssociateRouteTable",
        "ec2:DescribeRouteTables",
        "ec2:DisassociateRouteTable",
        tag="",
        unused={UPDATE: "ec2:ReplaceRouteTableAssociation"},
    ),
    "AWS::EC2::Route": make_ec2_row(
        "route-table",
        "ec2:CreateRoute",
        "ec2:DescribeRouteTables ec2:DescribeNetworkInterfaces",
        "ec2:DeleteRoute",
        tag="",
        unused={UPDATE: "ec2:ReplaceRoute"},
    ),
    # --- The cluster ----------------------------------------------------------------------------------------
    "AWS::EC2::EIPAssociation": make_ec2_row(
        "elastic-ip", "ec2:AssociateAddress", "ec2:DescribeAddresses", "ec2:DisassociateAddress", tag=""
    ),
    "AWS::EC2::NetworkInterface": make_ec2_row(
        "network-interface",
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DeleteNetworkInterface",
        update="ec2:ModifyNetworkInterfaceAttribute",
        unused={PROPERTY: "ec2:ModifyPublicIpDnsNameOptions ec2:*assignIpv6Addresses ec2:*ssign*Addresses"},
    ),
    "AWS::EC2::SecurityGroup": make_ec2_row(
        "security-group",
        "ec2:CreateSecurityGroup ec2:AuthorizeSecurityGroupIngress ec2:AuthorizeSecurityGroupEgress",
        "ec2:DescribeSecurityGroups",
        "ec2:DeleteSecurityGroup",
        update="ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress",
        unused={PROPERTY: "ec2:UpdateSecurityGroupRuleDescriptions*"},
    ),
    "AWS::EC2::SecurityGroupIngress": make_ec2_row(
        "security-group",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:DescribeSecurityGroups ec2:DescribeSecurityGroupRules",
        "ec2:RevokeSecurityGroupIngress",
        tag="",
        unused={PROPERTY: "ec2:UpdateSecurityGroupRuleDescriptionsIngress"},
    ),
    "AWS::EC2::SecurityGroupEgress": make_ec2_row(
        "security-group",
        "ec2:AuthorizeSecurityGroupEgress ec2:RevokeSecurityGroupEgress",  # EC2's own rule is removed
        "ec2:DescribeSecurityGroupRules",
        "ec2:RevokeSecurityGroupEgress",
        tag="",
        unused={PROPERTY: "ec2:UpdateSecurityGroupRuleDescriptionsEgress"},
    ),
    "AWS::EC2::LaunchTemplate": make_ec2_row(
        "launch-template",
        "ec2:CreateLaunchTemplate",
        "ec2:DescribeLaunchTemplates ec2:DescribeLaunchTemplateVersions",
        "ec2:DeleteLaunchTemplate",
        update="ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate",
    ),
    "AWS::EC2::Instance": make_ec2_row(
        "instance",
        "ec2:RunInstances",
        "ec2:DescribeInstances ec2:DescribeInstanceAttribute ec2:DescribeVolumes ec2:DescribeNetworkInterfaces",
        "ec2:TerminateInstances",
        unused={
            PROPERTY: "ssm:*Association* ec2:*Volume ec2:*IamInstanceProfile* ec2:ModifyInstanceCreditSpecification "
            "ec2:ModifyPrivateDnsNameOptions ec2:ModifyInstanceMaintenanceOptions",
            UPDATE: "ec2:ModifyInstance* ec2:StartInstances ec2:StopInstances ec2:MonitorInstances "
            "ec2:UnmonitorInstances",
        },
    ),
    "AWS::EFS::FileSystem": Row(
        "amazonelasticfilesystem.html",
        f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/fs-0123456789abcdef0",
        "elasticfilesystem:TagResource elasticfilesystem:PutBackupPolicy",
        "elasticfilesystem:TagResource elasticfilesystem:UntagResource",
        "elasticfilesystem:DescribeFileSystems elasticfilesystem:DescribeBackupPolicy",
        "elasticfilesystem:UpdateFileSystem",
        "elasticfilesystem:DeleteFileSystem",
        # AWS's own key of EFS allows everybody in the account to use it through EFS.
        {PROPERTY: "kms:* iam:PassRole"},
    ),
    "AWS::EFS::MountTarget": Row(
        "amazonelasticfilesystem.html",
        f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/fs-0123456789abcdef0",
        "elasticfilesystem:CreateMountTarget ec2:DescribeSubnets ec2:CreateNetworkInterface",
        read="elasticfilesystem:DescribeMountTargets elasticfilesystem:DescribeMountTargetSecurityGroups",
        update="elasticfilesystem:ModifyMountTargetSecurityGroups",
        delete="elasticfilesystem:DeleteMountTarget ec2:DeleteNetworkInterface",
    ),
    "AWS::DynamoDB::Table": Row(
        "amazondynamodb.html",
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{TableName}}",
        "dynamodb:CreateTable",
        "dynamodb:TagResource dynamodb:UntagResource",
        "dynamodb:DescribeTable dynamodb:DescribeTimeToLive dynamodb:DescribeContinuousBackups "
        "dynamodb:DescribeContributorInsights dynamodb:DescribeKinesisStreamingDestination "
        "dynamodb:ListTagsOfResource",
        delete="dynamodb:DeleteTable",
        unused={
            PROPERTY: "iam:CreateServiceLinkedRole kinesis:* kms:* logs:* s3:* dynamodb:*ResourcePolicy "
            "dynamodb:*Import* dynamodb:*TableReplica dynamodb:*KinesisStreamingDestination "
            "dynamodb:Scan dynamodb:DeleteItem dynamodb:BatchWriteItem "
            "dynamodb:UpdateTimeToLive dynamodb:UpdateContributorInsights dynamodb:UpdateContinuousBackups",
            UPDATE: "dynamodb:UpdateTable",
        },
    ),
    "AWS::Route53::HostedZone": Row(
        "amazonroute53.html",
        "arn:aws:route53:::hostedzone/Z0123456789ABCDEFGHIJ",
        "route53:CreateHostedZone route53:GetChange ec2:DescribeVpcs",
        "route53:ChangeTagsForResource route53:ListTagsForResource",
        "route53:GetHostedZone route53:ListQueryLoggingConfigs",
        delete="route53:DeleteHostedZone",
        unused={
            PROPERTY: "route53:UpdateHostedZone* route53:CreateQueryLoggingConfig route53:DeleteQueryLoggingConfig",
            UPDATE: "route53:AssociateVPCWithHostedZone route53:DisassociateVPCFromHostedZone",
        },
    ),
    "AWS::CloudWatch::Alarm": make_alarm_row("cloudwatch:PutMetricAlarm"),
    "AWS::CloudWatch::CompositeAlarm": make_alarm_row("cloudwatch:PutCompositeAlarm"),
    "AWS::CloudWatch::Dashboard": Row(
        "amazoncloudwatch.html",
        f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{{DashboardName}}",
        "cloudwatch:PutDashboard",
        "cloudwatch:TagResource cloudwatch:UntagResource",
        "cloudwatch:GetDashboard cloudwatch:ListTagsForResource",
        "cloudwatch:PutDashboard",
        "cloudwatch:DeleteDashboards",
    ),
    "AWS::Logs::LogGroup": Row(
        "amazoncloudwatchlogs.html",
        LOG_GROUP,
        "logs:CreateLogGroup",
        "logs:TagResource logs:UntagResource",
        "logs:DescribeLogGroups logs:ListTagsForResource",
        "logs:PutRetentionPolicy",
        "logs:DeleteLogGroup",
        {
            PROPERTY: "firehose:* s3:* logs:*DataProtectionPolicy logs:*ResourcePolic* logs:*IndexPolic* "
            "logs:CreateLogDelivery logs:*KmsKey logs:PutLogGroupDeletionProtection logs:PutBearerTokenAuthentication",
            UPDATE: "logs:DeleteRetentionPolicy",
        },
    ),
    "AWS::Logs::MetricFilter": Row(
        "amazoncloudwatchlogs.html",
        LOG_GROUP,
        "logs:PutMetricFilter",
        read="logs:DescribeMetricFilters",
        update="logs:PutMetricFilter",
        delete="logs:DeleteMetricFilter",
    ),
    "AWS::Lambda::Function": Row(
        "awslambda.html",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{FunctionName}}",
        "lambda:CreateFunction",
        "lambda:TagResource lambda:UntagResource lambda:ListTags",
        "lambda:GetFunction lambda:GetFunctionConfiguration lambda:GetFunctionCodeSigningConfig "
        "lambda:GetFunctionRecursionConfig lambda:GetFunctionScalingConfig lambda:GetRuntimeManagementConfig",
        "lambda:UpdateFunctionConfiguration",
        "lambda:DeleteFunction",
        {
            PROPERTY: "kms:* s3files:* s3:GetObject* lambda:PassCapacityProvider lambda:AssociateRuntimeAlias lambda:Put* "
            "lambda:GetCodeSigningConfig lambda:GetLayerVersion lambda:DeleteFunctionConcurrency lambda:DeleteFunctionCodeSigningConfig",
            UPDATE: "lambda:UpdateFunctionCode lambda:PublishVersion",
        },
    ),
    "AWS::IAM::Role": Row(
        "awsidentityandaccessmanagementiam.html",
        f"arn:aws:iam::{ACCOUNT}:role{{Path}}{{RoleName}}",
        "iam:CreateRole iam:PutRolePolicy",
        "iam:TagRole iam:UntagRole",
        "iam:GetRole iam:GetRolePolicy iam:ListAttachedRolePolicies iam:ListRolePolicies",
        delete="iam:DeleteRole iam:DeleteRolePolicy",
        unused={
            PROPERTY: "iam:*PermissionsBoundary",
            UPDATE: "iam:UpdateRole* iam:UpdateAssumeRolePolicy",
            OPTIONAL: "iam:ListRoleTags",
        },
    ),
    "AWS::IAM::Policy": Row(
        "awsidentityandaccessmanagementiam.html",
        "{Roles}",
        "iam:PutRolePolicy",
        read="iam:GetRolePolicy",
        update="iam:PutRolePolicy",
        delete="iam:DeleteRolePolicy",
        unused={PROPERTY: "iam:*UserPolicy iam:*GroupPolicy"},
    ),
    "AWS::IAM::InstanceProfile": Row(
        "awsidentityandaccessmanagementiam.html",
        f"arn:aws:iam::{ACCOUNT}:instance-profile{{Path}}{{InstanceProfileName}}",
        "iam:CreateInstanceProfile iam:AddRoleToInstanceProfile",
        read="iam:GetInstanceProfile",
        delete="iam:RemoveRoleFromInstanceProfile iam:DeleteInstanceProfile",
    ),
    "AWS::CloudFormation::Stack": Row(
        "awscloudformation.html",
        f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{{StackName}}/01234567-89ab-cdef-0123-456789abcdef",
        "cloudformation:CreateStack",
        "cloudformation:TagResource cloudformation:UntagResource",
        "cloudformation:DescribeStacks cloudformation:DescribeStackEvents cloudformation:GetTemplate",
        "cloudformation:UpdateStack",
        "cloudformation:DeleteStack",
        {PROPERTY: "iam:PassRole cloudformation:SetStackPolicy cloudformation:UpdateTerminationProtection"},
    ),
    # --- Resources within CloudFormation itself ------------------------------------------------------------
    "AWS::CloudFormation::CustomResource": Row(
        "awslambda.html",
        "{ServiceToken}",
        "lambda:InvokeFunction",
        update="lambda:InvokeFunction",
        delete="lambda:InvokeFunction",
    ),
    "AWS::CloudFormation::WaitCondition": Row("awscloudformation.html", "*"),
    "AWS::CloudFormation::WaitConditionHandle": Row("awscloudformation.html", "*"),
}


class Need(NamedTuple):
    """One permission that a resource of a template needs."""

    resource: str
    action: str
    arn: str
    context: tuple[tuple[str, str], ...] = ()


class Template:
    """A template with the name of its stack, which resolves names as CloudFormation does."""

    def __init__(self, stack: str, body: dict[str, Any]) -> None:
        self.stack, self.resources, self.parameters = stack, body["Resources"], body.get("Parameters", {})

    def resolve(self, value: Any) -> Any:
        """Return a property's value, with the ARN of a resource in place of a reference to it."""
        match value:
            case {"Ref": "AWS::StackId"}:
                return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.stack}/01234567-89ab-cdef"
            case {"Ref": str(name)} if name.startswith("AWS::"):
                return {
                    "Region": REGION,
                    "AccountId": ACCOUNT,
                    "Partition": "aws",
                    "URLSuffix": "amazonaws.com",
                }[name[5:]]
            case {"Ref": name} if name in self.parameters:
                return self.parameters[name].get("Default", "x")
            case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
                return self.get_arn(name)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(map(self.resolve, parts))
            case {"Fn::Select": [index, parts]}:
                return self.resolve(parts)[int(index)]
            case {"Fn::Split": [separator, text]}:
                return self.resolve(text).split(separator)
            case [first]:
                return self.resolve(first)
        assert isinstance(value, str), value
        return value

    def get_arn(self, name: str) -> str:
        """Return the ARN of a resource."""
        properties = self.resources[name].get("Properties", {})

        class Values(dict[str, str]):
            def __missing__(values, key: str) -> str:  # noqa: N805
                generated = "/" if key == "Path" else f"{self.stack}-{name}-ABCDEFGHIJKL"
                return self.resolve(properties.get(key, generated))

        return TABLE[self.resources[name]["Type"]].arn.format_map(Values())

    def list_needs(self) -> Iterator[Need]:
        """Return the needs of the resources whose types are in the table."""
        for name, resource in self.resources.items():
            kind, properties = resource["Type"], resource.get("Properties", {})
            if kind not in TABLE:
                continue
            tags = {f"aws:ResourceTag/{tag['Key']}": tag["Value"] for tag in properties.get("Tags", [])}
            for action in TABLE[kind].list_actions():
                yield Need(f"{kind} {name}", action, self.get_arn(name), tuple(tags.items()))
            for action, arn, context in self.list_special_needs(kind, properties):
                yield Need(f"{kind} {name}", action, arn, tuple(context.items()))

    def list_special_needs(self, kind: str, properties: Any) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Return the needs for other ARNs, and those with a special condition key."""
        service = "iam:PassedToService"
        if kind == "AWS::Lambda::Function":
            yield "iam:PassRole", self.resolve(properties["Role"]), {service: "lambda.amazonaws.com"}
            code = properties["Code"]
            yield (
                "s3:GetObject",
                f"arn:aws:s3:::{self.resolve(code['S3Bucket'])}/{self.resolve(code['S3Key'])}",
                {},
            )
        if kind == "AWS::IAM::InstanceProfile":
            # IAM does not document that AddRoleToInstanceProfile sends the service.
            for context in ({service: "ec2.amazonaws.com"}, {}):
                yield "iam:PassRole", self.resolve(properties["Roles"]), context
        if kind == "AWS::EC2::Instance":
            role = f"arn:aws:iam::{ACCOUNT}:role/parallelcluster/{self.stack}/{self.stack}-RoleHeadNode-ABCDEFGHIJKL"
            yield "iam:PassRole", role, {service: "ec2.amazonaws.com"}
            here = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
            for arn in (
                f"arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0",
                *(
                    f"{here}:{used}/x"
                    for used in ("key-pair", "launch-template", "network-interface", "volume")
                ),
            ):
                yield "ec2:RunInstances", arn, {}
        if kind == "AWS::EFS::FileSystem":
            role = "aws-service-role/elasticfilesystem.amazonaws.com/AWSServiceRoleForAmazonElasticFileSystem"
            context = {"iam:AWSServiceName": "elasticfilesystem.amazonaws.com"}
            yield "iam:CreateServiceLinkedRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", context
            yield "elasticfilesystem:CreateFileSystem", "*", {}  # it has no resource
        if kind == "AWS::IAM::Role":
            role = f"arn:aws:iam::{ACCOUNT}:role{self.resolve(properties['Path'])}x"
            for policy in properties.get("ManagedPolicyArns", []):
                for action in ("iam:AttachRolePolicy", "iam:DetachRolePolicy"):
                    yield action, role, {"iam:PolicyARN": self.resolve(policy)}


@pytest.fixture(scope="module")
def templates(walk):
    found = [Template(stack, body) for stack, body in walk.templates.items()]
    assert len(found) == 3  # the wizard's network, the cluster, its queues
    return found


@pytest.fixture(scope="module")
def needs(templates):
    return {need for template in templates for need in template.list_needs()}


def find_denied(needs: Iterable[Need], policies: list[dict[str, Any]]) -> list[Need]:
    return sorted(n for n in needs if not is_allowed(policies, n.action, n.arn, dict(n.context)))


def test_every_type_is_in_the_table(templates):
    assert {
        resource["Type"] for template in templates for resource in template.resources.values()
    } == TABLE.keys()


def test_policies_allow_what_each_resource_needs(needs):
    assert find_denied(needs, POLICIES) == []


def test_each_needed_action_is_missed_if_it_is_removed(needs):
    """The test above fails for each action that is removed from the policy."""
    for action in sorted({need.action for need in needs}):
        asked = [need for need in needs if need.action == action]
        assert find_denied(asked, [remove_action(policy, action) for policy in POLICIES]) != [], action


def remove_action(policy: dict[str, Any], action: str) -> dict[str, Any]:
    """Return a policy without an action, and without the patterns that match it."""
    kept = [
        {
            **statement,
            "Action": [pattern for pattern in as_list(statement["Action"]) if not is_match(pattern, action)],
        }
        for statement in policy["Statement"]
    ]
    return {"Statement": kept}


@pytest.mark.parametrize("kind", TABLE)
def test_table_has_each_action_of_awss_handlers(kind, needs):
    """Other actions are allowed by the policies, or the table says why they are not needed."""
    row, own = TABLE[kind], [need for need in needs if need.resource.startswith(f"{kind} ")]
    known = {need.action for need in own}
    arns = {need.arn for need in own if need.action in row.list_actions()}
    missing = {
        action
        for action in read_handlers(kind) - known
        if not all(is_allowed(POLICIES, action, arn, {}) for arn in arns)
    }
    patterns = " ".join(row.unused.values()).split()
    assert [
        action for action in sorted(missing) if not any(is_match(pattern, action) for pattern in patterns)
    ] == []
    assert [pattern for pattern in patterns if not any(is_match(pattern, action) for action in missing)] == []


def read_handlers(kind: str) -> set[str]:
    """Return the actions that AWS's schema of a type lists for it; some types have no handlers."""
    versions = json.loads((SCHEMAS / "providers" / "us-east-1.json").read_text())
    schema = json.loads((SCHEMAS / "resources" / f"{versions[kind]}.json").read_text())
    handlers = schema.get("handlers", {})
    listed = {action for name in handlers if name != "list" for action in handlers[name]["permissions"]}
    return listed | set(schema.get("tagging", {}).get("permissions", []))


# --- The evaluation of the policies -------------------------------------------------------------------------

ANY = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "is_expected"),
    [
        ([], False),
        ([ANY], True),
        ([ANY, {"Effect": "Deny", "Action": "IAM:passrole", "Resource": "*"}], False),
        ([ANY, {"Effect": "Deny", "Action": "iam:Pass*", "NotResource": "arn:aws:iam::*:role/a/*"}], True),
        ([ANY, {"Effect": "Deny", "Action": "iam:Pass*", "NotResource": "arn:aws:iam::*:role/b/*"}], False),
        ([{**ANY, "Resource": "arn:aws:iam::*:role/a/?"}], True),
        ([{**ANY, "Resource": "arn:*"}], False),  # a wildcard stays within its part of the ARN
        ([{**ANY, "Condition": {"StringEquals": {"key": ["x", "value"]}}}], True),
        ([{**ANY, "Condition": {"StringEquals": {"key": "Value"}}}], False),
        ([{**ANY, "Condition": {"StringLike": {"key": "val*"}, "StringEquals": {"other": "x"}}}], False),
        ([{**ANY, "Condition": {"StringEqualsIfExists": {"other": "x"}}}], True),
        ([{**ANY, "Condition": {"StringEqualsIfExists": {"key": "x"}}}], False),
    ],
)
def test_evaluation(statements, is_expected):
    arn = f"arn:aws:iam::{ACCOUNT}:role/a/b"
    assert is_allowed([{"Statement": statements}], "iam:PassRole", arn, {"key": "value"}) is is_expected
