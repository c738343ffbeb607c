"""`gpu install` and `gpu test --scale 2` with the bot ended by SIGKILL at their moments: each object applied once as it
was approved, one machine more, one Job and one verdict a node, one table and one picture, no Job left; and the same
where the bot dies or is resumed while a driver compiles.

With TKGBOT_ALL_KILLS the bot dies before and after every change in Kubernetes, and between any two commits of the run;
of what one life repeats (commits of a kind, messages, looks) at so many as `OFTEN` and `SENDS` say. Without it, one
world's bot is on SQLite, the other's on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle

import pytest

from tests.durability.clusterlife import PACE
from tests.durability.gpulife import (
    COMMAND,
    Seen,
    die_while_it_compiles,
    die_while_it_is_parked,
    grow,
    install,
    prepare,
)
from tests.durability.keeper import ALL, BOUNDED, Keeper, Moment, fresh_database
from tests.durability.matrix import OFTEN, Databases, Life, Matrix, counted, differences, moments_of
from tests.world import World

pytestmark = pytest.mark.long

EACH = 1000
SENDS = 16
PERHAPS = {"PART: 1/2 ready."}
"""Nobody waits for it: both may be ready before."""
OF_INSTALL: tuple[Moment, ...] = (("PATCH clusterpolicies", 1, "after"),)
OF_GROWTH: tuple[Moment, ...] = (
    ("PATCH machinedeployments", 1, "after"),
    ("PATCH jobs", 1, "after"),
    ("PATCH nodes", 1, "after"),
    ("upload", 1, "after"),
    ("files.completeUploadExternal", 1, "after"),
)
"""Made, and not yet written down; of two Jobs or verdicts the first one only. The sample without TKGBOT_ALL_KILLS."""
ALWAYS: tuple[Moment, ...] = (("files.getUploadURLExternal", 1, "after"),)
"""Messages of which one each has to be among those that are struck with it."""
AT_REST = ("compiling", "parked") if ALL else ("compiling",)
"""Lives with a death of their own."""
Case = tuple[str, Moment | None]
"""Which life, and where it is struck; None for a death of the life's own."""


@pytest.fixture(scope="module")
def clusters(worlds: list[World]) -> list[World]:
    """Worlds with one cluster each that has a GPU machine: it serves for all lives."""
    with ThreadPoolExecutor(len(worlds)) as pool:
        list(pool.map(prepare, worlds))
    return worlds


@pytest.fixture(params=["sqlite", "postgres"] if ALL else ["both"])
def bases(request: pytest.FixtureRequest) -> Databases:
    """Makes an empty database for a bot; `both` takes turns."""
    kinds = cycle(["sqlite", "postgres"] if request.param == "both" else [request.param])
    server = request.getfixturevalue("postgres") if request.param != "sqlite" else None
    return lambda: fresh_database(server) if next(kinds) == "postgres" else None


def strikes(life: Life, sample: tuple[Moment, ...]) -> list[Moment]:
    """Where to strike in a life."""
    if not ALL:
        return list(sample)
    changes = [moment for kind, moment in moments_of(life.moments, (), often=EACH) if kind == "kube"]
    others = [moment for kind, moment in moments_of(life.moments, (), often=OFTEN, sends=SENDS) if kind != "kube"]
    labels = {str(moment[3]) for moment in life.moments}
    always = [moment for moment in (*sample, *ALWAYS) if moment[0] in labels]
    return list(dict.fromkeys([*changes, *others, *always]))


def is_installed_once(calm: Life) -> None:
    """The undisturbed installation did everything once."""
    seen = calm.seen
    assert isinstance(seen, Seen)
    assert (seen.state, seen.gpus) == ("succeeded", [1]), seen
    assert set(seen.objects.values()) == {"as approved"}, seen.objects
    assert len(seen.changes) == len(seen.objects), seen.changes
    assert set(seen.changes.values()) == {1}, seen.changes


def is_tested_once(calm: Life) -> None:
    """The undisturbed test did everything once."""
    seen = calm.seen
    assert isinstance(seen, Seen)
    assert (seen.state, seen.gpus, seen.replicas, seen.jobs) == ("succeeded", [1, 1], 2, 0), seen
    assert seen.machines.count("g4dn.xlarge") == 2
    assert seen.verdicts == ["mine: passed"] * 2
    assert seen.changes == {
        "patch machinedeployments CLUSTER-md-gpu: 200": 1,
        "inside: patch jobs JOB: 201": 2,
        "inside: patch nodes NODE: 200": 2,
        "inside: delete jobs JOB: 200": 2,
    }
    assert sum("VERDICT" in text for text in seen.thread) == seen.pictures == 1


@BOUNDED
def test_killed_while_gpus_are_installed_and_tested(
    clusters: list[World], bases: Databases, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at the moments of an installation, and at those of a test on a machine that is made for it."""
    first = Keeper(clusters[0], bases(), command=COMMAND)
    try:
        calm = {"install": install(first, None), "grow": grow(first, None)}
        is_installed_once(calm["install"])
        is_tested_once(calm["grow"])
    except BaseException:
        first.end()
        raise
    cases: list[Case] = [
        *(("install", kill) for kill in strikes(calm["install"], OF_INSTALL)),
        *(("grow", kill) for kill in strikes(calm["grow"], OF_GROWTH)),
        *((rest, None) for rest in AT_REST),
    ]
    struck: list[Case] = []

    def play(keeper: Keeper, _name: str, case: Case) -> list[str]:
        life = LIVES[case[0]](keeper, case[1])
        struck.extend([case] if life.struck else [])
        if case[0] == "parked":
            return told_apart(life, calm["grow"])
        return [f"{case[0]} {text}" for text in differences(life, calm.get(case[0], calm["grow"]), case[1], PERHAPS)]

    wrong = Matrix(clusters, bases, play, lambda _world, _name: None, mend, COMMAND).run(
        first, "gpu", cases, lambda case: case[1] is None or case in struck
    )
    ordered = sum(kill is not None for _, kill in cases)
    print(f"\n{request.node.name}: install: {counted([calm['install']])}; test: {counted([calm['grow']])}")
    print(f"{len(struck)} of {ordered} kills struck, {len(AT_REST)} at rest")
    assert not wrong, "\n".join(wrong)


LIVES: dict[str, Callable[[Keeper, Moment | None], Life]] = {
    "install": install,
    "grow": grow,
    "compiling": partial(grow, meanwhile=die_while_it_compiles),
    "parked": partial(grow, meanwhile=die_while_it_is_parked),
}


def told_apart(life: Life, calm: Life) -> list[str]:
    """A run that was parked says more than one that was not; what it did is the same, and it was parked once."""
    names = ("state", "leases", "unsent", "changes", "jobs", "verdicts", "gpus", "replicas", "machines", "pictures")
    seen, wanted = vars(life.seen), vars(calm.seen)
    found = [
        f"parked {name}: {seen[name]}\n      is not {wanted[name]}" for name in names if seen[name] != wanted[name]
    ]
    parks = sum("Somebody has to look" in text for text in life.seen.thread)
    return found if parks == 1 else [*found, f"parked {parks} times: {life.seen.thread}"]


def mend(world: World) -> None:
    """Nothing of a life that went wrong is left switched on."""
    world.calm()
    world.kube_faults(pace=PACE)
