"""The subnets as AWS has them now: there, in the VPC, available, and how many addresses are free."""

from __future__ import annotations

from typing import Any

from handlers.contract import AwsRead, Check
from handlers.network import filled
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.subnet_checks import all_found, blocks, named, not_found, passes

EXIST = "The subnets exist"
ONE_VPC = "All in the VPC"


def described(layout: Layout, aws: AwsRead) -> dict[str, Any]:
    """The cluster's subnets by id, as DescribeSubnets tells them."""
    return {
        str(raw["SubnetId"]): raw
        for ids in filled([subnet.id for subnet in layout.subnets])
        for raw in aws.pages("ec2", "describe_subnets", "Subnets", Filters=[{"Name": "subnet-id", "Values": ids}])
    }


def exist(layout: Layout, aws: AwsRead) -> list[Check]:
    """Are all of them there, and available?"""
    found = described(layout, aws)
    missing = [subnet.id for subnet in layout.subnets if subnet.id not in found]
    if missing:
        return [not_found("subnet", missing, layout.where.account, layout.where.region)]
    pending = [s for s in layout.subnets if found[s.id].get("State", "available") != "available"]
    if pending:
        evidence = "; ".join(f"{named(s)} is {found[s.id]['State']}" for s in pending) + "."
        return [blocks("subnet", EXIST, evidence, "Wait until AWS has made them, or name others.")]
    return [all_found(list(layout.subnets), layout.where.account, layout.where.region)]


def one_vpc(layout: Layout, aws: AwsRead) -> list[Check]:
    """Are all of them in the VPC that was named?"""
    found = described(layout, aws)
    strays = [s for s in layout.subnets if str(found.get(s.id, {}).get("VpcId", s.vpc)) != layout.vpc]
    if strays:
        evidence = "; ".join(f"{named(s)} is in {s.vpc}" for s in strays) + "."
        return [blocks("one-vpc", ONE_VPC, evidence, f"Name subnets of {layout.vpc} only.")]
    return [passes("one-vpc", ONE_VPC, f"{len(layout.subnets)} in {layout.vpc}.")]


LOOKS = (Look("subnet", EXIST, exist), Look("one-vpc", ONE_VPC, one_vpc))
