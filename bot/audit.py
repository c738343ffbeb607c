"""What a record of the audit is and what proves it. Pure.

A record has two proofs, both HMAC-SHA256 (RFC 2104) with one key that the database does not hold:

- `mac`, made by whoever writes the record, in the transaction that made it happen: over its place in the table and all
  that it says. Without the key nobody can write a record, change one, or copy one to another place.
- `seal`, made shortly after by one sealer at a time: over the mac, the record's number (1, 2, 3 ... without gaps), the
  record as it is stored, byte for byte, and the seal before it. So no record can be taken away or moved, and the newest
  seal stands for the whole history before it.

A record carries the seal that it follows, so that it can be judged by itself, also where its neighbours are gone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHORTEST_KEY = 32
"""Characters; a random key of 64 hex digits has 256 bits."""
SHORTEST_SEAL = 16
"""Hex digits of a seal by which people may name it: 64 bits."""
WRITER = "tkgbot"
BEGAN = "sealing.began"
"""The record that ends what was written before there were seals: `unproven` is how many records that are."""
RESTORED = "database.restored"
"""The record that says that the database lost history: `had` is the anchored head, `has` the one that was found."""
TAMPERED = "tampering.found"
"""The record that says that others were not written with the key: `count`, and the `seqs` of the first of them."""


@dataclass(frozen=True)
class Head:
    """The end of a sealed history: the last number and its seal."""

    number: int
    seal: str


NOTHING = Head(0, "")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A row of the table `audit`. `data` is the JSON text as it is stored. SQLite lets a column hold any type, and
    somebody may have made use of that: whatever is done with a record must take every value."""

    seq: int
    at: float
    request: str | None
    actor: str
    event: str
    data: str
    mac: str | None = None
    number: int | None = None
    previous: str | None = None
    seal: str | None = None

    def meaning(self) -> Any:
        """`data` as JSON. Raises ValueError where it is none, or where a name stands twice in it."""
        if not isinstance(self.data, str):
            raise ValueError("not a text")
        try:
            return json.loads(self.data, object_pairs_hook=_without_repeats)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def details(self) -> dict[str, Any]:
        """`data` where it is a JSON object, else nothing."""
        try:
            found = self.meaning()
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class AuditKey:
    """The key, and everything that only its holder can do. Never printed."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return "AuditKey(...)"

    def mac(self, seq: int, at: float, request: str | None, actor: str, event: str, meaning: Any) -> str:
        """The proof of who wrote a record; `meaning` is its data as it will be read back."""
        return self._prove("record", seq, at, request, actor, event, meaning)

    def wrote(self, record: Record) -> bool:
        """True when the record says what the holder of the key wrote at this place."""
        try:
            meaning = record.meaning()
        except ValueError:
            return False
        mac = self.mac(record.seq, record.at, record.request, record.actor, record.event, meaning)
        return _same(record.mac, mac)

    def seal(self, record: Record, after: Head) -> Head:
        """The head of the history that ends with `record`, when it follows `after`."""
        number = after.number + 1
        stored = (record.seq, record.at, record.request, record.actor, record.event, record.data, record.mac)
        return Head(number, f"{number}:{self._prove('seal', number, after.seal, *stored)}")

    def place(self, record: Record) -> int | None:
        """The number that its seal proves, whatever its column `number` says; None where the seal proves nothing."""
        if not isinstance(record.seal, str) or not isinstance(record.previous, str):
            return None
        digits = record.seal.partition(":")[0]
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
            return None
        number = int(digits)
        return number if _same(record.seal, self.seal(record, Head(number - 1, record.previous)).seal) else None

    def anchor(self, head: Head, at: float) -> str:
        """The proof of a line of the anchor file."""
        return self._prove("anchor", head.number, head.seal, at)

    def _prove(self, *parts: Any) -> str:
        return hmac.new(self._secret, canonical(parts).encode("ascii"), hashlib.sha256).hexdigest()


def canonical(value: Any) -> str:
    """The one JSON text of a value: names in order, no spaces, ASCII only. What JSON cannot hold is named by its type,
    so that a value of a type that is never written equals nothing that is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_odd)


def as_read(data: Mapping[str, Any]) -> Any:
    """What will be read back of data that is stored as JSON: lists for tuples, text for every name."""
    return json.loads(json.dumps(dict(data)))


def _odd(value: Any) -> dict[str, str]:
    return {"type": type(value).__name__, "value": repr(value)}


def _same(found: object, wanted: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode("utf-8", "replace"), wanted.encode())


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
