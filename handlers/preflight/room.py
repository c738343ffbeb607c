"""Room in the subnets: free addresses for the machines and the load balancer, and tags.

A load balancer wants 8 free addresses in each of its subnets (Elastic Load Balancing User Guide, "Subnets for your load
balancer"); a machine takes one, and during a roll a pool has `surge` more. Later AWS says
InsufficientFreeAddressesInSubnet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from handlers.contract import AwsRead, Check
from handlers.network import Subnet, cluster_key
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.preflight.subnets import described
from handlers.subnet_checks import blocks, named, passes, tag_checks, warns

MACHINES = "Free addresses for machines"
BALANCER = "Free addresses for the load balancer"
TAGS = "The cluster tag"
BALANCER_ADDRESSES = 8


def for_machines(layout: Layout, aws: AwsRead) -> list[Check]:
    """Do all machines find an address, also during a roll?"""
    free, (steady, rolling) = _free(layout, aws), _needed(layout)
    tight = [s for s in layout.private if s.id in free and free[s.id] < steady[s.id]]
    if tight:
        evidence = _told(tight, free, steady) + "."
        return [blocks("addresses", MACHINES, evidence, "Use other subnets, fewer machines, or free some addresses.")]
    narrow = [s for s in layout.private if s.id in free and free[s.id] < rolling[s.id]]
    if narrow:
        evidence = _told(narrow, free, rolling) + " during a roll."
        return [warns("addresses", MACHINES, evidence, "The cluster fits; upgrades stall until addresses are free.")]
    least = min((free[s.id] for s in layout.private if s.id in free), default=0)
    evidence = f"At least {least} free in each private subnet, at most {max(rolling.values(), default=0)} needed."
    return [passes("addresses", MACHINES, evidence)]


def for_balancer(layout: Layout, aws: AwsRead) -> list[Check]:
    """Has the load balancer its addresses, beside the machines where it shares their subnets?"""
    free, (steady, _) = _free(layout, aws), _needed(layout)
    wanted = {s.id: BALANCER_ADDRESSES + steady[s.id] for s in layout.balancer_subnets}
    tight = [s for s in layout.balancer_subnets if s.id in free and free[s.id] < wanted[s.id]]
    if tight:
        evidence = _told(tight, free, wanted) + "."
        fix = f"A load balancer wants {BALANCER_ADDRESSES} in each of its subnets: use others, or free some addresses."
        return [blocks("balancer-addresses", BALANCER, evidence, fix)]
    least = min((free.get(s.id, 0) for s in layout.balancer_subnets), default=0)
    return [passes("balancer-addresses", BALANCER, f"At least {least} free in each, {BALANCER_ADDRESSES} needed.")]


def tags(layout: Layout, aws: AwsRead) -> list[Check]:
    """Is the cluster's tag there, or can it be put there? What lacks it is no fault: the plan tags it, and the result
    must not change when it has."""
    fresh = described(layout, aws)
    subnets = [subnet for subnet in layout.subnets if subnet.id in fresh]
    key = cluster_key(layout.cluster)
    have = sum(key in subnet.tags for subnet in subnets)
    rest = "" if have == len(subnets) else "; the plan puts it on the others"
    evidence = f"`{key}` is on {have} of {len(subnets)} subnets{rest}."
    return [passes("tag", TAGS, evidence), *tag_checks(subnets, layout.cluster, lambda _: {key: "shared"})]


def _free(layout: Layout, aws: AwsRead) -> dict[str, int]:
    return {name: int(raw["AvailableIpAddressCount"]) for name, raw in described(layout, aws).items()}


def _needed(layout: Layout) -> tuple[Counter[str], Counter[str]]:
    """Machines by subnet: as a rule, and during a roll."""
    steady: Counter[str] = Counter()
    rolling: Counter[str] = Counter()
    for pool in layout.manned:
        homes = layout.homes(pool)
        for subnet in homes:
            share = -(-pool.count // len(homes))
            steady[subnet.id] += share
            rolling[subnet.id] += share + pool.surge
    return steady, rolling


def _told(subnets: list[Subnet], free: dict[str, int], needed: Mapping[str, int]) -> str:
    return "; ".join(f"{named(s)} has {free[s.id]} free and needs {needed[s.id]}" for s in subnets)


LOOKS = (
    Look("addresses", MACHINES, for_machines, own=True),
    Look("balancer-addresses", BALANCER, for_balancer, own=True),
    Look("tag", TAGS, tags),
)
