"""What the bot counts and measures, for Prometheus: the names, and the functions that the others call.

Names and units as prometheus.io/docs/practices/naming says. Labels are words of the bot's own (an operation, a state, a
service of AWS): never a person, a channel, a cluster or a request, of which there is no end. What the database knows is
asked for when somebody looks, at most every few seconds; everything else is counted where it happens, in memory.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from bot import tables
from bot.digest_words import LATE
from bot.lifecycle import State
from bot.store import Store, StoreUnavailable

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
KEPT = 5.0
"""Seconds for which the database's answers are used: several may scrape."""
ACK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
"""Seconds. Slack waits for three."""
ANSWER = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WORK = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class Metrics:
    """One bot's. Each function may be called from any thread, and takes microseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        ProcessCollector(registry=self.registry)
        build = self._gauge("tkgbot_build_info", "1; the version is in its labels.", "version", "python")
        build.labels(own_version(), platform.python_version()).set(1)
        self._received = self._histogram(
            "tkgbot_ack_seconds", "How long storing a delivery took, for which its ack waits.", ACK,
            "kind", "outcome",
        )  # fmt: skip
        self._answered = self._histogram(
            "tkgbot_answer_seconds", "How long an answer took; a report is a kind of its own.", ANSWER,
            "kind", "outcome",
        )  # fmt: skip
        self._moved = self._counter("tkgbot_transitions", "Requests that came into a state.", "operation", "state")
        self._planned = self._histogram(
            "tkgbot_planning_seconds", "One look at AWS and Kubernetes for a plan.", WORK, "operation", "outcome"
        )
        self._stepped = self._histogram(
            "tkgbot_step_seconds", "One try of one step, without waiting for what it began.", WORK, "step", "outcome"
        )
        self._sent = self._counter("tkgbot_messages", "Messages that were tried to be sent.", "kind", "result")
        self._limited = self._counter("tkgbot_slack_rate_limited", "Slack's answers that it is asked too often.")
        self._clouds = self._histogram(
            "tkgbot_cloud_call_seconds", "Calls of AWS (its services) and of Kubernetes' API.", CALL,
            "cloud", "service", "outcome",
        )  # fmt: skip
        self._succeeded = self._gauge(
            "tkgbot_job_last_success_timestamp_seconds", "When a job by the clock last ended well.", "job"
        )
        self._failed = self._counter("tkgbot_job_failures", "Jobs by the clock that failed.", "job")
        self._digests = self._counter("tkgbot_digests", "Digests that were handed to the outbox.", "timing")

    # -- what is counted -----------------------------------------------------------------------------------------

    def received(self, kind: str, outcome: str, seconds: float) -> None:
        """A delivery was acked, or could not be stored. `kind` is command, click, form or mention."""
        self._received.labels(kind, outcome).observe(seconds)

    def answered(self, kind: str, outcome: str, seconds: float) -> None:
        """The front pool is done with an invocation."""
        self._answered.labels(kind, outcome).observe(seconds)

    def moved(self, operation: str, state: str) -> None:
        """A request came into a state."""
        self._moved.labels(operation, state).inc()

    def planned(self, operation: str, outcome: str, seconds: float) -> None:
        """A plan was made, or the try at one ended."""
        self._planned.labels(operation, outcome).observe(seconds)

    def stepped(self, step: str, outcome: str, seconds: float) -> None:
        """A step was tried. `step` is its kind."""
        self._stepped.labels(step, outcome).observe(seconds)

    def sent(self, kind: str, result: str) -> None:
        """A message was sent, is to be tried again, or is given up."""
        self._sent.labels(kind, result).inc()
        if result == "rate_limited":
            self._limited.inc()

    def called(self, cloud: str, service: str, outcome: str, seconds: float) -> None:
        """A call of AWS or Kubernetes ended."""
        self._clouds.labels(cloud, service, outcome).observe(seconds)

    def ran(self, job: str, ok: bool) -> None:
        """A job by the clock ended."""
        if ok:
            self._succeeded.labels(job).set(time.time())
        else:
            self._failed.labels(job).inc()

    def digest(self, late: float) -> None:
        """A digest was handed to the outbox, so many seconds after its time."""
        self._digests.labels("late" if late > LATE else "on_time").inc()

    # -- what is shown -------------------------------------------------------------------------------------------

    def watch(self, store: Store, clock: Callable[[], float]) -> None:
        """Has the database's numbers shown as well. Once."""
        self.registry.register(StoreNumbers(store, clock))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format (version 0.0.4)."""
        with self._lock:  # one scrape at a time: the database is asked once
            return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, what, labels, buckets=buckets, registry=self.registry)


class StoreNumbers(Collector):
    """What the database knows: read when somebody looks, and used for a few seconds. Where it does not answer, only
    that is said: no number is better than an old one."""

    def __init__(
        self, store: Store, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._kept: tuple[float, list[Metric]] = (float("-inf"), [])

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked for when it is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The numbers now."""
        at, known = self._kept
        if self._monotonic() - at > KEPT:
            known = self._look()
            self._kept = (self._monotonic(), known)
        yield from known

    def _look(self) -> list[Metric]:
        up = "tkgbot_database_up", "1 while the database answers."
        try:
            return [GaugeMetricFamily(*up, value=1), *self._store.read(self._read)]
        except StoreUnavailable:
            return [GaugeMetricFamily(*up, value=0)]

    def _read(self, connection: sa.Connection) -> list[Metric]:
        requests, box, audit, new = (
            tables.requests.c, tables.outbox.c, tables.audit.c, tables.invocations.c,
        )  # fmt: skip
        counted = connection.execute(sa.select(requests.state, sa.func.count()).group_by(requests.state))
        states = dict.fromkeys(map(str, State), 0) | {str(state): int(count) for state, count in counted}
        by_state = GaugeMetricFamily("tkgbot_requests", "Requests by the state that they are in.", labels=["state"])
        for state, count in states.items():
            by_state.add_metric([state], count)
        first_due = sa.func.min(sa.func.coalesce(box.made_at, box.due))
        waiting = sa.select(sa.func.count(), first_due).where(box.wanted > box.sent, box.failed.is_(None))
        unsealed = sa.select(sa.func.count(), sa.func.min(audit.at)).where(audit.number.is_(None))
        unanswered = sa.select(sa.func.count(), sa.func.min(new.received_at)).where(new.done_at.is_(None))
        leases = connection.scalar(sa.select(sa.func.count()).select_from(tables.leases))
        return [
            by_state,
            *self._backlog(connection, waiting, "tkgbot_outbox", "messages that are to be sent"),
            *self._backlog(connection, unsealed, "tkgbot_audit_unsealed", "audit records without a seal"),
            *self._backlog(connection, unanswered, "tkgbot_invocations_waiting", "invocations without an answer"),
            GaugeMetricFamily("tkgbot_leases", "Targets that a request may change now, alone.", value=int(leases or 0)),
        ]

    def _backlog(self, connection: sa.Connection, query: Any, name: str, what: str) -> list[Metric]:
        count, oldest = connection.execute(query).one()
        age = max(0.0, self._clock() - oldest) if oldest is not None else 0.0
        return [
            GaugeMetricFamily(name, f"The number of {what}.", value=int(count)),
            GaugeMetricFamily(f"{name}_oldest_age_seconds", f"The age of the oldest of the {what}.", value=age),
        ]


def own_version() -> str:
    """The installed version; `unknown` where it was never installed."""
    try:
        return version("tkgbot")
    except PackageNotFoundError:
        return "unknown"
