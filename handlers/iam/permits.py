"""What a principal's own policies say to an action on a resource, as far as the documents alone tell.

Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Resource". Permissions boundaries,
service control policies and the other side's policies are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from handlers.iam.conditions import VARIABLE, Answer, Context, all_of, any_of, arn_like, like, met, opposite
from handlers.iam.documents import Document, statements
from handlers.iam.sentences import elements

Permission = Literal["allow", "deny", "none", "unknown"]
KNOWN = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
NOTHING: Context = MappingProxyType({})


def permits(documents: Sequence[Document], action: str, resource: str, context: Context = NOTHING) -> Permission:
    """Do these policies together permit the action? `context` is what is known of the request, by condition key;
    a condition on anything else is not known, and so is whatever is not understood."""
    found = [
        (there.get("Effect"), _applies(there, action, resource, context))
        for document in documents
        for there in statements(document)
    ]
    return _weighed(found)


def _weighed(found: Iterable[tuple[Any, Answer]]) -> Permission:
    """The outcome of statements, each an effect and whether it applies: a denial wins, and a doubt about one is told
    before any permission."""
    effects: dict[Any, set[Answer]] = {"Allow": set(), "Deny": set()}
    for effect, applies in found:
        known = isinstance(effect, str) and effect in effects
        effects[effect if known else "Deny"].add(applies if known or applies is False else None)
    for effect, outcome in (("Deny", "deny"), ("Allow", "allow")):
        if True in effects[effect]:
            return "deny" if outcome == "deny" else "allow"
        if None in effects[effect]:
            return "unknown"
    return "none"


def _applies(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> Answer:
    return all_of(
        (
            True if KNOWN.issuperset(statement) else None,
            about(statement, action),
            _on(statement, resource),
            met(statement.get("Condition", {}), context),
        )
    )


def about(statement: Mapping[str, Any], action: str) -> Answer:
    """Is the statement about this action?"""
    if ("Action" in statement) == ("NotAction" in statement):
        return None
    key = "Action" if "Action" in statement else "NotAction"
    fits = any_of(
        like(name.lower(), action.lower()) if isinstance(name, str) else None for name in elements(statement[key])
    )
    return fits if key == "Action" else opposite(fits)


def _on(statement: Mapping[str, Any], resource: str) -> Answer:
    if ("Resource" in statement) == ("NotResource" in statement):
        return None
    key = "Resource" if "Resource" in statement else "NotResource"
    fits = any_of(_covers(pattern, resource) for pattern in elements(statement[key]))
    return fits if key == "Resource" else opposite(fits)


def _covers(pattern: Any, resource: str) -> Answer:
    """A wildcard is documented to stay within a part of the ARN, except at its end: what would only fit otherwise is
    not known."""
    if not isinstance(pattern, str) or VARIABLE in pattern:
        return None
    if not like(pattern, resource):
        return False
    return True if pattern in ("*", resource) or arn_like(pattern, resource) else None
