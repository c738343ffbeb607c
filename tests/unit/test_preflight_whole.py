"""The whole preflight of a cluster in AWS: all is well, what cannot be seen, and what passes."""

from __future__ import annotations

import pytest

from handlers.contract import Fatal, Retry
from handlers.preflight import checks
from tests.unit.clouds import Cloud
from tests.unit.preflights import Eyes, layout, pool, refusal, seen

pytestmark = pytest.mark.long

ALL = [
    "name-load-balancers", "name-tags", "vpc", "vpc-dns", "subnet", "one-vpc", "zones", "pool-zones", "zone-pairs",
    "public", "private", "way-out", "addresses", "balancer-addresses", "tag", "room", "instance-type", "instance-size",
    "offered", "ssh-key", "image", "instance-profiles", "quota-standard",
]  # fmt: skip
BLIND = [
    ("name-load-balancers", "elasticloadbalancing:DescribeLoadBalancers"),
    ("name-tags", "ec2:DescribeTags"),
    ("name-tags", "ec2:DescribeInstances"),
    ("vpc", "ec2:DescribeVpcs"),
    ("vpc-dns", "ec2:DescribeVpcAttribute"),
    ("subnet", "ec2:DescribeSubnets"),
    ("one-vpc", "ec2:DescribeSubnets"),
    ("way-out", "ec2:DescribeRouteTables"),
    ("way-out", "ec2:DescribeNatGateways"),
    ("way-out", "ec2:DescribeSubnets"),
    ("addresses", "ec2:DescribeSubnets"),
    ("balancer-addresses", "ec2:DescribeSubnets"),
    ("tag", "ec2:DescribeSubnets"),
    ("instance-type", "ec2:DescribeInstanceTypes"),
    ("instance-size", "ec2:DescribeInstanceTypes"),
    ("offered", "ec2:DescribeInstanceTypeOfferings"),
    ("ssh-key", "ec2:DescribeKeyPairs"),
    ("image", "ec2:DescribeImages"),
    ("quota-standard", "servicequotas:GetServiceQuota"),
    ("quota-standard", "ec2:DescribeInstances"),
    ("quota-standard", "ec2:DescribeInstanceTypes"),
]


def test_all_is_well(cloud: Cloud) -> None:
    seen(cloud)  # AWS's API models take seconds to parse, once in a process
    eyes = Eyes(cloud)
    found = checks(layout(cloud), eyes)
    assert [(check.id, check.result) for check in found] == [(name, "pass") for name in ALL]
    assert all(check.evidence and check.title for check in found)
    assert len(eyes.calls) <= 20, "people wait for the plan"


def test_nothing_is_asked_twice(cloud: Cloud) -> None:
    eyes = Eyes(cloud)
    checks(layout(cloud), eyes)
    # two attributes of a VPC; subnets by id, and those of the NAT gateway, with two looks at route tables; instances by
    # tag and all; network and classic load balancers; the types; two profiles
    assert len(eyes.calls) <= 24
    assert eyes.calls.count("ec2:DescribeInstanceTypes") == 1


def test_the_results_do_not_change_by_themselves(cloud: Cloud) -> None:
    first, second = (checks(layout(cloud), Eyes(cloud)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("name", "action"), BLIND)
def test_what_may_not_be_looked_at_is_unknown_and_blocks(cloud: Cloud, name: str, action: str) -> None:
    found = seen(cloud, Eyes(cloud, denied={action}))
    check = found[name]
    assert (check.result, check.blocks) == ("unknown", True)
    assert f"denied `{action}`" in check.evidence
    assert f"allow `{action}`" in check.fix
    hidden = {other for other, denied in BLIND if denied == action}
    assert {other.id for other in found.values() if other.result != "pass"} == hidden | (
        {"vpc-dns"} if action == "ec2:DescribeVpcs" else set()
    ) | ({"image"} if action == "ec2:DescribeInstanceTypes" else set())


def test_one_throttled_look_hides_nothing_of_the_others(cloud: Cloud) -> None:
    found = seen(cloud, Eyes(cloud, throttled={"ec2:DescribeKeyPairs"}))
    assert {name: check.result for name, check in found.items() if check.result != "pass"} == {"ssh-key": "unknown"}
    assert "throttling" in found["ssh-key"].evidence
    assert "few minutes" in found["ssh-key"].fix


def test_throttled_everywhere_is_worth_another_try(cloud: Cloud) -> None:
    with pytest.raises(Retry, match="throttling"):
        seen(cloud, Eyes(cloud, throttled={"*"}))


def test_credentials_that_are_not_accepted_are_told_once(cloud: Cloud) -> None:
    eyes = Eyes(cloud)
    whole = layout(cloud)

    def no_keys(_service: str, _action: str) -> None:
        raise refusal("AuthFailure")

    eyes.weather = no_keys  # type: ignore[method-assign]
    with pytest.raises(Fatal, match="does not accept the bot's credentials"):
        checks(whole, eyes)


def test_denied_everywhere_is_told_check_by_check(cloud: Cloud) -> None:
    found = seen(cloud, Eyes(cloud, denied={"*"}))
    assert found["vpc"].result == "unknown"
    assert found["instance-profiles"].result == "warn"
    assert found["zones"].result == "pass"


def test_another_refusal_is_unknown_too(cloud: Cloud) -> None:
    found = seen(cloud, pools=(pool("control-plane", type="t3.large"), pool("md-0", type="x1.16xlarge")))
    check = found["quota-x"]  # the sandbox's Service Quotas does not know it, applied or default
    assert (check.result, "NoSuchResourceException" in check.evidence) == ("unknown", True)
    assert check.fix.endswith("then look again.")
    assert found["quota-standard"].result == "pass"


def test_what_the_own_machines_change_is_not_asked_once_the_cluster_is_begun(cloud: Cloud) -> None:
    cloud.node(cloud.subnet("private-a"), {"kubernetes.io/cluster/shop": "owned"})
    assert seen(cloud)["name-tags"].result == "block"
    found = seen(cloud, begun=True)
    assert not any(check.blocks for check in found.values())
    own = {"name-load-balancers", "name-tags", "addresses", "balancer-addresses", "quota-standard"}
    assert set(ALL) - set(found) == own


def test_a_pool_without_machines_needs_nothing(cloud: Cloud) -> None:
    found = seen(cloud, pools=(pool("control-plane", type="t3.large"), pool("md-0", count=0, type="p4d.24xlarge")))
    assert "quota-p" not in found
    assert not any(check.blocks for check in found.values())
