"""EC2's addresses, client tokens and security group members, and its errors for deleting what is in use."""

import ipaddress
import itertools
import threading
from typing import Any

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError, InvalidParameterValueError
from moto.ec2.models import EC2Backend, ec2_backends, elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.responses.instances import InstanceResponse

from sandbox import public_images

NO_CLIENT_TOKEN = "ABCDE"  # noqa: S105 - moto's value for a request without one
INSTANCE_LOCK = threading.RLock()  # held while instances are launched or terminated
ADDRESSES = itertools.cycle(ipaddress.ip_network("203.0.113.0/24").hosts())  # for documentation (RFC 5737)


def get_public_address() -> str:
    """Return the next documentation address; moto's addresses belong to this machine or to real hosts."""
    return str(next(ADDRESSES))


elastic_ip_addresses.random_ip = get_public_address
elastic_network_interfaces.random_public_ip = get_public_address


def refuse_if(uses: list[Any], message: str) -> None:
    """Raise EC2's error for deleting what is in use, if any item is true."""
    if any(uses):
        raise DependencyViolationError(message)


class SandboxEC2Backend(EC2Backend):
    """The EC2 of one region."""

    __module__ = EC2Backend.__module__  # moto derives the service's URLs from it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.amis.update(public_images.create_images(self))
        self.snapshots.clear()  # the images' snapshots belong to other accounts
        self.launches: dict[str, tuple[str, Any]] = {}  # client token: request and reservation

    def create_vpc(self, *args: Any, **kwargs: Any) -> Any:
        """Create a VPC with the region's default set of DHCP options."""
        vpc = super().create_vpc(*args, **kwargs)
        options = next(iter(self.dhcp_options_sets.values()), None)
        self.associate_dhcp_options(options or self.create_dhcp_options(["AmazonProvidedDNS"]), vpc)
        return vpc

    def run_instances(
        self, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any
    ) -> Any:
        """Launch instances, unless the client token was used before, even by a terminated instance.

        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Run_Instance_Idempotency.html
        """
        token = kwargs["client_token"]
        request = repr((image_id, count, user_data, security_group_names, sorted(kwargs.items())))
        with INSTANCE_LOCK:
            if token in self.launches:
                return self.repeat_launch(token, request)
            kwargs["nics"] = kwargs.get("nics") or [{"DeviceIndex": 0}]
            for nic in kwargs["nics"]:
                nic.setdefault("DeleteOnTermination", "NetworkInterfaceId" not in nic)
            reservation = super().run_instances(image_id, count, user_data, security_group_names, **kwargs)
            for instance in reservation.instances:
                instance.security_groups = list(instance.nics[0].group_set)
            if token != NO_CLIENT_TOKEN:
                self.launches[token] = request, reservation
            return reservation

    def repeat_launch(self, token: str, request: str) -> Any:
        """Return the reservation of a used client token, if the request is the same."""
        first_request, reservation = self.launches[token]
        if request != first_request:
            message = (
                "Arguments on this idempotent request are inconsistent with arguments used in previous"
                " request(s)."
            )
            raise EC2ClientError("IdempotentParameterMismatch", message)
        instance = reservation.instances[0]
        if instance.state == "terminated":
            message = (
                "The client token you have provided is associated with a resource that is already deleted."
            )
            raise EC2ClientError("IdempotentInstanceTerminated", message)
        # moto associates the profile again after this response.
        self.iam_instance_profile_associations.pop(instance.id, None)
        return reservation

    def terminate_instances(self, instance_ids: list[str]) -> Any:
        """Terminate instances, detach their interfaces, and delete those that were created for them."""
        with INSTANCE_LOCK:
            instances = self.get_multi_instances_by_id(instance_ids)
            for nic in [nic for instance in instances for nic in instance.nics.values()]:
                nic.instance, nic.attachment_id, nic.status = None, None, "available"
            running = [instance.id for instance in instances if instance.state != "terminated"]
            unchanged = [(instance, instance._state) for instance in instances if instance.id not in running]
            return unchanged + (super().terminate_instances(running) if running else [])

    def delete_network_interface(self, eni_id: str) -> None:
        """Delete an interface, unless it is attached."""
        if self.get_network_interface(eni_id).instance:
            raise InvalidParameterValueError(f"Network interface '{eni_id}' is currently in use.")
        super().delete_network_interface(eni_id)

    def delete_nat_gateway(self, nat_gateway_id: str) -> Any:
        """Delete a NAT gateway and its interface, and release its address."""
        gateway = super().delete_nat_gateway(nat_gateway_id)
        self.disassociate_address(association_id=gateway.address_set[0]["associationId"])
        self.delete_network_interface(gateway._eni.id)
        return gateway

    def _delete_security_group(self, vpc_id: str, group_id: str) -> None:
        """Delete a group, unless it has members or a rule of another group names it."""
        memberships = [group_id in [group.id for group in eni.group_set] for eni in self.enis.values()]
        others = [
            group for groups in self.groups.values() for group in groups.values() if group.id != group_id
        ]
        rules = [rule for group in others for rule in group.ingress_rules + group.egress_rules]
        references = [rule.source_group.get("GroupId") == group_id for rule in rules]
        refuse_if(memberships + references, f"resource {group_id} has a dependent object")
        super()._delete_security_group(vpc_id, group_id)

    def delete_subnet(self, subnet_id: str) -> Any:
        """Delete a subnet, unless an interface is in it."""
        interfaces = [eni.subnet.id == subnet_id for eni in self.enis.values()]
        refuse_if(interfaces, f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return super().delete_subnet(subnet_id)

    def delete_vpc(self, vpc_id: str) -> Any:
        """Delete a VPC, unless it has a subnet, a gateway or a group other than the default one."""
        gateways = [gateway.vpc and gateway.vpc.id == vpc_id for gateway in self.internet_gateways.values()]
        groups = [not group.is_default for group in self.groups[vpc_id].values()]
        subnets = [subnet.vpc_id == vpc_id for zone in self.subnets.values() for subnet in zone.values()]
        refuse_if(gateways + groups + subnets, f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        self.get_vpc(vpc_id).dhcp_options = None  # moto would delete them, but other VPCs use them too
        return super().delete_vpc(vpc_id)

    def detach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> None:
        """Detach an internet gateway, unless the VPC has public addresses."""
        addresses = [eni.public_ip and eni.subnet.vpc_id == vpc_id for eni in self.enis.values()]
        refuse_if(
            addresses, f"Network {vpc_id} has some mapped public address(es). Please unmap those first."
        )
        super().detach_internet_gateway(internet_gateway_id, vpc_id)


def validate_mapping(device: dict[str, Any]) -> None:
    """Accept what EC2 accepts: instance stores that do not exist, and volumes without a size."""
    if device.get("VirtualName", "").startswith("ephemeral"):
        device["NoDevice"] = ""
    device.get("Ebs", {}).setdefault("VolumeSize", 15)
    moto_validate_mapping(device)


moto_validate_mapping = InstanceResponse._validate_block_device_mapping
InstanceResponse._validate_block_device_mapping = staticmethod(validate_mapping)
ec2_backends.backend = SandboxEC2Backend
