"""Durable execution: the only module that knows dbos.

A workflow's code lives in `bot.work`; this module gives it durable steps and sleeps, starts it from inside a
transaction, takes it up again after a crash, and takes over what another replica left behind. The settings below each
close a trap that was measured: a pinned application version (the default hashes the source and strands waiting work
after any change), fixed workflow names, JSON instead of pickle, no limit of recoveries, one executor id per process.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

from bot import tables
from bot.durable import Flow
from bot.store import DURABLE_CONNECTIONS, Store, postgres_engine

log = logging.getLogger(__name__)
VERSION = "1"
APP = "tkgbot"


class _DbosDurable:
    def step(self, name: str, work: Callable[[], Any]) -> Any:
        return DBOS.run_step({"name": name, "retries_allowed": False}, work)

    def sleep(self, seconds: float) -> None:
        DBOS.sleep(seconds)


@dataclass(frozen=True)
class EngineSettings:
    """How many workflows run at once, how soon they start, and when a silent replica counts as dead (seconds)."""

    plans_at_once: int = 8
    runs_at_once: int = 100
    poll: float = 0.25
    beat: float = 5.0
    dead_after: float = 20.0


class Engine:
    """Starts and runs workflows on the store's database."""

    def __init__(self, store: Store, executor: str, settings: EngineSettings | None = None) -> None:
        self.store = store
        self.executor = executor
        self.settings = settings or EngineSettings()
        self._stop = threading.Event()
        self._client: DBOSClient | None = None
        self._last_beat = time.monotonic()
        self._live: set[str] = set()

    # -- life ----------------------------------------------------------------------------------------------------

    def launch(self, plan: Flow, run: Flow) -> None:
        """Makes the schema, registers both flows, and takes up what this executor left unfinished."""
        engine = _dbos_engine(self.store)
        config: DBOSConfig = {
            "name": APP,
            "system_database_engine": engine,
            "application_version": VERSION,
            "executor_id": self.executor,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "max_executor_threads": self.settings.plans_at_once + self.settings.runs_at_once + 8,
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": 1.0,
        }
        DBOS(config=config)
        for name, flow in (("plan", plan), ("run", run)):
            DBOS.workflow(name=name, max_recovery_attempts=None)(self._workflow(name, flow))
        DBOS.launch()
        for name, limit in (("plans", self.settings.plans_at_once), ("runs", self.settings.runs_at_once)):
            DBOS.register_queue(
                name,
                worker_concurrency=limit,
                polling_interval_sec=self.settings.poll,
                on_conflict="always_update",
            )
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APP,
        )
        if not self.store.is_sqlite:
            self._beat()
            threading.Thread(target=self._beat_loop, name="heartbeat", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """True from launch to close."""
        return self._client is not None and not self._stop.is_set()

    def close(self) -> None:
        """Stops taking work. Workflows that sleep keep their threads: the process must end with os._exit."""
        self._stop.set()
        DBOS.destroy(workflow_completion_timeout_sec=0)

    def _workflow(self, name: str, flow: Flow) -> Callable[[str, int], None]:
        durable = _DbosDurable()

        def workflow(request: str, number: int) -> None:
            own = f"{name}:{request}:{number}"
            self._live.add(own)
            try:
                flow(durable, request, number)
            finally:
                self._live.discard(own)

        return workflow

    # -- work ----------------------------------------------------------------------------------------------------

    def enqueue_plan(self, connection: sa.Connection, request: str, number: int) -> None:
        """Has `request` planned, if and when the caller's transaction commits. A number is used once."""
        self._enqueue(connection, "plan", request, number)

    def enqueue_run(self, connection: sa.Connection, request: str, number: int) -> None:
        """Has `request` run, if and when the caller's transaction commits. A number is used once."""
        self._enqueue(connection, "run", request, number)

    def _enqueue(self, connection: sa.Connection, name: str, request: str, number: int) -> None:
        assert self._client is not None, "launch first"
        self._client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": name,
                "queue_name": f"{name}s",
                "workflow_id": f"{name}:{request}:{number}",
                "app_version": VERSION,
            },
            request,
            number,
        )

    def is_dead(self, name: str, request: str, number: int) -> bool:
        """True when that workflow can do nothing more by itself: it ended in an error, or its thread here is gone."""
        workflow = f"{name}:{request}:{number}"
        found = DBOS.list_workflows(workflow_ids=[workflow], load_input=False, load_output=False)
        if not found:
            return True
        mine = found[0].executor_id == self.executor and workflow not in self._live
        return found[0].status in ("ERROR", "SUCCESS", "CANCELLED") or (found[0].status == "PENDING" and mine)

    def forget_finished(self, before: float) -> int:
        """Deletes the records of workflows that ended before `before` (epoch seconds); returns how many."""
        finished = DBOS.list_workflows(
            status=["SUCCESS", "ERROR"], end_time=_iso(before), load_input=False, load_output=False, limit=1000
        )
        ids = [workflow.workflow_id for workflow in finished]
        if ids:
            DBOS.delete_workflows(ids)
        return len(ids)

    # -- replicas ------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = _now()
        with self.store.engine.begin() as connection:
            known = connection.execute(
                sa.update(tables.replicas).where(tables.replicas.c.executor == self.executor).values(beat=now)
            )
            if known.rowcount == 0:
                connection.execute(sa.insert(tables.replicas).values(executor=self.executor, beat=now))
            dead = connection.scalars(
                sa.select(tables.replicas.c.executor).where(tables.replicas.c.beat < now - self.settings.dead_after)
            ).all()
        self._last_beat = time.monotonic()
        if dead:  # safe to repeat and to race: dbos moves each workflow by compare-and-set on its executor
            self._take_over(list(dead))

    def _take_over(self, dead: list[str]) -> None:
        for executor in dead:
            left = DBOS._recover_pending_workflows([executor])
            log.warning("took over %d workflows of the silent replica %s", len(left), executor)
            if not left:  # a row may go only when nothing of it is pending any more
                with self.store.engine.begin() as connection:
                    connection.execute(
                        sa.delete(tables.replicas).where(
                            tables.replicas.c.executor == executor,
                            tables.replicas.c.beat < _now() - self.settings.dead_after,
                        )
                    )

    def _beat_loop(self) -> None:
        while not self._stop.wait(self.settings.beat):
            silent = time.monotonic() - self._last_beat
            if silent > 0.6 * self.settings.dead_after:  # others may have taken over: leave before touching anything
                log.critical("no heartbeat for %.0f s: this replica ends itself", silent)
                os._exit(70)
            try:
                self._beat()
            except sa.exc.DBAPIError as error:
                log.error("heartbeat failed: %s", error.orig)


def _dbos_engine(store: Store) -> sa.Engine:
    """dbos's own pool on the same database. Its SQLite transactions begin at the first change (as dbos expects)."""
    return _sqlite_for_dbos(store.path) if store.url is None else _postgres_for_dbos(store.url)


def _postgres_for_dbos(url: str) -> sa.Engine:
    engine = postgres_engine(url, DURABLE_CONNECTIONS)

    @sa.event.listens_for(engine, "handle_error")
    def _wait_for_server(context: sa.engine.ExceptionContext) -> None:
        """dbos waits for a server that is away if it knows the words for it. It knows "connection failed" and
        not psycopg's "connection is bad", so a restart of PostgreSQL would end the workflows that meet it."""
        if context.connection is None and context.sqlalchemy_exception is not None:
            context.is_disconnect = True

    return engine


def _sqlite_for_dbos(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": 30, "check_same_thread": False},
        pool_size=24,
        max_overflow=24,
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "handle_error")
    def _wait_for_space(context: sa.engine.ExceptionContext) -> sa.exc.OperationalError | None:
        """dbos waits while SQLite's file is locked, and gives a workflow up when the disk is full: a run would stand
        still for good in the middle. To dbos, a full disk is a lock."""
        said = str(context.original_exception)
        if not any(words in said for words in ("disk is full", "disk I/O error")):
            return None
        return sa.exc.OperationalError(
            context.statement, context.parameters, sqlite3.OperationalError(f"database is locked ({said})")
        )

    return engine


def _now() -> sa.ColumnElement[float]:
    """The database's clock, so that replicas need not agree on theirs."""
    return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
