"""The one spelling that all IAM statements of a meaning share.

AWS gives a document back in another spelling than it was written: an account id becomes `arn:…:root`, a list of one
a bare value, and principals change their order (IAM User Guide, "IAM JSON policy elements reference" and "Grammar of
the IAM JSON policy language").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from handlers.iam.sentences import account_of, elements


def normal_statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    """A statement in the one spelling that all of its meaning share; elements that IAM does not know stay untouched."""
    found = {key: value for key, value in statement.items() if not (key == "Sid" and value == "")}
    for key in ("Action", "NotAction"):
        if key in found:
            names = elements(found[key])
            found[key] = _unique(name.lower() if isinstance(name, str) else name for name in names)
    for key in ("Resource", "NotResource"):
        if key in found:
            found[key] = _unique(elements(found[key]))
    for key in ("Principal", "NotPrincipal"):
        if key in found:
            found[key] = _principals(found[key])
    if "Condition" in found:
        found["Condition"] = _conditions(found["Condition"])
    return {key: value for key, value in found.items() if not (key == "Condition" and value == {})}


def _principals(value: Any) -> Any:
    if value == "*":
        return {"AWS": ["*"]}
    if not isinstance(value, Mapping):
        return value
    return {
        kind: _unique(_principal(item) if kind == "AWS" else item for item in elements(items))
        for kind, items in value.items()
    }


def _principal(item: Any) -> Any:
    """An account is its id: no partition holds an account of another, so the ARN says no more than that."""
    return (account_of(item) or item) if isinstance(item, str) else item


def _conditions(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        operator: {key: _unique(map(_word, elements(values))) for key, values in _lowered(keys).items()}
        if isinstance(keys, Mapping)
        else keys
        for operator, keys in _lowered(value).items()
    }


def _lowered(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keys in small letters, unless two would become one."""
    lowered = {key.lower(): value for key, value in mapping.items()}
    return lowered if len(lowered) == len(mapping) else mapping


def _word(value: Any) -> Any:
    """IAM reads `true` and `5` of a condition as "true" and "5"."""
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _unique(values: Iterable[Any]) -> list[Any]:
    found = {canonical(value): value for value in values}
    return [found[text] for text in sorted(found)]


def canonical(value: Any) -> str:
    """JSON in which equal values have equal texts, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
