"""The VPC: there, available, and with the DNS that nodes register by.

Without DNS support no name resolves, and without DNS hostnames a node has no private DNS name, which the cloud provider
knows it by. (Amazon VPC User Guide, "DNS attributes for your VPC"; kubernetes/cloud-provider-aws, "Prerequisites".)
"""

from __future__ import annotations

from typing import Any

from handlers.contract import AwsRead, Check
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.subnet_checks import blocks, not_found, passes

EXISTS = "The VPC exists"
DNS = "DNS of the VPC"
ATTRIBUTES = {
    "enableDnsSupport": ("DNS support", "--enable-dns-support"),
    "enableDnsHostnames": ("DNS hostnames", "--enable-dns-hostnames"),
}


def exists(layout: Layout, aws: AwsRead) -> list[Check]:
    """Is the VPC in this account and region?"""
    found = _described(layout, aws)
    if not found:
        return [not_found("vpc", [layout.vpc], layout.where.account, layout.where.region)]
    state = str(found[0].get("State", "available"))
    if state != "available":
        return [blocks("vpc", EXISTS, f"{layout.vpc} is {state}.", "Wait until AWS has made it, then look again.")]
    return [passes("vpc", EXISTS, f"{layout.vpc} ({found[0].get('CidrBlock', '')}) is available.")]


def dns(layout: Layout, aws: AwsRead) -> list[Check]:
    """Are both DNS attributes on? Of a VPC that is not there nothing is said."""
    if not _described(layout, aws):
        return []
    off = [name for name in ATTRIBUTES if not _is_on(layout, aws, name)]
    if not off:
        return [passes("vpc-dns", DNS, f"DNS support and DNS hostnames are on in {layout.vpc}.")]
    words = " and ".join(ATTRIBUTES[name][0] for name in off)
    evidence = f"{words} {'is' if off == ['enableDnsSupport'] else 'are'} off in {layout.vpc}: nodes won't register."
    fix = "; ".join(
        f"aws ec2 modify-vpc-attribute --region {layout.where.region} --vpc-id {layout.vpc} {ATTRIBUTES[name][1]}"
        for name in off
    )
    return [blocks("vpc-dns", DNS, evidence, fix)]


def _described(layout: Layout, aws: AwsRead) -> list[Any]:
    return list(aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=[{"Name": "vpc-id", "Values": [layout.vpc]}]))


def _is_on(layout: Layout, aws: AwsRead, name: str) -> bool:
    answer: Any = aws.read("ec2", "describe_vpc_attribute", VpcId=layout.vpc, Attribute=name)
    return bool(answer[name[0].upper() + name[1:]]["Value"])


LOOKS = (Look("vpc", EXISTS, exists), Look("vpc-dns", DNS, dns))
