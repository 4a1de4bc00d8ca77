"""CloudFormation resource types that moto does not know, creates only in part, or never deletes.

moto looks for a type among the direct subclasses of CloudFormationModel and takes the one that was defined
last. So these types take precedence over its own. Each creates and deletes its resource by the calls that
CloudFormation makes in AWS.
"""

import importlib
import sys
import tempfile
import time
import types
from typing import Any

from moto.awslambda.utils import get_backend as get_lambda_backend
from moto.cloudformation.models import Stack
from moto.cloudformation.parsing import NULL_MODELS
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.common_models import CloudFormationModel
from moto.ec2.models import ec2_backends
from moto.ec2.models.security_groups import SecurityGroup
from moto.efs.models import FileSystem, MountTarget
from moto.elbv2.models import FakeLoadBalancer, elbv2_backends
from moto.logs.models import LogGroup, logs_backends

from sandbox.api_calls import client, create_session
from sandbox.fleet import TABLE_PREFIX
from sandbox.stacks import ResourceError

RESOURCE_TYPES: list[type] = []  # keeps them alive: moto has only weak references to its subclasses


class StackResource:
    """A resource of a stack, which is created and deleted by calls.

    Attributes:
        kind: its type, without `AWS::`.
        create_call: the call that creates it; empty if it exists in the stack only.
        id_path: where the response has its id.
        delete_call: the call that deletes it.
        service: the service of these calls.

    """

    kind = create_call = id_path = delete_call = service = ""
    name = account = region = physical_resource_id = ""

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> "StackResource":
        """Create the resource.

        Raises:
            ResourceError: it could not be created.

        """
        self = cls()
        self.name, self.account, self.region = resource_name, account_id, region_name
        try:
            self.create(cloudformation_json.get("Properties", {}))
        except Exception as error:
            raise ResourceError(resource_name, cls.kind, str(error)) from error
        return self

    def create(self, properties: dict[str, Any]) -> None:
        """Make the call, and keep its response as the resource's attributes."""
        self.properties = self.build_arguments(properties)
        response = self.call(self.create_call) if self.create_call else {}
        *parents, identifier = self.id_path.split(".")
        for parent in parents:
            response = response[parent][0] if parent == "Instances" else response[parent]
        self.attributes = response
        self.physical_resource_id = response.get(identifier, self.name).removeprefix("/hostedzone/")
        self.properties[identifier] = self.physical_resource_id
        self.finish_creation()

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "StackResource",
        new_resource_name: str,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "StackResource":
        """Replace the resource."""
        original_resource.delete()
        definition = kwargs["cloudformation_json"]
        return cls.create_from_cloudformation_json(new_resource_name, definition, account_id, region_name)

    def call(self, operation: str, **extra: Any) -> Any:
        """Make a call with those properties of the resource that are arguments of the call."""
        service = client(self.service, self.region)
        model = service.meta.service_model.operation_model(service.meta.method_to_api_mapping[operation])
        names = model.input_shape.members
        arguments = {name: value for name, value in (self.properties | extra).items() if name in names}
        return getattr(service, operation)(**arguments)

    def build_arguments(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the calls for the properties in the template."""
        return dict(properties)

    def finish_creation(self) -> None:
        """Tag the resource, which the call does not do."""
        if self.service == "ec2" and self.properties.get("Tags"):
            self.call("create_tags", Resources=[self.physical_resource_id])

    def delete(self, *_: Any) -> None:
        """Delete the resource."""
        if self.delete_call:
            self.call(self.delete_call)

    def get_cfn_attribute(self, attribute: str) -> Any:
        """Return the value of a GetAtt in a template."""
        if attribute.endswith(("PrivateIp", "PrivateIpAddress")):
            return self.attributes["PrivateIpAddress"]
        return self.attributes[attribute]

    @classmethod
    def cloudformation_type(cls) -> str:
        """Return the type."""
        return f"AWS::{cls.kind}"

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """Return an empty name: no property contains the resource's name."""
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:  # noqa: ARG003 - moto's signature
        """Return True; reading an attribute that does not exist fails later."""
        return True


def define_resource_type(
    kind: str,
    create_call: str = "",
    id_path: str = "",
    delete_call: str = "",
    service: str = "ec2",
    **methods: Any,
) -> None:
    """Define a resource type.

    Args:
        kind: the type, without `AWS::`.
        create_call: the call that creates it, by its name in boto3; empty if it exists in the stack only.
        id_path: where the response has its id.
        delete_call: the call that deletes it.
        service: the service of these calls.
        methods: methods that replace those of StackResource.

    """
    attributes = {
        "kind": kind,
        "create_call": create_call,
        "id_path": id_path,
        "delete_call": delete_call,
        "service": service,
        "__module__": "moto.sandbox",  # moto takes the service from the second part of a module's name
        **methods,
    }
    RESOURCE_TYPES.append(type(kind, (StackResource, CloudFormationModel), attributes))


# --- Network ---


def finish_subnet(self: StackResource) -> None:
    """Tag a subnet, and set whether its machines get a public address."""
    StackResource.finish_creation(self)
    public = self.properties["MapPublicIpOnLaunch"]
    self.call("modify_subnet_attribute", MapPublicIpOnLaunch={"Value": public})


def build_ingress_arguments(_: StackResource, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for an inbound rule."""
    return build_rule_arguments(properties, properties.get("SourceSecurityGroupId"))


def build_egress_arguments(self: StackResource, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for an outbound rule; the first one replaces the rule that allows everything."""
    group = ec2_backends[self.account][self.region].get_security_group_from_id(properties["GroupId"])
    if [rule.ip_range.get("CidrIp") for rule in group.egress_rules] == ["0.0.0.0/0"]:
        group.egress_rules.clear()
    return build_rule_arguments(properties, properties.get("DestinationSecurityGroupId"))


def build_rule_arguments(properties: dict[str, Any], peer_group_id: str | None) -> dict[str, Any]:
    """Return the arguments for a rule with a network or a group."""
    keys = ("IpProtocol", "FromPort", "ToPort")
    permission: dict[str, Any] = {key: properties[key] for key in keys if key in properties}
    if "CidrIp" in properties:
        permission["IpRanges"] = [{"CidrIp": properties["CidrIp"]}]
    else:
        permission["UserIdGroupPairs"] = [{"GroupId": peer_group_id}]
    return {"GroupId": properties["GroupId"], "IpPermissions": [permission]}


define_resource_type("EC2::EIP", "allocate_address", "AllocationId", "release_address")
define_resource_type("EC2::EIPAssociation", "associate_address", "AssociationId", "disassociate_address")
define_resource_type(
    "EC2::InternetGateway",
    "create_internet_gateway",
    "InternetGateway.InternetGatewayId",
    "delete_internet_gateway",
)
define_resource_type("EC2::NatGateway", "create_nat_gateway", "NatGateway.NatGatewayId", "delete_nat_gateway")
define_resource_type("EC2::RouteTable", "create_route_table", "RouteTable.RouteTableId", "delete_route_table")
define_resource_type(
    "EC2::SubnetRouteTableAssociation",
    "associate_route_table",
    "AssociationId",
    "disassociate_route_table",
)
define_resource_type(
    "EC2::Subnet", "create_subnet", "Subnet.SubnetId", "delete_subnet", finish_creation=finish_subnet
)
define_resource_type(
    "EC2::VPCGatewayAttachment", "attach_internet_gateway", delete_call="detach_internet_gateway"
)
define_resource_type(
    "EC2::SecurityGroupIngress",
    "authorize_security_group_ingress",
    delete_call="revoke_security_group_ingress",
    build_arguments=build_ingress_arguments,
)
define_resource_type(
    "EC2::SecurityGroupEgress",
    "authorize_security_group_egress",
    delete_call="revoke_security_group_egress",
    build_arguments=build_egress_arguments,
)
define_resource_type(
    "EC2::NetworkInterface",
    "create_network_interface",
    "NetworkInterface.NetworkInterfaceId",
    "delete_network_interface",
    build_arguments=lambda _, properties: properties | {"Groups": properties["GroupSet"]},
)
define_resource_type(
    "Route53::HostedZone",
    "create_hosted_zone",
    "HostedZone.Id",
    "delete_hosted_zone",
    "route53",
    build_arguments=lambda self, properties: (
        properties | {"VPC": properties["VPCs"][0], "CallerReference": self.name}
    ),
)


def update_security_group(
    _: type,
    /,
    original_resource: SecurityGroup,
    cloudformation_json: dict[str, Any],
    region_name: str,
    **__: Any,
) -> SecurityGroup:
    """Update the group's rules for networks; moto would create another group."""
    ec2, group_id = client("ec2", region_name), original_resource.id
    permissions = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]
    old_permissions = [permission for permission in permissions if permission["IpRanges"]]
    if old_permissions:
        ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=old_permissions)
    for rule in cloudformation_json["Properties"].get("SecurityGroupIngress", []):
        permission: dict[str, Any] = {key: rule[key] for key in ("IpProtocol", "FromPort", "ToPort")}
        permission["IpRanges"] = [{"CidrIp": rule["CidrIp"]}]
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])
    return original_resource


SecurityGroup.update_from_cloudformation_json = classmethod(update_security_group)


# --- Storage ---


def get_lustre_attribute(self: StackResource, attribute: str) -> Any:
    """Return an attribute of a file system; the mount name is deeper in the response."""
    return self.attributes.get(attribute) or self.attributes["LustreConfiguration"].get("MountName", "fsx")


define_resource_type("EC2::Volume", "create_volume", "VolumeId", "delete_volume")  # moto never deletes it
define_resource_type(
    "FSx::FileSystem",
    "create_file_system",
    "FileSystem.FileSystemId",
    "delete_file_system",
    "fsx",
    get_cfn_attribute=get_lustre_attribute,
)


# --- Head node ---

head_node_exit_status = 0  # of the boot script. No script runs, so tests set it


def build_launch_arguments(self: StackResource, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the whole content of the launch template: moto's RunInstances ignores most of it."""
    tags = [{"ResourceType": "instance", "Tags": properties["Tags"]}]
    data = read_launch_template(self, properties["LaunchTemplate"])
    return data | {"MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}


def read_launch_template(self: StackResource, template: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a launch template."""
    versions = client("ec2", self.region).describe_launch_template_versions(
        LaunchTemplateId=template["LaunchTemplateId"], Versions=[str(template["Version"])]
    )
    data: dict[str, Any] = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


def terminate_instance(self: StackResource, *_: Any) -> None:
    """Terminate the instance."""
    self.call("terminate_instances", InstanceIds=[self.physical_resource_id])


def wait_for_head_node(self: StackResource) -> None:
    """Report the head node's status: fail, or set the compute fleet's status to RUNNING."""
    if head_node_exit_status:
        raise RuntimeError(
            f"WaitCondition received failed message: 'Failed with exit status {head_node_exit_status}'"
        )
    dynamodb = client("dynamodb", self.region)
    data = {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": {"S": "2026-11-24 00:00:00+00:00"}}
    for table in dynamodb.list_tables()["TableNames"]:
        if self.name.startswith(f"{table.removeprefix(TABLE_PREFIX)}-HeadNode"):
            dynamodb.put_item(TableName=table, Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": data}})


NULL_MODELS.clear()  # moto would leave the wait conditions out of the stack
define_resource_type("CloudFormation::WaitConditionHandle")
define_resource_type("CloudFormation::WaitCondition", finish_creation=wait_for_head_node)
define_resource_type(
    "EC2::Instance",
    "run_instances",
    "Instances.InstanceId",
    build_arguments=build_launch_arguments,
    delete=terminate_instance,
)


# --- Login nodes ---


def create_load_balancer(
    _: type,
    /,
    resource_name: str,
    cloudformation_json: dict[str, Any],
    account_id: str,
    region_name: str,
    **__: Any,
) -> FakeLoadBalancer:
    """Create a load balancer of login nodes; moto would ignore its type, and then refuse its TCP listener."""
    properties = cloudformation_json["Properties"]
    return elbv2_backends[account_id][region_name].create_load_balancer(
        resource_name,
        properties.get("SecurityGroups"),
        properties["Subnets"],
        scheme=properties["Scheme"],
        loadbalancer_type=properties["Type"],
    )


FakeLoadBalancer.create_from_cloudformation_json = classmethod(create_load_balancer)


def build_login_node_arguments(self: StackResource, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that launch the machines of a group; moto would ignore its launch template."""
    data = read_launch_template(self, properties["LaunchTemplate"])
    subnet = {"SubnetId": properties["VPCZoneIdentifier"][0]}
    count = int(properties["DesiredCapacity"])
    interfaces = [interface | subnet for interface in data["NetworkInterfaces"]]
    return data | {"NetworkInterfaces": interfaces, "MinCount": count, "MaxCount": count}


def terminate_login_nodes(self: StackResource, *_: Any) -> None:
    """Terminate all machines of a pool."""
    nodes = [instance["InstanceId"] for instance in self.attributes["Instances"]]
    self.call("terminate_instances", InstanceIds=nodes)


define_resource_type(
    "AutoScaling::AutoScalingGroup",
    "run_instances",
    "ReservationId",
    build_arguments=build_login_node_arguments,
    delete=terminate_login_nodes,
)


# --- Custom resources and updates ---


def run_cleanup(self: StackResource, *_: Any) -> None:
    """Run ParallelCluster's own Lambda function, whose code pcluster uploaded to the bucket."""
    backend = get_lambda_backend(self.account, self.region)
    with tempfile.NamedTemporaryFile(suffix=".zip") as archive:
        archive.write(backend.get_function(self.properties["ServiceToken"]).code_bytes)
        archive.flush()
        sys.path.insert(0, archive.name)
        try:
            module: Any = importlib.import_module("cleanup_resources")
        finally:
            sys.path.remove(archive.name)
    module.time = types.SimpleNamespace(sleep=lambda _: None, time=time.time)
    module.boto3 = create_session(self.region)
    module.ACTION_HANDLERS[self.properties["Action"]]({"ResourceProperties": self.properties})


keep_resource = classmethod(lambda _, original_resource, **__: original_resource)
define_resource_type(
    "CloudFormation::CustomResource", delete=run_cleanup, update_from_cloudformation_json=keep_resource
)
# moto cannot update these. Our updates change only whether the stack retains them.
FileSystem.update_from_cloudformation_json = keep_resource
MountTarget.update_from_cloudformation_json = keep_resource


# --- Monitoring ---


def build_alarm_arguments(self: StackResource, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments to create and to delete an alarm."""
    return properties | {"AlarmName": self.name, "AlarmNames": [self.name]}


def load_alarm_arn(self: StackResource) -> None:
    """Set the attribute with the alarm's ARN."""
    alarms = self.call("describe_alarms", AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    self.attributes = {"Arn": (alarms["MetricAlarms"] + alarms["CompositeAlarms"])[0]["AlarmArn"]}


# moto's method for metric alarms accepts the rule of a composite alarm too.
CloudWatchResponse.put_composite_alarm = CloudWatchResponse.put_metric_alarm
for alarm_kind, put_call in ("Alarm", "put_metric_alarm"), ("CompositeAlarm", "put_composite_alarm"):
    define_resource_type(
        f"CloudWatch::{alarm_kind}",
        put_call,
        "",
        "delete_alarms",
        "cloudwatch",
        build_arguments=build_alarm_arguments,
        finish_creation=load_alarm_arn,
    )


def create_log_group(
    _: type, /, name: str, definition: dict[str, Any], account: str, region: str, **kwargs: Any
) -> LogGroup:
    """Create a log group, or return the existing one.

    Its name ends with the minute, and clusters are created faster here than in AWS.
    """
    groups = logs_backends[account][region].groups
    group = groups.get(definition["Properties"].get("LogGroupName"))
    return group or moto_create_log_group(name, definition, account, region, **kwargs)


moto_create_log_group = LogGroup.create_from_cloudformation_json
LogGroup.create_from_cloudformation_json = classmethod(create_log_group)
define_resource_type("Logs::MetricFilter")  # exists in the stack only: there are no logs to filter

Stack.get_cfn_attribute = lambda self, attribute: self.output_map[attribute.removeprefix("Outputs.")].value
