"""The sealer: gives what was written to the audit its numbers and seals, and writes the head down outside the database.

One sealer works at a time: on SQLite there is one process, on PostgreSQL the replicas agree by an advisory lock. It
never stops for what somebody did to the table. A record that was not written with the key is sealed as it stands, so
that it cannot be taken away unseen either, and a record that says so follows; `verify` finds it by its mac for good.
Where history is lost (a cut end, or a database that was put back) the numbers and the chain go on from the anchored
head: no number is given twice, what is lost stays missing, and what follows is as safe as before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot import audit_rows, outgoing, tables
from bot.anchor import Anchor
from bot.audit import BEGAN, NOTHING, RESTORED, SHORTEST_SEAL, TAMPERED, WRITER, AuditKey, Head, Record
from bot.audit_rows import COLUMNS, STORED
from bot.config import ConfigError, Secrets
from bot.messages import Note
from bot.store import Store, StoreUnavailable

log = logging.getLogger(__name__)
BATCH = 250
"""Records that are sealed in one transaction: the writers wait for it."""
NAMED = 20
"""Places of records that a record about tampering lists."""
SEAL_LOCK = 7461003


@dataclass(frozen=True)
class _View:
    """What the sealer finds. `above` are records with a number after the true head; `lost` is the anchored head where
    the database does not have it and no record says so yet."""

    head: Head
    above: tuple[int, ...]
    lost: Head | None


class Sealer:
    """`clock` gives epoch seconds. `on_went_back` is called when the database turns out to have lost history, before
    that is recorded, so that it is called again where the process dies meanwhile."""

    def __init__(self, store: Store, key: AuditKey, anchor: Anchor, *, clock: Callable[[], float]) -> None:
        self.store = store
        self.key = key
        self.anchor = anchor
        self.clock = clock
        self.on_went_back: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._complaint = ""
        if anchor.foreign:
            log.critical("%s: %d lines were not written with the audit's key", anchor.path, anchor.foreign)

    def went_back(self) -> bool:
        """True when the database lacks what was anchored, or has something else in its place: it is an older copy, or
        another one. False again once the sealer has recorded that. Raises ConfigError where the key is another one."""
        return self.store.read(self._view).lost is not None

    def seal(self) -> int:
        """Seals what was written since, and anchors the head; how many records were sealed."""
        with self._lock:
            if self.went_back():
                log.critical("the database has lost history that was anchored in %s", self.anchor.path)
                self.on_went_back()
            total = 0
            while self.store.read(self._is_due):
                sealed = self.store.write(self._seal_some)
                total += sealed
                if sealed < BATCH:
                    break
            self._anchor()
            return total

    def keep_up(self) -> None:
        """One round, and the last one before the end. A database that does not answer is waited for without a word for
        every second of it."""
        try:
            self.seal()
        except StoreUnavailable as error:
            self._complain(f"the audit cannot be sealed just now: {error}")

    def announce(self, channel: str, every: float) -> None:
        """Posts the head where people can see it, at most every so many seconds and only when it has moved."""
        box, now = tables.outbox.c, self.clock()

        def untold(connection: sa.Connection) -> Head | None:
            head = self._view(connection).head
            last = connection.scalar(sa.select(sa.func.max(box.due)).where(box.kind == "post"))
            is_told = outgoing.is_there(connection, f"audit:{head.number}") or (last is not None and now - last < every)
            return None if is_told or head == NOTHING else head

        def work(connection: sa.Connection) -> None:
            _alone(connection, wait=True)
            head = untold(connection)
            if head is not None:
                outgoing.post(connection, f"audit:{head.number}", channel, _announcement(head), now)

        if self.store.read(untold) is not None:
            self.store.write(work)

    # -- looking -------------------------------------------------------------------------------------------------

    def _is_due(self, connection: sa.Connection) -> bool:
        view = self._view(connection)
        waits = connection.execute(sa.select(COLUMNS.seq).where(COLUMNS.number.is_(None)).limit(1)).first()
        return waits is not None or bool(view.above) or view.lost is not None

    def _view(self, connection: sa.Connection) -> _View:
        anchored = self.anchor.newest
        head, above = self._head(connection)
        if above and head == NOTHING and anchored is None:
            raise ConfigError(
                "the environment",
                ["the audit in this database was sealed with another key: set TKGBOT_AUDIT_KEY to that one"],
            )
        if anchored is None or anchored == head or self._has(connection, anchored):
            return _View(head, above, None)
        return _View(head, above, anchored)

    def _head(self, connection: sa.Connection) -> tuple[Head, tuple[int, ...]]:
        """The last record whose seal is true, and the places of those that pretend to follow it."""
        query = sa.select(*STORED).where(COLUMNS.number.is_not(None))
        query = query.order_by(COLUMNS.number.desc(), COLUMNS.seq.desc())
        for limit in (1, None):
            above: list[int] = []
            with closing(audit_rows.read(connection, query.limit(limit))) as records:
                for record in records:
                    if self.key.place(record) == record.number:
                        return Head(int(record.number or 0), str(record.seal)), tuple(above)
                    above.append(record.seq)
        return NOTHING, tuple(above)

    def _has(self, connection: sa.Connection, anchored: Head) -> bool:
        """True when that head is in the database, or a record says that it is lost."""
        there = connection.scalar(sa.select(COLUMNS.seal).where(COLUMNS.number == anchored.number))
        if there == anchored.seal:
            return True
        return any(
            _number(record.details().get("had")) >= anchored.number for record in self._events(connection, RESTORED)
        )

    def _events(self, connection: sa.Connection, event: str) -> list[Record]:
        query = sa.select(*STORED).where(COLUMNS.event == event).order_by(COLUMNS.seq)
        return [record for record in audit_rows.read(connection, query) if self.key.wrote(record)]

    # -- sealing -------------------------------------------------------------------------------------------------

    def _seal_some(self, connection: sa.Connection) -> int:
        if not _alone(connection):
            return 0
        view = self._view(connection)
        head = view.head
        if view.above:
            self._take_numbers_back(connection, view.above)
        if view.lost is not None:
            self._write(connection, RESTORED, {"had": vars(view.lost), "has": vars(head)})
            head = max(head, view.lost, key=lambda one: one.number)
        if head == NOTHING:
            unproven = sa.select(sa.func.count()).where(COLUMNS.number.is_(None), COLUMNS.mac.is_(None))
            self._write(connection, BEGAN, {"unproven": connection.scalar(unproven)})
        records = list(audit_rows.read(connection, audit_rows.waiting().limit(BATCH)))
        self._chain(connection, head, records)
        self._tell(connection, view.above, records)
        return len(records)

    def _chain(self, connection: sa.Connection, head: Head, records: Iterable[Record]) -> None:
        changes = []
        for record in records:
            after, head = head, self.key.seal(record, head)
            changes.append({"at_seq": record.seq, "number": head.number, "previous": after.seal, "seal": head.seal})
        if changes:
            statement = sa.update(tables.audit).where(COLUMNS.seq == sa.bindparam("at_seq"))
            connection.execute(statement, changes)

    def _take_numbers_back(self, connection: sa.Connection, above: tuple[int, ...]) -> None:
        """Somebody without the key put them after the head, where the next true ones belong."""
        blank = {"number": None, "previous": None, "seal": None}
        statement = sa.update(tables.audit).where(COLUMNS.seq == sa.bindparam("at_seq")).values(blank)
        connection.execute(statement, [{"at_seq": seq} for seq in above])

    def _tell(self, connection: sa.Connection, above: Iterable[int], records: list[Record]) -> None:
        """Records which records were not written or numbered by those who have the key."""
        wrong = [record for record in records if record.seal is not None or not self.key.wrote(record)]
        if any(record.mac is None for record in wrong):
            began = min((record.seq for record in self._events(connection, BEGAN)), default=0)
            wrong = [record for record in wrong if record.mac is not None or record.seq > began]
        seqs = sorted({*above, *(record.seq for record in wrong)})
        if seqs:
            log.critical("the audit has %d records that were not written with its key: seq %s", len(seqs), seqs[:NAMED])
            self._write(connection, TAMPERED, {"count": len(seqs), "seqs": seqs[:NAMED]})

    def _write(self, connection: sa.Connection, event: str, data: Mapping[str, Any]) -> None:
        audit_rows.write(connection, self.key, at=self.clock(), request=None, actor=WRITER, event=event, data=data)

    def _anchor(self) -> None:
        """A head that cannot be written down now is written down with the next round."""
        view = self.store.read(self._view)
        newest = self.anchor.newest or NOTHING
        if view.lost is not None or view.head.number <= newest.number:
            return
        try:
            self.anchor.add(view.head, self.clock())
            self._complaint = ""
        except OSError as error:
            self._complain(f"the audit's head cannot be written to {self.anchor.path}: {error.strerror}")

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            log.error("%s", complaint)
        self._complaint = complaint


def make_sealer(store: Store, secrets: Secrets, key: AuditKey, *, clock: Callable[[], float]) -> Sealer:
    """The sealer of a bot. Raises ConfigError where its key or its anchor cannot be used."""
    try:
        anchor = Anchor(secrets.anchor, key)
    except OSError as error:
        raise ConfigError(
            "the environment", [f"TKGBOT_AUDIT_ANCHOR: {secrets.anchor} cannot be read ({error.strerror})"]
        ) from error
    sealer = Sealer(store, key, anchor, clock=clock)
    sealer.went_back()
    return sealer


def _alone(connection: sa.Connection, *, wait: bool = False) -> bool:
    """True when no other replica seals until this transaction ends."""
    if connection.dialect.name != "postgresql":
        return True
    if wait:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SEAL_LOCK)))
        return True
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(SEAL_LOCK))))


def _number(head: object) -> int:
    number = head.get("number") if isinstance(head, dict) else None
    return number if isinstance(number, int) else 0


def _announcement(head: Head) -> Note:
    """The head for people. Its first digits are enough to compare, and to hand to `verify`."""
    short = head.seal[: head.seal.index(":") + 1 + SHORTEST_SEAL]
    return Note(
        text=f"The audit is sealed up to number {head.number}: `{short}`",
        bullets=(f"To check that it still has this history: `tkgbot audit verify --head {short}`",),
    )
