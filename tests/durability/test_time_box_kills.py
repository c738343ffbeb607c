"""`cluster expire` with the bot ended by SIGKILL at its moments: one change, whose end no repetition moves.

With TKGBOT_ALL_KILLS the bot dies between any two commits of the run, and before and after its change.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from tests.durability.clusterlife import COMMAND, asked, click, look, until_ended, vanish
from tests.durability.keeper import BOUNDED, Keeper, Moment
from tests.durability.matrix import Databases, Life, Matrix, begin, chosen, counted, differences, moments_of
from tests.scenario.clusters import CLUSTERS, Administrator
from tests.world import World

pytestmark = pytest.mark.long

FEW = {"commit": 3, "kube": 2, "slack": 1}
ENDS_AT = "tkgbot/ends-at"
EIGHT_HOURS = 8 * 3600


def made(world: World, name: str) -> None:
    """A Cluster object that nobody reconciles: nothing else of a cluster is looked at here."""
    Administrator(world).make(
        CLUSTERS, {"kind": "Cluster", "metadata": {"name": name}, "spec": {"paused": True}}, "default"
    )


def expire(keeper: Keeper, name: str, kill: Moment | None) -> tuple[Life, dict[str, str]]:
    """An end is asked for, approved and written; what the object says of it."""
    made(keeper.world, name)
    before = begin(keeper, kill)
    card = asked(keeper, f"cluster expire {name} 8h", f"delete cluster {name} in 8 hours")
    click(keeper, card, "approve")
    until_ended(keeper, card)
    life = Life(look(keeper, name, card, before), keeper.moments(), list(keeper.codes))
    found: Any = Administrator(keeper.world).get(CLUSTERS, name, "default")
    return life, found["metadata"].get("annotations") or {}


@BOUNDED
def test_killed_while_an_end_is_written(
    worlds: list[World], databases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at the moments of `cluster expire`."""
    first = Keeper(worlds[0], databases(), command=COMMAND)
    calm, _ = expire(first, "calm-end", None)
    vanish(worlds[0], "calm-end")
    assert (calm.seen.state, calm.seen.changes) == ("succeeded", {"patch clusters CLUSTER: 200": 1}), calm.seen
    strikes = chosen(moments_of(calm.moments, ()), FEW)
    struck: list[Moment] = []

    def play(keeper: Keeper, name: str, kill: Moment) -> list[str]:
        begun = time.time()
        life, notes = expire(keeper, name, kill)
        struck.extend([kill] if life.struck else [])
        end = datetime.fromisoformat(notes[ENDS_AT]).timestamp()
        wrong = [] if begun - 1 <= end - EIGHT_HOURS <= time.time() else [f"{kill}: its end is {notes[ENDS_AT]}"]
        return [*wrong, *differences(life, calm, kill)]

    wrong = Matrix(worlds, databases, play, vanish, lambda world: None).run(
        first, "end", strikes, lambda kill: kill in struck
    )
    print(f"\n{request.node.name}: {counted([calm])}; {len(struck)} of {len(strikes)} kills struck")
    assert not wrong, "\n".join(wrong)
