"""`cluster cleanup` with the bot ended by SIGKILL at its moments: every leftover is deleted once, nothing else is
touched, one result.

With TKGBOT_ALL_KILLS the bot dies between any two commits of the run, and before and after each change in AWS; of what
one life repeats (messages, commits of a kind) at so many as `OFTEN` says. Without it, one world's bot is on SQLite, the
other's on PostgreSQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest

from tests.durability.clusterlife import COMMAND, Before, Left, asked, changes_of, click, left, until_ended
from tests.durability.keeper import ALL, BOUNDED, Keeper, Moment, fresh_database
from tests.durability.matrix import Databases, Life, Matrix, begin, chosen, counted, differences, moments_of
from tests.scenario.leftovers import WHOLE, leave, sweep, there
from tests.world import Json, World

pytestmark = pytest.mark.long

CHANGES = {
    "DeleteLoadBalancer", "DeleteTargetGroup", "DeleteNetworkInterface", "ReleaseAddress", "DeleteVolume",
    "RevokeSecurityGroupIngress", "DeleteSecurityGroup", "DeleteTags",
}  # fmt: skip
"""Calls of AWS that change something; the others only look."""
ONCE = {
    "elasticloadbalancing:DeleteLoadBalancer": 2, "elasticloadbalancing:DeleteTargetGroup": 1,
    "ec2:DeleteNetworkInterface": 1, "ec2:ReleaseAddress": 1, "ec2:DeleteVolume": 1,
    "ec2:RevokeSecurityGroupIngress": 2, "ec2:DeleteSecurityGroup": 2, "ec2:DeleteTags": 1,
}  # fmt: skip
"""One call for each thing."""
DRY = "DryRunOperation"
"""What only asks; a plan that is made anew asks once more."""
FEW = {"aws": 3, "commit": 1}
"""Without TKGBOT_ALL_KILLS, so many of each kind."""
NEIGHBOUR = "-2"
"""What the name of another cluster ends with that begins alike."""
NOBODYS_NAMES = (
    (r"\b(sg|eni|vol|eipalloc)-[0-9a-f]+\b", r"\1-ID"),
    (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
    (r"\b\d+ (s|min)\b", "AGE"),
)


@pytest.fixture(params=["sqlite", "postgres"] if ALL else ["both"])
def bases(request: pytest.FixtureRequest) -> Databases:
    """Makes an empty database for a bot; `both` takes turns."""
    kinds = cycle(["sqlite", "postgres"] if request.param == "both" else [request.param])
    server: str = request.getfixturevalue("postgres") if request.param != "sqlite" else ""
    return lambda: fresh_database(server) if next(kinds) == "postgres" else None


@dataclass(frozen=True)
class Cleaned(Left):
    """And what it left in AWS."""

    changes: dict[str, int]
    """How often each call of the bot changed something, with its outcome where it was refused."""
    mine: dict[str, int]
    neighbours: dict[str, int]
    """What a living cluster beside it has."""


def clean(keeper: Keeper, name: str, kill: Moment | None) -> Life:
    """Leftovers of one cluster, its neighbour beside it, and a cleanup that is asked for, approved and done."""
    world = keeper.world
    leave(world, name)
    leave(world, f"{name}{NEIGHBOUR}")
    before = begin(keeper, kill)
    card = asked(keeper, f"cluster cleanup {name} --volumes", f"clean up what cluster {name} left in AWS")
    click(keeper, card, "approve")
    until_ended(keeper, card)
    return Life(look(keeper, name, card, before), keeper.moments(), list(keeper.codes))


def look(keeper: Keeper, name: str, card: Json, before: Before) -> Cleaned:
    """Everything that is to be seen of the request and of what is in AWS."""
    world = keeper.world
    return Cleaned(
        **{key: _plain(value) for key, value in left(keeper, name, card, before).items()},
        changes={call: count for call, count in changes_of(world, name, before).items() if DRY not in call},
        mine=there(world, name),
        neighbours=there(world, f"{name}{NEIGHBOUR}"),
    )


def _plain(value: Any) -> Any:
    """Texts without what differs from life to life."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        for pattern, word in NOBODYS_NAMES:
            value = re.sub(pattern, word, value)
    return value


def clear(world: World, name: str) -> None:
    """What a life left, and its neighbour."""
    sweep(world, name)
    sweep(world, f"{name}{NEIGHBOUR}")


def is_cleaned_once(calm: Life) -> None:
    """The undisturbed cleanup took everything away, by one call each."""
    seen = calm.seen
    assert isinstance(seen, Cleaned)
    assert (seen.state, seen.mine, seen.neighbours) == ("succeeded", {}, WHOLE), seen
    assert seen.changes == ONCE, seen.changes


@BOUNDED
def test_killed_while_leftovers_are_cleaned_up(
    worlds: list[World], bases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at the moments of `cluster cleanup`."""
    first = Keeper(worlds[0], bases(), command=COMMAND)
    try:
        calm = clean(first, "calm", None)
        clear(worlds[0], "calm")
        is_cleaned_once(calm)
    except BaseException:
        first.end()
        raise
    strikes = chosen(moments_of(calm.moments, CHANGES), FEW)
    struck: list[Moment] = []

    def play(keeper: Keeper, name: str, kill: Moment) -> list[str]:
        life = clean(keeper, name, kill)
        struck.extend([kill] if life.struck else [])
        return differences(life, calm, kill)

    wrong = Matrix(worlds, bases, play, clear, lambda world: None).run(
        first, "gone", strikes, lambda kill: kill in struck
    )
    print(f"\n{request.node.name}: {counted([calm])}; {len(struck)} of {len(strikes)} kills struck")
    assert not wrong, "\n".join(wrong)
