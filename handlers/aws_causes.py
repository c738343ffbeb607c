"""AWS's error texts, as they stand in conditions of machines and networks: what they mean and what to do.

The table is `handlers.aws_rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from handlers.aws_rules import RULES

WORDS = 500
"""How many characters of AWS's own words are shown."""
READ = 8_000
"""How many characters of a message are looked at: a controller may join the errors of many machines."""

NOISE = re.compile(
    r"\bEncoded authorization failure message: *\S+"
    r"|,?\s*\bhttps? response error(?= StatusCode)"
    r"|,?\s*\bstatus ?code: *[0-9]+"
    r"|,?\s*\brequest ?id: *[0-9a-z-]*,?",
    re.IGNORECASE,
)
"""The parts of an error that differ from call to call, or say nothing to people (the AWS SDK for Go, versions 1, 2)."""
CODE = re.compile(r"\b(?!AWSCluster)(?:[A-Z][a-z]+\.)?[A-Z][A-Za-z]{4,}(?:\.[A-Z][A-Za-z]+)?: ")
"""Where AWS's words begin: its error code, which is no kind of the provider's objects."""
WRAPPERS = re.compile(r"(?:failed to [^:]{0,80}: )+")
"""What the provider puts before an error on its way up."""
PATTERNS = tuple((rule, re.compile(rule.pattern, re.IGNORECASE | re.DOTALL)) for rule in RULES)


@dataclass(frozen=True)
class Cause:
    """Why AWS refused. `code` is AWS's, or a name of ours where AWS gives none; `aws` its own words without call ids;
    `means` and `fix` are sentences for people. `passes` when trying again by itself can be enough."""

    code: str
    aws: str
    means: str
    fix: str
    passes: bool


def cause_of(message: str) -> Cause | None:
    """What AWS's words in a condition's message mean, and what to do; None where they are not in the table."""
    for rule, pattern in PATTERNS:
        if pattern.search(message[:READ]):
            return Cause(rule.code, aws_words(message), rule.means, rule.fix, rule.passes)
    return None


def aws_words(message: str) -> str:
    """AWS's own words out of a message: from its error code on, without call ids, at most 500 characters."""
    clean = " ".join(NOISE.sub(" ", message[:READ]).split()).strip(" ,;")
    start = CODE.search(clean)
    return clipped(clean[start.start() :] if start else WRAPPERS.sub("", clean, count=1), WORDS)


def clipped(words: str, limit: int) -> str:
    """The words in one line, cut at `limit` characters."""
    line = " ".join(words.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
