"""The seams that everything stands on, on both databases: kills, freezes, overlapping votes, drift, cancel, resume."""

from __future__ import annotations

import json
import signal

import pytest

from tests.durability.conftest import Home, Homes


def outcome(home: Home) -> dict[str, object]:
    """What must be the same however often the process died."""
    return {
        "states": home.rows("SELECT state FROM requests"),
        "steps": home.rows("SELECT position, changed IS NULL, ended_at IS NULL FROM steps ORDER BY position"),
        "votes": home.rows("SELECT person, approve FROM votes ORDER BY person"),
        "leases": home.rows("SELECT target FROM leases"),
        "messages": sorted(str(row[0]).split(":", 1)[1] for row in home.rows("SELECT key FROM outbox")),
        "audit": sorted(str(row[0]) for row in home.rows("SELECT event FROM audit")),
        "things": sorted(path.name for path in home.world.glob("thing-*")),
    }


@pytest.mark.parametrize("script", ["approve", "park", "cancel"])
def test_kill_at_every_commit_and_effect(homes: Homes, script: str) -> None:
    """SIGKILL before and after every commit and every effect: the same end, and no finished step done again."""
    calm = homes()
    assert calm.run(script=script) == 0, calm.error()
    expected, effects = outcome(calm), len(calm.log())
    counts = json.loads((calm.folder / "counts").read_text())
    cases = [(kind, n, when) for kind in counts for n in range(1, counts[kind] + 1) for when in ("before", "after")]
    killed = 0
    for case in cases:
        home = homes()
        code = home.run(script=script, kill=case)
        if code == 0:
            continue  # this life had fewer commits than the calm one: it ended before the kill
        assert code == -signal.SIGKILL, (case, home.error())
        killed += 1
        assert home.run(script=script) == 0, (case, home.error())
        assert outcome(home) == expected, case
        assert len(home.log()) <= effects + 1, (case, home.log())
        repeated = {name for name in home.log() if home.log().count(name) > 1}
        assert not repeated or case[0] == "effect", (case, repeated)
    assert killed >= 0.8 * len(cases), f"only {killed} of {len(cases)} kills struck"
    print(f"\n{script}: {counts}, {killed} of {len(cases)} kills struck")
