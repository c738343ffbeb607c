"""Many requests while everything around them fails: three replicas are killed and frozen, PostgreSQL is stopped, Slack
and AWS answer badly, and people repeat what Slack showed as failed. Every request must end as people decided."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos._utils import retriable_postgres_exception
from slack_sdk import WebClient

from bot.engine import _postgres_for_dbos
from bot.slack.identity import SlackDirectory
from bot.tour import words
from handlers.contract import Retry
from tests.durability.fleet import HURRIED, Fleet, Storm, running_fleet
from tests.durability.keeper import ALL, BOUNDED
from tests.processes import run
from tests.world import APPROVER, DEV, MANAGEMENT, SECOND, TENANT, Json, World, eventually

pytestmark = pytest.mark.long

SEED = int(os.environ.get("TKGBOT_STORM_SEED", "20"))
"""The storm's schedule and everybody's part in it follow from this number."""
REQUESTS, PEOPLE = (200, 16) if ALL else (40, 8)
REPEATS = 10
"""So many times at most somebody does the same again."""
PATIENCE = 90.0
"""Seconds that somebody waits for what Slack did not show as failed."""
WRITE = "ec2:CreateTags"
TAG = "kubernetes.io/cluster/"
DEEDS = ("one", "one", "one", "one", "two", "two", "denied", "withdrawn", "half", "cancelled")
"""What people do, by tenths: approved by one; approved by the two that it needs; denied; withdrawn at once, or after
the first of two approvals; approved and cancelled as soon as it runs."""
ENDS = {"one": "succeeded", "two": "succeeded", "denied": "denied", "withdrawn": "withdrawn", "half": "withdrawn"}
VOTERS = {"one": {APPROVER}, "two": {APPROVER, SECOND}, "denied": {SECOND}, "half": {APPROVER}, "cancelled": {APPROVER}}
SHOWN = {"succeeded": "Done", "denied": "Denied", "withdrawn": "Withdrawn", "cancelled": "Cancelled"}
REASON = "not in this storm"


@dataclass
class Story:
    """One wish, what people did about it, and what became of it."""

    number: int
    deed: str
    account: str
    subnet: str
    request: str = ""
    ts: str = ""
    did: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> str:
        """Its name in Slack and in AWS. The policy wants two approvals for `prod…`."""
        return f"{'prod' if self.deed in ('two', 'half') else 'storm'}-{self.number:03}"

    @property
    def command(self) -> str:
        """What is typed for it."""
        account = " --account tenant" if self.account == TENANT else ""
        return f"subnet tag {self.cluster} {self.subnet}{account}"


def stories(world: World, seed: int) -> list[Story]:
    """Everybody's part: the deeds in their shares, shuffled, over all public subnets of two accounts."""
    chance = random.Random(seed)
    deeds = [DEEDS[number % len(DEEDS)] for number in range(REQUESTS)]
    chance.shuffle(deeds)
    vpcs = {account: world.view.aws()["accounts"][account]["vpcs"] for account in (MANAGEMENT, TENANT)}
    places = [
        (account, vpcs[account][vpc]["subnets"][f"{vpc}-public-{zone}"])
        for account, vpc in ((MANAGEMENT, "demo"), (TENANT, "tenant"))
        for zone in "abc"
    ]
    return [Story(number, deed, *places[number % len(places)]) for number, deed in enumerate(deeds)]


# -- people ------------------------------------------------------------------------------------------------------


class People:
    """They do what their story says, and do again what Slack or the bot showed as failed."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.view = fleet.world.view
        self.repeats: Counter[str] = Counter()
        self._lock = threading.Lock()

    def live(self, story: Story) -> None:
        """One story to its end, or as far as it got."""
        try:
            self._ask(story)
            {
                "one": self._approve, "two": self._approve_twice, "denied": self._deny, "withdrawn": self._withdraw,
                "half": self._withdraw_late, "cancelled": self._cancel,
            }[story.deed](story)  # fmt: skip
        except Exception as error:  # the judge tells all of them together
            story.wrong.append(f"{type(error).__name__}: {error}")

    def _approve(self, story: Story) -> None:
        self._click(story, APPROVER, "approve", lambda: self._voted(story, APPROVER))

    def _approve_twice(self, story: Story) -> None:
        self._approve(story)
        self._click(story, SECOND, "approve", lambda: self._voted(story, SECOND))

    def _withdraw(self, story: Story) -> None:
        self._click(story, DEV, "withdraw", lambda: self._state(story) == "withdrawn")

    def _withdraw_late(self, story: Story) -> None:
        self._approve(story)
        self._withdraw(story)

    def _cancel(self, story: Story) -> None:
        """As soon as it runs, if that is seen before it has ended."""
        self._approve(story)
        over = ("cancelling", "cancelled", "succeeded", "parked")
        ends = time.monotonic() + 2 * PATIENCE
        while self._state(story) not in over and time.monotonic() < ends:
            if self._state(story) == "running":
                self._click(story, DEV, "cancel", lambda: self._state(story) in over)
            time.sleep(0.05)

    def _deny(self, story: Story) -> None:
        """By the form that the button opens."""
        for _ in range(REPEATS):
            self._click(story, SECOND, "deny", lambda: bool(self._forms(story)) or self._voted(story, SECOND))
            forms = self._forms(story)
            if forms:
                submit = lambda: self.view.submit(SECOND, forms[-1], reason=REASON)  # noqa: B023,E731
                self._do(story, SECOND, "reason", submit, lambda: self._voted(story, SECOND), once=True)
            if self._voted(story, SECOND):
                return

    def _ask(self, story: Story) -> None:
        """Types the command until a card is there to be clicked."""

        def found() -> bool:
            query = (
                "SELECT requests.id, outbox.ts FROM requests JOIN outbox ON outbox.request = requests.id"
                " WHERE kind = 'card' AND ts IS NOT NULL AND arguments->>'cluster' = :cluster AND state = 'awaiting'"
                " ORDER BY created_at"
            )
            for request, ts in self._rows(query, cluster=story.cluster)[:1]:
                story.request, story.ts = str(request), str(ts)
            return bool(story.request)

        self._do(story, DEV, "command", lambda: self.view.command(DEV, story.command), found)
        assert story.request, "nobody showed a plan"

    def _click(self, story: Story, user: str, action: str, counted: Callable[[], bool]) -> None:
        self._do(story, user, action, lambda: self.view.click(user, story.ts, f"tkg:{action}"), counted)

    def _do(
        self,
        story: Story,
        user: str,
        what: str,
        act: Callable[[], Json],
        counted: Callable[[], bool],
        *,
        once: bool = False,
    ) -> None:
        """Acts until it counts. Acknowledged and neither counted nor answered would be lost."""
        ends, acted = time.monotonic() + PATIENCE, 0
        while acted < REPEATS and not counted():
            since, answer = time.time(), act()
            story.did.append(f"{user} {what}: {json.dumps(answer)[:120]}")
            if answer.get("error") in ("no_such_button", "view_not_found", "not_found"):
                if once or time.monotonic() > ends:  # an earlier one was counted; or the card is not drawn yet
                    return
                time.sleep(0.1)
                continue
            acted += 1
            refused = not answer.get("acked") or "could not store" in str(answer.get("response"))
            if not refused and not self._answered(story, user, since, counted):
                story.wrong.append(f"{what} by {user} was acknowledged and lost")
                return
            if counted():
                return
            with self._lock:
                self.repeats["shown as failed" if refused else "told to try again"] += 1
            time.sleep(6.0 if once else min(1.0 * acted, 6.0))
            if once:
                return
        if not counted():
            story.wrong.append(f"{what} by {user} was not counted after {acted} times")

    def _answered(self, story: Story, user: str, since: float, counted: Callable[[], bool]) -> bool:
        """Waits until it counts, or until somebody is told why not."""
        query = (
            "SELECT count(*) FROM invocations JOIN outbox ON outbox.key = :answer || invocations.key"
            " WHERE received_at > :since AND invocations.body->>'person' = :user"
            " AND (invocations.body->>'text' LIKE :text OR invocations.body->>'value' LIKE :value)"
        )
        value = f"{story.request}:%" if story.request else ""
        about = {"answer": "answer:", "text": f"% {story.cluster} %", "value": value}
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            if counted() or self._rows(query, since=since - 0.5, user=user, **about) not in ([], [(0,)]):
                return True
            time.sleep(0.2)
        return False

    # -- what they see -------------------------------------------------------------------------------------------

    def _rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """What stands in the database, and nothing while it is stopped."""
        try:
            return [tuple(row) for row in self.fleet.database.rows(query, **values)]
        except sa.exc.DBAPIError:
            return []

    def _state(self, story: Story) -> str:
        rows = self._rows("SELECT state FROM requests WHERE id = :request", request=story.request)
        return str(rows[0][0]) if rows else ""

    def _voted(self, story: Story, user: str) -> bool:
        query = "SELECT 1 FROM votes WHERE request = :request AND person = :user"
        return bool(self._rows(query, request=story.request, user=user))

    def _forms(self, story: Story) -> list[Json]:
        return [view for view in self.view.views(SECOND) if story.request in json.dumps(view)]


# -- the judge ---------------------------------------------------------------------------------------------------


class Judge:
    """Looks at everything that was left behind."""

    def __init__(self, fleet: Fleet) -> None:
        self.world = fleet.world
        self.database = fleet.database
        self.requests = {str(row.id): row for row in fleet.database.rows("SELECT * FROM requests")}
        calls = [call for call in self.world.view.aws_calls() if call["action"] == WRITE and call["outcome"] == "ok"]
        self.written = Counter(str(call["session"] or "")[-len("r-7f3a2c") :] for call in calls)
        self.ends: Counter[str] = Counter()
        self.repeats = 0
        self.doubles = 0

    def judge(self, story: Story) -> list[str]:
        """What is not right about one story, in sentences."""
        mine = [row for row in self.requests.values() if row.arguments["cluster"] == story.cluster]
        main = self.requests.get(story.request)
        if main is None:
            return [*story.wrong, "it was never stored"]
        self.ends[str(main.state)] += 1
        wrong = list(story.wrong)
        right = ENDS.get(story.deed) or ("cancelled" if self._was_cancelled(story.request) else "succeeded")
        if main.state != right:
            wrong.append(f"it is {main.state} and not {right}")
        wrong += self._votes(story) + self._effects(story, main.state) + self._thread(story, main.state)
        for row in mine:
            if row.id != story.request:  # a command that was typed again: it waits, and nobody said anything about it
                self.doubles += 1
                if row.state not in ("awaiting", "nothing_to_do") or self._writes(row.id):
                    wrong.append(f"its double {row.id} is {row.state} after {self._writes(row.id)} writes")
        return wrong

    def _was_cancelled(self, request: str) -> bool:
        moved = "SELECT count(*) FROM audit WHERE request = :request AND event = 'moved' AND data::text LIKE :to"
        return bool(self.database.one(moved, request=request, to="%cancelling%"))

    def _votes(self, story: Story) -> list[str]:
        rows = self.database.rows("SELECT person, approve, reason FROM votes WHERE request = :id", id=story.request)
        wrong = []
        if {row.person for row in rows} != VOTERS.get(story.deed, set()) or len(rows) != len({r.person for r in rows}):
            wrong.append(f"the votes are {rows}")
        if any(row.approve != (story.deed != "denied") for row in rows):
            wrong.append(f"a vote says something else: {rows}")
        return wrong + [f"the reason is {row.reason}" for row in rows if not row.approve and row.reason != REASON]

    def _writes(self, request: str) -> int:
        return self.written[request]

    def _effects(self, story: Story, state: str) -> list[str]:
        """The writes and the tags are those of its end, and what is told of them is true."""
        writes = self._writes(story.request)
        ended = self.database.one(
            "SELECT count(*) FROM steps WHERE request = :id AND ended_at IS NOT NULL", id=story.request
        )
        twice = self.database.one(
            "SELECT count(*) FROM audit WHERE request = :id AND event = 'step.ended'", id=story.request
        )
        tagged = self.world.tagged(story.cluster, story.account)
        wanted = {story.subnet} if state == "succeeded" or (state == "cancelled" and ended) else set()
        wrong = [] if tagged == wanted else [f"the tag is on {tagged} and not on {wanted}"]
        most = 1 if state in ("succeeded", "cancelled") else 0
        if writes > most or (state == "succeeded" and writes != 1):
            wrong.append(f"the tag was put on {writes} times")
        return wrong + ([f"the end of its step was written {twice} times"] if twice != bool(wanted) else [])

    def _thread(self, story: Story, state: str) -> list[str]:
        """One card and one result, each repeat of anything marked as such."""
        thread = self.world.view.messages(DEV, thread=story.ts)
        wrong = [] if SHOWN.get(state, "?") in words(thread[0]) else [f"its card shows {words(thread[0])[:60]}"]
        plain: Counter[str] = Counter()
        for message in thread[1:]:
            key = ((message.get("metadata") or {}).get("event_payload") or {}).get("key", "")
            is_repeat = "(repeated)" in words(message)
            self.repeats += is_repeat
            plain[key] += not is_repeat
        wrong += [f"{key} was said {count} times without a mark" for key, count in plain.items() if key and count > 1]
        results = sum(key == f"{story.request}:end" for key in plain)
        return wrong + ([] if results == 1 else [f"its thread has {results} results: {dict(plain)}"])

    def all_together(self, told: list[Story]) -> list[str]:
        """What must hold over all requests."""
        wrong = []
        for account in (MANAGEMENT, TENANT):
            done = {s.cluster for s in told if s.account == account}
            seen = {key.removeprefix(TAG) for tags in self.world.view.tags(account).values() for key in tags}
            strange = {name for name in seen if name.startswith(("storm-", "prod-"))} - done
            wrong += [f"tags of clusters that nobody asked for: {strange}"] if strange else []
        cards = Counter(
            m["metadata"]["event_payload"]["key"]
            for m in self.world.view.messages(DEV)
            if m.get("metadata") and "(repeated)" not in words(m)
        )
        wrong += [f"{key} was posted {count} times without a mark" for key, count in cards.items() if count > 1]
        left = {
            "leases": "SELECT target, request FROM leases",
            "messages that were not sent": "SELECT key, failed FROM outbox WHERE sent < wanted OR failed IS NOT NULL",
            "deliveries without an answer": "SELECT key FROM invocations WHERE done_at IS NULL",
        }
        found = {name: self.database.rows(query) for name, query in left.items()}
        return wrong + [f"{name} are left: {rows}" for name, rows in found.items() if rows]


def audit_verdicts(fleet: Fleet) -> list[str]:
    """What `tkgbot audit verify` says where each replica has its anchor, when everything is sealed."""
    eventually(lambda: fleet.database.one("SELECT count(*) FROM audit WHERE seal IS NULL") == 0)
    wrong = []
    for replica in fleet.replicas:
        environment = fleet.world.environment(TKGBOT_DATA=str(fleet.world.folder / replica.name))
        done = run(("-m", "bot", "audit", "verify"), environment)
        if done.returncode:
            wrong.append(f"audit verify by {replica.name}: {done.stdout}{done.stderr}")
    return wrong


# -- the storm, and single blows ---------------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with running_fleet(HURRIED) as fleet:
        yield fleet


def test_dbos_waits_for_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A workflow that meets a stopped PostgreSQL must wait and not end: dbos must know that the error passes."""
    url = sa.URL.create("postgresql+psycopg", "postgres", database="none", query={"host": str(tmp_path)})
    engine = _postgres_for_dbos(url.render_as_string())
    with pytest.raises(sa.exc.OperationalError) as told:
        engine.connect()
    assert retriable_postgres_exception(told.value)


@pytest.mark.parametrize("fault", ["server_error", "rate_limit"])
def test_trouble_of_slacks_own_passes(fleet: Fleet, fault: str) -> None:
    """An outage while a run asks who somebody is must not end the run: it asks again."""
    environment = fleet.world.environment()
    client = WebClient(environment["SLACK_BOT_TOKEN"], base_url=environment["SLACK_API_URL"])
    directory = SlackDirectory(client, "TSANDBOX01")
    fleet.world.view.slack_faults(**{fault: 2})
    for _ in range(2):
        with pytest.raises(Retry):
            directory.person(DEV, ())
    assert directory.person(DEV, ()).kind == "member"


def test_postgresql_is_stopped_in_the_middle_of_a_run(fleet: Fleet) -> None:
    """The effect is made while the database is away; when it is back, the run goes on, and nobody has to look."""
    world = fleet.world
    fleet.add(1)
    card = world.ask("away", world.public(1), state="Approval needed: tag 1 subnet for away")
    world.view.aws_faults(hold=[WRITE])
    assert world.view.click(APPROVER, card["ts"], "tkg:approve").get("acked")
    world.wait_until_held()
    fleet.database.stop("fast")
    world.view.aws_faults(hold=[])
    eventually(lambda: bool(world.tagged("away")))
    met = ("Retrying in", "bot.work error")
    eventually(lambda: any(words in fleet.log() for words in met))  # the run has met the missing database
    fleet.database.start()
    world.view.wait(DEV, "Done: tag 1 subnet for away")
    moves = fleet.database.rows("SELECT data::text FROM audit WHERE event = 'moved'")
    assert not [move for (move,) in moves if "parked" in move]


@BOUNDED
def test_a_storm(fleet: Fleet) -> None:
    """All requests at once, everything fails meanwhile, and each ends as people decided."""
    fleet.add(3)
    told = stories(fleet.world, SEED)
    fleet.world.view.aws_faults(latency_ms=40)
    people, storm = People(fleet), Storm(fleet, SEED)
    began = time.monotonic()
    storm.begin()
    try:
        with ThreadPoolExecutor(PEOPLE) as pool:
            list(pool.map(people.live, told))
    finally:
        stormy = time.monotonic() - began
        storm.end()
    print("\n" + "\n".join(storm.log))
    eventually(fleet.quiet, 300 if ALL else 120)
    judge = Judge(fleet)
    wrong = [f"{s.cluster} {s.request} ({s.deed}): {w} {s.did[-3:]}" for s in told for w in judge.judge(s)]
    wrong += judge.all_together(told) + audit_verdicts(fleet)
    print(
        f"storm {SEED}: {len(told)} requests in {stormy:.0f} s of storm and {time.monotonic() - began:.0f} s in all\n"
        f"ends: {dict(judge.ends)}; blows: {dict(storm.struck)}\n"
        f"people repeated: {dict(people.repeats)}; commands that were stored twice: {judge.doubles}; "
        f"messages marked as repeated: {judge.repeats}; takeovers: {len(fleet.takeovers())}; "
        f"replicas ended: {sum(len(replica.codes) for replica in fleet.replicas)}"
    )
    assert not wrong, "\n".join(wrong)
    assert sum(judge.ends.values()) == REQUESTS
    assert storm.struck["kill"], storm.struck
    assert storm.struck["freeze"], storm.struck
    assert storm.struck["stop fast"] or storm.struck["stop immediate"], storm.struck
