"""AWS: sessions for a caller, calls held to the caller's rights, errors in plain sentences.

Every call goes through `_Session.call`, which refuses what the session was not made for before AWS is asked; where an
account is reached by a role, AWS refuses it as well, because the session carries its rights as a session policy
(AWS: AssumeRole, `Policy`: at most 2,048 characters).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from handlers.accounts import Accounts, through
from handlers.clients.aws_errors import Expired, from_botocore, from_client
from handlers.clients.observing import Observer, nobody, observed
from handlers.contract import Action, AwsRefused, Caller, Door, Fatal, Json, Retry
from handlers.settings import Account, AwsTuning, OperationsSettings

READ_ACTIONS = (
    "ec2:Describe*",
    "elasticloadbalancing:Describe*",
    "sts:GetCallerIdentity",
    "servicequotas:GetServiceQuota",
    "servicequotas:GetAWSDefaultServiceQuota",
    "iam:GetInstanceProfile",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListRolePolicies",
    "iam:ListAttachedRolePolicies",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetUser",
    "iam:GetUserPolicy",
    "iam:ListUserPolicies",
    "iam:GetAccessKeyLastUsed",
    "iam:SimulatePrincipalPolicy",
    "cloudformation:Describe*",
    "cloudformation:GetTemplate",
)
"""What a session that only looks may do."""
IAM_PREFIXES = {
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "service-quotas": "servicequotas",
}
"""Services whose actions IAM names otherwise than boto3 does. (AWS: Service Authorization Reference.)"""
PAGES = {"elb": ("Marker", "NextMarker"), "elbv2": ("Marker", "NextMarker"), "iam": ("Marker", "Marker")}
"""How a service names the next page, in the request and in the answer, where it is not `NextToken`."""
SESSION_SECONDS = 3600
RENEW_BEFORE = 300
POLICY_LIMIT = 2048
SESSIONS_KEPT = 512
OWN_SECONDS = 60


_borrowed: ContextVar[ReadOnlyCredentials] = ContextVar("borrowed")


class _Borrowed(Credentials):  # type: ignore[misc]  # botocore has no types
    """Credentials that are looked up at each signature. So one client serves every session of an account and region:
    a client costs 17 ms and over a megabyte, a session only its AssumeRole call."""

    def __init__(self) -> None:
        super().__init__("borrowed", "borrowed")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Those of the call that is being made in this thread."""
        return _borrowed.get()

    def load_credentials(self) -> _Borrowed:
        """This is its own provider."""
        return self


class _Clients:
    """boto3 clients by account, region and service. By account, because the adaptive retry mode keeps a client's pace
    and AWS throttles by account. One botocore session and its parsed API models serve all."""

    def __init__(self, tuning: AwsTuning, observer: Observer = nobody) -> None:
        self.observer = observer
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str, str], Any] = {}
        self._own: dict[str | None, Any] = {}
        session = botocore.session.Session()
        session.register_component("credential_provider", _Borrowed())
        self._boto = boto3.Session(botocore_session=session)
        self._config = Config(
            retries={"mode": "adaptive", "total_max_attempts": tuning.attempts},
            tcp_keepalive=True,
            connect_timeout=tuning.connect_timeout,
            read_timeout=tuning.read_timeout,
            max_pool_connections=64,
        )

    def get(self, account: str, region: str, service: str) -> Any:
        """The client, made at first use: sessions are not documented as safe for threads, clients are."""
        key = (account, region, service)
        with self._lock:
            if key not in self._made:
                try:
                    self._made[key] = self._boto.client(service, region_name=region, config=self._config)
                except BotoCoreError as error:
                    raise from_botocore(error, f"{service} in {region}", account) from error
            return self._made[key]

    def own(self, profile: str | None) -> ReadOnlyCredentials:
        """The bot's own credentials now, from a profile or the environment (boto3's usual chain, which renews them)."""
        with self._lock:
            if profile not in self._own:
                try:
                    self._own[profile] = boto3.Session(profile_name=profile).get_credentials()
                except BotoCoreError as error:
                    raise from_botocore(error, "credentials", profile or "ambient") from error
            found = self._own[profile]
        if found is None:
            who = "The platform team has to set them (environment or profile)."
            raise Fatal("The bot has no AWS credentials of its own.", who)
        frozen: ReadOnlyCredentials = found.get_frozen_credentials()
        return frozen


class AwsSessions:
    """Credentials by account and caller."""

    def __init__(
        self,
        settings: OperationsSettings,
        *,
        clock: Callable[[], float] = time.time,
        clients: _Clients | None = None,
        accounts: Callable[[str], Account] | None = None,
        observer: Observer = nobody,
    ) -> None:
        self._settings = settings
        self.account = accounts or Accounts(settings, None, clock)
        self._clock = clock
        self._clients = clients or _Clients(settings.aws, observer)
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[ReadOnlyCredentials, float]] = {}

    def fresh(self, accounts: Callable[[str], Account] | None = None) -> AwsSessions:
        """The same accounts with no credentials yet: everything that is seen through it is seen anew."""
        known = accounts or self.account
        return AwsSessions(self._settings, clock=self._clock, clients=self._clients, accounts=known)

    def warm_up(self) -> None:
        """Parses the API models that every operation needs, before anybody waits for them."""
        name = self._settings.default_account
        for service in ("sts", "ec2", "elb", "elbv2", "iam", "service-quotas"):
            self._clients.get(name, self.account(name).region, service)

    def reading(self, caller: Caller, account: str | Door, region: str, purpose: str = "look") -> Session:
        """A session that can look at one account and region."""
        return Session(self, caller, account, region, READ_ACTIONS, None, purpose)

    def acting(self, caller: Caller, account: str | Door, region: str) -> Session:
        """A session with exactly the caller's actions in one account and region."""
        name = account if isinstance(account, str) else account.name
        mine = tuple(a for a in caller.actions if a.account == name and a.region == region)
        return Session(self, caller, account, region, tuple(a.name for a in mine), mine, "run")

    def trying(self, caller: Caller, account: str | Door, region: str) -> Session:
        """A session with exactly the caller's actions, in which every change is a dry run."""
        return Session(self, caller, account, region, tuple(a.name for a in caller.actions), caller.actions, "probe")

    def myself(self) -> str:
        """The ARN of the bot's own credentials, which every role is assumed with."""
        name = self._settings.home
        account = self.account(name)
        sts = self._clients.get(name, account.region, "sts")
        own = self._clients.own(account.profile if account.access == "profile" else None)
        return str(self._borrowing(own, sts.get_caller_identity, "sts:GetCallerIdentity", name)["Arn"])

    def clock_skew(self, name: str) -> float | None:
        """How many seconds the clock here is ahead of AWS's, by the date of an answer; also of one that says no, as a
        wrong clock may be why. None where no answer comes."""
        account = self.account(name)
        sts = self._clients.get(name, account.region, "sts")
        try:
            own = self._clients.own(account.profile if account.access == "profile" else None)
            answer = _borrowing(own, sts.get_caller_identity, "sts:GetCallerIdentity", name)
        except (Retry, Fatal, AwsRefused) as error:
            answer = getattr(error.__cause__, "response", None) or {}
        found = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        return None if found is None else self._clock() - parsedate_to_datetime(found).timestamp()

    def call(self, session: Session, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        """One call of a session, which has to allow it."""
        client = self._clients.get(session.account, session.region, service)
        name = f"{IAM_PREFIXES.get(service, service)}:{client.meta.method_to_api_mapping[operation]}"
        if not any(fnmatchcase(name, allowed) for allowed in session.allowed):
            raise Fatal(f"The plan does not declare `{name}`, so it was not called.")
        call = partial(getattr(client, operation), **parameters)
        try:
            return self._borrowing(self._credentials(session), call, name, session.account)
        except Expired:  # before their time: revoked, or the clock is wrong; new ones are worth one try
            with self._lock:
                self._kept.clear()
            return self._borrowing(self._credentials(session), call, name, session.account)

    def _credentials(self, session: Session) -> ReadOnlyCredentials:
        policy = _policy(session)
        key = (
            session.account, session.region, session.caller.request, session.caller.person, session.purpose, policy,
            session.door.model_dump_json() if session.door else "",
        )  # fmt: skip
        with self._lock:
            known = self._kept.get(key)
        if known is not None and known[1] > self._clock():
            return known[0]
        made, until = self._make(session, policy)
        with self._lock:
            if len(self._kept) >= SESSIONS_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (made, until)
        return made

    def _make(self, session: Session, policy: str) -> tuple[ReadOnlyCredentials, float]:
        account, now = session.place(), self._clock()
        if account.access != "role":
            return self._clients.own(account.profile), now + OWN_SECONDS
        request: dict[str, Any] = {
            "RoleArn": account.role_arn,
            "RoleSessionName": f"slack-{session.caller.person}-{session.caller.request}"[:64],
            "DurationSeconds": SESSION_SECONDS,
            "Policy": policy,
        }
        if account.external_id is not None:
            request["ExternalId"] = account.external_id
        if account.source_identity:
            request["SourceIdentity"] = session.caller.person
        sts = self._clients.get(session.account, session.region, "sts")
        assume = partial(sts.assume_role, **request)
        made = self._borrowing(self._clients.own(None), assume, "sts:AssumeRole", session.account)["Credentials"]
        frozen = ReadOnlyCredentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
        return frozen, made["Expiration"].timestamp() - RENEW_BEFORE

    def _borrowing(self, own: ReadOnlyCredentials, call: Callable[[], Any], action: str, account: str) -> Any:
        with observed(self._clients.observer, "aws", action.partition(":")[0]):
            return _borrowing(own, call, action, account)


class Session:
    """One caller in one account and region. Satisfies the contract's AwsRead and, when made to act, AwsWrite."""

    def __init__(
        self,
        sessions: AwsSessions,
        caller: Caller,
        account: str | Door,
        region: str,
        allowed: tuple[str, ...],
        actions: tuple[Action, ...] | None,
        purpose: str,
    ) -> None:
        self._sessions = sessions
        self.caller = caller
        self.door = account if isinstance(account, Door) else None
        self.account = account.name if isinstance(account, Door) else account
        self.region = region
        self.allowed = allowed
        self.actions = actions
        self.purpose = purpose

    def place(self) -> Account:
        """The account, and how the bot gets in."""
        return through(self.door) if self.door is not None else self._sessions.account(self.account)

    def read(self, service: str, operation: str, **parameters: Any) -> Json:
        """One call that changes nothing."""
        return self._call(service, operation, parameters)

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """All items under `key`, page after page."""
        asked, answered = PAGES.get(service, ("NextToken", "NextToken"))
        token: str | None = None
        while True:
            more = {} if token is None else {asked: token}
            answer: Any = self._call(service, operation, {**parameters, **more})
            yield from answer.get(key, [])
            token = answer.get(answered)
            if not token:
                return

    def try_write(self, service: str, operation: str, **parameters: Any) -> None:
        """One changing call as a dry run, which AWS answers with an error that means yes."""
        try:
            self._call(service, operation, {**parameters, "DryRun": True})
        except AwsRefused as error:
            if error.code == "DryRunOperation":
                return
            raise
        raise Fatal(f"AWS did not take `{operation}` as a dry run.", "Report this, with what it changed.")

    def write(self, service: str, operation: str, **parameters: Any) -> Json:
        """One call that changes something: only in a session that was made to act."""
        if self.actions is None or self.purpose == "probe":
            raise Fatal(f"A session that only looks was asked to change something ({service} {operation}).")
        return self._call(service, operation, parameters)

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> Json:
        answer: Json = self._sessions.call(self, service, operation, parameters)
        answer.pop("ResponseMetadata", None)
        return answer


def session_policy(actions: tuple[Action, ...]) -> str:
    """An IAM policy that allows exactly these actions, as compact JSON."""
    statements: list[dict[str, Any]] = []
    for action in actions:
        rights: dict[str, Any] = {"Effect": "Allow", "Resource": list(action.resources)}
        if action.conditions:
            rights["Condition"] = action.conditions
        same = next((s for s in statements if {k: v for k, v in s.items() if k != "Action"} == rights), None)
        if same is None:
            statements.append({"Action": [action.name], **rights})
        elif action.name not in same["Action"]:
            same["Action"].append(action.name)
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    if len(text) > POLICY_LIMIT:
        raise Fatal(f"The plan's rights take {len(text)} characters; AWS allows a session {POLICY_LIMIT}.")
    return text


def _policy(session: Session) -> str:
    if session.actions is not None:
        return session_policy(session.actions)
    reading = [{"Effect": "Allow", "Action": list(session.allowed), "Resource": "*"}]
    return json.dumps({"Version": "2012-10-17", "Statement": reading}, separators=(",", ":"))


def _borrowing(credentials: ReadOnlyCredentials, call: Callable[[], Any], action: str, account: str) -> Any:
    token = _borrowed.set(credentials)
    try:
        return call()
    except ClientError as error:
        raise from_client(error, action, account) from error
    except BotoCoreError as error:
        raise from_botocore(error, action, account) from error
    finally:
        _borrowed.reset(token)
