"""`account onboard` with the bot ended by SIGKILL at its moments: one stack, one statement in the trust beside those of
other people, one role more in the controllers' policy, one identity, one result; and the same while it waits for a
person.

With TKGBOT_ALL_KILLS the bot dies between any two commits and changes of the run; and at so many looks at AWS of each
kind as `OFTEN` says, and so many messages as `SENDS` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.durability.accountlife import (
    GRANTED,
    OTHERS,
    bring_in,
    clear,
    prepare,
    wait_for_person,
)
from tests.durability.clusterlife import COMMAND
from tests.durability.keeper import ALL, BOUNDED, Keeper, Moment
from tests.durability.matrix import OFTEN, Databases, Life, Matrix, chosen, counted, differences, moments_of
from tests.scenario.accounts import SECOND, SID, STACK, arn_of
from tests.world import SETTINGS, World

pytestmark = pytest.mark.long

CHANGES = ("CreateChangeSet", "ExecuteChangeSet", "UpdateAssumeRolePolicy", "PutRolePolicy")
"""The bot's calls of AWS that change something; the others only look."""
EACH = 1000
SENDS = 16
IDENTITY = "PATCH awsclusterroleidentities"
EFFECTS: tuple[Moment, ...] = tuple((label, 1, "after") for label in (*CHANGES, IDENTITY))
"""Made, and not yet written down."""
FEW = {"sqlite": {"commit": 2, "slack": 1}, "postgres": {"commit": 1, "slack": 1}}
FEW_EFFECTS = {"sqlite": EFFECTS, "postgres": EFFECTS[1::2]}
FEW_WAITING = {"poll": 1}
"""Without TKGBOT_ALL_KILLS, so many of each kind."""
CASES = [("sqlite", "their roles"), ("postgres", "no roles")]
CASES += [("sqlite", "no roles"), ("postgres", "their roles")] if ALL else []
"""Where the roles are there, the trust is written by a step of its own; where they are not, by the stack."""
GIVES_UP = SETTINGS.replace("person_patience: 60", "person_patience: 2")
Play = Callable[[Keeper, str, Moment | None], Life]


@pytest.fixture
def accounts(worlds: list[World], request: pytest.FixtureRequest) -> list[World]:
    """Worlds with nothing of the bot's in any account. With `their roles`, other people use the account, too."""
    for world in worlds:
        prepare(world, with_roles=getattr(request, "param", "") == "their roles")
    return worlds


@pytest.fixture
def impatient(accounts: list[World]) -> Iterator[list[World]]:
    """Worlds in which the bot soon gives up waiting for a person."""
    for world in accounts:
        world.settings.write_text(GIVES_UP)
    yield accounts
    for world in accounts:
        world.settings.write_text(SETTINGS)


def undisturbed(world: World, databases: Databases, play: Play) -> tuple[Keeper, Life]:
    """The first keeper, and the life that all others are compared with."""
    keeper = Keeper(world, databases(), command=COMMAND)
    try:
        life = play(keeper, "calm", None)
        clear(world, "calm")
        assert life.seen.state == "succeeded", life.seen
        assert set(life.seen.changes.values()) == {1}, life.seen.changes
    except BaseException:
        keeper.end()
        raise
    return keeper, life


def all_die(
    worlds: list[World], databases: Databases, first: Keeper, calm: Life, kills: list[Moment | None], play: Play
) -> tuple[list[str], list[Moment]]:
    """Plays the life with each death; what went wrong, and which deaths struck. None is a death of the life's own."""
    struck: list[Moment] = []

    def one(keeper: Keeper, name: str, kill: Moment | None) -> list[str]:
        life = play(keeper, name, kill)
        struck.extend([kill] if life.struck and kill else [])
        return differences(life, calm, kill)

    wrong = Matrix(worlds, databases, one, clear, World.calm).run(
        first, "kill", kills, lambda kill: kill is None or kill in struck
    )
    return wrong, struck


@BOUNDED
@pytest.mark.parametrize(("databases", "accounts"), CASES, indirect=True)
def test_killed_while_an_account_is_brought_in(
    accounts: list[World], databases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL before and after commits, calls of AWS and of Kubernetes, and messages."""
    first, calm = undisturbed(accounts[0], databases, bring_in)
    tied_once(calm, request.node.callspec.params["accounts"] == "their roles")
    database = request.node.callspec.params["databases"]
    every = moments_of(calm.moments, CHANGES, often=EACH, sends=SENDS, looks=OFTEN)
    effects = [kill for kill in (EFFECTS if ALL else FEW_EFFECTS[database]) if kill[0] in every_label(calm)]
    kills: list[Moment | None] = [*dict.fromkeys([*chosen(every, FEW[database]), *effects])]
    wrong, struck = all_die(accounts, databases, first, calm, kills, bring_in)
    print(f"\n{request.node.name}: {counted([calm])}; {len(struck)} of {len(kills)} kills struck")
    assert not wrong, "\n".join(wrong)


def every_label(life: Life) -> set[str]:
    """What the moments of a life are called."""
    return {str(moment[3]) for moment in life.moments}


def tied_once(calm: Life, with_roles: bool) -> None:
    """The undisturbed life did everything once, and left alone what is other people's."""
    seen = calm.seen
    others = 1 + len(OTHERS) if with_roles else 1
    assert [STACK in stack and "CREATE_COMPLETE" in stack for stack in seen.stacks] == [True], seen.stacks
    assert [SID in statement for statement in seen.trust] == [False] * others + [True], seen.trust
    assert [sorted(one["Resource"]) for one in seen.granted] == [sorted([GRANTED, arn_of(SECOND)])], seen.granted
    assert len(seen.identities) == 1
    assert len(seen.changes) == len(CHANGES) + with_roles, seen.changes


@BOUNDED
@pytest.mark.parametrize("databases", ["sqlite", "postgres"] if ALL else ["sqlite"], indirect=True)
def test_killed_while_a_person_is_waited_for(
    accounts: list[World], databases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL while the run waits for a stack that a person makes, and that is made while nobody looks."""
    first, calm = undisturbed(accounts[0], databases, wait_for_person)
    kills = chosen(moments_of(calm.moments, CHANGES, since="poll"), FEW_WAITING)
    wrong, struck = all_die(accounts, databases, first, calm, [None, *kills], _at_rest(wait_for_person))
    print(f"\n{request.node.name}: {counted([calm])}; {len(struck)} of {len(kills)} kills struck, 1 at rest")
    assert not wrong, "\n".join(wrong)


@BOUNDED
@pytest.mark.parametrize("databases", ["sqlite", "postgres"] if ALL else ["postgres"], indirect=True)
def test_killed_while_it_is_parked_for_a_person(
    impatient: list[World], databases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL when nobody waits any more: the run is parked, and resumed when the stack is there."""
    play = partial(wait_for_person, parks=True)
    first, calm = undisturbed(impatient[0], databases, play)
    wrong, _ = all_die(impatient, databases, first, calm, [None], _at_rest(play))
    print(f"\n{request.node.name}: {counted([calm])}; 1 at rest")
    assert not wrong, "\n".join(wrong)


def _at_rest(play: Callable[..., Life]) -> Play:
    """Without an ordered death the bot dies at rest."""
    return lambda keeper, name, kill: play(keeper, name, kill, at_rest=kill is None)
