"""Waiting for others' work: how long, what is told meanwhile, and what cancel, a person's repair and undo do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from bot import tables
from bot.lifecycle import State
from bot.records import Request
from bot.waiting import HARD_STOP, LONGEST_PAUSE, Verdict, until
from bot.work import Patience
from handlers.contract import Caller, Fatal, NeedsPerson, Observation, Outcome, Plan, Retry
from handlers.steps import decode
from tests.chat import DEV, FIRST, SECOND, Chat, bullets, text_of
from tests.unit.makers import SUBNETS, make_plan, tag_step

Seen = Observation | Exception
ENOUGH = 2_000
"""So many looks no test needs: a wait that does not end fails here."""


# -- how long ----------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Durable steps that run at once, and sleeps that only count. `meanwhile` happens during the sleep."""

    slept: list[float] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        return work()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert len(self.slept) < ENOUGH, "it waits for good"
        self.meanwhile()


def waited(*verdicts: Verdict, patience: float | None = 60.0, forever: bool = False) -> tuple[Verdict, list[float]]:
    """The last verdict, and each pause; `forever` repeats the last one."""
    clock, looks = Clock(), iter(verdicts)
    last = verdicts[-1]
    found = until(clock, "see", lambda: next(looks, last) if forever else next(looks), patience)
    return found, clock.slept


def still(word: str = "same", patience: float = 20.0) -> Verdict:
    """Others are at work."""
    return {"after": 0.5, "progress": word, "patience": patience}


SILENT: Verdict = {"after": 0.5}
DONE: Verdict = {"done": True}


def test_what_is_there_is_not_waited_for() -> None:
    assert waited(DONE) == (DONE, [])


def test_pauses_double_up_to_the_longest() -> None:
    _, pauses = waited(*[SILENT] * 9, DONE, patience=None)
    assert pauses == [0.5, 1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_pause_is_at_least_what_was_asked_for() -> None:
    assert waited({"after": 7.0}, {"after": 0.5}, DONE)[1] == [7.0, 14.0]


def test_nobody_answering_is_given_its_patience_and_no_more() -> None:
    found, pauses = waited(SILENT, patience=60.0, forever=True)
    assert found == SILENT
    assert 60 <= sum(pauses) < 60 + LONGEST_PAUSE


def test_without_a_patience_nobody_answering_is_waited_out() -> None:
    assert waited(*[SILENT] * 500, DONE, patience=None)[0] == DONE


def test_standing_still_is_given_the_waits_own_patience() -> None:
    found, pauses = waited(still(patience=100.0), patience=0.0, forever=True)
    assert found == still(patience=100.0)
    assert 100 <= sum(pauses) < 100 + LONGEST_PAUSE


def test_whatever_moves_begins_the_patience_and_the_pauses_anew() -> None:
    looks = [still(word) for word in ("a", "a", "a", "b", "b", "b")]
    found, pauses = waited(*looks, DONE)
    assert (found, pauses) == (DONE, [0.5, 1, 2, 0.5, 1, 2])
    slow = [still(word) for word in "abc" for _ in range(5)]  # 15.5 s each, of 20
    assert waited(*slow, DONE)[0] == DONE


def test_however_much_moves_three_patiences_are_the_end() -> None:
    looks = [still(f"{number}") for number in range(ENOUGH)]
    found, pauses = waited(*looks)
    assert "progress" in found
    assert HARD_STOP == 3
    assert 60 <= sum(pauses) < 60 + LONGEST_PAUSE


def test_after_a_long_wait_a_failure_is_still_given_its_own_patience() -> None:
    """A driver that compiled for long and then cannot be pulled: the shorter patience counts from when it broke."""
    slow = [still(str(number), patience=100.0) for number in range(80)]
    broken = still("broken", patience=10.0)
    found, pauses = waited(*slow, broken, forever=True)
    assert found == broken
    before = sum(pauses[:80])
    assert before > HARD_STOP * 10  # so by the shorter patience alone it would have ended at once
    assert sum(pauses) - before >= 10.0


def test_two_outages_in_a_wait_do_not_add_up() -> None:
    """Each is shorter than what an outage is given; between them somebody answered."""
    outage = [SILENT] * 4  # 0.5, 1, 2 and 4 seconds, of 10
    looks = [still("a", 900.0), *outage, still("b", 900.0), *outage, still("c", 900.0), DONE]
    assert waited(*looks, patience=10.0)[0] == DONE


def test_one_long_outage_in_a_wait_ends_it() -> None:
    found, pauses = waited(still("a", 9_000.0), SILENT, patience=10.0, forever=True)
    assert found == SILENT
    assert sum(pauses) < 10 + 2 * LONGEST_PAUSE


@given(st.lists(st.sampled_from([SILENT, still("a"), still("b"), still("c")]), max_size=200), st.floats(0, 100))
def test_no_wait_is_longer_than_its_hard_stop(looks: list[Verdict], patience: float) -> None:
    clock, verdicts = Clock(), iter([*looks, DONE])
    found = until(clock, "see", lambda: next(verdicts), patience)
    assert found == DONE or "after" in found
    longest = HARD_STOP * 20.0 + patience + 2 * LONGEST_PAUSE
    assert sum(clock.slept) <= longest


# -- in a run ----------------------------------------------------------------------------------------------------


@dataclass
class Others:
    """An operations side whose second step waits for others: each look is taken from `looks`, the last one again."""

    plan_now: Plan
    looks: list[Seen] = field(default_factory=list)
    acted: list[str] = field(default_factory=list)
    looked: int = 0
    first: Observation = field(default_factory=lambda: Observation(so=True, evidence="so"))
    """What is seen of the first step."""

    def plan(self, *_: Any) -> Plan:
        return self.plan_now

    def act(self, step: dict[str, Any], caller: Caller) -> Outcome:
        decode(step)
        self.acted.append(step["title"])
        return Outcome(changed=True, evidence="at work")

    def observe(self, step: dict[str, Any], caller: Caller) -> Observation:
        if step["title"] != "wait":
            return self.first
        self.looked += 1
        assert self.looked < ENOUGH, "it looks for good"
        seen = self.looks[0] if len(self.looks) == 1 else self.looks.pop(0)
        if isinstance(seen, Exception):
            raise seen
        return seen

    def verify(self, *_: Any) -> list[Any]:
        return []


def waits(word: str = "same", *reached: str, evidence: str = "The network comes first. Look at it.") -> Observation:
    return Observation(so=False, evidence=evidence, progress=word, patience=20.0, reached=reached)


def there(*reached: str) -> Observation:
    return Observation(so=True, evidence="All is there.", reached=reached)


class Waiting(Chat):
    """A bot whose run first tags and then waits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        plan = make_plan(steps=(tag_step(title="tag"), tag_step(SUBNETS[2], title="wait")))
        self.others = Others(plan)
        self.workshop.plan_now = plan
        object.__setattr__(self.work, "workshop", self.others)
        object.__setattr__(self.work, "patience", Patience(0, 10, 10, 0))
        self.clock = Clock()

    def begin(self, *looks: Seen, **asked: str) -> Request:
        """Asked, approved, and run until it ends or is parked."""
        self.others.looks = list(looks)
        request = self.wait_for_approval(**asked)
        assert self.approve(request) == State.APPROVED
        self.go_on()
        return self.get(request.id)

    def go_on(self) -> None:
        """Every run that was enqueued."""
        while self.queue.runs:
            self.work.run(self.clock, *self.queue.runs.pop(0))

    def held(self) -> set[str]:
        """Whose requests hold targets."""
        return {row.request for row in self.rows(sa.select(tables.leases.c.request))}

    def card(self, request: Request) -> str:
        """What the card says beside its state."""
        note = self.get(request.id).note
        return str(note["text"]) if note else ""


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Waiting]:
    made = Waiting(tmp_path)
    yield made
    made.store.close()


def test_others_are_waited_for_and_the_run_succeeds(bot: Waiting) -> None:
    request = bot.begin(waits("a"), waits("b"), waits("b"), there())
    assert request.state == State.SUCCEEDED
    assert bot.clock.slept == [0.5, 0.5, 1.0]
    assert bot.others.acted == ["tag", "wait"]
    assert bot.held() == set()


def test_while_it_waits_the_card_says_for_what_without_the_advice(bot: Waiting) -> None:
    said: list[str] = []
    bot.others.looks = [waits(evidence="The `network` comes first. Look at it.")] * 2 + [there()]
    request = bot.wait_for_approval()
    bot.approve(request)
    bot.clock.meanwhile = lambda: said.append(bot.card(request))
    bot.go_on()
    assert said == ["The 'network' comes first."] * 2
    assert bot.get(request.id).state == State.SUCCEEDED


def test_standing_still_parks_the_run_with_the_whole_story(bot: Waiting) -> None:
    request = bot.begin(waits("a"), waits("b"))
    assert request.state == State.PARKED
    assert 20 <= sum(bot.clock.slept) < 20 + LONGEST_PAUSE
    told = text_of(bot.thread(request))
    assert "Nothing has moved for too long. The network comes first. Look at it." in told
    assert "resume it when that is mended, or abandon it" in told
    assert bot.held() == {request.id}


def test_moving_for_good_parks_the_run_after_three_patiences(bot: Waiting) -> None:
    request = bot.begin(*[waits(f"{number}") for number in range(500)])
    assert request.state == State.PARKED
    assert 60 <= sum(bot.clock.slept) < 61


def test_cancel_ends_the_waiting_and_frees_the_targets(bot: Waiting) -> None:
    bot.others.looks = [waits()]
    request = bot.wait_for_approval()
    bot.approve(request)
    bot.clock.meanwhile = lambda: (
        bot.requests.cancel(request.id, DEV) if bot.get(request.id).state == State.RUNNING else None
    )
    bot.go_on()
    assert bot.get(request.id).state == State.CANCELLED
    assert len(bot.clock.slept) == 1
    assert bot.held() == set()
    ended = {record.position: record.ended_at is not None for record in bot.requests.snapshot(request.id).steps}
    assert ended == {0: True, 1: False}


def test_what_a_person_can_mend_parks_at_once_and_keeps_the_targets(bot: Waiting) -> None:
    request = bot.begin(waits(), NeedsPerson("AWS refused 2 machines: the quota is full.", "Ask AWS for more."))
    assert request.state == State.PARKED
    assert bot.clock.slept == [0.5]
    notes = bot.thread(request)
    assert "AWS refused 2 machines: the quota is full. Somebody has to look" in text_of(notes)
    assert "Ask AWS for more." in bullets(notes)
    assert bot.held() == {request.id}


def test_a_parked_run_is_resumed_where_it_waited_and_nothing_is_done_twice(bot: Waiting) -> None:
    request = bot.begin(NeedsPerson("The quota is full.", "Ask AWS for more."))
    bot.others.looks = [waits(), there()]
    bot.requests.resume(request.id, DEV)
    bot.go_on()
    assert bot.get(request.id).state == State.SUCCEEDED
    assert bot.held() == set()
    records = bot.requests.snapshot(request.id).steps
    assert [record.changed for record in records] == [True, True]


def test_what_still_fails_after_a_resume_parks_again_and_is_told_again(bot: Waiting) -> None:
    request = bot.begin(NeedsPerson("The quota is full.", "Ask AWS for more."))
    bot.requests.resume(request.id, DEV)
    bot.go_on()
    assert bot.get(request.id).state == State.PARKED
    assert text_of(bot.thread(request)).count("The quota is full.") == 2


def test_a_failure_that_nobody_can_mend_ends_the_run(bot: Waiting) -> None:
    request = bot.begin(waits(), Fatal("The cluster is not there any more.", "Ask for it anew."))
    assert request.state == State.FAILED
    assert bot.held() == set()
    assert "Ask for it anew." in bullets(bot.thread(request))


def test_an_outage_in_the_middle_is_waited_out(bot: Waiting) -> None:
    outage: list[Seen] = [Retry("The management cluster cannot be reached.", after=2.0)] * 2
    request = bot.begin(waits("a"), *outage, waits("b"), *outage, there())
    assert request.state == State.SUCCEEDED


def test_an_outage_that_stays_parks_the_run(bot: Waiting) -> None:
    request = bot.begin(waits("a"), Retry("The management cluster cannot be reached.", after=2.0))
    assert request.state == State.PARKED
    assert "cannot be reached" in text_of(bot.thread(request))


def test_what_is_reached_is_told_once_however_often_it_is_seen(bot: Waiting) -> None:
    first, second, third = "Network made.", "Control plane initialised.", "2 of 2 workers ready."
    request = bot.begin(waits("a", first), waits("b", first, second), waits("c", first, second), NeedsPerson("Stop."))
    bot.others.looks = [waits("d", first, second), there(first, second, third)]
    bot.requests.resume(request.id, DEV)
    bot.go_on()
    told = [note.text for note in bot.thread(request) if any(word in note.text for word in (first, second, third))]
    assert len(told) == 3
    assert all(word in line for word, line in zip((first, second, third), told, strict=True))


def test_a_process_that_lost_its_run_stops_waiting_and_writes_nothing(bot: Waiting) -> None:
    bot.others.looks = [waits("a", "Network made.")]
    request = bot.wait_for_approval()
    bot.approve(request)
    run = bot.queue.runs[0][1]
    before: list[Any] = []

    def taken_over() -> None:
        assert bot.requests.claim(request.id, run) is not None
        before.append((bot.get(request.id), len(bot.thread(request))))

    bot.clock.meanwhile = taken_over
    bot.go_on()
    assert len(bot.clock.slept) == 1
    assert (bot.get(request.id), len(bot.thread(request))) == before[0]


def test_a_request_for_the_same_target_starts_when_the_parked_one_is_abandoned(bot: Waiting) -> None:
    parked = bot.begin(NeedsPerson("The quota is full."))
    bot.others.looks = [there()]
    second = bot.wait_for_approval()
    bot.approve(second)
    bot.go_on()
    assert (bot.get(second.id).state, bot.get(second.id).waits_for) == (State.APPROVED, parked.id)
    bot.requests.abandon(parked.id, DEV)
    bot.go_on()
    assert bot.get(second.id).state == State.SUCCEEDED


# -- undo --------------------------------------------------------------------------------------------------------


def test_undo_of_a_parked_run_gives_it_up_and_asks_for_the_inverse(bot: Waiting) -> None:
    parked = bot.begin(NeedsPerson("The quota is full."))
    assert bot.press("undo", parked, user=DEV) == []
    assert bot.get(parked.id).state == State.ABANDONED
    assert bot.held() == set()
    new = bot.requests_now()[-1]
    assert (new.operation, new.undoes, new.state) == ("subnet untag", parked.id, State.PLANNING)
    assert new.id in text_of(bot.thread(parked))


def test_undo_by_the_inverse_can_run_at_once_because_the_targets_are_free(bot: Waiting) -> None:
    parked = bot.begin(NeedsPerson("The quota is full."))
    bot.press("undo", parked, user=DEV)
    new = bot.wait_for_approval(request=bot.requests_now()[-1])
    bot.others.looks = [there()]
    assert bot.approve(new) == State.APPROVED
    bot.go_on()
    assert bot.get(new.id).state == State.SUCCEEDED


def test_undo_of_somebody_elses_parked_run_is_for_its_approvers(bot: Waiting) -> None:
    parked = bot.begin(NeedsPerson("The quota is full."))
    told = bot.press("undo", parked, user="USTRANGER1")
    assert "not counted" in text_of(told)
    assert bot.get(parked.id).state == State.PARKED
    assert bot.held() == {parked.id}
    bot.press("undo", parked, user=FIRST)
    assert bot.get(parked.id).state == State.ABANDONED


def test_an_approver_who_may_not_ask_for_the_inverse_leaves_the_run_parked(bot: Waiting) -> None:
    parked = bot.begin(NeedsPerson("The quota is full."))
    told = bot.press("undo", parked, user=SECOND)
    assert "may not ask" in text_of(told)
    assert bot.get(parked.id).state == State.PARKED
    assert bot.held() == {parked.id}


def test_two_undoes_of_one_parked_run_are_one(bot: Waiting) -> None:
    parked = bot.begin(NeedsPerson("The quota is full."))
    bot.press("undo", parked, user=DEV)
    told = bot.press("undo", parked, user=FIRST)
    assert "takes back what" in text_of(told)
    assert sum(request.undoes == parked.id for request in bot.requests_now()) == 1


def test_a_step_in_flight_may_have_changed_something_so_it_is_undone(bot: Waiting) -> None:
    bot.others.act = lambda step, caller: Outcome(changed=False, evidence="was so")  # type: ignore[method-assign]
    parked = bot.begin(NeedsPerson("The quota is full."))
    assert bot.requests.snapshot(parked.id).touched() == (1,)
    bot.press("undo", parked, user=DEV)
    assert bot.get(parked.id).state == State.ABANDONED


# -- what it holds meanwhile -------------------------------------------------------------------------------------


@pytest.fixture
def two_targets(tmp_path: Path) -> Iterator[Waiting]:
    """A bot whose run first changes what it shares with others, and then waits for what is its own."""
    made = Waiting(tmp_path)
    shared = tag_step(title="tag").model_copy(update={"targets": ("shared",)})
    own = tag_step(SUBNETS[2], title="wait").model_copy(update={"targets": ("own",)})
    plan = make_plan(steps=(shared, own)).model_copy(update={"targets": ("shared", "own")})
    made.others.plan_now = made.workshop.plan_now = plan
    yield made
    made.store.close()


def leases(bot: Waiting) -> dict[str, str]:
    return {row.target: row.request for row in bot.rows(sa.select(tables.leases.c.target, tables.leases.c.request))}


def test_a_target_that_no_later_step_has_is_let_go_when_its_step_has_ended(two_targets: Waiting) -> None:
    bot = two_targets
    seen: list[set[str]] = []
    bot.others.looks = [waits("a"), there()]
    request = bot.wait_for_approval()
    bot.approve(request)
    bot.clock.meanwhile = lambda: seen.append(set(leases(bot)))
    bot.go_on()
    assert seen == [{"own"}]
    assert bot.get(request.id).state == State.SUCCEEDED
    assert leases(bot) == {}


def test_a_resumed_run_takes_only_what_is_left_of_its_targets(two_targets: Waiting) -> None:
    """The target that it let go may be somebody else's by now."""
    bot = two_targets
    request = bot.begin(waits("a"))
    assert request.state == State.PARKED
    assert leases(bot) == {"own": request.id}
    bot.store.write(
        lambda connection: connection.execute(
            sa.insert(tables.leases), [{"target": "shared", "request": "r-000000", "since": 1.0}]
        )
    )
    bot.others.looks = [there()]
    bot.requests.resume(request.id, DEV)
    bot.go_on()
    assert bot.get(request.id).state == State.SUCCEEDED
    assert leases(bot) == {"shared": "r-000000"}


def test_a_step_that_was_undone_since_is_not_done_again_without_its_target(two_targets: Waiting) -> None:
    """Its target may be another run's by now, which has just changed it."""
    bot = two_targets
    request = bot.begin(waits("a"))
    assert bot.others.acted == ["tag", "wait"]
    bot.others.first = Observation(so=False, evidence="the tag is off")
    bot.press("resume", request, user=DEV)
    bot.go_on()
    assert bot.get(request.id).state == State.PARKED
    assert "“tag” was done before, and is not so any more: the tag is off" in bot.card(request)
    assert bot.others.acted.count("tag") == 1


def test_a_step_that_is_still_so_is_passed_by(two_targets: Waiting) -> None:
    bot = two_targets
    request = bot.begin(waits("a"))
    bot.others.looks = [there()]
    bot.press("resume", request, user=DEV)
    bot.go_on()
    assert bot.get(request.id).state == State.SUCCEEDED
    assert bot.others.acted.count("tag") == 1
