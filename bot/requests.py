"""The use cases of asking: submit, plan, vote, withdraw, look again. One transaction each; the locks and the one
transition are `bot.ledger`'s, what happens to an approved request is `bot.runs`'s, and by the clock `bot.sweeps`'."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from bot import messages, offers, outgoing, tables
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
from bot.sweeps import Sweeps
from handlers.contract import Plan, fingerprint

EXPIRED = "This request has expired."
ASK_AGAIN = "Ask again if it is still wanted."
SEAL = 16
"""Characters of the fingerprint that a button carries, and that a click must bring."""


class Requests(Sweeps):
    """Everything that can happen to a request."""

    # -- asking --------------------------------------------------------------------------------------------------

    def submit(self, draft: Draft, echo: Note | None = None, *, offer: str = "") -> str:
        """Stores a request, its card and its planning; `echo` is whispered to the one who asked. The same invocation
        again gives the same request. `offer` is what was clicked to ask for it. Raises Refused."""

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
            self._audit(
                connection, new.id, draft.requester, "received", {"command": draft.command, "channel": draft.channel}
            )
            outgoing.card(connection, new.id, draft.channel, now)
            self._plan_again(connection, new, draft.requester, None)
            if echo is not None:
                key = f"answer:{draft.invocation}"
                outgoing.whisper(connection, key, draft.channel, draft.requester, None, echo, now)
            if draft.undoes is not None:
                self._tell_undone(connection, new)
            if offer:
                offers.take(connection, offer, new.id)
            finish_invocation(connection, draft.invocation, now)
            return new.id

        try:
            return self._write(work)
        except sa.exc.IntegrityError:  # the same invocation was stored by somebody else at this moment: it is there now
            return self._write(work)

    def _tell_undone(self, connection: sa.Connection, new: Request) -> None:
        """Says in the thread of a request that somebody asks to take its changes back. Raises Refused when that is
        under way or done already."""
        assert new.undoes is not None
        original = self._lock(connection, new.undoes)
        columns = tables.requests.c
        other = connection.scalar(
            sa.select(columns.id).where(
                columns.undoes == new.undoes, columns.id != new.id, columns.state.not_in(offers.ENDED_WITHOUT)
            )
        )
        if other is not None:
            raise Refused(f"`{other}` takes back what `{new.undoes}` changed already.")
        if original.state == State.PARKED:  # who takes its changes back gives the run up
            self._abandon(connection, original, new.requester)
        self._say(connection, original, f"undo:{new.id}", messages.is_being_undone(new.id, new.requester))

    def answered(self, invocation: str) -> None:
        """Marks an invocation whose answer stands in a modal."""
        self._write(lambda connection: finish_invocation(connection, invocation, self.clock()))

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
            moved = self._move(
                connection, current, state, by=BOT,
                plan=plan.model_dump(mode="json"), fingerprint=seal, needs=needs.model_dump(mode="json"),
                deadline=None if state in FINAL else now + needs.request_ttl,
            )  # fmt: skip
            for part, rows in enumerate(messages.overflow(plan)):
                self._say(connection, current, f"rows:{number}:{part}", rows)
            if state == State.AWAITING and current.is_time_box and needs.approvals == 0:
                self._say(connection, current, f"plan:{number}", messages.time_box_approves(needs))
                self._approve(connection, moved, BOT)
                return State.APPROVED
            if state == State.AWAITING:
                self._say(connection, current, f"plan:{number}", messages.asks_approval(plan, needs, seal))
            elif state == State.BLOCKED:
                self._say(connection, current, f"plan:{number}", messages.is_blocked(plan, current.requester))
            return state

        return self._write(work)

    def plan_failed(self, request: str, number: int, note: Note, *, passing: bool = False) -> None:
        """Ends planning with a sentence. Where the reason may be `passing` and there was a plan before, the request can
        be looked at again: an outage at the wrong moment must not cost somebody their request."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.state != State.PLANNING or current.plan_no != number:
                return
            if passing and current.needs is not None:
                words = messages.look_again_later(note)
                deadline = self.clock() + current.quorum.request_ttl
                self._move(
                    connection, current, State.BLOCKED, by=BOT, plan=None, deadline=deadline, note=note_json(words)
                )
            else:
                words = note
                self._move(connection, current, State.FAILED, by=BOT, note=note_json(words))
            self._say(connection, current, f"plan:{number}", words.to(current.requester))

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
        *,
        reason: str = "",
    ) -> State:
        """Stores one person's word on the plan whose fingerprint begins with `seal`.

        `decide` is the policy, asked after the lock with all votes on this plan, this one included; it says whether
        they fill the quorum. `reason` says why not. Raises Refused with what the person has to know.
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
                    approve=approve, at=now, reason=reason or None,
                )
            )  # fmt: skip
            event = "approved" if approve else "denied"
            seen = {"fingerprint": current.fingerprint, "reason": reason}
            self._audit(connection, request, person, f"vote.{event}", seen)
            if not approve:
                note = messages.was_denied(current.requester, person, reason)
                moved = self._move(connection, current, State.DENIED, by=person, note=note_json(note))
                self._say(connection, moved, "end", note)
                self._tell_requester(connection, moved, note)
                return State.DENIED
            votes = votes_of(connection, current)
            have = sum(vote.approve for vote in votes)
            note = messages.was_approved(person, have, current.quorum.approvals)
            self._say(connection, current, f"vote:{current.plan_no}:{person}", note)
            if not decide(current, votes):
                outgoing.touch_card(connection, current.id, now)
                return current.state
            if person != current.requester:
                self._tell_requester(connection, current, note)
            return self._approve(connection, current, person)

        return self._in_time(request, work, answers)

    def _in_time(self, request: str, work: Callable[[sa.Connection], T], answers: str) -> T:
        """`work` in one transaction; where the clock was faster, the request is expired in another one, and whoever
        asked is refused (so the invocation is answered with the refusal)."""
        try:
            return self._write(work, answers)
        except HasExpired:
            self._expire_if_due(request)
            raise Refused(EXPIRED, ASK_AGAIN) from None

    def _approve(self, connection: sa.Connection, current: Request, person: str) -> State:
        number = current.run_no + 1
        deadline = self.clock() + current.quorum.approval_ttl
        self._move(connection, current, State.APPROVED, by=person, run_no=number, deadline=deadline, note=None)
        self.queue.enqueue_run(connection, current.id, number)
        return State.APPROVED

    def check_votable(self, request: str, seal: str, person: str) -> None:
        """Whether a vote could be counted now. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if is_expired(current.state, current.deadline, self.clock()):
                raise HasExpired
            self._check_votable(connection, current, seal, person)

        self._in_time(request, work, "")

    def _check_votable(self, connection: sa.Connection, current: Request, seal: str, person: str) -> None:
        if current.state != State.AWAITING:
            raise Refused(too_late(connection, current))
        if len(seal) < SEAL or not (current.fingerprint or "").startswith(seal):
            raise Refused("The plan has changed since this button was drawn.", "Read the card: it shows what is new.")
        for vote in votes_of(connection, current):
            if vote.person == person:
                raise Refused("You have already voted on this plan.")

    def call_off(self, request: str, note: Note) -> None:
        """The bot takes back what it asked for itself and what has not begun; a run that has is left alone."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            try:
                moved = self._move(connection, current, State.WITHDRAWN, by=BOT, note=note_json(note), waits_for=None)
            except IllegalMove:
                return
            self._say(connection, moved, "end", note.to(current.requester))
            self._end_leases(connection, moved)

        self._write(work)

    def withdraw(self, request: str, person: str, answers: str = "") -> None:
        """The requester takes the request back before it runs. Raises Refused."""

        def work(connection: sa.Connection) -> None:
            current = self._lock(connection, request)
            if current.requester != person:
                raise Refused(f"Only the person who asked, <@{current.requester}>, can withdraw this request.")
            try:
                moved = self._move(connection, current, State.WITHDRAWN, by=person, note=None, waits_for=None)
            except IllegalMove:
                raise Refused(too_late(connection, current)) from None
            self._say(connection, moved, "end", messages.was_withdrawn(person))
            self._end_leases(connection, moved)

        self._write(work, answers)
