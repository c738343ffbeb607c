"""The way out of the private subnets: machines fetch images and talk to AWS's APIs, or their bootstrap hangs.

Ways: a NAT gateway, something that leads to another network (transit gateway, virtual private gateway, appliance), or
VPC endpoints for the services that nodes and the cloud provider call. (Amazon VPC User Guide, "Route tables" and "NAT
gateways"; AWS PrivateLink Guide, "Gateway endpoints", which need a route in the subnet's table.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.contract import AwsRead, Check
from handlers.network import Subnet, filled, subnets_by_id
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.subnet_checks import blocks, named, passes, warns

TITLE = "A way out of the private subnets"
ANYWHERE = "0.0.0.0/0"
ENDPOINTS = ("ec2", "elasticloadbalancing", "secretsmanager", "s3", "ecr.api", "ecr.dkr", "sts")
"""What takes the place of a way out: the last part of the service names."""
ELSEWHERE = {
    "TransitGatewayId": "the transit gateway",
    "NetworkInterfaceId": "the network interface",
    "LocalGatewayId": "the local gateway",
    "CoreNetworkArn": "the core network",
}
"""Routes that lead on to what cannot be seen from here."""


@dataclass(frozen=True)
class Way:
    """Where a subnet's default route leads, in words: `open` when something comes through, `sure` when all of it can be
    seen from here."""

    open: bool
    words: str
    sure: bool = True


def way_out(layout: Layout, aws: AwsRead) -> list[Check]:
    """Can machines in each private subnet reach what they need?"""
    routes = _default_routes(layout, aws)
    gateways = _nat_gateways(aws, routes)
    gates = {s.id: s for s in subnets_by_id(aws, sorted({str(raw["SubnetId"]) for raw in gateways.values()}))}
    ways = [(s, _way(s, layout, aws, routes.get(s.table), gateways, gates)) for s in layout.private]
    shut = [f"{named(subnet)}: {way.words}" for subnet, way in ways if not way.open]
    if shut:
        evidence = f"{'; '.join(shut)}. Machines there cannot bootstrap."
        fix = f"Give the route table an active route {ANYWHERE} to a NAT gateway in a public subnet of {layout.vpc}."
        return [blocks("way-out", TITLE, evidence, fix)]
    by_way = {way.words: [subnet.name for subnet, other in ways if other == way] for _, way in ways}
    evidence = "; ".join(f"{', '.join(names)}: {words}" for words, names in by_way.items()) + "."
    if all(way.sure for _, way in ways):
        return [passes("way-out", TITLE, evidence)]
    fix = "What lies behind cannot be seen from here: make sure that images and packages can be fetched through it."
    return [warns("way-out", TITLE, evidence, fix)]


def _default_routes(layout: Layout, aws: AwsRead) -> dict[str, Any]:
    tables = sorted({subnet.table for subnet in layout.private} - {"none"})
    return {
        str(raw["RouteTableId"]): route
        for ids in filled(tables)
        for raw in aws.pages(
            "ec2", "describe_route_tables", "RouteTables", Filters=[{"Name": "route-table-id", "Values": ids}]
        )
        for route in _listed(raw, "Routes")
        if route.get("DestinationCidrBlock") == ANYWHERE
    }


def _nat_gateways(aws: AwsRead, routes: Mapping[str, Any]) -> dict[str, Any]:
    ids = sorted({str(route["NatGatewayId"]) for route in routes.values() if route.get("NatGatewayId")})
    return {
        str(raw["NatGatewayId"]): raw
        for part in filled(ids)
        for raw in aws.pages(
            "ec2", "describe_nat_gateways", "NatGateways", Filter=[{"Name": "nat-gateway-id", "Values": part}]
        )
    }


def _way(
    subnet: Subnet,
    layout: Layout,
    aws: AwsRead,
    route: Any,
    gateways: Mapping[str, Any],
    gates: Mapping[str, Subnet],
) -> Way:
    if route is None:
        return _by_endpoints(subnet, layout, aws)
    if route.get("State", "active") != "active":
        return Way(False, f"the target of its default route in {subnet.table} is gone ({route['State']})")
    if route.get("NatGatewayId"):
        return _by_nat(str(route["NatGatewayId"]), layout, gateways, gates)
    gateway = str(route.get("GatewayId") or "")
    if gateway.startswith("igw-"):
        return Way(False, f"its default route leads to {gateway}, and machines have no public address")
    if gateway:
        return Way(True, f"by {gateway}", sure=False)
    known = next((key for key in ELSEWHERE if route.get(key)), None)
    if known:
        return Way(True, f"by {ELSEWHERE[known]} {route[known]}", sure=False)
    return Way(False, f"its default route in {subnet.table} leads to no gateway")


def _by_nat(name: str, layout: Layout, gateways: Mapping[str, Any], gates: Mapping[str, Subnet]) -> Way:
    raw = gateways.get(name)
    if raw is None or raw["State"] != "available":
        return Way(False, f"{name} is {raw['State'] if raw else 'not there'}")
    if raw["VpcId"] != layout.vpc:
        return Way(False, f"{name} is in {raw['VpcId']}, and a NAT gateway serves its own VPC only")
    if raw.get("ConnectivityType") == "private":
        return Way(True, f"by the private {name}", sure=False)
    gate = gates.get(str(raw["SubnetId"]))
    if gate is None or not gate.is_public:
        return Way(False, f"{name} stands in {raw['SubnetId']}, which has no route to the internet itself")
    return Way(True, f"by {name}")


def _by_endpoints(subnet: Subnet, layout: Layout, aws: AwsRead) -> Way:
    filters = [{"Name": "vpc-id", "Values": [layout.vpc]}]
    endpoints = aws.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=filters)
    usable = [str(raw["ServiceName"]) for raw in endpoints if _usable(raw, subnet)]
    have = {name.partition(f".{layout.where.region}.")[2] for name in usable}
    missing = [service for service in ENDPOINTS if service not in have]
    if not missing:
        return Way(True, "no way to the internet, but the VPC endpoints that nodes need", sure=False)
    if len(missing) == len(ENDPOINTS):
        return Way(False, f"{subnet.table} has no default route, and the VPC has no endpoints to take its place")
    return Way(False, f"{subnet.table} has no default route, and endpoints are missing: {', '.join(missing)}")


def _usable(raw: Any, subnet: Subnet) -> bool:
    if str(raw.get("State", "available")).lower() != "available":
        return False
    if raw.get("VpcEndpointType", "Gateway") == "Gateway":
        return subnet.table in raw.get("RouteTableIds", [])
    return bool(raw.get("PrivateDnsEnabled", True))  # without it, the usual names lead to the internet all the same


def _listed(raw: Any, key: str) -> list[Any]:
    found: list[Any] = raw.get(key, [])
    return found


LOOKS = (Look("way-out", TITLE, way_out),)
