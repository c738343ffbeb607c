"""One sandbox and one bot for the scenario tests of a module; every test starts with all faults off."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from bot.tour import buttons, words
from tests.world import CHANNEL, DEV, MANAGEMENT, Json, World, eventually, running_world

IMPATIENT = """
from functools import partial
import bot.app, bot.engine
from bot.__main__ import main
from bot.work import Patience
sleep = bot.engine._DbosDurable.sleep
bot.engine._DbosDurable.sleep = lambda self, seconds: sleep(self, seconds / 8)
bot.app.Patience = partial(Patience, planning=2, step=2, settling=2, verifying=2)
main(["run"])
"""
"""`tkgbot run` that gives up within seconds what it would wait for during minutes."""
ONCE = ("attempts: 2", "attempts: 1")
"""So that it is the bot that tries again, and not the AWS client."""


EVERYWHERE = bool(os.environ.get("TKGBOT_BOTH_DATABASES"))
"""Every module on both databases: a third longer."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the other database where a module names one: what it tests does not depend on the database. The gate
    plays each module on one."""
    default = "sqlite" if config.getoption("--gate") else None
    elsewhere = {item for item in items if _elsewhere(item, default)}
    config.hook.pytest_deselected(items=[item for item in items if item in elsewhere])
    items[:] = [item for item in items if item not in elsewhere]


def _elsewhere(item: pytest.Item, default: str | None) -> bool:
    wanted = getattr(getattr(item, "module", None), "DATABASE", default)
    chosen = getattr(getattr(item, "callspec", None), "params", {}).get("shared_world")
    return not EVERYWHERE and None not in (wanted, chosen) and wanted != chosen


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A world for a module, on either database. A module that sets IS_IMPATIENT has a bot that gives up soon."""
    impatient = getattr(request.module, "IS_IMPATIENT", False)
    with running_world() as world:
        if request.param == "postgres":
            world.on_postgres(request.getfixturevalue("new_database")())
        if impatient:
            world.settings.write_text(world.settings.read_text().replace(*ONCE))
        world.start_bot(("-c", IMPATIENT) if impatient else ("-m", "bot", "run"))
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    shared_world.calm()
    yield shared_world
    shared_world.calm()
    nothing_stays_parked(shared_world)
    put_tags_back(shared_world)


def nothing_stays_parked(world: World) -> None:
    """A run that a failed test left parked would hold up every later one."""
    for message in world.view.messages(DEV):
        if "tkg:abandon" in buttons(message):
            world.view.click(DEV, message["ts"], "tkg:abandon")


def put_tags_back(world: World) -> None:
    """Takes off the subnets what tests put on them: EC2 has room for fifty tags on each, and the next test finds the
    network as it was. Where a cluster lives, its tags stay."""
    if world.view.clusters():
        return
    seeded = world.subnet_tags
    added: dict[str, list[str]] = {}
    for subnet, tags in world.view.tags().items():
        for key in tags.keys() - seeded.get(subnet, tags).keys():
            added.setdefault(key, []).append(subnet)
    for key, subnets in added.items():
        admin(world).delete_tags(Resources=subnets, Tags=[{"Key": key}])


# -- acting ------------------------------------------------------------------------------------------------------


def admin(world: World, account: str = MANAGEMENT, region: str = "us-east-1") -> Any:
    """EC2 in the hands of an account's administrator."""
    env = dict(line.split("=", 1) for line in (world.folder / "env").read_text().splitlines())
    keys = world.view.aws()["accounts"][account]["admin"]
    return boto3.client(
        "ec2", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=region,
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip


def put_tag(world: World, subnets: list[str], key: str, value: str) -> None:
    """An administrator tags subnets by hand."""
    admin(world).create_tags(Resources=subnets, Tags=[{"Key": key, "Value": value}])


def edit(world: World, kind: str, ident: str, **changes: Any) -> None:
    """Changes a user, a group or a channel of the workspace."""
    answer = world.view.http("POST", f"/sandbox/{kind}", {"id": ident, **changes})
    assert answer.get("ok"), answer


# -- looking -----------------------------------------------------------------------------------------------------


def slack_log(world: World, since: int = 0) -> list[Json]:
    """What the workspace was asked and what it delivered."""
    found: list[Json] = world.view.get("/sandbox/log", since=since)["log"]
    return found


def cards(world: World, cluster: str, user: str = "UDEV000001", channel: str = CHANNEL) -> list[Json]:
    """The messages in the channel that speak of a cluster."""
    seen = world.view.messages(user, channel=channel)
    return [message for message in seen if re.search(rf"\b{cluster}\b", words(message)) and not message["ephemeral"]]


def request_id(card: Json) -> str:
    """The request that a card belongs to."""
    found = re.search(r"r-[0-9a-f]{6}", words(card))
    assert found, words(card)
    return found[0]


def value_of(card: Json, action: str) -> str:
    """What a button of the card carries."""
    rows = [block for block in card["blocks"] if block["type"] == "actions"]
    found: str = next(el["value"] for row in rows for el in row["elements"] if el["action_id"] == action)
    return found


def calls_of(world: World, card: Json) -> list[Json]:
    """The AWS calls that were made in the sessions of a card's request, oldest first."""
    return [call for call in world.view.aws_calls() if (call["session"] or "").endswith(request_id(card))]


def mutating(world: World, card: Json) -> list[Json]:
    """Those of them that change something."""
    return [call for call in calls_of(world, card) if call["mutating"]]


def says_nothing_changed(message: Json) -> bool:
    """True when the message tells that the click or command had no effect."""
    return bool(re.search(r"nothing (was|is)|not (done|counted|changed)", words(message), re.IGNORECASE))


def copied(message: Json) -> str:
    """The command that a message offers to copy."""
    parts = [part for block in message["blocks"] if block["type"] == "rich_text" for part in block["elements"]]
    code = [part for part in parts if part["type"] == "rich_text_preformatted"]
    text: str = code[-1]["elements"][0]["text"]
    return next(line for line in text.splitlines() if line.startswith("/tkg"))


def type_again(world: World, user: str, line: str, channel: str = CHANNEL) -> None:
    """Types a whole line as it stands."""
    command, _, text = line.partition(" ")
    assert world.view.command(user, text, command=command, channel=channel).get("acked")


def modal(world: World, user: str) -> Json:
    """The modal that somebody has open, waited for: also until it shows more than that it is being made."""

    def shown() -> bool:
        found = world.view.views(user)
        return bool(found) and "One moment" not in words(found[-1])

    eventually(shown)
    return world.view.views(user)[-1]


def mentions(message: Json) -> set[str]:
    """Everybody whom a message pings: rich text elements, and the mark-up in its mrkdwn texts."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") in ("user", "usergroup", "broadcast"):
                found.update(str(node[k]) for k in ("user_id", "usergroup_id", "range") if k in node)
            if node.get("type") == "mrkdwn":
                found.update(re.findall(r"<[@!]([^>]+)>", node["text"]))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(message.get("blocks") or [])
    found.update(re.findall(r"<[@!]([^>]+)>", message["text"]))
    return {name.removeprefix("subteam^") for name in found if not name.startswith("date^")}


def whole(message: Json) -> str:
    """The message with everything in it, as JSON with its own characters."""
    return json.dumps(message, ensure_ascii=False)
