"""Whether this machine is ready for the bot: data directory, database, audit, time zones. Changes nothing."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from bot import anchor, audit_rows
from bot.audit_check import Checker
from bot.audit_findings import Claim
from bot.audit_key import audit_key
from bot.audit_look import looking
from bot.config import ConfigError, Secrets
from handlers.contract import Check

CONNECT_SECONDS = 5
OLDEST_POSTGRES, OLDEST_SQLITE = 13, (3, 35)
"""PostgreSQL 12 gets no more repairs; SQLite knows RETURNING from 3.35 on (sqlite.org/lang_returning.html)."""


def data_directory(secrets: Secrets) -> list[Check]:
    """Where the bot writes: the directory on SQLite, the audit's anchor always."""
    check, title = "data", "Data directory"
    folder = secrets.data if secrets.database_url is None else secrets.anchor.parent
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return [_block(check, title, f"{there} is no directory.", "Set TKGBOT_DATA to one that can be written.")]
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"Let the bot's user (uid {os.getuid()}) write {there}, or set TKGBOT_DATA to another."
        return [_block(check, title, f"{there} cannot be written.", fix)]
    if there != folder:
        return [_pass(check, title, f"{folder} is made at the first start.")]
    return [_pass(check, title, f"{folder} can be written.")]


def database(secrets: Secrets) -> list[Check]:
    """Reached, new enough, writable, and not in the hands of another process."""
    return _sqlite(secrets.data) if secrets.database_url is None else _postgres(secrets.database_url)


def _sqlite(folder: Path) -> list[Check]:
    title, path, lock = "Database: SQLite", folder / "tkgbot.db", folder / "tkgbot.lock"
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        fix = "Use a Python that was built with a newer SQLite, such as that of the image."
        return [_block("database", title, f"SQLite {sqlite3.sqlite_version} is too old.", fix)]
    if not path.exists():
        return [_pass("database", title, f"{path} is made at the first start (SQLite {sqlite3.sqlite_version}).")]
    if not os.access(path, os.R_OK | os.W_OK):
        fix = f"Let the bot's user (uid {os.getuid()}) read and write it."
        return [_block("database", title, f"{path} cannot be written.", fix)]
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=CONNECT_SECONDS) as connection:
            (count,) = connection.execute("SELECT count(*) FROM requests").fetchone()
    except sqlite3.Error as error:
        fix = "Put back a copy of it, or point TKGBOT_DATA to the right directory."
        return [_block("database", title, f"{path} cannot be read ({error}).", fix)]
    if _is_locked(lock):
        fix = (
            "Leave it so if that is your bot. A second one needs another TKGBOT_DATA, or PostgreSQL to share the work."
        )
        evidence = f"A running tkgbot holds {path}: another one on it would not start."
        return [Check(id="database", title=title, result="warn", evidence=evidence, fix=fix)]
    return [_pass("database", title, f"{path}, {count} requests (SQLite {sqlite3.sqlite_version}).")]


def _is_locked(path: Path) -> bool:
    """Tries for a shared lock, for no longer than that takes: whoever runs has an exclusive one."""
    try:
        with path.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _postgres(url: str) -> list[Check]:
    title = "Database: PostgreSQL"
    try:
        engine = sa.create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS}, poolclass=sa.NullPool)
        where = f"{engine.url.host or 'the local socket'}/{engine.url.database}"
        with engine.connect() as connection:
            number = int(connection.scalar(sa.text("SHOW server_version_num")) or 0)
            standby = connection.scalar(sa.text("SELECT pg_is_in_recovery()"))
            makes = connection.scalar(sa.text("SELECT has_schema_privilege(current_schema(), 'CREATE')"))
            new = connection.scalar(
                sa.text(
                    "SELECT has_database_privilege(current_database(), 'CREATE') OR to_regnamespace('dbos') IS NOT NULL"
                )
            )
    except (sa.exc.DBAPIError, sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
        why = str(getattr(error, "orig", "") or type(error).__name__).strip().splitlines()[0]
        fix = "See that it runs, that this machine gets there, and that TKGBOT_DATABASE_URL is right."
        return [_block("database", title, f"It cannot be reached ({why}).", fix)]
    if standby:
        return [_block("database", title, f"{where} is a standby: nothing can be written.", "Name the primary.")]
    if number < OLDEST_POSTGRES * 10_000:
        fix = f"Upgrade it to PostgreSQL {OLDEST_POSTGRES} or later."
        return [_block("database", title, f"{where} is PostgreSQL {number // 10_000}.", fix)]
    if not (makes and new):
        fix = "GRANT CREATE ON DATABASE … and ON SCHEMA public … TO the bot's user: it makes its own tables and schema."
        return [_block("database", title, f"The bot's user may not make tables in {where}.", fix)]
    return [_pass("database", title, f"{where}, PostgreSQL {number // 10_000}, writable.")]


def audit(secrets: Secrets) -> list[Check]:
    """The key is there, and the newest part of the chain is whole."""
    title = "Audit: key and chain"
    is_new = secrets.database_url is None and not (secrets.data / "tkgbot.db").exists()
    if is_new and secrets.audit_key is None and not (secrets.data / "audit.key").exists():
        return [_pass("audit", title, "The key is made at the first start. Keep a copy of it elsewhere then.")]
    try:
        key = audit_key(secrets)
        lines = anchor.read(secrets.anchor, key)
        if is_new:
            return [_pass("audit", title, "The key is there; nothing was recorded yet.")]
        with looking(secrets) as connection:
            if "audit" not in sa.inspect(connection).get_table_names():
                return [_pass("audit", title, "The key is there; nothing was recorded yet.")]
            claims = [Claim(line.head.number, line.head.seal, "the anchor") for line in lines.lines]
            checker = Checker(key, claims, time.time(), gapless=connection.dialect.name == "sqlite")
            for record in audit_rows.read(connection, audit_rows.numbered()):
                checker.numbered(record)
            for record in audit_rows.read(connection, audit_rows.waiting()):
                checker.waiting(record)
            verdict = checker.end()
    except ConfigError as error:
        fix = "Set TKGBOT_AUDIT_KEY to the key with which it was written, or put the file back."
        return [_block("audit", title, " ".join(error.mistakes), fix)]
    except OSError as error:
        fix = "Let the bot read it (TKGBOT_AUDIT_ANCHOR)."
        return [_block("audit", title, f"{secrets.anchor} cannot be read ({error.strerror}).", fix)]
    if verdict.findings or lines.foreign:
        first = str(verdict.findings[0]) if verdict.findings else "the anchor has lines of another key"
        fix = "See all with `tkgbot audit verify`, and tell whoever looks after the audit before anything else."
        return [_block("audit", title, first, fix)]
    return [_pass("audit", title, f"{verdict.sealed} records sealed, and the chain is whole.")]


def time_zones(zones: tuple[str, ...]) -> list[Check]:
    """The time zones of the digests can be told here."""
    title = "Time zones"
    lacking: list[str] = []
    for zone in dict.fromkeys(("UTC", "Europe/Berlin", *zones)):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            lacking.append(zone)
    if lacking:
        fix = "Install the time zone data: the system's tzdata, or `pip install tzdata`."
        return [_block("zones", title, f"This machine does not know {', '.join(lacking)}.", fix)]
    return [_pass("zones", title, "The data is there.")]


def _pass(check: str, title: str, evidence: str) -> Check:
    return Check(id=check, title=title, result="pass", evidence=evidence)


def _block(check: str, title: str, evidence: str, fix: str) -> Check:
    return Check(id=check, title=title, result="block", evidence=evidence, fix=fix)
