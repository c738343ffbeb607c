"""An undo, ended with SIGKILL at its moments: a new request, its approval, the untagging and the proof end as
undisturbed, whoever dies on the way; nothing is taken back twice, nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from bot.tour import words
from bot.tour_view import buttons
from tests.durability.keeper import ALL, BOUNDED, Keeper, Moment, fresh_database, plain
from tests.durability.matrix import TRIES
from tests.world import APPROVER, DEV, Json, World, eventually, running_world

pytestmark = pytest.mark.long

WORLDS = 2
SAMPLE = 10
"""`make test` strikes at so many moments of each database, `make test-all` at every commit and write."""
EVERY_SLACK = 4
"""Of the calls to Slack, each fourth is a moment to die at."""
WRITE = "ec2:DeleteTags"
PATIENCE = 60.0


@dataclass(frozen=True)
class Seen:
    """What one undo left behind, as people and administrators see it."""

    tagged: frozenset[str]
    written: int
    undoing: int
    card: list[str]
    thread: list[str]
    first_card: str
    first_thread: list[str]
    events: list[str]
    votes: list[tuple[str, bool]]
    unsent: int


def done(keeper: Keeper, cluster: str) -> Json:
    """The card of a run that tagged three subnets and can be undone."""
    world = keeper.world
    keeper.codes.clear()
    keeper.order(None)
    card = world.ask(cluster, world.public(), state=f"Approval needed: tag 3 subnets for {cluster}")
    keeper.until_acknowledged(lambda: world.view.click(APPROVER, card["ts"], "tkg:approve"))
    eventually(lambda: "tkg:undo" in buttons(world.card(card)), PATIENCE)
    eventually(keeper.quiet, PATIENCE)
    return card


def live(keeper: Keeper, cluster: str, kill: Moment | None = None) -> tuple[Seen, list[str]]:
    """Undoes a finished run, with one death on the way; what that left behind, and what was whispered to people."""
    world, view = keeper.world, keeper.world.view
    first = done(keeper, cluster)
    since, calls = world.now(), len(view.aws_calls())
    keeper.order(kill)
    keeper.until_acknowledged(lambda: view.click(DEV, first["ts"], "tkg:undo"))
    card = view.wait(DEV, "Approval needed: untag", since=since, timeout=PATIENCE)
    keeper.until_acknowledged(lambda: view.click(APPROVER, card["ts"], "tkg:approve"))
    view.wait(DEV, "Done: untag", since=since, timeout=PATIENCE)
    eventually(keeper.quiet, PATIENCE)
    whispers = [
        plain(message, cluster)
        for user in (DEV, APPROVER)
        for message in view.messages(user)
        if message["ephemeral"] and message["user"] == "UTKGBOT001" and message["ts"] > since
    ]
    return seen(keeper, cluster, first, card, calls), whispers


def seen(keeper: Keeper, cluster: str, first: Json, card: Json, calls: int) -> Seen:
    """Looks at both requests, from `calls` on at AWS."""
    world, view = keeper.world, keeper.world.view
    [[undo]] = keeper.rows("SELECT request FROM outbox WHERE ts = :ts AND kind = 'card'", ts=card["ts"])
    events = "SELECT event FROM audit WHERE request = :undo AND event <> 'step.again' ORDER BY seq"
    undoing = (
        "SELECT count(*) FROM requests WHERE undoes = (SELECT request FROM outbox WHERE ts = :ts AND kind = 'card')"
    )
    votes = keeper.rows("SELECT person, approve FROM votes WHERE request = :undo", undo=undo)
    return Seen(
        tagged=frozenset(world.tagged(cluster)),
        written=[call["action"] for call in view.aws_calls()[calls:]].count(WRITE),
        undoing=int(keeper.rows(undoing, ts=first["ts"])[0][0]),
        card=[
            plain(message, cluster)
            for message in view.messages(DEV)
            if str(undo) in words(message) and not message["ephemeral"]
        ],
        thread=[plain(message, cluster) for message in world.thread(card)],
        first_card=plain(world.card(first), cluster),
        first_thread=[plain(message, cluster) for message in world.thread(first)],
        events=[str(row[0]) for row in keeper.rows(events, undo=undo)],
        votes=[(str(person), bool(approve)) for person, approve in votes],
        unsent=int(keeper.rows("SELECT count(*) FROM outbox WHERE sent < wanted")[0][0]),
    )


def chosen(moments: list[list[Any]]) -> list[Moment]:
    """Every commit, every write to AWS and some calls to Slack; of them a sample, evenly spread, with all writes."""
    every = [
        (kind, number, when)
        for kind, number, when, label, _ in moments
        if kind == "commit" or label == "DeleteTags" or (kind == "slack" and number % EVERY_SLACK == 1)
    ]
    if ALL or len(every) <= SAMPLE:
        return every
    effect: list[Moment] = [(kind, number, when) for kind, number, when, label, _ in moments if label == "DeleteTags"]
    spread = SAMPLE - len(effect)
    even = [every[(2 * index + 1) * len(every) // (2 * spread)] for index in range(spread)]
    return list(dict.fromkeys([*even, *effect]))


def differences(now: Seen, whispers: list[str], calm: Seen) -> list[str]:
    """How a disturbed undo's end differs from that of the undisturbed one."""
    found = [
        f"{one.name}: {getattr(now, one.name)} is not {getattr(calm, one.name)}"
        for one in fields(Seen)
        if getattr(now, one.name) != getattr(calm, one.name)
    ]
    # A click that was stored and not acknowledged is clicked again, and its person is told that it had counted.
    if len(whispers) > 1 or any("already" not in text and "was approved by" not in text for text in whispers):
        found.append(f"answers: {whispers}")
    return found


@pytest.fixture(scope="module")
def worlds() -> Iterator[list[World]]:
    """Sandboxes for the whole module, started at the same time."""
    with ExitStack() as stack, ThreadPoolExecutor(WORLDS) as pool:
        starting = [pool.submit(stack.enter_context, running_world()) for _ in range(WORLDS)]
        yield [world.result() for world in starting]


@BOUNDED
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_an_undo_killed_at_its_moments(worlds: list[World], database: str, request: pytest.FixtureRequest) -> None:
    """SIGKILL before and after commits, the write and calls to Slack, from the click on Undo to the last word."""
    server = request.getfixturevalue("postgres") if database == "postgres" else None

    def keeper(world: World) -> Keeper:
        return Keeper(world, server and fresh_database(server))

    first = keeper(worlds[0])
    try:
        calm, whispers = live(first, f"{database}-calm")
    except Exception:
        first.end()
        raise
    assert (calm.tagged, calm.written, calm.undoing, whispers) == (frozenset(), 1, 1, [])
    moments = first.moments()
    labels = {(kind, number, when): label for kind, number, when, label, _ in moments}
    cases: SimpleQueue[tuple[int, Moment, int]] = SimpleQueue()
    for number, moment in enumerate(strikes := chosen(moments)):
        cases.put((number, moment, 1))
    failures: list[str] = []
    struck: list[Moment] = []

    def work(world: World, mine: Keeper | None) -> None:
        mine = mine or keeper(world)
        while True:
            try:
                number, kill, tries = cases.get_nowait()
            except Empty:
                break
            wrong = one_death(mine, f"{database}-{number}-{tries}", kill, calm)
            struck.extend([kill] * mine.struck())
            if not wrong and kill not in struck and tries < TRIES:
                cases.put((number, kill, tries + 1))
            if wrong:
                failures.append(f"{kill} {labels[kill]}: " + "; ".join(wrong))
                mine.end()
                mine = keeper(world)
        mine.end()

    with ThreadPoolExecutor(WORLDS) as pool:
        list(pool.map(work, worlds, [first, *[None] * (WORLDS - 1)]))
    counts = Counter(kind for kind, _, when, *_ in moments if when == "before")
    print(
        f"\n{database}, an undo: commits {counts['commit']}, AWS calls {counts['aws']}, Slack calls {counts['slack']}, "
        f"{len(struck)} of {len(strikes)} kills struck"
    )
    assert not failures, "\n".join(failures)
    missed = [moment for moment in strikes if moment not in struck]
    assert not missed, f"never struck: {missed}"


def one_death(keeper: Keeper, cluster: str, kill: Moment, calm: Seen) -> list[str]:
    """One undo with one death; what is wrong at its end."""
    try:
        wrong = differences(*live(keeper, cluster, kill), calm)
    except Exception as error:  # told with all others, and the next one gets a new bot
        return [f"{type(error).__name__}: {error}"]
    died = keeper.codes == ([-signal.SIGKILL] if keeper.struck() else [])
    return wrong if died else [*wrong, f"exit codes {keeper.codes}"]
