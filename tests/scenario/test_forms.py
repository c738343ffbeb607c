"""Forms, the menu, and what is answered about requests and rights: as people meet it in Slack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import tables
from bot.answers import NOTHING
from bot.asking import LATE
from bot.lifecycle import State
from bot.policy import Person, Rule, Who
from bot.records import Request
from bot.screens import AskForm, DenyForm, Menu, TriggerExpired, Words
from bot.slack import cards
from bot.slack.forms import view
from bot.tour import Json, words
from handlers.contract import Fatal, Retry
from tests.chat import CHANNEL, DEV, FIRST, OTHER, SECOND, THIRD, Chat, text_of
from tests.scenario.conftest import copied, edit, mentions, modal, request_id, slack_log, whole
from tests.unit.makers import NASTY, SUBNETS, make_plan
from tests.unit.test_cards import assert_slack_takes, assert_values_stay_values, walk
from tests.world import APPROVER, World, eventually
from tests.world import CHANNEL as PLATFORM
from tests.world import DEV as USER

DATABASE = "sqlite"


GUEST, STRANGER = "UGUEST0001", "USTRANGER1"
RANDOM, SHARED = "CRANDOM001", "CSHARED001"


def close_all(world: World, user: str) -> None:
    for shown in reversed(world.view.views(user)):
        world.view.http("POST", "/sandbox/act/view_close", {"user": user, "view_id": shown["id"]})


def inputs(shown: Json) -> dict[str, Json]:
    return {block["block_id"]: block for block in shown["blocks"] if block["type"] == "input"}


def type_for_modal(world: World, user: str, text: str, *, command: str = "/tkg", channel: str = PLATFORM) -> Json:
    """Types a command that opens a modal; the modal, once it shows more than that something is being looked up."""
    before = {shown["id"] for shown in world.view.views(user)}

    def now() -> Json:
        new = [shown for shown in world.view.views(user) if shown["id"] not in before]
        return new[-1] if new and "One moment" not in words(new[-1]) else {}

    assert world.view.command(user, text, command=command, channel=channel).get("acked")
    eventually(lambda: bool(now()))
    return now()


# -- over the wire -----------------------------------------------------------------------------------------------


def test_missing_arguments_open_a_form_that_holds_what_was_typed(world: World) -> None:
    subnets = world.public()
    form = type_for_modal(world, USER, "subnet tag --role-tag --region us-west-2")
    fields = inputs(form)
    assert list(fields)[:6] == ["cluster", "subnets", "vpc", "account", "region", "role_tag"]
    assert "CLUSTER is missing" in words(form)
    assert fields["region"]["element"]["initial_value"] == "us-west-2"
    assert fields["account"]["element"]["initial_option"]["value"] == "management"
    assert fields["role_tag"]["element"]["initial_options"]
    assert not fields["cluster"]["optional"]
    answer = world.view.submit(USER, form, cluster="by form!", subnets=subnets[0])
    assert answer["response"]["response_action"] == "errors"
    assert "is not a cluster name" in answer["response"]["errors"]["cluster"]
    answer = world.view.submit(USER, form, cluster="by-form", subnets="", vpc="")
    assert "neither subnets nor a VPC" in answer["response"]["errors"]["subnets"]
    since = world.now()
    lines = f" “{subnets[0]}”,\n{subnets[1]} "
    assert world.view.submit(USER, form, cluster="by-form", subnets=lines, region="us-east-1").get("acked")
    card = world.view.wait(USER, "Approval needed: tag 2 subnets for by-form", since=since)
    echo = world.view.wait(USER, "You asked by form", since=since)
    assert echo["ephemeral"]
    command = f"/tkg subnet tag by-form {subnets[0]} {subnets[1]} --account management --region us-east-1 --role-tag"
    assert copied(echo) == command
    assert command in words(card)
    assert world.view.views(USER) == []


@pytest.mark.parametrize("command", ["/tkg", "/tkg-subnet"])
def test_the_bare_command_opens_a_menu_of_what_this_person_may_do(world: World, command: str) -> None:
    menu = type_for_modal(world, USER, "", command=command)
    assert "subnet tag" in words(menu)
    assert "needs 1 approval" in words(menu)
    assert ("List requests" in words(menu)) is (command == "/tkg")
    entry = next(block for block in menu["blocks"] if "subnet tag" in whole(block) and block.get("accessory"))
    world.view.press(USER, menu, "tkg:form", entry["accessory"]["value"])
    eventually(lambda: "cluster" in inputs(world.view.views(USER)[-1]))
    assert world.view.views(USER)[-1]["id"] == menu["id"]
    close_all(world, USER)


def test_a_form_is_opened_within_the_life_of_its_trigger(world: World) -> None:
    """Before it is opened Slack is asked who this is and where, and nothing else takes its time."""
    since = len(slack_log(world))
    type_for_modal(world, USER, "subnet tag")
    calls = [entry for entry in slack_log(world, since) if entry["kind"] == "api"]
    opened = next(number for number, entry in enumerate(calls) if entry["method"] == "views.open")
    assert calls[opened]["ok"]
    assert {entry["method"] for entry in calls[:opened]} <= {"users.info", "usergroups.list", "conversations.info"}
    assert opened <= 3
    close_all(world, USER)


def test_a_trigger_that_is_too_old_is_answered_in_words(world: World) -> None:
    """Slack was slow: when the bot comes to use it, its three seconds are over."""
    close_all(world, USER)
    since, before = world.now(), world.view.views(USER)
    world.view.slack_faults(late_triggers=True)
    world.view.command(USER, "subnet tag")
    answer = world.view.wait(USER, "subnet tag", since=since)
    assert answer["ephemeral"]
    assert world.view.views(USER) == before
    assert any(entry["error"] == "expired_trigger_id" for entry in slack_log(world))


@pytest.mark.parametrize("fault", ["rate_limit_methods", "server_error_methods"])
def test_slack_shows_no_form(world: World, fault: str) -> None:
    before = world.view.views(USER)
    world.view.slack_faults(**{fault: ["views.open"]})
    since = world.now()
    world.view.command(USER, "subnet tag")
    answer = world.view.wait(USER, "Slack could not show the form just now", since=since)
    assert "Nothing was done" in words(answer)
    assert world.view.views(USER) == before


@pytest.mark.parametrize(("user", "channel", "said"), [(GUEST, PLATFORM, "Guests"), (STRANGER, SHARED, "outside this")])
@pytest.mark.parametrize("text", ["", "subnet tag"])
def test_who_is_no_member_is_shown_no_form(world: World, user: str, channel: str, said: str, text: str) -> None:
    """Nor for the moment in which Slack is asked who they are: a form names the team's accounts."""
    last = len(slack_log(world))
    assert said in words(type_for_modal(world, user, text, channel=channel))
    views = [entry["args"]["view"] for entry in slack_log(world, last) if entry["method"].startswith("views.")]
    assert len(views) == 2
    assert "management" not in json.dumps(views)
    assert [block["type"] for shown in views for block in shown["blocks"]] == ["rich_text", "rich_text"]
    close_all(world, user)


@pytest.mark.parametrize("text", ["", "subnet tag prod-x"])
def test_the_modal_says_where_nothing_can_be_asked_for_and_why(world: World, text: str) -> None:
    for channel, said in ((SHARED, "shared with another organisation"), (RANDOM, "/invite @tkgbot")):
        shown = type_for_modal(world, USER, text, channel=channel)
        assert said in words(shown)
        assert inputs(shown) == {}
        close_all(world, USER)


def test_a_form_that_is_delivered_three_times_is_one_request(world: World) -> None:
    form = type_for_modal(world, USER, f"subnet tag --vpc {world.vpcs['demo']['id']}")
    since = world.now()
    world.view.slack_faults(duplicate_deliveries=2)
    assert world.view.submit(USER, form, cluster="by-form-3").get("acked")
    world.calm()
    world.view.wait(USER, "for by-form-3", since=since)
    world.view.command(USER, "requests mine")
    mine = words(world.view.wait(USER, "Your requests", since=since))
    assert mine.count("for by-form-3") == 1


def test_the_channel_of_a_form_lost_the_bot_meanwhile(world: World) -> None:
    """What was typed is lost with the form; how to go on comes in person, since the channel takes no words."""
    members = next(c for c in world.view.get("/sandbox/state")["channels"] if c["id"] == PLATFORM)["members"]
    form = type_for_modal(world, USER, f"subnet tag --vpc {world.vpcs['demo']['id']}")
    edit(world, "channels", PLATFORM, members=[user for user in members if user != "UTKGBOT001"])
    since = world.now()
    try:
        assert world.view.submit(USER, form, cluster="lost-bot").get("acked")
        answer = world.view.wait(USER, "/invite @tkgbot", channel=f"D{USER[1:]}", since=since)
        assert "Nothing was done" in words(answer)
    finally:
        edit(world, "channels", PLATFORM, members=members)


HOSTILE = "<!channel> <@UGUEST0001> <!subteam^SDEVS00001> *b* <http://evil.example|ok> \u202eevil\u200b & é"


def test_a_hostile_reason_is_shown_as_it_is_and_calls_nobody(world: World) -> None:
    card = world.ask("hostile-no", world.public(1))
    for _ in range(10):  # the card is out of sight now, so the requester is told in person too
        world.view.say(USER, "chatter")
    world.view.click(APPROVER, card["ts"], "tkg:deny")
    world.view.submit(APPROVER, modal(world, APPROVER), reason=HOSTILE)
    seen = HOSTILE.replace("\u202e", "").replace("\u200b", "")
    line = world.view.wait(USER, "denied this", thread=card["ts"])
    person = world.view.wait(USER, "denied this", channel=f"D{USER[1:]}")
    eventually(lambda: "Denied" in words(world.card(card)))
    for message in (line, person, world.card(card)):
        assert f"“{seen}”" in words(message)
        assert mentions(message) <= {USER, APPROVER}
        assert "evil.example|" not in message["text"]
        assert "\u202e" not in whole(message)
    assert request_id(card) in words(person)


def test_a_no_that_comes_too_late_is_answered_to_the_one_who_wrote_it(world: World) -> None:
    card = world.ask("overtaken", world.public(1))
    world.view.click(APPROVER, card["ts"], "tkg:deny")
    form = modal(world, APPROVER)
    world.view.click(USER, card["ts"], "tkg:withdraw")
    world.view.wait(USER, "Withdrawn: tag 1 subnet for overtaken")
    since = world.now()
    world.view.submit(APPROVER, form, reason="not now")
    answer = world.view.wait(APPROVER, "is withdrawn now", since=since)
    assert answer["ephemeral"]
    assert "@dev" in words(answer)


def test_lists_and_one_request(world: World) -> None:
    card = world.ask("listed", world.public(1))
    name = request_id(card)
    since = world.now()
    world.view.command(APPROVER, "requests waiting")
    waiting = world.view.wait(APPROVER, "Waiting for your approval", since=since)
    assert name in words(waiting)
    assert f"p{card['ts'].replace('.', '')}" in whole(waiting)
    world.view.command(USER, "requests mine")
    assert name in words(world.view.wait(USER, "Your requests", since=since))
    world.view.command(USER, f"request {name}")
    assert "subnet tag listed" in words(world.view.wait(USER, "asked for by", since=since))
    world.view.command(USER, f"why {name}")
    why = words(world.view.wait(USER, "wants 1 approval", since=since))
    assert "You asked for this" in why


def test_can_i(world: World) -> None:
    since = world.now()
    world.view.command(USER, "can-i subnet tag payments-eu --vpc vpc-0a1b2c3d4e5f60718")
    assert "nobody touches payments" in words(world.view.wait(USER, "No", since=since))
    world.view.command(USER, "can-i subnet tag prod-eu")
    assert "needs 2 approvals" in words(world.view.wait(USER, "Yes", since=since))
    world.view.command(USER, "can-i")
    assert "subnet tag" in words(world.view.wait(USER, "What you may ask for", since=since))


# -- between Slack's payloads and the outbox ---------------------------------------------------------------------


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def opened(chat: Chat, text: str = "subnet tag", user: str = DEV, channel: str = CHANNEL) -> str:
    """Types a command that opens a modal; its id."""
    count = len(chat.modals)
    assert chat.type(text, user, channel) == []
    assert len(chat.modals) == count + 1
    return f"V{count + 1}"


COMPLETE = {"cluster": "demo", "subnets": SUBNETS[0]}


def test_a_form_makes_the_request_that_its_command_would(chat: Chat) -> None:
    name = opened(chat, f"subnet tag --role-tag subnets={SUBNETS[0]},{SUBNETS[1]}")
    screen = chat.modals[name].now
    assert isinstance(screen, AskForm)
    assert {field.name: field.value for field in screen.fields}["subnets"] == f"{SUBNETS[0]}\n{SUBNETS[1]}"
    (echo,) = chat.tell(name, cluster="by-form")
    assert echo.code.startswith(f"/tkg subnet tag by-form {SUBNETS[0]} {SUBNETS[1]}")
    chat.type(echo.code.removeprefix("/tkg "))
    by_form, by_words = chat.requests_now()
    assert (by_form.operation, by_form.arguments, by_form.command) == (
        by_words.operation, by_words.arguments, by_words.command
    )  # fmt: skip
    assert by_form.command == echo.code


def test_a_default_that_follows_from_a_choice_is_left_open(chat: Chat) -> None:
    """Whoever picks another account in the form would otherwise look at it in the first one's region."""
    regions = {"management": "us-east-1", "tenant": "eu-central-1"}

    def resolve(arguments: dict[str, Any]) -> dict[str, Any]:
        account = arguments.get("account") or "management"
        return {**arguments, "account": account, "region": arguments.get("region") or regions[account]}

    asking = chat.front.asking
    object.__setattr__(asking, "resolve", resolve)
    object.__setattr__(asking, "choices", {"account": tuple(regions)})
    name = opened(chat)
    assert isinstance(chat.modals[name].now, AskForm)
    chat.tell(name, **COMPLETE, account="tenant")
    assert chat.requests_now()[0].arguments["region"] == "eu-central-1"


def test_a_form_that_would_not_fit_is_answered_in_words(chat: Chat) -> None:
    typed = ",".join(SUBNETS[:200])
    (note,) = chat.type(f"subnet tag subnets={typed}")
    assert "CLUSTER` is missing" in note.text
    assert chat.modals == {}


def test_the_form_says_what_was_missing(chat: Chat) -> None:
    screen = chat.modals[opened(chat, "subnet tag demo")].now
    assert isinstance(screen, AskForm)
    assert "names neither subnets nor a VPC" in screen.summary
    screen = chat.modals[opened(chat, "undo")].now
    assert isinstance(screen, AskForm)
    assert "REQUEST is missing" in screen.summary


def test_contradicting_flags_are_said_where_they_stand(chat: Chat) -> None:
    name = opened(chat, f"subnet tag demo --vpc vpc-0a1b2c3d --role-tag --role-subnets {SUBNETS[0]}")
    screen = chat.modals[name].now
    assert isinstance(screen, AskForm)
    assert "leave one of them out" in screen.summary
    answer = chat.send(name)
    assert answer["response_action"] == "errors"
    assert list(answer["errors"]) == ["role_subnets"]


KINDS = ["guest", "stranger", "foreign", "bot", "deactivated"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "subnet tag", "undo"])
def test_no_form_and_no_menu_for_who_is_no_member(chat: Chat, kind: Any, text: str) -> None:
    chat.people.known = {THIRD: Person(THIRD, kind)}
    screens = chat.modals[opened(chat, text, THIRD)].screens
    assert [type(screen) for screen in screens] == [Words, Words]
    assert NOTHING in str(screens[-1])


def test_a_menu_for_somebody_whom_no_rule_names(chat: Chat) -> None:
    own = chat.wait_for_approval(channel=OTHER)
    menu = chat.modals[opened(chat, "", THIRD)].now
    assert isinstance(menu, Menu)
    assert [entry.operation for entry in menu.entries] == ["requests", "request", "why", "can-i", "undo"]
    assert "No rule of the policy lets you ask for `subnet tag` here" in text_of(menu.notes)
    assert own.id not in str(menu)
    assert isinstance(chat.modals[opened(chat, "subnet tag", THIRD)].now, Words)
    assert_slack_takes(cards.note(menu.notes[-1]))


def test_a_menu_shows_what_waits_for_this_person_and_what_is_theirs(chat: Chat) -> None:
    waiting = chat.wait_for_approval(channel=OTHER)
    own = chat.wait_for_approval(user=FIRST)
    menu = chat.modals[opened(chat, "", FIRST)].now
    assert isinstance(menu, Menu)
    assert waiting.id in text_of(menu.notes)
    assert own.id in text_of(menu.notes)
    assert waiting.id not in str(chat.modals[opened(chat, "", THIRD)].now)


def test_a_menu_for_somebody_who_may_ask_for_some_clusters_only(tmp_path: Path) -> None:
    team = Rule(
        name="a", operations=("subnet tag",), clusters=("a-*",), ask=Who(users=(DEV,)), approve=Who(users=(FIRST,))
    )
    never = Rule(name="b", effect="deny", operations=("subnet untag",), ask=Who(members=True))
    some = team.model_copy(update={"name": "c", "operations": ("subnet untag",)})
    chat = Chat(tmp_path, (team, never, some))
    menu = chat.modals[opened(chat, "")].now
    assert isinstance(menu, Menu)
    assert {entry.operation: entry.needs for entry in menu.entries if entry.needs} == {
        "subnet tag": "only for some clusters or accounts"
    }
    name = opened(chat)
    (note,) = chat.tell(name, **COMPLETE)
    assert "No rule" in text_of([note])
    assert isinstance(chat.modals[opened(chat)].now, AskForm)
    chat.tell("V3", **{**COMPLETE, "cluster": "a-1"})
    assert [request.arguments["cluster"] for request in chat.requests_now()] == ["a-1"]
    assert isinstance(chat.modals[opened(chat, "subnet untag")].now, Words)
    chat.store.close()


@pytest.mark.parametrize("text", ["", "subnet tag"])
def test_a_modal_where_nothing_can_be_done_says_so(chat: Chat, text: str) -> None:
    chat.absent.add(OTHER)
    shown = chat.modals[opened(chat, text, channel=OTHER)].now
    assert isinstance(shown, Words)
    assert shown.notes[-1].code == f"/invite @tkgbot\n/tkg {text}".strip()
    chat.shared.add(CHANNEL)
    shown = chat.modals[opened(chat, text)].now
    assert "shared with another organisation" in str(shown)
    assert not isinstance(shown, AskForm)
    chat.people.silent = True
    assert "Slack did not say who you are." in str(chat.modals[opened(chat, text)].now)


def test_every_entry_of_the_menu_opens_its_form_and_every_form_can_be_sent(chat: Chat) -> None:
    done = chat.finish()
    menu = chat.modals[opened(chat, "")].now
    assert isinstance(menu, Menu)
    given = {"cluster": "demo", "subnets": SUBNETS[0], "request": done.id}
    for entry in menu.entries:
        if entry.has_form:
            name = opened(chat, "")
            assert chat.press_in(name, "form", entry.operation) == []
            form = chat.modals[name].now
            assert isinstance(form, AskForm), entry
            fields = {field.name for field in form.fields}
            said = chat.tell(name, **{key: value for key, value in given.items() if key in fields})
            assert said, entry
            assert all(note.tone != "bad" for note in said), text_of(said)


@pytest.mark.parametrize("value", ["", "cluster explode", "form", "../x", "can-i"])
def test_a_menu_button_that_means_nothing(chat: Chat, value: str) -> None:
    name = opened(chat, "")
    said = chat.press_in(name, "form", value)
    assert isinstance(chat.modals[name].now, Menu) or value == "can-i"
    assert value == "can-i" or "does not know this form" in text_of(said)


def test_a_form_that_was_closed_meanwhile_is_no_error(chat: Chat) -> None:
    chat.closed.add("V1")
    assert chat.type("subnet tag") == []
    assert isinstance(chat.modals["V1"].now, Words)


LOST = [
    (TriggerExpired("expired"), LATE), (Retry("Slack could not show the form just now."), "could not show the form"),
    (Fatal("Slack did not show the form.", "invalid_arguments"), "did not show the form"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "said"), LOST, ids=lambda value: type(value).__name__)
def test_without_a_form_the_answer_comes_in_words(chat: Chat, error: Exception, said: str) -> None:
    request = chat.wait_for_approval()
    chat.fail_open = error
    (note,) = chat.type("subnet tag")
    assert said in note.text
    assert NOTHING in note.text
    (note,) = chat.type("")
    assert said in note.text or "/tkg subnet tag" in note.code
    (note,) = chat.press("deny", request)
    assert said in note.text
    assert NOTHING in note.text
    assert chat.get(request.id).state == State.AWAITING


@pytest.mark.parametrize("error", [error for error, _ in LOST[1:]], ids=lambda value: type(value).__name__)
def test_a_modal_that_slack_does_not_change_is_followed_by_words(chat: Chat, error: Exception) -> None:
    chat.fail_replace = error
    for text in ("", "subnet tag"):
        (note,) = chat.type(text)
        assert NOTHING in note.text


def test_a_form_sent_twice_is_one_request(chat: Chat) -> None:
    name = opened(chat)
    for _ in range(3):
        chat.send(name, again=True, **COMPLETE)
    chat.keys *= 3
    chat.answer_all()
    assert len(chat.requests_now()) == 1
    assert len(chat.outbox("whisper")) == 1


def test_a_mistake_is_no_sending(chat: Chat) -> None:
    """The same view, once wrong and once right."""
    name = opened(chat)
    assert chat.send(name, again=True, cluster="No!", subnets="x")["response_action"] == "errors"
    assert chat.send(name, again=True, **COMPLETE) == {}
    chat.answer_all()
    assert len(chat.requests_now()) == 1


def test_a_form_whose_operation_is_gone_is_told_so(chat: Chat) -> None:
    shown = view(chat.modals[opened(chat)].now)
    for operation in ("cluster explode", "", "form"):
        carried = json.dumps({"channel": CHANNEL, "operation": operation})
        changed = {**shown, "private_metadata": carried}
        assert chat.send_view(changed, mark=operation or "none", **COMPLETE) == {}
        chat.answer_all()
    said = [note for note in chat.said() if "does not know this form any more" in note.text]
    assert len(said) == 3
    assert chat.requests_now() == []


def test_a_form_that_nobody_took_up_in_time_is_told_so_in_person(chat: Chat) -> None:
    name = opened(chat)
    chat.send(name, **COMPLETE)
    chat.now += 16 * 60
    chat.answer_all()
    (row,) = chat.outbox("direct")
    assert row.person == DEV
    assert "not running when your form arrived" in row.body["text"]
    assert chat.requests_now() == []


CHANGES: list[tuple[str, Any]] = [
    ("deactivated", lambda chat: chat.people.known.update({DEV: Person(DEV, "deactivated")})),
    ("Guests", lambda chat: chat.people.known.update({DEV: Person(DEV, "guest")})),
    ("shared with another organisation", lambda chat: chat.shared.add(CHANNEL)),
    ("Slack did not say", lambda chat: setattr(chat.people, "silent", True)),
    ("/invite @tkgbot", lambda chat: chat.absent.add(CHANNEL)),
]


@pytest.mark.parametrize(("said", "change"), CHANGES, ids=[said for said, _ in CHANGES])
def test_who_asks_and_where_is_looked_at_when_the_form_is_sent(chat: Chat, said: str, change: Any) -> None:
    name = opened(chat)
    change(chat)
    notes = chat.tell(name, **COMPLETE)
    assert said in text_of(notes)
    assert NOTHING in text_of(notes)
    assert chat.requests_now() == []


@pytest.mark.parametrize("field", ["cluster", "subnets", "vpc", "account", "region"])
def test_no_hostile_value_becomes_a_request(chat: Chat, field: str) -> None:
    name = opened(chat)
    for text in (*NASTY, *((piece * 3000)[:3000] for piece in NASTY), "demo; rm -rf /", "--as=root", "*", "x" * 3000):
        given = {**COMPLETE, field: f"{text}!"}
        answer = chat.send(name, **given)
        assert answer.get("response_action") == "errors", ascii(text[:20])
        assert field in answer["errors"]
        for said in answer["errors"].values():
            assert 0 < len(said) <= 200
            assert "\u202e" not in said
            assert "\x00" not in said
    assert chat.keys == []


# -- the reason of a no ------------------------------------------------------------------------------------------


def asked_why(chat: Chat, request: Request, user: str = FIRST) -> str:
    """Clicks Deny, and has the form open; its modal."""
    assert chat.press("deny", request, user) == []
    name = f"V{len(chat.modals)}"
    assert isinstance(chat.modals[name].now, DenyForm)
    return name


def test_a_no_with_its_reason(chat: Chat) -> None:
    request = chat.wait_for_approval()
    name = asked_why(chat, request)
    for blank in ("", "  ", "\n", "\u200b", "\u202e \u2060"):
        assert list(chat.send(name, FIRST, reason=blank)["errors"]) == ["reason"], ascii(blank)
    assert chat.get(request.id).state == State.AWAITING
    assert chat.tell(name, FIRST, reason=" we move that VPC\ntomorrow ") == []
    now = chat.get(request.id)
    assert now.state == State.DENIED
    assert now.why is not None
    assert now.why.facts == ("“we move that VPC\ntomorrow”",)
    assert chat.thread(request)[-1].facts == now.why.facts
    row = chat.rows(sa.select(tables.votes).where(tables.votes.c.request == request.id))[0]
    assert (row.approve, row.reason, row.person) == (False, "we move that VPC\ntomorrow", FIRST)


def expired(chat: Chat, _request: Request) -> None:
    chat.now += 101


def planned_anew(chat: Chat, request: Request) -> None:
    chat.requests.look_again(request.id, DEV)
    chat.wait_for_approval(make_plan(facts=()), request=chat.get(request.id))


MEANWHILE: list[tuple[str, Any]] = [
    ("is approved now", lambda chat, request: chat.approve(request, SECOND)),
    ("is withdrawn now", lambda chat, request: chat.requests.withdraw(request.id, DEV)),
    ("has expired", expired),
    ("The plan has changed", planned_anew),
    ("is planning now", lambda chat, request: chat.requests.look_again(request.id, DEV)),
    ("deactivated", lambda chat, _: chat.people.known.update({FIRST: Person(FIRST, "deactivated")})),
    ("Guests", lambda chat, _: chat.people.known.update({FIRST: Person(FIRST, "guest")})),
    ("You asked for this", lambda chat, _: chat.people.known.update(
        {DEV: Person(DEV, "member", email="a@x"), FIRST: Person(FIRST, "member", email="A@x")})),
    ("shared with another organisation", lambda chat, _: chat.shared.add(CHANNEL)),
    ("Slack did not say", lambda chat, _: setattr(chat.people, "silent", True)),
    ("/invite @tkgbot", lambda chat, _: chat.absent.add(CHANNEL)),
]  # fmt: skip


@pytest.mark.long(but=8)
@pytest.mark.parametrize(("said", "change"), MEANWHILE, ids=[said for said, _ in MEANWHILE])
@pytest.mark.parametrize("when", ["before the form opens", "before it is sent"])
def test_a_no_is_judged_anew(chat: Chat, said: str, change: Any, when: str) -> None:
    request = chat.wait_for_approval()
    if when == "before it is sent":
        name = asked_why(chat, request)
        change(chat, request)
        notes = chat.tell(name, FIRST, reason="no")
    else:
        value = f"{request.id}:{(request.fingerprint or '')[:16]}"
        change(chat, request)
        notes = chat.press("deny", request, value=value)
        assert chat.modals == {}
    assert said in text_of(notes)
    assert chat.get(request.id).state != State.DENIED
    votes = chat.rows(sa.select(tables.votes).where(sa.not_(tables.votes.c.approve)))
    assert votes == []


def test_a_second_no_is_told_who_was_first(chat: Chat) -> None:
    request = chat.wait_for_approval()
    first, second = asked_why(chat, request), asked_why(chat, request, SECOND)
    assert chat.tell(first, FIRST, reason="no") == []
    (note,) = chat.tell(second, SECOND, reason="no")
    assert "is denied now" in note.text
    assert note.people == (FIRST,)


@pytest.mark.long(but=8)
@pytest.mark.parametrize(
    "reason", [*NASTY, "x" * 3000, "<!channel> " * 270, "\u202e" * 50 + "x"], ids=lambda r: ascii(r)[:14]
)
def test_a_reason_is_shown_as_it_is_wherever_it_is_shown(chat: Chat, reason: str) -> None:
    request = chat.wait_for_approval()
    assert chat.tell(asked_why(chat, request), FIRST, reason=f"{reason}!") == []
    card = cards.card(chat.requests.snapshot(request.id), 1)
    notes = [cards.note(note.model_copy(update={"people": ()})) for note in (*chat.thread(request), *nudges(chat))]
    assert len(notes) >= 2
    for message in (card, *notes):
        assert_slack_takes(message)
    assert_values_stay_values(cards.note(chat.thread(request)[-1].model_copy(update={"people": (), "text": "x"})))
    for note in (chat.thread(request)[-1], *nudges(chat)):
        mentioned = {thing["user_id"] for thing in walk(cards.note(note).blocks) if thing.get("type") == "user"}
        assert mentioned <= {DEV, FIRST}
        assert len(note.facts[0]) <= 502, "as long as the form takes, and no longer"
    for words_ in ("request", "why"):
        for note in chat.type(f"{words_} {request.id}"):
            assert_slack_takes(cards.note(note))


def nudges(chat: Chat) -> list[Any]:
    return [cards.Note.model_validate(row.body) for row in chat.outbox("nudge")]


def test_the_deny_form_shows_a_hostile_headline_as_it_is(chat: Chat) -> None:
    request = chat.wait_for_approval(make_plan(headline="<!channel> `x` <@UDEV000001> \u202e" * 100))
    shown = view(chat.modals[asked_why(chat, request)].now)
    assert {thing.get("type") for thing in walk(shown)}.isdisjoint({"user", "broadcast", "link"})
    assert "reason" in inputs(shown)
