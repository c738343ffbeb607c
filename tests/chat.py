"""The bot between Slack's payloads and its outbox, as people in several channels use it: no processes, no waiting.

Slack's side is told by hand: who is who, where the bot is, what became of a modal. The clock stands still until it is
moved.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from slack_bolt import BoltRequest, BoltResponse

from bot import tables
from bot.directory import NotInChannel
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Need, Needs, Place, Rule, Who
from bot.records import Draft, Request
from bot.screens import Screen
from bot.slack.forms import view
from handlers.contract import Inverse, Outcome, Plan
from handlers.workshop import discover
from tests.security.test_threats import CHANNEL, DEV, FIRST, SECOND, TEAM, Bot
from tests.unit.makers import SUBNETS, make_needs

__all__ = ["CHANNEL", "DEV", "FIRST", "OTHER", "SECOND", "TEAM", "THIRD", "Chat", "Modal", "bullets", "text_of"]

OTHER = "C2"
THIRD = "UTHIRD0001"
NEEDS = make_needs(
    each=(Need(rule="all", approvals=1, approve=Who(users=(FIRST, SECOND)), requester_counts=False),),
    request_ttl=100.0,
    approval_ttl=50.0,
)
RULES = (
    Rule(
        name="all", operations=("subnet *",), ask=Who(users=(DEV, FIRST)), approve=Who(users=(FIRST, SECOND)),
        request_ttl=100, approval_ttl=50,
    ),
)  # fmt: skip


@dataclass
class Modal:
    """One modal as its person sees it: what it showed, the newest last."""

    trigger: str
    screens: list[Screen] = field(default_factory=list)

    @property
    def now(self) -> Screen:
        """What it shows."""
        return self.screens[-1]


class Chat(Bot):
    """People talking to the bot. `fail_open` and `fail_replace` are what Slack answers to the next modals."""

    def __init__(self, folder: Path, rules: tuple[Rule, ...] = RULES) -> None:
        super().__init__(folder, rules)
        self.modals: dict[str, Modal] = {}
        self.fail_open: Exception | None = None
        self.fail_replace: Exception | None = None
        self.closed: set[str] = set()
        self.absent: set[str] = set()
        self.shared: set[str] = set()
        self.number = itertools.count(1)
        self.screens.open = self._open  # type: ignore[method-assign]
        self.screens.replace = self._replace  # type: ignore[method-assign]
        self.people.place = self._place  # type: ignore[method-assign]
        object.__setattr__(self.front.asking, "inverse", self._inverse)

    def use(self, rules: tuple[Rule, ...]) -> None:
        """Other rules from now on."""
        object.__setattr__(self.front.asking.people, "rules", rules)
        object.__setattr__(self.work, "rules", rules)

    # -- Slack's side --------------------------------------------------------------------------------------------

    def _open(self, trigger: str, screen: Screen) -> str:
        if self.fail_open is not None:
            raise self.fail_open
        name = f"V{len(self.modals) + 1}"
        self.modals[name] = Modal(trigger, [screen])
        return name

    def _replace(self, name: str, screen: Screen) -> None:
        if self.fail_replace is not None:
            raise self.fail_replace
        if name not in self.closed:
            self.modals[name].screens.append(screen)

    def _place(self, channel: str) -> Place:
        if channel in self.absent or not channel:
            raise NotInChannel(f"tkgbot is not in the channel {channel}.")
        return Place(channel, channel in self.shared, channel.startswith("D"))

    def _inverse(self, operation: str, arguments: dict[str, Any], plan: Plan, touched: Sequence[int]) -> Inverse | None:
        back = {"subnet tag": "subnet untag", "subnet untag": "subnet tag"}[operation]
        known = {**arguments, "subnets": list(plan.steps[0].before) or [SUBNETS[0]]}
        fields = discover()[back].arguments.model_fields
        return Inverse(operation=back, arguments={k: v for k, v in known.items() if k in fields}) if touched else None

    def answer_all(self) -> None:
        """What was stored is answered; reports are waited for."""
        while self.keys:
            later = self.front.handle(self.keys.pop(0))
            if later is not None:
                later.result(10)

    # -- what people do ------------------------------------------------------------------------------------------

    def type(self, text: str, user: str = DEV, channel: str = CHANNEL, command: str = "/tkg") -> list[Note]:
        """Somebody types a command; what they are told."""
        trigger = f"t{next(self.number)}"
        return self._told(user, {
            "team_id": TEAM, "user_id": user, "channel_id": channel, "command": command, "text": text,
            "trigger_id": trigger, "response_url": f"https://hooks.slack.com/commands/{trigger}", "api_app_id": "A1",
        })  # fmt: skip

    def press(self, action: str, request: Request, user: str = FIRST, **more: str) -> list[Note]:
        """Somebody clicks a button of a request's card; what they are told."""
        value = more.get("value", f"{request.id}:{(self.get(request.id).fingerprint or '')[:16]}")
        place = {"channel_id": request.channel, "message_ts": more.get("ts", self.card_of(request.id))}
        return self._told(user, {
            "type": "block_actions", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM},
            "channel": {"id": request.channel}, "container": {"type": "message", **place},
            "trigger_id": f"t{next(self.number)}", "actions": [self._action(f"tkg:{action}", value)],
            "response_url": "https://hooks.slack.com/actions/T1/1/1", "api_app_id": "A1",
        })  # fmt: skip

    def press_in(self, name: str, action: str, value: str, user: str = DEV, **view_changes: Any) -> list[Note]:
        """Somebody presses a button in a modal; what they are told."""
        shown = {**view(self.modals[name].now), "id": name, "hash": "h", "app_id": "A1", **view_changes}
        return self._told(user, {
            "type": "block_actions", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM}, "view": shown,
            "container": {"type": "view", "view_id": name}, "trigger_id": f"t{next(self.number)}",
            "actions": [self._action(f"tkg:{action}", value)], "api_app_id": "A1",
        })  # fmt: skip

    def _action(self, action: str, value: str) -> dict[str, str]:
        at = f"{next(self.number)}.0"
        return {"type": "button", "action_id": action, "block_id": "b", "value": value, "action_ts": at}

    def send(self, name: str, user: str = DEV, *, again: bool = False, **given: str | bool) -> dict[str, Any]:
        """Somebody sends the form that a modal shows, filled in by field; what came with the ack."""
        shown = view(self.modals[name].now)
        return self.send_view(shown, user, name=name, mark="h" if again else f"h{next(self.number)}", **given)

    def send_view(
        self, shown: dict[str, Any], user: str = DEV, *, name: str = "V99", mark: str = "h", **given: str | bool
    ) -> dict[str, Any]:
        """As `send`, for any view."""
        whole = {**shown, "id": name, "hash": mark, "app_id": "A1", "state": {"values": _values(shown, given)}}
        body = {
            "type": "view_submission", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM}, "view": whole,
            "api_app_id": "A1",
        }  # fmt: skip
        answer: BoltResponse = self.app.dispatch(BoltRequest(body=body, mode="socket_mode"))
        assert answer.status == 200, answer
        return json.loads(answer.body) if answer.body else {}

    def tell(self, name: str, user: str = DEV, **given: str | bool) -> list[Note]:
        """Sends a form without a mistake; what the person is told."""
        before = self._rows(user)
        assert self.send(name, user, **given) == {}
        self.answer_all()
        return self._new(user, before)

    def say(self, text: str, user: str = DEV, channel: str = CHANNEL, thread: str = "", **event: Any) -> list[Note]:
        """Somebody writes a message that mentions the bot; what they are told."""
        ts = f"{next(self.number)}.5"
        words = {"type": "app_mention", "user": user, "text": text, "ts": ts, "channel": channel, "team": TEAM}
        more = {"thread_ts": thread} if thread else {}
        return self._told(user, {
            "type": "event_callback", "team_id": TEAM, "api_app_id": "A1", "event_id": f"Ev{ts}",
            "event": {**words, **more, **event},
        })  # fmt: skip

    def _told(self, user: str, body: dict[str, Any]) -> list[Note]:
        before = self._rows(user)
        assert self.deliver(body) == 200, body
        self.answer_all()
        return self._new(user, before)

    # -- what is there -------------------------------------------------------------------------------------------

    def _rows(self, user: str) -> dict[str, Any]:
        box = tables.outbox.c
        return {row.key: row for row in self.rows(sa.select(tables.outbox).where(box.person == user))}

    def _new(self, user: str, before: dict[str, Any]) -> list[Note]:
        new = {key: row for key, row in self._rows(user).items() if key not in before}
        return [Note.model_validate(new[key].body) for key in sorted(new)]

    def outbox(self, kind: str, request: str = "") -> list[Any]:
        """The rows of one kind, in their order."""
        box = tables.outbox.c
        query = sa.select(tables.outbox).where(box.kind == kind).order_by(box.seq, box.key)
        return [row for row in self.rows(query) if not request or row.request == request]

    def thread(self, request: Request) -> list[Note]:
        """What is said in a request's thread."""
        return [Note.model_validate(row.body) for row in self.outbox("thread", request.id)]

    def requests_now(self) -> list[Request]:
        """Every request, the oldest first."""
        query = sa.select(tables.requests.c.id).order_by(tables.requests.c.created_at, tables.requests.c.id)
        return [self.get(row.id) for row in self.rows(query)]

    def card_of(self, request: str) -> str:
        """Where a request's card stands."""
        found = self.rows(sa.select(tables.outbox.c.ts).where(tables.outbox.c.key == f"{request}:card"))
        return str(found[0].ts)

    # -- requests in any state -----------------------------------------------------------------------------------

    def ask(
        self, user: str = DEV, channel: str = CHANNEL, operation: str = "subnet tag", cluster: str = "demo"
    ) -> Request:
        """A request whose card stands in its channel."""
        number = next(self.number)
        self.now += 0.01
        arguments = {"cluster": cluster, "subnets": [SUBNETS[0]], "account": "management", "region": "us-east-1"}
        draft = Draft(
            invocation=f"i{number}", operation=operation, arguments=arguments, command=f"/tkg {operation} {cluster}",
            team=TEAM, channel=channel, requester=user,
        )  # fmt: skip
        name = self.requests.submit(draft)
        self.execute(sa.update(tables.outbox).where(tables.outbox.c.key == f"{name}:card").values(ts=f"{number}.1"))
        return self.get(name)

    def wait_for_approval(
        self, plan: Plan | None = None, needs: Needs = NEEDS, request: Request | None = None, **asked: str
    ) -> Request:
        """A request that waits for approval."""
        found = request or self.ask(**asked)
        self.requests.planned(found.id, found.plan_no, plan or self.workshop.plan_now, needs)
        return self.get(found.id)

    def start(self, request: Request | None = None, **asked: str) -> Request:
        """A request that runs, before its first step."""
        found = request or self.wait_for_approval(**asked)
        assert self.approve(found) == State.APPROVED
        self.queue.runs.pop()
        mine = self.requests.claim(found.id, self.get(found.id).run_no)
        assert mine is not None
        self.requests.lease(mine)
        return self.requests.start(mine)

    def step(self, mine: Request, *, changed: bool = True) -> None:
        """Its first step is done."""
        self.requests.begin_step(mine, 0)
        self.requests.end_step(mine, 0, Outcome(changed=changed, evidence="done"))

    def finish(self, state: State = State.SUCCEEDED, *, changed: bool | None = True, **asked: str) -> Request:
        """A request whose run ended so; with `changed` None, before its first step."""
        mine = self.start(**asked)
        if changed is not None:
            self.step(mine, changed=changed)
        self.requests.end(mine, state, lambda _: Note(text=f"It {state}."))
        return self.get(mine.id)


def _values(shown: dict[str, Any], given: dict[str, str | bool]) -> dict[str, Any]:
    """A view's state when it is sent: as it was shown, but for what was given."""
    found: dict[str, Any] = {}
    for block in shown["blocks"]:
        if block["type"] != "input":
            continue
        name, element = block["block_id"], block["element"]
        state: dict[str, Any] = {"type": element["type"]}
        if element["type"] == "checkboxes":
            on = given.get(name, bool(element.get("initial_options")))
            state["selected_options"] = element["options"] if on else []
        elif element["type"] == "static_select":
            chosen = [option for option in element["options"] if option["value"] == given.get(name)]
            state["selected_option"] = chosen[0] if chosen else element.get("initial_option")
        else:
            state["value"] = given.get(name, element.get("initial_value"))
        found[name] = {element["action_id"]: state}
    return found


def text_of(notes: Sequence[Note]) -> str:
    """Everything that notes say."""
    return "\n".join("\n".join((note.text, *note.bullets, *note.facts, note.code)) for note in notes)


def bullets(notes: Sequence[Note]) -> list[str]:
    """The bullets of notes."""
    return [bullet for note in notes for bullet in note.bullets]
