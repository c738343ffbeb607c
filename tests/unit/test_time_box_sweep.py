"""The end of time boxes as the chat side sees it: one warning, one deletion for each end, whoever sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import tables
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Need, Needs, Who
from bot.records import Draft
from bot.requests import Requests
from bot.store import Store
from bot.time_boxes import TimeBoxes
from handlers.contract import Caller, Fatal, Impact, Json, Plan, Retry, Step, TimeBox
from handlers.workshop import discover

NOW, HOUR = 1_795_600_000.0, 3600.0


class Queue:
    """What was enqueued."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def enqueue_plan(self, connection: sa.Connection, request: str, number: int) -> None:
        """Not here."""

    def enqueue_run(self, connection: sa.Connection, request: str, number: int) -> None:
        self.runs.append(request)


class Bot:
    """Requests over a store of their own, with a clock that stands, and the boxes that there are."""

    def __init__(self, folder: Path) -> None:
        self.now, self.boxes, self.error = NOW, list[TimeBox](), None
        self.store, self.queue, numbers = Store(folder), Queue(), iter(range(1, 99))
        self.requests = Requests(
            self.store, self.queue, clock=lambda: self.now, new_id=lambda: f"r-{next(numbers):06x}"
        )
        self.sweeper = TimeBoxes(
            self.requests, self._look, team="T1", operations=discover(), resolve=self._resolve, warn=HOUR,
            extend=8 * HOUR,
        )  # fmt: skip
        self.origin = self.requests.submit(
            Draft(
                invocation="i", operation="cluster create", arguments={"cluster": "demo", "account": "tenant"},
                command="/tkg cluster create demo", team="T1", channel="C1", requester="UDEV",
            )
        )  # fmt: skip

    def _look(self, caller: Caller) -> list[TimeBox]:
        if self.error is not None:
            raise self.error
        return self.boxes

    def _resolve(self, arguments: Json) -> Json:
        return {**arguments, "account": arguments.get("account") or "management", "region": "us-east-1"}

    def box(self, ends_at: float, **more: Any) -> None:
        values = {"cluster": "demo", "namespace": "default", "uid": "u-1", "request": self.origin, **more}
        self.boxes = [TimeBox(ends_at=ends_at, **values)]

    def said(self) -> list[Note]:
        """What stands in the thread of the request that made the cluster."""
        box = tables.outbox
        query = sa.select(box.c.body).where(box.c.request == self.origin, box.c.kind == "thread").order_by(box.c.seq)
        return [Note.model_validate(body) for body in self.store.read(lambda c: c.scalars(query).all())]

    def deletions(self) -> list[Any]:
        columns = tables.requests.c
        query = sa.select(tables.requests).where(columns.operation == "cluster delete")
        return list(self.store.read(lambda connection: connection.execute(query).all()))


@pytest.fixture
def bot(tmp_path: Path) -> Any:
    made = Bot(tmp_path)
    yield made
    made.store.close()


def test_the_owner_is_warned_once_before_the_end_and_can_extend(bot: Bot) -> None:
    bot.box(NOW + 8 * HOUR)
    assert bot.sweeper.sweep() == []
    bot.now = NOW + 7 * HOUR + 1
    assert bot.sweeper.sweep() == ["default/demo"]
    assert bot.sweeper.sweep() == []
    (warning,) = bot.said()
    assert "<@UDEV> the time of cluster demo is over" in warning.text
    assert warning.people == ("UDEV",)
    (button,) = warning.buttons
    assert (button.action, button.label) == ("offer", "8 hours more from now")
    (offer,) = bot.store.read(lambda connection: connection.execute(sa.select(tables.offers)).all())
    assert offer.operation == "cluster expire"
    assert (offer.arguments["cluster"], offer.arguments["ttl"]) == ("demo", "8h")
    assert bot.deletions() == []


def test_an_end_that_was_moved_is_warned_of_anew(bot: Bot) -> None:
    bot.box(NOW + 2 * HOUR)
    bot.now = NOW + 1.7 * HOUR
    bot.sweeper.sweep()
    bot.box(NOW + 10 * HOUR)
    assert bot.sweeper.sweep() == []
    bot.now = NOW + 9.5 * HOUR
    assert bot.sweeper.sweep() == ["default/demo"]
    assert len(bot.said()) == 2


def test_of_a_short_box_the_last_quarter_is_warned_of(bot: Bot) -> None:
    bot.box(NOW + 0.5 * HOUR)
    bot.now = NOW + 0.3 * HOUR
    assert bot.sweeper.sweep() == []
    bot.now = NOW + 0.4 * HOUR
    assert bot.sweeper.sweep() == ["default/demo"]


def test_the_end_asks_for_one_deletion_in_the_name_of_who_set_it(bot: Bot) -> None:
    bot.box(NOW + HOUR)
    bot.now = NOW + HOUR
    for _ in range(3):
        bot.sweeper.sweep()
    (deletion,) = bot.deletions()
    assert (deletion.requester, deletion.channel, deletion.cause) == ("UDEV", "C1", "time box")
    assert deletion.arguments["cluster"] == "demo"
    assert deletion.arguments["account"] == "tenant", "in the account in which it was made"
    assert deletion.state == State.PLANNING
    assert f"`{deletion.id}` asks for its deletion" in bot.said()[-1].text


def test_the_same_name_made_anew_ends_for_itself(bot: Bot) -> None:
    bot.box(NOW)
    bot.sweeper.sweep()
    bot.box(NOW, uid="u-2")
    bot.sweeper.sweep()
    assert len(bot.deletions()) == 2


@pytest.mark.parametrize("error", [Retry("It does not answer."), Fatal("There is no management cluster.")])
def test_an_outage_asks_for_nothing_and_loses_nothing(bot: Bot, error: Exception) -> None:
    bot.box(NOW)
    bot.error = error  # type: ignore[assignment]
    assert bot.sweeper.sweep() == []
    bot.error = None
    assert bot.sweeper.sweep() == ["default/demo"]
    assert len(bot.deletions()) == 1


def test_a_box_that_no_known_request_set_is_left_alone(bot: Bot) -> None:
    bot.box(NOW, request="r-ffffff")
    assert bot.sweeper.sweep() == []
    assert bot.deletions() == []


class Remove(Step):
    """A step of a plan."""

    kind: str = "remove"


PLAN = Plan(
    headline="delete cluster demo", checks=(), facts=(), targets=("cluster demo",),
    steps=(Remove(title="delete it", targets=("cluster demo",)),), impact=Impact(reversible=False),
)  # fmt: skip


@pytest.mark.parametrize(("approvals", "state"), [(0, State.APPROVED), (1, State.AWAITING), (2, State.AWAITING)])
def test_it_is_approved_by_itself_only_where_nothing_more_is_needed(bot: Bot, approvals: int, state: State) -> None:
    bot.box(NOW)
    bot.sweeper.sweep()
    (deletion,) = bot.deletions()
    need = Need(rule="boxes", approvals=approvals, approve=Who(users=("UAPP",)), requester_counts=False)
    needs = Needs(each=(need,), request_ttl=HOUR, approval_ttl=HOUR)
    assert bot.requests.planned(deletion.id, 1, PLAN, needs) == state
    assert bot.queue.runs == ([deletion.id] if approvals == 0 else [])


def test_a_persons_request_is_never_approved_by_itself(bot: Bot) -> None:
    need = Need(rule="boxes", approvals=0, approve=Who(users=("UAPP",)), requester_counts=False)
    needs = Needs(each=(need,), request_ttl=HOUR, approval_ttl=HOUR)
    assert bot.requests.planned(bot.origin, 1, PLAN, needs) == State.AWAITING
    assert bot.queue.runs == []


def test_a_deletion_that_has_not_begun_is_called_off_when_the_cluster_gets_more_time(bot: Bot) -> None:
    bot.box(NOW)
    bot.sweeper.sweep()
    (deletion,) = bot.deletions()
    bot.sweeper.sweep()
    assert bot.deletions()[0].state == State.PLANNING
    bot.box(NOW + 8 * HOUR)
    bot.sweeper.sweep()
    (deletion,) = bot.deletions()
    assert deletion.state == State.WITHDRAWN
    assert "given more time" in deletion.note["text"]
    bot.now = NOW + 8 * HOUR
    bot.sweeper.sweep()
    assert len(bot.deletions()) == 2, "its new end asks anew"


def test_what_is_offered_is_in_the_account_in_which_the_cluster_was_made(bot: Bot) -> None:
    bot.box(NOW + 60)
    bot.now = NOW + 50
    bot.sweeper.sweep()
    (offer,) = bot.store.read(lambda connection: connection.execute(sa.select(tables.offers)).all())
    assert offer.arguments["account"] == "tenant"
