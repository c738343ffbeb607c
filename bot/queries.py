"""What people ask about requests: lists, one request, its log, and why it stands where it stands.

Reads only. A request is shown to whoever asked for it, to whoever may approve it by what its plan needs, and to
everybody in its own channel: a card in a private channel stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from bot import messages, tables
from bot.headline import STATE_WORDS, first_line, readable_plan, what_of
from bot.ledger import Refused, request_of, snapshot
from bot.lifecycle import State
from bot.messages import Note
from bot.own import Which
from bot.policy import Decision, Need, Person
from bot.records import Request, Snapshot
from bot.store import Store

LISTED = 15
LOOKED_AT = 200
LOGGED = 29
"""Lines of a log: a message shows 30, and the last ones matter most."""
UNDER_WAY = (State.APPROVED, State.RUNNING, State.PARKED, State.CANCELLING)


@dataclass(frozen=True)
class Queries:
    """Answers from the store. `address` makes a link to a message from its channel and timestamp."""

    store: Store
    address: Callable[[str, str], str]

    # -- finding -------------------------------------------------------------------------------------------------

    def see(self, request: str, person: Person, channel: str) -> Snapshot:
        """One request, if this person may see it from this channel. Raises Refused."""
        shot = self.store.read(lambda connection: _found(connection, request))
        if shot is None or not may_see(shot.request, person, channel):
            raise Refused(f"There is no request `{request}` that you can see from here.")
        return shot

    def by_card(self, channel: str, ts: str) -> str | None:
        """The request whose card stands at `ts`."""
        box = tables.outbox.c
        query = sa.select(box.request).where(box.kind == "card", box.channel == channel, box.ts == ts)
        return self.store.read(lambda connection: connection.scalar(query))

    # -- lists ---------------------------------------------------------------------------------------------------

    def listed(self, which: Which, person: Person, channel: str) -> Note:
        """A line a request, the newest first, each with a link to its card."""
        shots = self._of(which, person, channel)
        titles = {
            "here": "Requests of this channel", "mine": "Your requests",
            "waiting": "Waiting for your approval", "running": "Under way",
        }  # fmt: skip
        if not shots:
            return Note(text=f"{titles[which]}: none.")
        left = len(shots) - LISTED
        more = (f"… and {'at least ' * (len(shots) == LOOKED_AT)}{left} more",) if left > 0 else ()
        shots = shots[:LISTED]
        return Note(
            text=f"{titles[which]}:",
            bullets=(*(line_of(shot.request) for shot in shots), *more),
            people=tuple({shot.request.requester for shot in shots}),
            links=self.links(shot.request for shot in shots),
            dates=True,
        )

    def _of(self, which: Which, person: Person, channel: str) -> list[Snapshot]:
        columns = tables.requests.c
        wanted = {
            "here": columns.channel == channel,
            "mine": columns.requester == person.id,
            "waiting": columns.state == State.AWAITING,
            "running": columns.state.in_(UNDER_WAY),
        }[which]
        query = sa.select(tables.requests).where(wanted).order_by(columns.created_at.desc()).limit(LOOKED_AT)

        def work(connection: sa.Connection) -> list[Snapshot]:
            found = [request_of(row) for row in connection.execute(query)]
            seen = [request for request in found if may_see(request, person, channel)]
            if which != "waiting":
                return [Snapshot(request, (), ()) for request in seen]
            theirs = [snapshot(connection, request.id) for request in seen if may_vote(request, person)]
            return [shot for shot in theirs if all(vote.person != person.id for vote in shot.votes)]

        return self.store.read(work)

    def links(self, requests: Iterable[Request]) -> dict[str, str]:
        """Where the cards of requests stand."""
        wanted = {request.id: request.channel for request in requests}
        box = tables.outbox.c
        query = sa.select(box.request, box.ts).where(
            box.kind == "card", box.request.in_(list(wanted)), box.ts.is_not(None)
        )
        rows = self.store.read(lambda connection: connection.execute(query).all())
        return {row.request: self.address(wanted[row.request], row.ts) for row in rows}

    # -- one -----------------------------------------------------------------------------------------------------

    def shown(self, shot: Snapshot) -> Note:
        """Where a request stands, who voted, what was done, and the command that asked for it."""
        request = shot.request
        plan = readable_plan(request)
        bullets = [f"`{request.id}`, asked for by <@{request.requester}> <at {int(request.created_at)}>"]
        if request.undoes:
            bullets.append(f"Takes back `{request.undoes}`.")
        bullets += [_vote(vote.person, vote.approve, vote.at) for vote in shot.votes]
        if request.deadline is not None:
            word = "Must start before" if request.state == State.APPROVED else "Expires"
            bullets.append(f"{word} <at {int(request.deadline)}>")
        done = shot.what_changed() if plan is not None and request.started_at is not None else ()
        return Note(
            text=first_line(request, plan),
            bullets=(*bullets, *_why(request)),
            facts=(*_facts(request), *done),
            code=request.command,
            people=(request.requester, *(vote.person for vote in shot.votes), *_named(request)),
            links=self.links([request]),
            dates=True,
        )

    def log(self, shot: Snapshot) -> Note:
        """What happened to a request, from the audit, the newest LOGGED lines."""
        columns = tables.audit.c
        query = sa.select(tables.audit).where(columns.request == shot.request.id).order_by(columns.seq)
        every = self.store.read(lambda connection: connection.execute(query).all())
        rows, left = every[-LOGGED:], len(every) - LOGGED
        people = {row.actor for row in rows if _is_person(row.actor)}
        return Note(
            text=f"What happened to `{shot.request.id}`:",
            bullets=(
                *((f"… {left} earlier lines are in the audit",) if left > 0 else ()),
                *(f"<at {int(row.at)}> {_event(row, shot)}" for row in rows),
            ),
            people=tuple(people),
            dates=True,
        )

    def why(self, shot: Snapshot, decision: Decision | None) -> Note:
        """Why a request stands where it stands, and what this person can do about it while it waits (`decision`)."""
        request = shot.request
        plan = readable_plan(request)
        bullets: list[str] = []
        people: tuple[str, ...] = ()
        groups: tuple[str, ...] = ()
        if request.state in (State.AWAITING, *UNDER_WAY):
            for need in _needs(request):
                bullets.append(f"Rule “{need.rule}” wants {need.approvals} approval{'s' * (need.approvals != 1)}.")
        if request.state == State.AWAITING and _needs(request):
            names, people, groups = messages.approvers(request.quorum)
            have = sum(vote.approve for vote in shot.votes)
            bullets.append(f"It has {have} of {request.quorum.approvals}; who can: {names}.")
            bullets += [f"You: {reason}" for reason in (decision.reasons if decision else ())]
        if request.waits_for and request.state == State.APPROVED:
            bullets.append(f"It starts when `{request.waits_for}` has ended.")
        bullets += _why(request)
        facts = list(_facts(request))
        if plan is not None and request.state == State.BLOCKED:
            facts += [f"{check.title}: {check.evidence} → {check.fix}" for check in plan.checks if check.blocks]
        return Note(
            text=first_line(request, plan), bullets=(*bullets, NEXT[request.state]), facts=tuple(facts),
            people=(*people, request.requester, *_named(request)), groups=groups, links=self.links([request]),
        )  # fmt: skip


NEXT: dict[State, str] = {
    State.RECEIVED: "It is being planned.",
    State.PLANNING: "AWS is being looked at; nothing is changed by that.",
    State.BLOCKED: "Mend what is said here and press “Look again” on its card.",
    State.NOTHING_TO_DO: "It was so already, so nothing was changed.",
    State.AWAITING: "Nothing is changed before it is approved.",
    State.APPROVED: "It is about to start.",
    State.RUNNING: "Its steps are being carried out. “Cancel” stops it after the step in flight.",
    State.PARKED: "A person has to look: “Resume” goes on, “Abandon” gives it up.",
    State.CANCELLING: "The step in flight is let end, then it stops.",
    State.SUCCEEDED: "It was done and proven.",
    State.FAILED: "It has ended. Ask again when the cause is mended.",
    State.DENIED: "An approver said no. Nothing was changed.",
    State.WITHDRAWN: "It was taken back. Nothing was changed.",
    State.EXPIRED: "Its time ran out. Nothing was changed.",
    State.CANCELLED: "It was stopped on request; what it had changed stays.",
    State.ABANDONED: "It was given up; what it had changed stays.",
}


def may_see(request: Request, person: Person, channel: str) -> bool:
    """In its own channel, one's own, or one that a person may vote on."""
    return request.channel == channel or request.requester == person.id or may_vote(request, person)


def may_vote(request: Request, person: Person) -> bool:
    """Whether a plan's stored needs name this person: for lists only. The policy itself is asked at every click."""
    return any(
        need.approve.holds(person) and (need.requester_counts or person.id != request.requester)
        for need in _needs(request)
    )


def _needs(request: Request) -> tuple[Need, ...]:
    """What the plan needs; nothing where the stored needs cannot be read: one bad row must not hide the others."""
    try:
        return request.quorum.each if request.needs else ()
    except ValidationError:
        return ()


def line_of(request: Request) -> str:
    """`🟡 r-7f3a2c approval needed: tag 3 subnets for demo, by @dev`."""
    sign, word = STATE_WORDS[request.state]
    what = what_of(request, readable_plan(request))
    return f"{sign} `{request.id}` {word}: {what}, by <@{request.requester}> <at {int(request.created_at)}>"


def _found(connection: sa.Connection, request: str) -> Snapshot | None:
    known = connection.scalar(sa.select(tables.requests.c.id).where(tables.requests.c.id == request))
    return None if known is None else snapshot(connection, request)


def _why(request: Request) -> tuple[str, ...]:
    return () if request.why is None else (request.why.text,)


def _facts(request: Request) -> tuple[str, ...]:
    return () if request.why is None else request.why.facts


def _named(request: Request) -> tuple[str, ...]:
    return () if request.why is None else request.why.people


def _vote(person: str, approve: bool, at: float) -> str:
    return f"<@{person}> {'approved' if approve else 'denied'} it <at {int(at)}>"


def _is_person(actor: str) -> bool:
    return actor[:1] in ("U", "W") and actor.isalnum()


def _event(row: Any, shot: Snapshot) -> str:
    """One audit row as a sentence without values from outside."""
    who = f"<@{row.actor}>" if _is_person(row.actor) else "tkgbot"
    plan = readable_plan(shot.request)
    position = row.data.get("position")
    step = f"step {int(position) + 1} of {len(plan.steps)}" if plan is not None and position is not None else "a step"
    changed = "changed" if row.data.get("changed") else "was so already"
    sentences = {
        "received": "asked for it",
        "moved": f"{STATE_WORDS[State(row.data['to'])][1].lower()}" if row.event == "moved" else "",
        "vote.approved": "approved",
        "vote.denied": "denied",
        "step.begun": f"began {step}",
        "step.again": f"went on with {step}",
        "step.ended": f"ended {step}: it {changed}",
        "waits": "waits for another request",
        "drift": "found that things had changed, so the approval was void",
        "reminded": "reminded the approvers",
        "revived": "started it anew after it had stood still",
    }
    return f"{who}: {sentences.get(row.event, row.event)}"
