"""A list of everything that stands in one region of the account, found by listing each service, not by anybody's tags."""

from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import jmespath

from sandbox.calls import client

Inventory = AbstractSet["Thing"]


class Thing(NamedTuple):
    """One thing in the account.

    Args:
        kind: what it is, in AWS's words.
        id: its id or name.
        detail: what tells it from others of its kind to a reader: a name, a status.

    """

    kind: str
    id: str
    detail: str = ""


NAME = "Tags[?Key=='Name'].Value | [0]"
# kind, service, operation, and where in its answer the ids and details stand
LISTINGS = [
    ("VPC", "ec2", "describe_vpcs", f"Vpcs[?!IsDefault].[VpcId, {NAME}]"),
    ("subnet", "ec2", "describe_subnets", f"Subnets[?!DefaultForAz].[SubnetId, {NAME}]"),
    ("internet gateway", "ec2", "describe_internet_gateways", "InternetGateways[].[InternetGatewayId]"),
    ("NAT gateway", "ec2", "describe_nat_gateways", "NatGateways[?State!='deleted'].[NatGatewayId]"),
    ("Elastic IP", "ec2", "describe_addresses", "Addresses[].[AllocationId, PublicIp]"),
    ("route table", "ec2", "describe_route_tables", "RouteTables[?!(Associations[?Main])].[RouteTableId]"),
    ("security group", "ec2", "describe_security_groups", "SecurityGroups[?GroupName!='default'].[GroupId, GroupName]"),
    (
        "network interface",
        "ec2",
        "describe_network_interfaces",
        "NetworkInterfaces[].[NetworkInterfaceId, Description]",
    ),
    (
        "instance",
        "ec2",
        "describe_instances",
        f"Reservations[].Instances[] | [?State.Name!='terminated'].[InstanceId, {NAME}]",
    ),
    ("volume", "ec2", "describe_volumes", "Volumes[].[VolumeId]"),
    ("key pair", "ec2", "describe_key_pairs", "KeyPairs[].[KeyName]"),
    ("launch template", "ec2", "describe_launch_templates", "LaunchTemplates[].[LaunchTemplateName]"),
    ("stack", "cloudformation", "describe_stacks", "Stacks[].[StackName, StackStatus]"),
    ("file system", "efs", "describe_file_systems", "FileSystems[].[FileSystemId]"),
    ("hosted zone", "route53", "list_hosted_zones", "HostedZones[].[Id, Name]"),
    ("secret", "secretsmanager", "list_secrets", "SecretList[?!DeletedDate].[Name]"),
    ("secret to be deleted", "secretsmanager", "list_secrets", "SecretList[?DeletedDate].[Name]"),
    ("role", "iam", "list_roles", "Roles[].[RoleName]"),
    ("instance profile", "iam", "list_instance_profiles", "InstanceProfiles[].[InstanceProfileName]"),
    ("policy", "iam", "list_policies", "Policies[].[PolicyName]"),
    ("function", "lambda", "list_functions", "Functions[].[FunctionName]"),
    ("table", "dynamodb", "list_tables", "TableNames[].[@]"),
    ("alarm", "cloudwatch", "describe_alarms", "[MetricAlarms, CompositeAlarms][].[AlarmName]"),
    ("dashboard", "cloudwatch", "list_dashboards", "DashboardEntries[].[DashboardName]"),
    ("log group", "logs", "describe_log_groups", "logGroups[].[logGroupName]"),
    ("bucket", "s3", "list_buckets", "Buckets[].[Name]"),
]


def inventory(region: str) -> Inventory:
    """List everything that stands in a region of the account, and what belongs to all regions.

    Args:
        region: the region's name.

    Returns:
        A set, so that two inventories can be subtracted.

    """
    found = set()
    for kind, service, operation, path in LISTINGS:
        arguments: dict[str, Any] = {"IncludePlannedDeletion": True} if operation == "list_secrets" else {}
        arguments |= {"Scope": "Local"} if operation == "list_policies" else {}
        listed = answer(region, service, operation, **arguments)
        found |= {Thing(kind, *[str(value) for value in row if value]) for row in jmespath.search(path, listed)}
    for bucket in [thing.id for thing in found if thing.kind == "bucket"]:
        keys = jmespath.search("Versions[].Key", answer(region, "s3", "list_object_versions", Bucket=bucket)) or []
        found |= {Thing("object", f"s3://{bucket}/{key}") for key in keys}
    for group in [thing.id for thing in found if thing.kind == "security group"]:
        rules = answer(region, "ec2", "describe_security_groups", GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
        found |= {Thing("inbound rule", group, describe(rule, pair)) for rule in rules for pair in rule["UserIdGroupPairs"]}
        found |= {Thing("inbound rule", group, describe(rule, ranges)) for rule in rules for ranges in rule["IpRanges"]}
    return found


def answer(region: str, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
    """Give the whole answer of a listing, all of its pages."""
    called = client(service, region)
    if called.can_paginate(operation):
        pages: dict[str, Any] = called.get_paginator(operation).paginate(**arguments).build_full_result()
        return pages
    whole: dict[str, Any] = getattr(called, operation)(**arguments)
    return whole


def describe(rule: dict[str, Any], source: dict[str, Any]) -> str:
    """Say what a rule admits from where."""
    ports = "all traffic" if rule["IpProtocol"] == "-1" else f"{rule['IpProtocol']} {rule['FromPort']}-{rule['ToPort']}"
    return f"{ports} from {source.get('GroupId') or source['CidrIp']}"
