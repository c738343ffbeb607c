"""The table `audit`: writing a record, reading records as they are stored."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from bot import tables
from bot.audit import AuditKey, Record, as_read

PAGE = 500
COLUMNS = tables.audit.c
STORED = (
    COLUMNS.seq, COLUMNS.at, COLUMNS.request, COLUMNS.actor, COLUMNS.event,
    sa.cast(COLUMNS.data, sa.Text).label("data"), COLUMNS.mac, COLUMNS.number, COLUMNS.previous, COLUMNS.seal,
)  # fmt: skip


def write(
    connection: sa.Connection,
    key: AuditKey,
    *,
    at: float,
    request: str | None,
    actor: str,
    event: str,
    data: Mapping[str, Any],
) -> None:
    """Adds a record with the proof of who wrote it, in the caller's transaction. `at` is in epoch seconds."""
    seq, moment = _next_seq(connection), float(at)
    mac = key.mac(seq, moment, request, actor, event, as_read(data))
    row = {"seq": seq, "at": moment, "request": request, "actor": actor, "event": event, "data": dict(data)}
    connection.execute(sa.insert(tables.audit).values(**row, mac=mac))


def _next_seq(connection: sa.Connection) -> int:
    """The place of the next record, which its mac covers. On SQLite the transaction that writes is the only one; on
    PostgreSQL the sequence gives each place once, with gaps where a transaction is rolled back."""
    if connection.dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence("audit", "seq")
        return int(connection.scalar(sa.select(sa.func.nextval(sequence))) or 0)
    return int(connection.scalar(sa.select(sa.func.max(COLUMNS.seq))) or 0) + 1


def read(connection: sa.Connection, query: sa.Select[Any]) -> Generator[Record, None, None]:
    """The records of a query over STORED, page by page."""
    with _lenient(connection):
        for row in connection.execute(query.execution_options(yield_per=PAGE)):
            yield Record(**row._mapping)


def numbered() -> sa.Select[Any]:
    """What has a number, in that order."""
    return sa.select(*STORED).where(COLUMNS.number.is_not(None)).order_by(COLUMNS.number, COLUMNS.seq)


def waiting() -> sa.Select[Any]:
    """What waits for a number, in the order of the table."""
    return sa.select(*STORED).where(COLUMNS.number.is_(None)).order_by(COLUMNS.seq)


@contextmanager
def _lenient(connection: sa.Connection) -> Iterator[None]:
    """Has SQLite give text that is not UTF-8 as it is: one such value must not keep the rest from being read."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.dbapi_connection
    before, raw.text_factory = raw.text_factory, lambda stored: stored.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        raw.text_factory = before
