"""What a workflow may use to survive a crash. `bot.engine` provides it; `bot.work` uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Durable(Protocol):
    """Durable steps and sleeps. Everything else in a workflow must be deterministic."""

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """Runs `work` at least once and remembers its JSON result for good."""
        ...

    def sleep(self, seconds: float) -> None:
        """Waits, also over a restart."""
        ...


Flow = Callable[[Durable, str, int], None]
"""A workflow: (durable, request id, attempt number)."""
