"""All resources in one region of the account, found by listing each service, not by tags."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import jmespath
from botocore.exceptions import ClientError

from sandbox.api_calls import client

Inventory = AbstractSet["Resource"]


class Resource(NamedTuple):
    """One resource in the account.

    Attributes:
        kind: what it is, in AWS's terms.
        id: its id or name.
        detail: a name or a status, for the reader.

    """

    kind: str
    id: str
    detail: str = ""


class Listing(NamedTuple):
    """How to list the resources of one kind. Paths are JMESPath expressions.

    Attributes:
        kind: the kind.
        service: the service, as boto3 names it.
        operation: the call that lists them.
        items: the path of the resources in the response, without those that every account has.
        id: the path of a resource's id.
        detail: the path of its detail.
        arguments: the arguments of the call.

    """

    kind: str
    service: str
    operation: str
    items: str
    id: str
    detail: str = "''"
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


class ChildListing(NamedTuple):
    """How to list the children of a resource.

    Attributes:
        parent_kind: the resource's kind.
        argument: the argument of the call that names the resource.
        parent_key: the key in the resource's description with the value of that argument.
        listing: how to list the children.

    """

    parent_kind: str
    argument: str
    parent_key: str
    listing: Listing


class ExtraCall(NamedTuple):
    """A call for details of a resource that its listing does not return.

    Attributes:
        kind: the resource's kind.
        service: the service, as boto3 names it.
        operation: the call.
        argument: the argument of the call that names the resource.
        key: the key in the response.
        arguments: further arguments of the call.

    """

    kind: str
    service: str
    operation: str
    argument: str
    key: str
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


NAME_TAG = "Tags[?Key=='Name'].Value | [0]"
WITH_DELETED = {"IncludePlannedDeletion": True}
OWN_KEYS = "Aliases[?TargetKeyId && !starts_with(AliasName, 'alias/aws/')]"  # AWS's own keys cost nothing
LISTINGS = [
    Listing("VPC", "ec2", "describe_vpcs", "Vpcs[?!IsDefault]", "VpcId", NAME_TAG),
    Listing("subnet", "ec2", "describe_subnets", "Subnets[?!DefaultForAz]", "SubnetId", NAME_TAG),
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
        NAME_TAG,
    ),
    Listing("volume", "ec2", "describe_volumes", "Volumes", "VolumeId"),
    Listing(
        "snapshot", "ec2", "describe_snapshots", "Snapshots", "SnapshotId", arguments={"OwnerIds": ["self"]}
    ),
    Listing("image", "ec2", "describe_images", "Images", "ImageId", arguments={"Owners": ["self"]}),
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
    Listing(
        "secret",
        "secretsmanager",
        "list_secrets",
        "SecretList[?!DeletedDate]",
        "Name",
        arguments=WITH_DELETED,
    ),
    Listing(
        "secret to be deleted",
        "secretsmanager",
        "list_secrets",
        "SecretList[?DeletedDate]",
        "Name",
        arguments=WITH_DELETED,
    ),
    Listing("parameter", "ssm", "describe_parameters", "Parameters[?!starts_with(Name, '/aws/')]", "Name"),
    Listing("role", "iam", "list_roles", "Roles", "RoleName"),
    Listing("instance profile", "iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    Listing("policy", "iam", "list_policies", "Policies", "PolicyName", arguments={"Scope": "Local"}),
    Listing("user", "iam", "list_users", "Users", "UserName"),
    Listing("user group", "iam", "list_groups", "Groups", "GroupName"),
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
    Listing("message queue", "sqs", "list_queues", "QueueUrls[].{Url: @}", "Url"),
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
CHILD_LISTINGS = [
    ChildListing(
        "bucket", "Bucket", "Name", Listing("object", "s3", "list_object_versions", "Versions", "Key")
    ),
    ChildListing(
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
    ChildListing(
        "file system",
        "FileSystemId",
        "FileSystemId",
        Listing("mount target", "efs", "describe_mount_targets", "MountTargets", "MountTargetId"),
    ),
    ChildListing(
        "event rule",
        "Rule",
        "Name",
        Listing("rule target", "events", "list_targets_by_rule", "Targets", "Id"),
    ),
    ChildListing(
        "role",
        "RoleName",
        "RoleName",
        Listing("attached policy", "iam", "list_attached_role_policies", "AttachedPolicies", "PolicyName"),
    ),
    ChildListing(
        "role",
        "RoleName",
        "RoleName",
        Listing("inline policy", "iam", "list_role_policies", "PolicyNames[].{Name: @}", "Name"),
    ),
    ChildListing(
        "policy",
        "PolicyArn",
        "Arn",
        Listing("policy version", "iam", "list_policy_versions", "Versions", "VersionId"),
    ),
]
EXTRA_CALLS = [
    ExtraCall(
        "VPC",
        "ec2",
        "describe_vpc_attribute",
        "VpcId",
        "EnableDnsHostnames",
        {"Attribute": "enableDnsHostnames"},
    ),
    ExtraCall(
        "instance", "ec2", "describe_instance_attribute", "InstanceId", "UserData", {"Attribute": "userData"}
    ),
    ExtraCall("bucket", "s3", "get_bucket_policy", "Bucket", "Policy"),
    ExtraCall("bucket", "s3", "get_bucket_encryption", "Bucket", "ServerSideEncryptionConfiguration"),
    ExtraCall("bucket", "s3", "get_public_access_block", "Bucket", "PublicAccessBlockConfiguration"),
    ExtraCall("bucket", "s3", "get_bucket_versioning", "Bucket", "Status"),
    ExtraCall("bucket", "s3", "get_bucket_tagging", "Bucket", "TagSet"),
    ExtraCall("bucket", "s3", "get_bucket_lifecycle_configuration", "Bucket", "Rules"),
    ExtraCall("secret", "secretsmanager", "get_resource_policy", "SecretId", "ResourcePolicy"),
    ExtraCall("function", "lambda", "get_policy", "FunctionName", "Policy"),
]


def list_resources(region: str) -> Inventory:
    """Return all resources in a region, and those that belong to all regions.

    Args:
        region: the region's name.

    Returns:
        A set, so that two inventories can be subtracted.

    """
    return describe_resources(region).keys()


def describe_resources(region: str) -> dict[Resource, dict[str, Any]]:
    """Return all resources in a region, each with everything that AWS returns about it.

    Args:
        region: the region's name.

    """
    found: dict[Resource, dict[str, Any]] = {}
    for listing in LISTINGS:
        for resource, description in list_kind(region, listing):
            found[resource] = description
            for child in CHILD_LISTINGS:
                if child.parent_kind == resource.kind:
                    found |= list_children(region, child, resource, description)
            for extra in EXTRA_CALLS:
                if extra.kind == resource.kind:
                    arguments = {extra.argument: resource.id, **extra.arguments}
                    response = call_if_set(region, extra.service, extra.operation, **arguments)
                    description[f"{extra.operation} {extra.key}"] = response.get(extra.key)
            if resource.kind == "security group":
                for rule in description["IpPermissions"]:
                    for source in [*rule["UserIdGroupPairs"], *rule["IpRanges"]]:
                        found[Resource("inbound rule", resource.id, format_rule(rule, source))] = {}
    return found


def list_kind(region: str, listing: Listing, **arguments: Any) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Yield the resources of a listing, each with its description."""
    response = call(region, listing.service, listing.operation, **listing.arguments, **arguments)
    for description in jmespath.search(listing.items, response) or []:
        names = [jmespath.search(path, description) for path in (listing.id, listing.detail)]
        yield Resource(listing.kind, *[str(name) for name in names if name]), description


def list_children(
    region: str, child: ChildListing, parent: Resource, parent_description: dict[str, Any]
) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Yield the children of a resource, each with its description."""
    folder = f"s3://{parent.id}" if parent.kind == "bucket" else parent.id
    arguments = {child.argument: parent_description[child.parent_key]}
    for resource, description in list_kind(region, child.listing, **arguments):
        yield resource._replace(id=f"{folder}/{resource.id}"), description


def call(region: str, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
    """Return the response of a call, with all pages."""
    boto3_client = client(service, region)
    response: dict[str, Any]
    if boto3_client.can_paginate(operation):
        response = boto3_client.get_paginator(operation).paginate(**arguments).build_full_result()
    else:
        response = getattr(boto3_client, operation)(**arguments)
    return response


def call_if_set(region: str, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
    """Return the response of a call for a setting; empty if it is not set."""
    try:
        return call(region, service, operation, **arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return {}


def format_rule(rule: dict[str, Any], source: dict[str, Any]) -> str:
    """Return the ports that a rule opens, and to which source."""
    ports = (
        f"{rule['IpProtocol']} {rule['FromPort']}-{rule['ToPort']}"
        if rule["IpProtocol"] != "-1"
        else "all traffic"
    )
    return f"{ports} from {source.get('GroupId') or source['CidrIp']}"
