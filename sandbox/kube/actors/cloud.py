"""AWS as the provider's controllers use it: one identity per cluster, every call through the gate, in threads.

Sources: the provider's book, "Multi-tenancy" (identities, allowedNamespaces) and pkg/cloud/scope/session.go (order
and words of the two conditions); domain facts of the SDK's error text, version 1 and 2.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.kube.actors.objects import AWS, Objects, at, selects
from sandbox.kube.errors import Obj

Keys = tuple[str, str, str | None]
Kept = tuple[Keys, float]
IDENTITIES = {
    "AWSClusterControllerIdentity": f"awsclustercontrolleridentities.{AWS}",
    "AWSClusterRoleIdentity": f"awsclusterroleidentities.{AWS}",
    "AWSClusterStaticIdentity": f"awsclusterstaticidentities.{AWS}",
}
ENDED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
EARLY = 60.0
"""Seconds before its end at which a session is not used any more."""
_ONCE = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=5, read_timeout=20)


class CloudError(Exception):
    """AWS refused; `text` is the error as the provider writes it into conditions and events."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class IdentityError(Exception):
    """The identity cannot be used: `condition` False or Unknown with this reason."""

    def __init__(self, condition: str, status: bool | None, reason: str, text: str) -> None:
        super().__init__(text)
        self.condition, self.status, self.reason, self.text = condition, status, reason, text


def allows(rule: Mapping[str, Any] | None, namespace: Obj) -> bool:
    """allowedNamespaces: absent is none, empty is all, else the list and the selector together."""
    if rule is None:
        return False
    names, selector = rule.get("list"), rule.get("selector") or {}
    if names is None and not selector:
        return True
    meta = namespace["metadata"]
    wanted = selector if at(selector, "matchLabels") or at(selector, "matchExpressions") else None
    return meta["name"] in (names or []) or selects(wanted, meta.get("labels", {}))


class Clouds:
    """Clients by identity and region. `current` decides how the SDK words an error.

    The sessions of identities are kept as the SDK keeps them: until shortly before they end, or until AWS says that
    they have ended; a change of the identity makes another one.
    """

    def __init__(self, url: str, keys: Keys, *, current: bool, clock: Callable[[], float] = time.time) -> None:
        self.url, self._current = url, current
        self.own, self._clock = keys, clock
        self._sessions: dict[str, Kept] = {}
        self._session = boto3.Session(botocore_session=botocore.session.Session())
        self._clients: dict[tuple[str, str, Keys], Any] = {}
        self._making = threading.Lock()

    async def warm(self, region: str) -> None:
        """Reads EC2's model ahead of the first call, which takes half a second."""
        await asyncio.to_thread(self._client, "ec2", region, self.own)

    async def call(self, place: tuple[str, Keys], operation: str, **arguments: Any) -> Any:
        """`operation` is like ec2.run_instances; CloudError in AWS's words when it is refused."""
        service, _, method = operation.partition(".")
        return await asyncio.to_thread(self._call, service, method, place, arguments)

    def _call(self, service: str, method: str, place: tuple[str, Keys], arguments: Mapping[str, Any]) -> Any:
        try:
            return getattr(self._client(service, *place), method)(**arguments)
        except ClientError as refused:
            raise self._worded(service, refused) from refused
        except BotoCoreError as problem:
            raise CloudError("RequestError", f"RequestError: send request failed caused by: {problem}") from problem

    def _worded(self, service: str, refused: ClientError) -> CloudError:
        error, meta = refused.response["Error"], refused.response["ResponseMetadata"]
        code, message = error["Code"], error["Message"]
        if code in ENDED:
            self._sessions.clear()
        status, request = meta["HTTPStatusCode"], meta.get("RequestId", "")
        if self._current:
            named = {"ec2": "EC2", "elb": "Elastic Load Balancing", "elbv2": "Elastic Load Balancing v2", "sts": "STS"}
            text = (
                f"operation error {named[service]}: {refused.operation_name}, https response error "
                f"StatusCode: {status}, RequestID: {request}, api error {code}: {message}"
            )
        else:
            text = f"{code}: {message}\n\tstatus code: {status}, request id: {request}"
        return CloudError(code, text)

    def _client(self, service: str, region: str, keys: Keys) -> Any:
        with self._making:
            place = (service, region, keys)
            if place not in self._clients:
                self._clients[place] = self._session.client(
                    service, region_name=region, endpoint_url=self.url, config=_ONCE,
                    aws_access_key_id=keys[0], aws_secret_access_key=keys[1], aws_session_token=keys[2],
                )  # fmt: skip
            return self._clients[place]

    async def identity(self, objects: Objects, owner: Obj) -> Keys:
        """The keys that the cluster's identity stands for; IdentityError says what is wrong with it."""
        space = objects.find("namespaces", owner["metadata"]["namespace"])
        chosen = at(owner, "spec", "identityRef") or {"kind": "AWSClusterControllerIdentity", "name": "default"}
        return await self._resolve(objects, chosen, space or {}, owner, source=False)

    async def _resolve(self, objects: Objects, chosen: Obj, space: Obj, owner: Obj, *, source: bool) -> Keys:
        kind, name = chosen.get("kind", ""), chosen.get("name", "")
        found = objects.find(IDENTITIES.get(kind, ""), name)
        if found is None:
            plural = IDENTITIES.get(kind, kind)
            raise IdentityError(
                "PrincipalCredentialRetrieved", False, "PrincipalCredentialRetrievalFailed",
                f'{plural} "{name}" not found',
            )  # fmt: skip
        if not allows(at(found, "spec", "allowedNamespaces"), space):
            reason = "SourcePrincipalUsageUnauthorized" if source else "PrincipalUsageUnauthorized"
            text = f"Namespace is not permitted to use {kind}: {name}"
            raise IdentityError("PrincipalUsageAllowed", False, reason, text)
        if kind == "AWSClusterControllerIdentity":
            return self.own
        if kind == "AWSClusterStaticIdentity":
            return _static(objects, found)
        keys = await self._resolve(
            objects, at(found, "spec", "sourceIdentityRef", default={}), space, owner, source=True
        )
        return await self._assumed(found["spec"], keys, owner)

    async def _assumed(self, spec: Obj, keys: Keys, owner: Obj) -> Keys:
        wanted = {
            "RoleArn": spec.get("roleARN"),
            "RoleSessionName": spec.get("sessionName") or f"capa-{owner['metadata']['name']}",
            "ExternalId": spec.get("externalID"),
            "DurationSeconds": spec.get("durationSeconds") or 900,
            "Policy": spec.get("inlinePolicy"),
        }
        given = {name: value for name, value in wanted.items() if value}
        place = json.dumps([given, keys[0]], sort_keys=True)
        known, ends = self._sessions.get(place, (None, 0.0))
        if known and ends > self._clock():
            return known
        try:
            answer = await self.call((at(owner, "spec", "region"), keys), "sts.assume_role", **given)
        except CloudError as refused:
            raise IdentityError(
                "PrincipalCredentialRetrieved", None, "CredentialProviderBuildFailed", refused.text
            ) from refused
        made = answer["Credentials"]
        session: Keys = (made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
        if known:
            self._forget(known)
        self._sessions[place] = session, made["Expiration"].timestamp() - EARLY
        return session

    def _forget(self, keys: Keys) -> None:
        """The clients of a session that has ended."""
        with self._making:
            self._clients = {place: client for place, client in self._clients.items() if place[2] != keys}


def _static(objects: Objects, identity: Obj) -> Keys:
    secret = objects.find("secrets", at(identity, "spec", "secretRef", default=""), "capa-system")
    data = {name: base64.b64decode(value).decode() for name, value in at(secret, "data", default={}).items()}
    if not data.get("AccessKeyID"):
        raise IdentityError(
            "PrincipalCredentialRetrieved", False, "PrincipalCredentialRetrievalFailed",
            f'secrets "{at(identity, "spec", "secretRef", default="")}" not found',
        )  # fmt: skip
    return data["AccessKeyID"], data.get("SecretAccessKey", ""), data.get("SessionToken")
