"""What a cluster in another account needs beyond one at home: the way into that account, seen to work before anybody
approves, and networks that do not overlap.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from handlers.account_access import access_checks
from handlers.account_check import entry_of, tie_of
from handlers.account_look import Home, look_home
from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, AwsRefused, Check, Fatal, ReadWorld, Retry
from handlers.preflight import Layout
from handlers.steps.tag import TagStep
from handlers.subnet_checks import blocks, passes, warns

SEEN_ELSEWHERE = ("reader", "profiles")
"""The cluster's own preflight looks at these."""


def may_tag(layout: Layout, step: TagStep | None, world: ReadWorld) -> list[Check]:
    """The bot's own right to put the subnets' tag there, tried as a dry run: so a policy of the organisation speaks,
    too."""
    name, title = "tag-rights", "The bot may tag the subnets"
    if step is None:
        return []
    probe = world.probing().trying(step.account, step.region, step.actions)
    tags = [{"Key": step.key, "Value": step.value}]
    try:
        probe.try_write("ec2", "create_tags", Resources=list(step.resources), Tags=tags)
    except Denied as error:
        return [blocks(name, title, error.message, error.hint)]
    except (Retry, Fatal, AwsRefused) as error:
        return [Check(id=name, title=title, result="unknown", evidence=error.message, fix=error.hint)]
    return [passes(name, title, f"AWS would let it, says a dry run in {layout.where.account}.")]


def way_in(identity: str, layout: Layout, aws: AwsRead, world: ReadWorld) -> list[Check]:
    """Both sides of the way in, what the controllers may do there, and the networks. `aws` is the account itself."""
    home, problems = look_home(world, identity)
    if home is None:
        return [problems[-1]]
    entry = entry_of(home.item, world) if home.item is not None else None
    if entry is None:
        return []  # the identity check on the management cluster says that it is missing
    tie = tie_of(entry, home, world.clusters().iam_suffix)
    seen = [check for check in access_checks(tie, home.aws, aws) if check.id not in SEEN_ELSEWHERE]
    return [*seen, _networks(layout, aws, home)]


def _networks(layout: Layout, aws: AwsRead, home: Home) -> Check:
    """Two VPCs with overlapping addresses can be joined by neither peering nor a transit gateway. (Amazon VPC User
    Guide: "VPC peering limitations".)"""
    name, title = "overlap", "Networks that can be joined"
    if not home.principal.vpc:
        return passes(name, title, "The management cluster's network is not known to be a VPC, so nothing overlaps.")
    try:
        theirs, ours = _blocks(aws, layout.vpc), _blocks(home.aws, home.principal.vpc)
    except (Denied, Retry, Fatal, AwsRefused) as error:
        return Check(id=name, title=title, result="unknown", evidence=error.message, fix=error.hint)
    both = sorted(
        {f"{one} and {other}" for one in theirs for other in ours if ip_network(one).overlaps(ip_network(other))}
    )
    if both:
        evidence = f"{layout.vpc} overlaps the management cluster's {home.principal.vpc}: {', '.join(both)}."
        fix = "Peering cannot route between them: the API server has to be reached through its public address."
        return warns(name, title, evidence, fix)
    return passes(name, title, f"{layout.vpc} and the management cluster's {home.principal.vpc} do not overlap.")


def _blocks(aws: AwsRead, vpc: str) -> list[str]:
    found: list[Any] = [*aws.pages("ec2", "describe_vpcs", "Vpcs", VpcIds=[vpc])]
    return [
        str(entry["CidrBlock"])
        for item in found
        for entry in item.get("CidrBlockAssociationSet") or [{"CidrBlock": item["CidrBlock"]}]
        if (entry.get("CidrBlockState") or {}).get("State", "associated") == "associated"
    ]
