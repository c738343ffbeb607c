"""May a pod be on a node: taints and tolerations, node selectors and affinity. Words of the scheduler's filters.

Sources: kube-scheduler's plugins tainttoleration, nodeaffinity, noderesources; "Taints and Tolerations".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside.ground import labels_of

NOT_READY, PRESSURE = "node.kubernetes.io/not-ready", "node.kubernetes.io/disk-pressure"
BLOCKING = ("NoSchedule", "NoExecute")
DAEMON_TOLERATIONS: list[Obj] = [
    {"key": NOT_READY, "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    *(
        {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": "NoSchedule"}
        for name in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
    ),
]
"""What the DaemonSet controller adds to every pod."""


def condition(obj: Obj, kind: str) -> str:
    """The status of a condition; empty where it is not there."""
    found = [entry for entry in at(obj, "status", "conditions", default=[]) if entry["type"] == kind]
    return str(found[0].get("status", "")) if found else ""


def taints(node: Obj) -> list[Obj]:
    """The node's own, and those that the node controller derives from its conditions."""
    found = list(at(node, "spec", "taints", default=[]))
    known = {taint["key"] for taint in found}
    if condition(node, "Ready") != "True" and NOT_READY not in known:
        found.append({"key": NOT_READY, "effect": "NoSchedule"})
    if condition(node, "DiskPressure") == "True" and PRESSURE not in known:
        found.append({"key": PRESSURE, "effect": "NoSchedule"})
    return found


def tolerated(tolerations: Sequence[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    for entry in tolerations:
        anything = entry.get("operator") == "Exists" and not entry.get("key")
        named = anything or entry.get("key") == taint["key"]
        same = entry.get("operator") == "Exists" or entry.get("value", "") == taint.get("value", "")
        if named and same and entry.get("effect") in (None, "", taint["effect"]):
            return True
    return False


def untolerated(spec: Obj, node: Obj) -> str:
    """The scheduler's words for the first taint that keeps the pod away; empty for none."""
    for taint in taints(node):
        if taint["effect"] in BLOCKING and not tolerated(spec.get("tolerations") or (), taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def chosen(spec: Obj, node: Obj) -> bool:
    """Its node selector and its required affinity, both."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    path = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = at(spec, *path)
    if not terms:
        return True
    return any(all(_holds(entry, labels) for entry in term.get("matchExpressions") or ()) for term in terms)


def _holds(entry: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    have, values = labels.get(entry["key"]), entry.get("values") or []
    if entry["operator"] in ("Gt", "Lt"):
        if have is None or not have.isdigit():
            return False
        return int(have) > int(values[0]) if entry["operator"] == "Gt" else int(have) < int(values[0])
    held = {"In": have in values, "NotIn": have not in values, "Exists": have is not None, "DoesNotExist": have is None}
    return held[entry["operator"]]


def admits(spec: Obj, node: Obj) -> bool:
    """For a DaemonSet's pod, which does not compete for resources."""
    own = {**spec, "tolerations": [*(spec.get("tolerations") or ()), *DAEMON_TOLERATIONS]}
    if spec.get("hostNetwork"):
        own["tolerations"].append({"operator": "Exists", "key": NOT_READY})
    return chosen(spec, node) and not untolerated(own, node)
