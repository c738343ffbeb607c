"""The database: one file (SQLite) or a PostgreSQL URL; group commit; the lock that keeps a second process off the file.

All changes go through `Store.write`. On SQLite one thread writes, and whatever waits at the same moment shares one
commit (each part in a savepoint of its own): one fsync instead of many, and no fight for the file's single write lock.
On PostgreSQL `write` runs in the caller's thread and locks rows; only `write_grouped` shares commits there.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bot import tables

log = logging.getLogger(__name__)
T = TypeVar("T")
BATCH = 256
DEADLOCK_TRIES = 5
SHUTDOWN = object()
LEFT_OPEN = 10
"""Seconds that a frozen or cut-off process keeps its locks: less than until others take its work over."""
OWN_CONNECTIONS, DURABLE_CONNECTIONS = 6, 8
"""Connections that a replica keeps for itself and for dbos; under load twice as many. Three replicas, and the command
line beside them, fit into the hundred that PostgreSQL has by default. (PostgreSQL: max_connections.)"""


class StoreUnavailable(Exception):
    """The database did not take the change (full disk, lock, no connection). Nothing of it was stored."""


class StoreInUse(Exception):
    """Another process has this database file."""


@dataclass
class _Job:
    work: Callable[[sa.Connection], Any]
    done: Future[Any]


@dataclass
class _Row:
    """A row for the one statement that inserts all rows of a batch: a quarter of the time of a statement each."""

    table: sa.Table
    row: dict[str, Any]
    done: Future[Any]


def sqlite_engine(path: Path) -> sa.Engine:
    """An engine on one file: WAL, every commit on disk before it is acknowledged, and BEGIN IMMEDIATE for writers,
    because a deferred BEGIN lets two writers read the same state before either writes."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 10, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def postgres_engine(url: str, size: int) -> sa.Engine:
    """An engine of at most twice `size` connections, whose transactions PostgreSQL ends when their process says nothing
    for LEFT_OPEN seconds."""
    engine = sa.create_engine(url, pool_size=size, max_overflow=size, pool_pre_ping=True)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = '{LEFT_OPEN}s'")
        connection.commit()

    return engine


class Store:
    """Transactions over the bot's tables. `url` is None for SQLite at `directory`/tkgbot.db."""

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self.url = url
        self.path = directory / "tkgbot.db"
        self._lock_file: IO[str] | None = None
        if url is None:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = _lock(directory / "tkgbot.lock")
            self.engine = sqlite_engine(self.path)
        else:
            self.engine = postgres_engine(url, OWN_CONNECTIONS)
        self._create_tables()
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting = 0
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._writer.start()

    @property
    def is_sqlite(self) -> bool:
        """True when one process owns one file."""
        return self.url is None

    def _create_tables(self) -> None:
        with self.engine.execution_options(writes=True).begin() as connection:
            if not self.is_sqlite:  # two replicas may start at the same moment
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7461001)"))
            is_new = not sa.inspect(connection).get_table_names()
            tables.metadata.create_all(connection, checkfirst=not is_new)
            if not is_new:
                _add_columns(connection)
        if self.is_sqlite:
            os.chmod(self.path, 0o600)

    def answers(self) -> bool:
        """True when the database takes a read."""
        try:
            return self.read(lambda connection: connection.execute(sa.select(1)).scalar()) == 1
        except StoreUnavailable:
            return False

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` in a read transaction. Raises StoreUnavailable."""
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except sa.exc.DBAPIError as error:
            raise StoreUnavailable(str(error.orig)) from error

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` in one transaction and returns after its commit. Raises StoreUnavailable, or what `work` raised
        (then nothing of it is stored)."""
        if self.is_sqlite:
            return self.write_grouped(work)
        for attempt in range(DEADLOCK_TRIES):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError) as error:
                passing = getattr(error.orig, "sqlstate", None) in ("40001", "40P01")
                if not passing or attempt == DEADLOCK_TRIES - 1:
                    raise StoreUnavailable(str(error.orig)) from error
        raise AssertionError("unreachable")

    def write_grouped(self, work: Callable[[sa.Connection], T]) -> T:
        """As `write`, sharing its commit with others in flight. For short work that waits for nothing."""
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done))
        return done.result()

    def insert_new(self, table: sa.Table, row: dict[str, Any], within: float) -> bool:
        """Inserts a row unless its primary key (a column named `key`) is there; True when it was not. Shares its commit
        and its statement with others in flight. Raises StoreUnavailable when it is not even begun `within` seconds, and
        then it is never stored: whoever asked is told so."""
        done: Future[bool] = Future()
        self._jobs.put(_Row(table, row, done))
        try:
            return done.result(within)
        except TimeoutError:
            if done.cancel():
                raise StoreUnavailable("the database is busy") from None
            return done.result()

    def _fold_in(self) -> None:
        """Puts everything into the one file, so that whoever copies it after the end has all of it."""
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("ROLLBACK")  # a checkpoint is not part of a transaction
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except sa.exc.DBAPIError as error:
            log.warning("the write-ahead log stays beside the database: %s", error.orig)

    def _write_loop(self) -> None:
        engine = self.engine.execution_options(writes=True)
        while True:
            job = self._jobs.get()
            batch = [job]
            while len(batch) < BATCH and not self._jobs.empty():
                batch.append(self._jobs.get())
            stop = SHUTDOWN in batch
            self._commit(engine, [job for job in batch if job is not SHUTDOWN])
            if stop:
                return

    def _commit(self, engine: sa.Engine, batch: list[_Job | _Row]) -> None:
        if not batch:
            return
        results: list[tuple[_Job | _Row, Any, BaseException | None]] = []
        try:
            with engine.begin() as connection:
                rows = [row for row in batch if isinstance(row, _Row) and row.done.set_running_or_notify_cancel()]
                results += _insert_rows(connection, rows)
                for job in batch:
                    if isinstance(job, _Job):
                        results.append(_in_savepoint(connection, job))
        except sa.exc.SQLAlchemyError as error:  # the commit itself failed: nobody's work was stored
            log.error("the database refused a commit: %s", error)
            for job in batch:
                if not job.done.cancelled():
                    job.done.set_exception(StoreUnavailable(str(getattr(error, "orig", error))))
            return
        for job, value, failure in results:
            if failure is None:
                job.done.set_result(value)
            else:
                job.done.set_exception(failure)

    def close(self) -> None:
        """Commits what is in flight and lets the file go."""
        self._jobs.put(SHUTDOWN)
        self._writer.join(timeout=10)
        if self.is_sqlite:
            self._fold_in()
        self.engine.dispose()
        if self._lock_file:
            self._lock_file.close()


def _add_columns(connection: sa.Connection) -> None:
    """Brings an earlier version's tables up to date. Columns are only ever added, and may be empty or have a default,
    so that the version before can go on with the same database while replicas are being replaced."""
    there = sa.inspect(connection)
    for table in tables.metadata.sorted_tables:
        known = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                made = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {made}')
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _insert_rows(connection: sa.Connection, rows: list[_Row]) -> list[tuple[_Job | _Row, Any, BaseException | None]]:
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    results: list[tuple[_Job | _Row, Any, BaseException | None]] = []
    for table in {row.table for row in rows}:
        ours = [row for row in rows if row.table is table]
        statement = insert(table).on_conflict_do_nothing().returning(table.c.key)
        new = set(connection.execute(statement, [row.row for row in ours]).scalars())
        for row in ours:
            results.append((row, row.row["key"] in new, None))
            new.discard(row.row["key"])  # of two deliveries in one batch, one is new
    return results


def _in_savepoint(connection: sa.Connection, job: _Job) -> tuple[_Job, Any, BaseException | None]:
    savepoint = connection.begin_nested()
    try:
        value = job.work(connection)
        savepoint.commit()
        return job, value, None
    except sa.exc.OperationalError:
        raise  # the disk or the connection, not this job: the whole batch is told
    except Exception as error:  # noqa: BLE001 - this job's own trouble, handed to its caller: the others go on
        savepoint.rollback()
        return job, None, error


def _lock(path: Path) -> IO[str]:
    handle = path.open("w")  # held open for as long as the process lives
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        raise StoreInUse(
            f"another tkgbot is running on {path.parent}. Stop it first, or set TKGBOT_DATABASE_URL to PostgreSQL "
            "to let several share the work."
        ) from error
    return handle
