"""A request's states: the arrows of the design and no others, and an end for every way."""

from __future__ import annotations

import pytest

from bot.lifecycle import ARROWS, EXPIRES, FINAL, IllegalMove, State, check_move, is_expired

DESIGN = """
received→planning; planning→awaiting|blocked|nothing_to_do|failed|withdrawn; blocked→planning|withdrawn|expired;
awaiting→approved|denied|withdrawn|expired|planning; approved→running|planning|expired|withdrawn|failed;
running→succeeded|failed|parked|cancelling; cancelling→cancelled|parked; parked→running|abandoned
"""
PAIRS = {
    (State(start.strip()), State(end))
    for start, ends in (arrow.split("→") for arrow in DESIGN.split(";"))
    for end in ends.strip().split("|")
}


@pytest.mark.parametrize("start", State)
def test_the_arrows_are_those_of_the_design(start: State) -> None:
    for end in State:
        if (start, end) in PAIRS:
            check_move(start, end)
        else:
            with pytest.raises(IllegalMove, match=f"is {start} cannot become {end}"):
                check_move(start, end)


def test_final_states_are_left_by_nothing_and_reached_by_something() -> None:
    assert {state.value for state in FINAL} == {
        "nothing_to_do", "succeeded", "failed", "denied", "withdrawn", "expired", "cancelled", "abandoned"
    }  # fmt: skip
    reached = {end for ends in ARROWS.values() for end in ends}
    assert reached | {State.RECEIVED} == set(State)


@pytest.mark.parametrize("start", sorted(set(State) - FINAL))
def test_every_state_leads_to_an_end(start: State) -> None:
    seen, pending = set(), [start]
    while pending:
        state = pending.pop()
        if state not in seen:
            seen.add(state)
            pending += ARROWS.get(state, ())
    assert seen & FINAL


def test_nothing_runs_without_an_approval() -> None:
    """Without the arrows from `approved` and `parked`, `running` is out of reach; and `parked` only follows a run."""
    assert {start for start, ends in ARROWS.items() if State.RUNNING in ends} == {State.APPROVED, State.PARKED}
    assert {start for start, ends in ARROWS.items() if State.APPROVED in ends} == {State.AWAITING}
    assert {start for start, ends in ARROWS.items() if State.PARKED in ends} == {State.RUNNING, State.CANCELLING}


def test_what_expires_may_expire() -> None:
    assert {state for state in State if State.EXPIRED in ARROWS.get(state, ())} == EXPIRES


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("deadline", "late"), [(None, False), (101.0, False), (100.001, False), (100.0, True), (99.0, True)]
)
def test_the_clock_decides(state: State, deadline: float | None, late: bool) -> None:
    assert is_expired(state, deadline, 100.0) is (late and state in EXPIRES)
