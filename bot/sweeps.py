"""What happens to requests by the clock, or after an accident: expiry, reminders, what stands still, and a database
that was put back. One transaction for each request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
from pydantic import ValidationError

from bot import messages, outgoing, tables
from bot.ledger import BOT, note_json, votes_of
from bot.lifecycle import State
from bot.records import Request
from bot.runs import Runs

log = logging.getLogger(__name__)


class Sweeps(Runs):
    """Use cases that no person asks for."""

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

    def remind(self, after: float) -> list[str]:
        """Speaks to the approvers once of each plan that has waited for `after` seconds; which requests those are."""
        columns, now = tables.requests.c, self.clock()
        waiting = self.store.read(
            lambda connection: connection.scalars(
                sa.select(columns.id).where(columns.state == State.AWAITING, columns.deadline > now)
            ).all()
        )

        def work(connection: sa.Connection, request: str) -> bool:
            current = self._lock(connection, request)
            if current.state != State.AWAITING or current.deadline is None:
                return False
            key = f"remind:{current.plan_no}"
            try:
                needs = current.quorum
            except ValidationError:  # its card says what to do; the others must not wait for it
                log.error("the needs of request %s cannot be read", request)
                return False
            since = current.deadline - needs.request_ttl
            if self.clock() - since < after or outgoing.is_there(connection, f"{request}:{key}"):
                return False
            have = sum(vote.approve for vote in votes_of(connection, current))
            self._say(connection, current, key, messages.still_waits(needs, have, current.requester))
            self._audit(connection, request, BOT, "reminded", {"fingerprint": current.fingerprint})
            return True

        return [request for request in waiting if self._write(partial(work, request=request))]

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

    def restored(self) -> list[str]:
        """The database is an earlier copy of itself: what was decided and done since is not in it. So no vote in it
        counts any more, no run goes on by itself, and what was not sent is looked for before it is posted. Which
        requests were moved for that. Called before the engine takes work up; `revive` then starts the planning."""
        columns, box = tables.requests.c, tables.outbox.c
        open_states = (State.AWAITING, State.APPROVED, State.RUNNING, State.CANCELLING)
        query = sa.select(columns.id).where(columns.state.in_(open_states))
        unsure = sa.update(tables.outbox).where(box.ts.is_(None), box.attempts == 0, box.kind != "whisper")
        moved = self.store.read(lambda connection: connection.scalars(query).all())
        for request in moved:
            self._write(partial(self._stop_trusting, request=request))
        self._write(lambda connection: connection.execute(unsure.values(attempts=1)))
        return list(moved)

    def _stop_trusting(self, connection: sa.Connection, request: str) -> None:
        current: Request = self._lock(connection, request)
        running = current.state in (State.RUNNING, State.CANCELLING)
        note = messages.was_put_back(running)
        if running:
            self._move(  # whoever carries it out at this moment finds another epoch, and stops
                connection, current, State.PARKED, by=BOT, epoch=current.epoch + 1, note=note_json(note)
            )
        elif current.state in (State.AWAITING, State.APPROVED):
            self._move(
                connection, current, State.PLANNING, by=BOT, plan_no=current.plan_no + 1, fingerprint=None,
                deadline=None, waits_for=None, note=note_json(note),
            )  # fmt: skip
            connection.execute(sa.delete(tables.leases).where(tables.leases.c.request == request))
        self._say(connection, current, f"restored:{current.plan_no}:{current.run_no}", note.to(current.requester))
