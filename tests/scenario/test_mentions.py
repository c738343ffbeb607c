"""Words to the bot in a message: what they answer, what they stop, and that they ask for and approve nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import tables
from bot.answers import NOTHING
from bot.lifecycle import State
from bot.policy import Person
from bot.records import Request
from bot.slack import cards
from bot.tour import buttons, words
from tests.chat import CHANNEL, DEV, FIRST, OTHER, TEAM, THIRD, Chat, text_of
from tests.scenario.conftest import mutating, request_id
from tests.unit.makers import NASTY
from tests.unit.test_cards import assert_slack_takes, assert_values_stay_values
from tests.world import APPROVER, Json, World, eventually
from tests.world import DEV as USER

DATABASE = "postgres"
ME = "<@U1>"


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def in_thread(chat: Chat, request: Request, text: str, user: str = DEV, **event: Any) -> list[Any]:
    """Somebody mentions the bot in a request's thread; what only they are told."""
    return chat.say(f"{ME} {text}", user, request.channel, chat.card_of(request.id), **event)


def nothing_moved(chat: Chat, *before: Request) -> None:
    assert chat.requests_now() == list(before)
    assert chat.count(tables.votes) == sum(request.run_no for request in before)


# -- questions ---------------------------------------------------------------------------------------------------


@pytest.mark.long(but=3)
@pytest.mark.parametrize("user", [DEV, FIRST, THIRD])
@pytest.mark.parametrize(
    ("word", "said"), [("status", "asked for by"), ("logs", "What happened"), ("log", "began step")]
)
def test_status_and_logs_are_answered_in_the_thread(chat: Chat, word: str, said: str, user: str) -> None:
    request = chat.finish()
    assert in_thread(chat, request, word, user) == []
    line = chat.thread(request)[-1]
    assert said in text_of([line])
    assert_slack_takes(cards.note(line))


def test_why_is_answered_to_the_one_who_asks(chat: Chat) -> None:
    request = chat.wait_for_approval()
    before = chat.thread(request)
    (note,) = in_thread(chat, request, "why")
    assert "You: You asked for this" in text_of([note])
    (row,) = [row for row in chat.outbox("whisper") if row.person == DEV]
    assert (row.url, row.thread, row.channel) == (None, chat.card_of(request.id), CHANNEL)
    assert chat.thread(request) == before


@pytest.mark.parametrize("text", ["status", "STATUS", " status ", "\u00a0status\u200b", ": status", ", status"])
def test_words_as_phones_type_them(chat: Chat, text: str) -> None:
    request = chat.wait_for_approval()
    said = chat.say(f"{ME}{text}", DEV, CHANNEL, chat.card_of(request.id))
    assert said == []
    assert "asked for by" in text_of(chat.thread(request))


@pytest.mark.parametrize("word", ["logs", "why", "cancel"])
@pytest.mark.parametrize("thread", ["", "12.3"])
def test_words_of_a_thread_outside_of_one(chat: Chat, word: str, thread: str) -> None:
    """In the channel itself, and in a thread that is no request's."""
    request = chat.start()
    (note,) = chat.say(f"{ME} {word}", DEV, thread=thread)
    assert note.text == f"`{word}` is for the thread of a request. {NOTHING}"
    nothing_moved(chat, request)


def test_a_thread_of_the_same_time_in_another_channel_is_not_the_requests(chat: Chat) -> None:
    request = chat.start()
    (note,) = chat.say(f"{ME} cancel", DEV, OTHER, chat.card_of(request.id))
    assert "is for the thread of a request" in note.text
    nothing_moved(chat, request)


@pytest.mark.long(but=5)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "changes nothing before it is approved"), ("help", "changes nothing before it is approved"),
        ("help subnet tag", "--role-tag"), ("requests", "Requests of this channel"), ("requests mine", "Your requests"),
        ("can-i subnet tag demo", "Yes, you may ask"), ("good morning", "`good` is not something that tkgbot knows"),
        ("logs please", "`logs` is not something"), ("status please", "You may not ask for this"),
        ("cancel r-000001", "`cancel` is not something"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["thread", "channel"])
def test_other_words_are_answered_to_the_one_who_says_them(chat: Chat, text: str, said: str, where: str) -> None:
    request = chat.start()
    thread = chat.card_of(request.id) if where == "thread" else ""
    before = chat.thread(request)
    notes = chat.say(f"{ME} {text}", DEV, thread=thread)
    assert said in text_of(notes)
    assert chat.thread(request) == before
    nothing_moved(chat, request)
    assert chat.modals == {}


# -- what is not done by mention ---------------------------------------------------------------------------------


ORDERS = (
    "approve", "yes", "ok", "deny", "deny too early", "withdraw", "again", "look again", "resume", "abandon", "undo",
    "undo r-000001", "subnet tag demo --vpc vpc-0a1b2c3d", "subnet tag", "/tkg subnet tag demo", "tkg:approve",
    "approve r-000001:0123456789abcdef", "cancel cancel", "cancel now", "cancel!",
)  # fmt: skip


@pytest.mark.parametrize("user", [DEV, FIRST])
def test_nothing_is_asked_for_or_approved_by_mention(chat: Chat, user: str) -> None:
    waiting, running = chat.wait_for_approval(), chat.start()
    for text in ORDERS:
        for said in (
            in_thread(chat, waiting, text, user), in_thread(chat, running, text, user), chat.say(f"{ME} {text}", user)
        ):  # fmt: skip
            assert NOTHING in text_of(said), text
        assert [request.state for request in chat.requests_now()] == [State.AWAITING, State.RUNNING], text
        assert chat.count(tables.votes) == 1, text
    assert chat.modals == {}


@pytest.mark.parametrize("kind", ["guest", "stranger", "foreign", "bot", "deactivated"])
def test_only_members_are_answered(chat: Chat, kind: Any) -> None:
    request = chat.start()
    before = chat.thread(request)
    chat.people.known = {THIRD: Person(THIRD, kind)}
    for word in ("status", "logs", "why", "cancel", "requests", "can-i"):
        notes = in_thread(chat, request, word, THIRD)
        assert NOTHING in text_of(notes), word
        assert request.id not in text_of(notes), word
    assert chat.thread(request) == before
    nothing_moved(chat, request)


@pytest.mark.parametrize(
    "event",
    [
        {"bot_id": "B999"}, {"subtype": "bot_message"}, {"subtype": "message_changed"}, {"user": ""}, {"user": None},
        {"user": "U1", "bot_id": "B1"}, {"subtype": "channel_topic"},
    ],
    ids=str,
)  # fmt: skip
def test_what_apps_say_is_nobodys_wish(chat: Chat, event: dict[str, Any]) -> None:
    request = chat.start()
    body = {
        "type": "event_callback", "team_id": TEAM, "api_app_id": "A1", "event_id": "Ev1",
        "event": {"type": "app_mention", "user": DEV, "text": f"{ME} cancel", "ts": "5.5", "channel": CHANNEL,
                  "thread_ts": chat.card_of(request.id), "team": TEAM, **event},
    }  # fmt: skip
    assert chat.deliver(body) == 200, "taken, so that it does not come again"
    assert chat.keys == []
    nothing_moved(chat, request)


def test_who_comes_from_another_workspace_is_looked_up_as_that(chat: Chat) -> None:
    seen: list[str | None] = []
    person = chat.people.person

    def spy(user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        seen.append(team)
        return person(user, groups, team)

    chat.people.person = spy  # type: ignore[method-assign]
    request = chat.start()
    in_thread(chat, request, "cancel", THIRD, team="T9", user_team="T9", source_team="T9")
    assert seen[0] == "T9"


def test_an_edited_message_is_not_a_new_one(chat: Chat) -> None:
    """The same message, first a question and then a word that would stop the run."""
    request = chat.start()
    event = {"ts": "9.9", "thread_ts": chat.card_of(request.id)}
    chat.say(f"{ME} status", DEV, **event)
    chat.say(f"{ME} cancel", DEV, **event, edited={"user": DEV, "ts": "10.1"})
    nothing_moved(chat, request)


def test_a_mention_that_is_delivered_twice_is_answered_once(chat: Chat) -> None:
    request = chat.start()
    for _ in range(3):
        chat.say(f"{ME} status", DEV, ts="9.9", thread=chat.card_of(request.id))
    assert len([note for note in chat.thread(request) if "asked for by" in text_of([note])]) == 1


def test_a_mention_of_somebody_else_first_stops_nothing(chat: Chat) -> None:
    """“@first cancel” is said to somebody else, even where the bot is named further on."""
    request = chat.start()
    thread = chat.card_of(request.id)
    for text in (f"<@{FIRST}> cancel {ME}", f"<@{FIRST}> {ME} cancel", f"please {ME} cancel"):
        chat.say(text, DEV, thread=thread)
        assert chat.get(request.id).state == State.RUNNING, text


# -- cancel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [DEV, FIRST])
def test_cancel_does_what_the_button_does(chat: Chat, user: str) -> None:
    request = chat.start()
    assert in_thread(chat, request, "cancel", user) == []
    assert chat.get(request.id).state == State.CANCELLING
    row = chat.rows(sa.select(tables.audit).where(tables.audit.c.event == "moved").order_by(tables.audit.c.seq))[-1]
    assert row.actor == user
    (note,) = in_thread(chat, request, "cancel", user)
    assert "is cancelling now" in note.text


def test_who_may_not_cancel_is_told_so(chat: Chat) -> None:
    request = chat.start()
    (note,) = in_thread(chat, request, "cancel", THIRD)
    assert "not one of the people" in text_of([note])
    assert NOTHING in note.text
    nothing_moved(chat, request)


def test_nothing_is_cancelled_for_somebody_whom_slack_does_not_name(chat: Chat) -> None:
    request = chat.start()
    chat.people.silent = True
    notes = in_thread(chat, request, "cancel")
    assert NOTHING in text_of(notes)
    nothing_moved(chat, request)


# -- what is shown to whom ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["status", "logs"])
def test_in_a_shared_channel_only_the_one_who_asks_is_answered(chat: Chat, word: str) -> None:
    """Another organisation reads along there."""
    request = chat.finish()
    chat.shared.add(CHANNEL)
    before = chat.thread(request)
    (note,) = in_thread(chat, request, word)
    assert request.id in text_of([note])
    assert chat.thread(request) == before


def test_hostile_words_are_answered_as_text(chat: Chat) -> None:
    request = chat.wait_for_approval()
    for text in NASTY:
        for note in (*in_thread(chat, request, f"x{text}"), *chat.say(f"{ME} {text} status"), *chat.say(f"{text}")):
            assert_slack_takes(cards.note(note))
            assert_values_stay_values(cards.note(note))
            assert note.people == ()


# -- for real ----------------------------------------------------------------------------------------------------


def test_status_logs_and_why_in_a_real_thread(world: World) -> None:
    card = world.ask("mentioned", world.public(1))
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(USER, "Done and proven", thread=card["ts"])
    world.view.say(USER, "@tkgbot status", thread=card["ts"])
    status = world.view.wait(APPROVER, "asked for by", thread=card["ts"])
    assert "tag 1 subnet for mentioned" in words(status)
    assert not status["ephemeral"]
    world.view.say(USER, "@tkgbot logs", thread=card["ts"])
    log = words(world.view.wait(USER, "What happened to", thread=card["ts"]))
    assert "began step 1 of 1" in log
    since = world.now()
    world.view.say(USER, "@tkgbot why", thread=card["ts"])
    why = world.view.wait(USER, "It was done and proven", thread=card["ts"], since=since)
    assert why["ephemeral"]
    since = world.now()
    world.view.say(USER, "@tkgbot cancel", thread=card["ts"])
    assert "is succeeded now" in words(world.view.wait(USER, "this was not done", thread=card["ts"], since=since))
    assert buttons(world.card(card)) == ["tkg:undo"]


def test_cancel_by_mention_stops_a_run_after_its_step(world: World) -> None:
    world.view.aws_faults(hold=["ec2:CreateTags"])
    card = world.ask("stopped", world.public(2), "--role-tag")
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.wait_until_held()
    world.view.say("UAPPROVE02", "@tkgbot cancel", thread=card["ts"])
    eventually(lambda: "Cancelling" in words(world.card(card)))
    world.view.aws_faults(hold=[])
    eventually(lambda: "Cancelled" in words(world.card(card)))
    assert len(mutating(world, card)) == 1


def test_mentions_of_a_guest_and_of_a_member_in_the_channel(world: World) -> None:
    card = world.ask("spoken-of", world.public(1))
    since = world.now()
    world.view.say("UGUEST0001", "@tkgbot status", thread=card["ts"])
    answer = world.view.wait("UGUEST0001", "Guests", thread=card["ts"], since=since)
    assert answer["ephemeral"]
    world.view.say("USTRANGER1", "@tkgbot requests", channel="CSHARED001")
    answer = world.view.wait("USTRANGER1", "outside this workspace", channel="CSHARED001", since=since)
    assert answer["ephemeral"]
    world.view.say(USER, "@tkgbot requests mine")
    answer = world.view.wait(USER, "Your requests", since=since)
    assert answer["ephemeral"]
    assert request_id(card) in words(answer)
    world.view.say(APPROVER, "@tkgbot approve", thread=card["ts"])
    world.view.wait(APPROVER, "Nothing was done", thread=card["ts"], since=since)
    assert "tkg:approve" in buttons(world.card(card))


def test_a_mention_is_delivered_thrice_and_answered_once(world: World) -> None:
    card: Json = world.ask("thrice-said", world.public(1))
    world.view.slack_faults(duplicate_deliveries=2)
    world.view.say(USER, "@tkgbot status", thread=card["ts"])
    world.calm()
    world.view.wait(USER, "asked for by", thread=card["ts"])
    world.view.say(USER, "@tkgbot logs", thread=card["ts"])
    world.view.wait(USER, "What happened to", thread=card["ts"])
    assert sum("asked for by" in words(line) for line in world.thread(card)) == 1
