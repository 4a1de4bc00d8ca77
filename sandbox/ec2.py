"""EC2 as it answers: addresses, client tokens, membership in groups, and the refusal to delete what is in use."""

import ipaddress
import itertools
import threading
from typing import Any

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError, InvalidParameterValueError
from moto.ec2.models import EC2Backend, ec2_backends, elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.responses.instances import InstanceResponse

from sandbox import public_images

NO_TOKEN = "ABCDE"  # noqa: S105 - what moto takes where none was given
ONE_AT_A_TIME = threading.RLock()  # launches and their ends: of two calls, one is the first
ADDRESSES = itertools.cycle(
    ipaddress.ip_network("203.0.113.0/24").hosts()
)  # for documentation (RFC 5737): nobody's


def public_address() -> str:
    """Give the next address; moto's own are of the internet, or this machine's."""
    return str(next(ADDRESSES))


elastic_ip_addresses.random_ip = public_address
elastic_network_interfaces.random_public_ip = public_address


def refuse_if(used: list[Any], message: str) -> None:
    """Refuse as EC2 does when anything still uses what is to be deleted."""
    if any(used):
        raise DependencyViolationError(message)


class Cloud(EC2Backend):
    """One region's EC2."""

    __module__ = EC2Backend.__module__  # moto finds the addresses of a service by it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.amis.update(public_images.images(self))
        self.snapshots.clear()  # of these images, and so not the account's
        self.launches: dict[str, tuple[str, Any]] = {}

    def create_vpc(self, *args: Any, **kwargs: Any) -> Any:
        """Give the VPC the region's own set of DHCP options, as each has."""
        vpc = super().create_vpc(*args, **kwargs)
        own = next(iter(self.dhcp_options_sets.values()), None) or self.create_dhcp_options(
            ["AmazonProvidedDNS"]
        )
        self.associate_dhcp_options(own, vpc)
        return vpc

    def run_instances(
        self, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any
    ) -> Any:
        """Launch once for a client token, and remember tokens beyond the instance's end.

        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Run_Instance_Idempotency.html
        """
        with ONE_AT_A_TIME:
            return self.launch_once(image_id, count, user_data, security_group_names, **kwargs)

    def launch_once(
        self, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any
    ) -> Any:
        """Launch, unless the client token was used before."""
        token = kwargs["client_token"]
        asked = repr(
            (
                image_id,
                count,
                user_data,
                security_group_names,
                sorted(kwargs.items(), key=lambda item: item[0]),
            )
        )
        if token in self.launches:
            return self.repeated_launch(token, asked)
        kwargs["nics"] = kwargs.get("nics") or [{"DeviceIndex": 0}]
        for nic in kwargs["nics"]:
            nic.setdefault("DeleteOnTermination", "NetworkInterfaceId" not in nic)
        reservation = super().run_instances(image_id, count, user_data, security_group_names, **kwargs)
        for instance in reservation.instances:
            instance.security_groups = list(instance.nics[0].group_set)
        if token != NO_TOKEN:
            self.launches[token] = asked, reservation
        return reservation

    def repeated_launch(self, token: str, asked: str) -> Any:
        """Answer a launch whose token is known: the same instance for the same request."""
        before, reservation = self.launches[token]
        if asked != before:
            message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
            raise EC2ClientError("IdempotentParameterMismatch", message)
        instance = reservation.instances[0]
        if instance.state == "terminated":
            message = (
                "The client token you have provided is associated with a resource that is already deleted."
            )
            raise EC2ClientError("IdempotentInstanceTerminated", message)
        self.iam_instance_profile_associations.pop(
            instance.id, None
        )  # moto associates it again after this answer
        return reservation

    def terminate_instances(self, instance_ids: list[str]) -> Any:
        """Let go of the interfaces; those that were made for the instance go with it."""
        with ONE_AT_A_TIME:
            instances = self.get_multi_instances_by_id(instance_ids)
            for nic in [nic for instance in instances for nic in instance.nics.values()]:
                nic.instance, nic.attachment_id, nic.status = None, None, "available"
            alive = [instance.id for instance in instances if instance.state != "terminated"]
            over = [(instance, instance._state) for instance in instances if instance.id not in alive]
            return over + (super().terminate_instances(alive) if alive else [])

    def delete_network_interface(self, eni_id: str) -> None:
        """Refuse while it is attached."""
        if self.get_network_interface(eni_id).instance:
            raise InvalidParameterValueError(f"Network interface '{eni_id}' is currently in use.")
        super().delete_network_interface(eni_id)

    def delete_nat_gateway(self, nat_gateway_id: str) -> Any:
        """Release its address and its interface too."""
        gateway = super().delete_nat_gateway(nat_gateway_id)
        self.disassociate_address(association_id=gateway.address_set[0]["associationId"])
        self.delete_network_interface(gateway._eni.id)
        return gateway

    def _delete_security_group(self, vpc_id: str, group_id: str) -> None:
        """Refuse while it has members or another group's rule names it; a rule of its own does not count."""
        members = [group_id in [group.id for group in eni.group_set] for eni in self.enis.values()]
        others = [
            group for groups in self.groups.values() for group in groups.values() if group.id != group_id
        ]
        rules = [rule for group in others for rule in group.ingress_rules + group.egress_rules]
        named = [rule.source_group.get("GroupId") == group_id for rule in rules]
        refuse_if(members + named, f"resource {group_id} has a dependent object")
        super()._delete_security_group(vpc_id, group_id)

    def delete_subnet(self, subnet_id: str) -> Any:
        """Refuse while an interface is in it."""
        interfaces = [eni.subnet.id == subnet_id for eni in self.enis.values()]
        refuse_if(interfaces, f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return super().delete_subnet(subnet_id)

    def delete_vpc(self, vpc_id: str) -> Any:
        """Refuse while a subnet, a gateway or a group of its own is in it; moto looks at the subnets by itself."""
        gateways = [gateway.vpc and gateway.vpc.id == vpc_id for gateway in self.internet_gateways.values()]
        groups = [not group.is_default for group in self.groups[vpc_id].values()]
        subnets = [subnet.vpc_id == vpc_id for zone in self.subnets.values() for subnet in zone.values()]
        refuse_if(gateways + groups + subnets, f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        self.get_vpc(
            vpc_id
        ).dhcp_options = None  # moto would delete them with it, and other VPCs have them too
        return super().delete_vpc(vpc_id)

    def detach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> None:
        """Refuse while a public address in the VPC is reached through it."""
        public = [eni.public_ip and eni.subnet.vpc_id == vpc_id for eni in self.enis.values()]
        refuse_if(public, f"Network {vpc_id} has some mapped public address(es). Please unmap those first.")
        super().detach_internet_gateway(internet_gateway_id, vpc_id)


def accept_mapping(device: dict[str, Any]) -> None:
    """Take a disk as EC2 does: an absent instance store is ignored, and a volume is as large as the image unless told."""
    if device.get("VirtualName", "").startswith("ephemeral"):
        device["NoDevice"] = ""
    device.get("Ebs", {}).setdefault("VolumeSize", 15)
    validate_mapping(device)


validate_mapping = InstanceResponse._validate_block_device_mapping
InstanceResponse._validate_block_device_mapping = staticmethod(accept_mapping)
ec2_backends.backend = Cloud
