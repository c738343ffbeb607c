"""Taking back what a run changed: who may ask for it, what it touches, and that it happens once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import tables
from bot.answers import NOTHING
from bot.ledger import Refused
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Person, Rule, Who
from bot.records import Draft, Request
from bot.slack import cards
from bot.tour import words
from handlers.contract import Inverse, Outcome, Plan
from tests.chat import CHANNEL, DEV, FIRST, NEEDS, OTHER, RULES, SECOND, TEAM, THIRD, Chat, text_of
from tests.scenario.conftest import calls_of, put_tag, request_id
from tests.unit.makers import make_plan, tag_step
from tests.world import APPROVER, Json, World, eventually
from tests.world import DEV as USER

DATABASE = "sqlite"
ENDED = [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.ABANDONED]


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def ended(
    chat: Chat, state: State = State.SUCCEEDED, *, changed: bool | None = True, channel: str = CHANNEL
) -> Request:
    """A request whose run ended so; with `changed` None, before its first step."""
    mine = chat.start(channel=channel)
    if changed is not None:
        chat.step(mine, changed=changed)
    if state == State.CANCELLED:
        chat.requests.cancel(mine.id, DEV)
    chat.requests.end(mine, State.PARKED if state == State.ABANDONED else state, lambda _: Note(text="It ended."))
    if state == State.ABANDONED:
        chat.requests.abandon(mine.id, DEV)
    assert chat.get(mine.id).state == state
    return chat.get(mine.id)


def undoing(chat: Chat, request: Request) -> list[Request]:
    return [other for other in chat.requests_now() if other.undoes == request.id]


def offers_undo(chat: Chat, request: Request) -> bool:
    return "tkg:undo" in str(cards.card(chat.requests.snapshot(request.id), 1).blocks)


# -- what an undo is ---------------------------------------------------------------------------------------------


@pytest.mark.long(but=4)
@pytest.mark.parametrize("way", ["button", "command", "form"])
@pytest.mark.parametrize("state", ENDED)
def test_an_undo_is_a_new_request_for_the_inverse(chat: Chat, way: str, state: State) -> None:
    request = ended(chat, state)
    assert offers_undo(chat, request)
    if way == "button":
        said = chat.press("undo", request, DEV)
    elif way == "command":
        said = chat.type(f"undo {request.id}")
    else:
        chat.type("undo")
        said = chat.tell("V1", request=request.id)
        assert said.pop().code == f"/tkg undo {request.id}"
    assert said == []
    (new,) = undoing(chat, request)
    assert (new.operation, new.requester, new.channel, new.state) == ("subnet untag", DEV, CHANNEL, State.PLANNING)
    assert chat.queue.plans[-1] == (new.id, 1)
    assert f"undoes {request.id}" in str(cards.card(chat.requests.snapshot(new.id), 1).blocks)
    line = chat.thread(request)[-1]
    assert line.text == f"<@{DEV}> asks in `{new.id}` to take back what this run changed."
    assert f"Takes back `{request.id}`." in text_of(chat.type(f"request {new.id}"))
    assert chat.get(request.id).state == state


def test_an_undo_needs_its_own_approval(chat: Chat) -> None:
    request = ended(chat)
    chat.press("undo", request, FIRST)
    (new,) = undoing(chat, request)
    chat.execute(sa.update(tables.outbox).where(tables.outbox.c.key == f"{new.id}:card").values(ts="7.7"))
    new = chat.wait_for_approval(request=new)
    assert "somebody else has to approve it" in text_of(chat.press("approve", new, FIRST))
    assert chat.get(new.id).state == State.AWAITING
    assert chat.press("approve", new, SECOND) == []
    assert chat.get(new.id).state == State.APPROVED


def test_an_undo_of_what_was_begun_and_not_seen(chat: Chat) -> None:
    """A step whose end nobody saw may have had its effect."""
    mine = chat.start()
    chat.requests.begin_step(mine, 0)
    chat.requests.end(mine, State.FAILED, lambda _: Note(text="It ended."))
    assert chat.press("undo", chat.get(mine.id), DEV) == []
    assert len(undoing(chat, mine)) == 1


def test_an_undo_is_told_which_steps_changed_something(chat: Chat) -> None:
    seen: list[tuple[int, ...]] = []
    inverse = chat.front.asking.inverse

    def spy(operation: str, arguments: Json, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        seen.append(tuple(touched))
        return inverse(operation, arguments, plan, touched)

    object.__setattr__(chat.front.asking, "inverse", spy)
    plan = make_plan(steps=(tag_step(), tag_step(key="a"), tag_step(key="b"), tag_step(key="c")))
    mine = chat.start(chat.wait_for_approval(plan))
    for position, changed in enumerate((True, False, True)):
        chat.requests.begin_step(mine, position)
        chat.requests.end_step(mine, position, Outcome(changed=changed, evidence="seen"))
    chat.requests.end(mine, State.FAILED, lambda _: Note(text="It ended."))
    chat.press("undo", chat.get(mine.id), DEV)
    assert seen == [(0, 2)]


def test_an_undo_can_be_undone(chat: Chat) -> None:
    first = ended(chat)
    chat.press("undo", first, DEV)
    (second,) = undoing(chat, first)
    mine = chat.start(chat.wait_for_approval(request=second))
    chat.step(mine)
    chat.requests.end(mine, State.SUCCEEDED, lambda _: Note(text="Done."))
    assert chat.type(f"undo {second.id}") == []
    (third,) = undoing(chat, second)
    assert third.operation == "subnet tag"


# -- only once ---------------------------------------------------------------------------------------------------


def bring(chat: Chat, request: Request, state: State) -> None:
    """A request that is being planned, brought into a state."""
    found = chat.get(request.id)
    if state == State.PLANNING:
        return
    if state == State.NOTHING_TO_DO:
        chat.requests.planned(found.id, 1, make_plan(steps=()), NEEDS)
        return
    if state == State.BLOCKED:
        chat.requests.planned(found.id, 1, chat.workshop.plan_now, NEEDS)
        chat.requests.look_again(found.id, DEV)
        chat.requests.plan_failed(found.id, 2, Note(text="AWS does not answer."), passing=True)
        return
    found = chat.wait_for_approval(request=found)
    if state == State.WITHDRAWN:
        chat.requests.withdraw(found.id, DEV)
    elif state == State.DENIED:
        chat.requests.vote(found.id, (found.fingerprint or "")[:16], FIRST, False, lambda *_: True)
    elif state == State.EXPIRED:
        chat.execute(sa.update(tables.requests).where(tables.requests.c.id == found.id).values(deadline=chat.now - 1))
        chat.requests.sweep()
    elif state == State.APPROVED:
        chat.approve(found)
    elif state != State.AWAITING:
        mine = chat.start(found)
        if state in (State.CANCELLED, State.CANCELLING):
            chat.requests.cancel(mine.id, DEV)
        if state not in (State.RUNNING, State.CANCELLING):
            ends_as = State.PARKED if state == State.ABANDONED else state
            chat.requests.end(mine, ends_as, lambda _: Note(text="It ended."))
        if state == State.ABANDONED:
            chat.requests.abandon(mine.id, DEV)


OPEN_OR_DONE = [
    State.PLANNING, State.BLOCKED, State.AWAITING, State.APPROVED, State.RUNNING, State.CANCELLING, State.PARKED,
    State.SUCCEEDED, State.NOTHING_TO_DO,
]  # fmt: skip
CAME_TO_NOTHING = [
    State.DENIED, State.WITHDRAWN, State.EXPIRED, State.FAILED, State.CANCELLED, State.ABANDONED,
]  # fmt: skip


@pytest.mark.long(but=4)
@pytest.mark.parametrize("state", [state for state in State if state != State.RECEIVED])
def test_a_second_undo(chat: Chat, state: State) -> None:
    """Refused while one is under way or has done it; allowed again when it came to nothing."""
    assert {*OPEN_OR_DONE, *CAME_TO_NOTHING} == set(State) - {State.RECEIVED}
    request = ended(chat)
    chat.press("undo", request, DEV)
    (first,) = undoing(chat, request)
    bring(chat, first, state)
    assert chat.get(first.id).state == state
    said = [*chat.press("undo", request, DEV), *chat.type(f"undo {request.id}", FIRST)]
    if state in OPEN_OR_DONE:
        assert len(undoing(chat, request)) == 1
        assert [f"`{first.id}`" in note.text and NOTHING in note.text for note in said] == [True, True]
        assert len([note for note in chat.thread(request) if "asks in" in note.text]) == 1
    else:
        assert len(undoing(chat, request)) == 2
        (note,) = said
        assert f"`{undoing(chat, request)[1].id}`" in note.text


def test_ten_undos_at_the_same_moment_are_one(chat: Chat) -> None:
    request = ended(chat)
    start = threading.Barrier(10)

    def one(number: int) -> str:
        draft = Draft(
            invocation=f"u{number}", operation="subnet untag", arguments={"cluster": "demo"}, command="/tkg", team=TEAM,
            channel=CHANNEL, requester=DEV, undoes=request.id,
        )  # fmt: skip
        start.wait()
        try:
            return chat.requests.submit(draft)
        except Refused:
            return ""

    with ThreadPoolExecutor(10) as pool:
        made = [name for name in pool.map(one, range(10)) if name]
    assert [other.id for other in undoing(chat, request)] == made
    assert len(made) == 1
    assert len(chat.outbox("card")) == 2, "what was refused leaves no card"


def test_an_undo_that_is_delivered_twice_is_one(chat: Chat) -> None:
    request = ended(chat)
    body = {
        "team_id": TEAM, "user_id": DEV, "channel_id": CHANNEL, "command": "/tkg", "text": f"undo {request.id}",
        "trigger_id": "t", "response_url": "https://hooks.slack.com/commands/1", "api_app_id": "A1",
    }  # fmt: skip
    chat.deliver(body)
    chat.deliver(body)
    chat.keys *= 3
    chat.answer_all()
    assert len(undoing(chat, request)) == 1
    assert [note for note in chat.said() if NOTHING in note.text] == []


# -- what cannot be undone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state not in (*ENDED, State.RECEIVED, State.PARKED)])
def test_what_has_no_run_that_ended_is_not_undone(chat: Chat, state: State) -> None:
    request = chat.ask()
    bring(chat, request, state)
    for said in (chat.press("undo", request, DEV), chat.type(f"undo {request.id}")):
        assert said[0].text.startswith(f"`{request.id}` has no run that has ended, so there is nothing to undo.")
    assert not offers_undo(chat, request)
    assert undoing(chat, request) == []


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("changed", [False, None])
def test_a_run_that_changed_nothing_is_not_undone(chat: Chat, state: State, changed: bool | None) -> None:
    request = ended(chat, state, changed=changed)
    assert not offers_undo(chat, request)
    for said in (chat.press("undo", request, DEV), chat.type(f"undo {request.id}")):
        assert "changed nothing, so there is nothing to undo" in said[0].text
    assert undoing(chat, request) == []


def test_what_failed_before_it_was_planned_is_not_undone(chat: Chat) -> None:
    request = chat.ask()
    chat.requests.plan_failed(request.id, 1, Note(text="AWS does not answer."))
    assert "changed nothing" in chat.type(f"undo {request.id}")[0].text


def test_what_has_no_inverse_is_not_undone(chat: Chat) -> None:
    request = ended(chat)
    object.__setattr__(chat.front.asking, "inverse", lambda *_: None)
    (note,) = chat.press("undo", request, DEV)
    assert f"What `{request.id}` changed cannot be taken back by tkgbot." in note.text


# -- who may -----------------------------------------------------------------------------------------------------


def test_an_undo_is_asked_for_under_the_policy_of_the_inverse(tmp_path: Path) -> None:
    tag = RULES[0].model_copy(update={"operations": ("subnet tag",)})
    untag = Rule(name="untag", operations=("subnet untag",), ask=Who(users=(SECOND,)), approve=Who(users=(FIRST,)))
    chat = Chat(tmp_path, (tag, untag))
    request = ended(chat)
    for user in (DEV, FIRST, THIRD):
        for said in (chat.press("undo", request, user), chat.type(f"undo {request.id}", user)):
            assert "You may not ask for what would undo this" in said[0].text
            assert NOTHING in said[0].text
    assert undoing(chat, request) == []
    assert chat.press("undo", request, SECOND) == []
    assert undoing(chat, request)[0].requester == SECOND
    chat.store.close()


@pytest.mark.parametrize("kind", ["guest", "stranger", "foreign", "bot", "deactivated"])
def test_only_members_undo(chat: Chat, kind: str) -> None:
    request = ended(chat)
    chat.people.known = {THIRD: Person(THIRD, kind)}  # type: ignore[arg-type]
    for said in (chat.press("undo", request, THIRD), chat.type(f"undo {request.id}", THIRD)):
        assert NOTHING in said[0].text
    assert undoing(chat, request) == []


def test_an_undo_of_another_channels_run(chat: Chat) -> None:
    """Who cannot see it is told what they would be told of one that is not there; who approves it may ask from where
    they are, and the new card stands there."""
    request = ended(chat, channel=OTHER)
    assert chat.type(f"undo {request.id}", THIRD)[0].text.startswith(f"There is no request `{request.id}` that you can")
    assert chat.type(f"undo {request.id}", FIRST) == []
    (new,) = undoing(chat, request)
    assert new.channel == CHANNEL
    assert f"`{new.id}`" in chat.thread(request)[-1].text


@pytest.mark.parametrize("where", ["shared", "absent", "direct"])
def test_where_nothing_is_changed_nothing_is_undone(chat: Chat, where: str) -> None:
    request = ended(chat)
    if where == "direct":
        said = chat.type(f"undo {request.id}", DEV, "D1")
        assert "Changes are asked for in a channel" in text_of(said)
    else:
        getattr(chat, where).add(CHANNEL)
        said = chat.press("undo", request, DEV)
        assert {"shared": "shared with another", "absent": "/invite @tkgbot"}[where] in text_of(said)
    assert undoing(chat, request) == []


def test_a_button_on_another_message_undoes_nothing(chat: Chat) -> None:
    request = ended(chat)
    (note,) = chat.press("undo", request, DEV, ts="666.6")
    assert "does not belong to a request" in note.text
    assert undoing(chat, request) == []


# -- for real ----------------------------------------------------------------------------------------------------


def done(world: World, card: Json, approver: str = APPROVER) -> None:
    world.view.click(approver, card["ts"], "tkg:approve")
    eventually(lambda: "🟢 Done" in words(world.card(card)))


def undo_card(world: World, card: Json, since: str) -> Json:
    return world.view.wait(USER, f"undoes {request_id(card)}", since=since)


@pytest.mark.long
def test_what_was_there_before_stays(world: World) -> None:
    """One of three subnets had the tag already: it keeps it."""
    first, *others = world.public()
    put_tag(world, [first], "kubernetes.io/cluster/undone", "shared")
    card = world.ask("undone", world.public())
    done(world, card)
    assert world.tagged("undone") == {first, *others}
    since = world.now()
    world.view.click(USER, card["ts"], "tkg:undo")
    new = undo_card(world, card, since)
    new = world.view.wait(USER, "Approval needed: untag 2 subnets of undone", since=since)
    assert first not in words(new)
    line = world.view.wait(USER, "to take back what this run changed", thread=card["ts"])
    assert request_id(new) in words(line)
    since = world.now()
    world.view.command(USER, f"undo {request_id(card)}")
    answer = world.view.wait(USER, "takes back what", since=since)
    assert request_id(new) in words(answer)
    assert answer["ephemeral"]
    done(world, new)
    assert world.tagged("undone") == {first}
    since = world.now()
    world.view.click(APPROVER, card["ts"], "tkg:undo")
    assert request_id(new) in words(world.view.wait(APPROVER, "takes back what", since=since))


def test_a_denied_undo_may_be_asked_for_again(world: World) -> None:
    card = world.ask("again", world.public(1))
    done(world, card)
    since = world.now()
    world.view.click(USER, card["ts"], "tkg:undo")
    new = undo_card(world, card, since)
    eventually(lambda: "Approval needed" in words(world.card(new)))
    world.view.click(USER, new["ts"], "tkg:withdraw")
    eventually(lambda: "Withdrawn" in words(world.card(new)))
    since = world.now()
    world.view.command(USER, f"undo {request_id(card)}")
    undo_card(world, card, since)
    assert world.tagged("again") == set(world.public(1))


@pytest.mark.long
def test_an_undo_takes_back_only_the_steps_that_were_done(world: World) -> None:
    """Of two steps the first was carried out before the run was cancelled."""
    world.view.aws_faults(hold=["ec2:CreateTags"])
    card = world.ask("half", world.public(2), "--role-tag")
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.wait_until_held()
    world.view.click(USER, card["ts"], "tkg:cancel")
    eventually(lambda: "Cancelling" in words(world.card(card)))
    world.view.aws_faults(hold=[])
    eventually(lambda: "Cancelled" in words(world.card(card)))
    tags = world.view.tags()
    role = [name for name in world.public(2) if "kubernetes.io/role/elb" in tags[name]]
    assert (len(world.tagged("half")), len(role)) in ((2, 0), (0, 2)), "one step of two"
    since = world.now()
    world.view.click(USER, card["ts"], "tkg:undo")
    new = undo_card(world, card, since)
    eventually(lambda: "Approval needed" in words(world.card(new)))
    assert ("role/elb" in words(world.card(new))) is bool(role)
    done(world, new)
    tags = world.view.tags()
    assert world.tagged("half") == set()
    assert not any("kubernetes.io/role/elb" in tags[name] for name in world.public(2))
    writes = [call for call in calls_of(world, new) if call["mutating"]]
    assert len(writes) == 1


def test_only_who_may_ask_undoes(world: World) -> None:
    card = world.ask("not-yours", world.public(1))
    done(world, card)
    since = world.now()
    for user, said in (("UGUEST0001", "Guests"), ("UAPPROVE02", "No rule")):
        world.view.click(user, card["ts"], "tkg:undo")
        answer = world.view.wait(user, said, since=since)
        assert answer["ephemeral"]
        assert "Nothing was done" in words(answer)
