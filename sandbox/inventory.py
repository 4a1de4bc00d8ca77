"""A list of everything that stands in one region of the account, found by listing each service, not by anybody's tags."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import jmespath
from botocore.exceptions import ClientError

from sandbox.api_calls import client

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


class Listing(NamedTuple):
    """How things of a kind are listed.

    Args:
        kind: what they are.
        service: whose call it is.
        operation: the call.
        items: where in its answer they stand, without those that are in every account.
        id: what identifies one of them.
        detail: what tells it from others.
        arguments: of the call.

    """

    kind: str
    service: str
    operation: str
    items: str
    id: str
    detail: str = "''"
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Part(NamedTuple):
    """How a thing's parts are listed, by calls that take the thing.

    Args:
        whole: the kind of the thing.
        argument: by which it is named in the call.
        named: what of it is given.
        listing: of the parts.

    """

    whole: str
    argument: str
    named: str
    listing: Listing


class Setting(NamedTuple):
    """What another call tells of a thing, and the listing does not.

    Args:
        kind: of the thing.
        service: whose call it is.
        operation: the call.
        argument: by which the thing is named in it.
        told: where it stands in the answer.
        arguments: others of the call.

    """

    kind: str
    service: str
    operation: str
    argument: str
    told: str
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


NAME = "Tags[?Key=='Name'].Value | [0]"
ALL = {"IncludePlannedDeletion": True}
LOCAL = {"Scope": "Local"}
OWN = {"Owners": ["self"]}
OWN_KEYS = "Aliases[?TargetKeyId && !starts_with(AliasName, 'alias/aws/')]"  # AWS's own, as for encrypted disks, cost nothing
LISTINGS = [
    Listing("VPC", "ec2", "describe_vpcs", "Vpcs[?!IsDefault]", "VpcId", NAME),
    Listing("subnet", "ec2", "describe_subnets", "Subnets[?!DefaultForAz]", "SubnetId", NAME),
    Listing("internet gateway", "ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    Listing("NAT gateway", "ec2", "describe_nat_gateways", "NatGateways[?State!='deleted']", "NatGatewayId"),
    Listing("Elastic IP", "ec2", "describe_addresses", "Addresses", "AllocationId", "PublicIp"),
    Listing(
        "route table", "ec2", "describe_route_tables", "RouteTables[?!(Associations[?Main])]", "RouteTableId"
    ),
    Listing("network ACL", "ec2", "describe_network_acls", "NetworkAcls[?!IsDefault]", "NetworkAclId"),
    Listing("DHCP options", "ec2", "describe_dhcp_options", "DhcpOptions", "DhcpOptionsId"),
    Listing("VPC endpoint", "ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    Listing(
        "VPC peering",
        "ec2",
        "describe_vpc_peering_connections",
        "VpcPeeringConnections",
        "VpcPeeringConnectionId",
    ),
    Listing("flow log", "ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    Listing(
        "security group",
        "ec2",
        "describe_security_groups",
        "SecurityGroups[?GroupName!='default']",
        "GroupId",
        "GroupName",
    ),
    Listing(
        "network interface",
        "ec2",
        "describe_network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
        "Description",
    ),
    Listing(
        "instance",
        "ec2",
        "describe_instances",
        "Reservations[].Instances[] | [?State.Name!='terminated']",
        "InstanceId",
        NAME,
    ),
    Listing("volume", "ec2", "describe_volumes", "Volumes", "VolumeId"),
    Listing(
        "snapshot", "ec2", "describe_snapshots", "Snapshots", "SnapshotId", arguments={"OwnerIds": ["self"]}
    ),
    Listing("image", "ec2", "describe_images", "Images", "ImageId", arguments=OWN),
    Listing("key pair", "ec2", "describe_key_pairs", "KeyPairs", "KeyName"),
    Listing("launch template", "ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateName"),
    Listing(
        "prefix list",
        "ec2",
        "describe_managed_prefix_lists",
        "PrefixLists[?OwnerId!='aws'&&OwnerId!='AWS']",
        "PrefixListId",
    ),
    Listing("stack", "cloudformation", "describe_stacks", "Stacks", "StackName", "StackStatus"),
    Listing("file system", "efs", "describe_file_systems", "FileSystems", "FileSystemId"),
    Listing("Lustre file system", "fsx", "describe_file_systems", "FileSystems", "FileSystemId"),
    Listing("hosted zone", "route53", "list_hosted_zones", "HostedZones", "Id", "Name"),
    Listing("secret", "secretsmanager", "list_secrets", "SecretList[?!DeletedDate]", "Name", arguments=ALL),
    Listing(
        "secret to be deleted",
        "secretsmanager",
        "list_secrets",
        "SecretList[?DeletedDate]",
        "Name",
        arguments=ALL,
    ),
    Listing("parameter", "ssm", "describe_parameters", "Parameters[?!starts_with(Name, '/aws/')]", "Name"),
    Listing("role", "iam", "list_roles", "Roles", "RoleName"),
    Listing("instance profile", "iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    Listing("policy", "iam", "list_policies", "Policies", "PolicyName", arguments=LOCAL),
    Listing("user", "iam", "list_users", "Users", "UserName"),
    Listing("group of users", "iam", "list_groups", "Groups", "GroupName"),
    Listing("function", "lambda", "list_functions", "Functions", "FunctionName"),
    Listing("layer", "lambda", "list_layers", "Layers", "LayerName"),
    Listing("table", "dynamodb", "list_tables", "TableNames[].{Name: @}", "Name"),
    Listing("alarm", "cloudwatch", "describe_alarms", "[MetricAlarms, CompositeAlarms][]", "AlarmName"),
    Listing("dashboard", "cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    Listing("log group", "logs", "describe_log_groups", "logGroups", "logGroupName"),
    Listing("metric filter", "logs", "describe_metric_filters", "metricFilters", "filterName"),
    Listing("event rule", "events", "list_rules", "Rules", "Name"),
    Listing("schedule", "scheduler", "list_schedules", "Schedules", "Name"),
    Listing("topic", "sns", "list_topics", "Topics", "TopicArn"),
    Listing("queue of messages", "sqs", "list_queues", "QueueUrls[].{Url: @}", "Url"),
    Listing("resource group", "resource-groups", "list_groups", "GroupIdentifiers", "GroupName"),
    Listing(
        "auto scaling group",
        "autoscaling",
        "describe_auto_scaling_groups",
        "AutoScalingGroups",
        "AutoScalingGroupName",
    ),
    Listing("load balancer", "elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerName"),
    Listing("key", "kms", "list_aliases", OWN_KEYS, "TargetKeyId", "AliasName"),
    Listing("bucket", "s3", "list_buckets", "Buckets", "Name"),
]
PARTS = [
    Part("bucket", "Bucket", "Name", Listing("object", "s3", "list_object_versions", "Versions", "Key")),
    Part(
        "hosted zone",
        "HostedZoneId",
        "Id",
        Listing(
            "record",
            "route53",
            "list_resource_record_sets",
            "ResourceRecordSets[?Type!='NS'&&Type!='SOA']",
            "Name",
            "Type",
        ),
    ),
    Part(
        "file system",
        "FileSystemId",
        "FileSystemId",
        Listing("mount target", "efs", "describe_mount_targets", "MountTargets", "MountTargetId"),
    ),
    Part(
        "event rule",
        "Rule",
        "Name",
        Listing("rule's target", "events", "list_targets_by_rule", "Targets", "Id"),
    ),
    Part(
        "role",
        "RoleName",
        "RoleName",
        Listing("attached policy", "iam", "list_attached_role_policies", "AttachedPolicies", "PolicyName"),
    ),
    Part(
        "role",
        "RoleName",
        "RoleName",
        Listing("role's own policy", "iam", "list_role_policies", "PolicyNames[].{Name: @}", "Name"),
    ),
    Part(
        "policy",
        "PolicyArn",
        "Arn",
        Listing("policy's version", "iam", "list_policy_versions", "Versions", "VersionId"),
    ),
]
SETTINGS = [
    Setting(
        "VPC",
        "ec2",
        "describe_vpc_attribute",
        "VpcId",
        "EnableDnsHostnames",
        {"Attribute": "enableDnsHostnames"},
    ),
    Setting(
        "instance", "ec2", "describe_instance_attribute", "InstanceId", "UserData", {"Attribute": "userData"}
    ),
    Setting("bucket", "s3", "get_bucket_policy", "Bucket", "Policy"),
    Setting("bucket", "s3", "get_bucket_encryption", "Bucket", "ServerSideEncryptionConfiguration"),
    Setting("bucket", "s3", "get_public_access_block", "Bucket", "PublicAccessBlockConfiguration"),
    Setting("bucket", "s3", "get_bucket_versioning", "Bucket", "Status"),
    Setting("bucket", "s3", "get_bucket_tagging", "Bucket", "TagSet"),
    Setting("bucket", "s3", "get_bucket_lifecycle_configuration", "Bucket", "Rules"),
    Setting("secret", "secretsmanager", "get_resource_policy", "SecretId", "ResourcePolicy"),
    Setting("function", "lambda", "get_policy", "FunctionName", "Policy"),
]


def inventory(region: str) -> Inventory:
    """List everything that stands in a region of the account, and what belongs to all regions.

    Args:
        region: the region's name.

    Returns:
        A set, so that two inventories can be subtracted.

    """
    return details(region).keys()


def details(region: str) -> dict[Thing, dict[str, Any]]:
    """Give everything that stands in a region of the account, and all that AWS tells of it.

    Args:
        region: the region's name.

    """
    found = {}
    for listing in LISTINGS:
        for thing, item in listed(region, listing):
            found[thing] = item
            for part in [part for part in PARTS if part.whole == thing.kind]:
                for of_thing, details_of_it in listed(
                    region, part.listing, **{part.argument: item[part.named]}
                ):
                    found[Thing(of_thing.kind, f"{within(thing)}/{of_thing.id}", of_thing.detail)] = (
                        details_of_it
                    )
            for setting in [setting for setting in SETTINGS if setting.kind == thing.kind]:
                item[f"{setting.operation} {setting.told}"] = told(region, setting, thing)
            if thing.kind == "security group":
                rules = item["IpPermissions"]
                found |= {
                    Thing("inbound rule", thing.id, describe(rule, pair)): {}
                    for rule in rules
                    for pair in rule["UserIdGroupPairs"]
                }
                found |= {
                    Thing("inbound rule", thing.id, describe(rule, ranges)): {}
                    for rule in rules
                    for ranges in rule["IpRanges"]
                }
    return found


def within(thing: Thing) -> str:
    """Say where a thing's parts are, as AWS writes it."""
    return f"s3://{thing.id}" if thing.kind == "bucket" else thing.id


def listed(region: str, listing: Listing, **arguments: Any) -> Iterator[tuple[Thing, dict[str, Any]]]:
    """Give the things of a listing, and what it tells of each."""
    whole = answer(region, listing.service, listing.operation, **listing.arguments, **arguments)
    for item in jmespath.search(listing.items, whole) or []:
        names = [jmespath.search(path, item) for path in (listing.id, listing.detail)]
        yield Thing(listing.kind, *[str(name) for name in names if name]), item


def told(region: str, setting: Setting, thing: Thing) -> Any:
    """Give what a call tells of a thing; None where it says that there is none of it."""
    call = getattr(client(setting.service, region), setting.operation)
    try:
        return jmespath.search(setting.told, call(**{setting.argument: thing.id}, **setting.arguments))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return None


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
    ports = (
        "all traffic"
        if rule["IpProtocol"] == "-1"
        else f"{rule['IpProtocol']} {rule['FromPort']}-{rule['ToPort']}"
    )
    return f"{ports} from {source.get('GroupId') or source['CidrIp']}"
