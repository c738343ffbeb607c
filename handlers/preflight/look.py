"""What a look is: one thing to see in AWS, with the check that stands for it when it cannot be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from handlers.contract import AwsRead, Check
from handlers.preflight.layout import Layout

SHOWN = 5
"""How many resources one sentence names."""


@dataclass(frozen=True)
class Look:
    """`see` answers with checks, mostly one; `id` and `title` are those of the check when it cannot be seen. `own`
    marks what the cluster's own machines change as they come: it says nothing once the cluster has been begun."""

    id: str
    title: str
    see: Callable[[Layout, AwsRead], list[Check]]
    own: bool = False


def some(lines: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(lines[:SHOWN]) + more


def counted(count: int, word: str) -> str:
    """`1 machine`, `3 machines`."""
    return f"{count} {word}{'s' * (count != 1)}"
