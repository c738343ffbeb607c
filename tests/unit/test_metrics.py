"""What is counted: names, labels, numbers of the database, and what counting costs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from bot import outgoing, tables
from bot.lifecycle import State
from bot.messages import Note
from bot.metrics import Metrics
from bot.schedule import Schedule
from bot.store import Store, StoreUnavailable
from tests.security.test_threats import Bot

NOW = 1_700_000_000.0


def numbers(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values, read as Prometheus reads it."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def watched(store: Store, monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.setattr("bot.metrics.KEPT", -1.0)
    metrics = Metrics()
    metrics.watch(store, lambda: NOW)
    return metrics


# -- names -------------------------------------------------------------------------------------------------------


def filled() -> Metrics:
    metrics = Metrics()
    metrics.received("command", "new", 0.004)
    metrics.answered("click", "ok", 0.2)
    metrics.moved("subnet tag", "running")
    metrics.planned("subnet tag", "ok", 2.0)
    metrics.stepped("tag", "retried", 2.0)
    metrics.sent("card", "ok")
    metrics.sent("card", "rate_limited")
    metrics.called("aws", "ec2", "ok", 0.1)
    metrics.ran("seal", True)
    metrics.ran("expire", False)
    metrics.digest(0.0)
    metrics.digest(301.0)
    return metrics


def test_what_was_counted_is_shown() -> None:
    found = numbers(filled())
    assert found["tkgbot_ack_seconds_count", "command", "new"] == 1
    assert found["tkgbot_ack_seconds_bucket", "command", "0.005", "new"] == 1
    assert found["tkgbot_answer_seconds_sum", "click", "ok"] == 0.2
    assert found["tkgbot_transitions_total", "subnet tag", "running"] == 1
    assert found["tkgbot_planning_seconds_count", "subnet tag", "ok"] == 1
    assert found["tkgbot_step_seconds_count", "retried", "tag"] == 1
    assert found["tkgbot_messages_total", "card", "ok"] == 1
    assert found["tkgbot_slack_rate_limited_total",] == 1
    assert found["tkgbot_cloud_call_seconds_count", "aws", "ok", "ec2"] == 1
    assert found["tkgbot_job_last_success_timestamp_seconds", "seal"] == pytest.approx(time.time(), abs=60)
    assert found["tkgbot_job_failures_total", "expire"] == 1
    assert found["tkgbot_digests_total", "late"] == found["tkgbot_digests_total", "on_time"] == 1
    assert [name for name in found if name[0] == "tkgbot_build_info"]


def test_names_and_labels_are_prometheus_own_conventions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = filled()
    metrics.watch(store, lambda: NOW)
    families = [f for f in text_string_to_metric_families(metrics.text().decode()) if f.name.startswith("tkgbot_")]
    assert len(families) > 15
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {
        "kind", "outcome", "operation", "state", "step", "result", "cloud", "service", "job", "timing", "version",
        "python", "le",
    }  # fmt: skip
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert family.type != "histogram" or family.name.endswith("_seconds")


def test_counting_costs_microseconds() -> None:
    """Acks wait for it, and Slack waits for acks."""
    metrics = Metrics()

    def cost() -> float:
        began = time.perf_counter()
        for _ in range(1000):
            metrics.received("command", "new", 0.004)
        return (time.perf_counter() - began) / 1000

    assert min(cost() for _ in range(10)) < 5e-6


# -- the database's numbers --------------------------------------------------------------------------------------


def test_the_numbers_of_an_empty_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = numbers(watched(store, monkeypatch))
    assert found["tkgbot_database_up",] == 1
    assert {name[1] for name in found if name[0] == "tkgbot_requests"} == set(map(str, State))
    assert found["tkgbot_outbox",] == found["tkgbot_outbox_oldest_age_seconds",] == found["tkgbot_leases",] == 0


def test_backlogs_and_their_age(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = watched(store, monkeypatch)

    def work(connection: sa.Connection) -> None:
        for number, ago in enumerate((30.0, 90.0)):
            note = Note(text="x")
            outgoing.whisper(connection, f"a{number}", "C1", "U1", "https://x", note, NOW - ago)
            row = {"key": f"k{number}", "kind": "command", "body": {}, "received_at": NOW - ago}
            connection.execute(sa.insert(tables.invocations).values(row))
        connection.execute(
            sa.insert(tables.audit).values(at=NOW - 7, request=None, actor="x", event="y", data={}, mac="z")
        )
        connection.execute(sa.insert(tables.leases).values(target="a", request="r-000001", since=NOW))

    store.write(work)
    found = numbers(metrics)
    assert found["tkgbot_outbox",] == found["tkgbot_invocations_waiting",] == 2
    assert found["tkgbot_outbox_oldest_age_seconds",] == pytest.approx(90)
    assert found["tkgbot_invocations_waiting_oldest_age_seconds",] == pytest.approx(90)
    assert found["tkgbot_audit_unsealed",] == found["tkgbot_leases",] == 1
    assert found["tkgbot_audit_unsealed_oldest_age_seconds",] == pytest.approx(7)


def test_a_database_that_does_not_answer_is_said_and_nothing_old_is_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = watched(store, monkeypatch)
    assert numbers(metrics)["tkgbot_database_up",] == 1

    def down(_work: Any) -> Any:
        raise StoreUnavailable("no")

    monkeypatch.setattr(store, "read", down)
    found = numbers(metrics)
    assert found["tkgbot_database_up",] == 0
    assert ("tkgbot_outbox",) not in found


def test_the_database_is_asked_once_for_many_scrapes(store: Store) -> None:
    metrics, asked = Metrics(), 0
    read = store.read

    def counting(work: Any) -> Any:
        nonlocal asked
        asked += 1
        return read(work)

    store.read = counting  # type: ignore[method-assign]
    metrics.watch(store, lambda: NOW)
    for _ in range(10):
        metrics.text()
    assert asked == 1


# -- who counts --------------------------------------------------------------------------------------------------


def test_transitions_are_counted_when_they_are_committed(tmp_path: Path) -> None:
    bot = Bot(tmp_path)
    moved: list[tuple[str, str]] = []
    bot.requests.on_moved = lambda operation, state: moved.append((operation, state))
    request = bot.waiting()
    assert moved == [("subnet tag", "planning"), ("subnet tag", "awaiting")]
    moved.clear()
    audit = bot.requests._audit

    def fail(*arguments: Any) -> None:
        audit(*arguments)
        raise RuntimeError("rolled back")

    bot.requests._audit = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="rolled back"):
        bot.requests.withdraw(request.id, request.requester)
    assert moved == []
    bot.requests._audit = audit  # type: ignore[method-assign]
    bot.requests.withdraw(request.id, request.requester)
    assert moved == [("subnet tag", "withdrawn")]


def test_deliveries_are_counted_with_what_became_of_them(tmp_path: Path) -> None:
    bot = Bot(tmp_path)
    acked: list[tuple[str, str]] = []
    bot.intake.on_acked = lambda kind, outcome, seconds: acked.append((kind, outcome))
    bot.command()
    bot.command()  # the same trigger once more

    def full(*_: Any) -> bool:
        raise StoreUnavailable("full")

    bot.store.insert_new = full  # type: ignore[method-assign]
    bot.command(trigger="2.2")
    assert acked == [("command", "new"), ("command", "again"), ("command", "failed")]


def test_answers_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    bot = Bot(tmp_path)
    answered: list[tuple[str, str]] = []
    bot.front.on_answered = lambda kind, outcome, seconds: answered.append((kind, outcome))
    bot.command("help", trigger="1")
    bot.command("no such thing", trigger="2")
    bot.answer_all()

    def broken(*_: Any) -> Any:
        raise RuntimeError("a defect")

    bot.people.person = broken  # type: ignore[method-assign]
    bot.command(trigger="3")
    bot.answer_all()
    assert answered[0] == ("command", "ok")
    assert answered[-1] == ("command", "defect")
    assert len(answered) == 3


def test_jobs_tell_how_they_ended() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    schedule = Schedule({})
    ended: list[tuple[str, bool]] = []
    schedule.on_ran = lambda name, ok: ended.append((name, ok))
    schedule._logged("seal", lambda: None)()
    schedule._logged("expire", broken)()
    assert ended == [("seal", True), ("expire", False)]


def test_every_metric_is_in_the_documents(store: Store) -> None:
    """And the documents name none that is not there."""
    metrics = filled()
    metrics.watch(store, lambda: NOW)
    families = list(text_string_to_metric_families(metrics.text().decode()))
    there = {f"{f.name}_total" if f.type == "counter" else f.name for f in families if f.name.startswith("tkgbot_")}
    there = {name for name in there if not name.endswith("_created")}
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("## Metrics")[2].partition("Worth an alert")[0]
    named = set(re.findall(r"`(tkgbot_[a-z_]+)`", table))
    assert named == there
    for name in re.findall(r"tkgbot_[a-z_]+", text):
        assert name.removesuffix("_bucket").removesuffix("_count") in there, name
