"""Until when versions of Kubernetes are supported by those who make it.

Source: kubernetes.io/releases/patch-releases, "Support Period" and the ends of life listed there; each minor is
maintained for about fourteen months. Distributions have dates of their own, so the settings can say others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

SUPPORTED_UNTIL: Mapping[str, date] = {
    "1.30": date(2025, 6, 28),
    "1.31": date(2025, 10, 28),
    "1.32": date(2026, 2, 28),
    "1.33": date(2026, 6, 28),
    "1.34": date(2026, 10, 27),
    "1.35": date(2027, 2, 28),
}
"""By minor. Older ones are out of support, newer ones are not judged."""
SOON = timedelta(days=60)


def ended(version: str, now: float, said: Mapping[str, date]) -> str:
    """A sentence where a version is out of support, or soon will be; else nothing. `said` is what the settings say."""
    match = re.match(r"v?(1\.\d+)(?:\.|$)", version)
    if match is None:
        return ""
    minor, today = match[1], datetime.fromtimestamp(now, UTC).date()
    ends = {**SUPPORTED_UNTIL, **said}.get(minor)
    if ends is None:
        oldest = min(SUPPORTED_UNTIL, key=_number)
        return f"Kubernetes {minor} is out of support." if _number(minor) < _number(oldest) else ""
    if ends < today:
        return f"Kubernetes {minor} is out of support since {ends.isoformat()}."
    return f"Kubernetes {minor} is supported until {ends.isoformat()} only." if ends - today <= SOON else ""


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])
