"""`tkgbot audit export`: every record in order, as JSON lines that can be verified again, or as CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from bot import audit_rows
from bot.audit import Record
from bot.audit_findings import moment
from bot.audit_look import FIELDS, looking
from bot.audit_rows import COLUMNS
from bot.config import Secrets

RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", " ")
"""What a spreadsheet may take for the beginning of a formula (owasp.org/www-community/attacks/CSV_Injection)."""


def export(
    secrets: Secrets,
    *,
    request: str | None,
    since: datetime | None,
    until: datetime | None,
    form: Literal["jsonl", "csv"],
) -> int:
    """Writes the records to the standard output, in order: what has a number first. `since` is included, `until` not.
    Raises ConfigError where it cannot look."""
    wanted: list[sa.ColumnElement[bool]] = []
    wanted += [COLUMNS.request == request] if request is not None else []
    wanted += [COLUMNS.at >= since.timestamp()] if since is not None else []
    wanted += [COLUMNS.at < until.timestamp()] if until is not None else []
    out: Callable[[Record], None] = _csv() if form == "csv" else _jsonl
    with looking(secrets) as connection:
        for query in (audit_rows.numbered(), audit_rows.waiting()):
            for record in audit_rows.read(connection, query.where(*wanted)):
                out(record)
    return 0


def point_in_time(text: str) -> datetime:
    """An ISO 8601 date or time; UTC where it names no zone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _jsonl(record: Record) -> None:
    """One record as a JSON line, with everything that it takes to verify it."""
    line: dict[str, Any] = {name: getattr(record, name) for name in FIELDS}
    line["time"] = moment(record.at)
    try:
        line["data"] = record.meaning()
    except ValueError:
        line["data"] = None
    if json.dumps(line["data"]) != record.data:  # not as the bot writes it: the seal is over the very text
        line["data_text"] = record.data
    sys.stdout.write(json.dumps(line, default=repr) + "\n")


def _csv() -> Callable[[Record], None]:
    writer = csv.writer(sys.stdout)
    writer.writerow([*FIELDS, "time", "data"])

    def write(record: Record) -> None:
        values = [*(getattr(record, name) for name in FIELDS), moment(record.at), record.data]
        writer.writerow([_cell(value) for value in values])

    return write


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula."""
    if value is None or isinstance(value, int | float):
        return value
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(RISKY) else text
