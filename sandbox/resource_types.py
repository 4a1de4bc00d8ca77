"""The CloudFormation resource types that moto does not know, makes in part or never deletes.

moto finds a type among the direct subclasses of CloudFormationModel and takes the one that was defined last, so these
stand before its own. Each makes and deletes its resource by the calls of the service that AWS's CloudFormation makes too.
"""

import importlib
import sys
import tempfile
import time
import types
from collections.abc import Callable
from typing import Any

from moto.awslambda.utils import get_backend as functions
from moto.cloudformation.models import Stack
from moto.cloudformation.parsing import NULL_MODELS
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.common_models import CloudFormationModel
from moto.ec2.models import ec2_backends
from moto.ec2.models.security_groups import SecurityGroup
from moto.efs.models import FileSystem, MountTarget
from moto.logs.models import LogGroup, logs_backends

from sandbox.api_calls import client, session
from sandbox.stacks import ResourceError

TYPES: list[type] = []  # moto holds its subclasses only weakly


class Resource:
    """A resource that the call `make` creates, `path` identifies in the answer, and the call `unmake` deletes."""

    type = make = path = unmake = service = ""
    name = account = region = physical_resource_id = ""

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> "Resource":
        """Make it; whatever goes wrong fails the stack, and names the resource."""
        self = cls()
        self.name, self.account, self.region = resource_name, account_id, region_name
        try:
            self.create(cloudformation_json.get("Properties", {}))
        except Exception as error:
            raise ResourceError(resource_name, cls.type, str(error)) from error
        return self

    def create(self, properties: dict[str, Any]) -> None:
        """Make the call, and keep what it answers as the resource's attributes."""
        self.properties = self.arguments(properties)
        answer = self.call(self.make) if self.make else {}
        *parents, identifier = self.path.split(".")
        for parent in parents:
            answer = answer[parent][0] if parent == "Instances" else answer[parent]
        self.attributes = answer
        self.physical_resource_id = answer.get(identifier, self.name).removeprefix("/hostedzone/")
        self.properties[identifier] = self.physical_resource_id
        self.made()

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "Resource",
        new_resource_name: str,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "Resource":
        """Replace it."""
        original_resource.delete()
        definition = kwargs["cloudformation_json"]
        return cls.create_from_cloudformation_json(new_resource_name, definition, account_id, region_name)

    def call(self, operation: str, **more: Any) -> Any:
        """Make the call, with those properties of the resource that it takes."""
        service = client(self.service, self.region)
        takes = service.meta.service_model.operation_model(
            service.meta.method_to_api_mapping[operation]
        ).input_shape.members
        return getattr(service, operation)(
            **{k: v for k, v in (self.properties | more).items() if k in takes}
        )

    def arguments(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Turn the properties of the template into the arguments of the calls."""
        return dict(properties)

    def made(self) -> None:
        """Finish what the call left open: the tags."""
        if self.service == "ec2" and self.properties.get("Tags"):
            self.call("create_tags", Resources=[self.physical_resource_id])

    def delete(self, *_: Any) -> None:
        """Delete it."""
        if self.unmake:
            self.call(self.unmake)

    def get_cfn_attribute(self, attribute: str) -> Any:
        """Answer a template's GetAtt."""
        return self.attributes[
            "PrivateIpAddress" if attribute.endswith(("PrivateIp", "PrivateIpAddress")) else attribute
        ]

    @classmethod
    def cloudformation_type(cls) -> str:
        """Name the type."""
        return f"AWS::{cls.type}"

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """Name the property that holds its name: none does."""
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:  # noqa: ARG003 - moto's signature
        """Say whether it has the attribute; a wrong one fails when it is read."""
        return True


def resource(
    kind: str, make: str = "", path: str = "", unmake: str = "", service: str = "ec2", **methods: Any
) -> None:
    """Define a resource type.

    Args:
        kind: the type, without `AWS::`.
        make: the call that creates it, by its name in boto3; none where only the stack knows of it.
        path: where in the answer its id stands.
        unmake: the call that deletes it.
        service: whose calls these are.
        methods: methods of Resource that it has in another form.

    """
    table = {"make": make, "path": path, "unmake": unmake, "service": service, "__module__": "moto.sandbox"}
    TYPES.append(type(kind, (Resource, CloudFormationModel), {"type": kind, **table, **methods}))


# --- the network ------------------------------------------------------------------------------------------------------


def public_or_private(self: Resource) -> None:
    """Give machines of a subnet a public address or not."""
    Resource.made(self)
    self.call(
        "modify_subnet_attribute", MapPublicIpOnLaunch={"Value": self.properties["MapPublicIpOnLaunch"]}
    )


def rule(peer: str) -> Callable[[Resource, dict[str, Any]], dict[str, Any]]:
    """Give the arguments of a security group rule, whose other end is the property `peer`."""

    def arguments(self: Resource, properties: dict[str, Any]) -> dict[str, Any]:
        group_id = properties["GroupId"]
        if peer.startswith(
            "Destination"
        ):  # the first rule of its own takes away the one that lets everything out
            group = ec2_backends[self.account][self.region].get_security_group_from_id(group_id)
            if [egress.ip_range.get("CidrIp") for egress in group.egress_rules] == ["0.0.0.0/0"]:
                group.egress_rules.clear()
        other = (
            {"IpRanges": [{"CidrIp": properties["CidrIp"]}]}
            if "CidrIp" in properties
            else {"UserIdGroupPairs": [{"GroupId": properties[peer]}]}
        )
        permission = {
            key: properties[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in properties
        } | other
        return {"GroupId": group_id, "IpPermissions": [permission]}

    return arguments


resource("EC2::EIP", "allocate_address", "AllocationId", "release_address")
resource("EC2::EIPAssociation", "associate_address", "AssociationId", "disassociate_address")
resource(
    "EC2::InternetGateway",
    "create_internet_gateway",
    "InternetGateway.InternetGatewayId",
    "delete_internet_gateway",
)
resource("EC2::NatGateway", "create_nat_gateway", "NatGateway.NatGatewayId", "delete_nat_gateway")
resource("EC2::RouteTable", "create_route_table", "RouteTable.RouteTableId", "delete_route_table")
resource(
    "EC2::SubnetRouteTableAssociation", "associate_route_table", "AssociationId", "disassociate_route_table"
)
resource("EC2::Subnet", "create_subnet", "Subnet.SubnetId", "delete_subnet", made=public_or_private)
resource("EC2::VPCGatewayAttachment", "attach_internet_gateway", "", "detach_internet_gateway")
for way, other_end in ("ingress", "SourceSecurityGroupId"), ("egress", "DestinationSecurityGroupId"):
    add, revoke = f"authorize_security_group_{way}", f"revoke_security_group_{way}"
    resource(f"EC2::SecurityGroup{way.capitalize()}", add, "", revoke, arguments=rule(other_end))
resource(
    "EC2::NetworkInterface",
    "create_network_interface",
    "NetworkInterface.NetworkInterfaceId",
    "delete_network_interface",
    arguments=lambda _, properties: properties | {"Groups": properties["GroupSet"]},
)
resource(
    "Route53::HostedZone",
    "create_hosted_zone",
    "HostedZone.Id",
    "delete_hosted_zone",
    "route53",
    arguments=lambda self, properties: (
        properties | {"VPC": properties["VPCs"][0], "CallerReference": self.name}
    ),
)


def change_rules(
    _: type,
    /,
    original_resource: SecurityGroup,
    cloudformation_json: dict[str, Any],
    region_name: str,
    **__: Any,
) -> SecurityGroup:
    """Change a group's rules from addresses as CloudFormation does, in place; moto would make another group."""
    ec2, group = client("ec2", region_name), original_resource.id
    stands = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    old = [permission for permission in stands if permission["IpRanges"]]
    wanted = cloudformation_json["Properties"].get("SecurityGroupIngress", [])
    if old:
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=old)
    for each in wanted:
        ports = {key: each[key] for key in ("IpProtocol", "FromPort", "ToPort")}
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[ports | {"IpRanges": [{"CidrIp": each["CidrIp"]}]}]
        )
    return original_resource


SecurityGroup.update_from_cloudformation_json = classmethod(change_rules)


# --- the head node ----------------------------------------------------------------------------------------------------

FLEET_TABLE = "parallelcluster-"  # and the cluster's name
head_node_status = 0  # what its boot script ends with; none runs here, so a test says so


def launch(self: Resource, properties: dict[str, Any]) -> dict[str, Any]:
    """Give RunInstances all that the launch template holds; of a launch template itself, moto heeds only a part."""
    template = properties["LaunchTemplate"]
    found = client("ec2", self.region).describe_launch_template_versions(
        LaunchTemplateId=template["LaunchTemplateId"], Versions=[template["Version"]]
    )
    tags = [{"ResourceType": "instance", "Tags": properties["Tags"]}]
    data: dict[str, Any] = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data | {"MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}


def terminate(self: Resource, *_: Any) -> None:
    """Terminate the instance."""
    self.call("terminate_instances", InstanceIds=[self.physical_resource_id])


def wait_for_head_node(self: Resource) -> None:
    """Pass on what the head node reports of itself: that it failed, or that the compute fleet may run."""
    if head_node_status:
        raise RuntimeError(
            f"WaitCondition received failed message: 'Failed with exit status {head_node_status}'"
        )
    tables = client("dynamodb", self.region).list_tables()["TableNames"]
    for table in [
        table for table in tables if self.name.startswith(f"{table.removeprefix(FLEET_TABLE)}-HeadNode")
    ]:
        data = {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": {"S": "2026-11-24 00:00:00+00:00"}}
        client("dynamodb", self.region).put_item(
            TableName=table, Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": data}}
        )


NULL_MODELS.clear()  # moto would leave the wait conditions out of the stack
resource("CloudFormation::WaitConditionHandle")
resource("CloudFormation::WaitCondition", made=wait_for_head_node)
resource("EC2::Instance", "run_instances", "Instances.InstanceId", arguments=launch, delete=terminate)


# --- what a stack does by code of its own ------------------------------------------------------------------------------


def clean_up(self: Resource, *_: Any) -> None:
    """Run what AWS Lambda would: the code of ParallelCluster, as its command line put it into the bucket."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as archive:
        archive.write(
            functions(self.account, self.region).get_function(self.properties["ServiceToken"]).code_bytes
        )
        archive.flush()
        sys.path.insert(0, archive.name)
        try:
            function = importlib.import_module("cleanup_resources")
        finally:
            sys.path.remove(archive.name)
    function.time = types.SimpleNamespace(sleep=lambda _: None, time=time.time)  # type: ignore[attr-defined]
    function.boto3 = session(self.region)  # type: ignore[attr-defined]
    function.ACTION_HANDLERS[self.properties["Action"]]({"ResourceProperties": self.properties})


keep = classmethod(lambda _, original_resource, **__: original_resource)
resource("CloudFormation::CustomResource", delete=clean_up, update_from_cloudformation_json=keep)
for storage in (
    FileSystem,
    MountTarget,
):  # moto updates neither: what an update changes of them is whether the stack retains them
    storage.update_from_cloudformation_json = keep


# --- monitoring -------------------------------------------------------------------------------------------------------


def alarm(self: Resource) -> None:
    """Know the alarm's ARN."""
    found = self.call("describe_alarms", AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    self.attributes = {"Arn": (found["MetricAlarms"] + found["CompositeAlarms"])[0]["AlarmArn"]}


CloudWatchResponse.put_composite_alarm = (
    CloudWatchResponse.put_metric_alarm
)  # it takes the rule of a composite alarm too
for alarm_kind, put in ("Alarm", "put_metric_alarm"), ("CompositeAlarm", "put_composite_alarm"):
    resource(
        f"CloudWatch::{alarm_kind}",
        put,
        "",
        "delete_alarms",
        "cloudwatch",
        arguments=lambda self, properties: properties | {"AlarmName": self.name, "AlarmNames": [self.name]},
        made=alarm,
    )


def log_group(
    _: type, /, name: str, definition: dict[str, Any], account: str, region: str, **more: Any
) -> LogGroup:
    """Take up the log group of a cluster before: its name has the minute in it, and here a minute is enough for two."""
    found = logs_backends[account][region].groups.get(definition["Properties"].get("LogGroupName"))
    return found or make_log_group(name, definition, account, region, **more)


make_log_group = LogGroup.create_from_cloudformation_json
LogGroup.create_from_cloudformation_json = classmethod(log_group)
resource("Logs::MetricFilter")  # known to the stack only: there are no logs to filter

Stack.get_cfn_attribute = lambda self, attribute: self.output_map[attribute.removeprefix("Outputs.")].value
