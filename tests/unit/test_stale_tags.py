"""Tags of clusters that are gone, in the sandbox's AWS: what is called stale, what is not, and what is offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from handlers.contract import Fatal, Finding
from handlers.network import Subnet
from handlers.subnet_scope import Where
from handlers.subnet_untag import UntagArguments
from handlers.survey.drifting import MOST, _stale, stale_tags
from handlers.workshop import TeamWorkshop
from handlers.worlds import Looking
from tests.unit.clouds import CALLER, HOME, REGION, Cloud, carried_out, key, planned
from tests.unit.makers import SUBNETS

pytestmark = pytest.mark.long

STANDING = frozenset({"demo", "other"})
"""The clusters whose tags the sandbox has from the start."""
WHERE = Where("management", REGION, "aws", HOME)


def stale(
    shop: TeamWorkshop, *known: str, account: str = "management", region: str = "", standing: bool = False
) -> list[Finding]:
    """What a look finds, but for the tags that the sandbox has from the start."""
    alive = frozenset(known) | (frozenset() if standing else STANDING)
    return stale_tags(account, region, alive, Looking(shop.reach, CALLER, "survey"))


def test_a_tag_of_a_cluster_that_is_nowhere(cloud: Cloud, shop: TeamWorkshop) -> None:
    assert stale(shop) == []
    subnets = sorted(cloud.public()[:2])
    cloud.put(subnets, ghost="shared")
    (found,) = stale(shop)
    vpc = cloud.vpc()
    assert (found.id, found.kind) == (f"stale-tags management {REGION} {vpc} ghost", "stale-tags")
    assert found.title == (
        f"2 subnets of {vpc} in management still carry the tag of ghost, of which nothing else is there."
    )
    assert (found.evidence, found.fix) == (f"{', '.join(subnets)}.", "")
    assert (found.account, found.cluster, found.request) == ("management", "ghost", "")
    assert found.repair is not None
    assert (found.repair.title, found.repair.label) == ("Take the tag of ghost off 2 subnets.", "Untag ghost")
    assert found.repair.operation == "subnet untag"
    assert found.repair.arguments == {
        "cluster": "ghost", "subnets": subnets, "account": "management", "region": REGION,
    }  # fmt: skip


def test_the_offer_is_a_request_that_ends_it(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), ghost="shared")
    (found,) = stale(shop)
    assert found.repair is not None
    carried_out(shop, planned(shop, found.repair.operation, **found.repair.arguments))
    assert all(key("ghost") not in tags for tags in cloud.tags().values())
    assert stale(shop) == []


def test_one_subnet_is_spoken_of_as_one(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public()[:1], ghost="shared")
    (found,) = stale(shop)
    assert found.title.startswith(f"1 subnet of {cloud.vpc()} in management still carries the tag of ghost")


def test_what_stands_there_from_the_start_is_found_too(cloud: Cloud, shop: TeamWorkshop) -> None:
    assert {found.cluster for found in stale(shop, standing=True)} == STANDING


def test_a_cluster_that_is_known_or_seen_is_not_stale(cloud: Cloud, shop: TeamWorkshop) -> None:
    """Known: the management cluster has it, or a request tagged for it. Seen: it has machines or a load balancer."""
    first, second, third = cloud.public()
    cloud.put([first], known="shared", noded="shared", balanced="shared", ghost="shared")
    cloud.node(second, {key("noded"): "owned"})
    cloud.balancer("front", [second, third], {key("balanced"): "owned"})
    assert [found.cluster for found in stale(shop, "known")] == ["ghost"]


def test_another_value_is_left_to_people(cloud: Cloud, shop: TeamWorkshop) -> None:
    """Only `shared` is what `subnet untag` takes off: the rest somebody put there for a reason of theirs."""
    first, second, third = cloud.public()
    cloud.put([first, third], ghost="shared")
    cloud.put([second], ghost="owned")
    by_hand, ours = stale(shop)
    assert (ours.evidence, by_hand.evidence) == (f"{', '.join(sorted([first, third]))}.", f"{second}.")
    assert by_hand.id == f"{ours.id} by hand"
    assert by_hand.repair is None
    assert by_hand.fix == (
        f"The value of `{key('ghost')}` is not `shared` there, so tkgbot does not take it off: find out who "
        "set it, and remove it, or the subnets, by hand."
    )
    assert ours.repair is not None


def test_each_vpc_and_each_cluster_is_a_finding_of_its_own(cloud: Cloud, shop: TeamWorkshop) -> None:
    """No request untags subnets of two VPCs."""
    elsewhere = next(name for name in cloud.known["vpcs"] if name != "demo" and cloud.known["vpcs"][name]["subnets"])
    there = next(iter(cloud.known["vpcs"][elsewhere]["subnets"].values()))
    cloud.put([cloud.public()[0]], ghost="shared", spook="shared")
    cloud.put([there], ghost="shared")
    try:
        found = [(one.cluster, one.title.split()[3]) for one in stale(shop)]
    finally:
        cloud.admin("ec2").delete_tags(Resources=[there], Tags=[{"Key": key("ghost")}])
    wanted = [("ghost", cloud.vpc()), ("ghost", cloud.vpc(elsewhere)), ("spook", cloud.vpc())]
    assert sorted(found) == sorted(wanted)


def test_another_region_is_looked_at_there(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public()[:1], ghost="shared")
    assert stale(shop, region="eu-west-1") == []
    assert [found.cluster for found in stale(shop, region=REGION)] == ["ghost"]


# -- what cannot be told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["ec2:DescribeInstances", "elasticloadbalancing:DescribeLoadBalancers"])
def test_where_the_living_cannot_be_seen_nothing_is_called_stale(cloud: Cloud, shop: TeamWorkshop, action: str) -> None:
    cloud.put(cloud.public(), ghost="shared")
    cloud.sandbox.set_faults({"deny": [action]})
    with pytest.raises(Fatal, match=f"^Whether a tag is stale cannot be told. .*denied `{action}`"):
        stale(shop)


def test_subnets_that_cannot_be_seen_are_no_empty_account(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.sandbox.set_faults({"deny": ["ec2:DescribeSubnets"]})
    with pytest.raises(Fatal, match="denied `ec2:DescribeSubnets`"):
        stale(shop)


def test_credentials_that_lead_elsewhere_are_said(cloud: Cloud, shop: TeamWorkshop) -> None:
    with pytest.raises(Fatal, match="444455556666") as refused:
        stale(shop, account="mistaken")
    assert refused.value.hint


# -- many of them ------------------------------------------------------------------------------------------------


def some(count: int) -> list[Subnet]:
    ids = [f"subnet-{number:017x}" for number in range(count, 0, -1)]
    one = Subnet(SUBNETS[0], "vpc-1", "us-east-1a", "arn", {key("ghost"): "shared"}, "public", "rtb-1")
    return [replace(one, id=ident) for ident in ids]


def test_the_first_few_are_named_and_the_rest_counted() -> None:
    assert _stale("ghost", "vpc-1", some(5), WHERE, ours=True).evidence == f"{', '.join(SUBNETS[:5])}."
    assert _stale("ghost", "vpc-1", some(8), WHERE, ours=True).evidence == f"{', '.join(SUBNETS[:5])} and 3 more."


def test_more_than_one_request_may_name_are_offered_in_parts() -> None:
    found = _stale("ghost", "vpc-1", some(MOST + 1), WHERE, ours=True)
    assert found.title.startswith(f"{MOST + 1} subnets of vpc-1")
    assert found.repair is not None
    assert found.repair.title == f"Take the tag of ghost off {MOST} subnets."
    assert UntagArguments.model_validate(found.repair.arguments).subnets == SUBNETS[:MOST]


def test_a_label_is_never_longer_than_a_button() -> None:
    found = _stale("g" * 60, "vpc-1", some(1), WHERE, ours=True)
    assert found.repair is not None
    assert found.repair.label == f"Untag {'g' * 24}"
