"""One test or more for each threat of the list: the test's name says which."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from slack_bolt import BoltRequest
from slack_sdk import WebClient

from bot import outgoing, people, tables
from bot.front import make_front
from bot.ledger import Refused
from bot.lifecycle import FINAL, State
from bot.logs import Redacting, redact, set_up
from bot.messages import Note
from bot.own import OWN
from bot.policy import Person, Place, Rule, Scope, Who
from bot.records import Draft, Request
from bot.requests import Requests
from bot.screens import Screen, TriggerExpired
from bot.slack import cards
from bot.slack.forms import view
from bot.slack.listeners import Intake, make_app
from bot.slack.outbox import Outbox
from bot.store import Store, StoreUnavailable
from bot.work import Patience, Work
from handlers.contract import Caller, Check, Inverse, Observation, Offer, Outcome, Plan, Report, Retry
from handlers.steps import decode
from handlers.workshop import discover
from tests.quiet import digesting
from tests.unit.makers import NASTY, NOW, SUBNETS, make_needs, make_plan, tag_step
from tests.unit.test_cards import assert_slack_takes, assert_values_stay_values

DEV, FIRST, SECOND = "UDEV000001", "U000000001", "U000000002"
TEAM, CHANNEL = "T1", "C1"
RULES = (
    Rule(
        name="all",
        operations=("*",),
        ask=Who(users=(DEV,)),
        approve=Who(members=True),
        request_ttl=100,
        approval_ttl=50,
    ),
)
TEXT = f"subnet tag demo {SUBNETS[0]}"


class Queue:
    """Remembers what would be started."""

    def __init__(self) -> None:
        self.plans: list[tuple[str, int]] = []
        self.runs: list[tuple[str, int]] = []

    def enqueue_plan(self, connection: sa.Connection, request: str, number: int) -> None:
        self.plans.append((request, number))

    def enqueue_run(self, connection: sa.Connection, request: str, number: int) -> None:
        self.runs.append((request, number))


@dataclass
class People:
    """Slack's answers. Whoever is not listed is a member."""

    known: dict[str, Person] = field(default_factory=dict)
    shared: bool = False
    silent: bool = False

    def person(self, user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        if self.silent:
            raise Retry("Slack did not say who you are.")
        return self.known.get(user, Person(user, "member"))

    def place(self, channel: str) -> Place:
        return Place(channel, self.shared)


@dataclass
class Modals:
    """Remembers what was shown."""

    shown: list[Screen] = field(default_factory=list)

    def open(self, trigger: str, screen: Screen) -> str:
        if not trigger:
            raise TriggerExpired
        self.shown.append(screen)
        return f"V{len(self.shown)}"

    def replace(self, view_id: str, screen: Screen) -> None:
        self.shown.append(screen)


@dataclass
class Workshop:
    """Plans what `plan_now` says, and remembers what was done."""

    plan_now: Plan
    acted: list[dict[str, Any]] = field(default_factory=list)
    rights: list[Any] = field(default_factory=list)

    def plan(self, operation: str, arguments: dict[str, Any], caller: Caller) -> Plan:
        return self.plan_now

    def act(self, step: dict[str, Any], caller: Caller) -> Outcome:
        decode(step)
        self.acted.append(step)
        self.rights.append(caller.actions)
        return Outcome(changed=True, evidence="done")

    def observe(self, step: dict[str, Any], caller: Caller) -> Observation:
        return Observation(so=True, evidence="so")

    def verify(self, operation: str, arguments: dict[str, Any], plan: Plan, caller: Caller) -> list[Check]:
        return [Check(id="x", title="x", result="pass", evidence="so")]

    def report(self, operation: str, arguments: dict[str, Any], caller: Caller) -> Report:
        return Report(title="looked")

    def inverse(self, operation: str, arguments: dict[str, Any], plan: Plan, touched: Sequence[int]) -> Inverse | None:
        return Inverse(operation=operation, arguments=arguments)

    def follow_up(self, operation: str, arguments: dict[str, Any], plan: Plan, caller: Caller) -> tuple[Offer, ...]:
        return ()


class Inline:
    """Durable steps that run at once; their results pass through JSON as they would in the database."""

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        return json.loads(json.dumps(work()))

    def sleep(self, seconds: float) -> None:
        pass


class Bot:
    """Everything between Slack's payload and the outbox, without Slack, dbos and AWS."""

    def __init__(self, folder: Path, rules: tuple[Rule, ...] = RULES) -> None:
        self.now = NOW
        self.store = Store(folder)
        self.queue, self.people, self.workshop = Queue(), People(), Workshop(make_plan())
        numbers = iter(range(1, 1000))
        self.requests = Requests(
            self.store, self.queue, clock=lambda: self.now, new_id=lambda: f"r-{next(numbers):06x}"
        )
        common: dict[str, Any] = {"requests": self.requests, "directory": self.people, "rules": rules}
        everything = {**discover(), **OWN}
        self.screens = Modals()
        self.front = make_front(
            self.requests, people.People(self.people, rules, everything), self.screens, self.workshop,
            digesting(self.requests), choices={},
            resolve=lambda arguments: {**arguments, "account": "management"} if "cluster" in arguments else arguments,
            address=lambda channel, ts: f"https://workspace/{channel}/{ts}",
            clock=lambda: self.now, new_error_id=lambda: "e-1", wake=lambda: None,
        )  # fmt: skip
        self.work = Work(
            workshop=self.workshop, scope=lambda operation, _: Scope(operation, True), new_error_id=lambda: "e-1",
            patience=Patience(0, 0, 0, 0), **common,
        )  # fmt: skip
        self.intake = Intake(self.store, clock=lambda: self.now)
        self.keys: list[str] = []
        self.intake.on_new = self.keys.append
        self.app = make_app(self.intake, everything, bot_token="xoxb-none", team=TEAM, bot_id="B1", bot_user="U1")

    def deliver(self, body: dict[str, Any]) -> int:
        """As Socket Mode does; the status of the ack."""
        return self.app.dispatch(BoltRequest(body=body, mode="socket_mode")).status

    def command(self, text: str = TEXT, user: str = DEV, trigger: str = "1.1") -> int:
        return self.deliver({
            "team_id": TEAM, "user_id": user, "channel_id": CHANNEL, "command": "/tkg", "text": text,
            "trigger_id": trigger, "response_url": "https://hooks.slack.com/commands/T1/1/canary", "api_app_id": "A1",
        })  # fmt: skip

    def click(self, action: str, user: str, value: str, ts: str = "100.1", at: str = "1.0") -> int:
        return self.deliver({
            "type": "block_actions", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM},
            "channel": {"id": CHANNEL}, "container": {"type": "message", "message_ts": ts, "channel_id": CHANNEL},
            "trigger_id": f"t{at}",
            "actions": [
                {"type": "button", "action_id": f"tkg:{action}", "block_id": "b", "value": value, "action_ts": at}
            ],
            "response_url": "https://hooks.slack.com/actions/T1/1/canary", "api_app_id": "A1",
        })  # fmt: skip

    def deny(self, user: str, value: str, reason: str = "no", at: str = "1.0") -> int:
        """Clicks Deny; where a form opened, fills it in and sends it."""
        opened = len(self.screens.shown)
        status = self.click("deny", user, value, at=at)
        self.answer_all()
        if len(self.screens.shown) == opened:
            return status
        return self.submit(user, view(self.screens.shown[-1]), {"reason": reason}, at)

    def submit(self, user: str, shown: dict[str, Any], given: dict[str, str], number: str = "1") -> int:
        """Sends a modal; the status of the ack."""
        values = {name: {"value": {"type": "plain_text_input", "value": text}} for name, text in given.items()}
        whole = {**shown, "id": f"V{number}", "hash": number, "state": {"values": values}}
        return self.deliver({
            "type": "view_submission", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM}, "view": whole,
            "api_app_id": "A1",
        })  # fmt: skip

    def answer_all(self) -> None:
        while self.keys:
            self.front.handle(self.keys.pop(0))

    def said(self) -> list[Note]:
        box = tables.outbox
        rows = self.rows(sa.select(box.c.body).where(box.c.body.is_not(None)).order_by(box.c.key))
        return [Note.model_validate(row.body) for row in rows if row.body]

    def rows(self, query: Any) -> Any:
        return self.store.read(lambda connection: connection.execute(query).all())

    def execute(self, statement: Any) -> None:
        self.store.write(lambda connection: connection.execute(statement))

    def count(self, table: sa.Table) -> int:
        return int(self.rows(sa.select(sa.func.count()).select_from(table))[0][0])

    def waiting(self, plan: Plan | None = None, invocation: str = "i") -> Request:
        """A request that waits for approval, with its card at 100.1."""
        name = self.requests.submit(
            Draft(invocation=invocation, operation="subnet tag", arguments={"cluster": "demo"}, command=f"/tkg {TEXT}",
                  team=TEAM, channel=CHANNEL, requester=DEV)
        )  # fmt: skip
        needs = make_needs(request_ttl=100.0, approval_ttl=50.0)
        assert self.requests.planned(name, 1, plan or self.workshop.plan_now, needs) == State.AWAITING
        self.execute(sa.update(tables.outbox).where(tables.outbox.c.key == f"{name}:card").values(ts="100.1"))
        return self.get(name)

    def get(self, name: str) -> Request:
        found = self.requests.get(name)
        assert found is not None
        return found

    def approve(self, request: Request, person: str = FIRST) -> State:
        return self.requests.vote(request.id, (request.fingerprint or "")[:16], person, True, lambda *_: True)

    def run(self, request: Request) -> State:
        """Every run that was enqueued."""
        while self.queue.runs:
            self.work.run(Inline(), *self.queue.runs.pop(0))
        return self.get(request.id).state


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = Bot(tmp_path)
    yield made
    made.store.close()


def test_the_ordinary_way_works_here(bot: Bot) -> None:
    request = bot.waiting()
    assert bot.approve(request) == State.APPROVED
    assert bot.run(request) == State.SUCCEEDED
    assert bot.workshop.acted == [step.model_dump(mode="json") for step in bot.workshop.plan_now.steps]


# -- replay ------------------------------------------------------------------------------------------------------


def test_replay_of_a_command_is_one_request(bot: Bot) -> None:
    assert [bot.command() for _ in range(3)] == [200, 200, 200]
    assert len(bot.keys) == 1
    bot.keys *= 3
    bot.answer_all()
    assert (bot.count(tables.requests), len(bot.queue.plans)) == (1, 1)
    assert bot.command() == 200
    assert bot.keys == []


def test_replay_of_a_command_at_the_same_moment_is_one_request(bot: Bot) -> None:
    start = threading.Barrier(20)

    def one(_: int) -> int:
        start.wait()
        return bot.command()

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(one, range(20))) == {200}
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(bot.front.handle, bot.keys * 20))
    assert bot.count(tables.requests) == 1


def test_replay_of_a_click_is_one_vote(bot: Bot) -> None:
    request = bot.waiting()
    for _ in range(3):
        bot.click("approve", FIRST, f"{request.id}:{(request.fingerprint or '')[:16]}")
    bot.keys *= 3
    bot.answer_all()
    assert bot.count(tables.votes) == 1
    assert len(bot.queue.runs) == 1


def test_two_commands_are_two_requests(bot: Bot) -> None:
    bot.command(trigger="1.1")
    bot.command(trigger="1.2")
    bot.answer_all()
    assert bot.count(tables.requests) == 2


# -- escalation via arguments ------------------------------------------------------------------------------------

ESCALATIONS = (
    "--as=root", "--as=", ";", "$(id)", "`id`", "account=a account=b", "--profile=admin",
    "--role-arn=arn:aws:iam::1:role/x",
    "https://evil.example", "--vpc=vpc-0a1b2c3d/../x", "--region=us-east-1.evil.example", "--account=*",
    "--account=../x",
    "!!python/object/apply:os.system", "--policy={}", "x" * 10_240, "subnet-0a1b2c3d*", "arn:aws:ec2:::subnet/*",
)  # fmt: skip


@pytest.mark.parametrize("word", ESCALATIONS, ids=lambda word: word[:20])
def test_escalation_via_arguments_is_refused(bot: Bot, word: str) -> None:
    bot.command(f"{TEXT} {word}")
    bot.answer_all()
    assert bot.count(tables.requests) == 0
    assert "Nothing was done." in bot.said()[0].text


@pytest.mark.parametrize(
    "hostile", ["*", "a;b", "$(id)", "../x", "https://x", "arn:aws:x", "a b", "a\nb", "-x", "ａ", "{}"]
)
def test_escalation_via_arguments_finds_no_open_field(hostile: str) -> None:
    """No operation has a field that takes any text."""
    tried: set[tuple[str, str]] = set()
    for operation in discover().values():
        for name, info in operation.arguments.model_fields.items():
            if "str" in str(info.annotation) or "Annotated" in str(info.annotation):
                with pytest.raises(ValidationError) as caught:
                    operation.arguments.model_validate({name: hostile})
                assert name in {str(error["loc"][0]) for error in caught.value.errors() if error["loc"]}
                tried.add((operation.name, name))
    assert len(tried) > 10, "an operation's text fields were looked for and not found"


# -- injection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", [*NASTY, "\u061c", "\u00ad"], ids=ascii)
def test_mention_injection_by_a_command_stays_text(bot: Bot, hostile: str) -> None:
    for number, text in enumerate(
        (hostile, f"subnet {hostile}", f"{TEXT} {hostile}x", f"subnet tag demo --vpc={hostile}")
    ):
        bot.command(text, trigger=str(number))
    bot.answer_all()
    for note in bot.said():
        assert_slack_takes(cards.note(note))
        assert_values_stay_values(cards.note(note))
        assert note.people == ()


@pytest.mark.parametrize("hostile", ["<!channel> <@UEVIL00001>", "<http://evil.example|Approve>", "\u202e*x*`\u200b"])
def test_mention_injection_by_what_aws_holds_stays_text(bot: Bot, hostile: str) -> None:
    """A subnet's Name tag is anybody's text."""
    check = Check(id="a", title=hostile, result="block", evidence=hostile, fix=hostile)
    name = bot.waiting().id
    plan = make_plan(headline=hostile, checks=(check,), steps=(tag_step(title=hostile),))
    bot.requests.look_again(name, DEV)
    bot.requests.planned(name, 2, plan, make_needs())
    message = cards.card(bot.requests.snapshot(name), 1)
    assert_values_stay_values(message)
    for note in bot.said():
        assert_values_stay_values(cards.note(note.model_copy(update={"people": (), "groups": ()})))


# -- link unfurling ----------------------------------------------------------------------------------------------


class SlackStub:
    """Answers every method with ok, and remembers what it was asked."""

    def __init__(self) -> None:
        calls: list[tuple[str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                calls.append((self.path.strip("/"), json.loads(body or b"{}")))
                answer = json.dumps({"ok": True, "ts": f"{len(calls)}.1", "channel": {"id": "D1"}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.calls = calls
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_link_unfurling_is_off_in_every_post(bot: Bot) -> None:
    stub = SlackStub()
    name = bot.requests.submit(
        Draft(invocation="i", operation="subnet tag", arguments={"cluster": "demo"}, command=f"/tkg {TEXT}", team=TEAM,
              channel=CHANNEL, requester=DEV)
    )  # fmt: skip
    linked = Note(text="https://evil.example/a")

    def put(connection: sa.Connection) -> None:
        outgoing.thread(connection, "t", name, CHANNEL, linked, NOW)
        outgoing.direct(connection, "d", DEV, linked, NOW)
        outgoing.whisper(connection, "w", CHANNEL, DEV, None, linked, NOW)
        outgoing.whisper(connection, "u", CHANNEL, DEV, f"{stub.url}hook", linked, NOW)

    bot.store.write(put)
    outbox = Outbox(bot.store, WebClient(token="xoxb-none", base_url=stub.url), executor="x", clock=lambda: NOW)
    outbox.start()
    deadline = time.monotonic() + 60
    pending = sa.select(tables.outbox.c.key).where(tables.outbox.c.wanted > tables.outbox.c.sent)
    while bot.rows(pending) and time.monotonic() < deadline:
        time.sleep(0.02)
    outbox.stop()
    stub.server.shutdown()
    stub.server.server_close()
    assert sorted({path for path, _ in stub.calls}) == [
        "chat.postEphemeral", "chat.postMessage", "conversations.open", "hook"
    ]  # fmt: skip
    posts = [body for path, body in stub.calls if path == "chat.postMessage"]
    assert len(posts) == 3
    for body in posts:
        assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)
        assert not body.get("link_names")
        assert body.get("parse", "none") == "none"
    for _, body in stub.calls:
        assert '"type": "link"' not in json.dumps(body)


# -- secrets in logs ---------------------------------------------------------------------------------------------

CANARIES = {
    "bot token": ("xoxb-1234567890-canaryCANARY", "xoxb-1234567890-canaryCANARY"),
    "user token": ("xoxp-1-2-canary", "xoxp-1-2-canary"),
    "rotated token": ("xoxe.xoxb-1-canary", "canary"),
    "app token": ("xapp-1-A1-2-canary", "xapp-1-A1-2-canary"),
    "access key": ("AKIACANARYCANARY1234", "AKIACANARY"),
    "session key": ("key ASIACANARYCANARY1234, next", "ASIACANARY"),
    "secret key, ini": ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/canaryEXAMPLEKEY", "canary"),
    "secret key, env": ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/canaryEXAMPLEKEY", "canary"),
    "secret key, json": ('{"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/canaryEXAMPLEKEY"}', "canary"),
    "secret key, repr": ("{'SecretAccessKey': 'wJalrXUtnFEMI/K7MDENG/canaryEXAMPLEKEY'}", "canary"),
    "secret key, keyword": ("aws_secret_access_key='wJalrXUtnFEMI/K7MDENG/canaryEXAMPLEKEY'", "canary"),
    "secret key, xml": ("<SecretAccessKey>wJalrXUtnFEMI/K7MDENG/canaryEXAMPLEKEY</SecretAccessKey>", "canary"),
    "session token, xml": ("<SessionToken>FwoGZXIvYXdzEcanarycanary//8=</SessionToken>", "canary"),
    "session token, repr": ("{'aws_session_token': 'FwoGZXIvYXdzEcanarycanary//8='}", "canary"),
    "credentials, repr": (
        "ReadOnlyCredentials(access_key='AKIACANARYCANARY1234', secret_key='wJalrXUtnFEMI/canaryEXAMPLEKEY',"
        " token='FwoGZXIvcanary', account_id=None)", "canary"),
    "bearer": ("Authorization: Bearer eyJhbGciOiJSUzI1.canary.sig", "canary"),
    "bearer in a dict": ("{'Authorization': 'Bearer xyzcanarycanary'}", "canary"),
    "basic": ("authorization: basic Y2FuYXJ5OmNhbmFyeQ==", "Y2FuYXJ5"),
    "response url": ("https://hooks.slack.com/commands/T1/2/canary", "canary"),
    "response url of a click": ("'https://hooks.slack.com/actions/T1/2/canary'", "canary"),
    "socket ticket": ("wss://wss-primary.slack.com/link/?ticket=canary-1&app_id=a", "canary"),
    "signed url": ("https://s3.amazonaws.com/b/k?X-Amz-Signature=canary&X-Amz-Security-Token=canary", "canary"),
    "old signed url": ("https://s3.amazonaws.com/b/k?Expires=1&Signature=canary%3D", "canary"),
    "database url": ("postgresql+psycopg://bot:canary@db:5432/bot", "canary"),
    "database url without a name": ("postgresql://:canary@db/bot", "canary"),
    "kubeconfig key": ("client-key-data: LS0tcanary==", "canary"),
    "kubeconfig certificate": ("    client-certificate-data: LS0tcanary==", "canary"),
    "kubeconfig token": ("    token: eyJhbGciOiJSUzI1NiJ9.canary.canary", "canary"),
    "private key": ("-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----", "canary"),
}  # fmt: skip


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root, dbos = logging.getLogger(), logging.getLogger("dbos")
    before, level, theirs = root.handlers[:], root.level, dbos.handlers[:]
    stream = io.StringIO()
    set_up(stream=stream)
    yield stream
    root.handlers[:], dbos.handlers[:] = before, theirs
    root.setLevel(level)


@pytest.mark.parametrize("name", CANARIES)
def test_secret_in_logs_is_redacted_in_every_place(name: str, lines: io.StringIO) -> None:
    text, secret = CANARIES[name]
    log = logging.getLogger("any.library")
    log.warning(text)
    log.warning("argument %s and %r", text, {"x": text})
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"while {text}") from error
    except RuntimeError:
        log.exception("failed")
    logging.getLogger("dbos").error(text)
    written = lines.getvalue()
    assert "failed" in written
    assert "[redacted]" in written
    assert secret not in written


@pytest.mark.parametrize(
    "text", ["r-7f3a2c is running", "the token of the subnet", "https://docs.slack.dev/a?b=c", "basic x"]
)
def test_ordinary_lines_stay(text: str) -> None:
    assert redact(text) == text


def test_secret_in_logs_when_a_listener_fails(bot: Bot, lines: io.StringIO) -> None:
    """A real delivery whose storing fails, in each way: what is logged and what is shown has no part of the payload."""
    canary = "xoxb-canary"
    for error in (StoreUnavailable(f"disk {canary}"), RuntimeError(f"defect {canary} postgresql://u:canary@h/d")):
        tried: list[int] = []

        def fail(*_: Any, error: Exception = error, tried: list[int] = tried) -> Any:
            tried.append(1)
            raise error

        bot.store.insert_new = fail  # type: ignore[method-assign]
        answer = bot.app.dispatch(BoltRequest(mode="socket_mode", body={
            "team_id": TEAM, "user_id": DEV, "channel_id": CHANNEL, "command": "/tkg", "text": "help",
            "trigger_id": "1.1", "response_url": "https://hooks.slack.com/commands/T1/1/canary", "token": "canary",
        }))  # fmt: skip
        assert tried == [1], "nothing was to be stored"
        assert bot.count(tables.invocations) == 0
        assert "canary" not in json.dumps(answer.body)
    bot.app.dispatch(BoltRequest(mode="socket_mode", body={"type": "block_actions", "token": "canary", "actions": [
        {"action_id": "tkg:approve", "type": "button"}]}))  # fmt: skip
    bot.app.dispatch(
        BoltRequest(mode="socket_mode", body={"type": "unheard_of", "token": "canary", "response_url": "canary"})
    )
    assert "canary" not in lines.getvalue()


def test_secret_in_logs_not_when_answering_fails(bot: Bot, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("xoxb-canary https://hooks.slack.com/commands/T/1/canary")

    monkeypatch.setattr(bot.people, "person", fail)
    bot.command()
    bot.answer_all()
    (note,) = bot.said()
    assert "error `e-1`" in note.text
    assert "canary" not in note.text
    assert "error e-1" in lines.getvalue()
    assert "canary" not in lines.getvalue()


def test_secret_in_logs_not_by_a_thread_that_dies() -> None:
    """Python prints a dying thread's traceback to standard error by itself; that must pass the same filter."""
    code = """
import threading
from bot.logs import set_up
set_up()
def work(): raise RuntimeError("xoxb-canary")
thread = threading.Thread(target=work)
thread.start()
thread.join()
raise RuntimeError("xoxb-canary")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "RuntimeError" in done.stderr
    assert "canary" not in done.stderr


def test_the_formatter_is_the_one_of_every_handler(lines: io.StringIO) -> None:
    set_up(stream=lines)
    handlers = [*logging.getLogger().handlers, *logging.getLogger("dbos").handlers]
    assert handlers
    assert all(isinstance(handler.formatter, Redacting) for handler in handlers)


# -- approve X, run Y --------------------------------------------------------------------------------------------


def altered(plan: Plan, **changes: Any) -> dict[str, Any]:
    stored = plan.model_dump(mode="json")
    stored["steps"][0].update(changes)
    return stored


@pytest.mark.parametrize("when", ["while it waits", "after the approval", "while it is parked"])
@pytest.mark.parametrize(
    "change", [{"resources": [SUBNETS[99]]}, {"value": "owned"}, {"actions": []}, {"account": "production"}], ids=str
)
def test_approve_x_run_y_by_a_changed_row_is_stopped(bot: Bot, change: dict[str, Any], when: str) -> None:
    """The steps that run are those whose fingerprint was approved, or none."""
    request = bot.waiting()
    tampering = sa.update(tables.requests).values(plan=altered(bot.workshop.plan_now, **change))
    if when == "while it waits":
        bot.execute(tampering)
    try:
        bot.approve(request)
    except Refused:
        return
    if when == "after the approval":
        bot.execute(tampering)
    elif when == "while it is parked":
        mine = bot.requests.claim(request.id, 1)
        assert mine is not None
        bot.requests.start(mine)
        bot.requests.end(mine, State.PARKED, lambda _: Note(text="parked"))
        bot.execute(tampering)
        bot.requests.resume(request.id, DEV)
        bot.queue.runs[:1] = []
    state = bot.run(request)
    assert bot.workshop.acted == []
    assert state is not State.SUCCEEDED


def test_approve_x_run_y_by_changed_arguments_is_stopped(bot: Bot) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.execute(sa.update(tables.requests).values(arguments={"cluster": "production"}))
    assert bot.run(request) in (State.PLANNING, State.FAILED)
    assert bot.workshop.acted == []


def test_approve_x_run_y_by_a_changed_world_is_stopped(bot: Bot) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.workshop.plan_now = make_plan(facts=())
    assert bot.run(request) == State.PLANNING
    assert (bot.workshop.acted, bot.queue.plans[-1]) == ([], (request.id, 2))
    with pytest.raises(Refused):
        bot.approve(request, SECOND)


def test_approve_x_run_y_by_an_old_button_is_refused(bot: Bot) -> None:
    request = bot.waiting()
    bot.requests.look_again(request.id, DEV)
    bot.requests.planned(request.id, 2, make_plan(facts=()), make_needs())
    with pytest.raises(Refused, match="has changed since this button"):
        bot.approve(request)
    for seal in ("", ":", "%", "0" * 16):
        with pytest.raises(Refused):
            bot.requests.vote(request.id, seal, FIRST, True, lambda *_: True)
    assert bot.count(tables.votes) == 0


def test_approve_x_run_y_by_votes_on_another_plan_is_stopped(bot: Bot) -> None:
    """Votes count by plan number and fingerprint: a plan that drifts away and back starts without any."""
    request = bot.waiting()
    bot.requests.vote(request.id, (request.fingerprint or "")[:16], FIRST, True, lambda *_: False)
    for number, plan in ((2, make_plan(facts=())), (3, bot.workshop.plan_now)):
        bot.requests.look_again(request.id, DEV)
        bot.requests.planned(request.id, number, plan, make_needs())
    assert bot.get(request.id).fingerprint == request.fingerprint
    assert bot.requests.snapshot(request.id).votes == ()


# -- stale approval ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "state"), [(-1, State.APPROVED), (0, State.EXPIRED), (1, State.EXPIRED)])
def test_stale_approval_is_refused_by_the_clock(bot: Bot, late: float, state: State) -> None:
    request = bot.waiting()
    bot.now = NOW + 100 + late
    if state is State.EXPIRED:
        with pytest.raises(Refused, match="has expired"):
            bot.approve(request)
    else:
        bot.approve(request)
    assert bot.get(request.id).state is state
    assert bool(bot.queue.runs) is (state is State.APPROVED)


@pytest.mark.parametrize(("late", "state"), [(-1, State.SUCCEEDED), (0, State.EXPIRED), (1, State.EXPIRED)])
def test_stale_approval_starts_no_run(bot: Bot, late: float, state: State) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.now = NOW + 50 + late
    assert bot.run(request) is state
    assert bool(bot.workshop.acted) is (state is State.SUCCEEDED)


@pytest.mark.parametrize(("late", "swept"), [(-1, False), (0, True), (1, True)])
def test_stale_approval_is_swept(bot: Bot, late: float, swept: bool) -> None:
    request = bot.waiting()
    bot.now = NOW + 100 + late
    assert bot.requests.sweep() == ([request.id] if swept else [])
    assert bot.requests.sweep() == []


def test_stale_approval_is_not_revived_by_looking_again(bot: Bot) -> None:
    """The sweep only makes visible what the clock has decided."""
    request = bot.waiting()
    bot.now = NOW + 101
    with pytest.raises(Refused):
        bot.requests.look_again(request.id, DEV)
    assert bot.get(request.id).state is State.EXPIRED


@pytest.mark.parametrize("action", ["approve", "deny", "again"])
def test_stale_approval_is_told_to_the_one_who_clicked(bot: Bot, action: str) -> None:
    """The click expires the request, and whoever clicked must not be left without a word."""
    request = bot.waiting()
    bot.now = NOW + 101
    bot.click(action, FIRST, f"{request.id}:{(request.fingerprint or '')[:16]}")
    bot.answer_all()
    assert bot.get(request.id).state is State.EXPIRED
    box = tables.outbox.c
    told = bot.rows(sa.select(box.body).where(box.kind == "whisper", box.person == FIRST))
    assert len(told) == 1
    assert "has expired" in told[0].body["text"]


# -- double-click race -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("people", [1, 50])
def test_double_click_race_is_one_transition(bot: Bot, people: int) -> None:
    request = bot.waiting()
    start = threading.Barrier(50)

    def click(number: int) -> str:
        start.wait()
        try:
            return str(bot.approve(request, f"U{number % people:09d}"))
        except Refused as refusal:
            return f"refused: {refusal}"

    with ThreadPoolExecutor(50) as pool:
        said = list(pool.map(click, range(50)))
    assert said.count("approved") == 1
    assert all("approved by <@U" in words for words in said if words != "approved"), said
    assert (bot.count(tables.votes), bot.queue.runs) == (1, [(request.id, 1)])


def test_double_click_race_of_approve_and_deny_has_one_end(bot: Bot) -> None:
    for turn in range(10):
        request = bot.waiting(invocation=f"race {turn}")
        start = threading.Barrier(2)

        def cast(approve: bool, request: Request = request, start: threading.Barrier = start) -> str:
            start.wait()
            try:
                seal = (request.fingerprint or "")[:16]
                return str(bot.requests.vote(request.id, seal, FIRST if approve else SECOND, approve, lambda *_: True))
            except Refused:
                return "refused"

        with ThreadPoolExecutor(2) as pool:
            said = set(pool.map(cast, (True, False)))
        assert said in ({"approved", "refused"}, {"denied", "refused"})


# -- self-approval, strangers, shared channels, forged cards -----------------------------------------------------


def votes_by_click(bot: Bot, user: str, *, value: str = "", ts: str = "100.1") -> int:
    request = bot.waiting()
    bot.click("approve", user, value or f"{request.id}:{(request.fingerprint or '')[:16]}", ts)
    bot.answer_all()
    return bot.count(tables.votes)


def test_self_approval_is_refused(bot: Bot) -> None:
    assert votes_by_click(bot, DEV) == 0
    assert "somebody else has to approve" in " ".join(bot.said()[0].bullets)


def test_self_approval_by_a_second_account_is_refused(bot: Bot) -> None:
    bot.people.known = {DEV: Person(DEV, "member", email="a@x"), SECOND: Person(SECOND, "member", email="A@X")}
    assert votes_by_click(bot, SECOND) == 0


@pytest.mark.parametrize("kind", ["guest", "stranger", "foreign", "bot", "deactivated"])
def test_guest_or_stranger_is_refused(bot: Bot, kind: Any) -> None:
    bot.people.known = {FIRST: Person(FIRST, kind)}
    assert votes_by_click(bot, FIRST) == 0


def test_nobody_counts_when_slack_does_not_say_who_they_are(bot: Bot) -> None:
    bot.people.silent = True
    assert votes_by_click(bot, FIRST) == 0


def test_slack_connect_channel_refuses_changes(bot: Bot) -> None:
    bot.people.shared = True
    assert votes_by_click(bot, FIRST) == 0
    bot.command()
    bot.answer_all()
    assert bot.count(tables.requests) == 1


def test_a_channel_that_became_shared_stops_the_run(bot: Bot) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.people.shared = True
    assert bot.run(request) is State.FAILED
    assert bot.workshop.acted == []


def test_an_approver_who_left_before_the_run_does_not_count(bot: Bot) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.people.known = {FIRST: Person(FIRST, "deactivated")}
    assert bot.run(request) is State.FAILED
    assert bot.workshop.acted == []


def test_bot_impersonating_by_a_message_with_the_same_button_is_refused(bot: Bot) -> None:
    assert votes_by_click(bot, FIRST, ts="666.6") == 0
    assert "does not belong to a request" in bot.said()[0].text


@pytest.mark.parametrize("value", ["", ":", "r-999999:abc", "' OR 1=1 --:x", "r-000001", "r-000001:", "r-000001:%"])
def test_a_forged_button_value_is_refused(bot: Bot, value: str) -> None:
    assert votes_by_click(bot, FIRST, value=value or " ") == 0


def test_an_unknown_action_does_nothing(bot: Bot) -> None:
    request = bot.waiting()
    bot.click("explode", FIRST, f"{request.id}:{(request.fingerprint or '')[:16]}")
    bot.answer_all()
    assert bot.get(request.id).state is State.AWAITING


def test_confused_deputy_needs_both_the_right_place_and_the_right_person(tmp_path: Path) -> None:
    bot = Bot(tmp_path, (RULES[0].model_copy(update={"channels": ("C2",)}),))
    bot.command()
    bot.command(user=FIRST, trigger="2")
    bot.answer_all()
    assert bot.count(tables.requests) == 0
    bot.store.close()


def test_settings_deny_by_default(tmp_path: Path) -> None:
    bot = Bot(tmp_path, ())
    bot.command()
    bot.answer_all()
    assert bot.count(tables.requests) == 0
    request = bot.waiting()
    bot.click("approve", FIRST, f"{request.id}:{(request.fingerprint or '')[:16]}")
    bot.answer_all()
    assert bot.count(tables.votes) == 0
    bot.approve(request)
    assert bot.run(request) is State.FAILED
    assert bot.workshop.acted == []
    bot.store.close()


# -- session too wide --------------------------------------------------------------------------------------------


def test_session_too_wide_is_prevented_by_giving_each_run_its_own_actions(bot: Bot) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.run(request)
    assert bot.workshop.rights == [bot.workshop.plan_now.steps[0].actions]


# -- poisoned stored row -----------------------------------------------------------------------------------------

PICKLE = "gASVIQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "shell"}, {"kind": "pickle", "data": PICKLE}, {"py/object": "os.system"}, {"resources": PICKLE},
        {"before": {"__reduce__": ["os.system", ["id"]]}, "extra": 1},
    ],
    ids=str,
)  # fmt: skip
def test_poisoned_stored_step_is_not_carried_out(bot: Bot, change: dict[str, Any]) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.execute(sa.update(tables.requests).values(plan=altered(bot.workshop.plan_now, **change)))
    assert bot.run(request) in (State.FAILED, State.PARKED, State.PLANNING)
    assert bot.workshop.acted == []


@pytest.mark.parametrize("plan", [{"nonsense": 1}, {}, [], PICKLE, {"steps": [PICKLE]}], ids=str)
def test_poisoned_stored_plan_ends_in_words(bot: Bot, plan: Any) -> None:
    request = bot.waiting()
    bot.approve(request)
    bot.execute(sa.update(tables.requests).values(plan=plan))
    assert bot.run(request) in FINAL | {State.PARKED}
    assert bot.workshop.acted == []
    cards.card(bot.requests.snapshot(request.id), 1)


def test_poisoned_stored_invocation_does_not_end_the_thread(bot: Bot) -> None:
    """Every worker of the front pool takes it up again and again: it must be answered or set aside, never raise."""
    bot.command()
    bot.execute(sa.update(tables.invocations).values(body={"py/object": "os.system", "kind": "command"}))
    bot.front.handle(bot.keys[0])
    assert bot.count(tables.requests) == 0


def test_poisoned_stored_note_does_not_stop_the_outbox(bot: Bot) -> None:
    request = bot.waiting()
    bot.execute(sa.update(tables.requests).values(needs={"py/object": "x"}))
    stub = SlackStub()
    other = bot.waiting(invocation="other").id
    outbox = Outbox(bot.store, WebClient(token="xoxb-none", base_url=stub.url), executor="x", clock=lambda: NOW)
    outbox.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(other in json.dumps(body) for _, body in stub.calls):
        time.sleep(0.02)
    outbox.stop()
    stub.server.shutdown()
    stub.server.server_close()
    assert any(other in json.dumps(body) for _, body in stub.calls)
    assert bot.get(request.id).state is State.AWAITING


def test_no_module_unpickles() -> None:
    import bot as bot_package
    import handlers as handlers_package

    for package in (bot_package, handlers_package):
        for path in Path(package.__path__[0]).rglob("*.py"):
            text = path.read_text()
            for word in ("import pickle", "yaml.load(", "eval(", "exec(", "shell=True", "os.system", "jsonpickle"):
                assert word not in text, (path, word)


# -- importing does nothing --------------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, pkgutil, sys, threading
seen = []
WRITES = ("w", "a", "x", "+")
def by_library():
    frame = sys._getframe(2)
    while frame is not None:
        if "site-packages" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
def watch(event, args):
    if event in ("socket.bind", "subprocess.Popen") and by_library():
        return  # urllib3 tries whether IPv6 is there; a library asks `file` what machine this is
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen",
                 "os.system",
                 "os.mkdir", "os.rename", "os.remove", "os.putenv", "os.fork", "sqlite3.connect"):
        seen.append((event, str(args)[:200]))
    elif event == "open" and isinstance(args[1], str) and any(sign in args[1] for sign in WRITES):
        seen.append((event, str(args)[:200]))
sys.addaudithook(watch)
names = []
for package in ("handlers", "bot", "sandbox", "manifests"):
    names.append(package)
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        names.append(module.name)
for name in names:
    before = len(seen)
    importlib.import_module(name)
    for what in seen[before:]:
        print("DID", name, what)
extra = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
if extra:
    print("DID start threads", extra)
print("IMPORTED", len(names))
"""


def test_importing_every_module_with_an_empty_environment_does_nothing(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{IMPORT_ALL}"],
        capture_output=True, text=True, timeout=180, check=False, cwd=tmp_path, env={},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "DID" not in done.stdout, done.stdout
    assert done.stderr == ""
    assert int(done.stdout.split()[-1]) > 40
    assert list(tmp_path.iterdir()) == []
