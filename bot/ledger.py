"""What every use case on a request is made of: the row lock, the one transition, audit, messages, leases.

Each use case is one transaction: it locks the request's row first, then checks, then writes the new state, the audit
row, the outgoing messages and, where work follows, the enqueue. `Ledger._move` is the one place where a state changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from bot import audit_rows, messages, outgoing, tables
from bot.audit import AuditKey
from bot.headline import readable_plan, what_of
from bot.lifecycle import FINAL, State, check_move, is_expired
from bot.messages import Note
from bot.policy import Vote
from bot.records import Request, Snapshot, StepRecord
from bot.store import Store

Clock = Callable[[], float]
BOT = "tkgbot"
T = TypeVar("T")
LEASE_LOCK = 7461002

_moved: ContextVar[list[tuple[str, str]]] = ContextVar("moved")
"""What the transaction that is open in this thread has moved: operation and state."""


class Queue(Protocol):
    """Where work is put, inside the caller's transaction."""

    def enqueue_plan(self, connection: sa.Connection, request: str, number: int) -> None:
        """Plans it if the transaction commits."""
        ...

    def enqueue_run(self, connection: sa.Connection, request: str, number: int) -> None:
        """Runs it if the transaction commits."""
        ...


class Superseded(Exception):
    """Another process took this run over; whoever gets this must stop without a word."""


class HasExpired(Exception):
    """The clock has decided meanwhile: what was asked for is rolled back, and the request is expired instead."""


class Refused(Exception):
    """This cannot be done to this request now, and nothing was. The message is for the person who tried; `then` is what
    they can do instead."""

    def __init__(self, message: str, then: str = "") -> None:
        super().__init__(message)
        self.then = then


class Ledger:
    """The pieces. `new_id` makes short ids; `clock` gives epoch seconds. Without `audit_key` records are proven with a
    key that nobody has, so that `tkgbot audit verify` finds each of them: forgetting it cannot stay unseen."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        audit_key: AuditKey | None = None,
    ) -> None:
        self.store = store
        self.queue = queue
        self.clock = clock
        self.new_id = new_id
        self.audit_key = audit_key or AuditKey(secrets.token_hex(32))
        self.on_message: Callable[[], None] = lambda: None
        self.on_moved: Callable[[str, str], None] = lambda operation, state: None

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, request: str) -> Request | None:
        """The request, or None."""
        return self.store.read(lambda connection: find(connection, request))

    def snapshot(self, request: str) -> Snapshot:
        """What its card shows."""
        return self.store.read(lambda connection: snapshot(connection, request))

    def _plan_again(self, connection: sa.Connection, current: Request, by: str, note: Note | None) -> None:
        number = current.plan_no + 1
        self._move(
            connection, current, State.PLANNING, by=by,
            plan_no=number, fingerprint=None, deadline=None, waits_for=None, note=note_json(note),
        )  # fmt: skip
        self.queue.enqueue_plan(connection, current.id, number)

    def _expire(self, connection: sa.Connection, current: Request) -> None:
        moved = self._move(connection, current, State.EXPIRED, by=BOT, note=None, waits_for=None)
        note = messages.has_expired(current.state, current.requester)
        self._say(connection, moved, "end", note)
        self._tell_requester(connection, moved, note)
        self._end_leases(connection, moved)

    def _expire_if_due(self, request: str) -> bool:
        """Expires one request if it has passed its deadline; True when it has."""

        def work(connection: sa.Connection) -> bool:
            current = self._lock(connection, request)
            if not is_expired(current.state, current.deadline, self.clock()):
                return False
            self._expire(connection, current)
            return True

        return self._write(work)

    # -- the pieces ----------------------------------------------------------------------------------------------

    def _write(self, work: Callable[[sa.Connection], T], answers: str = "") -> T:
        """One transaction; `answers` is the invocation that it answers, marked so in the same commit. What it moved is
        told once it is committed."""
        moved: list[tuple[str, str]] = []

        def answered(connection: sa.Connection) -> T:
            moved.clear()  # an earlier try was rolled back
            token = _moved.set(moved)
            try:
                value = work(connection)
            finally:
                _moved.reset(token)
            if answers:
                finish_invocation(connection, answers, self.clock())
            return value

        value = self.store.write(answered)
        for operation, state in moved:
            self.on_moved(operation, state)
        self.on_message()
        return value

    def _lock(self, connection: sa.Connection, request: str) -> Request:
        """The row, locked until the transaction ends (on SQLite the transaction itself is the lock)."""
        row = connection.execute(
            sa.select(tables.requests).where(tables.requests.c.id == request).with_for_update()
        ).first()
        if row is None:
            raise Refused(f"There is no request `{request}`.")
        return request_of(row)

    def _mine(self, connection: sa.Connection, mine: Request) -> Request:
        current = self._lock(connection, mine.id)
        if current.epoch != mine.epoch or current.run_no != mine.run_no:
            raise Superseded(mine.id)
        return current

    def _move(self, connection: sa.Connection, current: Request, wanted: State, *, by: str, **changes: Any) -> Request:
        """The one transition: checks the arrow, writes the state, the audit row and the card's edit."""
        check_move(current.state, wanted)
        if wanted in FINAL:
            changes.setdefault("deadline", None)
        moved = self._update(connection, current, state=wanted, **changes)
        data = {"from": current.state, "to": wanted, "fingerprint": moved.fingerprint}
        self._audit(connection, current.id, by, "moved", data)
        outgoing.touch_card(connection, current.id, moved.updated_at, now=True)
        _moved.get([]).append((current.operation, wanted))
        return moved

    def _update(self, connection: sa.Connection, current: Request, **changes: Any) -> Request:
        changes["updated_at"] = self.clock()
        connection.execute(sa.update(tables.requests).where(tables.requests.c.id == current.id).values(**changes))
        return replace(current, **changes)

    def _audit(self, connection: sa.Connection, request: str, actor: str, event: str, data: Mapping[str, Any]) -> None:
        now, key = self.clock(), self.audit_key
        audit_rows.write(connection, key, at=now, request=request, actor=actor, event=event, data=data)

    def _say(self, connection: sa.Connection, current: Request, key: str, note: Note) -> None:
        outgoing.thread(connection, f"{current.id}:{key}", current.id, current.channel, note, self.clock())

    def _tell_requester(self, connection: sa.Connection, current: Request, note: Note) -> None:
        """A decision, to the requester in person, where the channel is too busy for the card to be noticed."""
        words = messages.decided(current.id, what_of(current, readable_plan(current)), note)
        key = f"{current.id}:nudge:{current.plan_no}:{current.run_no}:{current.state}"
        outgoing.nudge(connection, key, current.id, current.channel, current.requester, words, self.clock())

    def _end_leases(self, connection: sa.Connection, current: Request, kept: Collection[str] = ()) -> None:
        """Lets the targets go, but for those that are `kept`, and starts whoever waits, the oldest first: one that
        finds another target of it still taken waits again.

        A request that waits holds no lease, so it leaves at once here: nobody who waits for the lease lock holds a row
        that the lock's holder wants.
        """
        going = sa.and_(tables.leases.c.request == current.id, tables.leases.c.target.not_in(sorted(kept)))
        if connection.execute(sa.select(tables.leases.c.target).where(going)).first() is None:
            return
        lock_leases(connection)
        connection.execute(sa.delete(tables.leases).where(going))
        columns = tables.requests.c
        waiting = connection.execute(
            sa.select(tables.requests)
            .where(columns.waits_for == current.id, columns.state == State.APPROVED)
            .order_by(columns.updated_at, columns.id)
            .with_for_update()
        ).all()
        for row in waiting:
            other = request_of(row)
            number = other.run_no + 1
            self._update(connection, other, run_no=number, waits_for=None, note=None)
            self.queue.enqueue_run(connection, other.id, number)


def lock_leases(connection: sa.Connection) -> None:
    """Serialises taking and releasing on PostgreSQL; on SQLite a write transaction does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LEASE_LOCK)))


def finish_invocation(connection: sa.Connection, key: str, now: float) -> bool:
    """Marks an invocation as answered, in the transaction that answers it. False when it was answered already."""
    columns = tables.invocations.c
    marked = connection.execute(
        sa.update(tables.invocations).where(columns.key == key, columns.done_at.is_(None)).values(done_at=now)
    )
    return marked.rowcount == 1


def snapshot(connection: sa.Connection, request: str) -> Snapshot:
    """What a card shows, in the caller's transaction."""
    current = find(connection, request)
    assert current is not None, request
    columns = tables.steps.c
    rows = connection.execute(
        sa.select(tables.steps)
        .where(columns.request == request, columns.plan_no == current.plan_no)
        .order_by(columns.position)
    ).all()
    steps = tuple(StepRecord(r.position, r.begun_at, r.ended_at, r.changed, r.evidence) for r in rows)
    return Snapshot(current, votes_of(connection, current), steps)


def step_row(current: Request, position: int) -> sa.ColumnElement[bool]:
    """The condition that picks one step's record of the current plan."""
    columns = tables.steps.c
    return sa.and_(columns.request == current.id, columns.plan_no == current.plan_no, columns.position == position)


def votes_of(connection: sa.Connection, current: Request) -> tuple[Vote, ...]:
    """The votes that count: those for the current plan and its fingerprint."""
    columns = tables.votes.c
    rows = connection.execute(
        sa.select(tables.votes)
        .where(
            columns.request == current.id,
            columns.plan_no == current.plan_no,
            columns.fingerprint == (current.fingerprint or ""),
        )
        .order_by(columns.at, columns.person)
    ).all()
    return tuple(Vote(person=row.person, approve=row.approve, at=row.at) for row in rows)


def find(connection: sa.Connection, request: str) -> Request | None:
    """The request, unlocked."""
    row = connection.execute(sa.select(tables.requests).where(tables.requests.c.id == request)).first()
    return None if row is None else request_of(row)


def request_of(row: sa.Row[Any]) -> Request:
    """A row of `requests` as the record."""
    values = dict(row._mapping)
    values["state"] = State(values["state"])
    return Request(**values)


def columns_of(request: Request) -> dict[str, Any]:
    """The row of a request."""
    return {item.name: getattr(request, item.name) for item in fields(request)}


def note_json(note: Note | None) -> dict[str, Any] | None:
    """A note as it is stored."""
    return None if note is None else note.model_dump(mode="json")


def words_of(state: State) -> str:
    """A state as people read it."""
    return state.value.replace("_", " ")


def too_late(connection: sa.Connection, current: Request) -> str:
    """Tells the second clicker what happened and who was first."""
    audit = tables.audit.c
    mover = connection.scalar(
        sa.select(audit.actor)
        .where(audit.request == current.id, audit.event == "moved")
        .order_by(audit.seq.desc())
        .limit(1)
    )
    approvals = [vote for vote in votes_of(connection, current) if vote.approve]
    by = f" It was approved by <@{approvals[-1].person}>." if approvals else ""
    if mover and mover != BOT and not (approvals and approvals[-1].person == mover):
        by += f" The last to move it was <@{mover}>."
    return f"Request `{current.id}` is {words_of(current.state)} now, so this was not done.{by}"
