"""The seams that everything stands on, on both databases: kills, freezes, overlapping votes, drift, cancel, resume."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.durability.conftest import LONGEST_LIFE, Home, Homes

LIVES_AT_ONCE = 5
EVERY = 1 if os.environ.get("TKGBOT_ALL_KILLS") else 13
"""The gate strikes at each thirteenth commit, before it and after it by turns, and around each effect; `make test-all`
at every moment."""
TRIES = 4
"""A life may have a commit less than the undisturbed one, and end before its kill: then another one is played."""


def outcome(home: Home) -> dict[str, object]:
    """What must be the same however often the process died."""
    return {
        "states": home.rows("SELECT state FROM requests"),
        "steps": home.rows("SELECT position, changed IS NULL, ended_at IS NULL FROM steps ORDER BY position"),
        "votes": home.rows("SELECT person, approve FROM votes ORDER BY person"),
        "leases": home.rows("SELECT target FROM leases"),
        "messages": sorted(str(row[0]).split(":", 1)[1] for row in home.rows("SELECT key FROM outbox")),
        "audit": sorted(str(row[0]) for row in home.rows("SELECT event FROM audit WHERE event <> 'step.again'")),
        "things": sorted(path.name for path in home.world.glob("thing-*")),
    }


def check_cancelled(home: Home) -> None:
    """A step that died before its effect may stay undone; whatever is said about it must be true."""
    assert home.rows("SELECT state FROM requests") == [("cancelled",)]
    assert home.rows("SELECT target FROM leases") == []
    ended = {f"thing-{row[0]}" for row in home.rows("SELECT position FROM steps WHERE ended_at IS NOT NULL")}
    assert ended == {path.name for path in home.world.glob("thing-*")}
    assert ended <= {"thing-0"}


@pytest.mark.long(only=("postgres-approve", "sqlite-park", "sqlite-cancel"))
@pytest.mark.parametrize("script", ["approve", "park", "cancel"])
def test_kill_at_every_commit_and_effect(homes: Homes, script: str) -> None:
    """SIGKILL before and after every commit and every effect: the same end, and no finished step done again."""
    calm = homes()
    assert calm.run(script=script) == 0, calm.error()
    expected, effects = outcome(calm), len(calm.log())
    counts = json.loads((calm.folder / "counts").read_text())
    cases = chosen(counts)

    def strike(case: tuple[str, int, str]) -> bool:
        for _ in range(TRIES):
            home = homes()
            code = home.run(script=script, kill=case)
            if code != 0:
                break
        else:
            return False
        assert code == -signal.SIGKILL, (case, home.error())
        assert home.run(script=script) == 0, (case, home.error())
        if script == "cancel":
            check_cancelled(home)
        else:
            assert outcome(home) == expected, case
        assert len(home.log()) <= effects + 1, (case, home.log())
        repeated = {name for name in home.log() if home.log().count(name) > 1}
        assert not repeated or case[0] == "effect", (case, repeated)
        return True

    with ThreadPoolExecutor(LIVES_AT_ONCE) as pool:
        struck = list(pool.map(strike, cases))
    missed = [case for case, is_struck in zip(cases, struck, strict=True) if not is_struck]
    assert not missed, f"never struck: {missed}"
    print(f"\n{script}: {counts}, {len(cases)} kills struck")


def chosen(counts: dict[str, int]) -> list[tuple[str, int, str]]:
    """The moments to strike at: (kind, number, before or after)."""
    every = [(kind, n, when) for kind in counts for n in range(1, counts[kind] + 1) for when in ("before", "after")]
    commits = [case for case in every if case[0] != "effect"]
    return [case for case in every if case[0] == "effect" or commits.index(case) % EVERY == 0]


def test_the_sample_has_both_sides_of_commits_and_of_every_effect() -> None:
    """A death after an effect that nobody has written down is the one that matters."""
    sample = chosen({"commit": 40, "effect": 3})
    assert {case for case in sample if case[0] == "effect"} == {
        ("effect", n, when) for n in (1, 2, 3) for when in ("before", "after")
    }
    assert {when for kind, _, when in sample if kind == "commit"} == {"before", "after"}


@pytest.mark.long(but=1)
def test_two_overlapping_votes_fill_a_quorum_of_two(homes: Homes) -> None:
    """Two processes' votes at the same moment: both count, one run, never a request that waits with a full quorum."""
    home = homes()
    assert home.run(script="votes", approvals=2, counting=False) == 0, home.error()
    rounds = home.rows("SELECT state, run_no FROM requests")
    assert rounds == [("succeeded", 1)] * 10
    assert home.rows("SELECT count(*) FROM votes") == [(20,)]


@pytest.mark.long(but=1)
def test_the_same_command_a_hundred_times_is_one_request(homes: Homes) -> None:
    home = homes()
    assert home.run(script="hundred", counting=False) == 0, home.error()
    assert home.rows("SELECT count(*) FROM requests") == [(1,)]
    assert home.rows("SELECT count(*) FROM outbox WHERE kind = 'card'") == [(1,)]
    assert home.rows("SELECT count(*) FROM audit WHERE event = 'received'") == [(1,)]


@pytest.mark.long(but=1)
def test_a_rollback_leaves_nothing(homes: Homes) -> None:
    home = homes()
    before = tables_filled(home)
    assert home.run(script="rollback", counting=False) == 0, home.error()
    assert tables_filled(home) == before


@pytest.mark.long(but=1)
def test_drift_from_a_to_b_and_back_to_a_needs_new_votes(homes: Homes) -> None:
    """The approval of A is void once B was seen, also when the world is A again: the old vote does not count."""
    home = homes()
    assert home.run(script="drift", counting=False) == 0, home.error()
    assert home.rows("SELECT state, plan_no, run_no FROM requests") == [("succeeded", 3, 2)]
    votes = home.rows("SELECT plan_no, fingerprint FROM votes ORDER BY plan_no")
    assert [row[0] for row in votes] == [1, 3]
    assert votes[0][1] == votes[1][1], "the world was A both times"
    assert home.rows("SELECT count(*) FROM audit WHERE event = 'drift'") == [(1,)]


@pytest.mark.long(but=1)
def test_a_plan_that_changed_before_the_click_refuses_the_old_button(homes: Homes) -> None:
    home = homes()
    assert home.run(script="stale", counting=False) == 0, home.error()
    assert home.rows("SELECT state FROM requests") == [("awaiting",)]
    assert home.rows("SELECT count(*) FROM votes") == [(0,)]


@pytest.mark.long(but=1)
def test_two_requests_for_one_target_follow_each_other(homes: Homes) -> None:
    """The second waits without a thread and is started by the first one's end."""
    home = homes()
    assert home.run(script="queue", counting=False) == 0, home.error()
    states = home.rows("SELECT state, started_at IS NULL FROM requests ORDER BY created_at")
    # The first made everything, so the second's approval was void when its turn came, and its new plan was empty.
    assert [(state, bool(never)) for state, never in states] == [("succeeded", False), ("nothing_to_do", True)]
    assert home.rows("SELECT count(*) FROM leases") == [(0,)]


@pytest.mark.long(but=1)
def test_what_stands_still_for_good_is_started_anew(homes: Homes) -> None:
    home = homes()
    assert home.run(script="revive", counting=False) == 0, home.error()
    assert home.rows("SELECT state, plan_no, run_no FROM requests") == [("succeeded", 2, 2)]
    assert home.log() == ["thing-0", "thing-1", "thing-2"]


@pytest.mark.long(but=1)
def test_a_cancel_does_not_wait_for_a_world_out_of_reach(homes: Homes) -> None:
    home = homes()
    assert home.run(script="cancel_blind", counting=False) == 0, home.error()
    check_cancelled(home)


@pytest.mark.long(but=1)
def test_what_is_under_way_is_left_alone(homes: Homes) -> None:
    home = homes()
    assert home.run(script="left_alone", counting=False) == 0, home.error()
    assert home.rows("SELECT state, run_no FROM requests") == [("succeeded", 1)]


@pytest.mark.long(but=1)
def test_frozen_in_the_middle_of_a_step_and_thawed(homes: Homes) -> None:
    """SIGSTOP and SIGCONT of the only process: it goes on as if nothing had been."""
    home = homes()
    (home.world / "hold").touch()
    life = home.start(script="approve", counting=False)
    wait_for(home.world / "holding")
    os.kill(life.pid, signal.SIGSTOP)
    (home.world / "hold").unlink()
    os.kill(life.pid, signal.SIGCONT)
    assert life.wait(LONGEST_LIFE) == 0, home.error()
    assert home.log() == ["thing-0", "thing-1", "thing-2"]


@pytest.mark.parametrize("homes", ["postgres"], indirect=True)
def test_a_frozen_replica_is_taken_over_and_cannot_write_when_it_thaws(homes: Homes) -> None:
    """SIGSTOP one replica in the middle of a step; another finishes the run; SIGCONT: the first leaves no word."""
    home = homes()
    (home.world / "hold").touch()
    first = home.start(script="approve", counting=False, executor="first", beat=0.5, dead_after=10)
    wait_for(home.world / "holding")
    os.kill(first.pid, signal.SIGSTOP)
    (home.world / "hold").unlink()
    second = home.start(script="serve", counting=False, executor="second", beat=0.5, dead_after=10)
    wait_until(lambda: home.rows("SELECT state FROM requests") == [("succeeded",)])
    calm = outcome(home)
    os.kill(first.pid, signal.SIGCONT)
    first.wait(LONGEST_LIFE)
    assert outcome(home) == calm, "the thawed replica wrote something"
    assert sorted(set(home.log())) == ["thing-0", "thing-1", "thing-2"]
    assert home.log().count("thing-1") == home.log().count("thing-2") == 1, "a finished step ran twice"
    (home.folder / "stop").touch()
    second.wait(LONGEST_LIFE)


def tables_filled(home: Home) -> dict[str, int]:
    names = ("invocations", "requests", "votes", "steps", "leases", "outbox", "audit")
    names += ("workflow_status",) if home.url is None else ("dbos.workflow_status",)
    return {name: int(str(home.rows(f"SELECT count(*) FROM {name}")[0][0])) for name in names}


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
