"""The WSGI gate: who calls, may they, is it sane, what does the weather do; then the emulator answers.

Sources: EC2 API reference "Error codes" and "CreateTags", EC2 User Guide "Tag your Amazon EC2 resources",
IAM User Guide "Troubleshoot access denied error messages".
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sandbox.aws import emulator, policy, sts, wire
from sandbox.aws.faults import Switches
from sandbox.aws.policy import Call, Context, Principal
from sandbox.aws.wire import Answer, Environ, Refusal, Request


def _denied(request: Request, who: Principal, resource: str, reason: str) -> Refusal:
    text = f"User: {who.arn} is not authorized to perform: {request.action} on resource: {resource} {reason}"
    if request.service != "ec2":
        return Refusal("AccessDenied", text, 403)
    return Refusal(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. {text}. Encoded authorization failure message: sandbox",
        403,
    )


def _check_tags(request: Request) -> None:
    """What the emulator lets pass and AWS does not. AWS documents the limits, not all of these words."""
    keys, values = [key for key, _ in request.tags], [value or "" for _, value in request.tags]
    rules = {
        "The maximum number of resources is 1000": len(request.targets) > 1000,
        "Tag keys starting with 'aws:' are reserved for internal use": any(
            key.lower().startswith("aws:") for key in keys
        ),
        "Tag key cannot be empty": "" in keys,
        "Tag key exceeds the maximum length of 128 characters": any(len(key) > 128 for key in keys),
        "Tag value exceeds the maximum length of 256 characters": any(len(value) > 256 for value in values),
        "Duplicate tag key specified": len(set(keys)) < len(keys),
    }
    for message in (message for message, broken in rules.items() if broken):
        raise Refusal("InvalidParameterValue", message)


class Gate:
    """One running AWS. moto is not made for threads, so one request at a time is inside it."""

    def __init__(self, forward: Callable[[Environ], Answer]) -> None:
        self._forward = forward
        self._inside, self._logging = threading.Lock(), threading.Lock()
        self._before: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
        self._sessions: dict[str, Principal] = {}
        self.faults = Switches()
        self.log: list[dict[str, Any]] = []

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        request = wire.read(environ)
        who = self._caller(request)
        answer = self._respond(request, who)
        self._record(request, who or Principal(), answer.outcome if answer else "ConnectionClosed")
        if answer is None or self.faults.closed:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError  # the server drops the connection without a word
        start(f"{answer.status} {answer.outcome}", [*answer.headers, ("Content-Length", str(len(answer.body)))])
        return [answer.body]

    def _caller(self, request: Request) -> Principal | None:
        """A role's policies are read anew, since a change of them reaches its sessions too."""
        session = self._sessions.get(request.access_key)
        entity = emulator.role(session.iam_arn) if session else emulator.user(request.access_key)
        policies = emulator.policies(entity) if entity else ()
        if session:
            return replace(session, policies=policies)
        return Principal(entity.arn, entity.arn, entity.account_id, policies) if entity else None

    def _respond(self, request: Request, who: Principal | None) -> Answer | None:
        """None is a broken connection."""
        time.sleep(self.faults.now.latency_ms / 1000)
        self.faults.wait("hold", request.action)
        if self.faults.now.unreachable or self.faults.closed:
            return None
        try:
            known = self._authentic(request, who)
            context = self._authorise(request, known)
            with self._inside:
                answer = self._answer(request, known, context)
        except Refusal as refusal:
            return wire.error(request, refusal)
        self.faults.wait("hold_answer", request.action)
        return answer

    def _authentic(self, request: Request, who: Principal | None) -> Principal:
        """EC2 has words of its own: AuthFailure, and RequestExpired also for credentials ("Error codes")."""
        ec2, now = request.service == "ec2", self.faults.now
        if self.faults.take("server_error"):
            raise Refusal("InternalError", "An internal error has occurred", 500)
        if who is None or now.bad_keys or request.environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != who.token:
            if ec2:
                raise Refusal("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
            raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        if who.session and (now.expired_credentials or who.expires <= time.time()):
            if ec2:
                raise Refusal("RequestExpired", "Request has expired.")
            raise Refusal("ExpiredToken", "The security token included in the request is expired", 403)
        if request.service != "sts" and (
            self.faults.take("throttle") or (request.mutating and self.faults.take("throttle_mutating"))
        ):
            raise Refusal("RequestLimitExceeded", "Request limit exceeded.", 503)
        return who

    def _authorise(self, request: Request, who: Principal) -> Context:
        """AssumeRole has rules of its own; GetCallerIdentity needs no permission and no policy can deny it."""
        resources = request.resources(who.account)
        if policy.any_action(self.faults.now.deny, request.action):
            raise _denied(request, who, resources[0], "with an explicit deny in a service control policy")
        context: dict[str, tuple[str, ...]] = {
            "aws:requestedregion": (request.region,),
            "aws:securetransport": ("true",),
            "aws:principalarn": (who.iam_arn,),
            "aws:principalaccount": (who.account,),
            "aws:tagkeys": tuple(key for key, _ in request.tags),
        }
        context |= {f"aws:requesttag/{key.lower()}": (value,) for key, value in request.tags if value is not None}
        zones = list(emulator.ec2_backends[who.account][request.region].subnets.values()) if request.tagging else []
        for resource in resources if request.service != "sts" else []:
            home, _, subnet = resource.partition(":subnet/")
            vpc = tuple(f"{home}:vpc/{zone[subnet].vpc_id}" for zone in zones if subnet in zone)
            reason = policy.denial(Call(request.action, resource, {**context, "ec2:vpc": vpc}), who)
            if reason is not None:
                raise _denied(request, who, resource, reason)
        return context

    def _answer(self, request: Request, who: Principal, context: Context) -> Answer:
        """EC2 is eventually consistent: a read may miss the last change of tags."""
        place = (who.account, request.region)
        if request.action == "sts:AssumeRole":
            return self._assume(request, who, context)
        if request.tagging:
            return self._tag(request, who, place)
        older = self._before.get(place, {}) if request.action == "ec2:DescribeSubnets" else {}
        if not older or not self.faults.take("tag_lag_reads"):
            return self._pass(request, who)
        stored = emulator.ec2_backends[place[0]][place[1]].tags
        now = {entry: stored[entry] for entry in older}
        stored.update(older)
        try:
            return self._pass(request, who)
        finally:
            stored.update(now)

    def _tag(self, request: Request, who: Principal, place: tuple[str, str]) -> Answer:
        _check_tags(request)
        stored = emulator.ec2_backends[place[0]][place[1]].tags
        before = {entry: dict(stored.get(entry, {})) for entry in request.targets}
        answer = self._pass(request, who)
        if answer.outcome == "ok" and self.faults.now.lying_tags and request.action == "ec2:CreateTags":
            stored.update(before)
        elif answer.outcome == "ok":
            self._before[place] = before
        return answer

    def _assume(self, request: Request, who: Principal, context: Context) -> Answer:
        sts.validate(request)
        role = emulator.role(request.form.get("RoleArn", ""))
        sts.authorise(request, who, role, context)
        answer = self._pass(request, who)
        if answer.outcome == "ok":
            key, self._sessions[key], answer = sts.minted(request, who, role, answer)
        return answer

    def _pass(self, request: Request, who: Principal) -> Answer:
        """The header is how moto is told the account; a client's own is overwritten."""
        request.environ["HTTP_X_MOTO_ACCOUNT_ID"] = who.account
        try:
            return self._forward(request.environ)
        except NotImplementedError as problem:
            raise Refusal("NotImplemented", f"The sandbox has no {request.action}: {problem}", 501) from problem

    def _record(self, request: Request, who: Principal, outcome: str) -> None:
        with self._logging:
            self.log.append(
                {
                    "n": len(self.log) + 1,
                    "at": time.time(),
                    "account": who.account,
                    "principal": who.arn,
                    "session": who.session,
                    "source_identity": who.source_identity,
                    "service": request.service,
                    "action": request.action,
                    "resources": request.resources(who.account),
                    "dry_run": request.form.get("DryRun") == "true",
                    "mutating": request.mutating,
                    "outcome": outcome,
                }
            )

    def expire_sessions(self) -> None:
        self._sessions = {key: replace(session, expires=0.0) for key, session in self._sessions.items()}
