"""A database of an earlier version is brought up to date at the start, and keeps what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import tables
from bot.store import Store

ADDED = [("requests", "undoes"), ("votes", "reason"), ("outbox", "thread")]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_columns_that_came_later_are_added(database: str, tmp_path: Path, new_database: Callable[[], str]) -> None:
    url = new_database() if database == "postgres" else None
    store = Store(tmp_path, url)
    vote = {"request": "r-1", "plan_no": 1, "person": "U1", "fingerprint": "f", "approve": True, "at": 1.0}
    store.write(lambda connection: connection.execute(sa.insert(tables.votes).values(vote)))

    def earlier(connection: sa.Connection) -> None:
        for table, column in ADDED:
            for index in sa.inspect(connection).get_indexes(table):
                if column in index["column_names"]:
                    connection.exec_driver_sql(f'DROP INDEX "{index["name"]}"')
            connection.exec_driver_sql(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')

    store.write(earlier)
    store.close()
    later = Store(tmp_path, url)
    for table, column in ADDED:
        known = later.read(lambda connection, table=table: sa.inspect(connection).get_columns(table))  # type: ignore[misc]
        assert column in {item["name"] for item in known}
    indexes = later.read(lambda connection: sa.inspect(connection).get_indexes("requests"))
    assert ["undoes"] in [index["column_names"] for index in indexes]
    row = later.read(lambda connection: connection.execute(sa.select(tables.votes)).one())
    assert (row.person, row.approve, row.reason) == ("U1", True, None)
    later.close()
