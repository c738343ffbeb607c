"""The use cases of a run: claim, lease, start, each step, end, park, resume, cancel. One transaction each.

Words about a run are written under its epoch: a process that lost its run to another gets Superseded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy as sa

from bot import messages, offers, outgoing, tables
from bot.ledger import BOT, Ledger, Refused, lock_leases, note_json, snapshot, step_row, too_late
from bot.lifecycle import State
from bot.messages import Note
from bot.records import Request, Snapshot
from handlers.contract import Exhibit, File, Offer, Outcome, Sheet


class Runs(Ledger):
    """What happens to an approved request."""

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
        """Takes all targets of the plan together; the id of the request to wait for where one is taken, else None. A
        run that has begun needs only those of the steps that are left.

        A request that waits here is started by the release of the one before it, not by polling.
        """

        def work(connection: sa.Connection) -> str | None:
            lock_leases(connection)
            current = self._mine(connection, mine)
            targets = sorted(_needed(connection, current))
            taken = connection.execute(sa.select(tables.leases).where(tables.leases.c.target.in_(targets))).all()
            holder = next((row.request for row in taken if row.request != current.id), None)
            if holder is not None:
                note = messages.waits_behind(holder)
                self._update(connection, current, waits_for=holder, note=note_json(note))
                outgoing.touch_card(connection, current.id, self.clock())
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

    def explain(self, mine: Request, note: Note) -> None:
        """Says on the card why nothing moves just now."""

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            words = note_json(note)
            if current.note != words:
                self._update(connection, current, note=words)
                outgoing.touch_card(connection, current.id, self.clock(), now=True)

        self._write(work)

    def expire_approval(self, mine: Request) -> None:
        """The approval ran out before the run could start."""

        def work(connection: sa.Connection) -> None:
            self._expire(connection, self._mine(connection, mine))

        self._write(work)

    def begin_step(self, mine: Request, position: int) -> Literal["first", "again", "let go", "cancelled"]:
        """Writes the intent before the effect. `again` when it was there already: an earlier try may have had its
        effect. `let go` when the step had ended and its targets are not this run's any more: then it may only be looked
        at. `cancelled` when a cancel was asked for: then nothing may be begun."""

        def work(connection: sa.Connection) -> Literal["first", "again", "let go", "cancelled"]:
            current = self._mine(connection, mine)
            if current.state == State.CANCELLING:
                return "cancelled"
            where = step_row(current, position)
            row = connection.execute(sa.select(tables.steps).where(where)).first()
            begun = row is not None
            if not begun:
                now = self.clock()
                connection.execute(
                    sa.insert(tables.steps).values(
                        request=current.id, plan_no=current.plan_no, position=position, begun_at=now
                    )
                )
                outgoing.touch_card(connection, current.id, now)
            event = "step.again" if begun else "step.begun"
            self._audit(connection, current.id, BOT, event, self._about(current, position))
            if row is not None and row.ended_at is not None and not _holds(connection, current, position):
                return "let go"
            return "again" if begun else "first"

        return self._write(work)

    def end_step(self, mine: Request, position: int, outcome: Outcome) -> None:
        """Writes the outcome after the effect was seen, and lets the targets go that no later step has."""

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            now = self.clock()
            changed = connection.execute(
                sa.update(tables.steps)
                .where(step_row(current, position), tables.steps.c.ended_at.is_(None))
                .values(ended_at=now, changed=outcome.changed, evidence=outcome.evidence)
            )
            if changed.rowcount:
                data = {"changed": outcome.changed, "evidence": outcome.evidence}
                self._audit(connection, current.id, BOT, "step.ended", {**self._about(current, position), **data})
                title = current.planned.steps[position].title
                self._say(connection, current, f"step:{position}", messages.step_ended(title, outcome))
                self._update(connection, current, note=None)
                self._end_leases(connection, current, kept=_needed(connection, current))
                outgoing.touch_card(connection, current.id, now)

        self._write(work)

    def reached(self, mine: Request, sentences: tuple[str, ...], exhibits: tuple[Exhibit, ...] = ()) -> None:
        """Tells the thread what a step has reached, each sentence once, and shows it what there is to see, each exhibit
        once."""
        shown = [
            (_mark(json.dumps(exhibit.model_dump())), _safe(exhibit)) for exhibit in exhibits
        ]  # slow for a long log

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            for sentence in sentences:
                key = f"reached:{current.plan_no}:{_mark(sentence)}"
                self._say(connection, current, key, messages.was_reached(sentence))
            for mark, exhibit in shown:
                self._show(connection, current, f"shown:{current.plan_no}:{mark}", exhibit)

        self._write(work)

    def _show(self, connection: sa.Connection, current: Request, key: str, exhibit: Exhibit) -> None:
        if isinstance(exhibit, Sheet):
            for number, note in enumerate(messages.sheet(exhibit)):
                self._say(connection, current, f"{key}:{number}" if number else key, note)
            return
        outgoing.file(connection, f"{current.id}:{key}", current.id, current.channel, exhibit, self.clock())

    def _about(self, current: Request, position: int) -> dict[str, Any]:
        """Which step it is, so that the audit can be read without the rest of the database."""
        title = current.planned.steps[position].title
        return {"position": position, "plan_no": current.plan_no, "run_no": current.run_no, "title": title}

    def end(
        self,
        mine: Request,
        state: State,
        note: Callable[[Snapshot], Note],
        more: tuple[Note, ...] = (),
        offered: tuple[Offer, ...] = (),
    ) -> None:
        """Ends a run: succeeded, failed, cancelled or parked. Ending twice changes nothing. `note` is told the thread
        from what was recorded, and mentions the requester; `more` follows it, and what is `offered` as buttons."""

        def work(connection: sa.Connection) -> None:
            current = self._mine(connection, mine)
            if current.state == state:
                return
            if current.state == State.APPROVED and state == State.PARKED:
                final = State.FAILED  # nothing had begun, so there is nothing to resume
            elif current.state == State.CANCELLING and state in (State.SUCCEEDED, State.FAILED):
                # The cancel came after the last step had begun: say what is, in the state that a cancel ends in.
                final = State.CANCELLED if state == State.SUCCEEDED else State.PARKED
            else:
                final = state
            words = note(snapshot(connection, current.id))
            ended = None if final == State.PARKED else self.clock()
            moved = self._move(connection, current, final, by=BOT, note=note_json(words), ended_at=ended)
            key = f"parked:{current.run_no}" if final == State.PARKED else "end"
            self._say(connection, moved, key, words.to(current.requester))
            for part, further in enumerate(more):
                self._say(connection, moved, f"{key}:{part}", further)
            for number, offer in enumerate(offered):
                self._offer(connection, moved, f"offer:{number}", Note(text=offer.title.replace("`", "'")), (offer,))
            if final != State.PARKED:  # a parked run keeps its targets: its change is half made
                self._end_leases(connection, moved)

        self._write(work)

    def _offer(
        self, connection: sa.Connection, current: Request, key: str, note: Note, offered: tuple[Offer, ...]
    ) -> None:
        """Says something in the thread with buttons under it."""
        buttons = offers.put(connection, f"{current.id}:{key}", current.channel, offered, self.clock())
        self._say(connection, current, key, note.model_copy(update={"buttons": buttons}))

    def cancel(self, request: str, person: str, answers: str = "") -> None:
        """Asks a run to stop after the step in flight. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.RUNNING:
                raise Refused(too_late(connection, current))
            self._move(connection, current, State.CANCELLING, by=person)

        self._write(work, answers)

    def resume(self, request: str, person: str, answers: str = "") -> None:
        """Goes on with a parked run, from what is observed. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.PARKED:
                raise Refused(too_late(connection, current))
            number = current.run_no + 1
            self._move(connection, current, State.RUNNING, by=person, run_no=number, note=None)
            self.queue.enqueue_run(connection, current.id, number)

        self._write(work, answers)

    def abandon(self, request: str, person: str, answers: str = "") -> None:
        """Gives a parked run up; what was done stays. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.PARKED:
                raise Refused(too_late(connection, current))
            self._abandon(connection, current, person)

        self._write(work, answers)

    def _abandon(self, connection: sa.Connection, current: Request, person: str) -> None:
        moved = self._move(connection, current, State.ABANDONED, by=person, ended_at=self.clock())
        note = messages.was_abandoned(snapshot(connection, current.id).what_changed(), current.requester, person)
        self._say(connection, moved, "end", note)
        self._end_leases(connection, moved)


def _mark(text: str) -> str:
    """What tells one thing that was said or shown from another."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _safe(exhibit: Exhibit) -> Exhibit:
    return messages.safe_file(exhibit) if isinstance(exhibit, File) else exhibit


def _holds(connection: sa.Connection, current: Request, position: int) -> bool:
    """Are all targets of a step this request's own now?"""
    columns = tables.leases.c
    held = set(connection.scalars(sa.select(columns.target).where(columns.request == current.id)))
    return set(current.planned.steps[position].targets) <= held


def _needed(connection: sa.Connection, current: Request) -> set[str]:
    """The plan's targets, but for those of steps that have ended and of no other one. The last step's are needed to the
    end: nobody may change what is about to be proven."""
    columns = tables.steps.c
    found = sa.select(columns.position).where(
        columns.request == current.id, columns.plan_no == current.plan_no, columns.ended_at.is_not(None)
    )
    ended = {row.position for row in connection.execute(found)}
    steps = current.planned.steps
    done = {target for position in ended for target in steps[position].targets}
    open_ = [step for position, step in enumerate(steps) if position not in ended]
    left = {target for step in (*open_, *steps[-1:]) for target in step.targets}
    return set(current.planned.targets) - (done - left)
