"""The bot, made to die at a counted moment: `python -m tests.durability.killable` is `tkgbot run` with patches.

Counted are, from the first delivery that finds an order in `KILLABLE_ORDERS` on: commits that change something (the
bot's and dbos's), requests to AWS, and what is sent to Slack, each before and after. Every moment is a line of the
file that the order names; the ordered one is marked there, and the process ends itself with SIGKILL.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from botocore.httpsession import URLLib3Session
from slack_sdk import WebClient, WebhookClient
from slack_sdk.socket_mode.builtin import SocketModeClient
from sqlalchemy.engine.default import DefaultDialect

import bot.app
from bot.__main__ import main
from bot.engine import EngineSettings
from bot.slack.listeners import Intake
from bot.slack.outbox import Outbox

CHANGE = re.compile(r'^\s*(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM)\s+([\w".]+)', re.IGNORECASE)
NOBODYS = {"replicas", "dbos_migrations", "application_versions", "queues"}
"""Tables that no request changes: the heartbeat, and what dbos writes at a start."""


class Moments:
    """Counts moments and ends the process at the ordered one. Nothing is counted before an order was found."""

    def __init__(self, orders: Path) -> None:
        self.orders = orders
        self.counts: Counter[str] = Counter()
        self.kill: list[Any] | None = None
        self.log: int | None = None
        self.lock = threading.Lock()

    def look(self) -> None:
        """Takes the order that lies there, if any."""
        with self.lock:
            try:
                order = json.loads(self.orders.read_text())
                self.orders.unlink()
            except FileNotFoundError:
                return
            self.counts.clear()
            self.kill = order["kill"]
            self.log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def before(self, kind: str, label: str) -> tuple[int, int] | None:
        """One more of this kind is about to happen; its number among the kind, and among those of its label."""
        with self.lock:
            if self.log is None:
                return None
            self.counts.update((kind, label))
            numbers = self.counts[kind], self.counts[label]
            self._at(kind, numbers, "before", label)
            return numbers

    def after(self, kind: str, numbers: tuple[int, int] | None, label: str) -> None:
        """It has happened."""
        with self.lock:
            if numbers:
                self._at(kind, numbers, "after", label)

    def _at(self, kind: str, numbers: tuple[int, int], when: str, label: str) -> None:
        assert self.log is not None
        number = numbers[0]
        struck = self.kill in ([kind, number, when], [label, numbers[1], when])
        line = json.dumps([kind, number, when, label, struck])
        os.write(self.log, f"{line}\n".encode())
        if struck:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, kind: str, label: Callable[..., str], work: Callable[..., Any]) -> Callable[..., Any]:
        """`work` with its moments counted."""

        @functools.wraps(work)
        def counted(*arguments: Any, **options: Any) -> Any:
            name = label(*arguments, **options)
            numbers = self.before(kind, name)
            value = work(*arguments, **options)
            self.after(kind, numbers, name)
            return value

        return counted


def watch_commits(moments: Moments) -> None:
    """Wraps the commit of every SQLAlchemy engine in this process, dbos's included."""
    changed: dict[int, set[str]] = {}
    commit, rollback = DefaultDialect.do_commit, DefaultDialect.do_rollback

    def key(connection: Any) -> int:
        return id(getattr(connection, "dbapi_connection", connection))

    @sa.event.listens_for(sa.Engine, "after_cursor_execute")
    def _mark(connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        # A poll that finds nothing changes nothing. SQLite counts the rows of an INSERT ... RETURNING (so dbos records
        # its steps) only once they are fetched.
        known = cursor.rowcount != 0 or ("RETURNING" in statement and statement.lstrip().startswith("INSERT"))
        if known and (change := CHANGE.match(statement)):
            table = change[1].replace('"', "").rsplit(".", 1)[-1]
            changed.setdefault(key(connection.connection.dbapi_connection), set()).add(table)

    def do_commit(dialect: Any, connection: Any) -> None:
        tables = changed.pop(key(connection), set()) - NOBODYS
        label = "+".join(sorted(tables))
        numbers = moments.before("commit", label) if tables else None
        commit(dialect, connection)
        moments.after("commit", numbers, label)

    def do_rollback(dialect: Any, connection: Any) -> None:
        changed.pop(key(connection), None)
        rollback(dialect, connection)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign,assignment]
    DefaultDialect.do_rollback = do_rollback  # type: ignore[method-assign,assignment]


def watch_calls(moments: Moments) -> None:
    """Wraps what leaves for AWS and for Slack, the acknowledgements included."""

    def action(_session: Any, request: Any) -> str:
        body = request.body or b""
        return next(iter(re.findall(r"Action=(\w+)", body.decode() if isinstance(body, bytes) else str(body))), "?")

    def method(_client: Any, *, url: str, **_rest: Any) -> str:
        return url.rsplit("/", 1)[-1]

    URLLib3Session.send = moments.around("aws", action, URLLib3Session.send)
    for client, name, label in (
        (WebClient, "_perform_urllib_http_request", method),
        (WebhookClient, "_perform_http_request", lambda *_a, **_o: "response_url"),
        (SocketModeClient, "send_socket_mode_response", lambda *_a, **_o: "ack"),
    ):
        setattr(client, name, moments.around("slack", label, getattr(client, name)))


def look_at_deliveries(moments: Moments) -> None:
    """Orders are taken at a delivery, so that what a start does is not counted."""
    accept = Intake.accept

    def accepted(intake: Intake, invocation: Any) -> bool:
        moments.look()
        return accept(intake, invocation)

    Intake.accept = accepted  # type: ignore[method-assign]


def hurry(environment: Any) -> None:
    """Shortens the waits after a death that are long on purpose, so that many deaths fit into a test."""
    if "KILLABLE_CLAIM" in environment:
        claim = float(environment["KILLABLE_CLAIM"])
        bot.app.Outbox = lambda *given, **options: Outbox(*given, **{**options, "claim": claim})  # type: ignore
    if "KILLABLE_DEAD_AFTER" in environment:
        dead_after = float(environment["KILLABLE_DEAD_AFTER"])
        bot.app.EngineSettings = functools.partial(EngineSettings, beat=dead_after / 10, dead_after=dead_after)


if __name__ == "__main__":
    counted = Moments(Path(os.environ["KILLABLE_ORDERS"]))
    watch_commits(counted)
    watch_calls(counted)
    look_at_deliveries(counted)
    hurry(os.environ)
    sys.argv = ["tkgbot", "run"]
    main()
