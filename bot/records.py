"""A request as it is stored and shown: plain frozen data. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Needs, Vote
from handlers.contract import Plan

TIME_BOX = "time box"


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
    undoes: str | None = field(default=None, kw_only=True)
    cause: str | None = field(default=None, kw_only=True)

    @property
    def is_time_box(self) -> bool:
        """True when the end of a time box asks for it, and no person."""
        return self.cause == TIME_BOX


@dataclass(frozen=True)
class Request(Draft):
    """A row of `requests`. Times are epoch seconds."""

    id: str
    state: State
    created_at: float
    updated_at: float
    deadline: float | None
    plan_no: int
    run_no: int
    epoch: int
    plan: dict[str, Any] | None
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

    def touched(self) -> tuple[int, ...]:
        """The positions of the steps that changed something, or may have."""
        return tuple(r.position for r in self.steps if r.ended_at is None or r.changed)

    def what_changed(self) -> tuple[str, ...]:
        """What a run changed and what it did not, a sentence a step, from the records alone."""
        try:
            plan = self.request.planned
        except ValidationError:
            return ("The stored plan cannot be read; the steps that were recorded are in the audit.",)
        ended = {record.position: record for record in self.steps if record.ended_at is not None}
        begun = {record.position for record in self.steps}
        lines: list[str] = []
        for position, step in enumerate(plan.steps):
            if position in ended:
                lines.append(f"{'Changed' if ended[position].changed else 'Already so'}: {step.title}")
            elif position in begun:
                lines.append(f"Begun, and not seen to be done: {step.title}")
            else:
                lines.append(f"Not begun, so not changed: {step.title}")
        return tuple(lines)
