"""Public and private as meant, seen with the provider's eyes.

A subnet that is public only through the main route table counts as private for the Cluster API's AWS provider, unless
it carries the provider's own role tag; then there is no public subnet for the load balancer. (kubernetes-sigs/
cluster-api-provider-aws, pkg/cloud/services/network/subnets.go, describeVpcSubnets.)
"""

from __future__ import annotations

from handlers.contract import AwsRead, Check
from handlers.network import Subnet
from handlers.preflight import ways_out
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.subnet_checks import blocks, named, passes

PUBLIC = "Public subnets are public"
PRIVATE = "Private subnets are private"
PROVIDER_ROLE = "sigs.k8s.io/cluster-api-provider-aws/role"


def public(layout: Layout, _aws: AwsRead) -> list[Check]:
    """Has each public subnet a route table of its own with an active route to an internet gateway?"""
    if not layout.public:
        return [passes("public", PUBLIC, "None is named: the API server's load balancer is an internal one.")]
    wrong = [s for s in layout.public if not _counts_as_public(s)]
    if not wrong:
        return [passes("public", PUBLIC, f"{_names(layout.public)}: each has an active route to an internet gateway.")]
    evidence = "; ".join(_why_not_public(subnet) for subnet in wrong) + "."
    return [blocks("public", PUBLIC, evidence, _public_fix(layout, wrong))]


def private(layout: Layout, _aws: AwsRead) -> list[Check]:
    """Is no private subnet open to the internet? Machines have no public address, so there they have no way out."""
    wrong = [subnet for subnet in layout.private if subnet.is_public]
    if not wrong:
        return [passes("private", PRIVATE, f"{_names(layout.private) or 'None'}: no way in from the internet.")]
    evidence = "; ".join(
        f"{named(s)} is public: {'the main route table' if s.route == 'main' else 'its route table'} {s.table} leads "
        "to an internet gateway"
        for s in wrong
    )
    fix = "Name these with --public-subnets and others as private, or give them a route table with a NAT gateway."
    return [blocks("private", PRIVATE, evidence + ".", fix)]


def _counts_as_public(subnet: Subnet) -> bool:
    return subnet.route == "public" or (subnet.route == "main" and subnet.tags.get(PROVIDER_ROLE) == "public")


def _why_not_public(subnet: Subnet) -> str:
    if subnet.route == "main":
        return (
            f"{named(subnet)} is public by the main route table {subnet.table} only: the provider takes it for private"
        )
    if subnet.route == "blackhole":
        return f"{named(subnet)}: the internet gateway in its route table {subnet.table} is gone"
    return f"{named(subnet)} is private: its route table {subnet.table} leads to no internet gateway"


def _public_fix(layout: Layout, wrong: list[Subnet]) -> str:
    by_main = [subnet for subnet in wrong if subnet.route == "main"]
    region = layout.where.region
    commands = [
        f"aws ec2 associate-route-table --region {region} --route-table-id {s.table} --subnet-id {s.id}"
        for s in by_main
    ]
    if len(by_main) < len(wrong):
        commands.append("Name other public subnets, or put the route to the internet gateway right.")
    return "\n".join(commands)


def _names(subnets: tuple[Subnet, ...]) -> str:
    return ", ".join(subnet.name for subnet in subnets)


LOOKS = (Look("public", PUBLIC, public), Look("private", PRIVATE, private), *ways_out.LOOKS)
