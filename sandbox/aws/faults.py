"""The switches that make this AWS worse than a good day of the real one."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.aws import quotas
from sandbox.aws.policy import any_action

HOLD_SECONDS = 600.0
"""A hold ends when its pattern is taken out; this is only so that nothing stays for good."""


@dataclass
class Faults:
    """All off. The integers count the strikes left, but for latency_ms; the lists are patterns of actions.

    `iam_lag` is how many calls that decide by IAM's documents still see them as they were before the last change,
    `throttle_iam` how many calls of IAM are throttled. `quota` has entries like L-1216C47A=4 (vCPUs), `no_capacity`
    patterns of instance types.
    """

    throttle: int = 0
    throttle_mutating: int = 0
    server_error: int = 0
    tag_lag_reads: int = 0
    iam_lag: int = 0
    throttle_iam: int = 0
    latency_ms: int = 0
    expired_credentials: bool = False
    bad_keys: bool = False
    lying_tags: bool = False
    unreachable: bool = False
    deny: list[str] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)
    hold_answer: list[str] = field(default_factory=list)
    quota: list[str] = field(default_factory=list)
    no_capacity: list[str] = field(default_factory=list)


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """All or nothing: a misspelt switch changes none. Whatever is empty resets."""
    defaults = asdict(Faults())
    for name, value in changes.items():
        if name not in defaults:
            raise ValueError(f"unknown fault switch: {name}")
        kind = type(defaults[name])
        fits = type(value) is kind and (kind is not int or value > 0)
        if value and not (fits and all(isinstance(entry, str) for entry in (value if kind is list else []))):
            raise ValueError(f"fault {name}: {value!r} will not do for a {kind.__name__}")
    quotas.parse(changes.get("quota") or [])
    return {name: value or defaults[name] for name, value in changes.items()}


class Switches:
    """Thread-safe access; every change wakes the requests that are being held."""

    def __init__(self) -> None:
        self.now = Faults()
        self.held: list[str] = []
        self.closed = False
        self._changed = threading.Condition()

    def set(self, changes: Mapping[str, Any], *, close: bool = False) -> None:
        checked = _checked(changes)
        with self._changed:
            vars(self.now).update(checked)
            self.closed = self.closed or close
            self._changed.notify_all()

    def take(self, name: str) -> bool:
        """One strike of a counted fault."""
        with self._changed:
            left: int = getattr(self.now, name)
            setattr(self.now, name, max(left - 1, 0))
            return left > 0

    def wait(self, name: str, action: str) -> None:
        """Holds the request until its pattern is taken out of the switch; `held` names the actions that wait."""
        with self._changed:
            if not any_action(getattr(self.now, name), action):
                return  # who passes is never counted: `held` is read without the lock
            self.held = sorted([*self.held, action])
            self._changed.wait_for(lambda: self.closed or not any_action(getattr(self.now, name), action), HOLD_SECONDS)
            left = self.held.copy()
            left.remove(action)
            self.held = left
