"""A request's states and the arrows between them; expiry. Pure: the store asks here before it writes a state."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"
    PLANNING = "planning"
    BLOCKED = "blocked"
    NOTHING_TO_DO = "nothing_to_do"
    AWAITING = "awaiting"
    APPROVED = "approved"
    RUNNING = "running"
    PARKED = "parked"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


ARROWS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.PLANNING}),
    State.PLANNING: frozenset({State.AWAITING, State.BLOCKED, State.NOTHING_TO_DO, State.FAILED, State.WITHDRAWN}),
    State.BLOCKED: frozenset({State.PLANNING, State.WITHDRAWN, State.EXPIRED}),
    State.AWAITING: frozenset({State.APPROVED, State.DENIED, State.WITHDRAWN, State.EXPIRED, State.PLANNING}),
    State.APPROVED: frozenset({State.RUNNING, State.PLANNING, State.EXPIRED, State.WITHDRAWN, State.FAILED}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.PARKED, State.CANCELLING}),
    State.CANCELLING: frozenset({State.CANCELLED, State.PARKED}),
    State.PARKED: frozenset({State.RUNNING, State.ABANDONED}),
}

FINAL = frozenset(state for state in State if state not in ARROWS)
"""States that nothing leaves."""

UNDOABLE = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.ABANDONED})
"""States that a run ends in: it may have changed something."""

EXPIRES = frozenset({State.BLOCKED, State.AWAITING, State.APPROVED})
"""States that end by the clock."""


class IllegalMove(Exception):
    """A transition that has no arrow. A defect or a lost race, never a person's mistake."""


def check_move(current: State, wanted: State) -> None:
    """Raises IllegalMove unless there is an arrow from `current` to `wanted`."""
    if wanted not in ARROWS.get(current, frozenset()):
        raise IllegalMove(f"a request that is {current} cannot become {wanted}")


def is_expired(state: State, deadline: float | None, now: float) -> bool:
    """True when a request in `state` has passed its deadline (epoch seconds). Decided by the clock at each use; the
    sweep only makes it visible."""
    return state in EXPIRES and deadline is not None and now >= deadline
