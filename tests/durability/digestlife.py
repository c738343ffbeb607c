"""Digests in replicas that die, and what the channel shows of them.

`python -m tests.durability.digestlife` is `tkgbot run` with a clock that a file sets (`DIGEST_CLOCK`, seconds beside
the real one; `DIGEST_SKEW` more for this process), and with moments of a digest's way counted. The first process that
comes to the moment which the file `DIGEST_ORDER` names takes the order and ends itself with SIGKILL.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from slack_sdk import WebClient
from sqlalchemy.engine.default import DefaultDialect

import bot.app
from bot.__main__ import main
from bot.digests import Digests
from tests.durability.fleet import look_sooner

COMMAND = ("-m", "tests.durability.digestlife")
KEY = re.compile(r"\bdigest:[^\s\"'#]+(?:#(\w+))?")
NAMES = {None: "message", "0": "table"}
"""What a message is by what stands behind `#` in its key; the others are called so."""
Moment = tuple[str, str]
"""What is done with a digest, and `before` or `after` it."""


# -- the process that dies ---------------------------------------------------------------------------------------


class Clock:
    """The real clock, moved by what a file says at that time."""

    def __init__(self, path: Path, skew: float) -> None:
        self.path = path
        self.skew = skew

    def __call__(self) -> float:
        return time.time() + float(self.path.read_text()) + self.skew


class Orders:
    """Ends the process at the ordered moment, if no other took the order before."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def reached(self, label: str, when: str) -> None:
        """This process is there."""
        try:
            if json.loads(self.path.read_text()) != [label, when]:
                return
            self.path.rename(self.path.with_suffix(f".{os.getpid()}"))
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def around(self, label: Callable[..., str], work: Callable[..., Any]) -> Callable[..., Any]:
        """`work` with its moments."""

        @functools.wraps(work)
        def watched(*arguments: Any, **options: Any) -> Any:
            name = label(*arguments, **options)
            self.reached(name, "before")
            value = work(*arguments, **options)
            self.reached(name, "after")
            return value

        return watched


def part_of(words: object) -> str:
    """Which message of a digest something speaks of; nothing when it speaks of none."""
    found = KEY.search(str(words))
    return "" if found is None else NAMES.get(found[1], str(found[1]))


def deed(statement: str, values: object) -> str:
    """What a statement does with a digest; nothing for every other."""
    if re.match(r"\s*INSERT INTO digest_fires", statement):
        return "claim"
    if re.match(r"\s*UPDATE digest_fires", statement):
        return "put" if "done_at=" in statement.partition("WHERE")[0] else "take over"
    part = part_of(values) if re.match(r"\s*UPDATE outbox", statement) else ""
    changed = statement.partition("WHERE")[0]
    if not part or ("attempts=" not in changed and "sent=" not in changed):
        return ""
    return f"record {part}" if "sent=" in changed else f"take {part}"


def watch_commits(orders: Orders) -> None:
    """Wraps the commit of every SQLAlchemy engine in this process."""
    done: dict[int, list[str]] = {}
    commit = DefaultDialect.do_commit

    @sa.event.listens_for(sa.Engine, "after_cursor_execute")
    def _mark(connection: Any, cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        if cursor.rowcount != 0 and (found := deed(statement, values)):
            done.setdefault(id(connection.connection.dbapi_connection), []).append(found)

    @sa.event.listens_for(sa.Engine, "rollback")
    def _forget(connection: Any) -> None:
        done.pop(id(connection.connection.dbapi_connection), None)

    def do_commit(dialect: Any, connection: Any) -> None:
        found = done.pop(id(getattr(connection, "dbapi_connection", connection)), [])
        for label in found:
            orders.reached(label, "before")
        commit(dialect, connection)
        for label in found:
            orders.reached(label, "after")

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign,assignment]


def watch_calls(orders: Orders) -> None:
    """Wraps the look at the clusters, and what is sent to Slack."""

    def called(_client: Any, *, url: str, args: Any) -> str:
        method = url.rsplit("/", 1)[-1]
        return f"post {part_of(args)}" if method == "chat.postMessage" else method

    Digests._looked = orders.around(lambda *_arguments: "look", Digests._looked)  # type: ignore[method-assign]
    send = WebClient._perform_urllib_http_request
    WebClient._perform_urllib_http_request = orders.around(called, send)  # type: ignore[method-assign]


def follow(clock: Clock) -> None:
    """Has the bot go by that clock."""
    assert bot.app.Bot.__init__.__kwdefaults__ is not None
    bot.app.Bot.__init__.__kwdefaults__["clock"] = clock


if __name__ == "__main__":
    given = Orders(Path(os.environ["DIGEST_ORDER"]))
    watch_commits(given)
    watch_calls(given)
    follow(Clock(Path(os.environ["DIGEST_CLOCK"]), float(os.environ.get("DIGEST_SKEW", "0"))))
    look_sooner()
    sys.argv = ["tkgbot", "run"]
    main()
