"""Subnets as they are: where, how full of tags, and whether they are really public.

A subnet is public when its route table has an active route to an internet gateway; its table is the one explicitly
associated with it, else the VPC's main one. MapPublicIpOnLaunch says nothing about it. (AWS VPC User Guide, "Subnet
routing"; kubernetes/cloud-provider-aws, isSubnetPublic.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handlers.contract import AwsRead
from handlers.tags import tag_map

Route = Literal["public", "main", "blackhole", "private"]
FILTER_VALUES = 200
"""Values that one EC2 filter takes (Amazon EC2 API Reference, "Filter")."""

CLUSTER_PREFIX = "kubernetes.io/cluster/"
"""What a cluster's tag key begins with; the rest is the cluster's name."""
ROLE_KEY = "kubernetes.io/role/elb"
"""Prefers a subnet for internet-facing load balancers; the cloud provider does not look at its value, `1` is usual."""

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
    def clusters(self) -> dict[str, str]:
        """The clusters that it is tagged for, with the tag's value (`shared`, `owned`)."""
        return {
            key.removeprefix(CLUSTER_PREFIX): value
            for key, value in sorted(self.tags.items())
            if key.startswith(CLUSTER_PREFIX)
        }

    @property
    def user_tags(self) -> int:
        """Tags that count against the limit of 50: AWS's own do not."""
        return sum(not key.lower().startswith("aws:") for key in self.tags)


def subnets_by_id(aws: AwsRead, ids: Sequence[str]) -> list[Subnet]:
    """Those of `ids` that exist in this account and region, in the order asked."""
    found: dict[str, Any] = {}
    for part in filled(ids):
        for raw in _described(aws, "subnet-id", part):
            found[str(raw["SubnetId"])] = raw
    return _routed(aws, [found[name] for name in ids if name in found])


def subnets_of_vpc(aws: AwsRead, vpc: str) -> list[Subnet]:
    """Every subnet of a VPC, by zone and name."""
    return subnets_of_vpcs(aws, [vpc])


def subnets_of_vpcs(aws: AwsRead, vpcs: Sequence[str]) -> list[Subnet]:
    """Every subnet of some VPCs, by VPC, zone and name."""
    return _sorted(_routed(aws, [raw for part in filled(vpcs) for raw in _described(aws, "vpc-id", part)]))


def all_subnets(aws: AwsRead) -> list[Subnet]:
    """Every subnet of the account and region, by VPC, zone and name."""
    return _sorted(_routed(aws, list(aws.pages("ec2", "describe_subnets", "Subnets"))))


def vpcs_tagged(aws: AwsRead, cluster: str) -> set[str]:
    """The VPCs of the subnets that are tagged for a cluster."""
    return {str(raw["VpcId"]) for raw in _described(aws, "tag-key", [cluster_key(cluster)])}


def vpc_exists(aws: AwsRead, vpc: str) -> bool:
    """True when the VPC is in this account and region."""
    return any(True for _ in aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=[{"Name": "vpc-id", "Values": [vpc]}]))


def cluster_key(cluster: str) -> str:
    """The tag key that marks a subnet as used by `cluster`."""
    return f"{CLUSTER_PREFIX}{cluster}"


def _described(aws: AwsRead, name: str, values: list[str]) -> list[Any]:
    return list(aws.pages("ec2", "describe_subnets", "Subnets", Filters=[{"Name": name, "Values": values}]))


def filled(values: Sequence[str]) -> Iterator[list[str]]:
    """The values in lists that one filter takes."""
    for start in range(0, len(values), FILTER_VALUES):
        yield list(values[start : start + FILTER_VALUES])


def _sorted(subnets: list[Subnet]) -> list[Subnet]:
    return sorted(subnets, key=lambda s: (s.vpc, s.zone, s.name, s.id))


def _routed(aws: AwsRead, raws: list[Any]) -> list[Subnet]:
    tables: dict[str, Any] = {}
    mains: dict[str, Any] = {}
    for vpcs in filled(sorted({str(raw["VpcId"]) for raw in raws})):
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
