"""One claimed row of the outbox, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One claimed row."""

    key: str
    kind: str
    request: str | None
    channel: str
    person: str | None
    url: str | None
    thread: str | None
    body: dict[str, Any] | None
    wanted: int
    ts: str | None
    attempts: int
    root: str | None
    created: float
    expires: float | None
    repeated: bool

    @property
    def is_edit(self) -> bool:
        """An edit of a known card: it need not wait for the thread, nor the thread for it."""
        return self.kind == "card" and self.ts is not None

    @property
    def lane(self) -> str:
        """What goes one after the other: the messages of a request; the parts of one answer. Edits and nudges hold up
        nobody."""
        alone = self.is_edit or self.kind == "nudge"
        return self.key if alone else self.request or self.key.partition("#")[0]

    @property
    def pace(self) -> str:
        """What Slack's rate limit counts together: posts to a channel, edits, or looks at a channel's history."""
        return "edit" if self.is_edit else "nudge" if self.kind == "nudge" else f"post {self.channel}"


@dataclass(frozen=True)
class Sent:
    """Where a message is now, and whether it may stand there twice."""

    channel: str
    ts: str
    repeated: bool = False
