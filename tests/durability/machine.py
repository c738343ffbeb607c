"""The stage of the stateful tests: the bot's real use cases on a real store, stand-ins for what is around them, and a
witness who sees everything and knows what must never be.

Each thread of the bot is a Player that can stop at every seam (before and after each commit, each durable step, each
look at the world and each effect in it), so that a test may leave it there, let others go first, kill it, or let it go
on much later. One player moves at a time, so the same choices always give the same story.

- Workflows keeps what dbos keeps, with the semantics that dbos 3.4 was measured to have: an id is run once; recorded
  results and errors are replayed; what an execution did is recorded only while it owns its workflow.
- World is a small AWS: facts and things in dictionaries, and every kind of trouble.
- People answers as Slack would.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import sqlalchemy as sa
from pydantic import Field

from bot import people, tables
from bot.front import make_front
from bot.invocation import Invocation
from bot.lifecycle import FINAL, State
from bot.own import OWN
from bot.policy import Person, Place, Rule, Who
from bot.requests import Requests
from bot.screens import Screen
from bot.store import Store
from bot.work import Patience, Work
from handlers.contract import (
    Arguments,
    Caller,
    Check,
    Fact,
    Fatal,
    Impact,
    Inverse,
    Observation,
    Offer,
    Operation,
    Outcome,
    Plan,
    Positional,
    Report,
    Retry,
    Step,
    fingerprint,
    word,
)
from tests.quiet import digesting
from tests.unit.test_lifecycle import PAIRS

T = TypeVar("T")
NOW, TEAM, CHANNEL, CARD = 1_800_000_000.0, "T1", "C1", "100.1"
UNDER_WAY = (State.RUNNING, State.CANCELLING, State.PARKED)
ACTIVE = (State.APPROVED, State.RUNNING, State.CANCELLING)
HANGS = 60.0
"""Seconds of real time after which a player is taken for hanging."""


# -- players ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process died here."""


class Fenced(BaseException):
    """As dbos: this execution does not own its workflow any more."""


class RecordedError(Exception):
    """As dbos: what comes back of an error that was recorded, whatever class it was of."""


_here = threading.local()


def playing() -> Player | None:
    """The player whose thread this is."""
    return getattr(_here, "player", None)


def seam() -> None:
    """A place where a process may stop or die."""
    player = playing()
    if player is not None:
        player.seam()


class Player:
    """One thread of the bot. `answers` is what Slack said to it of people since its durable step (or click) began;
    `seen` is how everything stood after its last commit."""

    def __init__(self, name: str, rules: tuple[Rule, ...], work: Callable[[], None]) -> None:
        self.name, self.rules = name, rules
        self.invocation: Invocation | None = None
        self.workflow: Workflow | None = None
        self.answers: dict[str, Person] = {}
        self.version = -1
        self.seen: Picture | None = None
        self.is_newest = False
        self.is_over = self.is_held = False
        self.failure: BaseException | None = None
        self._work, self._left, self._dies = work, 0, False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._play, name=name, daemon=True).start()

    def go_on(self, seams: int | None = None) -> None:
        """Lets it pass `seams` seams, or any number of them until it sleeps; returns when it has stopped or ended."""
        self.let_go(seams)
        assert self.has_stopped(HANGS), f"{self.name} hangs"

    def let_go(self, seams: int | None = None) -> None:
        """The same without waiting."""
        self._left = -1 if seams is None else seams
        self._go.release()

    def has_stopped(self, within: float) -> bool:
        """Waits up to `within` seconds of real time."""
        return self._paused.acquire(timeout=within)

    def kill(self) -> None:
        """It dies where it stands."""
        if not self.is_over:
            self._dies = True
            self.go_on()

    def seam(self) -> None:
        """Called by the player itself."""
        if self._left == 0:
            self.stop()
        elif self._left > 0:
            self._left -= 1

    def stop(self) -> None:
        """Called by the player itself: waits until it may go on."""
        self._paused.release()
        self._go.acquire()
        if self._dies:
            raise Killed

    def _play(self) -> None:
        _here.player = self
        try:
            self._go.acquire()
            if not self._dies:
                self._work()
        except (Killed, Fenced):
            pass
        except BaseException as error:  # told by the witness: nothing of the bot's may end like this
            self.failure = error
        self.is_over = True
        self._paused.release()


class SeamedStore(Store):
    """The real store with seams before each transaction and after each commit. `on_commit` is told what the transaction
    had put into the queue."""

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self.on_commit: Callable[[list[Key]], None] = lambda enqueued: None
        super().__init__(directory, url)

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """A read may be late."""
        seam()
        return super().read(work)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """A process may die before a commit or after it; in between is before."""
        enqueued: list[Key] = []

        def whole(connection: sa.Connection) -> T:
            enqueued.clear()
            _here.enqueued = enqueued  # in the thread that runs the transaction
            value = work(connection)
            player = playing()
            if player is not None and player.is_held:  # only where transactions run in threads of their own
                player.stop()
            return value

        seam()
        value = super().write(whole)
        self.on_commit(enqueued)
        seam()
        return value

    def look(self, work: Callable[[sa.Connection], T]) -> T:
        """Reads without a seam, for those who watch."""
        return super().read(work)

    def change(self, *statements: sa.Executable) -> None:
        """Writes without a seam, for those who are not the bot."""
        super().write(lambda connection: [connection.execute(statement) for statement in statements] and None)


# -- durable execution -----------------------------------------------------------------------------------------------

Key = tuple[str, str, int]
"""A workflow's id: `plan` or `run`, the request, the number."""


@dataclass
class Workflow:
    """One workflow as dbos keeps it. `owner` is the execution whose results are recorded."""

    key: Key
    status: Literal["ENQUEUED", "PENDING", "SUCCESS", "ERROR"] = "ENQUEUED"
    owner: Player | None = None
    recorded: dict[int, tuple[str, str, bool]] = field(default_factory=dict)
    players: list[Player] = field(default_factory=list)

    @property
    def is_played(self) -> bool:
        """True when some thread is in it, stopped or not."""
        return any(not player.is_over for player in self.players)


class Workflows:
    """The queue, and what became of what was put into it."""

    def __init__(self) -> None:
        self.all: dict[Key, Workflow] = {}

    def enqueue_plan(self, connection: sa.Connection, request: str, number: int) -> None:
        """With the caller's commit."""
        _here.enqueued.append(("plan", request, number))

    def enqueue_run(self, connection: sa.Connection, request: str, number: int) -> None:
        """With the caller's commit."""
        _here.enqueued.append(("run", request, number))

    def put(self, keys: Sequence[Key]) -> None:
        """An id that is known already is not run again, and nobody is told (durable.md 11)."""
        for key in keys:
            self.all.setdefault(key, Workflow(key))

    def is_dead(self, name: str, request: str, number: int) -> bool:
        """As the engine says it."""
        known = self.all.get((name, request, number))
        if known is None or known.status in ("SUCCESS", "ERROR"):
            return True
        return known.status == "PENDING" and not known.is_played


class Steps:
    """Durable steps of one execution of a workflow."""

    def __init__(self, workflow: Workflow, player: Player, sleep: Callable[[float], None]) -> None:
        self.workflow, self.player, self._sleep = workflow, player, sleep
        self.position = -1
        self.on_record: Callable[[str, Any], None] = lambda name, value: None

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """As `DBOS.run_step`: replays what is recorded, errors included, without asking who owns the workflow."""
        self.player.seam()
        self.position += 1
        if self.position in self.workflow.recorded:
            known, said, is_error = self.workflow.recorded[self.position]
            assert known == name, f"{self.workflow.key} is not deterministic: {name} instead of {known}"
            if is_error:
                raise RecordedError(said)
            return json.loads(said)
        self.player.answers = {}
        try:
            value = json.dumps(work())
        except Exception as error:
            self._record(name, repr(error), is_error=True)
            raise
        self._record(name, value)
        self.on_record(name, json.loads(value))
        return json.loads(value)

    def sleep(self, seconds: float) -> None:
        """As `DBOS.sleep`: when it ends is recorded first, so a replay does not sleep again from the beginning."""
        self.position += 1
        if self.position not in self.workflow.recorded:
            self._record("sleep", json.dumps(seconds))
            self.player.stop()
            self._sleep(seconds)

    def _record(self, name: str, said: str, *, is_error: bool = False) -> None:
        self.player.seam()
        if self.workflow.owner is not self.player:
            raise Fenced
        self.workflow.recorded[self.position] = (name, said, is_error)
        self.player.seam()


# -- the world -------------------------------------------------------------------------------------------------------

THINGS = ("red-0", "red-1", "blue-0")
Thing = Annotated[str, *word(r"(red|blue)-[01]", "a thing", "red-0")]
Trouble = Literal["none", "out of reach", "throttled", "refused", "answer lost", "hidden", "unproven"]


class Things(Arguments):
    """What is to be made or broken."""

    things: Annotated[tuple[Thing, ...], Positional(many=True)] = Field(min_length=1, description="Things.")


class Change(Operation[Things]):
    """Makes things, or breaks them. A colour is the target, and a material fact."""

    arguments = Things

    def __init__(self, name: str, there: bool, opposite: str) -> None:
        self.name, self.there, self.opposite = name, there, opposite
        self.summary, self.examples = name, (f"{name} red-0",)

    def plan(self, arguments: Things, world: Any) -> Plan:
        """A step for each thing that is not so yet."""
        colours = sorted({colour_of(thing) for thing in arguments.things})
        steps = tuple(
            Step(kind="thing", title=f"{self.name} {thing}", targets=(colour_of(thing),),
                 **{"thing": thing, "there": self.there})  # the step's own fields
            for thing in arguments.things if world.things[thing] != self.there
        )  # fmt: skip
        return Plan(
            headline=f"{self.name} {len(steps)} things", targets=tuple(colours), steps=steps,
            checks=tuple(Check(id=c, title=c, result=world.checks[c], evidence="seen", fix="mend") for c in colours),
            facts=tuple(Fact(name=colour, value=world.facts[colour]) for colour in colours),
            impact=Impact(reversible=True, undo=self.opposite),
        )  # fmt: skip

    def verify(self, arguments: Things, plan: Plan, world: Any) -> list[Check]:
        """All of them are so."""
        so = all(world.things[thing] == self.there for thing in arguments.things) and world.trouble != "unproven"
        return [Check(id="so", title="so", result="pass" if so else "block", evidence="seen")]

    def inverse(self, arguments: Things, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """The opposite, of what was touched."""
        things = [step.model_dump()["thing"] for step in plan.steps]
        return Inverse(operation=self.opposite, arguments={"things": [things[position] for position in touched]})


def colour_of(thing: str) -> str:
    """What a thing belongs to: the target that is leased."""
    return thing.partition("-")[0]


OPERATIONS = {"make": Change("make", True, "break"), "break": Change("break", False, "make")}


class World:
    """A small AWS, and the workshop in front of it. `planned` are all plans that were ever made, by fingerprint."""

    def __init__(self, on_act: Callable[[str, dict[str, Any]], None]) -> None:
        self.on_act = on_act
        self.things = dict.fromkeys((*THINGS, "blue-1"), False)
        self.facts = {"red": 0, "blue": 0}
        self.checks: dict[str, Literal["pass", "warn", "block", "unknown"]] = {"red": "pass", "blue": "pass"}
        self.trouble: Trouble = "none"
        self.planned: dict[str, tuple[list[dict[str, Any]], tuple[str, ...]]] = {}

    def plan(self, operation: str, arguments: Mapping[str, Any], caller: Caller) -> Plan:
        """Looks."""
        seam()
        if self.trouble == "out of reach":
            raise Retry("The world does not answer.")
        plan = OPERATIONS[operation].plan(Things.model_validate(arguments), self)
        steps = [step.model_dump(mode="json") for step in plan.steps]
        self.planned[fingerprint(operation, arguments, plan)] = (steps, plan.targets)
        return plan

    def act(self, step: dict[str, Any], caller: Caller) -> Outcome:
        """Observes, and makes it so. An effect is something that was not so before."""
        seam()
        if self.trouble == "throttled":
            raise Retry("The world is busy.")
        if self.trouble == "refused":
            raise Fatal("The world says no.")
        if self.things[step["thing"]] == step["there"]:
            return Outcome(changed=False, evidence="so already")
        self.on_act(caller.request, step)
        self.things[step["thing"]] = step["there"]
        seam()
        if self.trouble == "answer lost":
            self.trouble = "none"
            raise Retry("The answer did not come.")
        return Outcome(changed=True, evidence="done")

    def observe(self, step: dict[str, Any], caller: Caller) -> Observation:
        """Looks whether it is so."""
        seam()
        return Observation(so=self.things[step["thing"]] == step["there"] and self.trouble != "hidden", evidence="seen")

    def verify(self, operation: str, arguments: Mapping[str, Any], plan: Plan, caller: Caller) -> list[Check]:
        """Looks at all of it."""
        seam()
        return OPERATIONS[operation].verify(Things.model_validate(arguments), plan, self)

    def report(self, operation: str, arguments: Mapping[str, Any], caller: Caller) -> Report:
        """Nothing to report."""
        return Report(title="looked")

    def inverse(
        self, operation: str, arguments: Mapping[str, Any], plan: Plan, touched: Sequence[int]
    ) -> Inverse | None:
        """Asks the operation."""
        return OPERATIONS[operation].inverse(Things.model_validate(arguments), plan, touched)

    def follow_up(self, operation: str, arguments: Mapping[str, Any], plan: Plan, caller: Caller) -> tuple[Offer, ...]:
        """Nothing follows."""
        return ()


# -- people ----------------------------------------------------------------------------------------------------------

ASKER, FIRST, SECOND, THIRD, BARRED, GUEST = "UASKER", "UFIRST", "USECOND", "UTHIRD", "UBARRED", "UGUEST"
ASKER_TOO, SECOND_TOO = "UASKERTOO", "USECONDTOO"
"""Second accounts of the same people."""
EVERYBODY = (FIRST, SECOND, THIRD, ASKER, ASKER_TOO, SECOND_TOO, BARRED, GUEST)
OPS = "SOPS"
EMAILS = {ASKER_TOO: "uasker@example.com", SECOND_TOO: "usecond@example.com"}
_TIMES: dict[str, Any] = {"operations": ("*",), "request_ttl": 1000.0, "approval_ttl": 300.0}
_OPS, _ALL = Who(usergroups=(OPS,)), Who(members=True)
POLICIES: tuple[tuple[Rule, ...], ...] = (
    (Rule(name="two", ask=_ALL, approve=_OPS, approvals=2, **_TIMES),),
    (Rule(name="one", ask=_ALL, approve=_OPS, **_TIMES),),
    (Rule(name="three", ask=_ALL, approve=_ALL, approvals=3, **_TIMES),),
    (
        Rule(name="ops", ask=_ALL, approve=_OPS, approvals=2, **_TIMES),
        Rule(name="owners", ask=Who(users=(ASKER, FIRST)), approve=Who(users=(THIRD, ASKER)), **_TIMES),
    ),
    (
        Rule(name="own", ask=_ALL, approve=_ALL, approvals=2, requester_counts=True, **_TIMES),
        Rule(name="barred", effect="deny", approve=Who(users=(BARRED, FIRST)), **_TIMES),
    ),
    (Rule(name="nobody", effect="deny", ask=_ALL, **_TIMES),),
)


class People:
    """Slack's answers. `version` counts what changed."""

    def __init__(self) -> None:
        members = {name: Person(name, "member", email=EMAILS.get(name, f"{name}@EXAMPLE.com")) for name in EVERYBODY}
        self.known = {**members, GUEST: Person(GUEST, "guest", email="g@example.com")}
        self.shared = self.silent = False
        self.version = 0
        for name in (FIRST, SECOND, SECOND_TOO, ASKER, ASKER_TOO, BARRED, GUEST):
            self.put(name, groups=frozenset({OPS}))

    def put(self, name: str, **changes: Any) -> None:
        """Changes what is known of somebody."""
        self.known[name] = Person(**{**vars(self.known[name]), **changes})
        self.version += 1

    def say(self, *, shared: bool, silent: bool) -> None:
        """Changes what is said of the channel, and whether anything is said at all."""
        self.shared, self.silent = shared, silent
        self.version += 1

    def person(self, user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        """A fresh look."""
        seam()
        if self.silent:
            raise Retry("Slack did not say who you are.")
        found, player = self.known[user], playing()
        if player is not None:
            player.answers[user] = found
        return Person(found.id, found.kind, found.groups & set(groups), found.email)

    def place(self, channel: str) -> Place:
        """A fresh look."""
        return Place(channel, shared=self.shared)


class Modals:
    """Every modal opens."""

    def open(self, trigger: str, screen: Screen) -> str:
        """Its id."""
        return "V1"

    def replace(self, view: str, screen: Screen) -> None:
        """Shows something else."""


def is_filled(row: Row, votes: set[Ballot], rules: Sequence[Rule], known: Mapping[str, Person]) -> bool:
    """The policy once more, in other words: True when each rule that lets the requester ask has its number of people
    who approved exactly this plan. `known` are the people as they were seen; who was not looked at does not count."""

    def human(name: str) -> str:
        return known[name].email.casefold()

    if row.requester not in known or known[row.requester].kind != "member":
        return False
    allows = [rule for rule in rules if rule.effect == "allow" and _names(rule.ask, known[row.requester])]
    denies = [rule for rule in rules if rule.effect == "deny"]
    if not allows or any(_names(rule.ask, known[row.requester]) for rule in denies):
        return False
    mine = {b.person for b in votes if (b.request, b.plan_no, b.fingerprint) == row[:3] and b.approve}
    able = [name for name in mine if name in known and known[name].kind == "member"]
    able = [name for name in able if not any(_names(rule.approve, known[name]) for rule in denies)]
    return all(
        len({
            human(name) for name in able
            if _names(rule.approve, known[name]) and (rule.requester_counts or human(name) != human(row.requester))
        }) >= (rule.approvals or 1)
        for rule in allows
    )  # fmt: skip


def _names(who: Who, person: Person) -> bool:
    return person.id in who.users or bool(person.groups & set(who.usergroups)) or who.members


# -- the witness -----------------------------------------------------------------------------------------------------


class Ballot(NamedTuple):
    """A row of `votes`."""

    request: str
    plan_no: int
    fingerprint: str
    person: str
    approve: bool


class Row(NamedTuple):
    """A row of `requests`. The first three are what a vote is given for."""

    id: str
    plan_no: int
    fingerprint: str | None
    state: State
    run_no: int
    requester: str
    waits_for: str | None
    deadline: float | None


class Move(NamedTuple):
    """A record of the audit that a state changed, or that a request was revived."""

    seq: int
    request: str
    event: str
    data: Any


class Picture(NamedTuple):
    """How everything stands at one moment. `steps` says whether each step that was begun has ended."""

    rows: dict[str, Row]
    votes: set[Ballot]
    leases: dict[str, str]
    steps: dict[tuple[str, int, int], bool]
    ends: set[str]
    moves: list[Move]


_ROWS = sa.text(
    "SELECT id, plan_no, fingerprint, state, run_no, requester, waits_for, deadline FROM requests ORDER BY id"
)
_VOTES = sa.text("SELECT request, plan_no, fingerprint, person, approve FROM votes")
_LEASES = sa.text("SELECT target, request FROM leases")
_STEPS = sa.text("SELECT request, plan_no, position, ended_at IS NOT NULL FROM steps")
_ENDS = sa.text(r"SELECT request FROM outbox WHERE key = request || '\:end'")
_MOVES = sa.text(
    "SELECT seq, request, event, data FROM audit WHERE seq > :floor AND event IN ('moved', 'revived') ORDER BY seq"
)
LATE = 50
"""How many places in the audit a transaction that began earlier may commit later."""


class Witness:
    """Sees every commit and every effect, and writes down what was wrong. It trusts only what it has seen itself: votes
    are those that were cast by a click, plans are those that the world gave."""

    def __init__(self, store: SeamedStore, people: People, now: Callable[[], float]) -> None:
        self.store, self.people, self.now = store, people, now
        self.wrong: list[str] = []
        self.tampered: set[str] = set()
        self.cast: set[Ballot] = set()
        self.paths: dict[str, list[State]] = {}
        self.warrants: dict[tuple[str, int], tuple[int, str | None]] = {}
        self.newest: dict[str, Player] = {}
        self.ended_in: dict[tuple[str, int, int], int] = {}
        self.planned: Mapping[str, tuple[list[dict[str, Any]], tuple[str, ...]]] = {}
        self.acts: list[tuple[str, str | None, str]] = []
        self._heard: set[int] = set()
        self._floor = 0
        self._lock = threading.RLock()
        self.picture = self._look()

    def says(self, is_right: bool, wrong: str) -> None:
        """Writes down what is not right."""
        if not is_right and wrong not in self.wrong:
            self.wrong.append(wrong)

    def _look(self) -> Picture:
        def work(connection: sa.Connection) -> Picture:
            execute = connection.execute
            rows = [Row._make((*row[:3], State(row[3]), *row[4:])) for row in execute(_ROWS)]
            moves = [Move(*row) for row in execute(_MOVES, {"floor": self._floor - LATE})]
            return Picture(
                {row.id: row for row in rows},
                {Ballot._make((*row[:4], bool(row[4]))) for row in execute(_VOTES)},
                {row[0]: row[1] for row in execute(_LEASES)},
                {(row[0], row[1], row[2]): bool(row[3]) for row in execute(_STEPS)},
                {row[0] for row in execute(_ENDS)},
                [move for move in moves if move.seq not in self._heard],
            )

        return self.store.look(work)

    # -- commits -----------------------------------------------------------------------------------------------------

    def committed(self) -> None:
        """After each commit of the bot, before anybody else moves."""
        with self._lock:
            before, now, player = self.picture, self._look(), playing()
            self.picture = now
            self._note_votes(before, now, player)
            for move in now.moves:
                self._heard.add(move.seq)
                self._floor = max(self._floor, move.seq)
                self._moved(move, before, now, player)
            for row in now.rows.values():
                self._stands(row, now)
            for step, has_ended in now.steps.items():
                if has_ended and step in now.steps:
                    self.ended_in.setdefault(step, now.rows[step[0]].run_no)
            if player is not None:
                self._remember(player, now)

    def _remember(self, player: Player, now: Picture) -> None:
        """What a player knows of its own right to act: how things stood at its last commit."""
        if player.workflow is not None and player.workflow.key[0] == "run":
            row = now.rows[player.workflow.key[1]]
            if player.seen is None and row.run_no == player.workflow.key[2] and row.state in ACTIVE:
                self.newest[row.id] = player
            player.is_newest = self.newest.get(row.id) is player
        player.seen = now

    def _note_votes(self, before: Picture, now: Picture, player: Player | None) -> None:
        for ballot in now.votes - before.votes:
            click, row = player.invocation if player else None, now.rows[ballot.request]
            request, _, seal = click.value.partition(":") if click else ("", "", "")
            is_theirs = click is not None and ballot.person == click.person and ballot.request == request
            is_sealed = len(seal) >= 16 and ballot.fingerprint.startswith(seal)
            self.says(is_theirs and is_sealed, f"{ballot} is not what was clicked")
            self.says(ballot[:3] == row[:3], f"{ballot} is not on the plan in force")
            self.cast.add(ballot)
            if player is not None and row.state == State.AWAITING and player.version == self.people.version:
                filled = is_filled(row, self.cast, player.rules, self.people.known)
                self.says(not filled or row.id in self.tampered, f"{row} waits although it has every vote")

    def _moved(self, move: Move, before: Picture, now: Picture, player: Player | None) -> None:
        data = json.loads(move.data) if isinstance(move.data, str) else move.data
        row, path = now.rows[move.request], self.paths.setdefault(move.request, [State.RECEIVED])
        known = player.answers if player else {}
        filled = player is not None and is_filled(row, self.cast, player.rules, known)
        if move.event == "revived":
            old = self.warrants.get((row.id, row.run_no - 1))
            if old is not None:
                self.warrants[row.id, row.run_no] = old
            return
        start, end = State(data["from"]), State(data["to"])
        self.says((start, end) in PAIRS, f"{row.id}: no arrow from {start} to {end}")
        self.says(path[-1] == start, f"{row.id}: moved from {start}, and was {path[-1]}")
        path.append(end)
        if end == State.APPROVED:
            self.says(filled, f"{row} was approved without its votes")
        if (start, end) == (State.APPROVED, State.RUNNING):
            self.says(filled, f"{row} began to run without its votes")
            deadline = before.rows[row.id].deadline
            self.says(deadline is None or self.now() < deadline, f"{row} began to run after its approval ran out")
        if end == State.RUNNING and filled:
            self.warrants[row.id, row.run_no] = (row.plan_no, row.fingerprint)

    def _stands(self, row: Row, now: Picture) -> None:
        """What must be so of a request at every moment."""
        path = self.paths.get(row.id, [State.RECEIVED])
        self.says(path[-1] == row.state, f"{row.id} is {row.state}, and the audit says {path[-1]}")
        if row.id in self.tampered:
            return
        held = {target for target, request in now.leases.items() if request == row.id}
        self.says(not held or row.state in (*UNDER_WAY, State.APPROVED), f"{row.id} is {row.state} and holds {held}")
        if row.state in UNDER_WAY and (plan := self.planned.get(row.fingerprint or "")):
            wanted = self._needed(row, now, *plan)
            self.says(held == wanted, f"{row.id} is {row.state} and holds {held}, not {wanted}")
        quiet = row.state == State.NOTHING_TO_DO or path[-2:] == [State.PLANNING, State.FAILED]
        has_end = row.id in now.ends
        self.says(has_end == (row.state in FINAL and not quiet), f"{row.id}: {path} and an end was said: {has_end}")
        if row.waits_for and row.state not in FINAL and row.waits_for not in self.tampered:
            holder = now.rows[row.waits_for]
            self.says(holder.state not in FINAL, f"{row.id} waits for {holder.id}, which has ended")

    @staticmethod
    def _needed(row: Row, now: Picture, steps: list[dict[str, Any]], targets: tuple[str, ...]) -> set[str]:
        """A run holds its targets, but for those of ended steps that no step has which is open, or is the last one."""
        keys = [(row.id, row.plan_no, position) for position in range(len(steps))]
        still = [step for key, step in zip(keys, steps, strict=True) if not now.steps.get(key) or step is steps[-1]]
        left = {target for step in still for target in step["targets"]}
        gone = {
            target for key, step in zip(keys, steps, strict=True) if now.steps.get(key) for target in step["targets"]
        }
        return set(targets) - (gone - left)

    # -- effects -----------------------------------------------------------------------------------------------------

    def recorded(self, name: str, value: Any) -> None:
        """A run that may begin or go on has asked after its approvals, or was asked after them when it was resumed."""
        player = playing()
        assert player is not None
        assert player.workflow is not None
        kind, request, number = player.workflow.key
        if kind == "run" and name == "begin" and value.get("go"):
            with self._lock:
                row = self.picture.rows[request]
                if row.run_no == number and is_filled(row, self.cast, player.rules, player.answers):
                    self.warrants.setdefault((request, number), (row.plan_no, row.fingerprint))

    def act(self, request: str, step: dict[str, Any]) -> None:
        """Just before an effect. What counts is how things stood at the player's last commit: what is in flight when a
        process freezes cannot be called back."""
        player = playing()
        assert player is not None
        seen, workflow = player.seen, player.workflow
        assert seen is not None
        assert workflow is not None
        kind, mine, number = workflow.key
        row = seen.rows[request]
        plan_no, seal = self.warrants.get((request, number), (0, None))
        steps = self.planned.get(seal or "", ([], ()))[0]
        self.acts.append((request, seal, step["title"]))
        where = f"{step['title']} for {row}: "
        self.says((kind, mine) == ("run", request), f"{where}by {workflow.key}")
        self.says(seal is not None, f"{where}without votes")
        self.says((row.plan_no, row.fingerprint) == (plan_no, seal), f"{where}voted was plan {plan_no} {seal}")
        self.says(step in steps, f"{where}not a step of the plan that was voted on")
        if request in self.tampered:
            return
        self.says(player.is_newest, f"{where}by an execution that had lost its run")
        self.says(row.state == State.RUNNING, f"{where}while it was {row.state}")
        held = all(seen.leases.get(target) == request for target in step["targets"])
        self.says(held, f"{where}without its lease: {seen.leases}")
        place = (request, row.plan_no, steps.index(step) if step in steps else -1)
        self.says(place in seen.steps, f"{where}without its intent")
        self.says(self.ended_in.get(place) != number, f"{where}again, after it had ended in this run")

    # -- rest --------------------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Nothing is left to do and nobody has died: whoever stands still must be waiting for a person."""
        for row in self.picture.rows.values():
            moving = (State.RECEIVED, State.PLANNING, State.RUNNING, State.CANCELLING)
            self.says(row.state not in moving, f"{row.id} is stuck in {row.state}")
            if row.state == State.APPROVED:
                self.says(row.waits_for is not None, f"{row.id} is stuck in approved")

    def was_tampered_with(self, request: str) -> None:
        """Somebody wrote to the database who is not the bot."""
        self.tampered.add(request)
        self.picture = self._look()
        self.paths[request] = [self.picture.rows[request].state]


# -- everything together ---------------------------------------------------------------------------------------------


class Stage:
    """A bot that can be asked, clicked, stopped and killed. Where the policy is edited, whoever works already goes on
    with the policy that they started with."""

    def __init__(self, store: SeamedStore, rules: tuple[Rule, ...]) -> None:
        self.now = NOW
        self.store, self.people = store, People()
        self.witness = Witness(store, self.people, lambda: self.now)
        self.world = World(self.witness.act)
        self.witness.planned = self.world.planned
        self.workflows = Workflows()
        numbers = itertools.count(1)
        self.requests = Requests(store, self.workflows, clock=lambda: self.now, new_id=lambda: f"r-{next(numbers):06x}")
        store.on_commit = self._committed
        self.players: list[Player] = []
        self.invocations: list[Invocation] = []
        self.employ(rules)

    def _committed(self, enqueued: list[Key]) -> None:
        self.workflows.put(enqueued)
        self.witness.committed()

    def employ(self, rules: tuple[Rule, ...]) -> None:
        """The bot is started with these rules."""
        self.rules = rules
        everything = {**OPERATIONS, **OWN}
        crowd = people.People(self.people, rules, everything)
        self.front = make_front(
            self.requests, crowd, Modals(), self.world, digesting(self.requests),
            resolve=lambda arguments: arguments, choices={},
            address=lambda channel, ts: f"https://workspace/{channel}/{ts}", clock=lambda: self.now,
            new_error_id=self._defect, wake=lambda: None,
        )  # fmt: skip
        self.work = Work(
            requests=self.requests, workshop=self.world, directory=self.people, rules=rules, scope=crowd.scope,
            new_error_id=self._defect, patience=Patience(planning=3, step=3, settling=1, verifying=1),
        )  # fmt: skip

    def _defect(self) -> str:
        """The outermost edge was reached: a defect, unless somebody has spoilt the database."""
        self.witness.says(bool(self.witness.tampered), "an error that nobody expected")
        return "e-1"

    def play(self, name: str, work: Callable[[], Any]) -> Player:
        """A new player, who waits for its first order."""
        player = Player(name, self.rules, work)
        player.version = self.people.version
        self.players = [*(old for old in self.players if not old.is_over), player]
        return player

    # -- what people do ----------------------------------------------------------------------------------------------

    def store_invocation(self, **parts: Any) -> Invocation:
        """As the listeners do it."""
        key = f"i{len(self.invocations)}"
        invocation = Invocation(key=key, team=TEAM, person_team=TEAM, channel=CHANNEL, trigger="t", **parts)
        self.invocations.append(invocation)
        self.deliver(invocation)
        return invocation

    def deliver(self, invocation: Invocation) -> bool:
        """Slack may deliver it again; True when it is new."""
        body = invocation.model_dump(mode="json")
        row = {"key": invocation.key, "kind": invocation.kind, "body": body, "received_at": self.now}
        return self.store.insert_new(tables.invocations, row, 60)

    def handle(self, invocation: Invocation) -> Player:
        """The front pool takes it up; also a second time, as another replica may."""
        player = self.play(f"{invocation.kind} {invocation.action}", lambda: self.front.handle(invocation.key))
        player.invocation = invocation
        return player

    def ask(self, person: str, text: str) -> Player:
        """A slash command."""
        return self.handle(self.store_invocation(kind="command", command="/tkg", text=text, person=person))

    def click(self, action: str, person: str, request: str, seal: str) -> Player:
        """A button of a card, or the form for the reason of a no."""
        posted = sa.update(tables.outbox).where(tables.outbox.c.kind == "card", tables.outbox.c.ts.is_(None))
        self.store.change(posted.values(ts=CARD))
        kind = "form" if action == "deny" else "click"
        return self.handle(
            self.store_invocation(
                kind=kind, action=action, value=f"{request}:{seal}", person=person, message_ts=CARD,
                given={"reason": "no"} if action == "deny" else {},
            )
        )  # fmt: skip

    def open_invocations(self) -> list[Invocation]:
        """Those that were not answered, oldest first."""
        done = tables.invocations.c
        keys = self.store.look(lambda c: c.scalars(sa.select(done.key).where(done.done_at.is_(None))).all())
        return [invocation for invocation in self.invocations if invocation.key in keys]

    # -- what the engine does ----------------------------------------------------------------------------------------

    def execute(self, workflow: Workflow) -> Player:
        """Starts a workflow, or takes it over: from now on only the new execution's results are recorded."""
        name, request, number = workflow.key
        flow = self.work.plan if name == "plan" else self.work.run

        def live() -> None:
            steps = Steps(workflow, player, self.pass_time)
            steps.on_record = self.witness.recorded
            outcome: Literal["SUCCESS", "ERROR"] = "SUCCESS"
            try:
                flow(steps, request, number)
            except Exception as error:
                outcome = "ERROR"
                self.witness.says(bool(self.witness.tampered), f"{workflow.key} ended in {error!r}")
            player.seam()
            if workflow.owner is player:
                workflow.status, workflow.owner = outcome, None

        player = self.play(f"{name} {request} {number}", live)
        player.workflow = workflow
        workflow.status, workflow.owner = "PENDING", player
        workflow.players.append(player)
        return player

    def pass_time(self, seconds: float) -> None:
        """The clock goes on."""
        self.now += seconds

    def to_start(self) -> list[Workflow]:
        """What waits in the queue, and what a dead process left behind."""
        return [
            workflow for workflow in self.workflows.all.values()
            if workflow.status == "ENQUEUED" or (workflow.status == "PENDING" and not workflow.is_played)
        ]  # fmt: skip

    def alive(self) -> list[Player]:
        """Players who have not ended, oldest first."""
        return [player for player in self.players if not player.is_over]

    def kill_all(self) -> None:
        """The process dies."""
        for player in self.alive():
            player.kill()

    def work_off(self, *, also_asleep: bool = False) -> None:
        """Everybody goes on until nobody can; with `also_asleep` those who sleep wake up too, as often as it takes."""
        for _ in range(300):
            moved = False
            for player in self.alive():
                player.go_on()
                moved = moved or also_asleep or player.is_over
            for workflow in self.to_start():
                self.execute(workflow).go_on()
                moved = True
            busy = {player.invocation.key for player in self.alive() if player.invocation}
            for invocation in self.open_invocations():
                if invocation.key not in busy:
                    self.handle(invocation).go_on()
                    moved = True
            if not moved:
                return
        self.witness.says(False, "it never comes to rest")

    def come_to_rest(self) -> None:
        """The world is mended, nobody dies any more, and everything ends that can. Then parked runs are given up, so
        that nobody has to wait for them."""
        self.world.trouble, self.people.silent = "none", False
        self.work_off(also_asleep=True)
        if self.witness.tampered:
            self._revive()
        self.witness.at_rest()
        for row in list(self.witness.picture.rows.values()):
            if row.state == State.PARKED:
                self.requests.abandon(row.id, ASKER)
        self.work_off(also_asleep=True)
        if self.witness.tampered:
            self._revive()
        self.witness.at_rest()
        waiting = [row for row in self.witness.picture.rows.values() if row.state == State.APPROVED]
        holders = self.witness.tampered
        self.witness.says(all(row.waits_for in holders for row in waiting), f"they wait for nobody: {waiting}")

    def _revive(self) -> None:
        self.now += 61
        self.requests.revive(self.workflows.is_dead)
        self.work_off(also_asleep=True)
