"""Digests of bots that are ended by SIGKILL on the way: one message for each moment, counted in the channel.

Three replicas share a PostgreSQL database and a clock that the test sets. One of them dies at a moment of a digest's
way from the claim to the last file in its thread; the others go on, and the dead one comes back as a supervisor has it.
With TKGBOT_ALL_KILLS every moment is struck.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.durability.digestlife import COMMAND, Moment
from tests.durability.fleet import Fleet, Replica, running_fleet
from tests.durability.keeper import ALL, BOUNDED
from tests.scenario.clusters import CLUSTERS, Administrator
from tests.scenario.digests import line
from tests.world import DEV, PATIENCE, Json, World, eventually, running_world

pytestmark = pytest.mark.long

HOUR = 3600.0
LONG = 400.0
"""Seconds that outlast every claim of a dead process, and that make a digest late."""
SETTINGS = """
digests:
  - {name: hours, channel: CPLATFORM1, when: hourly}
"""
DEEDS = (
    "claim", "look", "put",
    *(f"{deed} message" for deed in ("take", "post", "record")),
    *(f"{deed} table" for deed in ("take", "post", "record")),
    "take csv", "files.getUploadURLExternal", "files.completeUploadExternal", "record csv",
    "take chart", "record chart",
)  # fmt: skip
"""What is done with a digest, in order."""
EVERY: tuple[Moment, ...] = tuple((deed, when) for deed in DEEDS for when in ("before", "after"))
FEW: tuple[Moment, ...] = (
    ("claim", "after"),
    ("post message", "before"),
    ("post message", "after"),
    ("files.completeUploadExternal", "after"),
)
LINES = {"table": "Every cluster", "drift": "What is not as it was made"}
"""What stands in a digest's thread beside files, by words of it."""
UNTOLD = {("claim", "after"), ("look", "before"), ("look", "after"), ("put", "before")}
"""Deaths that leave a moment in hand whose message is not written: whoever takes it over writes it, and it is late."""

WRITTEN = {("take message", "after"), ("post message", "before")}
"""Deaths after which a message that was written in time is sent late."""


@dataclass
class Hours:
    """The clock of the bots of a world, and the order to die; `now` is the last full hour that it was set to."""

    folder: Path
    now: float

    def environment(self) -> dict[str, str]:
        """What a bot has to know of it."""
        return {"DIGEST_CLOCK": str(self.folder / "clock"), "DIGEST_ORDER": str(self.folder / "order")}

    def set(self, now: float) -> None:
        """It is that time (epoch seconds), and goes on from there."""
        draft = self.folder / "clock.new"
        draft.write_text(str(now - time.time()))
        draft.rename(self.folder / "clock")

    def forward(self, seconds: float) -> None:
        """It jumps."""
        self.set(time.time() + float((self.folder / "clock").read_text()) + seconds)

    def strikes(self, kill: Moment | None = None) -> str:
        """The next full hour comes, and the first who gets to `kill` dies there. The key of the digest's message."""
        if kill is not None:
            draft = self.folder / "order.new"
            draft.write_text(json.dumps(kill))
            draft.rename(self.folder / "order")
        self.now += HOUR
        self.set(self.now)
        return f"digest:hours@{int(self.now)}"


def begun(world: World) -> Hours:
    """A world with a digest each hour, a cluster to speak of, and a clock that is two days behind: what Slack writes
    on a message is never before what the bots believe."""
    world.settings.write_text(f"{world.settings.read_text()}{SETTINGS}")
    Administrator(world).make(
        CLUSTERS, {"kind": "Cluster", "metadata": {"name": "told"}, "spec": {"paused": True}}, "default"
    )
    hours = Hours(world.folder, (time.time() // HOUR - 48) * HOUR)
    hours.set(hours.now + 60)
    return hours


def of(world: World, key: str) -> list[Json]:
    """The messages in the channel that are this digest."""
    marks = ((m, (m.get("metadata") or {}).get("event_payload", {}).get("key")) for m in world.view.messages(DEV))
    return [message for message, mark in marks if mark == key]


def parts(world: World, root: Json) -> Counter[str]:
    """What stands in its thread, how often."""
    found: Counter[str] = Counter()
    for message in world.view.messages(DEV, thread=root["ts"])[1:]:
        files = [str(file["name"]).rpartition(".")[2] for file in message.get("files") or ()]
        found.update(files or [next((name for name, words in LINES.items() if words in line(message)), line(message))])
    return found


def once(world: World, key: str, late: str = "", *, chart: bool = True) -> list[str]:
    """What is wrong with a digest that has to stand there once with all that belongs to it, and says that of being
    late."""
    every = of(world, key)
    if len(every) != 1:
        return [f"{len(every)} messages"]
    text, whole = line(every[0]), Counter({**dict.fromkeys(LINES, 1), "csv": 1, **({"png": 1} if chart else {})})
    said = [words for words in ("late: sent", "(late)") if words in text]
    wrong = [f"it says of being late: {text}"] if said != [late] * bool(late) else []
    wrong += [f"it counts as repeated: {text}"] if "repeated" in text else []
    return wrong + ([f"its thread has {dict(parts(world, every[0]))}"] if parts(world, every[0]) != whole else [])


# -- three replicas ----------------------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Iterator[tuple[Fleet, Hours]]:
    """Three replicas on one database, all at work."""
    with running_fleet(COMMAND) as fleet:
        hours = begun(fleet.world)
        fleet.add(3, **hours.environment())
        eventually(lambda: all(replica.is_healthy for replica in fleet.replicas))
        yield fleet, hours


def told(fleet: Fleet, key: str) -> bool:
    """The digest was written, and everything that is written was sent."""
    done = "SELECT count(*) FROM digest_fires WHERE key = :fire AND done_at IS NOT NULL"
    return bool(fleet.database.one(done, fire=key.removeprefix("digest:"))) and fleet.quiet()


def death(fleet: Fleet, act: Callable[[], str]) -> tuple[str, str]:
    """Who died of it, by the name under which it worked; and what `act` gave. All of them are at work: one that has
    just begun could die of it before its name is known, and what it had in hand would be nobody's."""
    assert all(replica.is_healthy for replica in fleet.replicas)
    known = {replica.name: (replica.executor, len(replica.codes)) for replica in fleet.replicas}
    key = act()

    def dead() -> list[Replica]:
        return [replica for replica in fleet.replicas if len(replica.codes) > known[replica.name][1]]

    eventually(lambda: bool(dead()))
    return known[dead()[0].name][0], key


def left(fleet: Fleet, executor: str) -> bool:
    """Whether somebody who died had something in hand: the others let it be until the claim has run out."""
    held = (
        "SELECT (SELECT count(*) FROM outbox WHERE claimed_by = :who)"
        " + (SELECT count(*) FROM digest_fires WHERE claimed_by = :who AND done_at IS NULL)"
    )
    return bool(fleet.database.one(held, who=executor))


def killed(fleet: Fleet, hours: Hours, kill: Moment) -> str:
    """A digest comes due, one dies of it, and the others end it. The digest's key."""
    executor, key = death(fleet, lambda: hours.strikes(kill))
    if left(fleet, executor):
        hours.forward(LONG)
    eventually(lambda: told(fleet, key))
    return key


@BOUNDED
def test_one_message_whoever_dies_on_the_way(fleet: tuple[Fleet, Hours]) -> None:
    """SIGKILL from the claim to the last file."""
    replicas, hours = fleet
    first = hours.strikes()
    eventually(lambda: told(replicas, first))
    assert once(replicas.world, first, chart=False) == []
    wrong: list[str] = []
    for kill in EVERY if ALL else FEW:
        key = killed(replicas, hours, kill)
        late = "late: sent" if kill in UNTOLD else "(late)" if kill in WRITTEN else ""
        wrong += [f"{' '.join(kill)}: {text}" for text in once(replicas.world, key, late)]
        eventually(lambda: all(replica.is_healthy for replica in replicas.replicas))
    assert not wrong, "\n".join(wrong)


def test_replicas_whose_clocks_differ_say_it_once() -> None:
    """One is forty seconds behind and one fifty-five ahead, and Slack is slow: what one of them is sending, the other
    does not send, though by its clock the claim has run out."""
    with running_fleet(COMMAND) as fleet:
        hours = begun(fleet.world)
        for skew in (-40, 55):
            fleet.add(1, **hours.environment(), DIGEST_SKEW=str(skew))
        due = hours.strikes()
        eventually(lambda: told(fleet, due))
        fleet.world.view.slack_faults(latency_ms=1000)
        for _ in range(4):  # the workspace asks one after the other
            assert fleet.world.view.command(DEV, "digest now hours").get("acked")
        wanted = "SELECT key FROM digest_fires WHERE wanted_by IS NOT NULL AND done_at IS NOT NULL"
        eventually(lambda: len(fleet.database.rows(wanted)) == 4 and fleet.quiet(), 90)
        keys = [due, *(f"digest:{row.key}" for row in fleet.database.rows(wanted))]
        assert [len(of(fleet.world, key)) for key in keys] == [1] * 5
        whole = [parts(fleet.world, of(fleet.world, key)[0]) for key in keys]
        assert [found for found in whole if max(found.values()) > 1] == []


# -- one bot on SQLite -------------------------------------------------------------------------------------------


def test_one_bot_that_dies_and_is_started_again() -> None:
    """On a file of its own: what it had in hand comes once, late if it is; what came due meanwhile, too."""
    with running_world() as world:
        hours = begun(world)

        def dies(kill: Moment) -> str:
            bot = world.start_bot(COMMAND, **hours.environment())
            key = hours.strikes(kill)
            assert bot.wait(timeout=PATIENCE) == -signal.SIGKILL, "it died at another moment"
            return key

        def whole(key: str) -> bool:
            return bool(of(world, key)) and sum(parts(world, of(world, key)[0]).values()) >= (3 if key == posted else 4)

        posted, taken = dies(("post message", "after")), dies(("look", "before"))
        assert [len(of(world, key)) for key in (posted, taken)] == [1, 0], "Slack took the first, and not the second"
        for _ in range(3):
            due = hours.strikes()
        hours.forward(LONG)
        world.start_bot(COMMAND, **hours.environment())
        eventually(lambda: all(map(whole, (posted, taken, due))))
        assert once(world, posted, chart=False) == []
        assert once(world, taken, "late: sent") == []
        assert once(world, due, "late: sent") == []
        keys = [(m.get("metadata") or {}).get("event_payload", {}).get("key") for m in world.view.messages(DEV)]
        every = sorted(key for key in keys if key)  # the one that was taken comes when its claim has run out
        assert every == sorted([posted, taken, due]), "of what was missed only the newest comes"
