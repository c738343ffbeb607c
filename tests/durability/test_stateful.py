"""No sequence of requests, votes, edits, clock moves, crashes and drifts makes a run without the required distinct
votes on exactly the fingerprint that runs.

Hypothesis writes stories about a bot: people ask, vote, withdraw, cancel, resume and undo; threads stop anywhere, die,
are taken over, and come back late; the world drifts, also there and back again and in the middle of a run; Slack says
other things about people than before; the policy is edited; somebody edits the database. `machine.Witness` says what
must hold after every commit and at every effect, and at the end everything must come to rest.

An intruder who may write to the database, and may not vote, can change here what a bot that checks defends: a plan, its
fingerprint, what it needs, the arguments, the state, and votes that are copied to where another fingerprint stands. Not
here is what nothing but the database could contradict: a vote row made up or given another fingerprint, a vote copied
to where the same fingerprint stands, `plan_no` set back to a plan that had its votes, another `requester` or `channel`
(the policy is asked about those), a later `deadline`, a lease deleted, `epoch` or `run_no` set back. `tkgbot audit
verify` shows votes and moves that no record tells of.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from bot import tables
from bot.lifecycle import State
from handlers.contract import Plan, fingerprint
from tests.durability.machine import (
    ASKER,
    EVERYBODY,
    FIRST,
    OPS,
    POLICIES,
    SECOND,
    THINGS,
    THIRD,
    Row,
    SeamedStore,
    Stage,
)

pytestmark = pytest.mark.long

LONG = bool(os.environ.get("TKGBOT_ALL_KILLS"))
"""`make test-all` reads thousands of stories, other ones each time; `make test` always the same few."""
REQUESTS = 4

which = st.integers(0, 3)
"""One of those that there are."""
pauses = st.one_of(st.none(), st.none(), st.integers(0, 14))
"""How many seams a player passes before it stops; None: until it ends or sleeps."""
voters = st.sampled_from((FIRST, SECOND, THIRD, *EVERYBODY))
askers = st.sampled_from((ASKER, ASKER, FIRST))
commands = st.sampled_from(("make red-0", "make red-0 red-1", "make red-0 blue-0", "break red-0", "make blue-0"))


class Stories(RuleBasedStateMachine):
    """What may happen."""

    new_store: Callable[[], SeamedStore]
    forget_store: Callable[[SeamedStore], None]

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(type(self).new_store(), POLICIES[0])
        self.seals: dict[str, list[str]] = {}

    # -- helpers ---------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[Row]:
        """The requests, oldest first."""
        return list(self.stage.witness.picture.rows.values())

    def pick(self, number: int, *states: State) -> Row:
        """A request, in one of these states where there is one."""
        fitting = [row for row in self.rows if row.state in states] or self.rows
        return fitting[number % len(fitting)]

    def seal(self, row: Row, old: int = 0) -> str:
        """What the buttons of its card carry now, or carried so many plans ago."""
        known = self.seals.setdefault(row.id, [])
        if row.fingerprint and (not known or known[-1] != row.fingerprint):
            known.append(row.fingerprint)
        return known[max(len(known) - 1 - old, 0)][:16] if known else "0" * 16

    def start_all(self) -> None:
        """Everything that waits in the queue is carried out, as far as it goes by itself."""
        for workflow in self.stage.to_start():
            self.stage.execute(workflow).go_on()

    # -- people ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.rows) < REQUESTS)
    @rule(person=askers, text=commands, pause=pauses)
    def ask(self, person: str, text: str, pause: int | None) -> None:
        """A command."""
        self.stage.ask(person, text).go_on(pause)

    @precondition(lambda self: len(self.rows) < REQUESTS)
    @rule(person=askers, text=commands, votes=st.integers(0, 3))
    def ask_and_vote(self, person: str, text: str, votes: int) -> None:
        """The ordinary way, so that stories come far: a command, its plan, and as many votes as are given."""
        known = {row.id for row in self.rows}
        self.stage.ask(person, text).go_on()
        self.start_all()
        for row in [row for row in self.rows if row.id not in known]:
            for voter in (SECOND, THIRD, FIRST)[:votes]:
                now = self.stage.witness.picture.rows[row.id]
                self.stage.click("approve", voter, row.id, self.seal(now)).go_on()

    @precondition(lambda self: self.stage.invocations)
    @rule(number=which, pause=pauses)
    def deliver_again(self, number: int, pause: int | None) -> None:
        """Slack delivers once more, or another replica takes up what somebody else still has in hand."""
        invocations = self.stage.open_invocations() or self.stage.invocations
        invocation = invocations[number % len(invocations)]
        assert not self.stage.deliver(invocation)
        self.stage.handle(invocation).go_on(pause)

    @precondition(lambda self: self.rows)
    @rule(number=which, person=voters, pause=pauses, action=st.sampled_from(("approve", "approve", "approve", "deny")))
    def vote(self, number: int, person: str, pause: int | None, action: str) -> None:
        """By anybody, entitled or not."""
        row = self.pick(number, State.AWAITING)
        self.stage.click(action, person, row.id, self.seal(row)).go_on(pause)

    @precondition(lambda self: self.rows)
    @rule(number=which, person=voters, old=st.integers(1, 2))
    def vote_on_an_old_card(self, number: int, person: str, old: int) -> None:
        """A button that was drawn before."""
        row = self.pick(number, State.AWAITING)
        self.seal(row)
        self.stage.click("approve", person, row.id, self.seal(row, old)).go_on()

    @precondition(lambda self: self.rows)
    @rule(number=which, person=st.sampled_from((ASKER, ASKER, FIRST)), pause=pauses)
    def withdraw(self, number: int, person: str, pause: int | None) -> None:
        """Before it runs."""
        row = self.pick(number, State.APPROVED, State.AWAITING, State.PLANNING)
        self.stage.click("withdraw", person, row.id, self.seal(row)).go_on(pause)

    @precondition(lambda self: self.rows)
    @rule(number=which, person=voters, pause=pauses)
    def look_again(self, number: int, person: str, pause: int | None) -> None:
        """A new plan; most often the same one."""
        row = self.pick(number, State.AWAITING, State.BLOCKED)
        self.stage.click("again", person, row.id, self.seal(row)).go_on(pause)
        self.start_all()

    @precondition(lambda self: any(row.state in (State.RUNNING, State.PARKED) for row in self.rows))
    @rule(
        number=which,
        person=st.sampled_from((ASKER, SECOND, THIRD)),
        pause=pauses,
        action=st.sampled_from(("cancel", "resume", "resume", "abandon")),
    )
    def speak_to_a_run(self, number: int, person: str, pause: int | None, action: str) -> None:
        """Cancel, resume, abandon."""
        row = self.pick(number, State.RUNNING if action == "cancel" else State.PARKED)
        self.stage.click(action, person, row.id, self.seal(row)).go_on(pause)

    @precondition(lambda self: self.rows and len(self.rows) < REQUESTS)
    @rule(number=which, person=askers, pause=pauses)
    def undo(self, number: int, person: str, pause: int | None) -> None:
        """A new request."""
        row = self.pick(number, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.ABANDONED)
        self.stage.click("undo", person, row.id, self.seal(row)).go_on(pause)

    # -- threads and processes -------------------------------------------------------------------------------------

    @precondition(lambda self: self.stage.to_start())
    @rule(number=which, pause=pauses)
    def work(self, number: int, pause: int | None) -> None:
        """Something in the queue is begun, or what a dead process left is taken up."""
        waiting = self.stage.to_start()
        self.stage.execute(waiting[number % len(waiting)]).go_on(pause)

    @precondition(lambda self: self.stage.alive())
    @rule(number=which, pause=pauses)
    def go_on(self, number: int, pause: int | None) -> None:
        """A player who stands still goes on; also one who has lost everything meanwhile."""
        alive = self.stage.alive()
        alive[number % len(alive)].go_on(pause)

    @precondition(lambda self: any(player.workflow for player in self.stage.alive()))
    @rule(number=which, pause=pauses)
    def take_over(self, number: int, pause: int | None) -> None:
        """A replica was silent for too long: another one takes its workflow, and the silent one is only frozen."""
        frozen = [player.workflow for player in self.stage.alive() if player.workflow]
        workflow = frozen[number % len(frozen)]
        if workflow.status == "PENDING":
            self.stage.execute(workflow).go_on(pause)

    @precondition(lambda self: self.stage.alive())
    @rule(number=which, everybody=st.booleans())
    def crash(self, number: int, everybody: bool) -> None:
        """One replica dies, or all of them."""
        alive = self.stage.alive()
        for player in alive if everybody else [alive[number % len(alive)]]:
            player.kill()

    @rule()
    def work_off(self) -> None:
        """A quiet while: everybody goes on as far as they can."""
        self.stage.work_off()

    # -- time ------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1.0, 61.0, 299.0, 301.0, 1001.0)))
    def wait(self, seconds: float) -> None:
        """The clock goes on."""
        self.stage.pass_time(seconds)

    @rule(pause=pauses)
    def sweep(self, pause: int | None) -> None:
        """What is overdue expires."""
        self.stage.play("sweep", self.stage.requests.sweep).go_on(pause)

    @rule(pause=pauses)
    def revive(self, pause: int | None) -> None:
        """What stands still is started anew, and approvers are reminded."""
        requests, is_dead = self.stage.requests, self.stage.workflows.is_dead
        self.stage.play("revive", lambda: (requests.revive(is_dead), requests.remind(60.0))).go_on(pause)

    # -- what is around the bot ------------------------------------------------------------------------------------

    @rule(colour=st.sampled_from(("red", "blue")), value=st.integers(0, 1))
    def drift(self, colour: str, value: int) -> None:
        """A fact changes, perhaps to what it was before."""
        self.stage.world.facts[colour] = value

    @rule(thing=st.sampled_from(THINGS), there=st.booleans())
    def somebody_else_does_it(self, thing: str, there: bool) -> None:
        """Or undoes it."""
        self.stage.world.things[thing] = there

    @rule(result=st.sampled_from(("pass", "warn", "block")))
    def checks_change(self, result: Any) -> None:
        """For the better or the worse."""
        self.stage.world.checks["red"] = result

    @rule(
        trouble=st.sampled_from(("out of reach", "throttled", "refused", "answer lost", "hidden", "unproven", "none"))
    )
    def trouble(self, trouble: Any) -> None:
        """The world has a bad day."""
        self.stage.world.trouble = trouble

    @rule(
        person=st.sampled_from((FIRST, SECOND, THIRD, ASKER)), change=st.sampled_from(("leaves", "comes", "out", "in"))
    )
    def people_change(self, person: str, change: str) -> None:
        """They leave the company or come back, and join groups or leave them."""
        if change in ("leaves", "comes"):
            self.stage.people.put(person, kind="deactivated" if change == "leaves" else "member")
        else:
            self.stage.people.put(person, groups=frozenset({OPS} if change == "in" else ()))

    @rule(shared=st.booleans(), silent=st.booleans())
    def slack_changes(self, shared: bool, silent: bool) -> None:
        """The channel becomes a shared one, or Slack does not answer."""
        self.stage.people.say(shared=shared, silent=silent)

    @rule(number=st.integers(0, len(POLICIES) - 1), restart=st.booleans())
    def edit_the_policy(self, number: int, restart: bool) -> None:
        """It holds for those who are started after it."""
        if restart:
            self.stage.kill_all()
        self.stage.employ(POLICIES[number])

    # -- somebody with write access to the database ------------------------------------------------------------------

    def tamper(self, row: Row, **values: Any) -> None:
        """Writes to a request, without a word to anybody."""
        note(f"{row.id}: {values}")
        self.stage.store.change(sa.update(tables.requests).where(tables.requests.c.id == row.id).values(**values))
        self.stage.witness.was_tampered_with(row.id)

    @precondition(lambda self: any(row.fingerprint for row in self.rows))
    @rule(number=which, thing=st.sampled_from(("red-1", "blue-1")), with_fingerprint=st.booleans())
    def tamper_with_a_plan(self, number: int, thing: str, with_fingerprint: bool) -> None:
        """Another step than the one that people see; with a fingerprint that fits, or not."""
        row = self.pick(number, State.AWAITING, State.APPROVED, State.RUNNING, State.PARKED)
        request = self.stage.requests.get(row.id)
        if request is None or request.plan is None or not request.plan["steps"]:
            return
        steps = [*request.plan["steps"][:-1], {**request.plan["steps"][-1], "thing": thing}]
        plan = {**request.plan, "steps": steps}
        seal = fingerprint(request.operation, request.arguments, Plan.model_validate(plan))
        self.tamper(row, plan=plan, **({"fingerprint": seal} if with_fingerprint else {}))

    @precondition(lambda self: any(row.fingerprint for row in self.rows))
    @rule(number=which, what=st.sampled_from(("needs", "fingerprint", "arguments")))
    def tamper_with_a_request(self, number: int, what: str) -> None:
        """Weaker needs, another fingerprint, other arguments."""
        row = self.pick(number, State.AWAITING, State.APPROVED, State.RUNNING, State.PARKED)
        everybody = {"rule": "none", "approvals": 1, "approve": {"members": True}, "requester_counts": True}
        values = {
            "needs": {"each": [everybody], "request_ttl": 1e6, "approval_ttl": 1e6},
            "fingerprint": "0" * 64,
            "arguments": {"things": ["blue-1"]},
        }
        self.tamper(row, **{what: values[what]})

    @precondition(lambda self: any(row.fingerprint for row in self.rows))
    @rule(number=which, state=st.sampled_from((State.AWAITING, State.APPROVED, State.RUNNING, State.PARKED)))
    def tamper_with_a_state(self, number: int, state: State) -> None:
        """Set back, or set forth."""
        row = self.pick(number, State.AWAITING, State.DENIED, State.SUCCEEDED, State.PLANNING)
        if row.fingerprint:
            self.tamper(row, state=state, waits_for=None)

    @precondition(lambda self: self.stage.witness.picture.votes)
    @rule(number=which, to=which)
    def tamper_with_votes(self, number: int, to: int) -> None:
        """Votes are copied to another request, or to another plan, whose fingerprint they do not carry."""
        votes = sorted(self.stage.witness.picture.votes)
        ballot, row = votes[number % len(votes)], self.pick(to, State.AWAITING, State.APPROVED)
        taken = {(other.request, other.plan_no, other.person) for other in votes}
        if row.fingerprint == ballot.fingerprint or (row.id, row.plan_no, ballot.person) in taken:
            return
        copy = {**ballot._asdict(), "request": row.id, "plan_no": row.plan_no, "at": self.stage.now}
        self.stage.store.change(sa.insert(tables.votes).values(**copy))
        self.stage.witness.was_tampered_with(row.id)

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        """The witness has seen nothing that must not be."""
        failed = [player.failure for player in self.stage.players if player.failure is not None]
        assert not self.stage.witness.wrong, "\n".join(self.stage.witness.wrong)
        assert not failed, failed

    def teardown(self) -> None:
        """In the end everything comes to rest."""
        try:
            if not self.stage.witness.wrong:
                self.stage.come_to_rest()
                self.nothing_is_wrong()
        finally:
            self.stage.kill_all()
            type(self).forget_store(self.stage.store)


# -- telling the stories ---------------------------------------------------------------------------------------------


def tell(stories: type[Stories], short: int, long: int) -> None:
    """Runs as many stories as the profile wants."""
    chosen = settings(
        max_examples=long if LONG else short,
        stateful_step_count=60 if LONG else 40,
        derandomize=not LONG,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    number = int(os.environ.get("TKGBOT_STORIES") or random.SystemRandom().randrange(10**9))
    if LONG:
        print(f"\n{stories.__name__}: TKGBOT_STORIES={number} tells these stories again")
        stories = seed(number)(stories)
    run_state_machine_as_test(stories, settings=chosen)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The bot logs every refusal and every takeover."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(1500)
def test_stories_on_sqlite(tmp_path: Path) -> None:
    """A fresh file for each."""
    numbers = iter(range(10**9))

    class OnSqlite(Stories):
        def new_store() -> SeamedStore:  # type: ignore[misc]
            return SeamedStore(tmp_path / str(next(numbers)))

        def forget_store(store: SeamedStore) -> None:  # type: ignore[misc]
            store.close()

    tell(OnSqlite, 250, 4000)
