"""What AWS can do wrong while a request is planned, approved and carried out, and what people are told then."""

from __future__ import annotations

from typing import Any

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
from tests.world import APPROVER, DEV, Json, World, eventually

DATABASE = "sqlite"
IS_IMPATIENT = True
KEY = "kubernetes.io/cluster/"
WRITE = "ec2:CreateTags"
ENDLESS = 10_000


def approve(world: World, card: Json) -> None:
    world.view.click(APPROVER, card["ts"], "tkg:approve")


def done(world: World, cluster: str, count: int = 3) -> None:
    """Waits for the end of the run, and looks at EC2."""
    world.view.wait(DEV, f"🟢 Done: tag {count} subnets for {cluster}")
    assert world.tagged(cluster) == set(world.public())


def told(world: World, card: Json, text: str) -> Json:
    """The line in the card's thread, waited for."""
    line: Json = world.view.wait(DEV, text, thread=card["ts"], since=card["ts"])
    return line


def parked(world: World, card: Json, cluster: str, text: str) -> Json:
    """Waits until the run has stopped for a person to look."""
    world.view.wait(DEV, f"Needs a person: tag 3 subnets for {cluster}")
    assert {"tkg:resume", "tkg:abandon"} <= set(buttons(world.card(card))) <= {"tkg:resume", "tkg:abandon", "tkg:undo"}
    line = told(world, card, text)
    assert "resume it" in words(line)
    assert "🟢" not in words(world.card(card))
    return line


# -- at plan time ------------------------------------------------------------------------------------------------

AT_PLAN: list[tuple[dict[str, Any], str, str]] = [
    ({"throttle": ENDLESS}, "AWS is throttling account", "in a few minutes"),
    ({"server_error": ENDLESS}, "had trouble answering", "in a few minutes"),
    ({"unreachable": True}, "cannot be reached", "when the network is well"),
    ({"expired_credentials": True}, "have expired", "platform team"),
    ({"bad_keys": True}, "does not accept the bot's credentials", "platform team"),
    ({"deny": ["ec2:DescribeSubnets"]}, "by a service control policy", "organisation"),
    ({"deny": ["sts:AssumeRole"]}, "sts:AssumeRole", "organisation"),
]


@pytest.mark.long(but=3)
@pytest.mark.parametrize(("fault", "reason", "fix"), AT_PLAN)
def test_a_plan_that_cannot_be_made(world: World, fault: dict[str, Any], reason: str, fix: str) -> None:
    world.view.aws_faults(**fault)
    card = world.ask("no-plan", world.public(), state="Failed")
    line = told(world, card, reason)
    assert says_nothing_changed(line)
    assert fix in words(line)
    assert "@dev" in words(line)
    assert buttons(card) == []
    assert mutating(world, card) == []


@pytest.mark.long(but=1)
@pytest.mark.parametrize("fault", [{"throttle": 1}, {"server_error": 1}])
def test_trouble_that_passes_while_planning(world: World, fault: dict[str, int]) -> None:
    world.view.aws_faults(**fault)
    world.ask(f"passes-{next(iter(fault))[:3]}", world.public())


# -- at run time -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_throttling_that_passes_while_running(world: World) -> None:
    card = world.ask("throttled", world.public())
    world.view.aws_faults(throttle_mutating=1)
    approve(world, card)
    done(world, "throttled")


def test_throttling_that_lasts_parks_the_run(world: World) -> None:
    card = world.ask("lasting", world.public())
    world.view.aws_faults(throttle_mutating=ENDLESS)
    approve(world, card)
    line = parked(world, card, "lasting", "AWS is throttling")
    assert "not seen to be done" in words(line)
    assert world.tagged("lasting") == set()
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:resume")
    done(world, "lasting")


@pytest.mark.long
def test_a_parked_run_that_is_abandoned(world: World) -> None:
    card = world.ask("abandoned", world.public())
    world.view.aws_faults(throttle_mutating=ENDLESS)
    approve(world, card)
    parked(world, card, "abandoned", "AWS is throttling")
    world.view.click(DEV, card["ts"], "tkg:abandon")
    assert "put kubernetes.io/cluster/abandoned" in words(told(world, card, "abandoned this run")).replace("  ", " ")
    world.view.wait(DEV, "Abandoned: tag 3 subnets for abandoned")
    world.calm()
    assert world.tagged("abandoned") == set()


@pytest.mark.long
def test_denied_while_running(world: World) -> None:
    card = world.ask("denied", world.public())
    world.view.aws_faults(deny=[WRITE])
    approve(world, card)
    line = told(world, card, "by a service control policy")
    assert "organisation" in words(line)
    assert "put" in words(line)
    world.view.wait(DEV, "Failed: tag 3 subnets for denied")
    world.calm()
    assert world.tagged("denied") == set()


def test_denied_in_the_middle_says_what_was_changed(world: World) -> None:
    card = world.ask("halfway", world.public(), "--role-tag")
    world.view.aws_faults(hold_answer=[WRITE])
    approve(world, card)
    world.wait_until_held()
    world.view.aws_faults(deny=[WRITE], hold_answer=[])
    line = told(world, card, "by a service control policy")
    said = words(line).replace("  ", " ")
    assert f"Changed: put {KEY}halfway=shared" in said
    assert "not seen to be done: put kubernetes.io/role/elb=1" in said
    world.view.wait(DEV, "Failed: tag 3 subnets for halfway")
    assert world.tagged("halfway") == set(world.public())


@pytest.mark.long
def test_credentials_that_expire_while_running(world: World) -> None:
    card = world.ask("expired", world.public())
    world.view.aws_faults(expired_credentials=True)
    approve(world, card)
    line = told(world, card, "have expired")
    assert says_nothing_changed(line)
    world.view.wait(DEV, "Failed: tag 3 subnets for expired")
    world.calm()
    assert world.tagged("expired") == set()


@pytest.mark.long
def test_sessions_that_were_revoked_are_made_anew(world: World) -> None:
    card = world.ask("revoked", world.public())
    world.view.aws_faults(expire_sessions=True)
    approve(world, card)
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for revoked")


@pytest.mark.long
def test_out_of_reach_before_the_run_starts(world: World) -> None:
    card = world.ask("late-start", world.public())
    world.view.aws_faults(unreachable=True)
    approve(world, card)
    world.view.wait(DEV, "Approved: tag 3 subnets for late-start")
    world.calm()
    done(world, "late-start")


def test_a_run_that_cannot_begin_says_why(world: World) -> None:
    card = world.ask("no-word", world.public())
    world.view.aws_faults(unreachable=True)
    approve(world, card)
    try:
        world.view.wait(DEV, "cannot be reached", thread=card["ts"])
    finally:
        world.calm()
        done(world, "no-word")


@pytest.mark.long
def test_out_of_reach_in_the_middle_of_a_step(world: World) -> None:
    card = world.ask("cut-off", world.public())
    world.view.aws_faults(hold=[WRITE])
    approve(world, card)
    world.wait_until_held()
    world.view.aws_faults(unreachable=True, hold=[])
    line = parked(world, card, "cut-off", "cannot be reached")
    assert "not seen to be done" in words(line)
    world.calm()
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    done(world, "cut-off")
    assert len([call for call in mutating(world, card) if call["outcome"] == "ok"]) == 1


def test_a_change_whose_answer_was_lost_is_not_made_twice(world: World) -> None:
    card = world.ask("lost", world.public())
    world.lose_answer(WRITE, lambda: approve(world, card))
    done(world, "lost")
    assert len(mutating(world, card)) == 1


@pytest.mark.long
def test_reads_that_lag_behind_the_change(world: World) -> None:
    card = world.ask("lagging", world.public())
    world.view.aws_faults(hold=[WRITE])
    approve(world, card)
    world.wait_until_held()
    world.view.aws_faults(hold=[], tag_lag_reads=2)
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for lagging")
    assert world.tagged("lagging") == set(world.public())
    assert len(mutating(world, card)) == 1


def test_success_that_did_nothing_is_not_done(world: World) -> None:
    card = world.ask("lied-to", world.public())
    world.view.aws_faults(lying_tags=True)
    approve(world, card)
    line = parked(world, card, "lied-to", "cannot be seen yet")
    assert "not seen to be done" in words(line)
    assert world.tagged("lied-to") == set()
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:resume")
    done(world, "lied-to")


# -- drift -------------------------------------------------------------------------------------------------------


def test_drift_between_card_and_click(world: World) -> None:
    first, *rest = world.public()
    card = world.ask("drifted", [first, *rest])
    old = value_of(card, "tkg:approve")
    put_tag(world, [first], f"{KEY}drifted", "shared")
    approve(world, card)
    line = told(world, card, "the approval is void")
    assert says_nothing_changed(line)
    assert "now to do" in words(line)
    world.view.wait(DEV, "Approval needed: tag 2 subnets for drifted")
    now = world.card(card)
    assert "0 of 1" in words(now)
    assert "the approval is void" in words(now)
    assert value_of(now, "tkg:approve") != old
    assert world.tagged("drifted") == {first}
    approve(world, card)
    done(world, "drifted", 2)
    assert [{arn.rpartition("/")[2] for arn in call["resources"]} for call in mutating(world, card)] == [set(rest)]


def test_an_outage_while_looking_again_costs_nobody_their_request(world: World) -> None:
    card = world.ask("outlasted", world.public())
    world.view.aws_faults(server_error=ENDLESS)
    world.view.click(DEV, card["ts"], "tkg:again")
    line = told(world, card, "had trouble answering")
    assert "Look again" in words(line)
    eventually(lambda: "🔴 Blocked" in words(world.card(card)))
    assert buttons(world.card(card)) == ["tkg:again", "tkg:withdraw"]
    world.calm()
    world.view.click(DEV, card["ts"], "tkg:again")
    world.view.wait(DEV, "Approval needed: tag 3 subnets for outlasted")
    approve(world, card)
    done(world, "outlasted")


@pytest.mark.long
def test_drift_while_the_run_looks_again(world: World) -> None:
    ec2 = admin(world)
    vpc = world.vpcs["legacy"]["id"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.80.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    card = world.ask("raced", [subnet])
    world.view.aws_faults(hold=["ec2:DescribeRouteTables"])
    approve(world, card)
    world.wait_until_held("ec2:DescribeRouteTables")
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)  # no way to the internet gateway any more
    world.view.aws_faults(hold=[])
    line = told(world, card, "the approval is void")
    assert "was" in words(line)
    assert "private" in words(line)
    world.view.wait(DEV, "Blocked: tag 1 subnet for raced")
    assert "tkg:approve" not in buttons(world.card(card))
    assert mutating(world, card) == []


@pytest.mark.long
def test_drift_in_a_name_only_voids_nothing(world: World) -> None:
    card = world.ask("renamed", world.public())
    put_tag(world, world.public(1), "Name", "a-better-name")
    try:
        approve(world, card)
        done(world, "renamed")
    finally:
        put_tag(world, world.public(1), "Name", "demo-public-a")


# -- what was approved is what runs ------------------------------------------------------------------------------


def test_the_calls_are_what_the_plan_declared(world: World) -> None:
    card = world.ask("declared", world.public(), "--role-tag")
    planned = len(calls_of(world, card))
    assert mutating(world, card) == []
    approve(world, card)
    done(world, "declared")
    made = calls_of(world, card)
    looks = ["sts:GetCallerIdentity", "ec2:DescribeSubnets", "ec2:DescribeRouteTables"]
    step = ["ec2:DescribeSubnets", "ec2:DescribeSubnets", WRITE, "ec2:DescribeSubnets"]
    proof = ["ec2:DescribeSubnets"] * 2
    assert [call["action"] for call in made[:planned]] == looks
    assert [call["action"] for call in made[planned:]] == [*looks, *step, *step, *proof]
    assert {call["session"] for call in made} == {f"slack-{DEV}-{request_id(card)}"}
    assert {call["source_identity"] for call in made} == {DEV}
    assert {call["outcome"] for call in made} == {"ok"}
    arns = {f"arn:aws:ec2:us-east-1:111122223333:subnet/{name}" for name in world.public()}
    assert [set(call["resources"]) for call in mutating(world, card)] == [arns, arns]


@pytest.mark.long
def test_two_runs_on_one_vpc_follow_each_other(world: World) -> None:
    first, second = world.ask("first", world.public()), world.ask("next", world.public())
    world.view.aws_faults(hold=[WRITE])
    approve(world, first)
    world.wait_until_held()
    approve(world, second)
    eventually(lambda: request_id(first) in words(world.card(second)))
    world.view.aws_faults(hold=[])
    done(world, "first")
    done(world, "next")
