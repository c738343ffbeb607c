"""`subnet check` against the sandbox's AWS: what is tagged, public and stale, and what it admits not to know."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from handlers.contract import Fatal, Report, Retry, UsageError
from handlers.subnet_check import CheckArguments
from handlers.workshop import TeamWorkshop
from tests.unit.clouds import CALLER, ROLE, Cloud, asked, key

pytestmark = pytest.mark.long

DEMO = key("demo")
LOOKS = [
    "ec2:DescribeInstances",
    "ec2:DescribeTags",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
]


def report(shop: TeamWorkshop, **arguments: Any) -> Report:
    return shop.report("subnet check", asked(shop, "subnet check", **arguments), CALLER)


def row(found: Report, subnet: str) -> dict[str, str]:
    """A subnet's row, by column."""
    assert found.table is not None
    place = found.table.header.index("Id")
    cells = next(cells for cells in found.table.rows if cells[place] == subnet)
    return dict(zip(found.table.header, cells, strict=True))


def fact(found: Report, start: str) -> str:
    """The line that begins so, or nothing."""
    return next((line for line in found.facts if line.startswith(start)), "")


def live(cloud: Cloud, cluster: str = "demo") -> None:
    """Something of a cluster that is no subnet, in a VPC of its own."""
    cloud.node(cloud.subnet("private-a"), {key(cluster): "owned"})


# -- one cluster -------------------------------------------------------------------------------------------------


def test_all_is_well(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.write(cloud.public(), {DEMO: "shared", ROLE: "1"})
    live(cloud)
    found = report(shop, cluster="demo", vpc=cloud.vpc())
    assert found.title == f"3 of 3 public subnets of {cloud.vpc()} are tagged for demo; no tag is stale."
    assert (found.tone, len(found.facts)) == ("good", 1)
    assert "The management cluster was not asked." in found.facts[0]
    assert row(found, cloud.public()[0]) == {
        "Subnet": "demo-public-a", "Tagged for": "demo", "Role": "public", "Zone": "us-east-1a", "Route": "public",
        "Remark": "–", "Id": cloud.public()[0],
    }  # fmt: skip
    private = row(found, cloud.subnet("private-b"))
    assert (private["Tagged for"], private["Role"], private["Route"]) == ("none", "none", "private")


def test_two_zones_are_few(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public()[:2], demo="shared")
    live(cloud)
    found = report(shop, cluster="demo", vpc=cloud.vpc())
    assert (found.tone, "no tag is stale" in found.title) == ("warn", True)
    assert fact(found, "Public subnets in fewer than three zones").startswith(
        "Public subnets in fewer than three zones: demo (us-east-1a, us-east-1b)."
    )


def test_one_stale_tag_among_several(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    cloud.put([first, second], demo="shared")
    cloud.put([second], gone="shared")
    live(cloud)
    found = report(shop, cluster="demo", vpc=cloud.vpc())
    assert found.title == f"2 of 3 public subnets of {cloud.vpc()} are tagged for demo; 1 tag is stale."
    assert found.tone == "warn"
    assert fact(found, "Public, and not tagged for demo") == (
        f"Public, and not tagged for demo: demo-public-c ({third})."
    )
    stale = fact(found, "Stale")
    assert (f"gone on demo-public-b ({second}) (1 subnet)" in stale, first in stale) == (True, False)
    assert "unless the cluster has yet to be made" in stale
    assert fact(found, "Public subnets in fewer than three zones").count("us-east-1") == 2
    assert row(found, second)["Remark"] == "stale: gone"
    assert row(found, second)["Tagged for"] == "demo, gone"


@pytest.mark.parametrize(
    "sign", ["instance", "network", "classic", "controller", "provider", "security group", "another VPC"]
)
def test_any_sign_of_the_cluster_keeps_its_tags_fresh(cloud: Cloud, shop: TeamWorkshop, sign: str) -> None:
    cloud.put(cloud.public(), demo="shared")
    assert "3 tags are stale" in report(shop, cluster="demo", vpc=cloud.vpc()).title
    if sign == "instance":
        live(cloud)
    elif sign == "another VPC":
        cloud.node(cloud.subnet("tiny-a", "crowded"), {DEMO: "owned"})
    elif sign == "security group":
        group = cloud.admin("ec2").create_security_group(GroupName="nodes", Description="x", VpcId=cloud.vpc())
        cloud.write([group["GroupId"]], {DEMO: "owned"})
    else:
        tags = {
            "provider": {"sigs.k8s.io/cluster-api-provider-aws/cluster/demo": "owned"},
            "controller": {"elbv2.k8s.aws/cluster": "demo"},
        }
        kind = sign if sign == "classic" else "network"
        cloud.balancer("web", cloud.public(), tags.get(sign, {DEMO: "owned"}), kind)
    try:
        assert "no tag is stale" in report(shop, cluster="demo", vpc=cloud.vpc()).title
    finally:
        if sign == "security group":
            cloud.admin("ec2").delete_tags(Resources=[group["GroupId"]], Tags=[{"Key": DEMO}])
            cloud.admin("ec2").delete_security_group(GroupId=group["GroupId"])


def test_an_instance_that_has_ended_is_no_sign(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), demo="shared")
    node = cloud.node(cloud.public()[0], {DEMO: "owned"})
    assert "no tag is stale" in report(shop, cluster="demo", vpc=cloud.vpc()).title
    cloud.admin("ec2").terminate_instances(InstanceIds=[node])
    assert "3 tags are stale" in report(shop, cluster="demo", vpc=cloud.vpc()).title


def test_without_a_vpc_those_that_the_cluster_is_in(cloud: Cloud, shop: TeamWorkshop) -> None:
    tiny = cloud.subnet("tiny-a", "crowded")
    cloud.put(cloud.public()[:1], web="shared")
    found = report(shop, cluster="web")
    assert cloud.vpc() in found.title
    assert found.table is not None
    assert "VPC" not in found.table.header
    cloud.node(tiny, {key("web"): "owned"})
    both = report(shop, cluster="web")
    assert "1 of 7 public subnets" in both.title
    assert row(both, tiny)["VPC"] == cloud.vpc("crowded")
    assert row(both, cloud.public()[0])["VPC"] == cloud.vpc()


def test_a_cluster_without_any_subnet(cloud: Cloud, shop: TeamWorkshop) -> None:
    found = report(shop, cluster="nowhere")
    assert found.title == "No subnet in us-east-1 of account `management` is tagged for nowhere."
    assert (found.tone, found.table) == ("bad", None)
    assert "--vpc" in found.facts[0]
    inside = report(shop, cluster="nowhere", vpc=cloud.vpc())
    assert (inside.tone, inside.title.split(";")[0]) == (
        "bad",
        f"None of 3 public subnets of {cloud.vpc()} are tagged for nowhere",
    )


def test_what_a_tag_does_not_help(cloud: Cloud, shop: TeamWorkshop) -> None:
    """Private, public by the main table only, and cut off."""
    private = cloud.subnet("private-a")
    legacy = [cloud.subnet(name, "legacy") for name in ("main-a", "blackhole-c")]
    cloud.put([private, *legacy], demo="shared")
    try:
        found = report(shop, cluster="demo", vpc=cloud.vpc())
        assert found.tone == "bad"
        assert private in fact(found, "Tagged for demo, and private")
        assert "Only internal load balancers" in fact(found, "Tagged for demo, and private")
        old = report(shop, cluster="demo", vpc=cloud.vpc("legacy"))
    finally:
        cloud.admin("ec2").delete_tags(Resources=legacy, Tags=[{"Key": DEMO}])
    assert old.tone == "warn"
    assert legacy[0] in fact(old, "Tagged for demo, and public only through the main route table")
    assert legacy[1] in fact(old, "Tagged for demo, with a route to an internet gateway that is gone")
    assert row(old, legacy[0])["Route"] == "public by main table"
    assert row(old, legacy[1])["Route"] == "gateway gone"


def test_subnets_that_are_nearly_full(cloud: Cloud, shop: TeamWorkshop) -> None:
    found = report(shop, cluster="demo", vpc=cloud.vpc("crowded"))
    names = [cloud.subnet(name, "crowded") for name in ("full-a", "49-c", "tiny-a", "owned-b")]
    crowded = fact(found, "More than 40 of 50 tags")
    assert [name in crowded for name in names] == [True, True, False, False]
    assert row(found, names[0])["Remark"] == "50 of 50 tags"
    assert row(found, names[3])["Tagged for"] == "demo (owned), other (owned)"


def test_forty_tags_are_not_many(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, _ = cloud.public()
    cloud.write([first, second], {f"team/{number}": "x" for number in range(39)})  # and its name
    cloud.write([second], {"team/more": "x"})
    crowded = fact(report(shop, cluster="demo", vpc=cloud.vpc()), "More than 40")
    assert (first in crowded, second in crowded) == (False, True)


# -- all clusters ------------------------------------------------------------------------------------------------


def test_all_clusters_of_the_region(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, _ = cloud.public()
    cloud.put([first], demo="shared", gone="shared")
    cloud.put([second], demo="shared")
    live(cloud)
    found = report(shop, all=True)
    assert found.title == (
        "3 of 13 public subnets in us-east-1 of account `management` are tagged for a cluster; 2 tags are stale."
    )
    assert found.tone == "warn"
    assert found.table is not None
    assert len(found.table.rows) == len(cloud.tags())
    assert row(found, first)["Remark"] == "stale: gone"
    owned = row(found, cloud.subnet("owned-b", "crowded"))
    assert (owned["Remark"], owned["VPC"]) == ("stale: other", cloud.vpc("crowded"))
    assert "gone (us-east-1a)" in fact(found, "Public subnets in fewer than three zones")
    assert cloud.subnet("tiny-a", "crowded") in fact(found, "Public, and not tagged for any cluster")


def test_all_clusters_of_a_vpc(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), demo="shared")
    live(cloud)
    found = report(shop, all=True, vpc=cloud.vpc())
    assert found.title == f"3 of 3 public subnets of {cloud.vpc()} are tagged for a cluster; no tag is stale."
    assert found.tone == "good"
    assert report(shop, all=True, vpc=cloud.vpc("legacy")).tone == "info"


# -- what it does not know ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", LOOKS)
def test_not_allowed_to_look_is_said_and_nothing_is_called_stale(cloud: Cloud, shop: TeamWorkshop, action: str) -> None:
    cloud.put(cloud.public(), demo="shared")
    cloud.balancer("web", cloud.public(), {})
    cloud.sandbox.set_faults({"deny": [action]})
    found = report(shop, cluster="demo")
    assert found.tone == "warn"
    assert "whether a tag is stale could not be looked at" in found.title
    assert f"denied `{action}`" in fact(found, "Whether a tag is stale is not known.")
    assert fact(found, "Stale") == ""
    assert row(found, cloud.public()[0])["Remark"] == "–"


def test_subnets_that_may_not_be_looked_at_are_no_answer(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.sandbox.set_faults({"deny": ["ec2:DescribeSubnets"]})
    with pytest.raises(Fatal, match="denied `ec2:DescribeSubnets`"):
        report(shop, all=True)


def test_what_passes_is_not_an_answer_either(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.sandbox.set_faults({"throttle": 50})
    with pytest.raises(Retry, match="throttling"):
        report(shop, all=True)


def test_the_wrong_account_is_told(cloud: Cloud, shop: TeamWorkshop) -> None:
    found = report(shop, cluster="demo", account="mistaken")
    assert (found.tone, found.table) == ("bad", None)
    assert "444455556666" in found.title


def test_a_vpc_that_is_not_there(cloud: Cloud, shop: TeamWorkshop) -> None:
    with pytest.raises(UsageError, match="vpc-00000000 is not in us-east-1 of account `management`") as caught:
        report(shop, cluster="demo", vpc="vpc-00000000")
    assert "--region" in caught.value.hint


def test_it_only_looks(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), demo="shared")
    cloud.balancer("web", cloud.public(), {})
    began = len(cloud.sandbox.calls)
    report(shop, all=True)
    calls = [call for call in cloud.sandbox.calls_since(began) if call["service"] != "sts"]
    assert calls
    assert not any(call["mutating"] for call in calls)


# -- words -------------------------------------------------------------------------------------------------------


def test_a_cluster_or_all_must_be_named() -> None:
    for arguments in ({}, {"vpc": "vpc-00000000"}):
        with pytest.raises(ValidationError, match="names no cluster: add its name, or --all"):
            CheckArguments(**arguments)
    with pytest.raises(ValidationError, match="leave one of them out"):
        CheckArguments(cluster="demo", all=True)
