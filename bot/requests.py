"""The use cases on a request: submit, plan, vote, run, park, cancel, expire. One transaction each.

Each transaction locks the request's row first, then checks, then writes the new state, the audit row, the outgoing
messages and, where work follows, the enqueue. `_move` is the one place where a state changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from bot import messages, tables
from bot.lifecycle import FINAL, IllegalMove, State, check_move, is_expired
from bot.messages import Note
from bot.policy import Needs, Vote
from bot.store import Store
from handlers.contract import Outcome, Plan, fingerprint

Clock = Callable[[], float]
BOT = "tkgbot"
T = TypeVar("T")
LEASE_LOCK = 7461002


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


class Refused(Exception):
    """This cannot be done to this request now; the message is for the person who tried."""


@dataclass(frozen=True)
class Request:
    """A row of `requests`. Times are epoch seconds."""

    id: str
    invocation: str
    operation: str
    arguments: dict[str, Any]
    command: str
    team: str
    channel: str
    requester: str
    state: State
    created_at: float
    updated_at: float
    deadline: float | None
    plan_no: int
    run_no: int
    epoch: int
    plan: dict[str, Any] | None
    earlier_plan: dict[str, Any] | None
    fingerprint: str | None
    needs: dict[str, Any] | None
    waits_for: str | None
    note: dict[str, Any] | None
    started_at: float | None
    ended_at: float | None

    @property
    def planned(self) -> Plan:
        """The current plan."""
        assert self.plan is not None
        return Plan.model_validate(self.plan)

    @property
    def quorum(self) -> Needs:
        """What the plan needs from whom, as policy said when it was planned."""
        return Needs.model_validate(self.needs)

    @property
    def why(self) -> Note | None:
        """Why it stands where it stands."""
        return None if self.note is None else Note.model_validate(self.note)


@dataclass(frozen=True)
class StepRecord:
    """How far one step came."""

    position: int
    begun_at: float
    ended_at: float | None
    changed: bool | None
    evidence: str | None


@dataclass(frozen=True)
class Snapshot:
    """Everything that a card shows, read in one transaction."""

    request: Request
    votes: tuple[Vote, ...]
    steps: tuple[StepRecord, ...]


@dataclass(frozen=True)
class Draft:
    """What becomes a request."""

    invocation: str
    operation: str
    arguments: dict[str, Any]
    command: str
    team: str
    channel: str
    requester: str


class Requests:
    """The use cases. `new_id` makes short ids; `clock` gives epoch seconds."""

    def __init__(self, store: Store, queue: Queue, *, clock: Clock, new_id: Callable[[], str]) -> None:
        self.store = store
        self.queue = queue
        self.clock = clock
        self.new_id = new_id
        self.on_message: Callable[[], None] = lambda: None

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, request: str) -> Request | None:
        """The request, or None."""
        return self.store.read(lambda connection: _find(connection, request))

    def snapshot(self, request: str) -> Snapshot:
        """What its card shows."""
        return self.store.read(lambda connection: snapshot(connection, request))

    # -- asking --------------------------------------------------------------------------------------------------

    def submit(self, draft: Draft) -> str:
        """Stores a request, its card and its planning. The same invocation again gives the same request."""

        def work(connection: sa.Connection) -> str:
            known = connection.scalar(
                sa.select(tables.requests.c.id).where(tables.requests.c.invocation == draft.invocation)
            )
            if known is not None:
                return str(known)
            now = self.clock()
            new = Request(
                id=self._free_id(connection), invocation=draft.invocation, operation=draft.operation,
                arguments=draft.arguments, command=draft.command, team=draft.team, channel=draft.channel,
                requester=draft.requester, state=State.RECEIVED, created_at=now, updated_at=now, deadline=None,
                plan_no=0, run_no=0, epoch=0, plan=None, earlier_plan=None, fingerprint=None, needs=None,
                waits_for=None, note=None, started_at=None, ended_at=None,
            )  # fmt: skip
            connection.execute(sa.insert(tables.requests).values(_columns(new)))
            self._audit(connection, new.id, draft.requester, "received", {"command": draft.command})
            messages.card(connection, new.id, draft.channel, now)
            self._plan_again(connection, new, draft.requester, None)
            finish_invocation(connection, draft.invocation, now)
            return new.id

        try:
            return self._write(work)
        except sa.exc.IntegrityError:  # the same invocation was stored by somebody else at this moment: it is there now
            return self._write(work)

    def _free_id(self, connection: sa.Connection) -> str:
        while True:
            candidate = self.new_id()
            if _find(connection, candidate) is None:
                return candidate

    def look_again(self, request: str, person: str, answers: str = "") -> None:
        """Plans anew what is blocked or waits. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state not in (State.BLOCKED, State.AWAITING):
                state = _words(current.state)
                raise Refused(f"`{request}` is {state}; only a blocked or waiting one is looked at again.")
            self._plan_again(connection, current, person, None)

        self._write(work, answers)

    def _plan_again(self, connection: sa.Connection, current: Request, by: str, note: Note | None) -> None:
        number = current.plan_no + 1
        self._move(
            connection, current, State.PLANNING, by=by,
            plan_no=number, earlier_plan=current.plan, fingerprint=None, deadline=None, note=_json(note),
        )  # fmt: skip
        self.queue.enqueue_plan(connection, current.id, number)

    # -- planning ------------------------------------------------------------------------------------------------

    def planned(self, request: str, number: int, plan: Plan, needs: Needs) -> State | None:
        """Stores the plan of attempt `number`; None when it came too late (withdrawn, or planned anew)."""

        def work(connection: sa.Connection) -> State | None:
            current = self._lock(connection, request)
            if current.state != State.PLANNING or current.plan_no != number:
                return None
            state = State.BLOCKED if plan.blocked else State.AWAITING if plan.steps else State.NOTHING_TO_DO
            seal = fingerprint(current.operation, current.arguments, plan)
            now = self.clock()
            self._move(
                connection, current, state, by=BOT,
                plan=plan.model_dump(mode="json"), fingerprint=seal, needs=needs.model_dump(mode="json"),
                deadline=None if state in FINAL else now + needs.request_ttl,
            )  # fmt: skip
            for part, rows in enumerate(messages.overflow(plan)):
                self._say(connection, current, f"rows:{number}:{part}", rows)
            if state == State.AWAITING:
                self._say(connection, current, f"plan:{number}", messages.asks_approval(plan, needs, seal))
            elif state == State.BLOCKED:
                self._say(connection, current, f"plan:{number}", messages.is_blocked(plan, current.requester))
            return state

        return self._write(work)

    def plan_failed(self, request: str, number: int, note: Note) -> None:
        """Ends planning with a sentence."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state == State.PLANNING and current.plan_no == number:
                self._move(connection, current, State.FAILED, by=BOT, note=_json(note))
                self._say(connection, current, f"plan:{number}", note.to(current.requester))

        self._write(work)

    # -- voting --------------------------------------------------------------------------------------------------

    def vote(
        self,
        request: str,
        seal: str,
        person: str,
        approve: bool,
        decide: Callable[[Request, tuple[Vote, ...]], bool],
        answers: str = "",
    ) -> State:
        """Stores one person's word on the plan whose fingerprint begins with `seal`.

        `decide` is the policy, asked after the lock with all votes on this plan, this one included; it says whether
        they fill the quorum. Raises Refused with the reason for the person.
        """
        late: list[str] = []

        def work(connection: sa.Connection) -> State:
            current = self._lock(connection, request)
            now = self.clock()
            if is_expired(current.state, current.deadline, now):
                self._expire(connection, current)
                late.append("This request has expired. Nothing was changed. Ask again if it is still wanted.")
                return State.EXPIRED
            self._check_votable(connection, current, seal, person)
            assert current.fingerprint is not None
            connection.execute(
                sa.insert(tables.votes).values(
                    request=request, plan_no=current.plan_no, person=person, fingerprint=current.fingerprint,
                    approve=approve, at=now,
                )
            )  # fmt: skip
            event = "approved" if approve else "denied"
            self._audit(connection, request, person, f"vote.{event}", {"fingerprint": current.fingerprint})
            if not approve:
                moved = self._move(connection, current, State.DENIED, by=person)
                self._say(connection, moved, "end", messages.was_denied(moved.requester, person))
                return State.DENIED
            if not decide(current, _votes(connection, current)):
                messages.touch_card(connection, current.id, now)
                return current.state
            return self._approve(connection, current, person)

        state = self._write(work, answers)
        if late:
            raise Refused(late[0])
        return state

    def _approve(self, connection: sa.Connection, current: Request, person: str) -> State:
        number = current.run_no + 1
        deadline = self.clock() + current.quorum.approval_ttl
        self._move(connection, current, State.APPROVED, by=person, run_no=number, deadline=deadline, note=None)
        self.queue.enqueue_run(connection, current.id, number)
        return State.APPROVED

    def _check_votable(self, connection: sa.Connection, current: Request, seal: str, person: str) -> None:
        if current.state != State.AWAITING:
            raise Refused(_too_late(connection, current))
        if not seal or not (current.fingerprint or "").startswith(seal):
            raise Refused("The plan has changed since this button was drawn. Read the card: it shows what is new.")
        for vote in _votes(connection, current):
            if vote.person == person:
                raise Refused("You have already voted on this plan. Nothing was added.")

    def withdraw(self, request: str, person: str, answers: str = "") -> None:
        """The requester takes the request back before it runs. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.requester != person:
                raise Refused(f"Only the person who asked, <@{current.requester}>, can withdraw this request.")
            try:
                moved = self._move(connection, current, State.WITHDRAWN, by=person)
            except IllegalMove:
                raise Refused(_too_late(connection, current)) from None
            self._end_leases(connection, moved)

        self._write(work, answers)

    # -- running -------------------------------------------------------------------------------------------------

    def claim(self, request: str, number: int) -> Request | None:
        """Makes the caller the only one whose words on this run count; None when run `number` is over.

        Called at the start of every execution of the run's workflow, recoveries included.
        """

        def work(connection: sa.Connection) -> Request | None:
            current = self._lock(connection, request)
            active = (State.APPROVED, State.RUNNING, State.CANCELLING)
            if current.run_no != number or current.state not in active:
                return None
            return self._update(connection, current, epoch=current.epoch + 1)

        return self._write(work)

    def lease(self, mine: Request) -> str | None:
        """Takes all targets of the plan together; the id of the request to wait for where one is taken, else None.

        A request that waits here is started by the release of the one before it, not by polling.
        """

        def work(connection: sa.Connection) -> str | None:
            _lock_leases(connection)
            current = self._mine(connection, mine)
            targets = sorted(current.planned.targets)
            taken = connection.execute(sa.select(tables.leases).where(tables.leases.c.target.in_(targets))).all()
            holder = next((row.request for row in taken if row.request != current.id), None)
            if holder is not None:
                note = messages.waits_behind(holder)
                self._update(connection, current, waits_for=holder, note=_json(note))
                messages.touch_card(connection, current.id, self.clock())
                self._audit(connection, current.id, BOT, "waits", {"for": holder})
                return str(holder)
            have = {row.target for row in taken}
            fresh = [
                {"target": target, "request": current.id, "since": self.clock()}
                for target in targets
                if target not in have
            ]
            if fresh:
                connection.execute(sa.insert(tables.leases), fresh)
            return None

        return self._write(work)

    def start(self, mine: Request) -> Request:
        """approved -> running, once nothing has drifted. Starting what runs already changes nothing."""

        def work(connection: sa.Connection) -> Request:
            current = self._mine(connection, mine)
            if current.state in (State.RUNNING, State.CANCELLING):
                return current
            return self._move(
                connection, current, State.RUNNING, by=BOT, deadline=None, note=None, waits_for=None,
                started_at=current.started_at or self.clock(),
            )  # fmt: skip

        return self._write(work)

    def drifted(self, mine: Request, note: Note) -> None:
        """The world is not what was approved: the approval is void and the request is planned anew."""

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            self._end_leases(connection, current)
            self._say(connection, current, f"drift:{current.run_no}", note)
            self._audit(connection, current.id, BOT, "drift", {"voided": current.fingerprint})
            self._plan_again(connection, current, BOT, note)

        self._write(work)

    def expire_approval(self, mine: Request) -> None:
        """The approval ran out before the run could start."""

        def work(connection: sa.Connection) -> None:
            self._expire(connection, self._mine(connection, mine))

        self._write(work)

    def begin_step(self, mine: Request, position: int) -> bool:
        """Writes the intent before the effect. False when a cancel was asked for: then nothing may be begun."""

        def work(connection: sa.Connection) -> bool:
            current = self._mine(connection, mine)
            if current.state == State.CANCELLING:
                return False
            where = _step(current, position)
            if connection.execute(sa.select(tables.steps).where(where)).first() is None:
                now = self.clock()
                connection.execute(
                    sa.insert(tables.steps).values(
                        request=current.id, plan_no=current.plan_no, position=position, begun_at=now
                    )
                )
                self._audit(connection, current.id, BOT, "step.begun", {"position": position})
                messages.touch_card(connection, current.id, now)
            return True

        return self._write(work)

    def end_step(self, mine: Request, position: int, outcome: Outcome) -> None:
        """Writes the outcome after the effect was seen."""

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            now = self.clock()
            changed = connection.execute(
                sa.update(tables.steps)
                .where(_step(current, position), tables.steps.c.ended_at.is_(None))
                .values(ended_at=now, changed=outcome.changed, evidence=outcome.evidence)
            )
            if changed.rowcount:
                data = {"position": position, "changed": outcome.changed, "evidence": outcome.evidence}
                self._audit(connection, current.id, BOT, "step.ended", data)
                title = current.planned.steps[position].title
                self._say(connection, current, f"step:{position}", messages.step_ended(title, outcome))
                messages.touch_card(connection, current.id, now)

        self._write(work)

    def end(self, mine: Request, state: State, note: Callable[[Snapshot], Note]) -> None:
        """Ends a run: succeeded, failed, cancelled or parked. Ending twice changes nothing. `note` is told the thread
        from what was recorded, and mentions the requester."""

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            if current.state == state:
                return
            if current.state == State.CANCELLING and state in (State.SUCCEEDED, State.FAILED):
                # The cancel came after the last step had begun: say what is, in the state that a cancel ends in.
                final = State.CANCELLED if state == State.SUCCEEDED else State.PARKED
            else:
                final = state
            words = note(snapshot(connection, current.id))
            ended = None if final == State.PARKED else self.clock()
            moved = self._move(connection, current, final, by=BOT, note=_json(words), ended_at=ended)
            key = f"parked:{current.run_no}" if final == State.PARKED else "end"
            self._say(connection, moved, key, words.to(current.requester))
            if final != State.PARKED:  # a parked run keeps its targets: its change is half made
                self._end_leases(connection, moved)

        self._write(work)

    def cancel(self, request: str, person: str, answers: str = "") -> None:
        """Asks a run to stop after the step in flight. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.RUNNING:
                raise Refused(_too_late(connection, current))
            self._move(connection, current, State.CANCELLING, by=person)

        self._write(work, answers)

    def resume(self, request: str, person: str, answers: str = "") -> None:
        """Goes on with a parked run, from what is observed. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.PARKED:
                raise Refused(_too_late(connection, current))
            number = current.run_no + 1
            self._move(connection, current, State.RUNNING, by=person, run_no=number, note=None)
            self.queue.enqueue_run(connection, current.id, number)

        self._write(work, answers)

    def abandon(self, request: str, person: str, answers: str = "") -> None:
        """Gives a parked run up; what was done stays. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.PARKED:
                raise Refused(_too_late(connection, current))
            moved = self._move(connection, current, State.ABANDONED, by=person, ended_at=self.clock())
            note = messages.was_abandoned(snapshot(connection, request), person)
            self._say(connection, moved, "end", note)
            self._end_leases(connection, moved)

        self._write(work, answers)

    # -- time ----------------------------------------------------------------------------------------------------

    def sweep(self) -> list[str]:
        """Expires what has passed its deadline, one transaction each, and says what that was."""
        now = self.clock()
        columns = tables.requests.c
        due = self.store.read(
            lambda connection: connection.scalars(
                sa.select(columns.id).where(columns.deadline.is_not(None), columns.deadline <= now)
            ).all()
        )

        def expire(connection: sa.Connection, request: str) -> bool:
            current = self._lock(connection, request)
            if is_expired(current.state, current.deadline, self.clock()):
                self._expire(connection, current)
                return True
            return False

        return [request for request in due if self._write(partial(expire, request=request))]

    def _expire(self, connection: sa.Connection, current: Request) -> None:
        moved = self._move(connection, current, State.EXPIRED, by=BOT)
        self._say(connection, moved, "end", messages.has_expired(current.state, current.requester))
        self._end_leases(connection, moved)

    # -- the pieces ----------------------------------------------------------------------------------------------

    def _write(self, work: Callable[[sa.Connection], T], answers: str = "") -> T:
        """One transaction; `answers` is the invocation that it answers, marked so in the same commit."""

        def answered(connection: sa.Connection) -> T:
            value = work(connection)
            if answers:
                finish_invocation(connection, answers, self.clock())
            return value

        value = self.store.write(answered)
        self.on_message()
        return value

    def _lock(self, connection: sa.Connection, request: str) -> Request:
        """The row, locked until the transaction ends (on SQLite the transaction itself is the lock)."""
        row = connection.execute(
            sa.select(tables.requests).where(tables.requests.c.id == request).with_for_update()
        ).first()
        if row is None:
            raise Refused(f"There is no request `{request}`.")
        return _request(row)

    def _mine(self, connection: sa.Connection, mine: Request) -> Request:
        current = self._lock(connection, mine.id)
        if current.epoch != mine.epoch or current.run_no != mine.run_no:
            raise Superseded(mine.id)
        return current

    def _move(self, connection: sa.Connection, current: Request, wanted: State, *, by: str, **changes: Any) -> Request:
        """The one transition: checks the arrow, writes the state, the audit row and the card's edit."""
        check_move(current.state, wanted)
        moved = self._update(connection, current, state=wanted, **changes)
        data = {"from": current.state, "to": wanted, "fingerprint": moved.fingerprint}
        self._audit(connection, current.id, by, "moved", data)
        messages.touch_card(connection, current.id, moved.updated_at, now=True)
        return moved

    def _update(self, connection: sa.Connection, current: Request, **changes: Any) -> Request:
        changes["updated_at"] = self.clock()
        connection.execute(sa.update(tables.requests).where(tables.requests.c.id == current.id).values(**changes))
        return replace(current, **changes)

    def _audit(self, connection: sa.Connection, request: str, actor: str, event: str, data: Mapping[str, Any]) -> None:
        row = {"at": self.clock(), "request": request, "actor": actor, "event": event, "data": dict(data)}
        connection.execute(sa.insert(tables.audit).values(row))

    def _say(self, connection: sa.Connection, current: Request, key: str, note: Note) -> None:
        messages.thread(connection, f"{current.id}:{key}", current.id, current.channel, note, self.clock())

    def _end_leases(self, connection: sa.Connection, current: Request) -> None:
        """Lets the targets go and starts whoever waits for them, the oldest first.

        A request that waits holds no lease, so it leaves at once here: nobody who waits for the lease lock holds a row
        that the lock's holder wants.
        """
        held = sa.select(tables.leases.c.target).where(tables.leases.c.request == current.id)
        if connection.execute(held).first() is None:
            return
        _lock_leases(connection)
        connection.execute(sa.delete(tables.leases).where(tables.leases.c.request == current.id))
        columns = tables.requests.c
        waiting = connection.execute(
            sa.select(tables.requests)
            .where(columns.waits_for == current.id, columns.state == State.APPROVED)
            .order_by(columns.updated_at, columns.id)
            .with_for_update()
        ).all()
        for row in waiting:
            other = _request(row)
            number = other.run_no + 1
            self._update(connection, other, run_no=number, waits_for=None, note=None)
            self.queue.enqueue_run(connection, other.id, number)


def _lock_leases(connection: sa.Connection) -> None:
    """Serialises taking and releasing on PostgreSQL; on SQLite a write transaction does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LEASE_LOCK)))


def finish_invocation(connection: sa.Connection, key: str, now: float) -> None:
    """Marks an invocation as answered, in the transaction that answers it."""
    connection.execute(sa.update(tables.invocations).where(tables.invocations.c.key == key).values(done_at=now))


def snapshot(connection: sa.Connection, request: str) -> Snapshot:
    """What a card shows, in the caller's transaction."""
    current = _find(connection, request)
    assert current is not None, request
    columns = tables.steps.c
    rows = connection.execute(
        sa.select(tables.steps)
        .where(columns.request == request, columns.plan_no == current.plan_no)
        .order_by(columns.position)
    ).all()
    steps = tuple(StepRecord(r.position, r.begun_at, r.ended_at, r.changed, r.evidence) for r in rows)
    return Snapshot(current, _votes(connection, current), steps)


def _step(current: Request, position: int) -> sa.ColumnElement[bool]:
    columns = tables.steps.c
    return sa.and_(columns.request == current.id, columns.plan_no == current.plan_no, columns.position == position)


def _votes(connection: sa.Connection, current: Request) -> tuple[Vote, ...]:
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


def _find(connection: sa.Connection, request: str) -> Request | None:
    row = connection.execute(sa.select(tables.requests).where(tables.requests.c.id == request)).first()
    return None if row is None else _request(row)


def _request(row: sa.Row[Any]) -> Request:
    values = dict(row._mapping)
    values["state"] = State(values["state"])
    return Request(**values)


def _columns(request: Request) -> dict[str, Any]:
    return {item.name: getattr(request, item.name) for item in fields(request)}


def _json(note: Note | None) -> dict[str, Any] | None:
    return None if note is None else note.model_dump(mode="json")


def _words(state: State) -> str:
    return state.value.replace("_", " ")


def _too_late(connection: sa.Connection, current: Request) -> str:
    """Tells the second clicker what happened and who was first."""
    approvals = [vote for vote in _votes(connection, current) if vote.approve]
    by = f" It was approved by <@{approvals[-1].person}>." if approvals else ""
    return f"Request `{current.id}` is {_words(current.state)} now, so this was not done.{by}"
