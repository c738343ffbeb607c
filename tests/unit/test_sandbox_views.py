"""The sandbox's modals over HTTP: the Slack SDK and a Bolt app on one side, what people do on the other."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from sandbox.slack.blocks import check_blocks, check_view
from sandbox.slack.server import SlackSandbox

DEV, APPROVER, PLATFORM = "UDEV000001", "UAPPROVE01", "CPLATFORM1"
Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def field(name: str, element: Json, **more: Any) -> Json:
    return {
        "type": "input",
        "block_id": name,
        "label": plain(name),
        "element": {"action_id": "value", **element},
        **more,
    }


def option(value: str) -> Json:
    return {"text": plain(value.title()), "value": value}


def modal(*blocks: Json, **more: Any) -> Json:
    made = {"type": "modal", "callback_id": "form", "title": plain("Form"), "submit": plain("Send")}
    return {**made, "blocks": list(blocks), **more}


WORD = field("word", {"type": "plain_text_input", "min_length": 2, "max_length": 9})
WORDS = field("words", {"type": "plain_text_input", "multiline": True, "initial_value": "a\nb"}, optional=True)
PICK = field("pick", {"type": "static_select", "options": [option("x"), option("y")], "initial_option": option("y")})
TICK = field("tick", {"type": "checkboxes", "options": [option("on")]}, optional=True)
ONE = field("one", {"type": "radio_buttons", "options": [option("l"), option("r")]}, optional=True)
GO = {"type": "button", "action_id": "go", "value": "r-1", "text": plain("Go")}
MENU = {"type": "section", "block_id": "m", "text": plain("menu"), "accessory": GO}


class World:
    """A running workspace, its clock, an app that answers as told, and what the app received."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.box = SlackSandbox(clock=lambda: time.time() + self.ahead, ack_seconds=0.5)
        self.run(self.box.start())
        env = self.box.env()
        self.client = WebClient(env["SLACK_BOT_TOKEN"], base_url=env["SLACK_API_URL"], retry_handlers=[])
        self.app_token = env["SLACK_APP_TOKEN"]
        self.seen: list[Json] = []
        self.answer: Json = {}

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def http(self, path: str, **body: Any) -> Json:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.box.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            found: Json = json.load(answer)
        return found

    def act(self, name: str, **body: Any) -> Json:
        return self.http(f"/sandbox/act/{name}", **{"user": DEV, **body})

    def trigger(self) -> str:
        return str(self.act("command", channel=PLATFORM, command="/tkg")["trigger_id"])

    def open(self, view: Json) -> Json:
        found: Json = self.client.views_open(trigger_id=self.trigger(), view=view)["view"]
        return found

    def submit(self, view: Json, **values: Any) -> Json:
        return self.act("view_submit", view_id=view["id"], values=values)

    def views(self, user: str = DEV) -> list[Json]:
        found: list[Json] = self.http(f"/sandbox/views?as={user}")["views"]
        return found

    def last(self, kind: str) -> Json:
        return next(body for body in reversed(self.seen) if body["type"] == kind)


@pytest.fixture(scope="module")
def started() -> Iterator[World]:
    world = World()
    app = App(client=world.client, process_before_response=True)
    kept = world.seen.append

    @app.command("/tkg")
    def command(ack: Any) -> None:
        ack()

    @app.action("go")
    def action(ack: Any, body: Json) -> None:
        kept(body)
        ack()

    @app.view("form")
    def submission(ack: Any, body: Json) -> None:
        kept(body)
        ack(**world.answer)

    @app.view_closed("form")
    def closed(ack: Any, body: Json) -> None:
        kept(body)
        ack()

    handler = SocketModeHandler(app, world.app_token, ping_interval=0.5)
    handler.connect()  # type: ignore[no-untyped-call]
    assert world.http("/sandbox/wait?sockets=1")["ok"]
    yield world
    with suppress(AttributeError):  # the SDK closes its connection in a thread of its own, too
        handler.close()  # type: ignore[no-untyped-call]
    world.run(world.box.stop())


@pytest.fixture
def world(started: World) -> Iterator[World]:
    started.seen.clear()
    started.answer = {}
    yield started
    started.ahead = 0.0
    for view in started.views():
        if view["previous_view_id"] is None:
            started.act("view_close", view_id=view["id"], clear=True)


def refused(call: Callable[..., Any], **args: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(**args)
    return str(caught.value.response["error"])


# -- filling in --------------------------------------------------------------------------------------------------


def test_a_submission_carries_every_value_and_the_views_own_data(world: World) -> None:
    view = world.open(modal(WORD, WORDS, PICK, TICK, ONE, private_metadata="r-1"))
    assert world.submit(view, word="demo", tick=["on"], one={"value": "r"})["acked"]
    body = world.last("view_submission")
    assert (body["user"]["id"], body["team"]["id"]) == (DEV, "TSANDBOX01")
    assert (body["view"]["id"], body["view"]["hash"], body["view"]["private_metadata"]) == (
        view["id"],
        view["hash"],
        "r-1",
    )
    assert "user" not in body["view"]
    assert body["view"]["state"]["values"] == {
        "word": {"value": {"type": "plain_text_input", "value": "demo"}},
        "words": {"value": {"type": "plain_text_input", "value": "a\nb"}},
        "pick": {"value": {"type": "static_select", "selected_option": option("y")}},
        "tick": {"value": {"type": "checkboxes", "selected_options": [option("on")]}},
        "one": {"value": {"type": "radio_buttons", "selected_option": option("r")}},
    }
    assert world.views() == [], "an empty answer closes it"


def test_what_is_left_empty_is_null(world: World) -> None:
    view = world.open(modal(WORD, WORDS, TICK, ONE))
    assert world.submit(view, word="demo", words="")["acked"]
    values = world.last("view_submission")["view"]["state"]["values"]
    assert values["words"]["value"]["value"] is None
    assert values["tick"]["value"]["selected_options"] == []
    assert values["one"]["value"]["selected_option"] is None


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"word": ""}, "missing_input"),
        ({}, "missing_input"),
        ({"word": "a"}, "invalid_input"),
        ({"word": "a" * 10}, "invalid_input"),
        ({"word": "abc", "pick": "z"}, "invalid_input"),
        ({"word": "abc", "tick": ["on", "off"]}, "invalid_input"),
    ],
)
def test_what_slacks_client_does_not_send(world: World, values: Json, error: str) -> None:
    view = world.open(modal(WORD, PICK, TICK))
    answer = world.submit(view, **values)
    assert answer["error"] == error
    assert answer["block_id"] in ("word", "pick", "tick")
    assert world.seen == []


def test_only_the_one_who_has_it_open_can_use_a_view(world: World) -> None:
    view = world.open(modal(WORD, MENU))
    for name, body in (("view_submit", {}), ("view_close", {}), ("click", {"action_id": "go"})):
        assert world.act(name, user=APPROVER, view_id=view["id"], **body)["error"] == "view_not_found"
    assert world.seen == []
    assert [seen["id"] for seen in world.views()] == [view["id"]]
    assert world.views(APPROVER) == []


def test_a_button_in_a_view_tells_the_view_and_what_is_filled_in(world: World) -> None:
    view = world.open(modal(WORD, MENU))
    values = {"word": {"value": "x"}}
    assert world.act("click", view_id=view["id"], block_id="m", action_id="go", values=values)["acked"]
    body = world.last("block_actions")
    assert body["container"] == {"type": "view", "view_id": view["id"]}
    assert not {"channel", "message", "response_url"} & body.keys()
    assert body["view"]["state"]["values"]["word"]["value"]["value"] == "x", "short of what a submission would need"
    assert (body["actions"][0]["action_id"], body["actions"][0]["value"]) == ("go", "r-1")
    assert world.act("click", view_id=view["id"], action_id="other")["error"] == "no_such_button"


# -- answers to a submission -------------------------------------------------------------------------------------


def test_errors_keep_the_view(world: World) -> None:
    view = world.open(modal(WORD))
    world.answer = {"response_action": "errors", "errors": {"word": "taken"}}
    assert world.submit(view, word="demo")["response"]["errors"] == {"word": "taken"}
    assert len(world.views()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"other": "no such input"}},
        {"response_action": "errors", "errors": {"word": ""}},
        {"response_action": "update", "view": {"type": "modal"}},
        {"response_action": "push", "view": modal(WORD, WORD)},
    ],
)
def test_an_answer_that_cannot_be_shown_is_an_error_and_keeps_the_view(world: World, answer: Json) -> None:
    view = world.open(modal(WORD))
    world.answer = answer
    assert world.submit(view, word="demo")["error"].startswith("invalid_view_response")
    assert [seen["hash"] for seen in world.views()] == [view["hash"]]


def test_update_push_and_clear_by_answer(world: World) -> None:
    view = world.open(modal(WORD))
    world.answer = {"response_action": "update", "view": modal(TICK)}
    world.submit(view, word="demo")
    (updated,) = world.views()
    assert (updated["id"], updated["blocks"][0]["block_id"]) == (view["id"], "tick")
    assert updated["hash"] != view["hash"]
    world.answer = {"response_action": "push", "view": modal(ONE)}
    world.submit(view)
    pushed = world.views()[-1]
    assert (pushed["previous_view_id"], pushed["root_view_id"]) == (view["id"], view["id"])
    world.answer = {}
    world.submit(pushed)
    assert [seen["id"] for seen in world.views()] == [view["id"]], "back to the one below"
    world.answer = {"response_action": "clear"}
    world.submit(view)
    assert world.views() == []


# -- triggers, stacks, closing -----------------------------------------------------------------------------------


def pressed(world: World, view: Json) -> str:
    """The trigger of a button pressed in a view."""
    world.act("click", view_id=view["id"], action_id="go")
    return str(world.last("block_actions")["trigger_id"])


def test_a_stack_holds_three(world: World) -> None:
    top = root = world.open(modal(MENU))
    for _ in range(2):
        top = world.client.views_push(trigger_id=pressed(world, top), view=modal(MENU))["view"]
    assert top["root_view_id"] == root["id"]
    assert refused(world.client.views_push, trigger_id=pressed(world, top), view=modal(MENU)) == "push_limit_reached"
    world.act("view_close", view_id=top["id"])
    assert [seen["id"] for seen in world.views()] == [root["id"], top["previous_view_id"]]
    world.act("view_close", view_id=root["id"])
    assert world.views() == [], "what lay on it is gone too"


def test_triggers_of_modals_expire_and_serve_once(world: World) -> None:
    view = world.open(modal(MENU))
    trigger = pressed(world, view)
    world.client.views_push(trigger_id=trigger, view=modal(MENU))
    assert refused(world.client.views_push, trigger_id=trigger, view=modal(MENU)) == "exchanged_trigger_id"
    late = pressed(world, view)
    world.ahead = 3.1
    assert refused(world.client.views_push, trigger_id=late, view=modal(MENU)) == "expired_trigger_id"
    world.ahead = 0.0
    assert refused(world.client.views_push, trigger_id=world.trigger(), view=modal(MENU)) == "not_found"


def test_update_by_id_by_external_id_and_by_hash(world: World) -> None:
    view = world.open(modal(WORD, external_id="mine"))
    new = world.client.views_update(view_id=view["id"], hash=view["hash"], view=modal(TICK, external_id="mine"))["view"]
    assert (
        refused(world.client.views_update, view_id=view["id"], hash=view["hash"], view=modal(TICK)) == "hash_conflict"
    )
    assert world.client.views_update(external_id="mine", view=modal(ONE))["view"]["id"] == new["id"]
    assert refused(world.client.views_update, view_id="V0", view=modal(ONE)) == "not_found"
    world.act("view_close", view_id=view["id"])
    assert refused(world.client.views_update, view_id=view["id"], view=modal(ONE)) == "not_found"


def test_external_ids_are_unique(world: World) -> None:
    world.open(modal(WORD, external_id="once"))
    again = modal(WORD, external_id="once")
    assert refused(world.client.views_open, trigger_id=world.trigger(), view=again) == "duplicate_external_id"


def test_closing_is_told_where_it_was_asked_for(world: World) -> None:
    quiet = world.open(modal(WORD))
    world.act("view_close", view_id=quiet["id"])
    assert world.seen == []
    root = world.open(modal(MENU, notify_on_close=True))
    above = modal(WORD, notify_on_close=True, clear_on_close=True)
    top = world.client.views_push(trigger_id=pressed(world, root), view=above)["view"]
    world.act("view_close", view_id=top["id"])
    told = [body for body in world.seen if body["type"] == "view_closed"]
    assert [(body["view"]["id"], body["is_cleared"]) for body in told] == [(top["id"], True), (root["id"], True)]
    assert world.views() == []


# -- what a view may look like -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "fault"),
    [
        (modal(WORD, title=plain("x" * 25)), "/view/title"),
        (modal(WORD, submit=None), "needs `submit`"),
        (modal(WORD, submit=plain("x" * 25)), "/view/submit"),
        (modal(WORD, private_metadata="x" * 3001), "/view/private_metadata"),
        (modal(WORD, WORD), "block_id must be unique"),
        (modal(*({"type": "divider"},) * 101), "less than 101"),
        (modal(field("f", {"type": "plain_text_input", "max_length": 3001})), "max_length"),
        (modal(field("f", {"type": "plain_text_input", "min_length": 5, "max_length": 4})), "min_length"),
        (modal(field("f", {"type": "plain_text_input", "max_length": 2, "initial_value": "abc"})), "initial_value"),
        (
            modal(field("f", {"type": "static_select", "options": [option("x")], "initial_option": option("y")})),
            "initial",
        ),
        (
            modal(field("f", {"type": "checkboxes", "options": [option("x")], "initial_options": [option("y")]})),
            "initial",
        ),
        (modal(field("f", {"type": "checkboxes", "options": [option(c) for c in "abcdefghijk"]})), "less than 11"),
        (modal(field("f", {"type": "plain_text_input"}, hint=plain("x" * 2001))), "hint"),
        (modal(field("f", {"type": "plain_text_input", "placeholder": plain("x" * 151)})), "placeholder"),
        (modal(field("f", GO)), "must be of type"),
        (
            modal(*(field(name, {"type": "plain_text_input", "focus_on_load": True}) for name in "fg")),
            "only one element can have `focus_on_load`",
        ),
        (modal({"type": "table", "rows": [[{"type": "raw_text", "text": "x"}]]}), "not allowed in a modal: table"),
        (modal({"type": "markdown", "text": "x"}), "not allowed in a modal: markdown"),
        (modal({"type": "plan", "title": "x"}), "not allowed in a modal: plan"),
        (modal(WORD, colour="red"), "invalid additional property: colour"),
    ],
)
def test_views_that_slack_refuses(view: Json, fault: str) -> None:
    faults = check_view(view)
    assert any(fault in text for text in faults), faults


def test_views_that_slack_takes() -> None:
    assert check_view(modal(WORD, WORDS, PICK, TICK, ONE, MENU, {"type": "divider"})) == []
    assert check_view(modal(MENU, submit=None, close=plain("Back"), notify_on_close=True)) == []
    assert check_blocks([{"type": "alert", "text": plain("only in modals")}], "modal") == []


def test_a_view_of_more_than_250_kb(world: World) -> None:
    blocks = [{"type": "section", "text": plain("x" * 2999)}] * 90
    assert refused(world.client.views_open, trigger_id=world.trigger(), view=modal(*blocks)) == "view_too_large"


# -- links and the page ------------------------------------------------------------------------------------------


def test_links_to_messages_lead_to_the_page(world: World) -> None:
    root = world.client.chat_postMessage(channel=PLATFORM, text="root")["ts"]
    reply = world.client.chat_postMessage(channel=PLATFORM, text="reply", thread_ts=root)["ts"]
    base = str(world.client.auth_test()["url"])
    assert base == f"{world.box.url}/"
    link = world.client.chat_getPermalink(channel=PLATFORM, message_ts=root)["permalink"]
    assert link == f"{base}archives/{PLATFORM}/p{root.replace('.', '')}"
    to_reply = world.client.chat_getPermalink(channel=PLATFORM, message_ts=reply)["permalink"]
    assert to_reply.endswith(f"?thread_ts={root}&cid={PLATFORM}")
    with urllib.request.urlopen(link) as answer:
        assert "text/html" in answer.headers["Content-Type"]
        assert "'unsafe" not in answer.headers["Content-Security-Policy"]
        parts = re.findall(r'(?:href|src)="(/page/[^"]+)"', answer.read().decode())
    assert {part.rpartition(".")[2] for part in parts} == {"css", "js"}
    for part in parts:
        with urllib.request.urlopen(world.box.url + part) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.read()


@pytest.mark.parametrize("path", ["/page/other.js", "/page/__init__.py", "/page/..%2fslack%2fworld.json", "/page/"])
def test_the_page_has_no_other_files(world: World, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(world.box.url + path)
    assert caught.value.code == 404
