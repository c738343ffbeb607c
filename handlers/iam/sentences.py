"""Statements of IAM documents in plain words.

Sids, principals and condition values are written by people of other accounts: what could be taken for words of ours,
or cannot be seen, is shown quoted and escaped, and nothing is ever cut short.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

PLAIN = re.compile(r"[A-Za-z0-9_+=,.@:/*?${}%~-]*[A-Za-z0-9_+=@/*}~-]")
OURS = {"and", "or", "to", "on", "is", "when", "always", "everybody", "nobody", "nothing", "except"}
"""Words of the sentences themselves: a value that is one of them is quoted."""
ARN = re.compile(r"arn:[a-z-]+:(?:iam|sts)::[0-9]{12}:[a-z-]+/.+|A(?:RO|ID)A[A-Z0-9]+")
ACCOUNT = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):root|([0-9]{12})")
WORDS = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
OPERATORS = {
    "stringequals": ("is", "is"),
    "stringnotequals": ("is not", "is none of"),
    "stringlike": ("is like", "is like"),
    "stringnotlike": ("is not like", "is like none of"),
    "arnequals": ("is like", "is like"),
    "arnlike": ("is like", "is like"),
    "arnnotequals": ("is not like", "is like none of"),
    "arnnotlike": ("is not like", "is like none of"),
    "bool": ("is", "is"),
}
"""Operators in words, for one value and for several. ArnEquals takes wildcards just as ArnLike does (IAM User Guide,
"IAM JSON policy elements: Condition operators")."""


def elements(value: Any) -> list[Any]:
    """What an element holds, where IAM allows a bare value in place of a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def account_of(principal: str) -> str | None:
    """The account that a principal stands for as a whole: `111122223333` or `arn:aws:iam::111122223333:root`."""
    found = ACCOUNT.fullmatch(principal)
    return found[1] or found[2] if found else None


def shown(value: Any) -> str:
    """A value as it can safely stand in a sentence: as it is, or quoted with everything unusual escaped."""
    plain = isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in OURS
    return str(value) if plain else json.dumps(value, sort_keys=True)


def named(statement: Mapping[str, Any], number: int) -> str:
    """How people find a statement in its document: by its Sid, or by its number, from 1."""
    sid = statement.get("Sid")
    return f"statement {shown(sid)}" if isinstance(sid, str) and sid else f"statement number {number}"


def sentence(statement: Mapping[str, Any]) -> str:
    """A statement in words: `allows sts:AssumeRole to … when sts:ExternalId is … (Sid Tkgbot111122223333)`."""
    parts = [_effect(statement), *_parts(statement)]
    if sid := statement.get("Sid"):
        parts.append(f"(Sid {shown(sid)})")
    others = {key: value for key, value in statement.items() if key not in WORDS}
    if others:
        parts.append(f"with {json.dumps(others, sort_keys=True)}")
    return " ".join(parts)


def _effect(statement: Mapping[str, Any]) -> str:
    effect = statement.get("Effect")
    known = {"Allow": "allows", "Deny": "denies"}
    return known[effect] if isinstance(effect, str) and effect in known else f"has the effect {shown(effect)} on"


def _parts(statement: Mapping[str, Any]) -> Iterator[str]:
    if "Action" in statement:
        yield _listed(statement["Action"])
    if "NotAction" in statement:
        yield f"every action except {_listed(statement['NotAction'])}"
    if "Principal" in statement:
        yield f"to {_principals(statement['Principal'])}"
    if "NotPrincipal" in statement:
        yield f"to everybody except {_principals(statement['NotPrincipal'])}"
    if "Resource" in statement:
        yield f"on {_listed(statement['Resource'])}"
    if "NotResource" in statement:
        yield f"on everything except {_listed(statement['NotResource'])}"
    if conditions := statement.get("Condition"):
        yield f"when {_conditions(conditions)}"


def _listed(value: Any) -> str:
    return ", ".join(shown(item) for item in elements(value)) or "nothing"


def _principals(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "everybody" if value == "*" else json.dumps(value)
    told = [_principal(kind, item) for kind, items in value.items() for item in elements(items)]
    return ", ".join(told) or "nobody"


def _principal(kind: str, item: Any) -> str:
    if kind == "AWS" and isinstance(item, str):
        if item == "*" or account_of(item):
            return "everybody" if item == "*" else f"{item} (the whole account)"
        return shown(item) if ARN.fullmatch(item) else json.dumps(item)
    words = {"Service": "the service", "Federated": "people of the identity provider"}
    return f"{words.get(kind, shown(kind))} {shown(item)}"


def _conditions(value: Any) -> str:
    if not isinstance(value, Mapping):
        return shown(value)
    told = [
        _condition(operator, key, values)
        for operator, keys in value.items()
        for key, values in (keys.items() if isinstance(keys, Mapping) else [("", keys)])
    ]
    return " and ".join(told) or "always"


def _condition(operator: str, key: str, value: Any) -> str:
    values = elements(value)
    if operator.lower() == "null" and values in (["true"], ["false"], [True], [False]):
        return f"{shown(key)} is {'absent' if values[0] in ('true', True) else 'there'}"
    told = " or ".join(shown(item) for item in values) or "nothing"
    if operator.lower() in OPERATORS:
        return f"{shown(key)} {OPERATORS[operator.lower()][len(values) > 1]} {told}"
    return f"{shown(key)} fits {shown(operator)} of {told}"
