"""The whole bot against the sandbox, ended with SIGKILL at its moments: the same end as undisturbed, nothing twice,
nothing lost. And what else ends or stops a process: SIGTERM, a full disk, a locked database, a second bot."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import boto3
import pytest

from bot.tour import words
from tests.durability.keeper import ALL, BOUNDED, Keeper, Moment, fresh_database, plain
from tests.processes import Process
from tests.scenario.conftest import put_tags_back
from tests.world import (
    APPROVER,
    DEV,
    MANAGEMENT,
    PATIENCE,
    SETTINGS,
    Json,
    World,
    eventually,
    running_world,
)

WORLDS = 2
PATIENT = 10.0
"""Seconds that the workspace waits for what is never acknowledged, because it could not be stored."""
WAITING = ("waiting for the database", "Retrying in")
"""What the bot or dbos logs when something is done and cannot be written down."""
TRIES = 4
"""How often a moment is tried to be struck: lives differ by a poll or two."""
SAMPLE = {"sqlite": 8, "postgres": 5}
"""`make test` strikes at so many moments, evenly spread; `make test-all` at each."""
BOT = "UTKGBOT001"
UNANSWERED: tuple[Moment, ...] = (("commit", 1, "after"), ("slack", 1, "before"))
"""The command is stored, and its acknowledgement was not sent."""


@dataclass(frozen=True)
class Seen:
    """What one request left behind, as people and administrators see it."""

    tags: bool
    created: int
    cards: list[str]
    thread: list[str]
    events: list[str]
    unsent: int
    whispers: list[str]


def live(keeper: Keeper, cluster: str, kill: Moment | None = None) -> Seen:
    """Asks, approves and waits for the end, with one death on the way."""
    world, view = keeper.world, keeper.world.view
    keeper.codes.clear()
    since, calls = world.now(), len(view.aws_calls())
    chosen = world.public()
    keeper.order(kill)
    keeper.until_acknowledged(lambda: view.command(DEV, f"subnet tag {cluster} {' '.join(chosen)}"))
    card = view.wait(DEV, f"Approval needed: tag 3 subnets for {cluster}", timeout=120)
    keeper.until_acknowledged(lambda: view.click(APPROVER, card["ts"], "tkg:approve"))
    view.wait(DEV, f"Done: tag 3 subnets for {cluster}", timeout=120)
    eventually(keeper.quiet, 120)
    mine = [m for m in view.messages(DEV) if m["user"] == BOT and not m["ephemeral"] and cluster in words(m)]
    cards = sorted(mine, key=lambda message: message["ts"] != card["ts"])
    both = [message for user in (DEV, APPROVER) for message in view.messages(user)]
    events = (
        "SELECT event FROM audit WHERE request = (SELECT request FROM outbox WHERE ts = :ts)"
        " AND event <> 'step.again' ORDER BY seq"  # only a life that follows a death says so
    )
    seen = Seen(
        tags=world.tagged(cluster) == set(chosen),
        created=[call["action"] for call in view.aws_calls()[calls:]].count("ec2:CreateTags"),
        cards=[plain(message, cluster) for message in cards],
        thread=[plain(message, cluster) for message in world.thread(card)],
        events=[str(row[0]) for row in keeper.rows(events, ts=card["ts"])],
        unsent=int(keeper.rows("SELECT count(*) FROM outbox WHERE sent < wanted")[0][0]),
        whispers=[plain(m, cluster) for m in both if m["ephemeral"] and m["user"] == BOT and m["ts"] > since],
    )
    untag(world, cluster)
    return seen


def untag(world: World, cluster: str) -> None:
    """Takes the tag off again: EC2 has room for fifty on a subnet."""
    keys = world.view.aws()["accounts"][MANAGEMENT]["admin"]
    ec2 = boto3.client(
        "ec2", endpoint_url=world.environment()["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip
    ec2.delete_tags(Resources=world.public(), Tags=[{"Key": f"kubernetes.io/cluster/{cluster}"}])


@pytest.fixture(scope="module")
def worlds() -> Iterator[list[World]]:
    """Sandboxes for the whole module, started at the same time."""
    with ExitStack() as stack, ThreadPoolExecutor(WORLDS) as pool:
        starting = [pool.submit(stack.enter_context, running_world(ack=PATIENT)) for _ in range(WORLDS)]
        yield [world.result() for world in starting]


def sample(moments: list[list[Any]], count: int) -> list[Moment]:
    """So many of them, evenly spread over the time, and those around the effect in any case."""
    every: list[Moment] = [(kind, number, when) for kind, number, when, *_ in moments]
    if ALL or len(every) <= count:
        return every
    effect = [every[index] for index, moment in enumerate(moments) if moment[3] == "CreateTags"]
    spread = count - len(effect)
    even = [every[(2 * index + 1) * len(every) // (2 * spread)] for index in range(spread)]
    return list(dict.fromkeys([*even, *effect]))


def differences(kill: Moment, seen: Seen, calm: Seen) -> list[str]:
    """How a disturbed life's end differs from that of the undisturbed one, but for what cannot be helped."""
    found = [] if seen.tags else ["the tags are not on exactly the subnets"]
    for name in ("created", "thread", "events", "unsent"):
        if getattr(seen, name) != getattr(calm, name):
            found.append(f"{name}: {getattr(seen, name)} is not {getattr(calm, name)}")
    if seen.cards[:1] != calm.cards:
        found.append(f"card: {seen.cards[:1]} is not {calm.cards}")
    # A command that was stored and not acknowledged shows as failed, so it is typed again: two requests, of which one
    # waits for an approval like any other.
    again = [card for card in seen.cards[1:] if kill not in UNANSWERED or "Approval needed" not in card]
    if again or len(seen.cards) > 2:
        found.append(f"more cards: {seen.cards[1:]}")
    # A click that was stored and not acknowledged is clicked again, and its person is told that it had counted.
    if len(seen.whispers) > 1 or any("already" not in text and "was approved by" not in text for text in seen.whispers):
        found.append(f"answers: {seen.whispers}")
    return found


@pytest.mark.long(but=1)
@BOUNDED
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_killed_at_its_moments(worlds: list[World], database: str, request: pytest.FixtureRequest) -> None:
    """SIGKILL before and after commits, AWS calls and Slack calls."""
    server = request.getfixturevalue("postgres") if database == "postgres" else None

    def keeper(world: World) -> Keeper:
        return Keeper(world, server and fresh_database(server))

    first = keeper(worlds[0])
    calm = live(first, f"{database}-calm")
    moments = first.moments()
    counts = Counter(kind for kind, _, when, *_ in moments if when == "before")
    cases: SimpleQueue[tuple[int, Moment, int]] = SimpleQueue()
    chosen = sample(moments, SAMPLE[database])
    for number, moment in enumerate(chosen):
        cases.put((number, moment, 1))
    labels = {(kind, number, when): label for kind, number, when, label, _ in moments}
    failures: list[str] = []
    struck: list[Moment] = []

    def work(world: World, mine: Keeper | None) -> None:
        mine = mine or keeper(world)
        while True:
            try:
                number, kill, tries = cases.get_nowait()
            except Empty:
                break
            wrong: list[str] = []
            try:
                wrong = differences(kill, live(mine, f"{database}-{number}-{tries}", kill), calm)
                if mine.struck():
                    struck.append(kill)
                    wrong += [] if mine.codes == [-signal.SIGKILL] else [f"exit codes {mine.codes}"]
                elif tries < TRIES:  # this life had fewer such moments than the undisturbed one
                    cases.put((number, kill, tries + 1))
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            if wrong:
                failures.append(f"{kill} {labels[kill]}: " + "; ".join(wrong))
                mine.end()
                mine = keeper(world)
        mine.end()

    with ThreadPoolExecutor(WORLDS) as pool:
        list(pool.map(work, worlds, [first, *[None] * (WORLDS - 1)]))
    print(
        f"\n{database}: commits {counts['commit']}, AWS calls {counts['aws']}, Slack calls {counts['slack']}, "
        f"{len(struck)} of {len(chosen)} kills struck"
    )
    assert not failures, "\n".join(failures)
    missed = [moment for moment in chosen if moment not in struck]
    assert not missed, f"never struck: {missed}"


@pytest.mark.long(but=1)
@BOUNDED
@pytest.mark.parametrize("post", [1, 2], ids=["the card", "a line"])
def test_killed_after_a_post_without_the_history_scope(worlds: list[World], post: int) -> None:
    """The bot cannot look whether its post is there: it posts again, and says that it may be a repeat."""
    world = worlds[0]
    keeper = Keeper(world)
    world.view.slack_faults(history_scope=False)
    try:
        seen = live(keeper, f"history-{post}", ("chat.postMessage", post, "after"))
        assert keeper.struck()
    finally:
        keeper.end()
        world.calm()
    posted = seen.cards if post == 1 else seen.thread
    assert len(posted) == (2 if post == 1 else 5)
    assert ["(repeated)" in text for text in posted].count(True) == 1, posted
    assert seen.created == 1


# -- other ends ----------------------------------------------------------------------------------------------------


@pytest.fixture
def world(worlds: list[World]) -> Iterator[World]:
    """A sandbox without faults, and no bot's data in it."""
    world = worlds[0]
    shutil.rmtree(world.folder / "data", ignore_errors=True)
    yield world
    world.settings.write_text(SETTINGS)
    world.calm()
    for bot in world.bots:
        if bot.poll() is None:
            world.end_bot(bot, signal.SIGKILL)
    put_tags_back(world)  # of a test that failed: the next try's plan would find nothing to do


def approve(world: World, card: Json) -> Json:
    """The click; what Slack shows for it."""
    return world.view.click(APPROVER, card["ts"], "tkg:approve")


def wait_done(world: World, cluster: str) -> None:
    """Until the card says so; then the tags are there."""
    world.view.wait(DEV, f"Done: tag 3 subnets for {cluster}", timeout=120)
    assert world.tagged(cluster) == set(world.public())
    untag(world, cluster)


def shows(world: World, text: str) -> bool:
    """Whether the channel shows it now."""
    return any(text in words(message) for message in world.view.messages(DEV))


def waits(world: World, since: int) -> bool:
    """Whether the bot has met a database that takes nothing, as its log says from a place on."""
    return any(words in world.log()[since:] for words in WAITING)


def hold(world: World) -> None:
    """Keeps the next CreateTags in the air."""
    world.view.aws_faults(hold=["ec2:CreateTags"])


def created(world: World, since: int) -> int:
    """How many CreateTags there were."""
    return [call["action"] for call in world.view.aws_calls()[since:]].count("ec2:CreateTags")


def test_sigterm_in_the_middle_of_a_run(world: World) -> None:
    """The process ends though AWS does not answer, and the next start finishes the run."""
    since = len(world.view.aws_calls())
    bot = world.start_bot()
    card = world.ask("term", world.public(), state="Approval needed: tag 3 subnets for term")
    hold(world)
    approve(world, card)
    world.wait_until_held()
    assert world.end_bot(bot) == 0
    world.view.aws_faults(hold=[])
    world.start_bot()
    wait_done(world, "term")
    assert created(world, since) <= 2, "a call without an answer may be repeated once by the AWS client"


def refused(answer: Json) -> bool:
    """Whether the person was told that nothing was stored."""
    return bool(answer.get("acked")) and "could not store" in str(answer.get("response"))


def says_soon(world: World) -> None:
    """Has the bot say that it could not store something in a tenth of the time that the workspace gives it, and take up
    soon what it could not write down as sent."""
    soon = f"store_within: {PATIENT / 10:g}, claim: 3"
    world.settings.write_text(world.settings.read_text().replace("store_within: 20", soon))


def fill_disk(bot: Process, *, full: bool) -> None:
    """No file of the process may grow, as on a full disk; or they may again."""
    hard = resource.prlimit(bot.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))


@pytest.mark.long
def test_a_full_disk(world: World) -> None:
    """Commands are answered with a sentence, clicks show as failed, nothing ends; with space again, all works."""
    says_soon(world)
    bot = world.start_bot()
    card = world.ask("full", world.public(), state="Approval needed: tag 3 subnets for full")
    fill_disk(bot, full=True)
    answer = world.view.command(DEV, "subnet tag more " + " ".join(world.public()))
    assert refused(answer), answer
    assert not approve(world, card).get("acked")
    fill_disk(bot, full=False)
    assert approve(world, card).get("acked")
    wait_done(world, "full")
    assert bot.poll() is None


@pytest.mark.long
def test_a_full_disk_in_the_middle_of_a_run(world: World) -> None:
    """The effect is made while nothing can be written: it is written down when there is space again."""
    bot = world.start_bot()
    card = world.ask("midfull", world.public(), state="Approval needed: tag 3 subnets for midfull")
    since = len(world.view.aws_calls())
    hold(world)
    approve(world, card)
    world.wait_until_held()
    fill_disk(bot, full=True)
    world.view.aws_faults(hold=[])
    eventually(lambda: created(world, since) == 1)
    assert not shows(world, "Done: tag 3 subnets for midfull"), "it says what it cannot have written down"
    fill_disk(bot, full=False)
    wait_done(world, "midfull")
    assert bot.poll() is None
    assert created(world, since) == 1


@pytest.mark.long
def test_a_locked_database(world: World) -> None:
    """Another process keeps the file locked: the same sentence, in time; and afterwards everything works."""
    says_soon(world)
    bot = world.start_bot()
    card = world.ask("lock", world.public(), state="Approval needed: tag 3 subnets for lock")
    other = sqlite3.connect(world.folder / "data" / "tkgbot.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    answer = world.view.command(DEV, "subnet tag wait " + " ".join(world.public()))
    click = approve(world, card)
    other.execute("ROLLBACK")
    other.close()
    assert refused(answer), answer
    assert not click.get("acked")
    assert approve(world, card).get("acked")
    wait_done(world, "lock")
    assert bot.poll() is None


@pytest.mark.long
def test_a_lock_in_the_middle_of_a_run(world: World) -> None:
    """The effect is made while the file stays locked for longer than the bot waits: it is written down afterwards."""
    bot = world.start_bot()
    card = world.ask("midlock", world.public(), state="Approval needed: tag 3 subnets for midlock")
    since = len(world.view.aws_calls())
    hold(world)
    approve(world, card)
    world.wait_until_held()
    other = sqlite3.connect(world.folder / "data" / "tkgbot.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    before = len(world.log())
    world.view.aws_faults(hold=[])
    eventually(lambda: waits(world, before))
    assert not shows(world, "Done: tag 3 subnets for midlock")
    other.execute("ROLLBACK")
    other.close()
    wait_done(world, "midlock")
    assert bot.poll() is None
    assert created(world, since) == 1


@pytest.mark.long
def test_a_second_bot_is_refused(world: World) -> None:
    """Two processes on one SQLite file: the second ends with a sentence, the first goes on."""
    first = world.start_bot()
    before = len(world.log())
    second = world.start_bot(connected=False)
    assert second.wait(timeout=PATIENCE) == 2
    said = world.log()[before:]
    assert "another tkgbot is running" in said, said
    assert "Traceback" not in said
    assert first.poll() is None
    world.ask("alone", world.public(), state="Approval needed: tag 3 subnets for alone")
