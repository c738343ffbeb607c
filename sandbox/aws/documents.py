"""IAM's rules for documents: what it refuses to keep, and how it writes down what it keeps.

Sources: IAM User Guide "IAM and AWS STS quotas", "Grammar of the IAM JSON policy language", "AWS JSON policy
elements: Principal" (a principal must exist when the document is saved; one that is deleted later turns into its id).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from sandbox.aws import emulator
from sandbox.aws.policy import as_list
from sandbox.aws.wire import Refusal, Request

TRUST_LIMIT, MANAGED_LIMIT = 2_048, 6_144
INLINE_LIMITS = {"role": 10_240, "user": 2_048}
TRUST_ACTIONS = {"iam:CreateRole": "AssumeRolePolicyDocument", "iam:UpdateAssumeRolePolicy": "PolicyDocument"}
_ACCOUNT = re.compile(r"\d{12}|arn:aws:iam::(\d{12}):root")
_SESSION = re.compile(r"arn:aws:sts::(\d{12}):(assumed-role|federated-user)/.+")


def size(text: str) -> int:
    """White space does not count."""
    return len(re.sub(r"\s", "", text))


def check(request: Request, account: str) -> None:
    """Raises Refusal for a document that IAM would not keep."""
    if request.action in TRUST_ACTIONS:
        _check_trust(request.form.get(TRUST_ACTIONS[request.action], ""))
    elif request.action in ("iam:PutRolePolicy", "iam:PutUserPolicy"):
        _check_inline(request, account)
    elif request.action in ("iam:CreatePolicy", "iam:CreatePolicyVersion"):
        _check_managed(request.form.get("PolicyDocument", ""))


def _check_trust(text: str) -> None:
    for entry in _statements(text):
        if "Principal" not in entry and "NotPrincipal" not in entry:
            raise _malformed("Missing required field Principal")
        for name in _amazons(entry):
            if not _known(name):
                raise _malformed(f'Invalid principal in policy: "AWS":"{name}"')
    if size(text) > TRUST_LIMIT:
        raise _too_large(f"Cannot exceed quota for ACLSizePerRole: {TRUST_LIMIT}")


def _check_inline(request: Request, account: str) -> None:
    text, name = request.form.get("PolicyDocument", ""), request.form.get("PolicyName", "")
    _check_identity(text)
    kind = "role" if "RoleName" in request.form else "user"
    owner = request.form.get("RoleName") or request.form.get("UserName", "")
    entity = emulator.named(account, kind, owner)
    others = [held for known, held in (entity.policies.items() if entity else ()) if known != name]
    if sum(map(size, [*others, text])) > INLINE_LIMITS[kind]:
        raise _too_large(f"Maximum policy size of {INLINE_LIMITS[kind]} bytes exceeded for {kind} {owner}")


def _check_managed(text: str) -> None:
    _check_identity(text)
    if size(text) > MANAGED_LIMIT:
        raise _too_large(f"Cannot exceed quota for PolicySize: {MANAGED_LIMIT}")


def _check_identity(text: str) -> None:
    if any("Principal" in entry or "NotPrincipal" in entry for entry in _statements(text)):
        raise _malformed("Policy document should not specify a principal.")


def _statements(text: str) -> list[Any]:
    try:
        entries = as_list(json.loads(text)["Statement"])
    except ValueError:
        raise _malformed("This policy contains invalid Json") from None
    except (TypeError, KeyError):
        raise _malformed("Syntax errors in policy.") from None
    if not all(isinstance(entry, dict) for entry in entries):
        raise _malformed("Syntax errors in policy.")
    return entries


def _amazons(entry: Any) -> Iterator[str]:
    """The accounts, users, roles and sessions that a statement names."""
    principal = entry.get("Principal", {})
    for name in as_list(principal.get("AWS", []) if isinstance(principal, dict) else principal):
        yield str(name)


def _known(name: str) -> bool:
    account, session = _ACCOUNT.fullmatch(name), _SESSION.fullmatch(name)
    if name == "*":
        return True
    if account:
        return emulator.has_account(account[1] or name)
    if session:
        return emulator.has_account(session[1])
    return emulator.entity(name) is not None


def canonical(text: str) -> str:
    """An account's number becomes its root, and a list of one the bare element, as IAM gives documents back."""
    document = json.loads(text)
    for entry in as_list(document["Statement"]):
        principal = entry.get("Principal")
        if isinstance(principal, dict):
            entry["Principal"] = {kind: _bare(map(_root, as_list(names))) for kind, names in principal.items()}
    return json.dumps(document)


def _root(name: str) -> str:
    return f"arn:aws:iam::{name}:root" if re.fullmatch(r"\d{12}", name) else name


def _bare(names: Iterable[str]) -> Any:
    found = list(names)
    return found[0] if len(found) == 1 else found


def without(text: str, arn: str, ident: str) -> str:
    """The same after the principal `arn` is gone: its unique id stands in its place for ever."""
    quoted = json.dumps(arn)
    return text.replace(quoted, json.dumps(ident)) if quoted in text else text


def _malformed(message: str) -> Refusal:
    return Refusal("MalformedPolicyDocument", message)


def _too_large(message: str) -> Refusal:
    return Refusal("LimitExceeded", message, 409)
