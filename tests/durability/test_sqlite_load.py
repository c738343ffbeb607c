"""The bot on one SQLite file at its limits: many at once, a second process, a full disk, an old copy put back."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.tour import words
from tests.processes import Process
from tests.world import APPROVER, DEV, PATIENCE, SECOND, TENANT, Json, World, eventually, running_world

pytestmark = pytest.mark.long

GUEST = "UGUEST0001"
WRITE = "ec2:CreateTags"
FULL_BY_PAGES = """
import os, pathlib
import sqlalchemy as sa
from bot.__main__ import main

marker = pathlib.Path(os.environ["FULL_DISK"])

@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def _limit(connection, cursor, statement, *_rest):
    if statement[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
        raw = connection.connection.dbapi_connection
        raw.execute(f"PRAGMA max_page_count={1 if marker.exists() else 4294967294}")

main(["run"])
"""
"""`tkgbot run` whose database cannot grow as long as a file is there: SQLite then says that the disk is full, as it
does for ENOSPC, while what fits into pages that are there already is still written."""


# -- the world ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with running_world() as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """No faults, no bot, and no bot's data."""
    shutil.rmtree(shared_world.folder / "data", ignore_errors=True)
    shared_world.calm()
    yield shared_world
    shared_world.calm()
    for bot in shared_world.bots:
        shared_world.end_bot(bot, signal.SIGKILL)


def at_once(acts: Sequence[Callable[[], Json]]) -> list[Json]:
    """Does all of them at the same moment; what Slack showed for each."""
    together = threading.Barrier(len(acts))

    def act(one: Callable[[], Json]) -> Json:
        together.wait(30)
        return one()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, acts))


def typed(world: World, cluster: str, subnets: Sequence[str], user: str = DEV, **more: Any) -> Callable[[], Json]:
    """Somebody types `subnet tag`."""
    return lambda: world.view.command(user, f"subnet tag {cluster} {' '.join(subnets)}", **more)


def clicked(world: World, user: str, card: Json, action: str = "approve", **more: Any) -> Callable[[], Json]:
    """Somebody clicks a button of a card."""
    return lambda: world.view.click(user, card["ts"], f"tkg:{action}", **more)


def rows(world: World, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What stands in the bot's database."""
    path = world.folder / "data" / "tkgbot.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def one(world: World, query: str, *values: object) -> Any:
    """The first column of the first row, or None."""
    found = rows(world, query, *values)
    return found[0][0] if found else None


def quiet(world: World) -> bool:
    """Nothing is under way: every delivery answered, every message sent, every workflow ended."""
    return bool(
        one(
            world,
            "SELECT (SELECT count(*) FROM invocations WHERE done_at IS NULL) + (SELECT count(*) FROM outbox"
            " WHERE wanted > sent AND failed IS NULL) + (SELECT count(*) FROM workflow_status"
            " WHERE status IN ('PENDING', 'ENQUEUED'))",
        )
        == 0
    )


def card_of(world: World, cluster: str, shows: str = "Approval needed", seconds: float = 40) -> Json:
    """The card of a cluster's only request, as soon as it shows a state."""
    found: list[Json] = []

    def look() -> bool:
        found[:] = [card for card in cards(world, cluster) if shows in words(card)]
        return bool(found)

    eventually(look, seconds)
    return found[0]


def cards(world: World, cluster: str) -> list[Json]:
    """The cards of a cluster's only request that stand in the channel."""
    asked = rows(world, "SELECT id FROM requests WHERE json_extract(arguments, '$.cluster') = ?", cluster)
    keys = {f"{request}:card" for (request,) in asked}
    seen = [message for message in world.view.messages(DEV) if message.get("metadata")]
    return [message for message in seen if message["metadata"]["event_payload"]["key"] in keys]


def whispers(world: World, user: str, since: str) -> list[str]:
    """What only this person was told."""
    seen = world.view.messages(user)
    return [" ".join(words(m).split()) for m in seen if m["ephemeral"] and m["ts"] > since]


def created(world: World, request: str) -> int:
    """How many times tags were put on in the name of a request."""
    mine = [call for call in world.view.aws_calls() if (call["session"] or "").endswith(request)]
    return [call["action"] for call in mine if call["outcome"] == "ok"].count(WRITE)


def request_of(world: World, cluster: str) -> str:
    """The only request for a cluster."""
    found = rows(world, "SELECT id FROM requests WHERE json_extract(arguments, '$.cluster') = ?", cluster)
    assert len(found) == 1, (cluster, found)
    return str(found[0][0])


def state_of(world: World, request: str) -> str:
    """Where a request stands."""
    return str(one(world, "SELECT state FROM requests WHERE id = ?", request))


# -- many at once ------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_two_hundred_commands_at_once(world: World) -> None:
    """Slack has its answer to each within three seconds; each becomes one request with one card."""
    world.start_bot()
    clusters = [f"crowd-{number:03}" for number in range(200)]
    people = (DEV, APPROVER)
    answers = at_once([typed(world, cluster, world.public(1), people[n % 2]) for n, cluster in enumerate(clusters)])
    slowest = max(answer["ack_ms"] for answer in answers)
    assert [answer for answer in answers if not answer.get("acked")] == []
    assert slowest < 3_000
    stored = "SELECT json_extract(arguments, '$.cluster'), count(*), min(state) FROM requests GROUP BY 1 ORDER BY 1"
    began = time.monotonic()
    eventually(lambda: quiet(world) and len(rows(world, stored)) == 200, 240)
    assert rows(world, stored) == [(cluster, 1, "awaiting") for cluster in clusters]
    seen = Counter(
        message["metadata"]["event_payload"]["key"]
        for message in world.view.messages(DEV)
        if message.get("metadata") and not message["ephemeral"]
    )
    wanted = {f"{request}:card" for (request,) in rows(world, "SELECT id FROM requests")}
    assert {key: count for key, count in seen.items() if key in wanted} == dict.fromkeys(wanted, 1)
    took = time.monotonic() - began
    print(f"\n200 commands: the slowest answered in {slowest:.0f} ms, all planned {took:.1f} s later")


@pytest.mark.parametrize(("cluster", "quorum"), [("one-click", 1), ("prod-clicks", 2)])
def test_fifty_clicks_on_one_button(world: World, cluster: str, quorum: int) -> None:
    """One vote a person and one run; everybody who came too late is told who was first."""
    world.start_bot()
    since = world.now()
    card = world.ask(cluster, world.public(1), state=f"Approval needed: tag 1 subnet for {cluster}")
    request = request_of(world, cluster)
    crowd = [APPROVER] * 24 + [SECOND] * 20 + [DEV] * 4 + [GUEST] * 2
    answers = at_once([clicked(world, user, card, copies=2 if n % 5 == 0 else 1) for n, user in enumerate(crowd)])
    assert [answer for answer in answers if not answer.get("acked")] == []
    world.view.wait(DEV, f"Done: tag 1 subnet for {cluster}")
    eventually(lambda: quiet(world))

    votes = rows(world, "SELECT person, approve FROM votes WHERE request = ?", request)
    voters = {person for person, _approve in votes}
    assert len(votes) == len(voters) == quorum
    assert voters <= {APPROVER, SECOND}
    runs = "SELECT count(*) FROM workflow_status WHERE workflow_uuid LIKE ?"
    assert one(world, runs, f"run:{request}:%") == 1
    assert created(world, request) == 1
    assert state_of(world, request) == "succeeded"

    for user in (APPROVER, SECOND):
        told = whispers(world, user, since)
        assert len(told) == crowd.count(user) - (user in voters), (user, len(told))
        wrong = [text for text in told if not _names_the_first(text, request, voters)]
        assert wrong == [], wrong[:3]
        if quorum == 1:  # the first vote decided, so nobody was in between
            assert not any("already voted" in text for text in told)
    for user, reason in ((DEV, "You asked for this"), (GUEST, "Guests")):
        told = whispers(world, user, since)
        assert len(told) == crowd.count(user)
        assert all(reason in text or "was approved by" in text for text in told), told
    assert len(cards(world, cluster)) == 1


def _names_the_first(text: str, request: str, voters: set[str]) -> bool:
    """A loser's answer: your own word counts already, or what became of the request and who had decided."""
    names = {APPROVER: "@approver", SECOND: "@second-approver"}
    if "You have already voted on this plan." in text:
        return True
    return request in text and "so this was not done" in text and any(f"approved by {names[v]}" in text for v in voters)


def test_a_second_process_on_the_same_file(world: World) -> None:
    """It ends with a sentence and code 2, whatever the first is doing, and the first does not notice."""
    first = world.start_bot()
    clusters = [f"shared-{number:02}" for number in range(20)]
    before = len(world.log())
    with ThreadPoolExecutor(1) as pool:
        second = world.start_bot(connected=False)
        crowd = pool.submit(at_once, [typed(world, cluster, world.public(1)) for cluster in clusters])
        assert second.wait(timeout=PATIENCE) == 2
        assert all(answer.get("acked") for answer in crowd.result(timeout=40))
    said = world.log()[before:]
    assert "another tkgbot is running" in said
    assert "TKGBOT_DATABASE_URL" in said, "it says what to do instead"
    assert "Traceback" not in said
    eventually(lambda: quiet(world) and one(world, "SELECT count(*) FROM requests") == 20)
    assert rows(world, "SELECT DISTINCT state FROM requests") == [("awaiting",)]
    assert first.poll() is None


# -- a full disk -------------------------------------------------------------------------------------------------


class Disk:
    """The disk of one bot, which can be full. `kind` is how: `files` (no file of the process may grow past `room`
    bytes beyond what the write-ahead log holds now) or `pages` (SQLite finds no room for another page)."""

    def __init__(self, world: World, kind: str) -> None:
        self.kind = kind
        self.folder = world.folder / "data"
        self.marker = world.folder / "disk-is-full"
        self.marker.unlink(missing_ok=True)
        before = len(world.log())
        command = ("-c", FULL_BY_PAGES) if kind == "pages" else ("-m", "bot", "run")
        self.bot: Process = world.start_bot(command, FULL_DISK=str(self.marker))
        eventually(lambda: "tkgbot serves" in world.log()[before:])  # the schema is there

    def fill(self, room: int = 0) -> None:
        """From now on, or after some more bytes, nothing can be written."""
        if self.kind == "pages":
            self.marker.touch()
            return
        hard = resource.prlimit(self.bot.pid, resource.RLIMIT_FSIZE)[1]
        now = (self.folder / "tkgbot.db-wal").stat().st_size if room else 0
        resource.prlimit(self.bot.pid, resource.RLIMIT_FSIZE, (now + room, hard))

    def free(self) -> None:
        """There is space again."""
        self.marker.unlink(missing_ok=True)
        hard = resource.prlimit(self.bot.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.bot.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture(params=["files", "pages"])
def disk(world: World, request: pytest.FixtureRequest) -> Disk:
    return Disk(world, request.param)


def refused(answer: Json) -> bool:
    """Whether the person was told that nothing was stored."""
    return bool(answer.get("acked")) and "could not store" in str(answer.get("response"))


def test_the_disk_fills_up_under_load(world: World, disk: Disk) -> None:
    """Every command is either stored or answered with a sentence, never both and never neither."""
    clusters = [f"fill-{disk.kind}-{number:03}" for number in range(120)]
    disk.fill(room=48 * 1024)
    answers = at_once([typed(world, cluster, world.public(1)) for cluster in clusters])
    assert [answer for answer in answers if not answer.get("acked")] == [], "each had its answer in time"
    told = {cluster for cluster, answer in zip(clusters, answers, strict=True) if refused(answer)}
    assert told, "the disk was never full"
    disk.free()
    taken = set(clusters) - told
    eventually(lambda: quiet(world) and one(world, "SELECT count(*) FROM requests") >= len(taken), 120)
    assert disk.bot.poll() is None
    stored = rows(world, "SELECT json_extract(arguments, '$.cluster'), count(*), min(state) FROM requests GROUP BY 1")
    assert sorted(stored) == [(cluster, 1, "awaiting") for cluster in sorted(taken)]
    assert one(world, "SELECT count(*) FROM invocations") == len(taken)
    for cluster in sorted(taken)[:: max(1, len(taken) // 5)]:
        assert len(cards(world, cluster)) == 1
    assert one(world, "PRAGMA integrity_check") == "ok"
    again = world.view.command(DEV, f"subnet tag {sorted(told)[0]} {world.public(1)[0]}")
    assert again.get("acked")
    assert not refused(again), "there is space again"
    card_of(world, sorted(told)[0])
    print(f"\n{disk.kind}: {len(taken)} stored, {len(told)} told that nothing was")


def test_the_disk_is_full_in_the_middle_of_runs(world: World, disk: Disk) -> None:
    """Runs whose effect is made meanwhile wait, and end when there is space; no vote counts that was not acked."""
    places = {
        f"mid-{disk.kind}-a": (world.public(1), ()),
        f"mid-{disk.kind}-b": (tenant_subnets(world)[:1], ("--account", "tenant")),
    }
    held = {cluster: world.ask(cluster, [*ids], *more) for cluster, (ids, more) in places.items()}
    other = world.ask(f"mid-{disk.kind}-c", world.public(1), state=f"needed: tag 1 subnet for mid-{disk.kind}-c")
    asked = {cluster: request_of(world, cluster) for cluster in (*held, f"mid-{disk.kind}-c")}
    eventually(lambda: quiet(world))
    world.view.aws_faults(hold=[WRITE])
    for card in held.values():
        assert clicked(world, APPROVER, card)().get("acked")
    world.wait_until_held(count=2)
    disk.fill()
    world.view.aws_faults(hold=[])
    eventually(lambda: all(created(world, asked[cluster]) for cluster in held))
    click = clicked(world, APPROVER, other)()
    if not click.get("acked"):  # where a page had room for it, it was stored
        assert rows(world, "SELECT * FROM votes WHERE request = ?", asked[f"mid-{disk.kind}-c"]) == []
    assert disk.kind == "pages" or not click.get("acked")
    assert disk.bot.poll() is None
    disk.free()
    for cluster in held:
        world.view.wait(DEV, f"Done: tag 1 subnet for {cluster}", timeout=90)
    if not click.get("acked"):
        assert clicked(world, APPROVER, other)().get("acked")
    world.view.wait(DEV, f"Done: tag 1 subnet for mid-{disk.kind}-c")
    eventually(lambda: quiet(world))
    assert {cluster: created(world, request) for cluster, request in asked.items()} == dict.fromkeys(asked, 1)
    assert disk.bot.poll() is None
    assert one(world, "PRAGMA integrity_check") == "ok"


def tenant_subnets(world: World) -> list[str]:
    """The public subnets of the other account."""
    subnets = world.view.aws()["accounts"][TENANT]["vpcs"]["tenant"]["subnets"]
    return [ident for name, ident in sorted(subnets.items()) if "public" in name]


# -- a copy put back ---------------------------------------------------------------------------------------------


POST = "chat.postMessage"
FILES = ("tkgbot.db", "tkgbot.db-wal")


def copy_database(world: World, bot: Process) -> Path:
    """What a snapshot of the disk holds: both files as they are at one moment."""
    kept = world.folder / "copy"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    bot.send_signal(signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{bot.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    for name in FILES:
        shutil.copy(world.folder / "data" / name, kept / name)
    bot.send_signal(signal.SIGCONT)
    return kept


def put_back(world: World, kept: Path) -> None:
    """The old database in place of the one that a crash left behind; nothing else of the data folder is touched."""
    for path in (world.folder / "data").glob("tkgbot.db*"):
        path.unlink()
    for name in FILES:
        shutil.copy(kept / name, world.folder / "data" / name)


def deny(world: World, card: Json, user: str = APPROVER) -> None:
    """Clicks Deny and says why."""
    assert clicked(world, user, card, "deny")().get("acked")
    eventually(lambda: bool(world.view.views(user)))
    view = world.view.views(user)[-1]
    block = next(block["block_id"] for block in view["blocks"] if block["type"] == "input")
    assert world.view.submit(user, view, **{block: "not now"}).get("acked")


def until(world: World, request: str, state: str, seconds: float = 40) -> None:
    """Waits for a state in the database."""
    try:
        eventually(lambda: state_of(world, request) == state, seconds)
    except AssertionError:
        raise AssertionError(f"{request} is {state_of(world, request)}, not {state}") from None


@dataclass
class Restored:
    """What was asked for before the copy was made, by cluster, and where it stood."""

    requests: dict[str, str]
    cards: dict[str, Json]
    states: dict[str, str]


def live_on_and_crash(world: World) -> Restored:
    """Copies the database while requests stand in every state, goes on with each, and crashes; then the copy is back.
    Returns with a bot that runs on the copy."""
    bot = world.start_bot()
    tenant = (tenant_subnets(world)[:1], "--account", "tenant")
    places: dict[str, tuple[Any, ...]] = {
        "kept": tenant, "again": tenant, "denied": tenant, "prod-half": tenant,
        "held": (world.public(1),), "queued": (world.public(1),),
    }  # fmt: skip
    shown = {cluster: world.ask(cluster, ids, *more, state=_waits(cluster)) for cluster, (ids, *more) in places.items()}
    requests = {cluster: request_of(world, cluster) for cluster in shown}
    for cluster, state in (("kept", "succeeded"), ("prod-half", "awaiting")):
        assert clicked(world, APPROVER, shown[cluster])().get("acked")
        until(world, requests[cluster], state)
    world.view.aws_faults(hold_answer=[WRITE])
    assert clicked(world, APPROVER, shown["held"])().get("acked")
    eventually(lambda: bool(world.tagged("held")))
    assert clicked(world, APPROVER, shown["queued"])().get("acked")
    waits = "SELECT waits_for FROM requests WHERE id = ?"
    eventually(lambda: one(world, waits, requests["queued"]) == requests["held"])
    eventually(lambda: one(world, "SELECT count(*) FROM outbox WHERE wanted > sent") == 0)
    world.view.slack_faults(rate_limit_methods=[POST])  # so that a card is not out yet
    assert typed(world, "late", *tenant[:1])()["acked"]
    eventually(lambda: one(world, "SELECT count(*) FROM requests WHERE state = 'blocked'") == 1)
    requests["late"] = request_of(world, "late")
    states = dict(rows(world, "SELECT json_extract(arguments, '$.cluster'), state FROM requests"))

    kept = copy_database(world, bot)
    world.view.slack_faults(rate_limit_methods=[])
    assert clicked(world, DEV, shown["queued"], "withdraw")().get("acked")
    until(world, requests["queued"], "withdrawn")
    deny(world, shown["denied"])
    deny(world, shown["prod-half"], SECOND)
    world.view.aws_faults(hold_answer=[])
    assert clicked(world, APPROVER, shown["again"])().get("acked")
    for cluster, state in (
        ("denied", "denied"),
        ("prod-half", "denied"),
        ("held", "succeeded"),
        ("again", "succeeded"),
    ):
        until(world, requests[cluster], state)
    shown["late"] = card_of(world, "late", "Blocked")
    eventually(lambda: quiet(world))
    world.end_bot(bot, signal.SIGKILL)
    put_back(world, kept)
    world.start_bot()
    return Restored(requests, shown, states)


def _waits(cluster: str) -> str:
    return f"Approval needed: tag 1 subnet for {cluster}"


def test_an_old_copy_is_put_back_after_a_crash(world: World) -> None:
    """What the copy does not know of has happened all the same: nothing runs without being approved anew, nothing is
    done a second time, and nothing is said a second time without a mark."""
    before = live_on_and_crash(world)
    wanted = {
        "kept": "succeeded", "again": "nothing_to_do", "denied": "awaiting", "prod-half": "awaiting",
        "queued": "awaiting", "held": "parked", "late": "blocked",
    }  # fmt: skip
    requests, wrong = before.requests, []
    assert before.states["queued"] == "approved", before.states
    assert before.states["held"] == "running", before.states
    eventually(lambda: quiet(world))
    for cluster, state in wanted.items():
        if (found := state_of(world, requests[cluster])) != state:
            wrong.append(f"{cluster} was {before.states[cluster]} in the copy; now it is {found}, not {state}")
    assert not wrong + said_twice(world, before)

    assert clicked(world, SECOND, before.cards["prod-half"])().get("acked")
    assert clicked(world, APPROVER, before.cards["denied"])().get("acked")
    assert clicked(world, APPROVER, before.cards["held"], "resume")().get("acked")
    until(world, requests["denied"], "succeeded")
    until(world, requests["held"], "succeeded")
    eventually(lambda: quiet(world))
    assert state_of(world, requests["prod-half"]) == "awaiting", "a vote from before the copy counts no more"
    times = {cluster: created(world, request) for cluster, request in requests.items()}
    assert times == {"kept": 1, "again": 1, "denied": 1, "prod-half": 0, "held": 1, "queued": 0, "late": 0}
    assert {cluster: len(cards(world, cluster)) for cluster in requests} == dict.fromkeys(requests, 1)


def said_twice(world: World, before: Restored) -> list[str]:
    """Messages that stand there more than once in the same words, with no mark on any but the first."""
    seen: dict[str, list[str]] = {}
    for message in [*world.view.messages(DEV), *(m for c in before.cards.values() for m in world.thread(c))]:
        key = (message.get("metadata") or {}).get("event_payload", {}).get("key", "")
        if key.split(":")[0] in before.requests.values():
            seen.setdefault(key, []).append(" ".join(words(message).split()))
    return [
        f"{key} stands there {count} times: {text}"
        for key, texts in seen.items()
        for text, count in Counter(text for text in texts if "(repeated)" not in text).items()
        if count > 1
    ]
