"""What `kubectl get` prints: Table answers, by a CRD's printer columns or by those of the built-in kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from sandbox.kube.errors import Obj
from sandbox.kube.resources import Resource

STEP = re.compile(
    r"\.?(?P<name>(?:[^.\[\]\\]|\\.)+)|\['(?P<quoted>[^']+)'\]|\[\?\(@\.(?P<key>[\w.]+)\s*==\s*[\"'](?P<is>[^\"']*)[\"']\)\]"
    r"|\[(?P<index>\*|-?\d+)\]"
)
NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}


def jsonpath(obj: Any, path: str) -> list[Any]:
    """The values at a path of the simple kind that printer columns use."""
    found = [obj]
    for step in STEP.finditer(path):
        found = [value for before in found for value in _step(before, step)]
    return found


def _step(value: Any, step: re.Match[str]) -> Iterable[Any]:
    name = step["name"] or step["quoted"]
    if name:
        key = name.replace("\\", "")
        return [value[key]] if isinstance(value, dict) and key in value else []
    if not isinstance(value, list):
        return []
    if step["key"]:
        return [entry for entry in value if jsonpath(entry, step["key"]) == [step["is"]]]
    return value if step["index"] == "*" else value[int(step["index"]) :][:1]


def age(since: str, now: float) -> str:
    """As kubectl tells a duration: 45s, 5m12s, 3h, 2d4h. Source: apimachinery's `duration.HumanDuration`."""
    seconds = int(now - datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    steps: list[tuple[bool, str, int, str]] = [
        (seconds < 120, f"{max(seconds, 0)}s", 0, ""),
        (minutes < 10, f"{minutes}m", seconds % 60, "s"),
        (minutes < 180, f"{minutes}m", 0, ""),
        (hours < 8, f"{hours}h", minutes % 60, "m"),
        (hours < 48, f"{hours}h", 0, ""),
        (days < 8, f"{days}d", hours % 24, "h"),
        (days < 730, f"{days}d", 0, ""),
        (days < 2920, f"{days // 365}y", days % 365, "d"),
    ]
    chosen = next((step for step in steps if step[0]), (True, f"{days // 365}y", 0, ""))
    return chosen[1] + (f"{chosen[2]}{chosen[3]}" if chosen[2] else "")


def _cell(obj: Obj, column: Mapping[str, Any], now: float) -> Any:
    values = jsonpath(obj, column["jsonPath"])
    if not values or values[0] is None:
        return "<unknown>" if column["type"] == "date" else None
    if column["type"] == "date":
        return age(values[0], now)
    if column["type"] == "string":
        shown = (value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for value in values)
        return " ".join(shown)
    return values[0]


Cell = Callable[[Obj], Any]
Column = tuple[str, str, "str | Cell"]
"""Name, type, and where the value is: a path, or what makes it of the object."""


def _count(field: str) -> Cell:
    return lambda obj: len(obj.get(field) or ())


def _ready(obj: Obj) -> str:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    return f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"


def _zero(path: str) -> Cell:
    return lambda obj: (jsonpath(obj, path) or [0])[0]


def _pod_ready(obj: Obj) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return f"{sum(bool(one.get('ready')) for one in statuses)}/{len(obj.get('spec', {}).get('containers') or ())}"


def _pod_status(obj: Obj) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    waiting = jsonpath(obj, ".status.containerStatuses[*].state.waiting.reason")
    status = obj.get("status") or {}
    return str((waiting or [status.get("reason") or status.get("phase", "Unknown")])[0])


def _restarts(obj: Obj) -> str:
    return str(sum(jsonpath(obj, ".status.containerStatuses[*].restartCount")))


def _node_status(obj: Obj) -> str:
    ready = jsonpath(obj, '.status.conditions[?(@.type=="Ready")].status')
    told = {"True": "Ready", "False": "NotReady"}.get((ready or [""])[0], "Unknown" if not ready else "NotReady")
    return told + (",SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else "")


def _roles(obj: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    found = sorted(key.removeprefix(prefix) for key in obj["metadata"].get("labels") or () if key.startswith(prefix))
    return ",".join(found) or "<none>"


def _addresses(obj: Obj) -> str:
    found = jsonpath(obj, ".status.loadBalancer.ingress[*]")
    pending = "<pending>" if obj.get("spec", {}).get("type") == "LoadBalancer" else "<none>"
    return ",".join(one.get("hostname") or one.get("ip", "") for one in found) or pending


def _ports(obj: Obj) -> str:
    ports = obj.get("spec", {}).get("ports") or ()
    told = (f"{one['port']}" + (f":{one['nodePort']}" if "nodePort" in one else "") for one in ports)
    return ",".join(f"{shown}/{one.get('protocol', 'TCP')}" for shown, one in zip(told, ports, strict=True)) or "<none>"


def _involved(obj: Obj) -> str:
    about = obj.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _role(obj: Obj) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def _job(obj: Obj) -> str:
    conditions = jsonpath(obj, '.status.conditions[?(@.status=="True")].type')
    return str((conditions or ["Running"])[0])


def _completions(obj: Obj) -> str:
    return f"{(jsonpath(obj, '.status.succeeded') or [0])[0]}/{(jsonpath(obj, '.spec.completions') or [1])[0]}"


AGE: Column = ("Age", "date", ".metadata.creationTimestamp")
CREATED: Column = ("Created At", "string", ".metadata.creationTimestamp")
COUNTS: list[Column] = [
    ("Desired", "integer", _zero(".spec.replicas")),
    ("Current", "integer", _zero(".status.replicas")),
]
BUILTIN: dict[str, list[Column]] = {
    "pods": [
        ("Ready", "string", _pod_ready), ("Status", "string", _pod_status), ("Restarts", "string", _restarts), AGE,
    ],
    "nodes": [
        ("Status", "string", _node_status), ("Roles", "string", _roles), AGE,
        ("Version", "string", ".status.nodeInfo.kubeletVersion"),
    ],
    "services": [
        ("Type", "string", ".spec.type"), ("Cluster-IP", "string", ".spec.clusterIP"),
        ("External-IP", "string", _addresses), ("Port(s)", "string", _ports), AGE,
    ],
    "secrets": [("Type", "string", ".type"), ("Data", "integer", _count("data")), AGE],
    "configmaps": [("Data", "integer", _count("data")), AGE],
    "namespaces": [("Status", "string", ".status.phase"), AGE],
    "serviceaccounts": [("Secrets", "integer", _count("secrets")), AGE],
    "persistentvolumes": [
        ("Capacity", "string", ".spec.capacity.storage"),
        ("Reclaim Policy", "string", ".spec.persistentVolumeReclaimPolicy"),
        ("Status", "string", ".status.phase"),
        AGE,
    ],
    "persistentvolumeclaims": [("Status", "string", ".status.phase"), ("Volume", "string", ".spec.volumeName"), AGE],
    "events": [
        ("Last Seen", "date", ".lastTimestamp"), ("Type", "string", ".type"), ("Reason", "string", ".reason"),
        ("Object", "string", _involved), ("Message", "string", ".message"),
    ],
    "deployments.apps": [
        ("Ready", "string", _ready), ("Up-to-date", "integer", _zero(".status.updatedReplicas")),
        ("Available", "integer", _zero(".status.availableReplicas")), AGE,
    ],
    "replicasets.apps": [*COUNTS, ("Ready", "integer", _zero(".status.readyReplicas")), AGE],
    "daemonsets.apps": [
        ("Desired", "integer", _zero(".status.desiredNumberScheduled")),
        ("Current", "integer", _zero(".status.currentNumberScheduled")),
        ("Ready", "integer", _zero(".status.numberReady")), AGE,
    ],
    "jobs.batch": [("Status", "string", _job), ("Completions", "string", _completions), AGE],
    "leases.coordination.k8s.io": [("Holder", "string", ".spec.holderIdentity"), AGE],
    "rolebindings.rbac.authorization.k8s.io": [("Role", "string", _role), AGE],
    "clusterrolebindings.rbac.authorization.k8s.io": [("Role", "string", _role), AGE],
    "roles.rbac.authorization.k8s.io": [CREATED],
    "clusterroles.rbac.authorization.k8s.io": [CREATED],
    "customresourcedefinitions.apiextensions.k8s.io": [CREATED],
}  # fmt: skip


def _cells(resource: Resource, obj: Obj, now: float) -> list[Any]:
    if resource.custom:
        return [_cell(obj, column, now) for column in resource.columns]
    made: list[Any] = []
    for _, kind, source in BUILTIN.get(resource.key, [AGE]):
        made.append(source(obj) if callable(source) else _cell(obj, {"type": kind, "jsonPath": source}, now))
    return made


def columns(resource: Resource) -> list[Obj]:
    """The head of the table."""
    own: list[Mapping[str, Any]] = list(resource.columns)
    if not resource.custom:
        own = [
            {"name": name, "type": kind if kind != "date" else "string"}
            for name, kind, _ in BUILTIN.get(resource.key, [AGE])
        ]
    keys = ("name", "type", "format", "description", "priority")
    told = "Custom resource definition column (in JSONPath format): "
    own = [{"description": told + column["jsonPath"] if "jsonPath" in column else "", **column} for column in own]
    base = {"format": "", "priority": 0}
    return [NAME, *({key: ({**base, **column})[key] for key in keys} for column in own)]


def table(resource: Resource, objects: Iterable[Obj], meta: Obj, now: float, include: str, *, head: bool = True) -> Obj:
    """`include` says what goes with each row: Metadata (the default), Object or None."""
    rows = []
    for obj in objects:
        row: Obj = {"cells": [obj["metadata"]["name"], *_cells(resource, obj, now)]}
        rows.append(row | {"object": None if include == "None" else obj if include == "Object" else partial(obj)})
    found: Obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    return found | {"columnDefinitions": columns(resource) if head else None, "rows": rows}


def partial(obj: Obj) -> Obj:
    """The metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
