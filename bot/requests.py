"""The use cases of asking: submit, plan, vote, withdraw, look again, expire. One transaction each; the locks and the
one transition are `bot.ledger`'s, what happens to an approved request is `bot.runs`'s."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from bot import messages, outgoing, tables
from bot.ledger import (
    BOT,
    HasExpired,
    Refused,
    T,
    columns_of,
    find,
    finish_invocation,
    note_json,
    too_late,
    votes_of,
    words_of,
)
from bot.lifecycle import FINAL, IllegalMove, State, is_expired
from bot.messages import Note
from bot.policy import Needs, Vote
from bot.records import Draft, Request
from bot.runs import Runs
from handlers.contract import Plan, fingerprint

EXPIRED = "This request has expired. Nothing was changed. Ask again if it is still wanted."
SEAL = 16
"""Characters of the fingerprint that a button carries, and that a click must bring."""


class Requests(Runs):
    """Everything that can happen to a request."""

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
                **vars(draft), id=self._free_id(connection), state=State.RECEIVED, created_at=now, updated_at=now,
                deadline=None, plan_no=0, run_no=0, epoch=0, plan=None, fingerprint=None, needs=None,
                waits_for=None, note=None, started_at=None, ended_at=None,
            )  # fmt: skip
            connection.execute(sa.insert(tables.requests).values(columns_of(new)))
            self._audit(connection, new.id, draft.requester, "received", {"command": draft.command})
            outgoing.card(connection, new.id, draft.channel, now)
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
            if find(connection, candidate) is None:
                return candidate

    def look_again(self, request: str, person: str, answers: str = "") -> None:
        """Plans anew what is blocked or waits. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if is_expired(current.state, current.deadline, self.clock()):
                raise HasExpired
            if current.state not in (State.BLOCKED, State.AWAITING):
                state = words_of(current.state)
                raise Refused(f"`{request}` is {state}; only a blocked or waiting one is looked at again.")
            self._plan_again(connection, current, person, None)

        self._in_time(request, work, answers)

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
                self._move(connection, current, State.FAILED, by=BOT, note=note_json(note))
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

        def work(connection: sa.Connection) -> State:
            current = self._lock(connection, request)
            now = self.clock()
            if is_expired(current.state, current.deadline, now):
                raise HasExpired
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
            if not decide(current, votes_of(connection, current)):
                outgoing.touch_card(connection, current.id, now)
                return current.state
            return self._approve(connection, current, person)

        return self._in_time(request, work, answers)

    def _in_time(self, request: str, work: Callable[[sa.Connection], T], answers: str) -> T:
        """`work` in one transaction; where the clock was faster, the request is expired in another one, and whoever
        asked is refused (so the invocation is answered with the refusal)."""
        try:
            return self._write(work, answers)
        except HasExpired:
            self._expire_if_due(request)
            raise Refused(EXPIRED) from None

    def _approve(self, connection: sa.Connection, current: Request, person: str) -> State:
        number = current.run_no + 1
        deadline = self.clock() + current.quorum.approval_ttl
        self._move(connection, current, State.APPROVED, by=person, run_no=number, deadline=deadline, note=None)
        self.queue.enqueue_run(connection, current.id, number)
        return State.APPROVED

    def _check_votable(self, connection: sa.Connection, current: Request, seal: str, person: str) -> None:
        if current.state != State.AWAITING:
            raise Refused(too_late(connection, current))
        if len(seal) < SEAL or not (current.fingerprint or "").startswith(seal):
            raise Refused("The plan has changed since this button was drawn. Read the card: it shows what is new.")
        for vote in votes_of(connection, current):
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
                raise Refused(too_late(connection, current)) from None
            self._say(connection, moved, "end", messages.was_withdrawn(person))
            self._end_leases(connection, moved)

        self._write(work, answers)

    def revive(self, is_dead: Callable[[str, str, int], bool], after: float = 60.0) -> list[str]:
        """Starts anew what should move and cannot: its workflow ended without a word (a defect, or a database that was
        gone at the wrong moment). Which requests those were."""
        columns, now = tables.requests.c, self.clock()
        moving = (State.PLANNING, State.APPROVED, State.RUNNING, State.CANCELLING)
        quiet = self.store.read(
            lambda connection: connection.scalars(
                sa.select(columns.id).where(
                    columns.state.in_(moving), columns.updated_at < now - after, columns.waits_for.is_(None)
                )
            ).all()
        )

        def work(connection: sa.Connection, request: str) -> bool:
            current = self._lock(connection, request)
            planning = current.state == State.PLANNING
            number = current.plan_no if planning else current.run_no
            if current.state not in moving or not is_dead("plan" if planning else "run", request, number):
                return False
            self._audit(connection, request, BOT, "revived", {"state": current.state})
            if planning:
                self._update(connection, current, plan_no=number + 1)
                self.queue.enqueue_plan(connection, request, number + 1)
            else:
                self._update(connection, current, run_no=number + 1)
                self.queue.enqueue_run(connection, request, number + 1)
            return True

        return [request for request in quiet if self._write(partial(work, request=request))]

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

        return [request for request in due if self._expire_if_due(request)]
