"""How long something is waited for: what passes, and others' work. Pure but for the durable steps that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.durable import Durable

Verdict = dict[str, Any]
"""What a durable step says: `after` (seconds) where it is to be looked at again, with a `note` that says why; then also
`progress` and `patience` where others are at work. Anything else ends the waiting."""
LONGEST_PAUSE = 15.0
HARD_STOP = 3
"""So many times its patience a step waits at most, however much moves."""


def until(durable: Durable, name: str, work: Callable[[], Verdict], patience: float | None) -> Verdict:
    """Repeats a durable step while it says `after`, with growing pauses, for at most `patience` seconds in all.

    A verdict with `progress` waits for others' work: it has a patience of its own, which begins anew whenever its
    progress is another, but three times the longest only (as `tanzu cluster create` ends, TKG's clusterclient.go). What
    passes in between (nobody answers) is given `patience` each time.
    """
    waited, still, lost, pause, longest, last = 0.0, 0.0, 0.0, 0.0, 0.0, ""
    while True:
        verdict: Verdict = durable.step(name, work)
        if "after" not in verdict:
            return verdict
        if "progress" in verdict:
            lost = 0.0
            longest = max(longest, verdict["patience"])
            if verdict["progress"] != last:
                last, still, pause = verdict["progress"], 0.0, 0.0
            if still >= verdict["patience"] or waited >= HARD_STOP * longest:
                return verdict
        elif patience is not None and lost >= patience:
            return verdict
        pause = min(max(verdict["after"], 2 * pause), LONGEST_PAUSE)
        durable.sleep(pause)
        waited, lost = waited + pause, lost + pause
        still += pause if "progress" in verdict else 0.0  # while nobody answers, nobody knows whether anything moves
