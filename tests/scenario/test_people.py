"""How people are spoken to: reminders, decisions in person, who was first, and where the bot is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import tables
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Need, Who
from bot.records import Request
from bot.slack import cards
from bot.tour import words
from tests.chat import CHANNEL, DEV, FIRST, NEEDS, OTHER, RULES, SECOND, THIRD, Chat, text_of
from tests.scenario.conftest import edit, mentions, modal, request_id, slack_log
from tests.unit.makers import make_needs, make_plan
from tests.unit.test_cards import assert_slack_takes
from tests.world import APPROVER, Json, World, eventually
from tests.world import CHANNEL as PLATFORM
from tests.world import DEV as USER

DATABASE = "sqlite"
AFTER = 30.0


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def reminders(chat: Chat, request: Request) -> list[Note]:
    return [note for note in chat.thread(request) if "still waiting" in note.text]


def nudges(chat: Chat, request: Request) -> list[Note]:
    return [Note.model_validate(row.body) for row in chat.outbox("nudge", request.id)]


# -- reminders ---------------------------------------------------------------------------------------------------


def test_approvers_are_reminded_once_a_plan(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.now += AFTER - 1
    assert chat.requests.remind(AFTER) == []
    chat.now += 1
    assert chat.requests.remind(AFTER) == [request.id]
    for _ in range(5):
        chat.now += 10
        assert chat.requests.remind(AFTER) == []
    (note,) = reminders(chat, request)
    assert note.text == f"<@{FIRST}> or <@{SECOND}>: <@{DEV}> is still waiting for an answer to the plan above."
    assert set(note.people) == {FIRST, SECOND, DEV}
    assert_slack_takes(cards.note(note))


def test_a_new_plan_is_a_new_reminder(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.now += AFTER
    chat.requests.remind(AFTER)
    chat.requests.look_again(request.id, DEV)
    chat.now += AFTER
    assert chat.requests.remind(AFTER) == [], "nothing waits while it is planned"
    chat.wait_for_approval(request=chat.get(request.id))
    assert chat.requests.remind(AFTER) == [], "the new plan has only begun to wait"
    chat.now += AFTER
    assert chat.requests.remind(AFTER) == [request.id]
    assert len(reminders(chat, request)) == 2


def test_a_reminder_says_how_many_approvals_are_there(chat: Chat) -> None:
    needs = make_needs(each=(NEEDS.each[0].model_copy(update={"approvals": 2}),), request_ttl=100.0)
    request = chat.wait_for_approval(needs=needs)
    chat.requests.vote(request.id, (request.fingerprint or "")[:16], FIRST, True, lambda *_: False)
    chat.now += AFTER
    chat.requests.remind(AFTER)
    assert reminders(chat, request)[0].text.endswith("1 of 2 approvals are there.")


def approved(chat: Chat, request: Request) -> None:
    chat.approve(request)


def denied(chat: Chat, request: Request) -> None:
    chat.requests.vote(request.id, (request.fingerprint or "")[:16], FIRST, False, lambda *_: True, reason="no")


def withdrawn(chat: Chat, request: Request) -> None:
    chat.requests.withdraw(request.id, DEV)


def expired(chat: Chat, request: Request) -> None:
    chat.now += 101
    assert chat.requests.sweep() == [request.id]


@pytest.mark.parametrize("decision", [approved, denied, withdrawn, expired])
def test_nobody_is_reminded_after_a_decision(chat: Chat, decision: Callable[[Chat, Request], None]) -> None:
    request = chat.wait_for_approval()
    decision(chat, request)
    chat.now += AFTER
    assert chat.requests.remind(AFTER) == []


def test_nobody_is_reminded_of_what_has_run_out_and_is_not_swept_yet(chat: Chat) -> None:
    chat.wait_for_approval()
    chat.now += 100
    assert chat.requests.remind(AFTER) == []


def test_nobody_is_reminded_of_what_is_blocked(chat: Chat) -> None:
    request = chat.ask()
    chat.wait_for_approval(request=request)
    chat.requests.look_again(request.id, DEV)
    chat.requests.plan_failed(request.id, 2, Note(text="AWS does not answer."), passing=True)
    chat.now += AFTER
    assert chat.requests.remind(AFTER) == []


def test_two_sweeps_at_the_same_moment_remind_once(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.now += AFTER
    start = threading.Barrier(8)

    def sweep(_: int) -> list[str]:
        start.wait()
        return chat.requests.remind(AFTER)

    with ThreadPoolExecutor(8) as pool:
        assert [name for names in pool.map(sweep, range(8)) for name in names] == [request.id]
    assert len(reminders(chat, request)) == 1


def test_a_row_that_cannot_be_read_does_not_stop_the_reminders(chat: Chat) -> None:
    broken, whole = chat.wait_for_approval(), chat.wait_for_approval()
    chat.execute(sa.update(tables.requests).where(tables.requests.c.id == broken.id).values(needs={"py/object": "x"}))
    chat.now += AFTER
    assert chat.requests.remind(AFTER) == [whole.id]


# -- decisions in person -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "said"), [(approved, f"<@{FIRST}> approved this."), (denied, "“no”"), (expired, "Nobody decided")]
)
def test_a_decision_is_told_to_the_requester(chat: Chat, decision: Callable[[Chat, Request], None], said: str) -> None:
    request = chat.wait_for_approval()
    decision(chat, request)
    (note,) = nudges(chat, request)
    assert said in text_of([note])
    assert note.text.startswith(f"About `{request.id}` (tag 2 subnets for demo): ")
    (row,) = chat.outbox("nudge")
    assert row.person == DEV
    assert_slack_takes(cards.note(note))


def test_what_the_requester_does_is_not_told_to_them(chat: Chat) -> None:
    request = chat.wait_for_approval()
    withdrawn(chat, request)
    own = make_needs(each=(Need(rule="all", approvals=1, approve=Who(users=(DEV,)), requester_counts=True),))
    other = chat.wait_for_approval(needs=own)
    chat.requests.vote(other.id, (other.fingerprint or "")[:16], DEV, True, lambda *_: True)
    assert nudges(chat, request) == []
    assert nudges(chat, other) == [], "one's own approval is no news"


def test_a_half_approval_is_no_decision(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.requests.vote(request.id, (request.fingerprint or "")[:16], FIRST, True, lambda *_: False)
    assert nudges(chat, request) == []


def test_each_decision_is_told_once(chat: Chat) -> None:
    """Approved, drifted, approved again: the second approval is news again."""
    request = chat.wait_for_approval()
    chat.approve(request)
    chat.workshop.plan_now = make_plan(facts=())
    assert chat.run(request) == State.PLANNING
    request = chat.wait_for_approval(request=chat.get(request.id))
    chat.approve(request)
    assert len(nudges(chat, request)) == 2


@pytest.fixture(scope="module")
def decided(shared_world: World) -> Callable[[str, str], Json]:
    """Asks, lets so many messages follow, and approves; the card."""

    def make(cluster: str, chatter: str) -> Json:
        card = shared_world.ask(cluster, shared_world.public(1))
        for line in chatter.split():
            shared_world.view.say(USER, line)
        shared_world.view.click(APPROVER, card["ts"], "tkg:approve")
        shared_world.view.wait(USER, "Done and proven", thread=card["ts"])
        return card

    return make


def in_person(world: World, card: Json) -> list[Json]:
    mine = world.view.messages(USER, channel=f"D{USER[1:]}")
    return [message for message in mine if request_id(card) in words(message)]


def test_a_decision_comes_in_person_where_the_channel_is_busy(world: World, decided: Callable[..., Json]) -> None:
    card = decided("busy", "a b c d e f g h i j")
    eventually(lambda: len(in_person(world, card)) == 1)
    message = in_person(world, card)[0]
    assert "approved this" in words(message)
    assert mentions(message) <= {USER, APPROVER}


def test_a_decision_does_not_come_in_person_where_it_can_be_seen(world: World, decided: Callable[..., Json]) -> None:
    since = len(slack_log(world))
    card = decided("quiet", "a b c")
    asked = [entry for entry in slack_log(world, since) if entry["method"] == "conversations.history"]
    assert asked, "it was looked how busy the channel is"
    assert in_person(world, card) == []


def test_a_decision_comes_in_person_where_nobody_can_say_how_busy_it_is(
    world: World, decided: Callable[..., Json]
) -> None:
    world.view.slack_faults(history_scope=False)
    card = decided("unread", "")
    eventually(lambda: len(in_person(world, card)) == 1)


# -- who was first -----------------------------------------------------------------------------------------------


def test_the_second_to_approve_is_told_who_was_first(chat: Chat) -> None:
    request = chat.wait_for_approval()
    assert chat.press("approve", request) == []
    (note,) = chat.press("approve", request, SECOND)
    assert "is approved now" in note.text
    assert f"It was approved by <@{FIRST}>." in note.text
    assert note.people == (FIRST,)


def test_the_second_of_two_that_are_needed_is_not_late(chat: Chat) -> None:
    chat.use(tuple(rule.model_copy(update={"approvals": 2}) for rule in RULES))
    needs = make_needs(each=(NEEDS.each[0].model_copy(update={"approvals": 2}),), request_ttl=100.0)
    request = chat.wait_for_approval(needs=needs)
    assert chat.press("approve", request) == []
    assert "You have already voted" in text_of(chat.press("approve", request))
    assert chat.get(request.id).state == State.AWAITING
    assert chat.press("approve", request, SECOND) == []
    assert chat.get(request.id).state == State.APPROVED


def test_a_no_after_a_yes_and_a_yes_after_a_no(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.press("approve", request)
    (note,) = chat.press("deny", request, SECOND)
    assert f"It was approved by <@{FIRST}>." in note.text
    assert chat.modals == {}
    other = chat.wait_for_approval()
    denied(chat, other)
    (note,) = chat.press("approve", other, SECOND)
    assert "is denied now" in note.text
    assert f"<@{FIRST}>" in note.text


def test_a_vote_after_a_withdrawal_and_a_withdrawal_after_a_vote(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.press("withdraw", request, DEV)
    (note,) = chat.press("approve", request)
    assert "is withdrawn now" in note.text
    assert f"<@{DEV}>" in note.text
    other = chat.wait_for_approval()
    denied(chat, other)
    (note,) = chat.press("withdraw", other, DEV)
    assert "is denied now" in note.text
    assert f"<@{FIRST}>" in note.text


@pytest.mark.parametrize("action", ["approve", "deny", "withdraw"])
def test_a_click_after_the_expiry_blames_nobody(chat: Chat, action: str) -> None:
    """The clock ended it, and not the one who asked."""
    request = chat.wait_for_approval()
    expired(chat, request)
    (note,) = chat.press(action, request, DEV if action == "withdraw" else FIRST)
    assert "expired" in note.text
    assert "<@" not in note.text, "nobody moved it"


@pytest.mark.parametrize("action", ["resume", "abandon"])
def test_the_second_to_handle_a_parked_run_is_told_who_was_first(chat: Chat, action: str) -> None:
    for first in ("resume", "abandon"):
        plan = make_plan(targets=(f"subnets of vpc-{first}",))
        mine = chat.start(chat.wait_for_approval(plan))
        chat.step(mine)
        chat.requests.end(mine, State.PARKED, lambda _: Note(text="It waits."))
        assert chat.press(first, mine, FIRST) == []
        (note,) = chat.press(action, mine, SECOND)
        assert {"resume": "is running now", "abandon": "is abandoned now"}[first] in note.text
        assert f"<@{FIRST}>" in note.text


def test_the_second_to_cancel_is_told_who_was_first(chat: Chat) -> None:
    mine = chat.start()
    assert chat.press("cancel", mine, DEV) == []
    (note,) = chat.press("cancel", mine, FIRST)
    assert "is cancelling now" in note.text
    assert f"The last to move it was <@{DEV}>." in note.text


# -- where the bot is not ----------------------------------------------------------------------------------------


def test_a_channel_without_the_bot_is_told_how_to_invite_it(chat: Chat) -> None:
    chat.absent.add(OTHER)
    (note,) = chat.type("subnet tag demo --vpc vpc-0a1b2c3d", channel=OTHER)
    assert note.code == "/invite @tkgbot\n/tkg subnet tag demo --vpc vpc-0a1b2c3d"
    assert chat.requests_now() == []
    assert chat.outbox("direct") == [], "a command has a response URL, which works everywhere"


def test_a_form_of_a_channel_without_the_bot_is_told_so_in_person(chat: Chat) -> None:
    chat.type("subnet tag --vpc vpc-0a1b2c3d")
    chat.absent.add(CHANNEL)
    (note,) = chat.tell("V1", cluster="demo")
    (row,) = chat.outbox("direct")
    assert (row.person, row.channel) == (DEV, DEV)
    assert "/invite @tkgbot" in note.code
    assert chat.outbox("whisper") == []
    assert chat.requests_now() == []


def test_a_form_of_a_channel_without_the_bot_loses_nothing(chat: Chat) -> None:
    """In person, “this channel” says nothing: the answer names the channel, and what was filled in comes back as a
    command to copy."""
    chat.type("subnet tag --vpc vpc-0a1b2c3d")
    chat.absent.add(CHANNEL)
    (note,) = chat.tell("V1", cluster="demo")
    assert CHANNEL in text_of([note])
    assert "/tkg subnet tag demo --vpc vpc-0a1b2c3d" in note.code


def test_who_has_left_the_channel_is_answered_in_person(world: World) -> None:
    """A form carries no response URL, and Slack whispers only to who is in the channel."""
    card = world.ask("left-it", world.public(1))
    world.view.click(APPROVER, card["ts"], "tkg:deny")
    form = modal(world, APPROVER)
    members = next(c for c in world.view.get("/sandbox/state")["channels"] if c["id"] == PLATFORM)["members"]
    edit(world, "channels", PLATFORM, members=[user for user in members if user != APPROVER])
    try:
        world.view.click(USER, card["ts"], "tkg:withdraw")
        eventually(lambda: "Withdrawn" in words(world.card(card)))
        since = world.now()
        world.view.submit(APPROVER, form, reason="not now")
        world.view.wait(APPROVER, "is withdrawn now", channel=f"D{APPROVER[1:]}", since=since)
    finally:
        edit(world, "channels", PLATFORM, members=members)


def test_a_stranger_learns_nothing_from_a_shared_channel(chat: Chat) -> None:
    """Where another organisation reads along, what is asked for is refused to everybody's eyes only."""
    chat.shared.add(CHANNEL)
    here = chat.finish(channel=OTHER)
    for text in ("subnet tag demo --vpc vpc-0a1b2c3d", f"undo {here.id}", "can-i subnet tag demo", "requests mine"):
        chat.type(text, DEV)
    chat.say("<@U1> requests mine", DEV)
    assert {row.kind for kind in ("thread", "post") for row in chat.outbox(kind) if row.channel == CHANNEL} == set()
    assert {row.channel for row in chat.outbox("card")} == {OTHER}
    said = text_of(chat.type("requests", THIRD))
    assert here.id not in said
