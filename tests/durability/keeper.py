"""A bot that is started again whenever it has died, and what its life leaves behind; for the matrices of deaths."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from bot.tour import words
from tests.world import AUDIT_KEY, Json, World

KILLABLE = ("-m", "tests.durability.killable")
ALL = bool(os.environ.get("TKGBOT_ALL_KILLS"))
"""Strike at every moment; else at a sample of them."""
BOUNDED = pytest.mark.timeout(3600 if ALL else 600)
"""A matrix of deaths is one test: it is bounded as a whole, and each wait in it for itself."""
Moment = tuple[str, int, str]
"""Kind or label, number, before or after."""


@dataclass
class Keeper:
    """A bot in a world, started again whenever it has died, and people who repeat what was not acknowledged."""

    world: World
    url: str | None = None
    claim: float = 2.0
    command: tuple[str, ...] = KILLABLE
    starts: int = 0
    codes: list[int] = field(default_factory=list)
    nearest: dict[Moment, Moment] = field(default_factory=dict)
    """For moments that a life did not come to: the last one like it that it had. Lives differ by a look or two."""
    _ordered: Moment | None = None
    _ended: bool = False

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._life = threading.Lock()
        self.data = self.world.folder / "data"
        self.orders = self.world.folder / "orders"
        self.moments_log = self.world.folder / "moments"
        shutil.rmtree(self.data, ignore_errors=True)
        self.orders.unlink(missing_ok=True)
        self.engine = sa.create_engine(self.url or f"sqlite:///{self.data}/tkgbot.db")
        self.bot = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _start(self) -> Any:
        more = {"KILLABLE_ORDERS": str(self.orders), "KILLABLE_CLAIM": str(self.claim)}
        if self.url is not None:
            more |= {"TKGBOT_DATABASE_URL": self.url, "TKGBOT_AUDIT_KEY": AUDIT_KEY, "KILLABLE_DEAD_AFTER": "5"}
        bot = self.world.start_bot(self.command, **more)
        with self._changed:
            self.starts += 1
            self._changed.notify_all()
        return bot

    def _keep(self) -> None:
        while True:
            code = self.bot.wait()
            with self._life:  # or `end` would kill the one before, and this one would live on and take what comes
                if self._ended:
                    return
                self.codes.append(code)
                self.bot = self._start()

    def end(self) -> None:
        """Nothing is started any more."""
        with self._life:
            self._ended = True
            self.bot.kill()
        self._thread.join(timeout=120)
        self.engine.dispose()

    def order(self, kill: Moment | None) -> None:
        """From the next delivery on, moments are counted, and the process dies at `kill`; or where a life had fewer
        such moments, at the last of them."""
        self.settle()
        self._ordered = kill
        kill = self.nearest.get(kill, kill) if kill else None
        self.moments_log.unlink(missing_ok=True)
        draft = self.orders.with_suffix(".new")
        draft.write_text(json.dumps({"kill": kill, "log": str(self.moments_log)}))
        draft.rename(self.orders)

    def moments(self) -> list[list[Any]]:
        """[kind, number, when, label, struck], in the order in which they came."""
        if not self.moments_log.exists():
            return []
        return [json.loads(line) for line in self.moments_log.read_text().splitlines()]

    def struck(self) -> bool:
        """Whether the order was carried out."""
        return any(moment[4] for moment in self.moments())

    def settle(self) -> None:
        """The life is over. If it did not come to the moment that was ordered, the next try orders one that it had."""
        if self._ordered is None or self.struck():
            return
        label, number, when = self._ordered
        had = sum(label in (kind, name) and when == at for kind, _, at, name, _ in self.moments())
        if had:
            self.nearest[self._ordered] = (label, min(number, had), when)

    def until_acknowledged(self, act: Callable[[], Json]) -> int:
        """Does what a person would do until Slack does not show an error; how often."""
        for times in range(1, 4):
            known = self.starts
            answer = act()
            if answer.get("acked") or answer.get("error") == "no_such_button":
                return times
            with self._changed:
                assert self._changed.wait_for(lambda known=known: self.starts > known, 120), answer
        raise AssertionError(f"nobody acknowledged it: {answer}")

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """What stands in the bot's database."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query), values)]

    def quiet(self) -> bool:
        """Nothing is under way: every message sent, every workflow ended, every delivery answered."""
        workflows = "workflow_status" if self.url is None else "dbos.workflow_status"
        if self.struck() and not self.codes:
            return False
        busy = self.rows(
            "SELECT (SELECT count(*) FROM outbox WHERE (wanted > sent AND failed IS NULL) OR claimed_by IS NOT NULL)"
            f" + (SELECT count(*) FROM {workflows} WHERE status IN ('PENDING', 'ENQUEUED'))"
            " + (SELECT count(*) FROM invocations WHERE done_at IS NULL)"
        )
        whens = Counter(moment[2] for moment in self.moments())
        ended = whens["before"] == whens["after"] or bool(self.codes)  # a death leaves one begun, ordered or not
        return busy == [(0,)] and ended


def plain(message: Json, cluster: str) -> str:
    """A message without what differs from request to request."""
    text = words(message).replace(cluster, "CLUSTER")
    for pattern, word in (
        (r"r-[0-9a-f]{6}", "REQUEST"),
        (r"\bplan( +)[0-9a-f]{8}", r"plan\1SEAL"),
        (r"\([\d.]+ (s|min[^)]*)\)", "(TIME)"),
        (r"<!date[^>]*>", "DATE"),
    ):
        text = re.sub(pattern, word, text)
    return text


def fresh_database(server: str) -> str:
    """A new database on the server; its URL."""
    name = f"kills_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    admin.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)
