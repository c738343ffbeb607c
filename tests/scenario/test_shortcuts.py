"""Shortcuts: what they show, to whom, and that they change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot import tables
from bot.policy import Kind, Person
from bot.screens import TriggerExpired, Words
from bot.shortcuts import ABOUT, MINE, SHORTCUTS
from bot.slack.forms import view
from bot.slack.listeners import SHORTCUTS as TAKEN
from bot.tour import words
from sandbox.slack.blocks import check_view
from tests.chat import CHANNEL, DEV, FIRST, OTHER, TEAM, THIRD, Chat, text_of
from tests.scenario.conftest import modal
from tests.unit.makers import NASTY, make_plan
from tests.world import APPROVER, World
from tests.world import DEV as USER

DATABASE = "sqlite"


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def choose(chat: Chat, action: str, user: str = DEV, ts: str = "", thread: str = "", channel: str = CHANNEL) -> Any:
    """Somebody chooses a shortcut; what they are told outside the modal."""
    trigger = f"t{next(chat.number)}"
    body = {
        "type": "message_action" if ts else "shortcut", "callback_id": f"tkg:{action}", "team": {"id": TEAM},
        "user": {"id": user, "team_id": TEAM}, "trigger_id": trigger, "api_app_id": "A1",
    }  # fmt: skip
    if ts:
        message = {"ts": ts, **({"thread_ts": thread} if thread else {})}
        body |= {"channel": {"id": channel}, "message_ts": ts, "message": message}
        body |= {"response_url": f"https://hooks.slack.com/app/{trigger}"}
    return chat._told(user, body)


def shown(chat: Chat) -> Words:
    """What the newest modal shows, in a form that Slack takes."""
    screen = list(chat.modals.values())[-1].now
    assert isinstance(screen, Words)
    assert check_view(view(screen)) == []
    return screen


def text(chat: Chat) -> str:
    return text_of(shown(chat).notes)


def test_every_shortcut_of_the_manifest_is_taken() -> None:
    assert all(TAKEN.match(f"tkg:{entry.action}") for entry in SHORTCUTS)
    assert {entry.action: entry.kind for entry in SHORTCUTS} == {MINE: "global", ABOUT: "message"}
    assert all(len(entry.name) <= 24 and len(entry.description) <= 150 for entry in SHORTCUTS)


# -- on a message ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [DEV, FIRST, THIRD])
@pytest.mark.parametrize("below", [False, True])
def test_a_request_by_its_card_or_by_an_answer_below(chat: Chat, user: str, below: bool) -> None:
    request = chat.finish()
    card = chat.card_of(request.id)
    assert choose(chat, ABOUT, user, "900.1" if below else card, card) == []
    assert shown(chat).title == f"Request {request.id}"
    for said in ("asked for by", "It was done and proven", "What happened to", "began step"):
        assert said in text(chat)
    assert chat.requests_now() == [request]


def test_why_a_request_waits_is_said_to_whom_it_waits_for(chat: Chat) -> None:
    request = chat.wait_for_approval()
    choose(chat, ABOUT, FIRST, chat.card_of(request.id))
    assert "Rule “all” wants 1 approval" in text(chat)
    assert chat.requests_now() == [request]
    assert chat.count(tables.votes) == 0


@pytest.mark.parametrize("thread", ["", "800.1"])
def test_a_message_of_no_request(chat: Chat, thread: str) -> None:
    chat.wait_for_approval()
    choose(chat, ABOUT, DEV, "900.1", thread)
    assert "not in the thread of a request" in text(chat)


def test_a_card_of_another_channel_is_not_found_by_its_timestamp(chat: Chat) -> None:
    request = chat.wait_for_approval()
    choose(chat, ABOUT, THIRD, chat.card_of(request.id), channel=OTHER)
    assert "not in the thread of a request" in text(chat)


def test_a_hostile_plan_stays_text(chat: Chat) -> None:
    request = chat.wait_for_approval(plan=make_plan(headline=" ".join(NASTY)))
    choose(chat, ABOUT, DEV, chat.card_of(request.id))
    assert check_view(view(shown(chat))) == []


# -- from anywhere -----------------------------------------------------------------------------------------------


def test_what_waits_for_me_and_what_is_mine(chat: Chat) -> None:
    mine, theirs = chat.wait_for_approval(user=FIRST), chat.wait_for_approval(user=DEV, channel=OTHER)
    choose(chat, MINE, FIRST)
    waiting, own, how = shown(chat).notes
    assert theirs.id in text_of([waiting])
    assert mine.id not in text_of([waiting])
    assert mine.id in text_of([own])
    assert theirs.id not in text_of([own])
    assert "/tkg" in how.text
    assert chat.requests_now() == [mine, theirs]


def test_who_has_nothing_to_do_with_a_request_does_not_see_it(chat: Chat) -> None:
    request = chat.wait_for_approval()
    choose(chat, MINE, THIRD)
    assert request.id not in text(chat)
    assert [note.text for note in shown(chat).notes[:2]] == ["Waiting for your approval: none.", "Your requests: none."]


# -- who, and when -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["guest", "foreign", "stranger", "bot", "deactivated"])
@pytest.mark.parametrize("action", [MINE, ABOUT])
def test_only_members_see_anything(chat: Chat, action: str, kind: Kind) -> None:
    request = chat.wait_for_approval()
    chat.people.known = {THIRD: Person(THIRD, kind)}
    choose(chat, action, THIRD, chat.card_of(request.id) if action == ABOUT else "")
    assert shown(chat).title == "Not for you"
    assert request.id not in text(chat)


@pytest.mark.parametrize("action", [MINE, ABOUT])
def test_a_trigger_that_is_over_is_said(chat: Chat, action: str) -> None:
    """In the channel where there is one, else in person."""
    chat.fail_open = TriggerExpired("expired")
    (told,) = choose(chat, action, DEV, "900.1" if action == ABOUT else "")
    assert "choose the shortcut again" in told.text
    assert [row.kind for row in chat.outbox("direct")] == (["direct"] if action == MINE else [])


def test_a_second_delivery_opens_nothing(chat: Chat) -> None:
    body = {
        "type": "shortcut", "callback_id": "tkg:mine", "team": {"id": TEAM}, "user": {"id": DEV, "team_id": TEAM},
        "trigger_id": "t-same", "api_app_id": "A1",
    }  # fmt: skip
    chat._told(DEV, body)
    chat._told(DEV, body)
    assert len(chat.modals) == 1


def test_a_channel_that_the_bot_has_left(chat: Chat) -> None:
    """Who may approve cannot be said without a look at it."""
    request = chat.wait_for_approval()
    chat.absent.add(CHANNEL)
    choose(chat, ABOUT, DEV, chat.card_of(request.id))
    assert "tkgbot is not in this channel" in text(chat)


# -- over the wire -----------------------------------------------------------------------------------------------


def test_both_as_people_use_them(world: World) -> None:
    card = world.ask("by-shortcut", world.public(2))
    assert world.view.shortcut(USER, "tkg:about", card["ts"]).get("acked")
    about = modal(world, USER)
    assert "by-shortcut" in words(about)
    assert "What happened to" in words(about)
    world.view.http("POST", "/sandbox/act/view_close", {"user": USER, "view_id": about["id"], "clear": True})
    assert world.view.shortcut(APPROVER, "tkg:mine").get("acked")
    mine = modal(world, APPROVER)
    assert "by-shortcut" in words(mine)
    assert world.view.shortcut(USER, "tkg:none").get("error") == "unknown_shortcut"
    assert world.view.shortcut(USER, "tkg:about", "1.1").get("error") == "message_not_found"
