"""Who calls, and the services that decide about it: sessions, STS, IAM, and what others do in a caller's name.

Sources: IAM User Guide "Troubleshoot access denied error messages", "Granting a user permissions to pass a role to an
AWS service".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sandbox.aws import emulator, iam, policy, sts
from sandbox.aws.faults import Switches
from sandbox.aws.policy import Call, Context, Held, Principal
from sandbox.aws.wire import Answer, Refusal, Request


def denied(request: Request, who: Principal, resource: str, reason: str) -> Refusal:
    """In the words of the service's protocol."""
    text = f"User: {who.arn} is not authorized to perform: {request.action} on resource: {resource} {reason}"
    if request.as_json:
        return Refusal("AccessDeniedException", text)
    if request.service != "ec2":
        return Refusal("AccessDenied", text, 403)
    return Refusal(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. {text}. Encoded authorization failure message: sandbox",
        403,
    )


def check_passed(request: Request, who: Principal, context: Context) -> None:
    """Whoever launches an instance hands it a role, which needs a permission of its own; so does whoever puts a role
    into an instance profile."""
    context = {**context, "iam:passedtoservice": ("ec2.amazonaws.com",)}
    for role in iam.passed(request, who.account):
        reason = policy.denial(Call("iam:PassRole", role.arn, context), who)
        if reason is not None:
            raise denied(replace(request, action="iam:PassRole"), who, role.arn, reason)


class Identities:
    """The sessions of one world. `forward` has the emulator answer a request in the caller's account."""

    def __init__(self, faults: Switches, forward: Callable[[Request, Principal], Answer]) -> None:
        self._faults, self._forward = faults, forward
        self._sessions: dict[str, Principal] = {}
        self._before: dict[str, Held] | None = None

    def caller(self, key: str) -> Principal | None:
        """A role's policies are read anew, since a change of them reaches its sessions too."""
        session = self._sessions.get(key)
        entity = emulator.role(session.iam_arn) if session else emulator.user(key)
        if entity is None:
            return None
        known = session or Principal(entity.arn, entity.arn, entity.account_id)
        return replace(known, policies=emulator.policies(entity), boundary=emulator.boundary(entity))

    def note(self, request: Request) -> None:
        """Keeps everybody's documents as they are before a request that can change them."""
        if iam.changes(request):
            self._before = emulator.held()

    def answer(self, request: Request, who: Principal, context: Context) -> Answer:
        """STS and IAM, which decide by documents that may still be the old ones."""
        if request.action == "sts:AssumeRole":
            return self._assume(request, who, context)
        if request.action == "sts:GetCallerIdentity":
            return sts.caller(request, who, emulator.entity(who.iam_arn).id)
        if request.action == "sts:GetAccessKeyInfo":
            return iam.key_info(request, self._account_of(request.form.get("AccessKeyId", "")))
        if iam.simulates(request):
            return iam.simulated(request, self._faults.now, self._seen())
        if request.service == "iam":
            check_passed(request, who, context)
            return iam.answer(request, who.account, lambda: self._forward(request, who))
        return self._forward(request, who)

    def own_session(self, role_arn: str, name: str, origin: str) -> tuple[str, str, str]:
        """Keys of a role for an instance ("instance") or a service account ("web identity"), which renew themselves."""
        keys, session = sts.own_session(emulator.role(role_arn), name, origin)
        self._sessions[keys[0]] = session
        return keys

    def expire(self) -> None:
        """Ends all sessions but those that renew themselves."""
        self._sessions = {
            key: replace(session, expires=0.0) if session.origin == "assumed" else session
            for key, session in self._sessions.items()
        }

    def _account_of(self, key: str) -> str | None:
        session, owner = self._sessions.get(key), emulator.user(key)
        return session.account if session else owner.account_id if owner else None

    def _seen(self) -> dict[str, Held]:
        """Everybody's documents, which may lag behind the last change of them."""
        if self._before is not None and self._faults.take("iam_lag"):
            return self._before
        return emulator.held()

    def _assume(self, request: Request, who: Principal, context: Context) -> Answer:
        sts.validate(request)
        arn, seen = request.form.get("RoleArn", ""), self._seen()
        role = sts.Role.of(emulator.role(arn), seen.get(arn, Held()).trust)
        sts.authorise(request, replace(who, policies=seen.get(who.iam_arn, Held()).policies), role, context)
        answer = self._forward(request, who)
        if answer.outcome == "ok":
            key, self._sessions[key], answer = sts.minted(request, who, role, answer)
        return answer
