"""IAM beside the emulator: documents that it refuses, what becomes of them, and the policy simulator.

Sources: IAM API reference "SimulatePrincipalPolicy", STS API reference "GetAccessKeyInfo", IAM User Guide
"Troubleshoot IAM: changes that I make are not always immediately visible".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.aws import documents, emulator, policy, wire
from sandbox.aws.faults import Faults
from sandbox.aws.policy import Call, Context, Held
from sandbox.aws.wire import Answer, Refusal, Request

CHANGING = ("cloudformation:ExecuteChangeSet", "cloudformation:CreateStack", "cloudformation:UpdateStack")
DECISIONS = {"allow": "allowed", "deny": "explicitDeny", "none": "implicitDeny"}


def changes(request: Request) -> bool:
    """Whether this request can change documents, itself or through a stack."""
    stack = (*CHANGING, "cloudformation:DeleteStack")
    return request.action in stack or (request.service == "iam" and request.mutating and not simulates(request))


def simulates(request: Request) -> bool:
    return request.action == "iam:SimulatePrincipalPolicy"


def resources(request: Request, account: str) -> list[str]:
    """As the request names them, with the paths that roles which are there have."""
    found = request.resources(account)
    if request.service == "iam" and "RoleName" in request.form and ":role/" in found[0]:
        known = emulator.named(account, "role", request.form["RoleName"])
        return [known.arn] if known else found
    return found


def context(request: Request, account: str) -> Context:
    """IAM's own condition keys. The boundary is the one that is to be set, else the one that the role has."""
    form = request.form
    role = emulator.named(account, "role", form["RoleName"]) if "RoleName" in form else None
    bound = form.get("PermissionsBoundary") or getattr(role, "permissions_boundary_arn", None)
    given = {"iam:policyarn": form.get("PolicyArn"), "iam:permissionsboundary": bound}
    return {key: (value,) for key, value in given.items() if value and request.service == "iam"}


def also(request: Request) -> list[str]:
    """What else a request does, for which there are permissions of their own."""
    return ["iam:TagRole"] if request.action == "iam:CreateRole" and request.tags else []


def passed(request: Request, account: str) -> list[Any]:
    """The roles that this request hands to instances."""
    form = request.form
    if request.action == "iam:AddRoleToInstanceProfile":
        role = emulator.named(account, "role", form.get("RoleName", ""))
        return [role] if role else []
    name = form.get("IamInstanceProfile.Name") if request.action == "ec2:RunInstances" else None
    profile = emulator.iam_backends[account]["aws"].instance_profiles.get(name) if name else None
    return list(profile.roles) if profile else []


def answer(request: Request, account: str, forward: Callable[[], Answer]) -> Answer:
    """One call of IAM, and what else AWS does with it."""
    documents.check(request, account)
    bound = request.form.get("PermissionsBoundary")
    if bound and emulator.managed(bound) is None:
        raise Refusal("NoSuchEntity", f"Scope ARN: {bound} does not exist or is not attachable.", 404)
    gone = _leaving(request, account)
    told = forward()
    if told.outcome != "ok":
        return told
    if request.action in documents.TRUST_ACTIONS:
        role = emulator.named(account, "role", request.form["RoleName"])
        role.assume_role_policy_document = documents.canonical(role.assume_role_policy_document)
    if gone:
        for role in emulator.all_roles():
            role.assume_role_policy_document = documents.without(role.assume_role_policy_document, *gone)
    return told


def _leaving(request: Request, account: str) -> tuple[str, str] | None:
    """The ARN and the unique id of the role or user that this request deletes."""
    kind = {"iam:DeleteRole": "role", "iam:DeleteUser": "user"}.get(request.action)
    name = request.form.get("RoleName") or request.form.get("UserName", "")
    known = emulator.named(account, kind, name) if kind else None
    return (known.arn, known.id) if known else None


def simulated(request: Request, faults: Faults, held: dict[str, Held]) -> Answer:
    """The decision for each action on each resource. `held` has everybody's documents as the simulator sees them."""
    source, form = request.form.get("PolicySourceArn", ""), request.form
    if any(name in form for name in ("ResourcePolicy", "PolicyInputList.member.1", "CallerArn")):
        raise Refusal("NotImplemented", "The sandbox simulates the policies that a principal has, no others", 501)
    if source not in held:
        raise Refusal("NoSuchEntity", f"The entity {source} cannot be found.", 404)
    given = _entries(form)
    places = wire.members(form, "ResourceArns") or ["*"]
    results = [
        _decision(Call(action, place, given), held[source], faults)
        for action in wire.members(form, "ActionNames")
        for place in places
    ]
    return wire.result(request, {"EvaluationResults": results, "IsTruncated": False})


def _entries(form: Mapping[str, str]) -> Context:
    entries = wire.records(form, "ContextEntries")
    return {
        entry["ContextKeyName"].lower(): tuple(
            value for name, value in entry.items() if name.startswith("ContextKeyValues.")
        )
        for entry in entries
    }


def _decision(call: Call, own: Held, faults: Faults) -> dict[str, Any]:
    verdict = DECISIONS[policy.decide(own.policies, call)]
    found: dict[str, Any] = {"EvalActionName": call.action, "EvalResourceName": call.resource}
    missing = sorted(policy.keys_needed(own.policies, call) - set(call.context))
    told: dict[str, Any] = {"MatchedStatements": [], "MissingContextValues": missing}
    if own.boundary is not None:
        within = policy.decide([own.boundary], call)
        told["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": within == "allow"}
        if verdict == "allowed":
            verdict = DECISIONS[within]
    if policy.any_action(faults.deny, call.action):
        detail = {"AllowedByOrganizations": False}
        return {**found, "EvalDecision": "explicitDeny", **told, "OrganizationsDecisionDetail": detail}
    return {**found, "EvalDecision": verdict, **told}


def key_info(request: Request, account: str | None) -> Answer:
    """The account that an access key belongs to."""
    if account is None:
        raise Refusal("ValidationError", "The access key is not known.")
    return wire.result(request, {"Account": account})
