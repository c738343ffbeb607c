"""Steps: for each kind its model (what is stored and approved) and its executor (how it observes, applies, undoes)."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import ValidationError

from handlers.contract import Fatal, Observation, Outcome, RunWorld, Step
from handlers.steps import tag


class Executor(Protocol):
    """How one kind of step is done."""

    def observe(self, step: Any, world: RunWorld) -> Observation:
        """Is it so?"""
        ...

    def apply(self, step: Any, world: RunWorld) -> Outcome:
        """Makes it so; what is so already is left alone."""
        ...

    def undo(self, step: Any, world: RunWorld) -> Outcome:
        """Puts back what was observed before."""
        ...


KINDS: dict[str, tuple[type[Step], Executor]] = {"tag": (tag.TagStep, tag.TagExecutor())}
"""Every kind of step, by the name that is stored."""


def decode(stored: dict[str, Any]) -> tuple[Step, Executor]:
    """A stored step as its own model, and who carries it out. An unknown kind or another shape is refused: nothing is
    guessed, and nothing but data is ever read back from the database."""
    model, executor = KINDS.get(str(stored.get("kind")), (None, None))
    if model is None or executor is None:
        raise Fatal("A stored step is of a kind that this version of tkgbot does not know, so it was not carried out.")
    try:
        return model.model_validate(stored), executor
    except ValidationError as error:
        raise Fatal("A stored step cannot be read by this version of tkgbot, so it was not carried out.") from error
