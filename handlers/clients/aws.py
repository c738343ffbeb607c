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
from fnmatch import fnmatchcase
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from handlers.clients.aws_errors import from_botocore, from_client
from handlers.contract import Action, Caller, Fatal, Json, UsageError
from handlers.settings import Account, OperationsSettings

READ_ACTIONS = ("ec2:Describe*", "sts:GetCallerIdentity")
"""What a session that only looks may do."""
SESSION_SECONDS = 3600
RENEW_BEFORE = 300
POLICY_LIMIT = 2048
CLIENTS_KEPT = 64


class AwsSessions:
    """Sessions by account and caller. One botocore session and its parsed API models serve all clients."""

    def __init__(self, settings: OperationsSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._botocore = botocore.session.Session()
        self._boto = boto3.Session(botocore_session=self._botocore)
        tuning = settings.aws
        self._config = Config(
            retries={"mode": "adaptive", "total_max_attempts": tuning.attempts},
            tcp_keepalive=True,
            connect_timeout=tuning.connect_timeout,
            read_timeout=tuning.read_timeout,
            max_pool_connections=32,
        )
        self._clients: dict[tuple[str, ...], tuple[Any, float]] = {}
        self._sts_clients: dict[str, Any] = {}

    def account(self, name: str) -> Account:
        """The settings of one account."""
        account = self._settings.accounts.get(name)
        if account is None:
            known = ", ".join(f"`{known}`" for known in sorted(self._settings.accounts))
            raise UsageError(f"There is no account `{name}` in the settings.", f"Known accounts: {known}.")
        return account

    def reading(self, caller: Caller, account: str, region: str, purpose: str = "look") -> Session:
        """A session that can look at one account and region."""
        return Session(self, caller, account, region, READ_ACTIONS, None, purpose)

    def acting(self, caller: Caller, account: str, region: str) -> Session:
        """A session with exactly the caller's actions in one account and region."""
        mine = tuple(a for a in caller.actions if a.account == account and a.region == region)
        return Session(self, caller, account, region, tuple(a.name for a in mine), mine, "run")

    def client(self, session: Session, service: str) -> Any:
        """The boto3 client of a session, kept until its credentials are about to expire."""
        policy = _policy(session)
        key = (session.account, session.region, service, session.caller.request, session.purpose, policy)
        with self._lock:
            known = self._clients.get(key)
        if known is not None and known[1] > self._clock():
            return known[0]
        credentials, until = self._credentials(session, policy)  # may ask AWS: not under the lock
        with self._lock:
            client = self._boto.client(service, region_name=session.region, config=self._config, **credentials)
            if len(self._clients) >= CLIENTS_KEPT:
                self._clients.pop(next(iter(self._clients)))
            self._clients[key] = (client, until)
            return client

    def warm_up(self) -> None:
        """Parses the API models that every operation needs, before anybody waits for them."""
        region = self._settings.accounts[self._settings.default_account].region
        nobody = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        with self._lock:
            for service in ("sts", "ec2"):
                self._boto.client(service, region_name=region, config=self._config, **nobody)

    def _credentials(self, session: Session, policy: str) -> tuple[dict[str, str], float]:
        account = self.account(session.account)
        forever = float("inf")
        if account.access == "ambient":
            return {}, forever
        if account.access == "profile":
            return _frozen(boto3.Session(profile_name=account.profile)), self._clock() + SESSION_SECONDS
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
        sts = self._sts(session.region)
        made = _wrapped(lambda: sts.assume_role(**request), "sts:AssumeRole", session.account)["Credentials"]
        until = made["Expiration"].timestamp() - RENEW_BEFORE
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }, until

    def _sts(self, region: str) -> Any:
        with self._lock:
            if region not in self._sts_clients:
                self._sts_clients[region] = self._boto.client("sts", region_name=region, config=self._config)
            return self._sts_clients[region]


class Session:
    """One caller in one account and region. Satisfies the contract's AwsRead and, when made to act, AwsWrite."""

    def __init__(
        self,
        sessions: AwsSessions,
        caller: Caller,
        account: str,
        region: str,
        allowed: tuple[str, ...],
        actions: tuple[Action, ...] | None,
        purpose: str,
    ) -> None:
        self._sessions = sessions
        self.caller = caller
        self.account = account
        self.region = region
        self.allowed = allowed
        self.actions = actions
        self.purpose = purpose

    def read(self, service: str, operation: str, **parameters: Any) -> Json:
        """One call that changes nothing."""
        return self._call(service, operation, parameters)

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """All items under `key`, page after page."""
        token: str | None = None
        while True:
            more = {} if token is None else {"NextToken": token}
            answer: Any = self._call(service, operation, {**parameters, **more})
            yield from answer.get(key, [])
            token = answer.get("NextToken")
            if not token:
                return

    def write(self, service: str, operation: str, **parameters: Any) -> Json:
        """One call that changes something: only in a session that was made to act."""
        if self.actions is None:
            raise Fatal(f"A session that only looks was asked to change something ({service} {operation}).")
        return self._call(service, operation, parameters)

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> Json:
        client = self._sessions.client(self, service)
        name = f"{service}:{client.meta.method_to_api_mapping[operation]}"
        if not any(fnmatchcase(name, allowed) for allowed in self.allowed):
            raise Fatal(f"The plan does not declare `{name}`, so it was not called.")
        answer: Json = _wrapped(lambda: getattr(client, operation)(**parameters), name, self.account)
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


def _frozen(session: boto3.Session) -> dict[str, str]:
    found = session.get_credentials()
    if found is None:
        raise Fatal(f"The AWS profile `{session.profile_name}` has no credentials.", "Check the AWS configuration.")
    frozen = found.get_frozen_credentials()
    keys = {"aws_access_key_id": frozen.access_key, "aws_secret_access_key": frozen.secret_key}
    return {**keys, "aws_session_token": frozen.token} if frozen.token else keys


def _wrapped(call: Callable[[], Any], action: str, account: str) -> Any:
    try:
        return call()
    except ClientError as error:
        raise from_client(error, action, account) from error
    except BotoCoreError as error:
        raise from_botocore(error, action, account) from error
