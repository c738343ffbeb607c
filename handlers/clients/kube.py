"""Kubernetes: the management cluster, and workload clusters by the kubeconfig that the Cluster API keeps for each.

Objects stay JSON: the client library's typed models and its dynamic client cost ten times as much on lists. Versions
are what the server says it serves; lists come in pages of 500; writing is server-side apply, never by force.
(Kubernetes API Concepts: "Server-Side Apply", "Retrieving large results sets in chunks".)
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import yaml
from cryptography import x509
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError, SSLError

from handlers.clients.kube_errors import from_status, from_transport
from handlers.clients.observing import Observer, nobody, observed
from handlers.conditions import objects_at, text
from handlers.contract import Fatal, Json, Kind, KubeRefused, Retry, Right
from handlers.kinds import POD, kind_of
from handlers.settings import ManagementCluster

MANAGER = "tkgbot"
"""The field manager of everything that the bot applies."""
PAGE = 500
DISCOVERED_FOR = 60.0
"""How long a cluster's answer about the versions that it serves is used (seconds)."""
WORKLOADS_KEPT = 32
SECRET = Kind("", "Secret", "secrets")
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
LOG_BYTES = 2**20
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Connection:
    """One API server, and what it said it serves. `name` is how messages call it, `mend` what to do about credentials
    that it does not accept, where that is not the platform team's; `where` is its name for those who measure."""

    api: Any
    name: str
    timeout: tuple[float, float]
    mend: str = field(default="", kw_only=True)
    observer: Observer = field(default=nobody, kw_only=True)
    where: str = field(default="management", kw_only=True)
    clock: Callable[[], float] = time.monotonic
    served: dict[str, tuple[float, tuple[str, ...]]] = field(default_factory=dict)

    def send(
        self, method: str, path: str, doing: str, *, query: Mapping[str, Any] | None = None, body: Any = None,
        content: str = "application/json",
    ) -> tuple[Any, Any]:  # fmt: skip
        """One request; the decoded answer (None for 404) and its headers."""
        with observed(self.observer, "kubernetes", self.where):
            found, headers = self._exchange(method, path, doing, query=query, body=body, content=content)
        return (None if found is None else _decoded(found, doing, self.name)), headers

    def text(self, path: str, doing: str, query: Mapping[str, Any]) -> str:
        """An answer that is no JSON: a log. Empty for 404."""
        with observed(self.observer, "kubernetes", self.where):
            found, _ = self._exchange(
                "GET", path, doing, query=query, body=None, content="application/json", accept="*/*"
            )
        return (found or b"").decode("utf-8", "replace")

    def _exchange(
        self, method: str, path: str, doing: str, *, query: Mapping[str, Any] | None, body: Any, content: str,
        accept: str = "application/json",
    ) -> tuple[bytes | None, Any]:  # fmt: skip
        headers = {"Accept": accept, "Content-Type": content}
        self.api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        address = f"{self.api.configuration.host}{path}{'?' + urlencode(query) if query else ''}"
        try:
            answer = self.api.rest_client.request(
                method, address, headers=headers, body=body, _request_timeout=self.timeout
            )
            content_read = answer.read()
        except (HTTPError, OSError) as error:
            raise self._mended(from_transport(error, doing, self.name)) from error
        except client.ApiException as error:  # the library's word for a TLS failure
            raise self._mended(from_transport(SSLError(str(error.reason)), doing, self.name)) from error
        if answer.status == 404:
            return None, answer.headers
        if not 200 <= answer.status <= 299:
            raise self._mended(
                from_status(answer.status, content_read, answer.headers.get("Retry-After"), doing, self.name)
            )
        return content_read, answer.headers

    def _mended(self, error: Exception) -> Exception:
        """Bad credentials of a workload cluster are its control plane's to renew."""
        return Fatal(error.message, self.mend) if self.mend and type(error) is Fatal else error

    def versions(self, group: str, wanted: Sequence[str] = ()) -> tuple[str, ...]:
        """The versions of a group that are served; none where there is no such group. An answer without any of the
        `wanted` ones is not kept: a definition may have been made since."""
        if not group:
            return ("v1",)
        known = self.served.get(group)
        if known is not None and known[0] > self.clock() and (not wanted or set(wanted) & set(known[1])):
            return known[1]
        answer, _ = self.send("GET", f"/apis/{group}", f"say which versions of {group} it serves")
        found = tuple(str(entry["version"]) for entry in (answer or {}).get("versions", []))
        self.served[group] = (self.clock() + DISCOVERED_FOR, found)
        return found

    def forget(self, group: str) -> None:
        """What was remembered of a group is not so any more: it is asked for anew."""
        self.served.pop(group, None)


class Cluster:
    """A cluster in one caller's hands. Satisfies the contract's KubeRead, KubeProbe and, with rights, KubeWrite."""

    def __init__(self, connection: Connection, rights: tuple[Right, ...] | None = None, cluster: str = "") -> None:
        self._connection = connection
        self._rights = rights
        self._cluster = cluster

    # -- looking -------------------------------------------------------------------------------------------------

    def has(self, kind: Kind) -> bool:
        """True when the kind's group is served in a version that is known."""
        return any(version in self._connection.versions(kind.group, kind.versions) for version in kind.versions)

    def version(self, kind: Kind) -> str:
        """The first of the kind's versions that is served."""
        served = self._connection.versions(kind.group, kind.versions)
        for version in kind.versions:
            if version in served:
                return version
        where = self._connection.name
        if not served:
            raise Fatal(
                f"{where} has no {kind.name}: the API group {kind.group} is not there.",
                "The platform team has to install the Cluster API and its AWS provider there (clusterctl init).",
            )
        raise Fatal(
            f"{where} serves {kind.group} as {', '.join(served)}; this tkgbot knows {', '.join(kind.versions)}.",
            "One of the two is too old: upgrade tkgbot, or the providers on that cluster.",
        )

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """One object, or None."""
        found, _ = self._connection.send("GET", self._path(kind, namespace, name), f"read {_named(kind, name)}")
        return dict(found) if found is not None else None

    def pages(self, kind: Kind, namespace: str = "", labels: str = "") -> Iterator[Json]:
        """All objects, 500 a request. Retry where the list was compacted between two pages."""
        path, doing, token = self._path(kind, namespace), f"list {kind.plural}", ""
        while True:
            query: dict[str, Any] = {"limit": PAGE}
            query |= {"labelSelector": labels} if labels else {}
            query |= {"continue": token} if token else {}
            try:
                answer, _ = self._connection.send("GET", path, doing, query=query)
            except KubeRefused as error:
                if error.reason != "Expired":
                    raise
                raise Retry(f"The list of {kind.plural} changed while it was being read.", after=1.0) from error
            if answer is None:  # a definition was taken away since it was seen
                self._connection.forget(kind.group)
                return
            head = {"apiVersion": answer.get("apiVersion"), "kind": str(answer.get("kind", "")).removesuffix("List")}
            yield from ({**head, **item} for item in objects_at(answer, "items"))
            token = text(answer, "metadata", "continue")
            if not token:
                return

    def log(self, pod: str, namespace: str, container: str = "", lines: int = 200) -> str:
        """The end of a container's log; nothing where the pod is not there or has not begun to write."""
        query: dict[str, Any] = {"tailLines": lines, "limitBytes": LOG_BYTES}
        query |= {"container": container} if container else {}
        path = f"{self._path(POD, namespace, pod)}/log"
        try:
            return self._connection.text(path, f"read the log of {pod}", query)
        except KubeRefused as error:
            if error.reason != "BadRequest":  # the container waits to start
                raise
            return ""

    def may(self, verb: str, kind: Kind, namespace: str = "") -> bool:
        """Asks the server itself."""
        attributes = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer, _ = self._connection.send("POST", REVIEW, f"say whether the bot may {verb} {kind.plural}", body=body)
        return bool(((answer or {}).get("status") or {}).get("allowed"))

    # -- trying and changing -------------------------------------------------------------------------------------

    def try_apply(self, item: Json) -> tuple[str, ...]:
        """Server-side apply with dryRun=All; what the server warns of."""
        _, headers = self._applied(item, dry=True)
        return tuple(_warning(value) for value in headers.getlist("Warning")) if hasattr(headers, "getlist") else ()

    def apply(self, item: Json) -> Json:
        """Server-side apply, within the rights."""
        meta: Any = item["metadata"]
        for verb in ("create", "patch"):
            self._check(verb, kind_of(item).resource, str(meta.get("namespace", "")), str(meta["name"]))
        answer, _ = self._applied(item, dry=False)
        return dict(answer)

    def delete(self, kind: Kind, name: str, namespace: str = "", uid: str = "") -> None:
        """Deletes one object in the background; with `uid`, only that very one."""
        self._check("delete", kind.resource, namespace, name)
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        self._connection.send("DELETE", self._path(kind, namespace, name), f"delete {_named(kind, name)}", body=body)

    def patch(self, kind: Kind, name: str, namespace: str, operations: Sequence[Json]) -> Json:
        """JSON Patch, within the rights."""
        self._check("patch", kind.resource, namespace, name)
        path, doing = self._path(kind, namespace, name), f"change {_named(kind, name)}"
        answer, _ = self._connection.send(
            "PATCH", path, doing, query={"fieldManager": MANAGER}, body=list(operations), content=JSON_PATCH
        )
        if answer is None:
            raise KubeRefused("NotFound", f"{self._connection.name} has no {_named(kind, name)} any more.")
        return dict(answer)

    def _applied(self, item: Json, *, dry: bool) -> tuple[Any, Any]:
        meta: Any = item["metadata"]
        name, namespace = str(meta["name"]), str(meta.get("namespace", ""))
        version = str(item["apiVersion"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        space = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        path = f"{root}{space}/{kind_of(item).plural}/{quote(name, safe='')}"
        doing = f"{'try' if dry else 'apply'} {item['kind']} {name}"
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
        answer, headers = self._connection.send("PATCH", path, doing, query=query, body=item, content=APPLY)
        if answer is None:
            self._connection.forget(version.rpartition("/")[0])
            where = f" or no namespace {namespace}" if namespace else ""
            raise KubeRefused("NotFound", f"{self._connection.name} has no {item['kind']} in {version}{where}.")
        return answer, headers

    def _check(self, verb: str, resource: str, namespace: str, name: str) -> None:
        if self._rights is None:
            raise Fatal(f"A cluster that is only looked at was asked to {verb} {resource}.")
        for right in self._rights:
            same = (right.verb, right.resource, right.namespace, right.cluster)
            if same == (verb, resource, namespace, self._cluster) and right.name in ("", name):
                return
        raise Fatal(f"The plan does not declare to {verb} {resource} {namespace}/{name}, so it was not done.")

    def _path(self, kind: Kind, namespace: str, name: str = "") -> str:
        version = self.version(kind)
        root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
        space = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind.namespaced else ""
        return f"{root}{space}/{kind.plural}{'/' + quote(name, safe='') if name else ''}"


class Clusters:
    """Connections by cluster: the management cluster's is kept, those of workload clusters as long as their kubeconfig
    secret stays the same."""

    def __init__(self, settings: ManagementCluster | None, observer: Observer = nobody) -> None:
        self._settings = settings
        self._observer = observer
        self._lock = threading.Lock()
        self._management: Connection | None = None
        self._workloads: dict[str, tuple[str, Connection]] = {}

    def fresh(self) -> Clusters:
        """The same clusters with no connections yet: everything that is seen through it is seen anew."""
        return Clusters(self._settings, self._observer)

    def management(self, rights: tuple[Right, ...] | None = None) -> Cluster:
        """The management cluster; to look at without rights."""
        return Cluster(self._connect(), rights)

    def workload(self, namespace: str, name: str, rights: tuple[Right, ...] | None = None) -> Cluster:
        """A workload cluster, by the secret `NAME-kubeconfig`, whose key `value` is a kubeconfig.
        (kubernetes-sigs/cluster-api, util/kubeconfig.)"""
        secret = self.management().get(SECRET, f"{name}-kubeconfig", namespace)
        where = f"The cluster {name}"
        if secret is None:
            raise Fatal(
                f"{where} has no kubeconfig on the management cluster yet.", "Its control plane has to come up."
            )
        meta: Any = secret["metadata"]
        key, mark = f"{namespace}/{name}", f"{meta.get('uid')}:{meta.get('resourceVersion')}"
        with self._lock:
            known = self._workloads.get(key)
            if known is None or known[0] != mark:
                if len(self._workloads) >= WORKLOADS_KEPT:
                    self._workloads.pop(next(iter(self._workloads)))
                mend = (
                    f"Its credentials or its authority were changed: the control plane's controller keeps the secret "
                    f"{name}-kubeconfig up to date; see whether it runs, and ask again."
                )
                api = _from_secret(secret, where)
                known = (
                    mark,
                    Connection(api, where, self._timeout, mend=mend, observer=self._observer, where="workload"),
                )
                self._workloads[key] = known
        return Cluster(known[1], rights, key)

    @property
    def _timeout(self) -> tuple[float, float]:
        settings = self._settings or ManagementCluster()
        return settings.connect_timeout, settings.read_timeout

    def _connect(self) -> Connection:
        with self._lock:
            if self._management is None:
                api = _own_api(self._settings)
                self._management = Connection(api, "The management cluster", self._timeout, observer=self._observer)
            return self._management


def _own_api(settings: ManagementCluster | None) -> Any:
    if settings is None:
        raise Fatal(
            "The settings name no management cluster, so clusters cannot be looked at or made.",
            "The platform team has to set `operations.management_cluster`.",
        )
    made = client.Configuration()
    try:
        if settings.access == "in-cluster":
            config.load_incluster_config(client_configuration=made)
        else:
            file = str(settings.kubeconfig) if settings.kubeconfig else None
            config.load_kube_config(file, context=settings.context, client_configuration=made, persist_config=False)
    except (ConfigException, OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise Fatal(
            f"The bot cannot read how to reach the management cluster ({type(error).__name__}).",
            "The platform team has to check `operations.management_cluster` and its kubeconfig.",
        ) from error
    return _client(made)


def _from_secret(secret: Json, where: str) -> Any:
    data: Any = secret.get("data") or {}
    made = client.Configuration()
    try:
        text = base64.b64decode(data["value"], validate=True)
        content = yaml.safe_load(text)
        config.load_kube_config_from_dict(content, client_configuration=made, persist_config=False)
    except (KeyError, binascii.Error, yaml.YAMLError, ConfigException, TypeError, ValueError) as error:
        raise Fatal(
            f"{where} has a kubeconfig on the management cluster that cannot be read ({type(error).__name__}).",
            "The control plane's controller makes it anew when the secret is deleted.",
        ) from error
    ended = _ended(content)
    if ended:
        raise Fatal(
            f"{where} has a kubeconfig on the management cluster whose certificate ended on {ended}.",
            "The control plane's controller renews it in time: see whether it runs, or delete the secret.",
        )
    return _client(made)


def _ended(kubeconfig: Any) -> str:
    """The day on which the certificate of the kubeconfig's users ended; nothing while it holds, or where there is none.
    Controllers renew it when half of its year is over. (kubernetes-sigs/cluster-api, util/certs.)"""
    for user in kubeconfig.get("users") or []:
        encoded = (user.get("user") or {}).get("client-certificate-data")
        if not encoded:
            continue
        try:
            until = x509.load_pem_x509_certificate(base64.b64decode(encoded)).not_valid_after_utc
        except (ValueError, TypeError):
            continue  # whoever uses it says what is wrong with it
        if until < datetime.now(UTC):
            return until.date().isoformat()
    return ""


def _client(made: Any) -> Any:
    made.retries = False
    return client.ApiClient(made)


def _decoded(found: bytes, doing: str, where: str) -> Json:
    """An answer's object, every character of it whole. Retry for anything else: a balancer or a proxy spoke instead of
    the API server."""
    try:
        answer = json.loads(found)
        if b"\\u" in found:  # JSON may have halves of characters, which no message and no database takes
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Retry(f"{where} answered to {doing} with something that is no object.") from error
    if not isinstance(answer, dict):
        raise Retry(f"{where} answered to {doing} with something that is no object.")
    return answer


def _named(kind: Kind, name: str) -> str:
    return f"{kind.name} {name}"


def _warning(header: str) -> str:
    """`299 - "text"`: the text, without the backslashes before its quotes. (RFC 7234, section 5.5.)"""
    quoted = QUOTED.search(header)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header
