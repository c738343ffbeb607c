"""What Slack delivers, to stored invocations: one commit, then the ack. No look-up, no waiting, no cloud call here.

Listeners run inline (`process_before_response`): Bolt's default polls for the ack every 10 ms, and its pool of five
threads loses commands when they are busy. De-duplication is by what Slack gives (a command's trigger id; a click's
message, action timestamp and user), because a delivery may come twice and its retry headers cannot be relied on.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from slack_bolt import Ack, App, BoltContext
from slack_bolt.authorization import AuthorizeResult

from bot import tables
from bot.invocation import Invocation
from bot.store import Store, StoreUnavailable

log = logging.getLogger(__name__)
FULL = "tkgbot could not store this, so nothing was done. Please try again in a minute."
QUIET = 0.02
COMMANDS = re.compile(r"^/tkg(-[a-z]+)?$")
ACTIONS = re.compile(r"^tkg:[a-z]+$")


class Intake:
    """Stores invocations and says which are new. `on_new` is told the key after the commit.

    Slack's three seconds run while something is being stored here, so everything that can wait a moment asks `let_pass`
    before it begins a piece of work.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        self.on_new: Callable[[str], None] = lambda key: None
        self._lock = threading.Lock()
        self._arriving = 0
        self._last = float("-inf")
        self._calm = threading.Event()
        self._calm.set()

    def let_pass(self, longest: float = 0.25) -> None:
        """Returns when nothing has been stored for QUIET seconds, or after `longest`: under load, work that can wait is
        slowed and not stopped."""
        ends = time.monotonic() + longest
        while (left := ends - time.monotonic()) > 0:
            if not self._calm.wait(left):
                return
            quiet = QUIET - (time.monotonic() - self._last)
            if quiet <= 0:
                return
            time.sleep(min(quiet, left))

    def _count(self, change: int) -> None:
        with self._lock:
            self._arriving += change
            self._last = time.monotonic()
            if self._arriving:
                self._calm.clear()
            else:
                self._calm.set()

    def accept(self, invocation: Invocation) -> bool:
        """Stores it; False when it was there already. Raises StoreUnavailable."""
        row = {
            "key": invocation.key,
            "kind": invocation.kind,
            "body": invocation.model_dump(mode="json"),
            "received_at": self.clock(),
        }

        self._count(1)
        try:
            new = self.store.insert_new(tables.invocations, row)
        finally:
            self._count(-1)
        if new:
            self.on_new(invocation.key)
        return new


def make_app(intake: Intake, *, bot_token: str, team: str, bot_id: str, bot_user: str) -> App:
    """A Bolt app whose listeners store and ack. `team` is the one workspace; who the bot is was asked once, at start,
    so that no delivery waits for Slack."""

    def authorize(**_: Any) -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=None, team_id=team, bot_token=bot_token, bot_id=bot_id, bot_user_id=bot_user
        )

    # Socket Mode carries no signatures, and Bolt wants this not to be blank.
    app = App(authorize=authorize, process_before_response=True, signing_secret="unused")  # noqa: S106

    @app.command(COMMANDS)
    def command(ack: Ack, body: dict[str, Any]) -> None:
        _store(intake, from_command(body), ack)

    @app.action(ACTIONS)
    def click(ack: Ack, body: dict[str, Any], context: BoltContext) -> None:
        _store(intake, from_click(body), ack)

    return app


def _store(intake: Intake, invocation: Invocation, ack: Ack) -> None:
    try:
        intake.accept(invocation)
    except StoreUnavailable as error:
        log.error("an invocation could not be stored: %s", error)
        if invocation.kind == "command":
            ack(response_type="ephemeral", text=f"{FULL}\nYou typed: {invocation.command} {invocation.text}"[:2_900])
        # A click that was not stored is not acked: Slack then shows the person that it failed.
        return
    ack()


def from_command(body: dict[str, Any]) -> Invocation:
    """A slash command's payload (docs.slack.dev/interactivity/implementing-slash-commands)."""
    return Invocation(
        key=f"command:{body['team_id']}:{body['trigger_id']}",
        kind="command",
        team=body["team_id"],
        person=body["user_id"],
        person_team=body["team_id"],
        channel=body["channel_id"],
        response_url=body.get("response_url"),
        command=body["command"],
        text=body.get("text") or "",
    )


def from_click(body: dict[str, Any]) -> Invocation:
    """A button's block_actions payload (docs.slack.dev/reference/interaction-payloads/block_actions-payload)."""
    action, user = body["actions"][0], body["user"]
    channel = (body.get("channel") or {}).get("id") or body["container"].get("channel_id", "")
    ts = body["container"].get("message_ts", "")
    return Invocation(
        key=f"click:{channel}:{ts}:{action['action_ts']}:{user['id']}:{action['action_id']}",
        kind="click",
        team=(body.get("team") or {}).get("id") or "",
        person=user["id"],
        person_team=user.get("team_id") or "",
        channel=channel,
        response_url=body.get("response_url"),
        action=action["action_id"].removeprefix("tkg:"),
        value=str(action.get("value") or ""),
        message_ts=ts,
    )
