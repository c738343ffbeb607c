"""The workspace with a real Slack SDK client and a real Bolt app in Socket Mode."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, web
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

from sandbox.slack.server import ACK_SECONDS, SlackSandbox

DEV, APPROVER, GUEST, FOREIGN = "UDEV000001", "UAPPROVE01", "UGUEST0001", "UFOREIGN01"
PLATFORM, RANDOM, SHARED, SECRET = "CPLATFORM1", "CRANDOM001", "CSHARED001", "GSECRET001"
GO = {"type": "button", "action_id": "go", "value": "r-1", "text": {"type": "plain_text", "text": "Go"}}
BUTTON = [{"type": "actions", "block_id": "b", "elements": [GO]}]
ACK, SHORT_ACK = 60.0, 0.5
"""Seconds that the workspace waits: where it has to lose patience, and everywhere else."""
PATIENCE = 60
pytestmark = pytest.mark.filterwarnings("ignore:The top-level `text` argument:UserWarning")


class World:
    """A running workspace, its clock, and what an app received."""

    def __init__(self, ack: float = ACK) -> None:
        self.ahead = 0.0
        self.slow = threading.Event()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.box = SlackSandbox(clock=lambda: time.time() + self.ahead, ack_seconds=ack)
        self.box.add_routes([web.get("/sandbox/extra", _extra)])
        self.run(self.box.start())
        self.env = self.box.env()
        self.client = WebClient(self.env["SLACK_BOT_TOKEN"], base_url=self.env["SLACK_API_URL"], retry_handlers=[])
        self.seen: list[dict[str, Any]] = []
        self.came = threading.Condition()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def get(self, path: str, **headers: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.box.url + path, headers=headers)) as answer:
            return json.load(answer)

    def post(self, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        kind = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{self.box.url}/sandbox/{path}", json.dumps(body).encode(), kind)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def command(self, text: str = "", **more: Any) -> Any:
        return self.post("act/command", **{"user": DEV, "channel": PLATFORM, "command": "/tkg", "text": text, **more})

    def click(self, ts: str, **more: Any) -> Any:
        return self.post("act/click", **{"user": DEV, "channel": PLATFORM, "ts": ts, "action_id": "go", **more})

    def wait(self, text: str, user: str = DEV, channel: str = PLATFORM, timeout: float = PATIENCE) -> Any:
        ask = urlencode({"channel": channel, "as": user, "contains": text, "timeout": timeout})
        return self.get(f"/sandbox/wait?{ask}").get("message")

    def shows(self, text: str, user: str = DEV) -> bool:
        """Whether somebody sees it now: what has just been answered is there, or never comes."""
        return text in json.dumps(self.get(f"/sandbox/messages?channel={PLATFORM}&as={user}")["messages"])

    def card(self, channel: str = PLATFORM) -> str:
        return str(self.client.chat_postMessage(channel=channel, text="card", blocks=BUTTON)["ts"])

    def got(self, count: int) -> list[dict[str, Any]]:
        """The payloads received, once there are that many."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.seen) >= count, PATIENCE)
            return list(self.seen)


async def _extra(request: web.Request) -> web.Response:
    return web.json_response({"extra": True})


@pytest.fixture(scope="module")
def started() -> Iterator[World]:
    with running(ACK) as world:
        yield world


@contextmanager
def running(ack: float) -> Iterator[World]:
    """A workspace with an app."""
    world = World(ack)
    app = App(client=world.client, process_before_response=True)

    def keep(body: dict[str, Any]) -> None:
        with world.came:
            world.seen.append(body)
            world.came.notify_all()

    @app.command("/tkg")
    def tkg(ack: Any, body: dict[str, Any]) -> Any:
        keep(body)
        if body["text"] == "slow":
            world.slow.wait(PATIENCE)
        if body["text"] == "here":
            return ack("everybody sees this", response_type="in_channel")
        return ack("only you see this" if body["text"] == "help" else "")

    @app.action("go")
    def go(ack: Any, body: dict[str, Any]) -> None:
        keep(body)
        ack()

    @app.view("form")
    def form(ack: Any, body: dict[str, Any]) -> None:
        keep(body)
        ack(response_action="errors", errors={"n": "taken"}) if "taken" in json.dumps(body) else ack()

    @app.event("app_mention")
    def mention(body: dict[str, Any]) -> None:
        keep(body)

    handler = SocketModeHandler(app, world.env["SLACK_APP_TOKEN"], ping_interval=0.5)
    handler.connect()  # type: ignore[no-untyped-call]
    assert world.get(f"/sandbox/wait?sockets=1&timeout={PATIENCE}")["ok"]
    yield world
    with suppress(AttributeError):  # the SDK closes its connection in a thread of its own, too
        handler.close()  # type: ignore[no-untyped-call]
    world.run(world.box.stop())


@pytest.fixture
def world(started: World) -> Iterator[World]:
    started.seen.clear()
    yield started
    started.ahead = 0.0
    blank: dict[str, Any] = dict.fromkeys(started.get("/sandbox/state")["faults"])
    started.post("faults", **{**blank, "history_scope": True})


def refused(call: Callable[..., Any], **args: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(**args)
    return str(caught.value.response["error"])


# -- commands


def test_command_round_trip(world: World) -> None:
    done = world.command("tag @approver in #random, see https://x.example/?a=1&b=2 for <b> @platform")
    assert done["acked"]
    assert done["ack_ms"] > 0
    body = world.got(1)[0]
    assert body["text"] == (
        "tag <@UAPPROVE01|approver> in <#CRANDOM001|random>, see "
        "<https://x.example/?a=1&amp;b=2|https://x.example/?a=1&amp;b=2> for &lt;b&gt; <!subteam^SPLATFORM1|@platform>"
    )
    assert body["trigger_id"] == done["trigger_id"]
    assert (body["user_id"], body["team_id"], body["channel_name"]) == (DEV, "TSANDBOX01", "platform")
    assert body["is_enterprise_install"] == "false"
    assert "thread_ts" not in body


def test_raw_text_is_not_escaped(world: World) -> None:
    world.command("“<b>” @dev", raw=True)
    assert world.got(1)[0]["text"] == "“<b>” @dev"


def test_answers_in_the_acknowledgement(world: World) -> None:
    assert world.command("help")["response"] == {"text": "only you see this"}
    assert world.wait("only you")["ephemeral"]
    assert not world.shows("only you", APPROVER)
    world.command("here")
    assert world.wait("everybody", APPROVER)


def test_slow_command_shows_the_timeout() -> None:
    with running(SHORT_ACK) as world:
        done = world.command("slow")
        world.slow.set()
        assert (done["acked"], done["error"]) == (False, "operation_timeout")
        shown = world.wait("/tkg failed with the error operation_timeout")
        assert shown["ephemeral"]
        assert shown["user"] == "USLACKBOT"


def test_copies_are_the_same_payload(world: World) -> None:
    world.post("faults", duplicate_deliveries=1)
    world.command("x", copies=2)
    assert len({body["trigger_id"] for body in world.got(3)}) == 1


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"thread_ts": "1.0"}, "command_not_supported_in_thread"),
        ({"command": "/nope"}, "unknown_command"),
        ({"channel": SECRET, "user": GUEST}, "channel_not_found"),
    ],
)
def test_commands_that_slack_does_not_send(world: World, more: dict[str, str], error: str) -> None:
    assert world.command(**more) == {"ok": False, "error": error}


# -- clicks, triggers, modals


def test_click_payload(world: World) -> None:
    ts = world.card(SHARED)
    assert world.click(ts, user=FOREIGN, channel=SHARED)["acked"]
    body = world.got(1)[0]
    assert body["user"] == {"id": FOREIGN, "username": "foreign", "name": "foreign", "team_id": "TFOREIGN01"}
    assert body["team"]["id"] == "TSANDBOX01"
    assert body["container"] == {"type": "message", "message_ts": ts, "channel_id": SHARED, "is_ephemeral": False}
    assert body["actions"][0]["value"] == "r-1"
    assert body["actions"][0]["action_ts"]
    assert body["message"]["ts"] == ts


def test_forged_click(world: World) -> None:
    ts = world.card()
    world.click(ts, value="r-2", message_ts_override="1.000001", copies=2)
    first, second = world.got(2)
    assert first["actions"] == second["actions"]
    assert first["actions"][0]["value"] == "r-2"
    assert first["container"]["message_ts"] == "1.000001"
    assert world.click(ts, action_id="other") == {"ok": False, "error": "no_such_button"}


def test_buttons_only_some_people_see(world: World) -> None:
    button = {**GO, "visible_to_user_ids": [APPROVER]}
    blocks = [{"type": "actions", "elements": [button]}]
    ts = world.client.chat_postMessage(channel=PLATFORM, text="x", blocks=blocks)["ts"]
    assert world.click(ts)["error"] == "no_such_button"
    assert world.click(ts, user=APPROVER)["acked"]


def view(text: str = "x") -> dict[str, Any]:
    label = {"type": "plain_text", "text": text}
    element = {"type": "plain_text_input", "action_id": "n"}
    blocks = [{"type": "input", "block_id": "n", "label": label, "element": element}]
    return {"type": "modal", "callback_id": "form", "title": label, "submit": label, "blocks": blocks}


def test_triggers_live_as_long_as_acknowledgements_and_serve_once(world: World) -> None:
    assert SlackSandbox().workspace.trigger_seconds == ACK_SECONDS == 3
    trigger = world.command()["trigger_id"]
    world.client.views_open(trigger_id=trigger, view=view())
    assert refused(world.client.views_open, trigger_id=trigger, view=view()) == "exchanged_trigger_id"
    late = world.command()["trigger_id"]
    world.ahead = ACK + 0.5
    assert refused(world.client.views_open, trigger_id=late, view=view()) == "expired_trigger_id"
    assert refused(world.client.views_open, trigger_id="1.2.x", view=view()) == "invalid_trigger_id"


def test_modal(world: World) -> None:
    opened = world.client.views_open(trigger_id=world.command()["trigger_id"], view=view())["view"]
    submit = {"user": DEV, "view_id": opened["id"]}
    assert world.post("act/view_submit", **submit, values={})["error"] == "missing_input"
    done = world.post("act/view_submit", **submit, values={"n": "taken"})
    assert done["response"] == {"response_action": "errors", "errors": {"n": "taken"}}
    new = world.client.views_update(view_id=opened["id"], hash=opened["hash"], view=view("y"))["view"]
    assert refused(world.client.views_update, view_id=new["id"], hash="old", view=view()) == "hash_conflict"
    assert world.post("act/view_submit", **submit, values={"n": {"n": "demo"}})["acked"]
    values = world.got(3)[-1]["view"]["state"]["values"]
    assert values == {"n": {"n": {"type": "plain_text_input", "value": "demo"}}}
    assert world.post("act/view_submit", **submit, values={})["error"] == "view_not_found"


def test_response_url(world: World) -> None:
    """It works where the app is no member, five times, for half an hour."""
    world.command(channel=RANDOM)
    hook = WebhookClient(world.got(1)[0]["response_url"])
    assert hook.send(text="").status_code == 400
    assert hook.send(text="to you").status_code == 200
    assert world.wait("to you", channel=RANDOM)["ephemeral"]
    assert [hook.send(text="to all", response_type="in_channel").status_code for _ in range(4)] == [200] * 4
    assert world.wait("to all", APPROVER, RANDOM)
    used = hook.send(text="once more")
    assert (used.status_code, json.loads(used.body)["error"]) == (404, "used_url")
    world.ahead = 1801
    assert "expired_url" in hook.send(text="late").body


def test_response_url_changes_an_ephemeral_message(world: World) -> None:
    ts = world.client.chat_postEphemeral(channel=PLATFORM, user=DEV, text="card", blocks=BUTTON)["message_ts"]
    assert world.click(ts, user=APPROVER)["error"] == "no_such_button"
    world.click(ts)
    body = world.got(1)[0]
    assert "message" not in body
    assert body["container"]["is_ephemeral"]
    hook = WebhookClient(body["response_url"])
    hook.send(text="replaced", replace_original=True)
    assert world.wait("replaced")["ts"] == ts
    hook.send(text="", delete_original=True)
    assert not world.shows("replaced")


def test_mention(world: World) -> None:
    done = world.post("act/message", user=FOREIGN, channel=SHARED, text="@tkgbot status")
    event = world.got(1)[0]["event"]
    assert (event["text"], event["ts"], event["user_team"]) == ("<@UTKGBOT001> status", done["ts"], "TFOREIGN01")
    assert world.got(1)[0]["is_ext_shared_channel"]
    world.post("act/message", user=DEV, channel=RANDOM, text="@tkgbot is not here")
    world.post("act/message", user=DEV, channel=PLATFORM, text="no mention")
    assert len(world.seen) == 1


# -- Web API


def test_posting_has_limits(world: World) -> None:
    post = world.client.chat_postMessage
    long = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5
    assert refused(post, channel=PLATFORM, text="") == "no_text"
    assert refused(post, channel=PLATFORM, text="x" * 40_001) == "msg_too_long"
    assert refused(post, channel=PLATFORM, text="x", blocks="{") == "invalid_blocks_format"
    assert refused(post, channel=PLATFORM, text="x", blocks=[{"type": "nope"}]) == "invalid_blocks"
    assert refused(post, channel=PLATFORM, text="x", blocks=long) == "msg_blocks_too_long"
    assert refused(post, channel=RANDOM, text="x") == "not_in_channel"
    assert refused(post, channel=SECRET, text="x") == "channel_not_found"
    assert refused(post, channel=PLATFORM, text="x", thread_ts="1.0") == "thread_not_found"
    big = {"event_type": "t", "event_payload": {"x": "x" * 8000}}
    assert refused(post, channel=PLATFORM, text="x", metadata=big) == "metadata_too_large"


def test_update_and_delete(world: World) -> None:
    ts, metadata = world.card(), {"event_type": "op", "event_payload": {"id": "r-1"}}
    world.client.chat_update(channel=PLATFORM, ts=ts, blocks=BUTTON, metadata=metadata)
    shown = world.get(f"/sandbox/messages?channel={PLATFORM}&as={DEV}")["messages"][-1]
    assert (shown["edited"], shown["text"], shown["revisions"]) == (False, "card", 1)
    world.client.chat_update(channel=PLATFORM, ts=ts, text="plain now")
    shown = world.wait("plain now")
    assert shown["edited"]
    assert shown["blocks"] == []
    assert shown["metadata"] == metadata
    other = world.post("act/message", user=DEV, channel=PLATFORM, text="mine")["ts"]
    assert refused(world.client.chat_update, channel=PLATFORM, ts=other, text="x") == "cant_update_message"
    assert refused(world.client.chat_update, channel=PLATFORM, ts="1.0", text="x") == "message_not_found"
    world.client.chat_delete(channel=PLATFORM, ts=ts)
    assert refused(world.client.chat_update, channel=PLATFORM, ts=ts, text="x") == "message_not_found"


def test_ephemeral_messages_are_for_one_person(world: World) -> None:
    post = world.client.chat_postEphemeral
    ts = post(channel=PLATFORM, user=DEV, text="psst")["message_ts"]
    assert world.wait("psst")
    assert not world.shows("psst", APPROVER)
    assert refused(world.client.chat_update, channel=PLATFORM, ts=ts, text="x") == "message_not_found"
    assert ts not in [m["ts"] for m in world.client.conversations_history(channel=PLATFORM)["messages"]]
    assert refused(post, channel=PLATFORM, user=FOREIGN, text="x") == "user_not_in_channel"


def test_history_and_threads(world: World) -> None:
    metadata = {"event_type": "op", "event_payload": {"id": "r-9"}}
    world.card()
    ts = world.client.chat_postMessage(channel=PLATFORM, text="root", metadata=metadata)["ts"]
    for text in ("one", "two"):
        world.client.chat_postMessage(channel=PLATFORM, text=text, thread_ts=ts)
    replies = world.client.conversations_replies(channel=PLATFORM, ts=ts, include_all_metadata=True)["messages"]
    assert [m["text"] for m in replies] == ["root", "one", "two"]
    assert replies[0]["metadata"] == metadata
    page = world.client.conversations_history(channel=PLATFORM, limit=1)
    assert (page["messages"][0]["ts"], page["has_more"], "metadata" in page["messages"][0]) == (ts, True, False)
    world.post("faults", history_scope=False)
    assert refused(world.client.conversations_history, channel=PLATFORM) == "missing_scope"


@pytest.mark.parametrize(
    ("user", "flags"),
    [
        (GUEST, ["is_restricted"]),
        ("USINGLE001", ["is_restricted", "is_ultra_restricted"]),
        ("USTRANGER1", ["is_stranger"]),
        ("UGONE00001", ["deleted"]),
        ("UOTHERBOT1", ["is_bot"]),
        (DEV, []),
    ],
)
def test_people(world: World, user: str, flags: list[str]) -> None:
    person = world.client.users_info(user=user)["user"]
    names = ("is_restricted", "is_ultra_restricted", "is_stranger", "deleted", "is_bot")
    assert [name for name in names if person.get(name)] == flags


def test_groups_and_edits(world: World) -> None:
    members = world.client.usergroups_users_list(usergroup="SPLATFORM1")["users"]
    assert members == [APPROVER, "UAPPROVE02", "UGONE00001"]
    world.post("groups", id="SPLATFORM1", users=[APPROVER])
    assert world.client.usergroups_users_list(usergroup="SPLATFORM1")["users"] == [APPROVER]
    world.post("groups", id="SPLATFORM1", users=members)
    assert world.client.conversations_info(channel=SHARED)["channel"]["is_ext_shared"]
    dm = world.client.conversations_open(users=DEV)["channel"]["id"]
    assert world.client.chat_postMessage(channel=DEV, text="hello")["channel"] == dm


@pytest.mark.parametrize(
    ("token", "call", "error"),
    [
        ("", "auth.test", "not_authed"),
        ("xoxb-other", "auth.test", "invalid_auth"),
        ("bot", "apps.connections.open", "not_allowed_token_type"),
        ("app", "auth.test", "not_allowed_token_type"),
        ("bot", "chat.scream", "unknown_method"),
    ],
)
def test_tokens(world: World, token: str, call: str, error: str) -> None:
    tokens = {"bot": world.env["SLACK_BOT_TOKEN"], "app": world.env["SLACK_APP_TOKEN"]}
    client = WebClient(tokens.get(token, token), base_url=world.env["SLACK_API_URL"])
    assert refused(client.api_call, api_method=call) == error
    assert "xoxb" not in json.dumps(world.get("/sandbox/log?since=0"))


# -- faults


def test_rate_limits(world: World) -> None:
    world.post("faults", rate_limit=1, rate_limit_methods=["users.info"])
    world.client.auth_test()
    with pytest.raises(SlackApiError) as caught:
        world.client.users_info(user=DEV)
    assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "1")
    world.client.users_info(user=DEV)
    world.post("faults", enforce_rate_limits=True)
    for _ in range(4):
        world.card(SHARED)
    assert refused(world.client.chat_postMessage, channel=SHARED, text="x") == "ratelimited"
    world.ahead += 1.5
    world.card(SHARED)


def test_server_errors_and_lost_answers(world: World) -> None:
    world.post("faults", server_error_methods=["users.info"])
    assert [refused(world.client.users_info, user=DEV) for _ in range(2)] == ["internal_error"] * 2
    world.post("faults", server_error_methods=None, lose_answer=1)
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        world.client.chat_postMessage(channel=PLATFORM, text="carried out")
    assert world.wait("carried out")
    lost = [e for e in world.get("/sandbox/log?since=0")["log"] if e["method"] == "chat.postMessage"][-1]
    assert (lost["ok"], lost["status"]) == (True, 0)
    with pytest.raises(urllib.error.HTTPError):
        world.post("faults", nonsense=1)


@pytest.mark.long
def test_hanging_call_and_down(world: World) -> None:
    world.post("faults", hang_methods=["users.info"])
    quick = WebClient(world.env["SLACK_BOT_TOKEN"], base_url=world.env["SLACK_API_URL"], timeout=1)
    with pytest.raises(OSError, match="timed out"):
        quick.users_info(user=DEV)
    world.post("faults", down=True)
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        quick.auth_test()
    assert world.command("x")["error"] in ("dispatch_failed", "operation_timeout")
    world.post("faults", down=False)
    assert world.get(f"/sandbox/wait?sockets=1&timeout={PATIENCE}")["ok"]


@pytest.mark.long
def test_sockets_come_back(world: World) -> None:
    assert world.post("faults", disconnect=True)["ok"]
    assert world.get(f"/sandbox/wait?sockets=1&timeout={PATIENCE}")["ok"]
    assert world.command("polite")["acked"]
    world.post("faults", drop_socket=True)
    assert world.get(f"/sandbox/wait?sockets=1&timeout={PATIENCE}")["ok"]
    assert world.command("hard")["acked"]


def test_socket_addresses_work_once_and_for_ten(world: World) -> None:
    opened = world.client.apps_connections_open

    async def connect(session: ClientSession) -> Any:
        url = (await asyncio.to_thread(opened, app_token=world.env["SLACK_APP_TOKEN"]))["url"]
        socket = await session.ws_connect(url)
        return url, socket, await socket.receive_json()

    async def crowd() -> tuple[list[str], int]:
        async with ClientSession() as session:
            made = [await connect(session) for _ in range(10)]
            used = await session.get(made[0][0])
            for _, socket, _ in made:
                await socket.close()
            return [hello["type"] for _, _, hello in made], used.status

    kinds, status = world.run(crowd())
    assert kinds == ["hello"] * 9 + ["disconnect"]
    assert status == 403


def test_selects(world: World) -> None:
    options = [{"text": {"type": "plain_text", "text": word}, "value": word} for word in ("dev", "prod")]
    menu = {"type": "overflow", "action_id": "go", "options": options}
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}, "accessory": menu}
    ts = world.client.chat_postMessage(channel=PLATFORM, text="x", blocks=[section])["ts"]
    world.click(ts, value="prod")
    assert world.got(1)[0]["actions"][0]["selected_option"] == options[1]


def test_control_is_for_this_machine_only(world: World) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            world.get("/sandbox/state", **headers)
        assert caught.value.code == 403
    assert world.get("/sandbox/extra") == {"extra": True}


@pytest.mark.long
def test_private_places_stay_private(world: World) -> None:
    answer = world.get(f"/sandbox/messages?channel={SECRET}&as={GUEST}")
    assert answer == {"ok": False, "error": "channel_not_found"}


# -- the page


@pytest.mark.browser
def test_page_shows_data_as_text(world: World) -> None:
    with ThreadPoolExecutor(1) as own_thread:
        own_thread.submit(_look, world).result(PATIENCE)


def _look(world: World) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=args)
        page = browser.new_page()
        page.goto(f"{world.box.url}/?as={DEV}&channel={PLATFORM}")
        page.locator("#net:not(.off)").wait_for()
        plain = {"type": "plain_text", "text": evil[:70]}
        cell = {"type": "raw_text", "text": f"cell {evil}"}
        blocks: list[Any] = [{"type": "header", "text": plain}, {"type": "table", "rows": [[cell]]}, *BUTTON]
        world.client.chat_postMessage(channel=PLATFORM, text=evil, blocks=blocks)
        world.post("act/message", user=APPROVER, channel=PLATFORM, text=f"typed {evil}")
        world.client.chat_postMessage(channel=PLATFORM, text="<javascript:alert(1)|harmless>")
        page.locator("#log").get_by_text(f"cell {evil}").wait_for()
        page.locator("#log").get_by_text(f"typed {evil}").wait_for()
        page.locator("#log").get_by_text("harmless").wait_for()
        assert page.locator("#log img, #log script, #log a[href^='javascript']").count() == 0
        assert "owned" not in page.title()
        page.get_by_role("button", name="Go").last.click()
        assert world.got(1)[-1]["type"] == "block_actions"
        page.fill("#box", "/tk")
        page.keyboard.press("Enter")
        page.keyboard.type("help")
        page.keyboard.press("Enter")
        page.get_by_text("Only visible to you").last.wait_for()
        browser.close()
