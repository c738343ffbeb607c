"""Subnets as they are: where, how full of tags, and whether they are really public.

A subnet is public when its route table has an active route to an internet gateway; its table is the one explicitly
associated with it, else the VPC's main one. MapPublicIpOnLaunch says nothing about it. (AWS VPC User Guide, "Subnet
routing"; kubernetes/cloud-provider-aws, isSubnetPublic.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handlers.contract import AwsRead
from handlers.steps.tag import tag_map

Route = Literal["public", "main", "blackhole", "private"]
FILTER_VALUES = 200
"""Values that one EC2 filter takes (Amazon EC2 API Reference, "Filter")."""

ROUTE_WORDS: dict[Route, str] = {
    "public": "public",
    "main": "public by main table",
    "blackhole": "gateway gone",
    "private": "private",
}


@dataclass(frozen=True)
class Subnet:
    """One subnet. `route` says how it reaches the internet, and `table` which route table decides that."""

    id: str
    vpc: str
    zone: str
    arn: str
    tags: dict[str, str]
    route: Route
    table: str

    @property
    def name(self) -> str:
        """Its Name tag, or its id. Anybody who may tag can choose a name, so the marks of messages are taken out."""
        return self.tags.get("Name", "").replace("`", "'").strip() or self.id

    @property
    def is_public(self) -> bool:
        """True when traffic can come in from the internet."""
        return self.route in ("public", "main")

    @property
    def user_tags(self) -> int:
        """Tags that count against the limit of 50: AWS's own do not."""
        return sum(not key.lower().startswith("aws:") for key in self.tags)


def subnets_by_id(aws: AwsRead, ids: Sequence[str]) -> list[Subnet]:
    """Those of `ids` that exist in this account and region, in the order asked."""
    found: dict[str, Any] = {}
    for start in range(0, len(ids), FILTER_VALUES):
        part = list(ids[start : start + FILTER_VALUES])
        for raw in _described(aws, "subnet-id", part):
            found[str(raw["SubnetId"])] = raw
    return _routed(aws, [found[name] for name in ids if name in found])


def subnets_of_vpc(aws: AwsRead, vpc: str) -> list[Subnet]:
    """Every subnet of a VPC, by zone and name."""
    return sorted(_routed(aws, _described(aws, "vpc-id", [vpc])), key=lambda s: (s.zone, s.name, s.id))


def vpc_exists(aws: AwsRead, vpc: str) -> bool:
    """True when the VPC is in this account and region."""
    return any(True for _ in aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=[{"Name": "vpc-id", "Values": [vpc]}]))


def _described(aws: AwsRead, name: str, values: list[str]) -> list[Any]:
    return list(aws.pages("ec2", "describe_subnets", "Subnets", Filters=[{"Name": name, "Values": values}]))


def _routed(aws: AwsRead, raws: list[Any]) -> list[Subnet]:
    vpcs = sorted({str(raw["VpcId"]) for raw in raws})
    tables: dict[str, Any] = {}
    mains: dict[str, Any] = {}
    if vpcs:
        filters = [{"Name": "vpc-id", "Values": vpcs}]
        for table in aws.pages("ec2", "describe_route_tables", "RouteTables", Filters=filters):
            associations: Any = table.get("Associations", [])
            for association in associations:
                if association.get("SubnetId"):
                    tables[association["SubnetId"]] = table
                if association.get("Main"):
                    mains[str(table["VpcId"])] = table
    return [_subnet(raw, tables.get(raw["SubnetId"]), mains.get(raw["VpcId"])) for raw in raws]


def _subnet(raw: Any, explicit: Any, main: Any) -> Subnet:
    table = explicit or main
    return Subnet(
        id=raw["SubnetId"],
        vpc=raw["VpcId"],
        zone=raw["AvailabilityZone"],
        arn=raw["SubnetArn"],
        tags=tag_map(raw),
        route=_route(table, by_main=explicit is None),
        table=table["RouteTableId"] if table else "none",
    )


def _route(table: Any, *, by_main: bool) -> Route:
    routes = [route for route in (table or {}).get("Routes", []) if str(route.get("GatewayId", "")).startswith("igw-")]
    if any(route.get("State", "active") == "active" for route in routes):
        return "main" if by_main else "public"
    return "blackhole" if routes else "private"
