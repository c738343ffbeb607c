"""A request's life as people move it: every arrow that a click, a word or the clock can cause, and who may cause it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import tables
from bot.answers import NOTHING
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Need, Person, Who
from bot.records import Request
from bot.slack import cards
from bot.tour import buttons, words
from handlers.contract import Check, Plan
from tests.chat import CHANNEL, DEV, FIRST, RULES, SECOND, THIRD, Chat, text_of
from tests.scenario.conftest import mentions
from tests.unit.makers import make_needs, make_plan
from tests.world import APPROVER, Json, World, eventually, running_world
from tests.world import DEV as USER
from tests.world import SECOND as OTHER_APPROVER

SHORT = """\
  - name: decided soon
    operations: ["subnet *"]
    clusters: ["short*"]
    ask: {usergroups: ["SDEVS00001"]}
    approve: {usergroups: ["SPLATFORM1"]}
    request_ttl: 3s
people: {remind_after: 1s}
"""


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def state(chat: Chat, request: Request) -> State:
    return chat.get(request.id).state


def shown(chat: Chat, request: Request) -> list[str]:
    """The buttons of a request's card now."""
    message = cards.card(chat.requests.snapshot(request.id), 1)
    rows = [block for block in message.blocks if block["type"] == "actions"]
    return [element["action_id"].removeprefix("tkg:") for row in rows for element in row["elements"]]


def blocked(chat: Chat) -> Request:
    check = Check(id="c", title="Really public", result="block", evidence="It is private.", fix="Take another.")
    return chat.wait_for_approval(make_plan(checks=(check,), steps=()))


def parked(chat: Chat, plan: Plan | None = None) -> Request:
    mine = chat.start(chat.wait_for_approval(plan) if plan else None)
    chat.step(mine)
    chat.requests.end(mine, State.PARKED, lambda _: Note(text="AWS does not answer."))
    return chat.get(mine.id)


def two_needed(chat: Chat, approvals: int = 2) -> Request:
    rules(chat, approvals=approvals, approve=Who(members=True))
    need = Need(rule="all", approvals=approvals, approve=Who(members=True), requester_counts=False)
    return chat.wait_for_approval(needs=make_needs(each=(need,), request_ttl=100.0, approval_ttl=50.0))


# -- the arrows --------------------------------------------------------------------------------------------------

ARROWS: list[tuple[str, Callable[[Chat], Request], str, str, State]] = [
    ("a plan is withdrawn while it is made", lambda chat: chat.ask(), "withdraw", DEV, State.WITHDRAWN),
    ("what is blocked is looked at again", blocked, "again", DEV, State.PLANNING),
    ("what is blocked is looked at again by an approver", blocked, "again", FIRST, State.PLANNING),
    ("what is blocked is withdrawn", blocked, "withdraw", DEV, State.WITHDRAWN),
    ("what waits is approved", lambda chat: chat.wait_for_approval(), "approve", FIRST, State.APPROVED),
    ("what waits is withdrawn", lambda chat: chat.wait_for_approval(), "withdraw", DEV, State.WITHDRAWN),
    ("what waits is looked at again", lambda chat: chat.wait_for_approval(), "again", SECOND, State.PLANNING),
    ("what runs is cancelled", lambda chat: chat.start(), "cancel", DEV, State.CANCELLING),
    ("what runs is cancelled by an approver", lambda chat: chat.start(), "cancel", SECOND, State.CANCELLING),
    ("what is parked is resumed", parked, "resume", DEV, State.RUNNING),
    ("what is parked is resumed by an approver", parked, "resume", SECOND, State.RUNNING),
    ("what is parked is abandoned", parked, "abandon", DEV, State.ABANDONED),
]


@pytest.mark.parametrize(("name", "make", "action", "user", "end"), ARROWS, ids=[arrow[0] for arrow in ARROWS])
def test_what_a_click_does(
    chat: Chat, name: str, make: Callable[[Chat], Request], action: str, user: str, end: State
) -> None:
    request = make(chat)
    assert action in shown(chat, request) or name.startswith("a plan is"), "the card offers it"
    assert chat.press(action, request, user) == []
    assert state(chat, request) == end
    row = chat.rows(sa.select(tables.audit).where(tables.audit.c.event == "moved").order_by(tables.audit.c.seq))[-1]
    assert (row.actor, row.data["to"]) == (user, end)


def test_what_is_approved_is_withdrawn_before_it_runs(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.press("approve", request)
    assert shown(chat, request) == ["withdraw"]
    assert chat.press("withdraw", request, DEV) == []
    assert chat.run(request) == State.WITHDRAWN
    assert chat.workshop.acted == []


ALL = ("approve", "withdraw", "again", "cancel", "resume", "abandon", "undo", "explode", "form", "ask")
ALLOWED = {
    State.PLANNING: {"withdraw"}, State.BLOCKED: {"withdraw", "again"}, State.RUNNING: {"cancel"},
    State.AWAITING: {"approve", "withdraw", "again"}, State.APPROVED: {"withdraw"},
    State.PARKED: {"resume", "abandon", "undo"},
    State.DENIED: set(), State.SUCCEEDED: {"undo"},
}  # fmt: skip
MAKERS: dict[State, Callable[[Chat], Request]] = {
    State.PLANNING: lambda chat: chat.ask(), State.BLOCKED: blocked, State.RUNNING: lambda chat: chat.start(),
    State.AWAITING: lambda chat: chat.wait_for_approval(), State.PARKED: parked, State.APPROVED: lambda chat: ok(chat),
    State.DENIED: lambda chat: no(chat), State.SUCCEEDED: lambda chat: chat.finish(),
}  # fmt: skip


def ok(chat: Chat) -> Request:
    request = chat.wait_for_approval()
    chat.approve(request)
    return chat.get(request.id)


def no(chat: Chat) -> Request:
    request = chat.wait_for_approval()
    chat.requests.vote(request.id, (request.fingerprint or "")[:16], FIRST, False, lambda *_: True)
    return chat.get(request.id)


@pytest.mark.long(but=3)
@pytest.mark.parametrize("start", MAKERS)
def test_every_other_click_changes_nothing_and_is_answered(chat: Chat, start: State) -> None:
    """Whatever button somebody still sees, or forges."""
    request = MAKERS[start](chat)
    for action in ALL:
        if action not in ALLOWED[start]:
            for user in (DEV, SECOND):
                said = chat.press(action, request, user)
                assert NOTHING in text_of(said), (action, user)
                assert chat.get(request.id) == request, (action, user)
    assert len(chat.requests_now()) == 1


@pytest.mark.long(but=8)
@pytest.mark.parametrize("start", MAKERS)
@pytest.mark.parametrize("kind", ["member", "guest", "bot", "deactivated"])
def test_who_has_no_right_moves_nothing(chat: Chat, start: State, kind: Any) -> None:
    request = MAKERS[start](chat)
    chat.people.known = {THIRD: Person(THIRD, kind)}
    for action in (*ALL, "deny"):
        said = chat.press(action, request, THIRD)
        assert NOTHING in text_of(said), action
        assert chat.get(request.id) == request, action
    assert chat.modals == {}
    assert len(chat.requests_now()) == 1


# -- N of M ------------------------------------------------------------------------------------------------------


def test_three_of_many_have_to_approve(chat: Chat) -> None:
    request = two_needed(chat, 3)
    for number, user in enumerate(("U1000000001", "U1000000002")):
        assert chat.press("approve", request, user) == []
        assert f"({number + 1} of 3)" in chat.thread(request)[-1].text
        assert state(chat, request) == State.AWAITING
    assert "You have already voted" in text_of(chat.press("approve", request, "U1000000001"))
    assert "You asked for this" in text_of(chat.press("approve", request, DEV))
    assert chat.press("approve", request, "U1000000003") == []
    assert state(chat, request) == State.APPROVED
    assert chat.run(request) == State.SUCCEEDED


def test_one_human_with_two_accounts_is_one_approval(chat: Chat) -> None:
    request = two_needed(chat)
    chat.people.known = {FIRST: Person(FIRST, "member", email="a@x"), SECOND: Person(SECOND, "member", email="A@x")}
    chat.press("approve", request, FIRST)
    chat.press("approve", request, SECOND)
    assert state(chat, request) == State.AWAITING
    chat.press("approve", request, THIRD)
    assert state(chat, request) == State.APPROVED


def test_who_left_before_the_last_vote_does_not_count(chat: Chat) -> None:
    request = two_needed(chat)
    chat.press("approve", request, FIRST)
    chat.people.known = {FIRST: Person(FIRST, "deactivated")}
    chat.press("approve", request, SECOND)
    assert state(chat, request) == State.AWAITING
    chat.press("approve", request, THIRD)
    assert state(chat, request) == State.APPROVED


def test_one_no_ends_what_two_have_to_approve(chat: Chat) -> None:
    request = two_needed(chat)
    chat.press("approve", request, FIRST)
    chat.press("deny", request, SECOND)
    assert chat.tell("V1", SECOND, reason="no") == []
    assert state(chat, request) == State.DENIED


def test_who_approved_may_not_deny_any_more(chat: Chat) -> None:
    request = two_needed(chat)
    chat.press("approve", request, FIRST)
    assert "You have already voted" in text_of(chat.press("deny", request, FIRST))
    assert chat.modals == {}


# -- look again --------------------------------------------------------------------------------------------------


def test_a_look_again_voids_votes_and_buttons(chat: Chat) -> None:
    request = two_needed(chat)
    old = f"{request.id}:{(request.fingerprint or '')[:16]}"
    chat.press("approve", request, FIRST)
    chat.press("again", request, SECOND)
    chat.wait_for_approval(make_plan(facts=()), make_needs(each=request.quorum.each), request=chat.get(request.id))
    assert "The plan has changed since this button was drawn" in text_of(chat.press("approve", request, value=old))
    chat.press("approve", request, THIRD)
    assert state(chat, request) == State.AWAITING, "one vote on the new plan"
    chat.press("approve", request, FIRST)
    assert state(chat, request) == State.APPROVED


def test_a_look_again_that_finds_the_same_still_needs_new_votes(chat: Chat) -> None:
    request = two_needed(chat)
    chat.press("approve", request, FIRST)
    chat.press("again", request, DEV)
    again = chat.wait_for_approval(needs=make_needs(each=request.quorum.each), request=chat.get(request.id))
    assert again.fingerprint == request.fingerprint
    assert chat.press("approve", request, SECOND) == []
    assert state(chat, request) == State.AWAITING
    assert chat.press("approve", request, FIRST) == []
    assert state(chat, request) == State.APPROVED


def test_a_look_again_begins_a_new_term(chat: Chat) -> None:
    request = blocked(chat)
    chat.now += 99
    chat.press("again", request, DEV)
    found = chat.wait_for_approval(request=chat.get(request.id))
    assert found.deadline == chat.now + 100
    other = blocked(chat)
    chat.now += 100
    assert "has expired" in text_of(chat.press("again", other, DEV))
    assert state(chat, other) == State.EXPIRED


def test_drift_is_planned_anew_and_said(chat: Chat) -> None:
    request = chat.wait_for_approval()
    chat.press("approve", request)
    chat.workshop.plan_now = make_plan(facts=())
    assert chat.run(request) == State.PLANNING
    found = chat.wait_for_approval(request=chat.get(request.id))
    assert "approve" in shown(chat, found)
    assert any("the approval is void" in note.text for note in chat.thread(request))
    assert chat.workshop.acted == []


# -- time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [blocked, lambda chat: chat.wait_for_approval(), ok])
def test_what_runs_out_by_the_clock(chat: Chat, make: Callable[[Chat], Request]) -> None:
    request = make(chat)
    assert request.deadline is not None
    chat.now = request.deadline - 0.01
    assert chat.requests.sweep() == []
    chat.now = request.deadline
    assert chat.requests.sweep() == [request.id]
    assert state(chat, request) == State.EXPIRED
    assert shown(chat, request) == []
    assert "Ask again if it is still wanted" in chat.thread(request)[-1].text
    assert chat.run(request) == State.EXPIRED
    assert chat.workshop.acted == []


@pytest.mark.parametrize("make", [lambda chat: chat.start(), parked, lambda chat: chat.finish()])
def test_what_has_begun_does_not_run_out(chat: Chat, make: Callable[[Chat], Request]) -> None:
    request = make(chat)
    before = state(chat, request)
    chat.now += 1e6
    assert chat.requests.sweep() == []
    assert state(chat, request) == before


def test_an_approval_that_runs_out_behind_another_run_is_never_started(chat: Chat) -> None:
    first, second = chat.start(), chat.wait_for_approval()
    chat.approve(second)
    assert chat.run(second) == State.APPROVED
    assert chat.get(second.id).waits_for == first.id
    chat.now += 50
    assert chat.requests.sweep() == [second.id]
    chat.step(first)
    chat.requests.end(first, State.SUCCEEDED, lambda _: Note(text="Done."))
    assert chat.queue.runs == []
    assert state(chat, second) == State.EXPIRED


@pytest.mark.parametrize("end", ["expired", "withdrawn"])
def test_what_ended_behind_another_run_does_not_say_that_it_starts_by_itself(chat: Chat, end: str) -> None:
    first, second = chat.start(), chat.wait_for_approval()
    chat.approve(second)
    assert chat.run(second) == State.APPROVED
    if end == "expired":
        chat.now += 50
        chat.requests.sweep()
    else:
        chat.press("withdraw", second, DEV)
    assert state(chat, second) == end
    said = str(cards.card(chat.requests.snapshot(second.id), 1).blocks)
    assert first.id not in said, "the card"
    for words_ in ("why", "request"):
        assert first.id not in text_of(chat.type(f"{words_} {second.id}")), words_


# -- leases ------------------------------------------------------------------------------------------------------


def test_three_on_one_target_follow_each_other_in_the_order_of_their_approvals(chat: Chat) -> None:
    first = chat.start()
    waiting = [chat.wait_for_approval() for _ in range(3)]
    for request in (waiting[1], waiting[0], waiting[2]):
        chat.approve(request)
        chat.now += 1
        assert chat.run(request) == State.APPROVED
        line = chat.get(request.id).why
        assert line is not None
        assert line.text == f"It starts by itself when `{first.id}`, which is changing the same thing, has ended."
        assert f"`{first.id}`" in line.text
        assert first.id in str(cards.card(chat.requests.snapshot(request.id), 1).blocks)
    chat.press("withdraw", waiting[2], DEV)
    chat.step(first)
    chat.requests.end(first, State.SUCCEEDED, lambda _: Note(text="Done."))
    started = [name for name, _ in chat.queue.runs]
    assert set(started) == {waiting[0].id, waiting[1].id}
    assert started[0] == waiting[1].id, "the oldest approval first"
    assert chat.run(waiting[1]) == State.SUCCEEDED
    assert chat.run(waiting[0]) == State.SUCCEEDED
    assert state(chat, waiting[2]) == State.WITHDRAWN


def test_a_parked_run_keeps_its_targets_until_it_is_abandoned(chat: Chat) -> None:
    first = parked(chat)
    second = chat.wait_for_approval()
    chat.approve(second)
    assert chat.run(second) == State.APPROVED
    assert chat.get(second.id).waits_for == first.id
    chat.press("abandon", first, DEV)
    assert chat.run(second) == State.SUCCEEDED


# -- parked ------------------------------------------------------------------------------------------------------


def test_after_long_parking_only_an_approver_resumes(chat: Chat) -> None:
    request = parked(chat)
    chat.now += 100
    assert chat.press("resume", request, DEV) == []
    again = parked(chat, make_plan(targets=("subnets of vpc-2 in management",)))
    chat.now += 101
    (note,) = chat.press("resume", again, DEV)
    assert "parked for long, so somebody who may approve it has to resume it" in note.text
    assert state(chat, again) == State.PARKED
    assert chat.press("resume", again, FIRST) == []
    assert state(chat, again) == State.RUNNING


GONE: list[tuple[str, Callable[[Chat], Any]]] = [
    ("deactivated", lambda chat: chat.people.known.update({FIRST: Person(FIRST, "deactivated")})),
    ("a guest now", lambda chat: chat.people.known.update({FIRST: Person(FIRST, "guest")})),
    ("taken out of the rule", lambda chat: rules(chat, approve=Who(users=(SECOND,)))),
    ("two are needed now", lambda chat: rules(chat, approvals=2)),
    ("the requester herself", lambda chat: chat.people.known.update(
        {DEV: Person(DEV, "member", email="a@x"), FIRST: Person(FIRST, "member", email="a@x")})),
]  # fmt: skip


def rules(chat: Chat, **changes: Any) -> None:
    chat.use(tuple(rule.model_copy(update=changes) for rule in RULES))


@pytest.mark.long(but=3)
@pytest.mark.parametrize(("name", "change"), GONE, ids=[name for name, _ in GONE])
@pytest.mark.parametrize("user", [DEV, SECOND])
def test_approvals_that_do_not_hold_any_more_resume_nothing(
    chat: Chat, name: str, change: Callable[[Chat], Any], user: str
) -> None:
    request = parked(chat)
    change(chat)
    (note,) = chat.press("resume", request, user)
    assert "The approvals of this run do not hold any more." in note.text
    assert "Abandon it and ask anew." in note.text
    assert state(chat, request) == State.PARKED
    assert chat.press("abandon", request, user) == []


def test_what_was_parked_meanwhile_is_resumed_under_the_same_rules(chat: Chat) -> None:
    """The click found the request running; it was parked before the click was carried out."""
    request = parked(chat)
    chat.people.known.update({FIRST: Person(FIRST, "deactivated")})
    clicking, get = chat.front.clicking, chat.requests.get

    def an_earlier_look(name: str) -> Request | None:
        found = get(name)
        return None if found is None else Request(**{**vars(found), "state": State.RUNNING})

    clicking.requests.get = an_earlier_look  # type: ignore[method-assign]
    said = chat.press("resume", request, SECOND)
    clicking.requests.get = get  # type: ignore[method-assign]
    assert NOTHING in text_of(said)
    assert state(chat, request) == State.PARKED


# -- stopping changes nothing, so it stays possible --------------------------------------------------------------

LEFT: list[tuple[str, Callable[[Chat], Any]]] = [
    ("the one who asked was deactivated", lambda chat: chat.people.known.update({DEV: Person(DEV, "deactivated")})),
    ("the one who asked may not ask any more", lambda chat: rules(chat, ask=Who(users=(THIRD,)))),
    ("the channel is shared now", lambda chat: chat.shared.add(CHANNEL)),
    ("the bot was taken out of the channel", lambda chat: chat.absent.add(CHANNEL)),
]


@pytest.mark.long(but=2)
@pytest.mark.parametrize(("name", "change"), LEFT, ids=[name for name, _ in LEFT])
@pytest.mark.parametrize(("action", "end"), [("cancel", State.CANCELLING), ("abandon", State.ABANDONED)])
def test_who_approves_can_always_stop_a_run(
    chat: Chat, name: str, change: Callable[[Chat], Any], action: str, end: State
) -> None:
    """A parked run holds its targets for ever: if nobody could abandon it, nothing could be changed there again."""
    request = chat.start() if action == "cancel" else parked(chat)
    change(chat)
    assert chat.press(action, request, SECOND) == []
    assert state(chat, request) == end


@pytest.mark.long(but=2)
@pytest.mark.parametrize(("name", "change"), LEFT[1:], ids=[name for name, _ in LEFT[1:]])
@pytest.mark.parametrize("action", ["cancel", "abandon", "withdraw"])
def test_who_asked_can_always_stop_it(chat: Chat, name: str, change: Callable[[Chat], Any], action: str) -> None:
    made = {"cancel": lambda: chat.start(), "abandon": lambda: parked(chat), "withdraw": lambda: ok(chat)}
    request = made[action]()
    change(chat)
    assert chat.press(action, request, DEV) == []
    assert state(chat, request) in (State.CANCELLING, State.ABANDONED, State.WITHDRAWN)


@pytest.mark.long(but=2)
@pytest.mark.parametrize("kind", ["guest", "deactivated", "foreign", "bot"])
@pytest.mark.parametrize("user", [DEV, FIRST])
def test_who_is_no_member_any_more_stops_nothing(chat: Chat, kind: Any, user: str) -> None:
    """Neither the one who asked nor one who could have approved."""
    runs, waits = chat.start(), ok(chat)
    left = parked(chat, make_plan(targets=("subnets of vpc-2 in management",)))
    chat.people.known = {user: Person(user, kind)}
    for action, request in (("cancel", runs), ("withdraw", waits), ("abandon", left)):
        assert NOTHING in text_of(chat.press(action, request, user)), action
    assert [state(chat, request) for request in (runs, waits, left)] == [State.RUNNING, State.APPROVED, State.PARKED]


@pytest.mark.parametrize("action", ["approve", "again", "resume", "undo"])
def test_everything_else_needs_the_policy_of_now(chat: Chat, action: str) -> None:
    made = {"approve": lambda: chat.wait_for_approval(), "again": lambda: blocked(chat),
            "resume": lambda: parked(chat), "undo": lambda: chat.finish()}  # fmt: skip
    request = made[action]()
    before = state(chat, request)
    for _, change in LEFT[1:]:
        chat.absent.clear()
        change(chat)
        for user in (DEV, SECOND):
            assert NOTHING in text_of(chat.press(action, request, user))
    assert state(chat, request) == before
    assert len(chat.requests_now()) == 1


# -- for real ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """A world where requests about clusters named short… run out within seconds, and approvers are reminded soon. On
    SQLite only, because what is waited for here is the clock."""
    with running_world() as world:
        world.settings.write_text(world.settings.read_text() + SHORT)
        world.start_bot()
        yield world


def approve(world: World, card: Json, user: str = APPROVER) -> None:
    world.view.click(user, card["ts"], "tkg:approve")


@pytest.mark.long
def test_what_nobody_decides_is_reminded_of_and_runs_out(world: World) -> None:
    """As the settings say; both are looked for every few seconds."""
    waits, short = world.ask("undecided", world.public()), world.ask("short-a", world.public(2))
    eventually(lambda: "⚪ Expired" in words(world.card(short)))
    assert buttons(world.card(short)) == []
    assert "Nobody decided in time" in words(world.thread(short)[-1])
    line = world.view.wait(APPROVER, "is still waiting", thread=waits["ts"])
    assert mentions(line) == {"SPLATFORM1", USER}
    assert sum("is still waiting" in words(one) for one in world.thread(waits)) == 1
    assert world.tagged("short-a") | world.tagged("undecided") == set()


def test_two_have_to_approve_for_production(world: World) -> None:
    card = world.ask("prod-two", world.public(1))
    approve(world, card)
    eventually(lambda: any("(1 of 2)" in words(line) for line in world.thread(card)))
    assert "tkg:approve" in buttons(world.card(card))
    since = world.now()
    approve(world, card)
    assert "already voted" in words(world.view.wait(APPROVER, "already voted", since=since))
    approve(world, card, OTHER_APPROVER)
    eventually(lambda: "🟢 Done" in words(world.card(card)))
    assert world.tagged("prod-two") == set(world.public(1))
