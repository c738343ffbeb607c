"""Facts of a VPC from EC2's answers: which subnets are public, and from which there is a way out. Pure.

Sources: the AWS cloud provider's isSubnetPublic, the provider's describeVpcSubnets, VPC User Guide "Route tables".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.kube.errors import Obj

EVERYWHERE = "0.0.0.0/0"
ROLE_TAG = "sigs.k8s.io/cluster-api-provider-aws/role"


@dataclass(frozen=True)
class Network:
    """Subnets, route tables and NAT gateways of one VPC, as EC2 describes them."""

    subnets: Sequence[Obj]
    tables: Sequence[Obj]
    gateways: Sequence[Obj]

    def subnet(self, subnet_id: str) -> Obj | None:
        return next((entry for entry in self.subnets if entry["SubnetId"] == subnet_id), None)

    def table(self, subnet_id: str, *, main: bool = True) -> Obj | None:
        """The explicit association, else the VPC's main table."""
        for table in self.tables:
            if any(entry.get("SubnetId") == subnet_id for entry in table["Associations"]):
                return table
        mains = (table for table in self.tables if any(entry.get("Main") for entry in table["Associations"]))
        return next(mains, None) if main else None

    def is_public(self, subnet_id: str, *, main: bool = True) -> bool:
        """By a route to an internet gateway. The provider looks at explicit associations only: `main` False."""
        table = self.table(subnet_id, main=main)
        return any(route.get("GatewayId", "").startswith("igw-") for route in (table or {}).get("Routes", []))

    def has_way_out(self, subnet_id: str) -> bool:
        """For an instance without a public address: a NAT gateway that itself reaches the internet, or a transit."""
        return any(self._leads_out(route) for route in (self.table(subnet_id) or {}).get("Routes", []))

    def _leads_out(self, route: Obj) -> bool:
        if route.get("DestinationCidrBlock") != EVERYWHERE or route.get("State") != "active":
            return False
        if "TransitGatewayId" in route or "VpcPeeringConnectionId" in route or "NetworkInterfaceId" in route:
            return True
        found = [entry for entry in self.gateways if entry["NatGatewayId"] == route.get("NatGatewayId")]
        return any(entry["State"] == "available" and self._reaches_internet(entry["SubnetId"]) for entry in found)

    def _reaches_internet(self, subnet_id: str) -> bool:
        routes = (self.table(subnet_id) or {}).get("Routes", [])
        return any(r.get("GatewayId", "").startswith("igw-") and r.get("State") == "active" for r in routes)


def tags(entry: Obj) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in entry.get("Tags", [])}


def one_per_zone(subnets: Iterable[Obj]) -> list[Obj]:
    """The first of each zone, in the order given."""
    found: dict[str, Obj] = {}
    for entry in subnets:
        found.setdefault(entry["AvailabilityZone"], entry)
    return list(found.values())


def for_load_balancer(network: Network, cluster: str, *, internal: bool, newer: bool) -> list[Obj]:
    """The subnets that the AWS cloud provider takes for a Service.

    Strict and old: only those with the cluster's own tag. Newer: also those with no cluster's tag at all.
    """
    key = f"kubernetes.io/cluster/{cluster}"

    def ours(entry: Obj) -> bool:
        names = tags(entry)
        return key in names or (newer and not any(name.startswith("kubernetes.io/cluster/") for name in names))

    role = f"kubernetes.io/role/{'internal-elb' if internal else 'elb'}"
    fit = [entry for entry in network.subnets if ours(entry) and (internal or network.is_public(entry["SubnetId"]))]
    return one_per_zone(sorted(fit, key=lambda e: (role not in tags(e), key not in tags(e), e["SubnetId"])))


async def seen(aws: Any, vpc: str) -> Network:
    """Asks EC2 for all of it; `aws` is the scene's call."""
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = (await aws("ec2.describe_subnets", Filters=here))["Subnets"]
    tables = (await aws("ec2.describe_route_tables", Filters=here))["RouteTables"]
    gateways = (await aws("ec2.describe_nat_gateways", Filters=here))["NatGateways"]
    return Network(subnets, tables, gateways)
