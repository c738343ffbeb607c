"""`cluster create` and its undo, a `cluster delete`, with the bot ended by SIGKILL at its moments: one cluster,
each object applied once, one result; and the same where the run was parked in between.

With TKGBOT_ALL_KILLS the bot dies between any two commits of the run, changes in AWS and changes in Kubernetes; of what
one life repeats (messages, looks at a cluster that comes up) at so many as `OFTEN` says.
"""

from __future__ import annotations

from itertools import zip_longest

import pytest

from tests.durability.clusterlife import (
    COMMAND,
    GONE,
    WITHIN,
    Before,
    click,
    create,
    look,
    machines_of,
    undo,
    until_ended,
    vanish,
)
from tests.durability.keeper import BOUNDED, Keeper, Moment
from tests.durability.matrix import (
    OFTEN,
    Databases,
    Life,
    Matrix,
    begin,
    chosen,
    counted,
    differences,
    moments_of,
    spread,
)
from tests.world import DEV, Json, World, eventually

pytestmark = pytest.mark.long

FEW = {"commit": 2, "kube": 2, "aws": 1, "poll": 2, "slack": 1}
FEW_OF_UNDO = {"commit": 1, "kube": 1, "poll": 1}
FEW_OF_PARK = {"poll": 1}
"""Without TKGBOT_ALL_KILLS, so many of each kind."""
CHANGES = {"CreateTags"}
"""Calls of AWS that change something; the others only look."""
PERHAPS = {"The management cluster reaches the cluster's API.", "The cluster is available."}
"""Nobody waits for it: the run may be over before."""
UNSEEN = PERHAPS | {
    "The workers are gone.", "The control plane is gone.", "The load balancer of its API server is gone.",
    "The load balancer of its API server and the security groups are gone.",
}  # fmt: skip
"""What went while the bot was dead is not told step by step any more."""


# -- lives -------------------------------------------------------------------------------------------------------


def end(keeper: Keeper, name: str, card: Json, before: Before) -> Life:
    """The life that has ended."""
    return Life(look(keeper, name, card, before), keeper.moments(), list(keeper.codes))


def make(keeper: Keeper, name: str, kill: Moment | None) -> tuple[Json, Life]:
    """A cluster is asked for, approved and made."""
    before = begin(keeper, kill)
    card = create(keeper, name)
    click(keeper, card, "approve")
    until_ended(keeper, card)
    return card, end(keeper, name, card, before)


def take_back(keeper: Keeper, name: str, card: Json, kill: Moment | None) -> Life:
    """Its undo is asked for, approved and done."""
    before = begin(keeper, kill)
    new = undo(keeper, card, name)
    click(keeper, new, "approve")
    until_ended(keeper, new)
    return end(keeper, name, new, before)


def park(keeper: Keeper, name: str, kill: Moment | None, *, at_rest: bool = False) -> Life:
    """AWS has no room for the worker: the run is parked, and resumed when there is room. With `at_rest` the bot dies
    while it is parked."""
    world = keeper.world
    world.view.aws_faults(no_capacity=["m5.large"])
    before = begin(keeper, kill)
    card = create(keeper, name)
    click(keeper, card, "approve")
    assert until_ended(keeper, card) == "parked"
    if at_rest:
        known = keeper.starts
        keeper.bot.kill()
        eventually(lambda: keeper.starts > known, WITHIN)
    make_room(world)
    eventually(lambda: len(machines_of(world, name)) == 2, WITHIN)
    click(keeper, card, "resume", DEV)
    until_ended(keeper, card, GONE)
    return end(keeper, name, card, before)


def make_room(world: World) -> None:
    """AWS has machines of every type again."""
    world.view.aws_faults(no_capacity=[])


# -- the deaths --------------------------------------------------------------------------------------------------


@BOUNDED
def test_killed_while_a_cluster_is_made_and_taken_back(
    worlds: list[World], databases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at the moments of `cluster create`, and at those of its undo."""
    first = Keeper(worlds[0], databases(), command=COMMAND)
    card, calm = make(first, "calm-make", None)
    calm_undo = take_back(first, "calm-make", card, None)
    vanish(worlds[0], "calm-make")
    assert calm.seen.state == calm_undo.seen.state == "succeeded", (calm.seen, calm_undo.seen)
    assert set(calm.seen.objects.values()) == {"as approved"}, calm.seen.objects
    assert set(calm.seen.changes.values()) == {1}, calm.seen.changes
    assert (calm_undo.seen.objects, calm_undo.seen.machines, calm_undo.seen.balancers) == ({}, [], 0)
    strikes = chosen(moments_of(calm.moments, CHANGES), FEW)
    undone = chosen(moments_of(calm_undo.moments, CHANGES), FEW_OF_UNDO)
    struck: list[tuple[str, Moment | None]] = [("make", None), ("undo", None)]

    def has_struck(case: tuple[Moment | None, Moment | None]) -> bool:
        return ("make", case[0]) in struck and ("undo", case[1]) in struck

    def play(keeper: Keeper, name: str, case: tuple[Moment | None, Moment | None]) -> list[str]:
        card, life = make(keeper, name, case[0])
        struck.extend([("make", case[0])] if life.struck else [])
        wrong = differences(life, calm, case[0], PERHAPS)
        if case[1] is None or wrong:
            return wrong
        life = take_back(keeper, name, card, case[1])
        struck.extend([("undo", case[1])] if life.struck else [])
        return differences(life, calm_undo, case[1], UNSEEN)

    wrong = Matrix(worlds, databases, play, vanish, make_room).run(
        first, "kill", list(zip_longest(strikes, undone)), has_struck
    )
    count = len(strikes) + len(undone)
    print(f"\n{request.node.name}: {counted([calm])}; undo: {counted([calm_undo])}")
    print(f"{count} kills struck ({len(strikes)} while it was made, {len(undone)} at its undo)")
    assert not wrong, "\n".join(wrong)


@BOUNDED
def test_killed_around_a_park(worlds: list[World], databases: Databases, request: pytest.FixtureRequest) -> None:
    """SIGKILL when a run is about to be parked, while it is parked, and after it was resumed."""
    first = Keeper(worlds[0], databases(), command=COMMAND)
    calm = park(first, "calm-park", None)
    vanish(worlds[0], "calm-park")
    assert calm.seen.state == "succeeded", calm.seen
    assert set(calm.seen.changes.values()) == {1}, calm.seen.changes
    strikes = spread(chosen(moments_of(calm.moments, CHANGES, since="poll"), FEW_OF_PARK), OFTEN)
    struck: list[Moment] = []

    def play(keeper: Keeper, name: str, kill: Moment | None) -> list[str]:
        life = park(keeper, name, kill, at_rest=kill is None)
        struck.extend([kill] if life.struck and kill else [])
        return differences(life, calm, kill, PERHAPS)

    wrong = Matrix(worlds, databases, play, vanish, make_room).run(
        first, "park", [None, *strikes], lambda kill: kill is None or kill in struck
    )
    print(f"\n{request.node.name}: {counted([calm])}; {len(struck)} of {len(strikes)} kills struck, 1 at rest")
    assert not wrong, "\n".join(wrong)
    assert len(struck) >= 0.7 * len(strikes), f"only {len(struck)} of {len(strikes)} kills struck"
