"""sts:AssumeRole as AWS decides it; the emulator only mints the keys afterwards.

Sources: STS API reference "AssumeRole", IAM User Guide "Roles terms and concepts" (chaining), "Monitor and
control actions taken with assumed roles" (source identity), "Cross-account policy evaluation logic".
"""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sandbox.aws import policy, wire
from sandbox.aws.policy import Call, Context, Principal
from sandbox.aws.wire import Answer, Refusal, Request

NAMES = {
    "RoleSessionName": r"[\w+=,.@-]{2,64}",
    "SourceIdentity": r"[\w+=,.@-]{2,64}",
    "ExternalId": r"[\w+=,.@:/-]{2,1224}",
}
EVERYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@dataclass(frozen=True)
class Role:
    """A role as AssumeRole sees it, which may be as it was a while ago."""

    arn: str
    account_id: str
    assume_role_policy_document: str
    max_session_duration: Any

    @classmethod
    def of(cls, role: Any, trust: str | None) -> Role | None:
        """None where the role is not there, or was not there yet."""
        if role is None or trust is None:
            return None
        return cls(role.arn, role.account_id, trust, role.max_session_duration)


def _session_policy(text: str) -> None:
    """The grammar that AWS checks on the way in ("Grammar of the IAM JSON policy language")."""
    if len(text) > 2_048:
        raise Refusal("PackedPolicyTooLarge", "Session policy is larger than 2,048 characters")
    try:
        entries = policy.as_list(policy.parse(text)["Statement"])
        well = bool(entries) and all(
            entry["Effect"] in ("Allow", "Deny")
            and "Principal" not in entry
            and "Resource" in entry
            and ("Action" in entry) != ("NotAction" in entry)
            for entry in entries
        )
    except (ValueError, TypeError, KeyError):
        well = False
    if not well:
        raise Refusal("MalformedPolicyDocument", "Syntax errors in policy.")


def validate(request: Request) -> None:
    """Everything that AWS refuses before it looks at any permission."""
    seconds = request.form.get("DurationSeconds", "3600")
    wrong = [
        name
        for name, pattern in NAMES.items()
        if (name in request.form or name == "RoleSessionName")
        and not re.fullmatch(pattern, request.form.get(name, ""), re.ASCII)
    ]
    if not seconds.isdigit() or not 900 <= int(seconds) <= 43_200:
        wrong.append("DurationSeconds")
    if wrong:
        raise Refusal(
            "ValidationError",
            f"1 validation error detected: Value '{request.form.get(wrong[0], '')}' at "
            f"'{wrong[0][0].lower()}{wrong[0][1:]}' failed to satisfy constraint",
        )
    if any(name.startswith("PolicyArns.") for name in request.form):
        raise Refusal("NotImplemented", "The sandbox knows no managed session policies", 501)
    if "Policy" in request.form:
        _session_policy(request.form["Policy"])


def authorise(request: Request, who: Principal, role: Any, base: Context) -> None:
    """The role's trust and the caller's own policies, for each action that this request amounts to.

    A source identity once set stays through a chain and cannot be changed.
    """
    arn, source = request.form.get("RoleArn", ""), request.form.get("SourceIdentity", who.source_identity)
    given = {
        "sts:externalid": request.form.get("ExternalId"),
        "sts:sourceidentity": source,
        "sts:rolesessionname": request.form.get("RoleSessionName"),
    }
    context = {**base, **{key: (value,) for key, value in given.items() if value is not None}}
    impossible = role is None or who.source_identity not in (None, source)
    asked = {"sts:AssumeRole": True, "sts:SetSourceIdentity": source, "sts:TagSession": request.tags}
    for action in [action for action, wanted in asked.items() if wanted]:
        reason = "" if impossible else _denial(Call(action, arn, context), who, role)
        if reason is not None:
            raise Refusal(
                "AccessDenied",
                f"User: {who.arn} is not authorized to perform: {action} on resource: {arn} {reason}".rstrip(),
                403,
            )
    seconds = int(request.form.get("DurationSeconds", "3600"))  # an instance's own role is the first hop of a chain
    if who.session and who.origin != "instance" and seconds > 3600:
        raise Refusal(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )
    if seconds > int(role.max_session_duration or 3600):
        raise Refusal(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )


def _denial(call: Call, who: Principal, role: Any) -> str | None:
    """In one account a trust that names the principal itself is enough; across accounts both sides must agree."""
    same = who.account == role.account_id
    trusted = policy.trust(policy.parse(role.assume_role_policy_document), call, who)
    if trusted in ("deny", "none"):
        why = {
            "deny": "with an explicit deny in a resource-based policy",
            "none": f"because no resource-based policy allows the {call.action} action",
        }
        return why[trusted] if same else ""  # AWS tells a stranger nothing of the role
    if same and trusted == "principal":
        who = replace(who, policies=(*who.policies, EVERYTHING))
    return policy.denial(call, who)


def own_session(role: Any, name: str, origin: str) -> tuple[tuple[str, str, str], Principal]:
    """Keys that an instance or a service account has of its own, and whom they stand for."""
    keys = (f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), secrets.token_urlsafe(60))
    arn = f"arn:aws:sts::{role.account_id}:assumed-role/{role.name}/{name}"
    return keys, Principal(arn, role.arn, role.account_id, session=name, token=keys[2], expires=math.inf, origin=origin)


def caller(request: Request, who: Principal, ident: str) -> Answer:
    """Whom the keys stand for; a session's id is its role's with its own name."""
    whole = f"{ident}:{who.session}" if who.session else ident
    return wire.result(request, {"Arn": who.arn, "UserId": whole, "Account": who.account})


def minted(request: Request, who: Principal, role: Any, answer: Answer) -> tuple[str, Principal, Answer]:
    """The new key, whom it stands for, and the answer with the SourceIdentity that the emulator leaves out."""
    source, text = request.form.get("SourceIdentity", who.source_identity), request.form.get("Policy")
    session = Principal(
        answer.element("Arn"),
        role.arn,
        role.account_id,
        session=request.form["RoleSessionName"],
        token=answer.element("SessionToken"),
        session_policy=policy.parse(text) if text else None,
        expires=datetime.fromisoformat(answer.element("Expiration")).timestamp(),
        source_identity=source,
    )
    end = b"</AssumeRoleResult>"
    extra = f"<SourceIdentity>{source}</SourceIdentity>".encode() if source else b""
    return answer.element("AccessKeyId"), session, replace(answer, body=answer.body.replace(end, extra + end))
