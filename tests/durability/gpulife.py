"""The life of a cluster's GPUs in a bot that is made to die: the operator is installed, the nodes are tested and one
more is made; and what must be there at the end of each.

`python -m tests.durability.gpulife` is the bot of `clusterlife`, which counts two more kinds of moments: the looks of
the steps that wait for GPUs, and the upload of a file's bytes, the second of its three calls.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.__main__ import main
from bot.slack.uploading import Uploader
from bot.tour import words
from handlers.steps.await_cluster import AwaitClusterExecutor
from handlers.steps.await_gpus import AwaitGpusExecutor
from handlers.steps.gpu_test import GpuCleanExecutor, GpuTestExecutor
from tests.durability.clusterlife import (
    GONE,
    WITHIN,
    Before,
    Left,
    asked,
    changes_of,
    click,
    compared,
    left,
    machines_of,
    nap,
    planned_objects,
    until_ended,
    watch_changes,
    watch_looks,
    without_names,
)
from tests.durability.gpuground import marked, replicas, shrink, uninstall, verdicts
from tests.durability.keeper import Keeper, Moment
from tests.durability.killable import Moments, hurry, look_at_deliveries, watch_calls, watch_commits
from tests.durability.matrix import Life, begin
from tests.scenario.gpus import CLUSTER, JOBS, Owner, gpus, made
from tests.world import DEV, SETTINGS, Json, World, eventually

COMMAND = ("-m", "tests.durability.gpulife")
PLACE = f"default/{CLUSTER}"
COMPILES = "the driver compiles"
NOBODYS_NAMES = (
    (r"tkgbot-gpu-\S+-[0-9a-f]{8}", "JOB"),
    (r"Test PASSED in \d+ s", "Test PASSED in SOME s"),
    (r"(\d+\.\d+) \d+ (g4dn\.\w+)", r"\1 SECONDS \2"),
)


@dataclass(frozen=True)
class Seen(Left):
    """And what it left in the cluster, as its owner sees it."""

    objects: dict[str, str]
    """The objects that were planned, with how they stand to the plan; and what carries the bot's mark beside them."""
    changes: dict[str, int]
    """How often each call of the bot changed something, with its status: in AWS, on the management cluster, and in the
    workload cluster."""
    jobs: int
    verdicts: list[str]
    """What stands on each GPU node, `mine` when this request wrote it."""
    gpus: list[int]
    """How many GPUs can be asked for, on each GPU machine."""
    replicas: int
    machines: list[str]
    pictures: int


# -- what people do ----------------------------------------------------------------------------------------------


def install(keeper: Keeper, kill: Moment | None) -> Life:
    """The operator is installed in a cluster that has none."""
    world = keeper.world
    if len(gpus(world)) > 1:
        shrink(world, 1)
    if marked(Owner(world)):
        uninstall(world)
    return live(keeper, f"gpu install {CLUSTER}", "install GPU operator", kill)


def grow(keeper: Keeper, kill: Moment | None, meanwhile: Callable[[Keeper, Json], None] | None = None) -> Life:
    """A second GPU machine is made, and both are tested. `meanwhile` is what happens to the run while the new one's
    driver compiles; without it, that takes no time."""
    if set(gpus(keeper.world)) == {0}:
        install(keeper, None)
    shrink(keeper.world, 1)
    keeper.world.kube_faults(slow_driver=meanwhile is not None)
    return live(keeper, f"gpu test {CLUSTER} --scale 2", "scale md-gpu to 2", kill, meanwhile)


def live(
    keeper: Keeper,
    command: str,
    title: str,
    kill: Moment | None,
    meanwhile: Callable[[Keeper, Json], None] | None = None,
) -> Life:
    """Something is asked for, approved and done."""
    before, inside = begin(keeper, kill), len(keeper.world.view.kube_changes(PLACE))
    card = asked(keeper, command, title)
    click(keeper, card, "approve")
    if meanwhile is not None:
        meanwhile(keeper, card)
    until_ended(keeper, card, GONE)
    return end(keeper, card, before, inside)


def die_at_rest(keeper: Keeper) -> None:
    """The bot dies when it is not told to, and is there again."""
    known = keeper.starts
    keeper.bot.kill()
    eventually(lambda: keeper.starts > known, WITHIN)


def die_while_it_compiles(keeper: Keeper, card: Json) -> None:
    """The driver compiles until the bot has died and has looked again."""
    eventually(lambda: COMPILES in words(keeper.world.card(card)), WITHIN)
    known = epoch(keeper, card)
    die_at_rest(keeper)
    eventually(lambda: epoch(keeper, card) > known, WITHIN)
    keeper.world.kube_faults(slow_driver=False)


def die_while_it_is_parked(keeper: Keeper, card: Json) -> None:
    """The driver compiles for so long that the run is parked, and still does when the bot has died and the run is
    resumed."""
    assert until_ended(keeper, card) == "parked"
    die_at_rest(keeper)
    known = taken_up_again(keeper, card)
    click(keeper, card, "resume", DEV)
    eventually(lambda: taken_up_again(keeper, card) > known, WITHIN)
    keeper.world.kube_faults(slow_driver=False)


def taken_up_again(keeper: Keeper, card: Json) -> int:
    """How often the run has gone on with a step that was begun before."""
    query = (
        "SELECT count(*) FROM audit WHERE event = 'step.again' "
        "AND request = (SELECT request FROM outbox WHERE ts = :ts)"
    )
    return int(keeper.rows(query, ts=card["ts"])[0][0])


def epoch(keeper: Keeper, card: Json) -> int:
    """How often the request's run was taken up."""
    query = "SELECT epoch FROM requests WHERE id = (SELECT request FROM outbox WHERE ts = :ts)"
    return int(keeper.rows(query, ts=card["ts"])[0][0])


def end(keeper: Keeper, card: Json, before: Before, inside: int) -> Life:
    """The life that has ended; `inside` is how far the workload cluster's record went when it began."""
    return Life(look(keeper, card, before, inside), keeper.moments(), list(keeper.codes))


# -- what is there at the end ------------------------------------------------------------------------------------


def look(keeper: Keeper, card: Json, before: Before, inside: int) -> Seen:
    """Everything that is to be seen of a request and of the cluster's GPUs."""
    world, owner = keeper.world, Owner(keeper.world)
    said = left(keeper, CLUSTER, card, before)
    return Seen(
        **{key: _plain(value) for key, value in said.items()},
        objects=_objects(keeper, owner, card),
        changes=changes_of(world, CLUSTER, before) | _changes(world, inside),
        jobs=len(owner.list(JOBS, "default")),
        verdicts=verdicts(owner, request_of(keeper, card)),
        gpus=gpus(world),
        replicas=replicas(world),
        machines=machines_of(world, CLUSTER),
        pictures=sum(len(message.get("files") or []) for message in world.thread(card)),
    )


def request_of(keeper: Keeper, card: Json) -> str:
    """The id of the request that a card belongs to."""
    return str(keeper.rows("SELECT request FROM outbox WHERE ts = :ts", ts=card["ts"])[0][0])


def _plain(value: Any) -> Any:
    """Texts without what differs from life to life."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        for pattern, word in NOBODYS_NAMES:
            value = re.sub(pattern, word, value)
    return value


def _changes(world: World, since: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for call in world.view.kube_changes(PLACE)[since:]:
        name = _plain(without_names(str(call["name"]), CLUSTER))
        text = f"inside: {call['verb']} {call['resource']} {name}: {call['status']}"
        found[text] = found.get(text, 0) + 1
    return found


def _objects(keeper: Keeper, owner: Owner, card: Json) -> dict[str, str]:
    planned = planned_objects(keeper, card)
    found = marked(owner) if planned else []
    there = {(kind.name, item["metadata"]["name"]): {**item, "kind": kind.name} for kind, item in found}
    known = {(str(item["kind"]), str(item["metadata"]["name"])): item for item in planned}
    return {
        f"{kind} {name}": compared(known.get((kind, name)), there.get((kind, name)))
        for kind, name in sorted({*known, *there})
    }


# -- the world before --------------------------------------------------------------------------------------------


def prepare(world: World) -> None:
    """The cluster for all lives: one control plane, one worker, one GPU machine. A driver may compile for so long
    that lives with deaths in them are not taken for one, and that a test can wait until it is over."""
    world.settings.write_text(SETTINGS.replace("driver_patience: 60", "driver_patience: 24"))
    keeper = Keeper(world, command=COMMAND)
    try:
        made(world)
    finally:
        keeper.end()


# -- the process that dies ---------------------------------------------------------------------------------------


if __name__ == "__main__":
    counting = Moments(Path(os.environ["KILLABLE_ORDERS"]))
    watch_commits(counting)
    watch_calls(counting)
    watch_changes(counting)
    for waiting in (AwaitClusterExecutor, AwaitGpusExecutor, GpuTestExecutor, GpuCleanExecutor):
        watch_looks(counting, waiting)
    Uploader._put = counting.around("slack", lambda *_: "upload", Uploader._put)  # type: ignore[method-assign]
    look_at_deliveries(counting)
    hurry(os.environ)
    nap()
    sys.argv = ["tkgbot", "run"]
    main()
