"""What a control plane and a set of workers have in common: counting their machines and telling about them.

Sources: cluster-api's counters (v1beta1 updatedReplicas, v1beta2 upToDateReplicas) and aggregated conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.kube.actors.conditions import new, old
from sandbox.kube.actors.machines import is_ready
from sandbox.kube.actors.objects import at, deleting
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj


def olds(scene: Scene, obj: Obj) -> list[Obj]:
    """An object's v1beta1 conditions, wherever the generation keeps them."""
    path = ("status", "deprecated", "v1beta1", "conditions") if scene.current else ("status", "conditions")
    found: list[Obj] = at(obj, *path, default=[])
    return found


def template_of(spec: Obj) -> str:
    """The machine template's name, in the older or the newer place."""
    reference = at(spec, "infrastructureRef") or at(spec, "spec", "infrastructureRef", default={})
    return str(reference.get("name", ""))


def counters(scene: Scene, spec: Obj, machines: Sequence[Obj], version: str) -> dict[str, Any]:
    """All counters of both generations; they are written even when they are 0."""
    ready = sum(is_ready(scene, machine) for machine in machines)
    updated = sum(at(machine, "spec", "version") == version for machine in machines)
    return {
        "replicas": len(machines),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "updatedReplicas": updated,
        "upToDateReplicas": updated,
        "unavailableReplicas": max(int(spec.get("replicas", 1)) - ready, 0),
    }


def machines_ready(scene: Scene, machines: Sequence[Obj]) -> Obj:
    """The old aggregate: errors first, then warnings, then what is only not there yet."""
    severities = {"Error": 0, "Warning": 1, "Info": 2}
    found = []
    for machine in machines:
        entry = next((c for c in olds(scene, machine) if c["type"] == "Ready"), {"status": "False", "severity": "Info"})
        if entry["status"] != "True":
            found.append((severities.get(entry.get("severity", "Info"), 2), machine["metadata"]["name"], entry))
    if not found:
        return old("MachinesReady", True)
    _, name, worst = min(found, key=lambda item: item[:2])
    reason = f"{worst.get('reason', 'NotReady')} @ Machine/{name}"
    return old("MachinesReady", False, reason, worst.get("message", ""), worst.get("severity", "Info"))


def movement(spec: Obj, machines: Sequence[Obj], version: str) -> list[Obj]:
    """The v1beta2 conditions about change; True is what is going on."""
    wanted, have = int(spec.get("replicas", 1)), len(machines)
    leaving = any(map(deleting, machines))
    rolling = any(at(machine, "spec", "version") != version for machine in machines)
    up, down = have < wanted, have > wanted or leaving
    return [
        new(
            "ScalingUp", up, "ScalingUp" if up else "NotScalingUp", f"Scaling up from {have} to {wanted} replicas" * up
        ),
        new(
            "ScalingDown",
            down,
            "ScalingDown" if down else "NotScalingDown",
            f"Scaling down to {wanted} replicas" * down,
        ),
        new("RollingOut", rolling, "RollingOut" if rolling else "NotRollingOut"),
        new("MachinesUpToDate", not rolling, "NotUpToDate" if rolling else "UpToDate"),
        new("Remediating", False, "NotRemediating"),
        new("Deleting", False, "NotDeleting"),
    ]


def new_machines_ready(scene: Scene, machines: Sequence[Obj]) -> Obj:
    """The v1beta2 aggregate: each machine that is not ready, with its own words."""
    texts = []
    for machine in machines:
        entry = next((c for c in at(machine, "status", "conditions", default=[]) if c["type"] == "Ready"), None)
        if entry is None or entry["status"] != "True":
            text = (entry or {}).get("message", "").replace("\n", "\n  ")
            texts.append(f"* Machine {machine['metadata']['name']}:\n  {text}")
    if not machines:
        return new("MachinesReady", True, "NoReplicas")
    return new("MachinesReady", not texts, "NotReady" if texts else "Ready", "\n".join(texts))


def zone_with_fewest(zones: Sequence[str], machines: Sequence[Obj]) -> str | None:
    counts = {zone: sum(at(machine, "spec", "failureDomain") == zone for machine in machines) for zone in zones}
    return min(counts, key=lambda zone: (counts[zone], zone)) if counts else None
