"""Zones: enough of them for the plan, a private subnet where a pool wants one, and a public one beside each.

The provider's load balancer only reaches zones where it has a subnet: "instance is in availability zone …, no public
subnets attached to the ELB in the same zone" comes when the machine already runs (kubernetes-sigs/
cluster-api-provider-aws, pkg/cloud/services/elb). A prod cluster of TKG spreads over three zones.
"""

from __future__ import annotations

from collections.abc import Iterable

from handlers.contract import AwsRead, Check
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.subnet_checks import blocks, named, passes

PROD_ZONES = 3
SPREAD = "Spread over zones"
PAIRS = "A public subnet in each zone"
POOLS = "A private subnet for each pool"


def spread(layout: Layout, _aws: AwsRead) -> list[Check]:
    """Are there private subnets in enough zones?"""
    zones = sorted({subnet.zone for subnet in layout.private})
    evidence = f"Private subnets in {len(zones)} zone{'s' * (len(zones) != 1)}: {', '.join(zones) or 'none'}."
    if not zones:
        return [blocks("zones", SPREAD, evidence, "Name at least one private subnet with --private-subnets.")]
    if layout.production and len(zones) < PROD_ZONES:
        fix = (
            f"Plan prod needs private subnets in {PROD_ZONES} zones: add them with --private-subnets, or use plan dev."
        )
        return [blocks("zones", SPREAD, evidence, fix)]
    return [passes("zones", SPREAD, evidence)]


def pools(layout: Layout, _aws: AwsRead) -> list[Check]:
    """Has each pool that names its zone a private subnet there?"""
    lost = [pool for pool in layout.manned if not layout.homes(pool)]
    if lost:
        evidence = "; ".join(f"{pool.name} wants {pool.zone or 'any zone'}, where none is" for pool in lost) + "."
        fix = "Name a private subnet in that zone, or let the pool use another zone."
        return [blocks("pool-zones", POOLS, evidence, fix)]
    evidence = "; ".join(f"{pool.name} in {', '.join(layout.zones(pool))}" for pool in layout.manned)
    return [passes("pool-zones", POOLS, f"{evidence or 'No machines'}.")]


def pairs(layout: Layout, _aws: AwsRead) -> list[Check]:
    """Can the API server's load balancer reach every zone that has machines?"""
    if not layout.public:
        return [passes("zone-pairs", PAIRS, "No public subnet is named: the load balancer is an internal one.")]
    alone = [s for s in layout.private if s.zone not in {public.zone for public in layout.public}]
    if not alone:
        return [passes("zone-pairs", PAIRS, f"Public subnets in {_listed(s.zone for s in layout.public)}.")]
    evidence = (
        f"{_listed(s.zone for s in alone)} has {', '.join(named(s) for s in alone)} and no public subnet: machines "
        'there fail with "no public subnets attached to the ELB in the same zone".'
    )
    fix = "Name a public subnet of the same zone with --public-subnets, or leave these private ones out."
    return [blocks("zone-pairs", PAIRS, evidence, fix)]


def _listed(zones: Iterable[str]) -> str:
    return ", ".join(sorted(set(zones)))


LOOKS = (Look("zones", SPREAD, spread), Look("pool-zones", POOLS, pools), Look("zone-pairs", PAIRS, pairs))
