"""IAM policy evaluation, pure: documents and one request in, a verdict out.

Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators".
What this module does not know (an operator, a key, a policy variable, NotPrincipal) is read to the caller's
disadvantage, so that the sandbox never grants what AWS might refuse.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Document = Mapping[str, Any]
Context = Mapping[str, tuple[str, ...]]
KEYS = {
    "aws:tagkeys",
    "aws:requestedregion",
    "ec2:vpc",
    "sts:externalid",
    "sts:rolesessionname",
    "sts:sourceidentity",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:resourceorgid",
    "aws:resourceaccount",
    "aws:securetransport",
    "iam:awsservicename",
    "iam:passedtoservice",
    "iam:permissionsboundary",
    "iam:policyarn",
}


@dataclass(frozen=True)
class Call:
    """One action on one resource; the context's keys are lower case because IAM compares them so."""

    action: str
    resource: str
    context: Context


@dataclass(frozen=True)
class Held:
    """The documents of a role or user: its trust, which users have not, its policies and its permissions boundary."""

    trust: str | None = None
    policies: tuple[Document, ...] = ()
    boundary: Document | None = None


@dataclass(frozen=True)
class Principal:
    """A user, or a role through a session: then `arn` is the session's and `iam_arn` the role's.

    `origin` is where a session came from: somebody assumed the role, or it is an instance's or a service account's
    own, which renews itself.
    """

    arn: str = ""
    iam_arn: str = ""
    account: str = ""
    policies: tuple[Document, ...] = ()
    session: str | None = None
    token: str | None = None
    expires: float = 0.0
    session_policy: Document | None = None
    source_identity: str | None = None
    origin: str = "assumed"
    boundary: Document | None = None


@lru_cache(maxsize=512)
def parse(text: str) -> Document:
    """Policies are stored as text and read on every request."""
    document: Document = json.loads(text)
    return document


@lru_cache(maxsize=8192)
def _pattern(wildcard: str) -> re.Pattern[str]:
    return re.compile(re.escape(wildcard).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def like(wildcard: str, value: str) -> bool:
    return _pattern(wildcard).fullmatch(value) is not None


def _arn_like(wanted: str, have: str) -> bool:
    """Each part of an ARN is matched by itself: a * in one does not reach into the next."""
    left, right = wanted.split(":", 5), have.split(":", 5)
    return len(left) == len(right) and all(map(like, left, right))


def as_list(value: Any) -> list[Any]:
    """IAM writes a list of one as the bare element."""
    return value if isinstance(value, list) else [value]


def any_action(patterns: Any, action: str) -> bool:
    return any(like(str(entry).lower(), action.lower()) for entry in as_list(patterns))


def _same_bool(wanted: str, have: str) -> bool:
    return wanted.lower() == have


OPERATORS = {
    "StringEquals": str.__eq__,
    "Bool": _same_bool,
    "StringLike": like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
}  # "ArnEquals and ArnLike behave identically"


def _condition(operator: str, key: str, values: Any, call: Call) -> bool:
    """An unknown one raises LookupError. ForAllValues is true of an absent key, the others are false."""
    quantifier, _, plain = operator.rpartition(":")
    if operator == "Null":
        return (not call.context.get(key.lower())) == (str(as_list(values)[0]).lower() == "true")
    name, wanted, compare = key.lower(), [str(entry) for entry in as_list(values)], OPERATORS[plain]
    known = name in KEYS or name.startswith(("aws:requesttag/", "aws:resourcetag/"))
    fits = quantifier == ("ForAllValues" if name == "aws:tagkeys" else "")
    if not known or not fits or any("${" in entry for entry in wanted):
        raise LookupError(key)
    hits = [any(compare(entry, have) for entry in wanted) for have in call.context.get(name, ())]
    return all(hits) if quantifier else any(hits)


def _applies(entry: Document, call: Call) -> bool:
    """A trust policy has no Resource: it is about the role that it hangs on. NotResource is not known."""
    inverted, deny = "NotAction" in entry, entry["Effect"] == "Deny"
    if any_action(entry["NotAction"] if inverted else entry.get("Action", []), call.action) is inverted:
        return False
    places = entry.get("Resource", "*" if deny or "Principal" in entry else [])
    if not any(like(place, call.resource) for place in as_list(places)):
        return False
    try:
        return all(
            _condition(operator, key, values, call)
            for operator, keys in entry.get("Condition", {}).items()
            for key, values in keys.items()
        )
    except LookupError:
        return bool(deny)


def decide(documents: Iterable[Document], call: Call) -> str:
    """'deny' (explicit), 'allow' or 'none'."""
    effects = {
        entry["Effect"] for document in documents for entry in as_list(document["Statement"]) if _applies(entry, call)
    }
    return "deny" if "Deny" in effects else "allow" if "Allow" in effects else "none"


def keys_needed(documents: Iterable[Document], call: Call) -> set[str]:
    """The keys that the conditions of statements about this action ask for, in lower case."""
    return {
        key.lower()
        for document in documents
        for entry in as_list(document["Statement"])
        if any_action(entry.get("Action", []), call.action)
        for keys in entry.get("Condition", {}).values()
        for key in keys
    }


def denial(call: Call, who: Principal) -> str | None:
    """None if allowed, else the tail of AWS's message ("Troubleshoot access denied error messages")."""
    verdicts = {"an identity-based policy": decide(who.policies, call)}
    if who.boundary is not None:
        verdicts["a permissions boundary"] = decide([who.boundary], call)
    if who.session_policy is not None:
        verdicts["a session policy"] = decide([who.session_policy], call)
    for kind, verdict in sorted(verdicts.items(), key=lambda item: item[1]):  # deny comes first
        if verdict == "deny":
            return f"with an explicit deny in {kind}"
        if verdict == "none":
            return f"because no {kind.partition(' ')[2]} allows the {call.action} action"
    return None


def trust(document: Document, call: Call, who: Principal) -> str:
    """'deny', 'principal' (the caller itself is named), 'account' (its account is trusted) or 'none'."""
    found = set()
    for entry in as_list(document["Statement"]):
        principal = entry.get("Principal", "*" if entry["Effect"] == "Deny" else [])
        names = set(as_list(principal.get("AWS", []) if isinstance(principal, dict) else principal))
        itself = bool({"*", who.arn, who.iam_arn} & names)  # services are somebody else
        if (itself or {who.account, f"arn:aws:iam::{who.account}:root"} & names) and _applies(entry, call):
            found.add("deny" if entry["Effect"] == "Deny" else "principal" if itself else "account")
    return next((verdict for verdict in ("deny", "principal", "account") if verdict in found), "none")
