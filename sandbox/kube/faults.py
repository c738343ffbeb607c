"""The switches that make this API server worse than a good day of the real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

HOLD_SECONDS = 600.0
"""A hold ends when its pattern is taken out; this is only so that nothing stays for good."""
LOOK_SECONDS = 0.05


@dataclass
class KubeFaults:
    """All off. The integers count the strikes left, but for latency_ms; patterns may have `*`.

    forbid: "verb group/resource", the core group empty ("list /secrets"). hold: "verb resource".
    deny_webhook: kinds. credentials_rotated: no token is known any more. certificate_changed: by another authority.
    Assigning a switch takes effect at once; of a list changed in place, within 50 ms.
    """

    unreachable: bool = False
    credentials_rotated: bool = False
    certificate_changed: bool = False
    throttle: int = 0
    server_error: int = 0
    gone_watches: int = 0
    latency_ms: int = 0
    forbid: list[str] = field(default_factory=list)
    deny_webhook: list[str] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        listener: Callable[[], None] | None = self.__dict__.get("_listener")
        if listener is not None:
            listener()

    def listen(self, callback: Callable[[], None]) -> None:
        """Calls back on every assignment of a switch."""
        self.__dict__["_listener"] = callback

    def set(self, changes: Mapping[str, Any]) -> None:
        """All or nothing: a misspelt switch changes none. Whatever is empty resets."""
        defaults = asdict(KubeFaults())
        for name, value in changes.items():
            if name not in defaults:
                raise ValueError(f"unknown fault switch: {name}")
            kind = type(defaults[name])
            fits = type(value) is kind and (kind is not int or value > 0)
            if value and not (fits and all(isinstance(entry, str) for entry in (value if kind is list else []))):
                raise ValueError(f"fault {name}: {value!r} will not do for a {kind.__name__}")
        for name, value in changes.items():
            setattr(self, name, value or defaults[name])

    def take(self, name: str) -> bool:
        """One strike of a counted fault."""
        left: int = getattr(self, name)
        object.__setattr__(self, name, max(left - 1, 0))
        return left > 0

    def forbids(self, verb: str, group: str, resource: str) -> bool:
        """Does a pattern of `forbid` fit?"""
        return any(fnmatchcase(f"{verb} {group}/{resource}", pattern) for pattern in self.forbid)

    async def wait(self, verb: str, resource: str) -> None:
        """Holds a request until no pattern fits any more."""
        end = time.monotonic() + HOLD_SECONDS
        while any(fnmatchcase(f"{verb} {resource}", pattern) for pattern in self.hold) and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
