"""ClusterResourceSets: what they hold is applied to the workload clusters that they select, once.

Source: cluster-api internal/controllers/clusterresourceset. A set selects only clusters of its own namespace.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import yaml

from sandbox.kube.actors.conditions import new, old, set_both
from sandbox.kube.actors.objects import ADDONS, Objects, at, selects
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import ApiError, Obj

SETS, BINDINGS = f"clusterresourcesets.{ADDONS}", f"clusterresourcesetbindings.{ADDONS}"


def reconcile(scene: Scene, target: Objects) -> None:
    """`target` is the workload cluster's API, which must be up."""
    labels = scene.cluster["metadata"].get("labels", {})
    applied = []
    for entry in scene.objects.store.list(SETS, scene.namespace):
        if not selects(at(entry, "spec", "clusterSelector"), labels):
            continue
        found = [_apply(scene, target, item) for item in at(entry, "spec", "resources", default=[])]
        problems = [item["problem"] for item in found if "problem" in item]
        _tell(scene, entry, problems)
        if not problems:
            applied.append({"clusterResourceSetName": entry["metadata"]["name"], "resources": found})
    if applied:
        _bind(scene, applied)


def _apply(scene: Scene, target: Objects, item: Obj) -> Obj:
    """One ConfigMap or Secret with manifests."""
    kind, name = item["kind"], item["name"]
    holder = scene.objects.find("configmaps" if kind == "ConfigMap" else "secrets", name, scene.namespace)
    if holder is None:
        return {"problem": f'{kind} "{name}" not found'}
    texts = list(at(holder, "data", default={}).values())
    if kind == "Secret":
        texts = [base64.b64decode(text).decode() for text in texts]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    for body in (body for text in texts for body in yaml.safe_load_all(text) if body):
        try:
            target.store.create(body, manager="cluster-resource-set")
        except ApiError as refused:
            if refused.code != 409:
                return {"problem": refused.message}
    return {"kind": kind, "name": name, "applied": True, "hash": f"sha256:{digest}"}


def _tell(scene: Scene, entry: Obj, problems: list[str]) -> None:
    text = "; ".join(problems)
    reason = "WrongSecretType" if "type" in text else "RetrievingResourceFailed"
    olds = [old("ResourcesApplied", False, reason, text, "Error") if problems else old("ResourcesApplied", True)]
    news = [new("ResourcesApplied", not problems, "NotApplied" if problems else "Applied", text)]
    set_both(entry, olds, news, scene.objects.now(), current=scene.current)
    scene.objects.save(entry, status=True)


def _bind(scene: Scene, applied: list[Obj]) -> None:
    found = scene.objects.find(BINDINGS, scene.name, scene.namespace)
    spec: dict[str, Any] = {"clusterName": scene.name, "bindings": applied}
    if found is None:
        scene.objects.make(BINDINGS, scene.name, scene.namespace, spec=spec, owner=scene.cluster)
        return
    known = {
        name: None for entry in at(found, "spec", "bindings", default=[]) for name in [entry["clusterResourceSetName"]]
    }
    if set(known) != {entry["clusterResourceSetName"] for entry in applied}:
        found["spec"] = spec
        scene.objects.save(found)
