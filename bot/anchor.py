"""The anchor: a file of heads of the audit, outside the database, so that a cut end and a database that was put back
are found. One JSON line each, with a proof of its own; on disk before anybody relies on it.

The file is made smaller now and then: what stays is the newest head, the last of each hour of the past month, and the
last of each day before.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from bot.audit import AuditKey, Head

MANY = 4_096
"""Lines that make the file worth rewriting."""
HOUR, DAY, MONTH = 3_600, 86_400, 31 * 86_400


@dataclass(frozen=True)
class Line:
    """A head, and when it was written down (epoch seconds)."""

    head: Head
    at: float


@dataclass(frozen=True)
class Content:
    """What stands in the file. `foreign` lines were not written with this key; a `torn` end is the rest of a line whose
    writing a crash interrupted."""

    lines: tuple[Line, ...] = ()
    foreign: int = 0
    torn: bool = False


class Anchor:
    """The file at `path`, as one process writes it."""

    def __init__(self, path: Path, key: AuditKey) -> None:
        self.path = path
        self.key = key
        found = read(path, key)
        self.foreign = found.foreign
        self.newest = max((line.head for line in found.lines), key=lambda head: head.number, default=None)
        self._count = len(found.lines) + found.foreign
        self._torn = found.torn

    def add(self, head: Head, at: float) -> None:
        """Writes a newer head down. Raises OSError."""
        if self._torn:
            _cut(self.path)
        if self._count >= MANY:
            self._shrink()
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._torn = True
        _write(self.path, os.O_APPEND, [self._text(Line(head, at))])
        self._torn = False
        if is_new:
            _sync(self.path.parent)
        self.newest = head
        self._count += 1

    def _shrink(self) -> None:
        lines = read(self.path, self.key).lines
        kept = thinned(lines)
        draft = self.path.with_name(f"{self.path.name}.new")
        _write(draft, os.O_TRUNC, [self._text(line) for line in kept])
        os.replace(draft, self.path)
        _sync(self.path.parent)
        self._count = len(kept)

    def _text(self, line: Line) -> str:
        proof = self.key.anchor(line.head, line.at)
        return json.dumps({"number": line.head.number, "seal": line.head.seal, "at": line.at, "mac": proof}) + "\n"


def read(path: Path, key: AuditKey) -> Content:
    """What stands in an anchor file; nothing where there is none. Raises OSError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Content()
    *whole, rest = text.split("\n")
    found = [_line(line, key) for line in whole if line]
    lines = tuple(line for line in found if line is not None)
    return Content(lines, foreign=len(found) - len(lines), torn=bool(rest))


def thinned(lines: tuple[Line, ...]) -> list[Line]:
    """The lines that are kept for good: see above. In the order of the file."""
    newest = max((line.at for line in lines), default=0.0)
    last: dict[tuple[int, int], Line] = {}
    for line in lines:
        span = HOUR if newest - line.at < MONTH else DAY
        last[span, int(line.at // span)] = line
    kept = {id(line) for line in last.values()}
    highest = max(lines, key=lambda line: line.head.number, default=None)
    return [line for line in lines if id(line) in kept or line is highest]


def _line(text: str, key: AuditKey) -> Line | None:
    try:
        found = json.loads(text)
        line = Line(Head(int(found["number"]), str(found["seal"])), float(found["at"]))
        return line if found["mac"] == key.anchor(line.head, line.at) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _cut(path: Path) -> None:
    """Takes away what stands after the last whole line."""
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _write(path: Path, how: int, lines: list[str]) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("".join(lines))
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
