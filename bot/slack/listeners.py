"""What Slack delivers, to stored invocations: one commit, then the ack. No look-up, no waiting, no cloud call here.

Listeners run inline (`process_before_response`): Bolt's default polls for the ack every 10 ms, and its pool of five
threads loses commands when they are busy. What was filled into a form is read here, because Slack shows mistakes in the
form only when they come with the ack; reading it needs nothing but the operations' argument models.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from slack_bolt import Ack, App, BoltContext, BoltResponse
from slack_bolt.authorization import AuthorizeResult

from bot import tables
from bot.forms import read
from bot.invocation import Invocation
from bot.slack.forms import ASK, REASON, filled_in, metadata
from bot.slack.payloads import from_click, from_command, from_form, from_mention, from_shortcut
from bot.store import Store, StoreUnavailable
from handlers.contract import Spoken

log = logging.getLogger(__name__)
FULL = "tkgbot could not store this, so nothing was done. Please try again in a minute."
QUIET = 0.02
COMMANDS = re.compile(r"^/tkg(-[a-z]+)?$")
ACTIONS = re.compile(r"^tkg:[a-z]+(:[0-9]+)?$")
SHORTCUTS = re.compile(r"^tkg:(mine|about)$")
VIEWS = re.compile(r"^tkg:(ask|deny)$")
LONGEST_ERROR = 200
Operations = Mapping[str, Spoken[Any]]


class Intake:
    """Stores invocations and says which are new. `on_new` is told the key after the commit.

    Slack's three seconds run while something is being stored here, so everything that can wait a moment asks `let_pass`
    before it begins a piece of work. What is not being stored `within` so many seconds is refused.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time, within: float = 2.0) -> None:
        self.store = store
        self.within = within
        self.clock = clock
        self.on_new: Callable[[str], None] = lambda key: None
        self.on_acked: Callable[[str, str, float], None] = lambda kind, outcome, seconds: None
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
        """Stores it; False when it was there already. Raises StoreUnavailable. `on_acked` is told the kind, what became
        of it and how long it took: what follows until the ack is out takes no time to speak of."""
        began = time.perf_counter()
        row = {
            "key": invocation.key,
            "kind": invocation.kind,
            "body": invocation.model_dump(mode="json"),
            "received_at": self.clock(),
        }

        self._count(1)
        outcome = "failed"
        try:
            new = self.store.insert_new(tables.invocations, row, self.within)
            outcome = "new" if new else "again"
        finally:
            self._count(-1)
            self.on_acked(invocation.kind, outcome, time.perf_counter() - began)
        if new:
            self.on_new(invocation.key)
        return new


def make_app(
    intake: Intake,
    operations: Operations,
    *,
    bot_token: str,
    team: str,
    bot_id: str,
    bot_user: str,
    app_id: str = "",
    signing_secret: str = "",
) -> App:
    """A Bolt app whose listeners store and ack. `team` is the one workspace; who the bot is was asked once, at start,
    so that no delivery waits for Slack. Where `app_id` is known, what is meant for another app is refused."""

    def authorize(**_: Any) -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=None, team_id=team, bot_token=bot_token, bot_id=bot_id, bot_user_id=bot_user
        )

    # Socket Mode carries no signatures, and Bolt wants this not to be blank.
    # Without a name it looks for the file that calls it, through every module that is loaded.
    app = App(
        name="tkgbot", authorize=authorize, process_before_response=True, signing_secret=signing_secret or "unused"
    )

    @app.middleware
    def only_ours(body: dict[str, Any], next: Callable[[], BoltResponse]) -> BoltResponse:
        meant_for = body.get("api_app_id")
        if app_id and meant_for and meant_for != app_id:
            log.error("a delivery for the app %s was refused", str(meant_for)[:20])
            return BoltResponse(status=403)
        return next()

    @app.command(COMMANDS)
    def command(ack: Ack, body: dict[str, Any]) -> None:
        _store(intake, from_command(body), ack)

    @app.action(ACTIONS)
    def click(ack: Ack, body: dict[str, Any], context: BoltContext) -> None:
        _store(intake, from_click(body), ack)

    @app.shortcut(SHORTCUTS)
    def shortcut(ack: Ack, body: dict[str, Any]) -> None:
        _store(intake, from_shortcut(body), ack)

    @app.view(VIEWS)
    def form(ack: Ack, body: dict[str, Any]) -> None:
        mistakes = mistakes_in(body["view"], operations)
        if mistakes:
            ack(response_action="errors", errors=mistakes)
        else:
            _store(intake, from_form(body), ack)

    @app.event("app_mention")
    def mention(ack: Ack, body: dict[str, Any]) -> None:
        event = body["event"]
        if event.get("bot_id") or event.get("subtype") or not event.get("user"):
            ack()  # another app's words are nobody's wish
        else:
            _store(intake, from_mention(body), ack)

    return app


def mistakes_in(shown: Mapping[str, Any], operations: Operations) -> dict[str, str]:
    """What is wrong in a submitted form, by field, as Slack shows it in place. Pure."""
    given = filled_in(shown)
    if shown.get("callback_id") != ASK:
        empty = not str(given.get(REASON) or "").strip()
        return {REASON: "Please say why, so that the one who asked can do better."} if empty else {}
    operation = operations.get(metadata(shown).get("operation", ""))
    if operation is None:  # a form of another version: the front says so
        return {}
    found = read(operation, given)
    return {name: text[:LONGEST_ERROR] for name, text in found.items()} if isinstance(found, dict) else {}


def _store(intake: Intake, invocation: Invocation, ack: Ack) -> None:
    try:
        intake.accept(invocation)
    except StoreUnavailable as error:
        log.error("an invocation could not be stored: %s", error)
        if invocation.kind == "command":
            ack(response_type="ephemeral", text=f"{FULL}\nYou typed: {invocation.command} {invocation.text}"[:2_900])
        if invocation.kind == "form":
            ack(response_action="errors", errors={next(iter(invocation.given), REASON): FULL})
        # A click or a shortcut that was not stored is not acked: Slack then shows the person that it failed. A mention
        # comes again.
        return
    ack()
