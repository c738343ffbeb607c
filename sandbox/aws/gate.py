"""The WSGI gate: who calls, may they, is it sane, what does the weather do; then the emulator answers.

Sources: EC2 API reference "Error codes" and "CreateTags", EC2 User Guide "Tag your Amazon EC2 resources".
"""

import html
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from sandbox.aws import emulator, iam, marks, policy, quotas, refusals, wire
from sandbox.aws.cloudformation.service import Service
from sandbox.aws.faults import Switches
from sandbox.aws.identity import Identities, check_passed, denied
from sandbox.aws.policy import Call, Context, Principal
from sandbox.aws.wire import Answer, Environ, Refusal, Request

DRAIN_SECONDS = 5.0
ORGANISATION = "o-sandbox00001"
"""All accounts of the world are in it."""
OWN_RULES = ("sts:AssumeRole", "sts:GetCallerIdentity")


def _throttled(request: Request) -> Refusal:
    if request.service in ("iam", "cloudformation"):
        return Refusal("Throttling", "Rate exceeded")
    return Refusal("RequestLimitExceeded", "Request limit exceeded.", 503)


def _account_of(arn: str) -> str:
    return (arn.split(":") + [""] * 5)[4]


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

    organisation = ORGANISATION

    def __init__(self, forward: Callable[[Environ], Answer]) -> None:
        self._forward = forward
        self._inside, self._logging = threading.Lock(), threading.Lock()
        self._open, self._idle = 0, threading.Condition()
        self._before: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
        self._stacks = Service(time.time)
        self.faults = Switches()
        self.identities = Identities(self.faults, self._pass)
        self.log: list[dict[str, Any]] = []

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        with self._idle:
            self._open += 1
        try:
            return self._serve(environ, start)
        finally:
            with self._idle:
                self._open -= 1
                self._idle.notify_all()

    def drain(self) -> None:
        """Waits until nobody is inside any more: the emulator's state is the process's, and the next world makes it
        anew."""
        with self._idle:
            self._idle.wait_for(lambda: self._open == 0, DRAIN_SECONDS)

    def _serve(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        request = wire.read(environ)
        who = self.identities.caller(request.access_key)
        answer = self._respond(request, who)
        self._record(request, who or Principal(), answer.outcome if answer else "ConnectionClosed")
        if answer is None or self.faults.closed:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError  # the server drops the connection without a word
        start(f"{answer.status} {answer.outcome}", [*answer.headers, ("Content-Length", str(len(answer.body)))])
        return [answer.body]

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
        return None if self.faults.now.unreachable else answer

    def _authentic(self, request: Request, who: Principal | None) -> Principal:
        """EC2 has words of its own: AuthFailure, and RequestExpired also for credentials ("Error codes")."""
        ec2, now = request.service == "ec2", self.faults.now
        if self.faults.take("server_error"):
            raise Refusal("InternalError", "An internal error has occurred", 500)
        if who is None or now.bad_keys or request.environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != who.token:
            if ec2:
                raise Refusal("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
            raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        expired = who.origin == "assumed" and now.expired_credentials  # the others renew themselves
        if who.session and (expired or who.expires <= time.time()):
            if ec2:
                raise Refusal("RequestExpired", "Request has expired.")
            raise Refusal("ExpiredToken", "The security token included in the request is expired", 403)
        if request.service != "sts" and (
            self.faults.take("throttle") or (request.mutating and self.faults.take("throttle_mutating"))
        ):
            raise _throttled(request)
        if request.service == "iam" and self.faults.take("throttle_iam"):
            raise _throttled(request)
        return who

    def _authorise(self, request: Request, who: Principal) -> Context:
        """AssumeRole has rules of its own; GetCallerIdentity needs no permission and no policy can deny it."""
        resources = iam.resources(request, who.account)
        if policy.any_action(self.faults.now.deny, request.action):
            raise denied(request, who, resources[0], "with an explicit deny in a service control policy")
        context: dict[str, tuple[str, ...]] = {
            "aws:requestedregion": (request.region,),
            "aws:securetransport": ("true",),
            "aws:principalarn": (who.iam_arn,),
            "aws:principalaccount": (who.account,),
            "aws:principalorgid": (ORGANISATION,),
            "aws:resourceorgid": (ORGANISATION,),
            "aws:resourceaccount": (_account_of(resources[0]) or who.account,),
            "aws:tagkeys": tuple(key for key, _ in request.tags),
        }
        context |= iam.context(request, who.account)
        context |= {f"aws:requesttag/{key.lower()}": (value,) for key, value in request.tags if value is not None}
        zones = list(emulator.ec2_backends[who.account][request.region].subnets.values()) if request.tagging else []
        for resource in resources if request.action not in OWN_RULES else []:
            home, _, subnet = resource.partition(":subnet/")
            vpc = tuple(f"{home}:vpc/{zone[subnet].vpc_id}" for zone in zones if subnet in zone)
            for action in (request.action, *iam.also(request)):
                for carried in marks.of(request, who.account):
                    own = {f"aws:resourcetag/{key.lower()}": (value,) for key, value in carried.items()}
                    reason = policy.denial(Call(action, resource, {**context, **own, "ec2:vpc": vpc}), who)
                    if reason is not None:
                        raise denied(replace(request, action=action), who, resource, reason)
        return context

    def _answer(self, request: Request, who: Principal, context: Context) -> Answer:
        """EC2 is eventually consistent: a read may miss the last change of tags."""
        place = (who.account, request.region)
        self.identities.note(request)
        if request.service in ("sts", "iam"):
            return self.identities.answer(request, who, context)
        if request.service == "cloudformation":
            return self._stacks.answer(request, who.account, partial(self._in_their_name, request, who))
        if request.service == "servicequotas":
            return quotas.answer(request, who.account, quotas.parse(self.faults.now.quota))
        if request.tagging:
            return self._tag(request, who, place)
        check_passed(request, who, context)
        refusals.check(request, who.account, self.faults.now)
        if request.action in marks.GOING:
            return self._delete(request, who, place)
        if request.service == "elasticloadbalancing" and request.mutating:
            answer = self._pass(request, who)
            marks.interfaces(*place)
            return answer
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

    def _delete(self, request: Request, who: Principal, place: tuple[str, str]) -> Answer:
        """The emulator keeps the tags of what is gone; AWS does not."""
        answer = self._pass(request, who)
        if answer.outcome == "ok":
            emulator.ec2_backends[place[0]][place[1]].tags.pop(request.form.get(marks.EC2[request.action], ""), None)
        return answer

    def _tag(self, request: Request, who: Principal, place: tuple[str, str]) -> Answer:
        _check_tags(request)
        stored = emulator.ec2_backends[place[0]][place[1]].tags
        before = {entry: dict(stored.get(entry, {})) for entry in request.targets}
        answer = self._pass(request, who)
        if answer.outcome == "ok" and self.faults.now.lying_tags:
            stored.update(before)
        elif answer.outcome == "ok":
            self._before[place] = before
        return answer

    def _in_their_name(self, request: Request, who: Principal, action: str, form: dict[str, str]) -> Answer:
        """A call of IAM that another service makes for the caller, with the caller's rights."""
        asked = wire.inner(request, action, form)
        answer = self.identities.answer(asked, who, self._authorise(asked, who))
        if answer.outcome != "ok":
            raise Refusal(answer.outcome, html.unescape(answer.element("Message")), answer.status)
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
