"""Whether a condition makes the circle of those whom a statement lets in smaller.

Source: IAM User Guide, "AWS global condition context keys"; what of them says who the caller is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handlers.iam.sentences import elements

EXTERNAL_ID = ("sts:externalid",)
ACCOUNT = (*EXTERNAL_ID, "aws:principalarn", "aws:userid", "aws:principaltag/")
"""Conditions on these keys leave less of an account than the whole."""
ALL = ("aws:principalarn", "aws:principalaccount", "aws:principalorg", "aws:userid", "aws:source")
"""Conditions on these keys leave a known circle of everybody. An external id is no secret and everybody can tag their
own roles, so those do not."""
POSITIVE = ("stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike")


def narrowed(statement: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    """Is there a condition on one of the keys that asks for a value, and not for just any?"""
    condition = statement.get("Condition")
    return isinstance(condition, Mapping) and any(
        operator.lower().removeprefix("foranyvalue:") in POSITIVE
        and key.lower().startswith(keys)
        and all(_narrow(value) for value in elements(values))
        for operator, asked in condition.items()
        if isinstance(asked, Mapping)
        for key, values in asked.items()
    )


def _narrow(value: Any) -> bool:
    """An ARN of any account leaves everybody in: anybody can give a role that name."""
    if not isinstance(value, str) or not value.strip("*?"):
        return False
    parts = value.split(":", 5)
    return not value.startswith("arn:") or (len(parts) == 6 and not set("*?") & set(parts[4]))
