"""What the actors read and write: objects by kind, saved only when they differ, events, owners and finalizers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sandbox.kube.errors import ApiError, Obj
from sandbox.kube.metadata import stamp
from sandbox.kube.store import Store

CORE, ADDONS = "cluster.x-k8s.io", "addons.cluster.x-k8s.io"
AWS, BOOTSTRAP = "infrastructure.cluster.x-k8s.io", "bootstrap.cluster.x-k8s.io"
CLUSTERS, MACHINES = f"clusters.{CORE}", f"machines.{CORE}"
DEPLOYMENTS, SETS = f"machinedeployments.{CORE}", f"machinesets.{CORE}"
HEALTH_CHECKS = f"machinehealthchecks.{CORE}"
CONTROL_PLANES = f"kubeadmcontrolplanes.controlplane.{CORE}"
CONFIGS, CONFIG_TEMPLATES = f"kubeadmconfigs.{BOOTSTRAP}", f"kubeadmconfigtemplates.{BOOTSTRAP}"
AWS_CLUSTERS, AWS_MACHINES = f"awsclusters.{AWS}", f"awsmachines.{AWS}"
MACHINE_TEMPLATES = f"awsmachinetemplates.{AWS}"
CLUSTER_LABEL, CONTROL_PLANE_LABEL = f"{CORE}/cluster-name", f"{CORE}/control-plane"


REQUEST_ID = re.compile(r"(RequestID|request id): \S+")


class Objects:
    """One API server's store, with what every controller does. What it gives may be changed and saved."""

    def __init__(self, store: Store, component: str) -> None:
        self.store, self.component = store, component

    def now(self) -> str:
        return stamp(self.store.clock())

    def find(self, resource: str, name: str, namespace: str = "") -> Obj | None:
        """None also where the server does not know the kind."""
        return self.store.find(resource, name, namespace)

    def of_cluster(self, resource: str, cluster: Obj, selector: str = "") -> list[Obj]:
        """The cluster's own, by the label that their makers put on them."""
        meta = cluster["metadata"]
        label = f"{CLUSTER_LABEL}={meta['name']}"
        return self.store.list(resource, meta["namespace"], f"{label},{selector}" if selector else label)

    def make(self, resource: str, name: str, namespace: str, **content: Any) -> Obj:
        """Creates it in the version in which the server keeps it; an existing one is given back as it is."""
        known = self.store.registry.storage(resource)
        if known is None:
            raise LookupError(f"this API server has no {resource}")
        labels, owner = content.pop("labels", {}), content.pop("owner", None)
        meta = {"name": name, "namespace": namespace, "labels": labels, "finalizers": content.pop("finalizers", [])}
        if owner is not None:
            meta["ownerReferences"] = [reference(owner, controller=True)]
        kept = {key: value for key, value in meta.items() if value}
        body = {"apiVersion": known.api_version, "kind": known.kind, "metadata": kept, **content}
        try:
            return self.store.create(body, manager=self.component)
        except ApiError as refused:
            found = self.store.find(resource, name, namespace)
            if refused.code != 409 or found is None:
                raise
            return found

    def save(self, obj: Obj, *, status: bool = False) -> Obj:
        """Writes what differs; what was read before somebody else wrote is not written, the next pass sees both."""
        try:
            return self.store.update(obj, status=status, manager=self.component)
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise
            return obj

    def adopt(self, obj: Obj, owner: Obj, finalizer: str = "") -> Obj:
        """Owner, label and finalizer, as each controller sets them on what belongs to a cluster."""
        meta = obj["metadata"]
        meta.setdefault("labels", {})[CLUSTER_LABEL] = owner["metadata"]["name"]
        owners = meta.setdefault("ownerReferences", [])
        if not any(entry["uid"] == owner["metadata"]["uid"] for entry in owners):
            owners.append(reference(owner))
        if finalizer and finalizer not in meta.setdefault("finalizers", []) and "deletionTimestamp" not in meta:
            meta["finalizers"].append(finalizer)
        return self.save(obj)

    def delete(self, resource: str, obj: Obj) -> None:
        """A second time does nothing."""
        if "deletionTimestamp" not in obj["metadata"]:
            self.store.delete(resource, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))

    def release(self, resource: str, obj: Obj, finalizer: str) -> None:
        """The controller is done with it, so that the server may let go of it."""
        found = self.find(resource, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        if found and finalizer in found["metadata"].get("finalizers", []):
            found["metadata"]["finalizers"].remove(finalizer)
            self.save(found)

    def event(self, about: Obj, reason: str, message: str, *, warning: bool = False) -> None:
        """The same again counts up, as the event recorder does."""
        meta, now = about["metadata"], self.now()
        namespace = meta.get("namespace", "default")
        same = f"{about['kind']} {meta['uid']} {reason} {REQUEST_ID.sub('', message)}"
        digest = hashlib.sha256(same.encode()).hexdigest()[:16]
        found = self.find("events", f"{meta['name']}.{digest}", namespace)
        if found is not None:
            found |= {"count": found.get("count", 1) + 1, "lastTimestamp": now}
            self.save(found)
            return
        regarding = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": meta["name"], "uid": meta["uid"]}
        self.make(
            "events", f"{meta['name']}.{digest}", namespace,
            involvedObject=regarding | ({"namespace": meta["namespace"]} if "namespace" in meta else {}),
            reason=reason, message=message, type="Warning" if warning else "Normal", count=1,
            firstTimestamp=now, lastTimestamp=now, source={"component": self.component},
        )  # fmt: skip


def reference(owner: Obj, *, controller: bool = False) -> Obj:
    """An entry of metadata.ownerReferences."""
    entry = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
    entry |= {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return {**entry, "controller": True, "blockOwnerDeletion": True} if controller else entry


def deleting(obj: Obj) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def at(obj: Mapping[str, Any] | None, *path: str, default: Any = None) -> Any:
    """A field some way down; `default` where anything on the way is missing."""
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return default if value is None else value


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """matchLabels and matchExpressions, both of which must hold. No selector selects nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_fits(entry, labels.get(entry["key"])) for entry in selector.get("matchExpressions", []))


def _fits(entry: Mapping[str, Any], have: str | None) -> bool:
    """One of matchExpressions."""
    inside = have in entry.get("values", [])
    held = {"In": inside, "NotIn": not inside, "Exists": have is not None, "DoesNotExist": have is None}
    return held[entry["operator"]]
