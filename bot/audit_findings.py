"""What the audit is checked against and what comes out, with the words for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from bot.audit import Head, Record

Kind = Literal["changed", "removed", "added", "reordered", "cut off", "exchanged", "unsealed"]


@dataclass(frozen=True)
class Claim:
    """A head as it was written down outside the database. `seal` may be its beginning only; `source` says where."""

    number: int
    seal: str
    source: str


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong, from which number on."""

    number: int
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Verdict:
    """What was found. `sealed` records have a true seal, of which the first `unproven` were written before there were
    seals; `waiting` ones have none yet; `unlisted` findings are not among `findings`."""

    findings: tuple[Finding, ...]
    unlisted: int
    sealed: int
    unproven: int
    waiting: int
    head: Head


def moment(at: object) -> str:
    """Epoch seconds as UTC."""
    try:
        return datetime.fromtimestamp(float(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return "an unknown time"


def name_of(record: Record, place: int | None = None) -> str:
    """A record by its number (or `place`, which its seal proves), its place in the table, request and event."""
    number = record.number if place is None else place
    start = "a record without a number" if number is None else f"number {shown(number)}"
    return f"{start} (seq {record.seq}, {shown(record.request or 'no request')}, {shown(record.event)})"


def shown(value: object) -> str:
    """A value that somebody may have chosen, for a terminal: no control characters, and not long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
