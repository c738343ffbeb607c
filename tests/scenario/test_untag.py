"""`subnet untag`, from the command to the proof: what is refused while something needs the tag, bad days, and undo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from bot.tour import buttons, words
from tests.scenario.conftest import (
    admin,
    calls_of,
    mutating,
    put_tag,
    request_id,
    says_nothing_changed,
    value_of,
)
from tests.world import APPROVER, DEV, MANAGEMENT, Json, World, eventually

DATABASE = "postgres"
IS_IMPATIENT = True
KEY = "kubernetes.io/cluster/"
ROLE = "kubernetes.io/role/elb"
WRITE = "ec2:DeleteTags"
ENDLESS = 10_000


@pytest.fixture(autouse=True)
def nothing_is_left(world: World) -> Iterator[None]:
    """No parked run, which would hold up every later one, no load balancer, no tag."""
    yield
    world.calm()
    for message in world.view.messages(DEV):
        if "tkg:abandon" in buttons(message):
            world.view.click(DEV, message["ts"], "tkg:abandon")
    balancing = load_balancing(world)
    for raw in balancing.describe_load_balancers()["LoadBalancers"]:
        balancing.delete_load_balancer(LoadBalancerArn=raw["LoadBalancerArn"])
    demo = list(world.vpcs["demo"]["subnets"].values())
    keys = {key for subnet, tags in world.view.tags().items() if subnet in demo for key in tags if key != "Name"}
    if keys:
        admin(world).delete_tags(Resources=demo, Tags=[{"Key": key} for key in keys])


def load_balancing(world: World) -> Any:
    """Elastic Load Balancing in the hands of the account's administrator."""
    env = dict(line.split("=", 1) for line in (world.folder / "env").read_text().splitlines())
    keys = world.view.aws()["accounts"][MANAGEMENT]["admin"]
    return boto3.client(
        "elbv2", endpoint_url=env["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip


def balancer(world: World, cluster: str, subnets: list[str]) -> str:
    """Makes a load balancer as the cluster's cloud provider would."""
    tag = [{"Key": f"{KEY}{cluster}", "Value": "owned"}]
    made = load_balancing(world).create_load_balancer(Name=f"lb-{cluster}", Type="network", Subnets=subnets, Tags=tag)
    arn: str = made["LoadBalancers"][0]["LoadBalancerArn"]
    return arn


def tagged(world: World, cluster: str, count: int = 3) -> list[str]:
    """Subnets that carry the cluster's tag."""
    subnets = world.public(count)
    put_tag(world, subnets, f"{KEY}{cluster}", "shared")
    return subnets


def ask(world: World, cluster: str, subnets: list[str], *more: str, state: str = "Approval") -> Json:
    """Types `subnet untag` and waits until its card shows `state`."""
    since = world.now()
    assert world.view.command(DEV, f"subnet untag {cluster} {' '.join([*subnets, *more])}").get("acked")
    found: Json = world.view.wait(DEV, state, since=since)
    return found


def approve(world: World, card: Json) -> None:
    world.view.click(APPROVER, card["ts"], "tkg:approve")


def done(world: World, cluster: str, count: int = 3) -> None:
    """Waits for the end of the run, and looks at EC2."""
    world.view.wait(DEV, f"🟢 Done: untag {count} subnet{'s' * (count != 1)} of {cluster}")
    assert world.tagged(cluster) == set()


def told(world: World, card: Json, text: str) -> Json:
    """The line in the card's thread, waited for."""
    line: Json = world.view.wait(DEV, text, thread=card["ts"], since=card["ts"])
    return line


def blocked(world: World, cluster: str, subnets: list[str], *more: str) -> Json:
    """Asks, and checks that nothing can be approved, and that nothing was called that changes."""
    card = ask(world, cluster, subnets, *more, state="Blocked")
    assert "tkg:approve" not in buttons(card)
    assert says_nothing_changed(told(world, card, "cannot be done as asked"))
    assert mutating(world, card) == []
    return card


# -- the ordinary way --------------------------------------------------------------------------------------------


def test_asked_approved_and_gone(world: World) -> None:
    subnets = tagged(world, "leaving")
    put_tag(world, subnets, f"{KEY}staying", "shared")
    card = ask(world, "leaving", subnets)
    assert f"- {KEY}leaving=shared" in words(card)
    assert world.tagged("leaving") == set(subnets)
    approve(world, card)
    proof = told(world, card, "Done and proven")
    assert f"{KEY}leaving is gone from 3 subnets" in words(proof).replace("`", "").replace("  ", " ")
    done(world, "leaving")
    assert world.tagged("staying") == set(subnets)
    assert [call["action"] for call in mutating(world, card)] == [WRITE]
    assert buttons(world.card(card)) == ["tkg:undo"]


@pytest.mark.long
def test_a_vpc_and_the_role_tag(world: World) -> None:
    first, *rest = tagged(world, "whole")
    put_tag(world, [first, *rest], ROLE, "1")
    for other in ("staying", "also-here"):
        put_tag(world, [first], f"{KEY}{other}", "shared")
    card = ask(world, "whole", [], f"--vpc {world.vpcs['demo']['id']}", "--role-tag")
    assert "Role tag that others use" in words(card)
    assert "also-here, staying" in words(card)
    approve(world, card)
    done(world, "whole")
    assert {name for name, tags in world.view.tags().items() if ROLE in tags} == {first}


@pytest.mark.long
def test_what_is_gone_is_already_so(world: World) -> None:
    card = ask(world, "never-there", world.public(), state="Already so")
    assert buttons(card) == []
    assert mutating(world, card) == []


@pytest.mark.long
def test_the_calls_are_what_the_plan_declared(world: World) -> None:
    subnets = tagged(world, "declared")
    card = ask(world, "declared", subnets)
    planned = len(calls_of(world, card))
    approve(world, card)
    done(world, "declared")
    made = calls_of(world, card)
    looks = [
        "sts:GetCallerIdentity", "ec2:DescribeSubnets", "ec2:DescribeRouteTables",
        "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancers",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeInstances", "ec2:DescribeNatGateways",
    ]  # fmt: skip
    step = ["ec2:DescribeSubnets", "ec2:DescribeSubnets", WRITE, "ec2:DescribeSubnets"]
    assert [call["action"] for call in made[:planned]] == looks
    assert [call["action"] for call in made[planned:]] == [*looks, *step, "ec2:DescribeSubnets"]
    assert {call["session"] for call in made} == {f"slack-{DEV}-{request_id(card)}"}
    assert {call["outcome"] for call in made} == {"ok"}


# -- refused -----------------------------------------------------------------------------------------------------


def test_refused_while_a_load_balancer_needs_it(world: World) -> None:
    subnets = tagged(world, "serving")
    arn = balancer(world, "serving", subnets[:1])
    card = blocked(world, "serving", subnets)
    line = words(told(world, card, "cannot be done as asked"))
    assert "lb-serving (network) in demo-public-a" in line
    assert "Delete the services of serving" in line
    load_balancing(world).delete_load_balancer(LoadBalancerArn=arn)
    world.view.click(DEV, card["ts"], "tkg:again")
    world.view.wait(DEV, "Approval needed: untag 3 subnets of serving")
    approve(world, card)
    done(world, "serving")


@pytest.mark.long
def test_refused_while_an_instance_lives_there(world: World) -> None:
    subnets = tagged(world, "living", 1)
    made = admin(world).run_instances(
        ImageId="ami-12345678", InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnets[0],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": f"{KEY}living", "Value": "owned"}]}],
    )  # fmt: skip
    node = made["Instances"][0]["InstanceId"]
    try:
        card = blocked(world, "living", subnets)
        assert node in words(told(world, card, "cannot be done as asked"))
    finally:
        admin(world).terminate_instances(InstanceIds=[node])


@pytest.mark.long
def test_a_tag_that_the_cluster_owns_is_refused(world: World) -> None:
    owned = world.subnets("crowded-owned-b", vpc="crowded")
    card = blocked(world, "demo", owned)
    assert f"{KEY}demo=owned" in words(told(world, card, "cannot be done as asked"))
    assert world.view.tags()[owned[0]][f"{KEY}demo"] == "owned"


@pytest.mark.long(but=1)
@pytest.mark.parametrize("right", ["elasticloadbalancing:DescribeLoadBalancers", "ec2:DescribeInstances"])
def test_not_allowed_to_look_is_refused(world: World, right: str) -> None:
    subnets = tagged(world, "unseen")
    world.view.aws_faults(deny=[right])
    card = blocked(world, "unseen", subnets)
    line = words(told(world, card, "cannot be done as asked"))
    assert right in line
    assert "not known" in line
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:again")
    world.view.wait(DEV, "Approval needed: untag 3 subnets of unseen")
    assert world.tagged("unseen") == set(subnets)


def test_a_load_balancer_that_came_after_the_card_voids_the_approval(world: World) -> None:
    subnets = tagged(world, "revived")
    card = ask(world, "revived", subnets)
    old = value_of(card, "tkg:approve")
    balancer(world, "revived", subnets[:1])
    world.view.click(APPROVER, card["ts"], "tkg:approve", value=old)
    line = told(world, card, "the approval is void")
    assert says_nothing_changed(line)
    assert "lb-revived" in words(line)
    world.view.wait(DEV, "Blocked: untag 3 subnets of revived")
    assert mutating(world, card) == []
    assert world.tagged("revived") == set(subnets)


# -- bad days ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_denied_while_running(world: World) -> None:
    subnets = tagged(world, "denied")
    card = ask(world, "denied", subnets)
    world.view.aws_faults(deny=[WRITE])
    approve(world, card)
    assert WRITE in words(told(world, card, "by a service control policy"))
    world.view.wait(DEV, "Failed: untag 3 subnets of denied")
    assert world.tagged("denied") == set(subnets)


@pytest.mark.long
def test_deletes_that_did_nothing_are_not_done(world: World) -> None:
    subnets = tagged(world, "lied-to")
    card = ask(world, "lied-to", subnets)
    world.view.aws_faults(lying_tags=True)
    approve(world, card)
    line = told(world, card, "cannot be seen yet")
    assert "not seen to be done" in words(line)
    assert "🟢" not in words(world.card(card))
    assert world.tagged("lied-to") == set(subnets)
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:resume")
    done(world, "lied-to")


@pytest.mark.long
def test_reads_that_lag_behind_the_change(world: World) -> None:
    card = ask(world, "lagging", tagged(world, "lagging"))
    world.view.aws_faults(hold=[WRITE])
    approve(world, card)
    world.wait_until_held(WRITE)
    world.view.aws_faults(hold=[], tag_lag_reads=2)
    done(world, "lagging")
    assert len(mutating(world, card)) == 1


def test_a_change_whose_answer_was_lost_is_not_made_twice(world: World) -> None:
    card = ask(world, "lost", tagged(world, "lost"))
    world.lose_answer(WRITE, lambda: approve(world, card))
    done(world, "lost")
    assert len(mutating(world, card)) == 1


@pytest.mark.long
def test_throttling_that_lasts_parks_the_run(world: World) -> None:
    subnets = tagged(world, "slow")
    card = ask(world, "slow", subnets)
    world.view.aws_faults(throttle_mutating=ENDLESS)
    approve(world, card)
    assert "not seen to be done" in words(told(world, card, "AWS is throttling"))
    assert world.tagged("slow") == set(subnets)
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:resume")
    done(world, "slow")


@pytest.mark.long
def test_a_run_that_is_taken_up_between_its_steps(world: World) -> None:
    """The subnets are found by their tag, and the first step has changed them: that is no drift."""
    subnets = tagged(world, "halfway")
    put_tag(world, subnets, ROLE, "1")
    card = ask(world, "halfway", [], f"--vpc {world.vpcs['demo']['id']}", "--role-tag")
    world.view.aws_faults(hold_answer=[WRITE])
    approve(world, card)
    world.wait_until_held(WRITE)
    world.view.aws_faults(throttle_mutating=ENDLESS, hold_answer=[])
    told(world, card, "AWS is throttling")
    tags = world.view.tags()
    assert [(ROLE in tags[name], f"{KEY}halfway" in tags[name]) for name in subnets] == [(False, True)] * 3
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:resume")
    done(world, "halfway")


@pytest.mark.long
def test_a_value_that_somebody_changed_since_is_left(world: World) -> None:
    first, *rest = tagged(world, "taken")
    card = ask(world, "taken", [first, *rest])
    put_tag(world, [first], f"{KEY}taken", "owned")
    approve(world, card)
    assert says_nothing_changed(told(world, card, "the approval is void"))
    world.view.wait(DEV, "Blocked: untag 3 subnets of taken")
    assert world.tagged("taken") == {first, *rest}


# -- undo --------------------------------------------------------------------------------------------------------


def undone(world: World, card: Json, headline: str) -> Json:
    """Clicks Undo, approves the new request, waits for its end; the new card."""
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:undo")
    new: Json = world.view.wait(DEV, f"Approval needed: {headline}", since=since)
    approve(world, new)
    eventually(lambda: f"🟢 Done: {headline}" in words(world.card(new)))
    return new


@pytest.mark.long
def test_tagging_is_undone_to_what_was_there(world: World) -> None:
    first, second, third = tagged(world, "back", 1) + world.public()[1:]
    put_tag(world, [second], ROLE, "1")
    before = world.view.tags()
    card = world.ask("back", [first, second, third], "--role-tag")
    approve(world, card)
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for back")
    after = world.view.tags()
    new = undone(world, card, "untag 3 subnets of back")
    assert f"--role-subnets {first},{third}" in words(new)
    assert world.view.tags() == before
    undone(world, new, "tag 3 subnets for back")
    assert world.view.tags() == after


def test_untagging_is_undone_to_what_was_there(world: World) -> None:
    private = world.subnets("demo-private-a")
    subnets = [*tagged(world, "again", 2), *private]
    put_tag(world, private, f"{KEY}again", "shared")
    before = world.view.tags()
    card = ask(world, "again", [], f"--vpc {world.vpcs['demo']['id']}")
    approve(world, card)
    done(world, "again")
    new = undone(world, card, "tag 3 subnets for again")
    assert "--private" in words(new)
    assert world.view.tags() == before
    assert world.tagged("again") == set(subnets)


@pytest.mark.long
def test_an_undo_is_refused_while_the_tag_is_needed(world: World) -> None:
    subnets = world.public()
    card = world.ask("needed", subnets)
    approve(world, card)
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for needed")
    balancer(world, "needed", subnets[:1])
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:undo")
    new = world.view.wait(DEV, "Blocked: untag 3 subnets of needed", since=since)
    assert "lb-needed" in words(told(world, new, "cannot be done as asked"))
    assert world.tagged("needed") == set(subnets)
