"""The scale subresource: an `autoscaling/v1` Scale in place of the whole object."""

from __future__ import annotations

from typing import Any

from sandbox.kube.errors import Obj, bad_request, invalid, invalid_value
from sandbox.kube.resources import Resource
from sandbox.kube.schema import copied


def _at(obj: Obj, path: str) -> Any:
    found: Any = obj
    for name in path.strip(".").split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def scale_of(resource: Resource, obj: Obj) -> Obj:
    """What is wanted, what there is, and how to find it."""
    paths, meta = resource.scale or {}, obj["metadata"]
    selector = _at(obj, paths.get("labelSelectorPath", ".status.selector"))
    if isinstance(selector, dict):
        selector = ",".join(f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
    kept = {
        name: meta[name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in meta
    }
    wanted, there = _at(obj, paths["specReplicasPath"]), _at(obj, paths["statusReplicasPath"])
    status = {"replicas": there or 0} | ({"selector": selector} if selector else {})
    kind = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept}
    return kind | {"spec": {"replicas": wanted} if wanted else {}, "status": status}


def scaled(resource: Resource, obj: Obj, scale: Any) -> Obj:
    """The object with the replicas that a Scale asks for."""
    if not isinstance(scale, dict) or not all(isinstance(scale.get(key) or {}, dict) for key in ("spec", "metadata")):
        raise bad_request("the body must be a Scale")
    count, meta = (scale.get("spec") or {}).get("replicas", 0), scale.get("metadata") or {}
    if not isinstance(count, int) or isinstance(count, bool):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be a number')
    if count < 0:
        cause = invalid_value(".spec.replicas", count, "should be a non-negative integer")
        raise invalid(resource.kind, resource.group, obj["metadata"]["name"], [cause])
    made: Obj = copied(obj)
    holder = made
    *names, last = (resource.scale or {})["specReplicasPath"].strip(".").split(".")
    for name in names:
        holder = holder.setdefault(name, {})
    holder[last] = count
    made["metadata"].pop("resourceVersion", None)
    return made | {"metadata": made["metadata"] | {key: meta[key] for key in ("resourceVersion", "uid") if key in meta}}
