"""The routes of a subnet: whether it is public, and whether its instances reach the internet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurm_cluster.aws import clients

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import RouteTypeDef

ANY_ADDRESS = "0.0.0.0/0"


def is_public(ec2: EC2Client, vpc_id: str, subnet_id: str) -> bool:
    """Return whether a subnet has a route to an internet gateway."""
    return is_to_internet_gateway(find_default_route(ec2, vpc_id, subnet_id))


def is_to_internet_gateway(route: RouteTypeDef) -> bool:
    """Return whether a route leads to an internet gateway."""
    return route.get("GatewayId", "").startswith("igw-")


def find_default_route(ec2: EC2Client, vpc_id: str, subnet_id: str) -> RouteTypeDef:
    """Return the active default route of a subnet; empty if there is none.

    A subnet without a route table of its own has the main table of its VPC.
    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html
    """
    tables = clients.list_all(ec2, "describe_route_tables", Filters=[clients.vpc_filter(vpc_id)])
    own = [table for table in tables for link in table["Associations"] if link.get("SubnetId") == subnet_id]
    main = [table for table in tables for link in table["Associations"] if link.get("Main")]
    routes = [
        route
        for route in (own or main)[0]["Routes"]
        if route.get("DestinationCidrBlock") == ANY_ADDRESS and route["State"] == "active"
    ]
    return routes[0] if routes else {}
