"""How a container goes: what its process does at this moment, as far as the kubelet can see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Course:
    """`state` is unpullable, running, ready or ended; `log` is all that it has written so far."""

    state: str
    log: str = ""
    code: int = 0
    problem: str = ""


def running(log: str = "") -> Course:
    """Its process runs and its probe says no yet."""
    return Course("running", log)


def ready(log: str = "") -> Course:
    return Course("ready", log)


def ended(code: int = 0, log: str = "") -> Course:
    return Course("ended", log, code)


def unpullable(problem: str) -> Course:
    """The container runtime's own words for why."""
    return Course("unpullable", problem=problem)
