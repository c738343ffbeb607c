"""The threats of the list that forms, mentions, undo and questions touch: each test's name says which."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import BoltRequest

from bot import tables
from bot.answers import NOTHING
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Person, Who
from bot.records import Request
from bot.screens import AskForm, DenyForm
from bot.slack import cards
from bot.slack.forms import view
from bot.slack.listeners import make_app
from tests.chat import CHANNEL, DEV, FIRST, OTHER, RULES, SECOND, TEAM, THIRD, Chat, text_of
from tests.security.test_threats import ESCALATIONS
from tests.unit.makers import NASTY, SUBNETS, make_plan
from tests.unit.test_cards import assert_slack_takes, walk

NUMBERS = itertools.count(1000)
GIVEN = {"cluster": "demo", "subnets": SUBNETS[0]}


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def opened(chat: Chat, text: str = "subnet tag", user: str = DEV) -> str:
    """Types a command that opens a form; its modal."""
    assert chat.type(text, user) == []
    name = f"V{len(chat.modals)}"
    assert isinstance(chat.modals[name].now, AskForm)
    return name


def asked_why(chat: Chat, request: Request, user: str = FIRST) -> str:
    """Clicks Deny; the modal."""
    assert chat.press("deny", request, user) == []
    name = f"V{len(chat.modals)}"
    assert isinstance(chat.modals[name].now, DenyForm)
    return name


def submission(shown: dict[str, Any], user: str = DEV, **given: Any) -> dict[str, Any]:
    """A form as Slack delivers it, with any values."""
    values = {name: {"value": {"type": "plain_text_input", "value": value}} for name, value in given.items()}
    whole = {**shown, "id": f"V{next(NUMBERS)}", "hash": "h", "app_id": "A1", "state": {"values": values}}
    return {
        "type": "view_submission", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM}, "view": whole,
        "api_app_id": "A1",
    }  # fmt: skip


def mention(text: str, ts: str = "5.5", thread: str = "", user: str = DEV, **more: Any) -> dict[str, Any]:
    """A mention as Slack delivers it."""
    words = {"type": "app_mention", "user": user, "text": text, "ts": ts, "channel": CHANNEL, "team": TEAM}
    words |= {"thread_ts": thread} if thread else {}
    return {"type": "event_callback", "team_id": TEAM, "api_app_id": "A1", "event_id": "Ev1", "event": words, **more}


def at_once(chat: Chat, body: dict[str, Any], times: int = 20) -> None:
    """The same delivery so many times at one moment, each taken up by so many."""
    start = threading.Barrier(times)

    def one(_: int) -> int:
        start.wait()
        return chat.deliver(body)

    with ThreadPoolExecutor(times) as pool:
        assert set(pool.map(one, range(times))) == {200}
    keys, chat.keys = chat.keys * times, []
    with ThreadPoolExecutor(times) as pool:
        list(pool.map(chat.front.handle, keys))


# -- replay ------------------------------------------------------------------------------------------------------


def test_replay_of_a_form_is_one_request(chat: Chat) -> None:
    body = submission(view(chat.modals[opened(chat)].now), **GIVEN)
    at_once(chat, body)
    assert len(chat.requests_now()) == 1
    assert len(chat.outbox("whisper")) == 1
    assert chat.deliver(body) == 200
    assert chat.keys == []


def test_replay_of_a_no_is_one_vote(chat: Chat) -> None:
    request = chat.wait_for_approval()
    at_once(chat, submission(view(chat.modals[asked_why(chat, request)].now), FIRST, reason="no"))
    assert chat.count(tables.votes) == 1
    assert [note for note in chat.said() if NOTHING in note.text] == []


def test_replay_of_a_form_after_its_request_has_ended_is_nothing_new(chat: Chat) -> None:
    name = opened(chat)
    chat.send(name, again=True, **GIVEN)
    chat.answer_all()
    (request,) = chat.requests_now()
    chat.requests.withdraw(request.id, DEV)
    chat.send(name, again=True, **GIVEN)
    chat.answer_all()
    assert [other.id for other in chat.requests_now()] == [request.id]


@pytest.mark.parametrize("again", [{}, {"event_id": "Ev2"}, {"retry_attempt": 1, "retry_reason": "timeout"}])
def test_replay_of_a_mention_is_one_answer(chat: Chat, again: dict[str, Any]) -> None:
    request = chat.start()
    body = mention("<@U1> cancel", thread=chat.card_of(request.id))
    at_once(chat, body)
    assert chat.get(request.id).state == State.CANCELLING
    chat.requests.end(chat.get(request.id), State.PARKED, lambda _: Note(text="It was left."))
    chat.requests.resume(request.id, DEV)
    chat.deliver({**body, **again})
    chat.answer_all()
    assert chat.get(request.id).state == State.RUNNING, "an old word does not stop the resumed run"


def test_replay_of_a_button_in_a_menu_is_one_answer(chat: Chat) -> None:
    chat.type("")
    chat.press_in("V1", "form", "subnet tag")
    body = {
        "type": "block_actions", "team": {"id": TEAM}, "user": {"id": DEV, "team_id": TEAM}, "api_app_id": "A1",
        "view": {**view(chat.modals["V1"].now), "id": "V1"}, "container": {"type": "view", "view_id": "V1"},
        "trigger_id": "t", "actions": [{"action_id": "tkg:form", "action_ts": "1.0", "value": "subnet tag"}],
    }  # fmt: skip
    before = len(chat.modals["V1"].screens)
    at_once(chat, body)
    assert len(chat.modals["V1"].screens) >= before
    assert chat.requests_now() == []


# -- confused deputy ---------------------------------------------------------------------------------------------


@pytest.fixture
def two_channels(tmp_path: Path) -> Iterator[Chat]:
    """DEV may ask in one channel, THIRD in the other."""
    here = RULES[0].model_copy(update={"name": "here", "channels": (CHANNEL,), "ask": Who(users=(DEV,))})
    there = RULES[0].model_copy(update={"name": "there", "channels": (OTHER,), "ask": Who(users=(THIRD,))})
    made = Chat(tmp_path, (here, there))
    yield made
    made.store.close()


def carrying(shown: dict[str, Any], **carried: str) -> dict[str, Any]:
    return {**shown, "private_metadata": json.dumps(carried)}


@pytest.mark.parametrize(("user", "channel", "right"), [
    (DEV, CHANNEL, True), (DEV, OTHER, False), (THIRD, CHANNEL, False), (THIRD, OTHER, True),
])  # fmt: skip
def test_confused_deputy_by_a_forms_channel_is_judged_by_that_channel(
    two_channels: Chat, user: str, channel: str, right: bool
) -> None:
    chat = two_channels
    shown = view(AskForm(CHANNEL, "subnet tag", "x", ()))
    forged = carrying(shown, channel=channel, operation="subnet tag")
    assert chat.deliver(submission(forged, user, **GIVEN)) == 200
    chat.answer_all()
    assert [(request.requester, request.channel) for request in chat.requests_now()] == [(user, channel)] * right
    assert all(row.person in (user, None) for kind in ("whisper", "direct") for row in chat.outbox(kind))


JUNK = ["", "{}", "null", "[]", "{", "x" * 3000, "[" * 3000, '{"channel": {"id": "C1"}}', '{"channel": null}']


@pytest.mark.parametrize("carried", JUNK, ids=lambda text: text[:20])
@pytest.mark.parametrize("callback", ["tkg:ask", "tkg:deny"])
def test_confused_deputy_by_junk_in_a_form_does_nothing(chat: Chat, carried: str, callback: str) -> None:
    request = chat.wait_for_approval()
    shown = {**view(AskForm(CHANNEL, "subnet tag", "x", ())), "private_metadata": carried, "callback_id": callback}
    assert chat.deliver(submission(shown, FIRST, **GIVEN, reason="no")) == 200
    chat.answer_all()
    assert [other.id for other in chat.requests_now()] == [request.id]
    assert chat.count(tables.votes) == 0
    for note in chat.said():
        assert CHANNEL not in note.text


@pytest.mark.parametrize("channel", ["C999", "", "D1", "<!channel>", "C1\u202e", "UDEV000001"])
def test_confused_deputy_by_a_channel_that_is_none_does_nothing(chat: Chat, channel: str) -> None:
    chat.absent.update({"C999", "<!channel>", "C1\u202e", "UDEV000001"})
    forged = carrying(view(AskForm(CHANNEL, "subnet tag", "x", ())), channel=channel, operation="subnet tag")
    chat.deliver(submission(forged, **GIVEN))
    chat.answer_all()
    assert chat.requests_now() == []
    (note,) = chat.said()
    assert NOTHING in note.text


def test_confused_deputy_by_another_operation_is_judged_as_that_operation(tmp_path: Path) -> None:
    tag = RULES[0].model_copy(update={"operations": ("subnet tag",)})
    chat = Chat(tmp_path, (tag,))
    shown = view(AskForm(CHANNEL, "subnet tag", "x", ()))
    for operation in ("subnet untag", "undo", "approve", "form"):
        forged = carrying(shown, channel=CHANNEL, operation=operation)
        chat.deliver(submission(forged, **GIVEN, request="r-000001"))
        chat.answer_all()
    assert chat.requests_now() == []
    chat.store.close()


def test_confused_deputy_by_a_no_about_another_request_is_judged_by_its_own_channel(two_channels: Chat) -> None:
    """A no carries the request; the channel that the form names decides nothing."""
    chat = two_channels
    request = chat.wait_for_approval(user=THIRD, channel=OTHER)
    value = f"{request.id}:{(request.fingerprint or '')[:16]}"
    shown = view(DenyForm(CHANNEL, value, "x"))
    chat.deliver(submission(shown, DEV, reason="no"))
    chat.answer_all()
    assert chat.get(request.id).state == State.AWAITING
    chat.use((chat.front.asking.people.rules[0],))
    chat.deliver(submission(shown, FIRST, reason="no"))
    chat.answer_all()
    assert chat.get(request.id).state == State.AWAITING
    assert [NOTHING in row.body["text"] for row in chat.outbox("whisper")] == [True, True]


@pytest.mark.parametrize("seal", ["", ":", "0" * 16, "%", "0123"])
def test_confused_deputy_by_a_no_without_the_plan_is_refused(chat: Chat, seal: str) -> None:
    request = chat.wait_for_approval()
    chat.deliver(submission(view(DenyForm(CHANNEL, f"{request.id}:{seal}", "x")), FIRST, reason="no"))
    chat.answer_all()
    assert chat.get(request.id).state == State.AWAITING
    assert chat.count(tables.votes) == 0


@pytest.mark.parametrize("words", ["request", "why", "undo"])
def test_confused_deputy_by_a_question_from_a_forged_channel_reaches_only_that_channel(chat: Chat, words: str) -> None:
    """Slack does not whisper to who is not in a channel: an answer about a channel goes to that channel only."""
    request = chat.finish(channel=OTHER)
    shown = view(AskForm(OTHER, words, "x", ()))
    chat.deliver(submission(shown, THIRD, request=request.id))
    chat.answer_all()
    for row in [*chat.outbox("whisper"), *chat.outbox("direct")]:
        assert row.channel == OTHER or request.id not in str(row.body)


# -- escalation via form fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ESCALATIONS, ids=lambda word: word[:20])
def test_escalation_via_form_fields_is_refused(chat: Chat, word: str) -> None:
    name = opened(chat)
    for field in ("cluster", "subnets", "vpc", "account", "region", "role_subnets"):
        answer = chat.send(name, **{**GIVEN, field: word[:3000]})
        assert answer.get("response_action") == "errors", field
    assert chat.keys == []


@pytest.mark.parametrize(
    "extra",
    [
        {"policy": "{}"}, {"role_arn": "arn:aws:iam::1:role/x"}, {"actions": "*"}, {"requester": FIRST},
        {"undoes": "r-000001"}, {"channel": OTHER}, {"operation": "subnet untag"}, {"__class__": "x"}, {"": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_escalation_via_form_fields_that_do_not_exist_changes_nothing(chat: Chat, extra: dict[str, str]) -> None:
    shown = view(chat.modals[opened(chat)].now)
    assert chat.deliver(submission(shown, **GIVEN, **extra)) == 200
    chat.answer_all()
    for request in chat.requests_now():
        assert set(request.arguments) <= {*chat.front.asking.operations["subnet tag"].arguments.model_fields}
        assert (request.requester, request.channel, request.operation) == (DEV, CHANNEL, "subnet tag")
        assert request.undoes is None
        assert not any(value and str(value) in str(request.arguments) for value in extra.values())


@pytest.mark.parametrize(
    "element",
    [
        {"type": "plain_text_input", "value": ["demo"]}, {"type": "plain_text_input", "value": {"a": 1}},
        {"type": "plain_text_input", "value": 7}, {"type": "checkboxes", "selected_options": [{"value": "demo"}]},
        {"type": "static_select", "selected_option": {"value": "*"}}, {"type": "static_select"}, {"type": None},
        {"type": "multi_users_select", "selected_users": ["U1"]}, {},
    ],
    ids=str,
)  # fmt: skip
def test_escalation_via_fields_of_another_kind_is_refused(chat: Chat, element: dict[str, Any]) -> None:
    body = submission(view(chat.modals[opened(chat)].now), subnets=SUBNETS[0])
    body["view"]["state"]["values"]["cluster"] = {"value": element}
    answer = chat.app.dispatch(BoltRequest(body=body, mode="socket_mode"))
    chat.answer_all()
    assert chat.requests_now() == []
    assert answer.status == 200
    assert "cluster" in json.loads(answer.body)["errors"]


# -- injection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", [*NASTY, "<!channel> <@UEVIL00001> <!subteam^SPLATFORM1>", "`" * 50], ids=ascii)
def test_mention_injection_by_a_reason_or_a_headline_calls_nobody(chat: Chat, hostile: str) -> None:
    request = chat.wait_for_approval(make_plan(headline=f"tag {hostile} for demo"))
    assert chat.tell(asked_why(chat, request), FIRST, reason=f"{hostile}!") == []
    notes = [Note.model_validate(row.body) for kind in ("thread", "nudge") for row in chat.outbox(kind)]
    notes += [*chat.type(f"why {request.id}"), *chat.type(f"request {request.id}"), *chat.type("requests")]
    for message in (cards.card(chat.requests.snapshot(request.id), 1), *map(cards.note, notes)):
        assert_slack_takes(message)
        called = [thing for thing in walk(message.blocks) if thing.get("type") in ("user", "usergroup", "broadcast")]
        assert {thing.get("user_id") for thing in called} <= {DEV, FIRST, SECOND}
        for evil in ("<!channel>", "<@UEVIL", "<!here", "<!subteam", "<http"):
            assert evil not in message.text
            assert not any(evil in thing["text"] for thing in walk(message.blocks) if thing.get("type") == "mrkdwn")


@pytest.mark.parametrize("link", ["<http://evil.example|Approve>", "https://evil.example/a", "`r-000001`"])
def test_phishing_by_a_reason_makes_no_link(chat: Chat, link: str) -> None:
    request = chat.wait_for_approval()
    chat.tell(asked_why(chat, request), FIRST, reason=f"see {link}")
    for words in ("why", "request"):
        for note in chat.type(f"{words} {request.id}"):
            links = [thing for thing in walk(cards.note(note).blocks) if thing.get("type") == "link"]
            assert [thing["text"] for thing in links] in ([], [request.id], [request.id] * 2)
            assert all(thing["url"].startswith("https://workspace/") for thing in links)


# -- self-approval -----------------------------------------------------------------------------------------------


def by_words(chat: Chat) -> Request:
    chat.type(f"subnet tag demo {SUBNETS[0]}", FIRST)
    return chat.requests_now()[-1]


def by_form(chat: Chat) -> Request:
    chat.tell(opened(chat, user=FIRST), FIRST, **GIVEN)
    return chat.requests_now()[-1]


def by_undo_button(chat: Chat) -> Request:
    done = chat.finish()
    chat.press("undo", done, FIRST)
    return next(request for request in chat.requests_now() if request.undoes)


def by_undo_form(chat: Chat) -> Request:
    done = chat.finish()
    chat.tell(opened(chat, "undo", FIRST), FIRST, request=done.id)
    return next(request for request in chat.requests_now() if request.undoes)


SURFACES: list[Callable[[Chat], Request]] = [by_words, by_form, by_undo_button, by_undo_form]


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.__name__)
@pytest.mark.parametrize("alias", ["the same account", "a second account"])
def test_self_approval_is_refused_whatever_it_was_asked_through(
    chat: Chat, surface: Callable[[Chat], Request], alias: str
) -> None:
    request = surface(chat)
    chat.execute(tables.outbox.update().where(tables.outbox.c.key == f"{request.id}:card").values(ts="77.7"))
    request = chat.wait_for_approval(request=request)
    who = FIRST
    if alias == "a second account":
        who = SECOND
        chat.people.known = {user: Person(user, "member", email="one@x") for user in (FIRST, SECOND)}
    seal = (request.fingerprint or "")[:16]
    attempts = [
        chat.press("approve", request, who), chat.press("deny", request, who),
        chat.say("<@U1> approve", who, thread="77.7"),
    ]  # fmt: skip
    chat.deliver(submission(view(DenyForm(CHANNEL, f"{request.id}:{seal}", "x")), who, reason="no"))
    chat.answer_all()
    for said in attempts:
        assert NOTHING in text_of(said)
    before = chat.count(tables.votes)
    assert chat.get(request.id).state == State.AWAITING
    assert before == sum(other.state == State.SUCCEEDED for other in chat.requests_now())


# -- bot impersonating -------------------------------------------------------------------------------------------


def test_bot_impersonating_by_a_mention_moves_nothing(chat: Chat) -> None:
    """By its mark, and by an account that Slack says is a bot's."""
    request = chat.start()
    thread = chat.card_of(request.id)
    chat.people.known = {"UBOT": Person("UBOT", "bot")}
    body = mention("<@U1> cancel", thread=thread, user="UBOT")
    body["event"]["bot_id"] = "B9"
    assert chat.deliver(body) == 200
    assert chat.keys == []
    assert NOTHING in text_of(chat.say("<@U1> cancel", "UBOT", thread=thread))
    assert chat.get(request.id).state == State.RUNNING


@pytest.mark.parametrize("action", ["approve", "deny", "withdraw", "cancel", "undo", "resume"])
def test_bot_impersonating_by_a_button_in_a_view_moves_nothing(chat: Chat, action: str) -> None:
    """A view is no card, whatever it carries and whatever message it names."""
    request = chat.wait_for_approval()
    chat.type("", FIRST)
    value = f"{request.id}:{(request.fingerprint or '')[:16]}"
    (note,) = chat.press_in("V1", action, value, FIRST)
    assert "does not belong to a request" in note.text
    body = {
        "type": "block_actions", "team": {"id": TEAM}, "user": {"id": FIRST, "team_id": TEAM}, "api_app_id": "A1",
        "view": {**view(chat.modals["V1"].now), "id": "V1"},
        "container": {"type": "view", "view_id": "V1", "message_ts": "666.6", "channel_id": CHANNEL},
        "trigger_id": "t", "actions": [{"action_id": f"tkg:{action}", "action_ts": "9.0", "value": value}],
    }  # fmt: skip
    chat.deliver(body)
    chat.answer_all()
    assert chat.get(request.id) == request
    assert chat.count(tables.votes) == 0


def test_bot_impersonating_by_a_view_of_another_app_is_refused(chat: Chat) -> None:
    app = make_app(
        chat.intake, chat.front.asking.operations, bot_token="xoxb-none", team=TEAM, bot_id="B1", bot_user="U1",
        app_id="A1",
    )  # fmt: skip
    shown = view(AskForm(CHANNEL, "subnet tag", "x", ()))
    for body in (submission(shown, **GIVEN), mention("<@U1> cancel")):
        assert app.dispatch(BoltRequest(body={**body, "api_app_id": "A2"}, mode="socket_mode")).status == 403
    assert chat.keys == []


@pytest.mark.parametrize("callback", ["", "tkg:show", "tkg:approve", "xtkg:ask", "tkg:ask2", "other"])
def test_bot_impersonating_by_a_form_that_is_not_ours_is_not_taken(chat: Chat, callback: str) -> None:
    shown = {**view(AskForm(CHANNEL, "subnet tag", "x", ())), "callback_id": callback}
    chat.deliver(submission(shown, **GIVEN))
    assert chat.keys == []
    assert chat.count(tables.invocations) == 0


# -- deactivated, renamed, guest, external -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deactivated", "guest", "stranger", "foreign", "bot"])
def test_deactivated_or_guest_at_the_time_of_sending_is_refused(chat: Chat, kind: Any) -> None:
    request = chat.wait_for_approval()
    form, why = opened(chat), asked_why(chat, request)
    chat.people.known = {DEV: Person(DEV, kind), FIRST: Person(FIRST, kind)}
    for notes in (chat.tell(form, **GIVEN), chat.tell(why, FIRST, reason="no")):
        assert NOTHING in text_of(notes)
    assert [other.state for other in chat.requests_now()] == [State.AWAITING]


def test_deactivated_is_looked_up_anew_for_each_form(chat: Chat) -> None:
    asked: list[str] = []
    person = chat.people.person

    def spy(user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        asked.append(user)
        return person(user, groups, team)

    chat.people.person = spy  # type: ignore[method-assign]
    name = opened(chat)
    for number in range(3):
        before = len(asked)
        chat.tell(name, cluster=f"demo-{number}", subnets=SUBNETS[0])
        assert len(asked) > before


def test_slack_connect_channel_takes_no_form_no_undo_and_shows_no_account(chat: Chat) -> None:
    done = chat.finish()
    name = opened(chat)
    chat.shared.add(CHANNEL)
    assert "shared with another organisation" in text_of(chat.tell(name, **GIVEN))
    assert "shared with another organisation" in text_of(chat.press("undo", done, DEV))
    chat.type("subnet tag")
    assert not isinstance(chat.modals[f"V{len(chat.modals)}"].now, AskForm)
    assert [request.id for request in chat.requests_now()] == [done.id]


# -- flood -------------------------------------------------------------------------------------------------------


def test_flood_of_forms_is_taken_and_each_is_one_request(chat: Chat) -> None:
    """A hundred forms at once. How long an ack takes is the bench's business."""
    shown = view(chat.modals[opened(chat)].now)
    bodies = [submission(shown, cluster=f"demo-{number}", subnets=SUBNETS[0]) for number in range(100)]
    for number, body in enumerate(bodies):
        body["view"]["id"] = f"V{number}"
    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(chat.deliver, bodies)) == {200}
    chat.answer_all()
    assert sorted(request.arguments["cluster"] for request in chat.requests_now()) == sorted(
        f"demo-{number}" for number in range(100)
    )
    assert len(chat.queue.plans) == 100


def test_flood_of_wrong_forms_is_not_even_stored(chat: Chat) -> None:
    shown = view(chat.modals[opened(chat)].now)
    before = chat.count(tables.invocations)
    for number in range(100):
        body = submission(shown, cluster="No!" * 1000, subnets="x " * 1500, vpc="y" * 3000)
        body["view"]["id"] = f"V{number}"
        answer = chat.app.dispatch(BoltRequest(body=body, mode="socket_mode"))
        assert "errors" in json.loads(answer.body)
        assert len(answer.body) < 4000
    assert chat.count(tables.invocations) == before


def test_flood_of_mentions_is_answered_once_each(chat: Chat) -> None:
    request = chat.start()
    thread = chat.card_of(request.id)
    for number in range(100):
        chat.deliver(mention("<@U1> status", ts=f"{number}.9", thread=thread))
    chat.answer_all()
    assert len([note for note in chat.thread(request) if "asked for by" in text_of([note])]) == 100
    assert chat.get(request.id).state == State.RUNNING


def test_flood_of_undos_is_one(chat: Chat) -> None:
    request = chat.finish()
    for _ in range(50):
        chat.press("undo", request, DEV)
    assert len([other for other in chat.requests_now() if other.undoes]) == 1
