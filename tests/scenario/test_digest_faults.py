"""Digests when Slack, the channel or the management cluster fails, and those that cannot be meant."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from bot.tour import words
from tests.scenario.clusters import CLUSTERS, Administrator
from tests.scenario.conftest import IMPATIENT, edit, slack_log
from tests.scenario.digests import line, say, told
from tests.world import CHANNEL, DEV, Json, World, eventually, running_world

pytestmark = pytest.mark.long

BOT, OTHER = "UTKGBOT001", "CRANDOM001"
POST = "chat.postMessage"
FEW = "import bot.slack.outbox as outbox\noutbox.SHUT_DIGEST = 0.5\noutbox.LOOK = 20\nmain(["
SOON = IMPATIENT.replace("main([", FEW)
"""`tkgbot run` that gives up within seconds, soon tries again what a channel did not take, and looks at few messages at
a time, so that a few already are many."""
RULE = """
  - name: and elsewhere
    operations: ["status"]
    channels: ["CRANDOM001"]
    ask: {usergroups: ["SDEVS00001", "SPLATFORM1"]}
"""


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """A world with a cluster to speak of, and a bot that gives up soon."""
    with running_world() as world:
        world.settings.write_text(f"{world.settings.read_text().rstrip()}{RULE}")
        Administrator(world).make(
            CLUSTERS, {"kind": "Cluster", "metadata": {"name": "told"}, "spec": {"paused": True}}, "default"
        )
        edit(world, "channels", OTHER, members=[BOT, DEV])
        world.start_bot(("-c", SOON))
        yield world


def unsent(world: World, name: str) -> list[tuple[str, int]]:
    """The messages of a digest that wait to be sent, and how often each was tried in vain."""
    query = "SELECT key, attempts FROM outbox WHERE key LIKE ? AND wanted > sent AND failed IS NULL"
    with sqlite3.connect(f"file:{world.folder}/data/tkgbot.db?mode=ro", uri=True) as database:
        return database.execute(query, (f"digest:{name}@%",)).fetchall()


def marks(world: World, name: str) -> list[str]:
    """The keys of a digest's messages that stand in the channel, one for each message."""
    found = [(m.get("metadata") or {}).get("event_payload", {}).get("key", "") for m in world.view.messages(DEV)]
    return [key for key in found if key.startswith(f"digest:{name}@")]


def asked(world: World, name: str) -> None:
    """Somebody wants a digest now."""
    assert world.view.command(DEV, f"digest now {name}").get("acked")


# -- Slack -------------------------------------------------------------------------------------------------------


@pytest.mark.long(but=1)
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("limited", {"rate_limit": 2, "rate_limit_methods": [POST]}),
        ("broken", {"server_error": 2, "server_error_methods": [POST]}),
        ("unanswered", {"lose_answer": 1, "lose_answer_methods": [POST]}),
        ("silent", {"hang_methods": [POST]}),
        ("gone", {"down": True}),
    ],
)
def test_one_message_whatever_slack_does_when_it_is_sent(world: World, name: str, fault: Json) -> None:
    say(world, f'digest add {name} "daily 04:00"', f"has the digest {name} sent here")
    world.view.aws_faults(hold=["ec2:DescribeSubnets"])
    since = world.now()
    asked(world, name)
    world.wait_until_held("ec2:DescribeSubnets")
    world.view.slack_faults(**fault)
    world.view.aws_faults(hold=[])
    if name in ("silent", "gone"):
        eventually(lambda: max((tries for _, tries in unsent(world, name)), default=0) > 0)
        assert marks(world, name) == []
        world.view.slack_faults(hang_methods=[], down=False)
        assert world.view.get("/sandbox/wait", sockets=1, timeout=60).get("sockets"), "the bot did not come back"
    message = told(world, "wanted it now", since)
    eventually(lambda: unsent(world, name) == [])
    assert len(marks(world, name)) == 1
    below = [words(one) for one in world.view.messages(DEV, thread=message["ts"])[1:]]
    assert [text for text in (line(message), *below) if "repeated" in text] == []
    assert [sum(part in text for text in below) for part in ("Every cluster:", "for a spreadsheet")] == [1, 1], below
    say(world, f"digest remove {name}", f"has {name} sent no more")


def test_a_pause_that_slack_asks_for_is_kept(world: World) -> None:
    say(world, 'digest add patient "daily 04:00"', "has the digest patient sent here")
    seen = len(slack_log(world))
    world.view.slack_faults(rate_limit=1, rate_limit_methods=[POST])
    say(world, "digest now patient", "wanted it now")
    posts = [entry for entry in slack_log(world)[seen:] if entry["method"] == POST]
    refused = next(entry for entry in posts if entry["status"] == 429)
    assert min(entry["at"] for entry in posts if entry["at"] > refused["at"]) - refused["at"] >= 1.0
    say(world, "digest remove patient", "has patient sent no more")


# -- the channel -------------------------------------------------------------------------------------------------


def leave(world: World) -> Callable[[], None]:
    """The bot is removed from the channel; what invites it again."""
    members = next(c for c in world.view.get("/sandbox/state")["channels"] if c["id"] == CHANNEL)["members"]
    edit(world, "channels", CHANNEL, members=[user for user in members if user != BOT])
    return lambda: edit(world, "channels", CHANNEL, members=members)


def archive(world: World) -> Callable[[], None]:
    """The channel is archived; what opens it again."""
    edit(world, "channels", CHANNEL, is_archived=True)
    return lambda: edit(world, "channels", CHANNEL, is_archived=False)


def direct(world: World, name: str) -> list[str]:
    """What the digest's owner was told in person about it."""
    return [text for m in world.view.messages(DEV, channel=f"D{DEV[1:]}") if f" {name} " in (text := line(m))]


@pytest.mark.parametrize(
    ("name", "shut", "reason"),
    [
        ("removed", leave, "tkgbot is not in the channel any more"),
        ("archived", archive, "the channel is archived"),
    ],
)
def test_a_channel_that_takes_no_messages(
    world: World, name: str, shut: Callable[[World], Callable[[], None]], reason: str
) -> None:
    """Its owner is told once, in person and in the list; what was to be said comes when the channel takes it."""
    say(world, f'digest add {name} "daily 04:00"', f"has the digest {name} sent here")
    since = world.now()
    world.view.aws_faults(hold=["ec2:DescribeSubnets"])
    asked(world, name)
    world.wait_until_held("ec2:DescribeSubnets")
    reopen = shut(world)
    try:
        world.view.aws_faults(hold=[])
        eventually(lambda: bool(direct(world, name)))
        [text] = direct(world, name)
        assert f"The digest {name} cannot be posted: {reason}. It is tried for a day." in text
        asked_at = world.now()
        assert world.view.command(DEV, "digest list", channel=OTHER).get("acked")
        elsewhere = line(world.view.wait(DEV, "No digest comes", since=asked_at, channel=OTHER))
        assert f"{name} daily 04:00" in elsewhere
        assert "a message of it waits, because its channel does not take it" in elsewhere
    finally:
        reopen()
    told(world, "wanted it now", since)
    eventually(lambda: unsent(world, name) == [])
    assert len(marks(world, name)) == 1
    assert len(direct(world, name)) == 1
    assert "waits" not in line(say(world, "digest list", "Digests of this channel"))
    say(world, f"digest remove {name}", f"has {name} sent no more")


@pytest.mark.long
def test_many_that_a_channel_does_not_take_hold_up_nothing_else(world: World) -> None:
    """As when an hourly digest goes to an archived channel: the owner is told once, others are answered, and all of
    them come when the channel is open."""
    say(world, 'digest add often "daily 04:00"', "has the digest often sent here")
    reopen, since, told_before = archive(world), world.now(), len(direct(world, "often"))
    try:
        for count in range(1, 8):
            asked(world, "often")
            eventually(
                lambda count=count: len([key for key, _ in unsent(world, "often") if "#" not in key]) == count, 30
            )
        asked_at = world.now()
        assert world.view.command(DEV, "digest list", channel=OTHER).get("acked")
        world.view.wait(DEV, "No digest comes", since=asked_at, channel=OTHER)
        eventually(lambda: len(direct(world, "often")) > told_before)
    finally:
        reopen()
    told(world, "wanted it now", since)
    eventually(lambda: unsent(world, "often") == [])
    assert len(marks(world, "often")) == len(set(marks(world, "often"))) == 7
    roots = [m for m in world.view.messages(DEV) if m["ts"] > since and "wanted it now" in line(m)]
    threads = [" ".join(words(m) for m in world.view.messages(DEV, thread=root["ts"])[1:]) for root in roots]
    assert [("Every cluster:" in text, "for a spreadsheet" in text) for text in threads] == [(True, True)] * 7
    assert len(direct(world, "often")) == 1
    say(world, "digest remove often", "has often sent no more")


# -- the management cluster --------------------------------------------------------------------------------------


def dates(message: Json) -> set[int]:
    """The moments that a message names (epoch seconds)."""
    found: set[int] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            found.update([node["timestamp"]] if node.get("type") == "date" else [])
            node = list(node.values())
        for value in node if isinstance(node, list) else []:
            walk(value)

    walk(message["blocks"])
    return found


def test_an_unreachable_management_cluster_is_told_with_the_age_of_what_is_shown(world: World) -> None:
    say(world, 'digest add blind "daily 04:00"', "has the digest blind sent here")
    begins = int(time.time())
    first = say(world, "digest now blind", "wanted it now")
    ends = time.time()
    assert "1 cluster" in line(first)
    world.kube_faults(unreachable=True)
    second = say(world, "digest now blind", "wanted it now")
    assert "the clusters cannot be seen; what follows is as of" in line(second)
    assert "The management cluster" in line(second)
    assert any(begins <= at <= ends for at in dates(second)), "it says from when it is"
    assert "Changed since" not in line(second), "what cannot be seen has not changed"
    eventually(lambda: any("default/told" in words(m) for m in world.view.messages(DEV, thread=second["ts"])))
    world.kube_faults(unreachable=None)
    third = say(world, "digest now blind", "wanted it now")
    assert "1 cluster" in line(third)
    assert "told is new" not in line(third)
    assert "told is gone" not in line(third)
    say(world, "digest remove blind", "has blind sent no more")


# -- what cannot be meant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ('"0 0 31 2 *"', "“0 0 31 2 *” never comes: no such day is in the calendar. Nothing was done."),
        ('"0 0 30 feb *" --zone Europe/Berlin', "never comes: no such day is in the calendar. Nothing was done."),
        ('"* * * * *"', "comes more often than every 15 minutes, and would not be read. Nothing was done."),
        ('"daily 09:00" --zone Europe/Berln', "is no time zone; did you mean Europe/Berlin? Nothing was done."),
        ('"daily 09:00" --zone Mars/Olympus', "is no time zone, such as Europe/Berlin or UTC. Nothing was done."),
    ],
)
def test_a_digest_that_cannot_be_meant_is_refused_in_one_sentence(world: World, when: str, sentence: str) -> None:
    answer = say(world, f"digest add wrong {when}", "Nothing was done")
    assert answer["ephemeral"]
    assert sentence in line(answer)
    assert "wrong" not in line(say(world, "digest list", "digest"))


def test_digests_of_the_settings_that_cannot_be_meant_are_all_named(world: World) -> None:
    wrong = """
digests:
  - {name: never, channel: CPLATFORM1, when: "0 0 31 2 *"}
  - {name: nowhere, channel: CPLATFORM1, when: daily 09:00, zone: Europe/Berln}
  - {name: whenever, channel: CPLATFORM1, when: whenever}
  - {name: lost, channel: "#platform", when: hourly}
"""
    path = world.folder / "wrong.yaml"
    path.write_text(world.settings.read_text() + wrong)
    check = [sys.executable, "-m", "bot", "config", "check"]
    done = subprocess.run(
        check, env=world.environment(TKGBOT_CONFIG=str(path)), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    said = [text for text in (done.stdout + done.stderr).splitlines() if "digests" in text]
    first = world.settings.read_text().count("\n") + 2
    for number, reason in enumerate(
        ("never comes", "did you mean Europe/Berlin", "is no time", "digests.3.channel"), first
    ):
        assert any(f"line {number + 1}:" in text and reason in text for text in said), said
