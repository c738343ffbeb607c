"""What the machines cost: from a table with a date, because the price list is too large to ask for a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from handlers.preflight.layout import Layout


@dataclass(frozen=True)
class PriceTable:
    """On-demand prices of Linux instances, shared tenancy, in US dollars per hour, in one region on one day."""

    as_of: str
    region: str
    per_hour_usd: Mapping[str, float]


VIRGINIA = PriceTable(
    as_of="2025-06-01",
    region="us-east-1",
    per_hour_usd={
        "t3.medium": 0.0416, "t3.large": 0.0832, "t3.xlarge": 0.1664, "t3.2xlarge": 0.3328,
        "m5.large": 0.096, "m5.xlarge": 0.192, "m5.2xlarge": 0.384, "m5.4xlarge": 0.768, "m5.8xlarge": 1.536,
        "m6i.large": 0.096, "m6i.xlarge": 0.192, "m6i.2xlarge": 0.384, "m6i.4xlarge": 0.768,
        "c5.large": 0.085, "c5.xlarge": 0.17, "c5.2xlarge": 0.34, "c5.4xlarge": 0.68,
        "r5.large": 0.126, "r5.xlarge": 0.252, "r5.2xlarge": 0.504, "r5.4xlarge": 1.008,
        "g4dn.xlarge": 0.526, "g4dn.2xlarge": 0.752, "g4dn.4xlarge": 1.204, "g4dn.8xlarge": 2.176,
        "g4dn.12xlarge": 3.912, "g4dn.16xlarge": 4.352,
        "g5.xlarge": 1.006, "g5.2xlarge": 1.212, "g5.4xlarge": 1.624, "g5.8xlarge": 2.448, "g5.12xlarge": 5.672,
        "g5.16xlarge": 4.096, "g5.24xlarge": 8.144, "g5.48xlarge": 16.288,
        "g6.xlarge": 0.8048, "g6.2xlarge": 0.9776, "g6.4xlarge": 1.3232, "g6.8xlarge": 2.0144, "g6.12xlarge": 4.6016,
        "g6.16xlarge": 3.3968, "g6.24xlarge": 6.6752, "g6.48xlarge": 13.3504,
        "g6e.xlarge": 1.861, "g6e.2xlarge": 2.24208, "g6e.4xlarge": 3.00424, "g6e.8xlarge": 4.52856,
        "g6e.12xlarge": 10.49264, "g6e.16xlarge": 7.57719, "g6e.24xlarge": 15.06559, "g6e.48xlarge": 30.13118,
        "p3.2xlarge": 3.06, "p3.8xlarge": 12.24, "p3.16xlarge": 24.48,
    },
)  # fmt: skip
"""AWS's public price list for US East (N. Virginia) as of that date."""


def machines_per_hour(layout: Layout, table: PriceTable = VIRGINIA) -> float | None:
    """What the machines alone cost, in US dollars per hour: without NAT gateways, load balancers, volumes and traffic.
    None when the table is of another region or lacks a type."""
    return per_hour({pool.name: (pool.type, pool.count) for pool in layout.manned}, layout.where.region, table)


def per_hour(machines: Mapping[str, tuple[str, int]], region: str, table: PriceTable = VIRGINIA) -> float | None:
    """The same for machines by the name of their pool: their type, and how many more (or, below 0, fewer) they are."""
    if table.region != region:
        return None
    prices = {kind: table.per_hour_usd.get(kind) for kind, count in machines.values() if count}
    if None in prices.values():
        return None
    return round(sum((prices.get(kind) or 0.0) * count for kind, count in machines.values()), 4)
