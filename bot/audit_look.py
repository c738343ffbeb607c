"""The database as those see it who only look: no lock, no change, one state throughout. Works while the bot runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from bot.config import ConfigError, Secrets

FIELDS = ("number", "seq", "at", "request", "actor", "event", "mac", "previous", "seal")
"""A record's columns as they are exported, beside its data."""


@contextmanager
def looking(secrets: Secrets) -> Iterator[sa.Connection]:
    """One state of the database, for as long as it takes. Raises ConfigError."""
    engine = _sqlite(secrets.data / "tkgbot.db") if secrets.database_url is None else _postgresql(secrets.database_url)
    try:
        with engine.connect() as connection:
            if secrets.database_url is None:
                connection.exec_driver_sql("BEGIN")
            yield connection
    except sa.exc.DBAPIError as error:
        raise ConfigError("the environment", [f"the audit cannot be read ({error.orig})"]) from error
    finally:
        engine.dispose()


def _sqlite(path: Path) -> sa.Engine:
    if not path.exists():
        told = f"there is no database at {path}: set TKGBOT_DATA or TKGBOT_DATABASE_URL"
        raise ConfigError("the environment", [told])
    address = f"{path.resolve().as_uri()}?mode=ro"
    return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True, isolation_level=None))


def _postgresql(url: str) -> sa.Engine:
    engine = sa.create_engine(url, isolation_level="REPEATABLE READ")
    return engine.execution_options(postgresql_readonly=True)
