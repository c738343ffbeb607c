"""`subnet check`: an answer for the one who asked only, with a table, and no change of anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot.tour import words
from tests.scenario.conftest import admin, mentions, modal, put_tag, whole
from tests.world import APPROVER, DEV, Json, World

pytestmark = pytest.mark.long

DATABASE = "sqlite"
KEY = "kubernetes.io/cluster/"
GUEST = "UGUEST0001"


@pytest.fixture(autouse=True)
def nothing_is_left(world: World) -> Iterator[None]:
    yield
    world.calm()
    demo = list(world.vpcs["demo"]["subnets"].values())
    keys = {key for subnet, tags in world.view.tags().items() if subnet in demo for key in tags if key != "Name"}
    if keys:
        admin(world).delete_tags(Resources=demo, Tags=[{"Key": key} for key in keys])


def answer(world: World, text: str, said: str, user: str = DEV) -> Json:
    """Types a command and waits for what it is answered."""
    since = world.now()
    assert world.view.command(user, text).get("acked")
    found: Json = world.view.wait(user, said, since=since)
    return found


def cells(message: Json) -> list[list[str]]:
    """The rows of the message's table, as text."""
    tables = [block for block in message["blocks"] if block["type"] == "table"]
    assert len(tables) == 1, message["blocks"]
    return [[text_in(cell) for cell in row] for row in tables[0]["rows"]]


def text_in(node: Any) -> str:
    """All the text in a piece of a message."""
    if isinstance(node, dict):
        return str(node["text"]) if isinstance(node.get("text"), str) else text_in(list(node.values()))
    return "".join(text_in(part) for part in node) if isinstance(node, list) else ""


def test_a_cluster_in_a_table_that_only_the_asker_sees(world: World) -> None:
    subnets = world.public(2)
    put_tag(world, subnets, f"{KEY}shown", "shared")
    before = len(world.changes())
    found = answer(world, "subnet check shown", "are tagged for shown")
    vpc = world.vpcs["demo"]["id"]
    assert f"2 of 3 public subnets of {vpc} are tagged for shown; 2 tags are stale." in words(found)
    assert "The management cluster was not asked." in words(found)
    assert found["ephemeral"]
    assert not any("tagged for shown" in words(message) for message in world.view.messages(APPROVER))
    header, *rows = cells(found)
    assert header[:2] == ["Subnet", "Tagged for"]
    assert {row[0]: row[1] for row in rows}["demo-public-a"] == "shown"
    assert {row[0]: row[1] for row in rows}["demo-public-c"] == "none"
    assert {row[6] for row in rows} == set(world.vpcs["demo"]["subnets"].values())
    assert len(world.changes()) == before


def test_all_clusters(world: World) -> None:
    put_tag(world, world.public(1), f"{KEY}one", "shared")
    found = answer(world, "subnet check --all", "are tagged for a cluster")
    assert "other (owned)" in whole(found)
    assert "one" in {row[1] for row in cells(found)}


def test_another_account_and_region(world: World) -> None:
    found = answer(world, "subnet check --all --account tenant", "account tenant")
    assert {row[0] for row in cells(found)[1:]} == {
        f"tenant-{kind}-{z}" for kind in ("public", "private") for z in "abc"
    }
    europe = answer(world, "subnet check --all --region eu-west-1", "in eu-west-1")
    assert [row[0] for row in cells(europe)[1:]] == ["europe-public-a"]


def test_what_was_seen_is_said_when_something_may_not_be_looked_at(world: World) -> None:
    put_tag(world, world.public(), f"{KEY}half-seen", "shared")
    world.view.aws_faults(deny=["elasticloadbalancing:DescribeLoadBalancers"])
    found = answer(world, "subnet check half-seen", "could not be looked at")
    assert "elasticloadbalancing:DescribeLoadBalancers" in words(found)
    assert "3 of 3 public subnets" in words(found)


def test_a_vpc_that_is_not_there(world: World) -> None:
    found = answer(world, "subnet check demo --vpc vpc-0123456789abcdef0", "vpc-0123456789abcdef0 is not in")
    assert found["ephemeral"]
    assert "--region" in words(found)


def test_a_name_is_only_text(world: World) -> None:
    """The names of clusters come from tags, which anybody with the right to tag can write."""
    evil = "<!channel> <@UAPPROVE01> `x` <https://evil.example|here>"
    put_tag(world, world.public(1), f"{KEY}{evil}", "shared")
    found = answer(world, "subnet check --all", "are tagged for a cluster")
    assert mentions(found) <= {DEV}
    assert '"link"' not in whole(found)
    assert "<!channel>" in text_in(found["blocks"])


@pytest.mark.parametrize(("text", "said"), [("", "names no cluster"), ("demo --all", "leave one of them out")])
def test_words_that_are_no_question_open_a_form(world: World, text: str, said: str) -> None:
    assert world.view.command(DEV, f"subnet check {text}").get("acked")
    form = modal(world, DEV)
    assert said in words(form)
    world.view.http("POST", "/sandbox/act/view_close", {"user": DEV, "view_id": form["id"]})


def test_a_form_is_answered_as_words_are(world: World) -> None:
    since = world.now()
    assert world.view.command(DEV, "subnet check").get("acked")
    assert world.view.submit(DEV, modal(world, DEV), cluster="by-form").get("acked")
    assert world.view.wait(DEV, "No subnet in us-east-1", since=since)["ephemeral"]


def test_a_guest_may_not_look(world: World) -> None:
    before = len(world.view.aws_calls())
    found = answer(world, "subnet check demo", "Guests of this workspace", user=GUEST)
    assert "tagged for" not in words(found)
    assert len(world.view.aws_calls()) == before
