"""One message for each moment: over restarts, replicas, clocks that differ, and deaths in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import outgoing, tables
from bot.digests import CLAIM, KEPT, Digests, DigestSettings
from bot.messages import Note
from bot.store import Store
from handlers.contract import Caller, ClusterState, Extent, Gap, Made, Offer, Survey
from handlers.contract import Finding as Drifted

DAY, NINE = 86_400.0, datetime(2026, 11, 25, 9, tzinfo=UTC).timestamp()
MORNING = DigestSettings(name="morning", channel="CPLATFORM1", when="daily 09:00")


class Died(Exception):
    """A process that ends in the middle."""


class Replica:
    """One process over a shared database, with a clock of its own."""

    def __init__(self, folder: Path, url: str | None, now: float, *, name: str = "one") -> None:
        self.store = Store(folder, url)
        self.now = now
        self.surveys: list[Survey] = []
        self.looks = 0
        self.dies = False
        self.told: list[float] = []
        self.digests = Digests(
            self.store, look=self._look, operations={}, address=lambda channel, ts: f"https://example/{channel}/{ts}",
            clock=lambda: self.now, executor=name, wake=lambda: None, told=self.told.append,
        )  # fmt: skip
        self.digests._pool.submit = lambda work, key: work(key)  # type: ignore[method-assign, assignment, misc]

    def _look(self, extent: Extent, made: Sequence[Made], caller: Caller) -> Survey:
        self.looks += 1
        if self.dies:
            raise SystemExit  # not an error that is told: the process is gone
        state = ClusterState(name="demo", namespace="default", state="running", workers_wanted=1, workers_ready=1)
        return self.surveys.pop(0) if self.surveys else Survey(taken_at=self.now, clusters=(state,))

    def at(self, now: float) -> list[str]:
        """The schedule wakes it at that time."""
        self.now = now
        return self.digests.due()

    def posts(self) -> list[Any]:
        """The messages of digests, in order."""
        box = tables.outbox
        query = sa.select(box).where(box.c.kind == "post").order_by(box.c.seq)
        return list(self.store.read(lambda connection: connection.execute(query).all()))

    def under(self, root: str) -> list[Any]:
        """What stands in the thread of one."""
        query = sa.select(tables.outbox).where(tables.outbox.c.under == root).order_by(tables.outbox.c.seq)
        return list(self.store.read(lambda connection: connection.execute(query).all()))

    def change(self, **values: Any) -> None:
        """Somebody changes the digest."""
        self.store.write(lambda connection: connection.execute(sa.update(tables.digests).values(**values)))


@pytest.fixture(params=["sqlite", "postgres"])
def replica(
    request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[[], str]
) -> Iterator[Callable[..., Replica]]:
    """Makes processes on one database; on SQLite there is only one at a time."""
    url = new_database() if request.param == "postgres" else None
    made: list[Replica] = []

    def make(now: float, name: str = "one") -> Replica:
        if url is None:
            for other in made:
                other.store.close()
            made.clear()
        made.append(Replica(tmp_path, url, now, name=name))
        return made[-1]

    yield make
    for other in made:
        other.store.close()


def test_one_message_at_its_time_and_none_before(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    assert bot.at(NINE - 1) == []
    assert bot.at(NINE) == [f"morning@{int(NINE)}"]
    assert bot.at(NINE + 2) == []
    assert [post.key for post in bot.posts()] == [f"digest:morning@{int(NINE)}"]
    assert bot.told == [0.0]
    assert "all quiet" in Note.model_validate(bot.posts()[0].body).text


def test_a_restart_sends_nothing_twice_and_the_newest_of_what_was_missed_once(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    bot.at(NINE)
    later = replica(NINE + 3 * DAY + 1800)
    later.digests.set_up([MORNING])
    assert later.at(NINE + 3 * DAY + 1800) == [f"morning@{int(NINE + 3 * DAY)}"]
    assert later.at(NINE + 3 * DAY + 1802) == []
    assert len(later.posts()) == 2
    assert "late: sent" in Note.model_validate(later.posts()[1].body).text


def test_a_digest_that_is_new_is_not_due_for_what_was_before_it(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE + 60)
    bot.digests.set_up([MORNING])
    assert bot.at(NINE + 62) == []
    bot.digests.set_up([MORNING.model_copy(update={"when": "daily 08:00"})])
    assert bot.at(NINE + 64) == [], "a changed one begins now, too"
    bot.digests.set_up([])
    assert bot.at(NINE + DAY) == []


@pytest.mark.long
def test_three_replicas_whose_clocks_differ_send_one_message_a_moment(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    url, skews = new_database(), (-40.0, 0.0, 55.0)
    bots = [Replica(tmp_path, url, NINE - 3600 + skew, name=f"replica-{skew}") for skew in skews]
    for bot in bots:
        bot.digests.set_up([MORNING])
    taken: list[str] = []
    for second in range(-120, 4 * int(DAY), 1200):
        for bot, skew in zip(bots, skews, strict=True):
            taken += bot.at(NINE + second + skew)
    assert taken == [f"morning@{int(NINE + day * DAY)}" for day in range(4)]
    assert len(bots[0].posts()) == 4
    for bot in bots:
        bot.store.close()


def test_a_moment_whose_process_died_is_taken_over_when_its_claim_has_run_out(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    bot.dies = True
    with pytest.raises(SystemExit):
        bot.at(NINE)
    assert bot.posts() == []
    other = replica(NINE + CLAIM - 1, "two")
    assert other.at(NINE + CLAIM - 1) == []
    assert other.at(NINE + CLAIM) == [f"morning@{int(NINE)}"]
    assert len(other.posts()) == 1
    other.digests.tell(f"morning@{int(NINE)}")
    assert len(other.posts()) == 1, "what is told is not told again by who was slow"


def test_a_look_that_fails_is_what_the_message_says(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    bot.digests.look = lambda extent, made, caller: 1 / 0  # type: ignore[assignment, return-value]
    bot.at(NINE)
    note = Note.model_validate(bot.posts()[0].body)
    assert "the clusters cannot be seen" in note.text
    assert "something went wrong inside tkgbot" in note.sections[0].facts[0]


def test_paused_and_snoozed_ones_are_not_sent_and_come_again(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    bot.change(snoozed_until=NINE + 60)
    assert bot.at(NINE + 30) == []
    assert bot.at(NINE + DAY) == [f"morning@{int(NINE + DAY)}"]
    bot.change(paused=True)
    assert bot.at(NINE + 2 * DAY) == []
    bot.digests.set_up([MORNING])
    assert bot.at(NINE + 2 * DAY + 5) == [], "a start does not resume what somebody paused"
    bot.change(paused=False, since=NINE + 2 * DAY + 60)
    assert bot.at(NINE + 2 * DAY + 90) == [], "what was due while it was paused is not sent any more"
    assert len(bot.posts()) == 1


def test_the_thread_has_the_table_the_csv_and_with_history_the_chart(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    for day in range(3):
        bot.at(NINE + day * DAY)
    first, *_rest, last = bot.posts()
    assert [(row.kind, row.key.partition("#")[2]) for row in bot.under(first.key)] == [("thread", "0"), ("file", "csv")]
    assert [row.key.partition("#")[2] for row in bot.under(last.key)] == ["0", "csv", "chart"]
    chart = bot.under(last.key)[-1].body
    assert chart["kind"] == "chart"
    assert len(chart["at"]) == 3


def test_what_changed_is_told_against_the_last_one_that_could_see(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    bot.at(NINE)
    blind = Survey(taken_at=NINE + DAY, clusters=(), gaps=(Gap(what="The management cluster", why="No answer."),))
    gone = Survey(taken_at=NINE + 2 * DAY, clusters=())
    bot.surveys = [blind, gone]
    bot.at(NINE + DAY)
    bot.at(NINE + 2 * DAY)
    _first, second, third = (Note.model_validate(post.body) for post in bot.posts())
    assert "is gone" not in str(second)
    assert "default/demo is gone; it was running." in str(third)


def test_a_repair_is_a_button_with_an_id_and_nothing_else(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    repair = Offer(title="Tag it.", label="Tag again", operation="subnet tag", arguments={"cluster": "demo"})
    lost = Drifted(id="t", kind="tag", title="subnet-1 lost its tag.", evidence="It has none.", repair=repair)
    bot.surveys = [Survey(taken_at=NINE, clusters=(), findings=(lost,))]
    bot.at(NINE)
    note = Note.model_validate(bot.posts()[0].body)
    offer, details, snooze = note.buttons
    assert (offer.action, offer.label) == ("offer", "Tag again")
    assert offer.value.startswith("o-")
    assert "demo" not in offer.value
    assert (details.value, snooze.value) == (f"morning@{int(NINE)}", f"morning@{int(NINE)}")


@pytest.mark.long
def test_only_what_a_chart_shows_is_kept(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE - 3600)
    bot.digests.set_up([MORNING])
    for day in range(KEPT + 3):
        bot.at(NINE + day * DAY)
    bot.digests.forget()
    count = bot.store.read(lambda connection: connection.scalar(sa.select(sa.func.count()).select_from(tables.fires)))
    assert count == KEPT
    assert bot.at(bot.now + 1) == []


def test_the_same_message_is_put_into_the_outbox_once(replica: Callable[..., Replica]) -> None:
    bot = replica(NINE)

    def work(connection: sa.Connection) -> None:
        for _ in range(2):
            outgoing.digest(connection, "digest:x@1", "C1", Note(text="x"), NINE, owner=None, expires=NINE + DAY)

    bot.store.write(work)
    assert len(bot.posts()) == 1


@pytest.mark.parametrize(
    ("when", "zone", "reason"),
    [("0 0 31 2 *", "UTC", "never comes"), ("daily 09:00", "Europe/Berln", "did you mean Europe/Berlin")],
)
def test_settings_that_cannot_be_meant_are_refused(when: str, zone: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DigestSettings(name="morning", channel="CPLATFORM1", when=when, zone=zone)
