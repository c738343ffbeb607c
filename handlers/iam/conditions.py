"""Conditions of IAM statements, evaluated with three answers: met (True), not met (False) and not known (None).

Not known are operators and values that this module does not read (numbers, dates, networks, policy variables) and keys
that the caller of this module says nothing about. Source: IAM User Guide, "IAM JSON policy elements: Condition
operators", "Creating a condition with multiple keys or values" and "Multivalued context keys".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from handlers.iam.sentences import elements

Context = Mapping[str, str | tuple[str, ...] | None]
"""What is known of a request, by condition key: its value or values, or None when the request surely has no such key.
A key that is missing here is not known. Values in a tuple are those of a multivalued key."""
Answer = bool | None
VARIABLE = "${"
ARN_PARTS = 6


def all_of(answers: Iterable[Answer]) -> Answer:
    """Met when all are; not met when one surely is not."""
    found = list(answers)
    return False if False in found else None if None in found else True


def any_of(answers: Iterable[Answer]) -> Answer:
    """Met when one surely is; not met when none is."""
    found = list(answers)
    return True if True in found else None if None in found else False


def opposite(answer: Answer) -> Answer:
    """Not known stays not known."""
    return None if answer is None else not answer


def like(pattern: str, value: str) -> bool:
    """Does the whole value fit the pattern? `*` is anything, `?` one character, and nothing else is special."""
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def arn_like(pattern: str, value: str) -> Answer:
    """Does an ARN fit a pattern, each of its six parts for itself?"""
    parts, wanted = value.split(":", ARN_PARTS - 1), pattern.split(":", ARN_PARTS - 1)
    if len(wanted) < ARN_PARTS:
        return None
    return len(parts) == ARN_PARTS and all(like(want, part) for want, part in zip(wanted, parts, strict=True))


OPERATORS: dict[str, Callable[[str, str], Answer]] = {
    "stringequals": str.__eq__,
    "stringequalsignorecase": lambda wanted, value: wanted.lower() == value.lower(),
    "stringlike": like,
    "arnequals": arn_like,
    "arnlike": arn_like,
    "bool": lambda wanted, value: wanted.lower() == value.lower(),
}
"""What fits, by operator: the policy's value first, then the request's."""
NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
}


def met(condition: Any, context: Context) -> Answer:
    """Does a request with this context meet a statement's Condition? Every key of every operator has to fit."""
    if not isinstance(condition, Mapping):
        return None
    known = {key.lower(): value for key, value in context.items()}
    return all_of(
        _met(operator, values, key.lower(), known)
        for operator, keys in condition.items()
        for key, values in (keys.items() if isinstance(keys, Mapping) else [("", None)])
    )


def _met(operator: str, value: Any, key: str, known: Context) -> Answer:
    quantifier, _, name = operator.lower().rpartition(":")
    bare = name.removesuffix("ifexists")
    wanted = [_text(item) for item in elements(value)]
    if key not in known or not wanted or quantifier not in ("", "forallvalues", "foranyvalue"):
        return None
    found = known[key] if known[key] != () else None
    if operator.lower() == "null":
        return any_of(_absent(want, found is None) for want in wanted)
    positive = NEGATED.get(bare, bare)
    if positive not in OPERATORS or (isinstance(found, tuple) and not quantifier):
        return None
    if found is None:
        return bare != name or quantifier == "forallvalues" or (bare in NEGATED and not quantifier)
    fits = [_fits(positive, wanted, one) for one in ((found,) if isinstance(found, str) else found)]
    answers = [opposite(answer) if bare in NEGATED else answer for answer in fits]
    return all_of(answers) if quantifier == "forallvalues" else any_of(answers)


def _absent(wanted: str | None, absent: bool) -> Answer:
    known = {"true": absent, "false": not absent}
    return known.get(wanted.lower()) if wanted is not None else None


def _fits(operator: str, wanted: list[str | None], value: str) -> Answer:
    return any_of(None if want is None or VARIABLE in want else OPERATORS[operator](want, value) for want in wanted)


def _text(value: Any) -> str | None:
    """IAM reads `true` and `5` as "true" and "5"; None for what no condition compares with."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None
