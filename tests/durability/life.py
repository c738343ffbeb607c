"""One life of a bot without Slack and AWS, for the tests of the engine's seams.

A life runs in a process of its own (forked from a server that has everything imported), plays a script of what people
do, and can be killed at any counted moment: before or after each commit that changes something, and before or after
each effect. Effects are files in a folder, and a log with one line an effect, so that they outlive the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from bot.engine import Engine, EngineSettings
from bot.ledger import Refused
from bot.lifecycle import FINAL, State
from bot.policy import Person, Place, Question, Rule, Scope, Who, decide
from bot.records import Draft
from bot.requests import Requests
from bot.store import Store
from bot.work import Patience, Work
from handlers.contract import Caller, Check, Fact, Impact, Observation, Offer, Outcome, Plan, Retry, Step

PATIENCE = 60.0
"""Seconds, as everywhere in the tests."""
REQUESTER, FIRST, SECOND = "UDEV", "UAPPROVER1", "UAPPROVER2"


@dataclass(frozen=True)
class Orders:
    """How a life goes. `kill` is (kind, number, when): ("commit", 3, "before") and the like."""

    folder: str
    url: str | None = None
    executor: str = "one"
    kill: tuple[str, int, str] | None = None
    script: str = "approve"
    approvals: int = 1
    steps: int = 3
    dead_after: float = 30.0
    beat: float = 5.0
    counting: bool = True


class Points:
    """Counts the moments and kills the process at the ordered one."""

    def __init__(self, folder: Path, kill: tuple[str, int, str] | None) -> None:
        self.folder = folder
        self.kill = kill
        self.counts = {"commit": 0, "effect": 0}
        self.lock = threading.Lock()

    def at(self, kind: str, when: str) -> None:
        with self.lock:
            if when == "before":
                self.counts[kind] += 1
            if self.kill == (kind, self.counts[kind], when):
                os.kill(os.getpid(), signal.SIGKILL)

    def watch_commits(self) -> None:
        """Wraps the commit of every SQLAlchemy engine in this process, dbos's included."""
        dirty: set[int] = set()
        original = DefaultDialect.do_commit

        @sa.event.listens_for(sa.Engine, "after_cursor_execute")
        def _mark(connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE") and cursor.rowcount != 0:
                dirty.add(id(connection.connection.dbapi_connection))

        def do_commit(dialect: Any, connection: Any) -> None:
            changing = id(getattr(connection, "dbapi_connection", connection)) in dirty
            dirty.discard(id(getattr(connection, "dbapi_connection", connection)))
            if changing:
                self.at("commit", "before")
            original(dialect, connection)
            if changing:
                self.at("commit", "after")

        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign,assignment]


@dataclass
class FakeWorkshop:
    """Steps that make files. `world` holds the facts (a file `fact`), the files made, and the log of effects."""

    world: Path
    points: Points
    count: int

    def plan(self, operation: str, arguments: dict[str, Any], caller: Caller) -> Plan:
        if (self.world / "lost").exists():
            raise Retry("The folder cannot be reached.", after=0.05)
        missing = [i for i in range(self.count) if not (self.world / f"thing-{i}").exists()]
        steps = tuple(
            Step(kind="file", title=f"make thing {i}", targets=("folder",), actions=(), before={"thing": i})
            for i in missing
        )
        fact = (self.world / "fact").read_text()
        return Plan(
            headline=f"make {len(steps)} things", checks=(), facts=(Fact(name="fact", value=fact),),
            targets=("folder",), steps=steps, impact=Impact(reversible=True, undo="remove them"),
        )  # fmt: skip

    def _thing(self, step: dict[str, Any]) -> Path:
        return self.world / f"thing-{step['before']['thing']}"

    def act(self, step: dict[str, Any], caller: Caller) -> Outcome:
        thing = self._thing(step)
        if thing.exists():
            return Outcome(changed=False, evidence="it is there")
        hold = self.world / "hold"
        if hold.exists():
            (self.world / "holding").touch()
            while hold.exists():
                time.sleep(0.01)
        if (self.world / "broken").exists():
            raise Retry("The folder is closed.", after=0.01)
        self.points.at("effect", "before")
        with open(self.world / "log", "a") as log:
            log.write(f"{thing.name}\n")
        thing.touch()
        self.points.at("effect", "after")
        return Outcome(changed=True, evidence="made")

    def observe(self, step: dict[str, Any], caller: Caller) -> Observation:
        return Observation(so=self._thing(step).exists(), evidence="it is there")

    def follow_up(self, operation: str, arguments: dict[str, Any], plan: Plan, caller: Caller) -> tuple[Offer, ...]:
        return ()

    def verify(self, operation: str, arguments: dict[str, Any], plan: Plan, caller: Caller) -> list[Check]:
        made = all(self._thing(step.model_dump()).exists() for step in plan.steps)
        return [Check(id="made", title="made", result="pass" if made else "block", evidence="all things are there")]


class Everybody:
    """A directory in which everybody is a member."""

    def person(self, user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        return Person(id=user, kind="member")

    def place(self, channel: str) -> Place:
        return Place(channel=channel)


@dataclass
class Life:
    """The running bot of one life."""

    orders: Orders
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.orders.folder)
        world = self.folder / "world"
        world.mkdir(parents=True, exist_ok=True)
        if not (world / "fact").exists():
            (world / "fact").write_text("A")
        self.points = Points(self.folder, self.orders.kill)
        self.store = Store(self.folder, self.orders.url)
        settings = EngineSettings(poll=0.02, beat=self.orders.beat, dead_after=self.orders.dead_after)
        self.engine = Engine(self.store, self.orders.executor, settings)
        numbers = random.Random(self.orders.executor)
        self.requests = Requests(
            self.store, self.engine, clock=time.time, new_id=lambda: f"r-{numbers.randrange(16**6):06x}"
        )
        self.rules = (
            Rule(
                name="all", operations=("*",), ask=Who(members=True),
                approve=Who(users=(FIRST, SECOND)), approvals=self.orders.approvals,
            ),
        )  # fmt: skip
        self.work = Work(
            requests=self.requests,
            workshop=FakeWorkshop(world, self.points, self.orders.steps),
            directory=Everybody(),
            rules=self.rules,
            scope=lambda operation, _arguments: Scope(operation=operation, changes=True),
            new_error_id=lambda: "e-1",
            patience=Patience(planning=1, step=0.2, settling=1, verifying=1),
        )
        self.engine.launch(self.work.plan, self.work.run)
        if self.orders.counting:
            self.points.watch_commits()

    def submit(self, invocation: str = "one") -> str:
        return self.requests.submit(
            Draft(
                invocation=invocation, operation="make", arguments={}, command="/tkg make", team="T", channel="C",
                requester=REQUESTER,
            )
        )  # fmt: skip

    def wait(self, request: str, *states: State, seconds: float = PATIENCE) -> State:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            current = self.requests.get(request)
            assert current is not None
            if current.state in states:
                return current.state
            time.sleep(0.005)
        raise AssertionError(f"{request} is {current.state} and not one of {states}")

    def until_at_rest(self) -> None:
        """Until every workflow has written its own end, so that it is counted too."""
        table = "workflow_status" if self.store.is_sqlite else "dbos.workflow_status"
        query = sa.text(f"SELECT count(*) FROM {table} WHERE status IN ('PENDING', 'ENQUEUED')")
        deadline = time.monotonic() + PATIENCE
        while self.store.read(lambda connection: connection.execute(query).scalar()):
            assert time.monotonic() < deadline, "a workflow did not end"
            time.sleep(0.005)

    def wait_plan(self, request: str, number: int) -> None:
        """Until plan `number` waits for votes."""
        deadline = time.monotonic() + PATIENCE
        while (current := self.requests.get(request)) and (current.plan_no, current.state) != (number, State.AWAITING):
            assert time.monotonic() < deadline, (current.plan_no, current.state)
            time.sleep(0.005)

    def vote(self, request: str, person: str) -> State | None:
        """The person's approval, as a person would give it again after a crash: refused when it is already there."""
        current = self.requests.get(request)
        assert current is not None
        try:
            return self.requests.vote(request, current.fingerprint or "-", person, True, self.decider(request))
        except Refused:
            return None

    def decider(self, request: str) -> Callable[..., bool]:
        def decided(current: Any, votes: Any) -> bool:
            everybody = Everybody()
            voters = {vote.person: everybody.person(vote.person, ()) for vote in votes}
            question = Question(
                deed="run", person=everybody.person(current.requester, ()), place=Place("C"),
                scope=Scope("make", True), requester=everybody.person(current.requester, ()),
                votes=votes, voters=voters,
            )  # fmt: skip
            return decide(self.rules, question).allowed

        return decided


def approve(life: Life) -> None:
    """The whole way: ask, wait for the plan, approve, wait for the end."""
    request = life.submit()
    life.wait(request, State.AWAITING, State.APPROVED, State.RUNNING, *FINAL)
    for person in (FIRST, SECOND)[: life.orders.approvals]:
        life.vote(request, person)
    life.wait(request, *FINAL)


def park_and_resume(life: Life) -> None:
    """The world is broken until somebody mends it; then the run is resumed."""
    world = life.folder / "world"
    request = life.submit()
    if not (world / "mended").exists():
        (world / "broken").touch()
    life.wait(request, State.AWAITING, State.APPROVED, State.RUNNING, State.PARKED, *FINAL)
    life.vote(request, FIRST)
    life.wait(request, State.PARKED, *FINAL) if not (world / "mended").exists() else None
    (world / "mended").touch()
    (world / "broken").unlink(missing_ok=True)
    if life.wait(request, State.PARKED, State.RUNNING, *FINAL) == State.PARKED:
        life.requests.resume(request, FIRST)
    life.wait(request, *FINAL)


def cancel(life: Life) -> None:
    """Cancelled while the first step is in flight: that step ends, the next never begins."""
    world = life.folder / "world"
    request = life.submit()
    if not (world / "cancelled").exists():
        (world / "hold").touch()
    life.wait(request, State.AWAITING, State.APPROVED, State.RUNNING, State.CANCELLING, *FINAL)
    life.vote(request, FIRST)
    state = life.wait(request, State.RUNNING, State.CANCELLING, *FINAL)
    while state == State.RUNNING and (world / "hold").exists() and not (world / "holding").exists():
        time.sleep(0.005)
    with contextlib.suppress(Refused):
        life.requests.cancel(request, REQUESTER)
    (world / "cancelled").touch()
    (world / "hold").unlink(missing_ok=True)
    life.wait(request, *FINAL)


def votes(life: Life) -> None:
    """Ten requests, each approved by two people at the same moment."""
    (life.folder / "world" / "thing-0").unlink(missing_ok=True)
    for number in range(10):
        for thing in (life.folder / "world").glob("thing-*"):
            thing.unlink()
        request = life.submit(f"votes-{number}")
        life.wait(request, State.AWAITING)
        start = threading.Barrier(2)

        def cast(person: str, request: str = request, start: threading.Barrier = start) -> None:
            start.wait()
            life.vote(request, person)

        both = [threading.Thread(target=cast, args=(person,)) for person in (FIRST, SECOND)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        life.wait(request, State.SUCCEEDED)


def hundred(life: Life) -> None:
    """One command, delivered a hundred times at once."""
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: life.submit("same"), range(100)))
    assert len(ids) == 1, ids
    life.wait(ids.pop(), State.AWAITING)


def rollback(life: Life) -> None:
    """A transaction that fails after everything was written, the enqueue included."""

    def fail(connection: sa.Connection) -> None:
        life.requests.store.write = lambda work: work(connection)  # type: ignore[method-assign,assignment]
        life.submit("never")
        raise KeyError("on purpose")

    original = life.store.write
    try:
        original(fail)
    except KeyError:
        return
    raise AssertionError("the transaction was not rolled back")


def drift(life: Life) -> None:
    """Approved on A; B when it should start; A again when it is planned anew."""
    fact = life.folder / "world" / "fact"
    request = life.submit()
    life.wait(request, State.AWAITING)
    fact.write_text("B")
    life.vote(request, FIRST)
    life.wait_plan(request, 2)
    fact.write_text("A")
    life.requests.look_again(request, REQUESTER)
    life.wait_plan(request, 3)
    life.vote(request, FIRST)
    life.wait(request, *FINAL)


def stale(life: Life) -> None:
    """The button of a plan that is not the plan any more."""
    request = life.submit()
    life.wait(request, State.AWAITING)
    old = life.requests.get(request)
    assert old is not None
    (life.folder / "world" / "fact").write_text("B")
    life.requests.look_again(request, REQUESTER)
    life.wait_plan(request, 2)
    with pytest.raises(Refused, match="changed"):
        life.requests.vote(request, (old.fingerprint or "")[:16], FIRST, True, life.decider(request))


def queue(life: Life) -> None:
    """Two requests for one target, approved while the first one's step is held."""
    world = life.folder / "world"
    first, second = life.submit("first"), life.submit("second")
    life.wait(first, State.AWAITING)
    life.wait(second, State.AWAITING)
    (world / "hold").touch()
    life.vote(first, FIRST)
    life.wait(first, State.RUNNING)
    life.vote(second, FIRST)
    deadline = time.monotonic() + PATIENCE
    while (current := life.requests.get(second)) and current.waits_for != first:
        assert time.monotonic() < deadline, "the second did not wait"
        time.sleep(0.005)
    (world / "hold").unlink()
    life.wait(first, State.SUCCEEDED)
    life.wait(second, State.AWAITING, State.NOTHING_TO_DO, *FINAL)


def revive(life: Life) -> None:
    """A request whose workflow is not there: neither planning nor run would ever move by itself."""
    put_plan, put_run = life.engine.enqueue_plan, life.engine.enqueue_run
    life.engine.enqueue_plan = lambda *_: None  # type: ignore[method-assign]
    request = life.submit()
    life.engine.enqueue_plan = put_plan  # type: ignore[method-assign]
    assert life.requests.revive(life.engine.is_dead, after=0) == [request]
    life.wait(request, State.AWAITING)
    assert life.requests.revive(life.engine.is_dead, after=0) == [], "what waits for people was started anew"
    life.engine.enqueue_run = lambda *_: None  # type: ignore[method-assign]
    life.vote(request, FIRST)
    life.engine.enqueue_run = put_run  # type: ignore[method-assign]
    assert life.requests.revive(life.engine.is_dead, after=0) == [request]
    life.wait(request, State.SUCCEEDED)


def cancel_blind(life: Life) -> None:
    """A resumed run that is cancelled while the world cannot even be looked at."""
    world = life.folder / "world"
    (world / "broken").touch()
    request = life.submit()
    life.wait(request, State.AWAITING)
    life.vote(request, FIRST)
    life.wait(request, State.PARKED)
    (world / "lost").touch()
    life.requests.resume(request, FIRST)
    life.requests.cancel(request, REQUESTER)
    life.wait(request, *FINAL)


def left_alone(life: Life) -> None:
    """A run that is under way is not dead, however long its step takes."""
    world = life.folder / "world"
    (world / "hold").touch()
    request = life.submit()
    life.wait(request, State.AWAITING)
    life.vote(request, FIRST)
    while not (world / "holding").exists():
        time.sleep(0.005)
    assert life.requests.revive(life.engine.is_dead, after=0) == []
    (world / "hold").unlink()
    life.wait(request, State.SUCCEEDED)


SCRIPTS: dict[str, Callable[[Life], None]] = {
    "approve": approve, "park": park_and_resume, "cancel": cancel, "votes": votes, "hundred": hundred,
    "rollback": rollback, "drift": drift, "stale": stale, "queue": queue, "revive": revive,
    "left_alone": left_alone, "cancel_blind": cancel_blind,
}  # fmt: skip


def live(orders: Orders) -> None:
    """Runs one life to the end of its script and leaves its counts behind. The process ends here."""
    code = 1
    try:
        life = Life(orders)
        if orders.script != "serve":
            SCRIPTS[orders.script](life)
            life.until_at_rest()
            (life.folder / "counts").write_text(json.dumps(life.points.counts))
        else:
            while not (life.folder / "stop").exists():
                time.sleep(0.05)
        code = 0
    except BaseException as error:  # the parent reads why
        (Path(orders.folder) / "error").write_text(repr(error))
        raise
    finally:
        os._exit(code)
