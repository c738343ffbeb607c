"""Reasons why something is not ready, in words for people, with AWS's own where there are any."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.aws_causes import cause_of, clipped
from handlers.cluster_waits import REASONS, Waits, bad
from handlers.conditions import Condition, Object, name_of, text

MESSAGE_LENGTH = 300


@dataclass(frozen=True)
class Reason:
    """A sentence that tells one reason; `failed` where it does not go on by itself."""

    sentence: str
    failed: bool = False


def waits(item: Object | None, wanted: Waits) -> list[Reason]:
    """What an object waits for, in the order of `wanted`."""
    return [reason(item, seen, what) for seen, what in bad(item, wanted)]


def reason(item: Object | None, seen: Condition, what: str) -> Reason:
    """A condition that is not as it should be, as a sentence: with AWS's cause where there is one."""
    cause = cause_of(seen.message)
    if cause:
        return Reason(f"{named(item)}: {cause.means} AWS says: {ended(cause.aws)}", seen.failed or not cause.passes)
    in_vain = " in vain" if seen.failed else ""
    return Reason(sentence(f"{named(item)} waits for {what}{in_vain}", said(seen)), seen.failed)


def named(item: Object | None) -> str:
    """An object by kind and name."""
    return f"{text(item, 'kind')} {name_of(item)}"


def said(seen: Condition) -> str:
    """A condition's own words, or what its reason means."""
    return ended(clipped(seen.message, MESSAGE_LENGTH) or REASONS.get(seen.reason, seen.reason))


def sentence(start: str, rest: str) -> str:
    """A sentence, with what was said behind it."""
    return f"{start}: {ended(rest)}" if rest else f"{start}."


def ended(words: str) -> str:
    """With a full stop, unless it has an end."""
    return words if not words or words.endswith((".", "…", "!", "?")) else f"{words}."
