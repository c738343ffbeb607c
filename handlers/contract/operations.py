"""Operations: what can be asked for, and what the engine asks of those who carry it out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from handlers.contract.arguments import Arguments
from handlers.contract.plan import Check, Inverse, Json, Observation, Outcome, Plan, Report
from handlers.contract.survey import Extent, Finding, Made, Offer, Survey, TimeBox
from handlers.contract.worlds import Caller, ReadWorld

A = TypeVar("A", bound=Arguments)


class Spoken(Generic[A]):
    """Something that can be asked for in words. Grammar, help, forms and policy names are generated from these."""

    name: str
    summary: str
    examples: tuple[str, ...]
    arguments: type[A]
    changes: bool


class Operation(Spoken[A], ABC):
    """A kind of work that changes something: planned, approved, run, proven.

    `approvals` is how many people have to approve it where the policy's rule names no number. `typed_again` is the
    argument that a person has to type once more, in a form, before the request is made; none where it is empty. `ends`
    are operations whose outcome for the same cluster or account is not meant to last after this one.
    """

    changes = True
    approvals = 1
    typed_again = ""
    ends: tuple[str, ...] = ()

    @abstractmethod
    def plan(self, arguments: A, world: ReadWorld) -> Plan:
        """Looks, and says what would be changed. Changes nothing."""

    @abstractmethod
    def verify(self, arguments: A, plan: Plan, world: ReadWorld) -> list[Check]:
        """Did it really work? Looks anew; `plan` says what was promised, nothing comes from the run itself."""

    def inverse(self, arguments: A, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """What would put back what `plan`'s steps observed before they changed it; None where nothing can.

        `touched` are the positions of the steps that changed something, or may have. Pure: the inverse operation looks
        at the world when it plans.
        """
        return None

    def follow_up(self, arguments: A, plan: Plan, world: ReadWorld) -> tuple[Offer, ...]:
        """What somebody may want to ask for next, looked for after a run that was proven."""
        return ()

    def drift(self, arguments: A, world: ReadWorld) -> tuple[Finding, ...]:
        """What a finished request of this operation made so, and is not so any more. Looks, and changes nothing."""
        return ()


class ReportOperation(Spoken[A], ABC):
    """A look at the world: needs a policy rule, and no approval."""

    changes = False

    @abstractmethod
    def report(self, arguments: A, world: ReadWorld) -> Report:
        """Looks, and answers. Changes nothing."""


class Workshop(Protocol):
    """Everything that the engine asks of the operations side. Steps and arguments come as stored JSON."""

    def plan(self, operation: str, arguments: Json, caller: Caller) -> Plan:
        """Plans one operation in a ReadWorld."""
        ...

    def act(self, step: Json, caller: Caller) -> Outcome:
        """Observes one step and, where it is not so yet, applies it. Idempotent."""
        ...

    def observe(self, step: Json, caller: Caller) -> Observation:
        """Looks whether one step is so."""
        ...

    def verify(self, operation: str, arguments: Json, plan: Plan, caller: Caller) -> list[Check]:
        """Verifies the whole with fresh sessions."""
        ...

    def report(self, operation: str, arguments: Json, caller: Caller) -> Report:
        """Answers a read-only operation in a ReadWorld."""
        ...

    def inverse(self, operation: str, arguments: Json, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """What takes back what the touched steps of a run changed; None where nothing can."""
        ...

    def follow_up(self, operation: str, arguments: Json, plan: Plan, caller: Caller) -> tuple[Offer, ...]:
        """What somebody may want to ask for after a run that was proven."""
        ...

    def survey(self, extent: Extent, made: Sequence[Made], caller: Caller) -> Survey:
        """How everything within `extent` stands, and what of what requests `made` is not so any more. What cannot be
        looked at is a gap of the answer, never an error."""
        ...

    def time_boxes(self, caller: Caller) -> list[TimeBox]:
        """Every cluster whose time is limited, in one list. Raises Retry or Fatal."""
        ...
