"""Trust policies of roles: our statement, who may assume the role by the document alone, and what is risky in it.

Source: IAM User Guide, "Policy evaluation logic", "AWS JSON policy elements: Principal", "AWS global condition context
keys" and "IAM identifiers" (the prefixes of unique ids).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from handlers.iam.conditions import Answer, Context, all_of, any_of, met
from handlers.iam.documents import ASSUME, Document, Statement, statements
from handlers.iam.narrowing import ACCOUNT, ALL, EXTERNAL_ID, narrowed
from handlers.iam.permits import about
from handlers.iam.sentences import account_of, elements, named, shown

KNOWN = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Condition"}
OTHERS = ("Service", "Federated", "CanonicalUser")
"""Principals that are never a role or a user."""
GONE = re.compile(r"A(?:RO|ID)A[A-Z0-9]+")
"""The unique id of a role or a user. AWS shows it in place of the ARN when the principal was deleted."""
SESSION = re.compile(r"arn:[a-z-]+:sts::([0-9]{12}):assumed-role/([^/*?]+)/.*")


@dataclass(frozen=True)
class Caller:
    """Who wants to assume the role. `arn` is the IAM ARN of a role or a user, never that of a session."""

    arn: str
    account: str
    external_id: str | None
    partition: str


@dataclass(frozen=True)
class Verdict:
    """What a trust policy says to a caller. `why` names the statement that decides."""

    result: Literal["allows", "denies", "silent", "unknown"]
    why: str


def sid_of(management_account: str) -> str:
    """The Sid of the statement that lets the management account's controllers in. A Sid takes letters and digits."""
    return f"Tkgbot{management_account}"


def own_statement(
    *,
    sid: str,
    management_account: str,
    partition: str,
    principal_arn: str,
    external_id: str | None,
    whole_account: bool,
) -> Statement:
    """The statement that lets the controllers' principal in. The account is the principal and the exact role a
    condition, since AWS turns a deleted role that is named as principal into an id that nobody has again."""
    condition: dict[str, dict[str, str]] = {}
    if external_id:
        condition["StringEquals"] = {"sts:ExternalId": external_id}
    if not whole_account:
        condition["ArnEquals"] = {"aws:PrincipalArn": principal_arn}
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{management_account}:root"},
        "Action": ASSUME,
        **({"Condition": condition} if condition else {}),
    }


# -- who may assume the role -------------------------------------------------------------------------------------


def trusts(document: Document, caller: Caller, action: str = ASSUME) -> Verdict:
    """Does the trust policy let the caller in? A denial wins; what is not understood is `unknown`, never `allows`. The
    caller's own policies have to permit it as well when it is in another account."""
    context = _context(caller)
    found = [
        (there, named(there, number), _applies(there, caller, action, context))
        for number, there in enumerate(statements(document), start=1)
    ]
    who = f"{action} to {shown(caller.arn)}"
    for there, name, applies in found:
        if there.get("Effect") == "Deny" and applies:
            return Verdict("denies", f"{_first(name)} denies {who}.")
    for there, name, applies in found:
        if there.get("Effect") != "Allow" and applies is None:
            return Verdict("unknown", f"{_first(name)} could deny {who}: not all of it is understood here.")
    for there, name, applies in found:
        if there.get("Effect") == "Allow" and applies:
            return Verdict("allows", f"{_first(name)} allows {who}.")
    for there, name, applies in found:
        if there.get("Effect") == "Allow" and applies is None:
            return Verdict("unknown", f"{_first(name)} could allow {who}: not all of it is understood here.")
    return Verdict("silent", _silence(document, caller, action, who))


def _silence(document: Document, caller: Caller, action: str, who: str) -> str:
    for number, there in enumerate(statements(document), start=1):
        names = all_of((about(there, action), _names(there, caller)))
        if there.get("Effect") == "Allow" and names:
            return f"{_first(named(there, number))} names {shown(caller.arn)}, and its condition is not met."
    return f"No statement allows {who}."


def _first(name: str) -> str:
    return name[:1].upper() + name[1:]


def _context(caller: Caller) -> Context:
    """What is known of a call that a role or a user makes itself, not a service for it."""
    return {
        "sts:ExternalId": caller.external_id or None,
        "aws:PrincipalArn": caller.arn,
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalIsAWSService": "false",
        "aws:SourceAccount": None,
        "aws:SourceArn": None,
        "aws:SecureTransport": "true",
    }


def _applies(statement: Mapping[str, Any], caller: Caller, action: str, context: Context) -> Answer:
    return all_of(
        (
            True if KNOWN.issuperset(statement) and statement.get("Effect") in ("Allow", "Deny") else None,
            about(statement, action),
            _names(statement, caller),
            met(statement.get("Condition", {}), context),
        )
    )


def _names(statement: Mapping[str, Any], caller: Caller) -> Answer:
    """Is the caller among the statement's principals? NotPrincipal is not evaluated here."""
    if "NotPrincipal" in statement or "Principal" not in statement:
        return None
    principal = statement["Principal"]
    if not isinstance(principal, Mapping):
        return True if principal == "*" else None
    return any_of(_is(kind, item, caller) for kind, items in principal.items() for item in elements(items))


def _is(kind: str, item: Any, caller: Caller) -> Answer:
    if kind in OTHERS:
        return False
    if kind != "AWS" or not isinstance(item, str):
        return None
    if item in ("*", caller.arn, caller.account, f"arn:{caller.partition}:iam::{caller.account}:root"):
        return True
    if account_of(item) or GONE.fullmatch(item) or item.startswith(f"arn:{caller.partition}:iam::"):
        return None if "*" in item or "?" in item else False
    return _is_session(item, caller)


def _is_session(item: str, caller: Caller) -> Answer:
    """A session of another role is somebody else; whether the caller's session has the name asked is not known."""
    found = SESSION.fullmatch(item)
    other = found is not None and (found[1], found[2]) != (caller.account, caller.arn.rpartition("/")[2])
    return False if other else None


# -- what is risky -----------------------------------------------------------------------------------------------


def warnings(document: Document, account: str = "") -> tuple[str, ...]:
    """What people should know of a trust policy before they add to it, a sentence each. `account` is the one that the
    role is in, which may trust itself."""
    return tuple(
        line
        for number, there in enumerate(statements(document), start=1)
        for line in _warnings(there, _first(named(there, number)), account)
    )


def _warnings(statement: Statement, name: str, account: str) -> Iterator[str]:
    for item in (item for item in _aws(statement) if isinstance(item, str)):
        if GONE.fullmatch(item):
            yield f"{name} names {item}, a role or user that was deleted: nobody is it again. Name the new one."
        elif statement.get("Effect") != "Allow":
            continue
        elif item == "*" and not narrowed(statement, ALL):
            knows = " who knows the external id" if narrowed(statement, EXTERNAL_ID) else ""
            yield f"{name} is open to everybody{knows}, in every AWS account. Name the accounts or roles instead."
        elif account_of(item) not in (None, account) and not narrowed(statement, ACCOUNT):
            yield (
                f"{name} is open to the whole account {account_of(item)} without an external id. "
                "Add a condition on sts:ExternalId or aws:PrincipalArn."
            )
    if statement.get("Effect") == "Allow" and "NotPrincipal" in statement:
        yield f"{name} is open to everybody except those whom it names. Name whom it is for instead."


def _aws(statement: Statement) -> list[Any]:
    principal = statement.get("Principal", {})
    if isinstance(principal, Mapping):
        return elements(principal.get("AWS", []))
    return elements(principal)
