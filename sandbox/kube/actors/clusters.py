"""The Cluster API's cluster controller, and the order of one pass over everything that belongs to a cluster.

Sources: cluster-api internal/controllers/cluster (phases, conditions, deletion order), and its condition types.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.kube.actors import control_plane, infrastructure, machines, workers
from sandbox.kube.actors.conditions import new, old, set_both, summary
from sandbox.kube.actors.objects import (
    AWS_CLUSTERS,
    CLUSTER_LABEL,
    CLUSTERS,
    CONFIG_TEMPLATES,
    CONTROL_PLANE_LABEL,
    CONTROL_PLANES,
    DEPLOYMENTS,
    MACHINE_TEMPLATES,
    MACHINES,
    at,
    deleting,
)
from sandbox.kube.actors.replicas import olds, template_of
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj

FINALIZER = "cluster.cluster.x-k8s.io"
AVAILABLE = ("RemoteConnectionProbe", "InfrastructureReady", "ControlPlaneAvailable", "WorkersAvailable")


async def reconcile(scene: Scene) -> None:
    """One pass. It may be repeated at any time, and is whenever something changed."""
    if at(scene.cluster, "spec", "paused"):
        _write(scene, [], [new("Paused", True, "Paused", "Cluster spec.paused is set to true")])
        return
    meta = scene.cluster["metadata"]
    if not scene.ending and FINALIZER not in meta.get("finalizers", []):
        meta["finalizers"] = [*meta.get("finalizers", []), FINALIZER]
        meta["labels"] = {**meta.get("labels", {}), CLUSTER_LABEL: scene.name}
        scene.cluster = scene.objects.save(scene.cluster)
    infra, plane = _part(scene, "infrastructureRef", AWS_CLUSTERS), _part(scene, "controlPlaneRef", CONTROL_PLANES)
    if infra is not None:
        infra = await infrastructure.reconcile(scene, infra)
        scene.infra = infra
        _endpoint(scene, infra)
    if plane is not None:
        plane = await control_plane.reconcile(scene, plane, infra or {})
    _adopt_templates(scene)
    deployments = _deployments(scene)
    deployments = [await workers.reconcile(scene, entry) for entry in deployments]
    begun = plane is not None and control_plane.initialised(plane)
    for machine in scene.objects.of_cluster(MACHINES, scene.cluster):
        await machines.reconcile(scene, machine, infra or {}, initialised=begun)
    await scene.stage.workloads.look_after(scene)
    workers.health_checks(scene)
    scene.reread()
    if scene.ending:
        _end(scene, infra, plane, deployments)
    else:
        _tell(scene, infra, plane, deployments)


def _part(scene: Scene, field: str, resource: str) -> Obj | None:
    """What the Cluster refers to; only this kind of infrastructure and control plane is played."""
    name = at(scene.cluster, "spec", field, "name", default="")
    return scene.objects.find(resource, name, scene.namespace) if name else None


def _deployments(scene: Scene) -> list[Obj]:
    every = scene.objects.store.list(DEPLOYMENTS, scene.namespace)
    return [entry for entry in every if at(entry, "spec", "clusterName") == scene.name]


def _adopt_templates(scene: Scene) -> None:
    """The Cluster owns what its parts are cloned from, so that it goes when the Cluster does."""
    if scene.ending:
        return
    for resource in (MACHINE_TEMPLATES, CONFIG_TEMPLATES):
        for name in _template_names(scene, resource):
            found = scene.objects.find(resource, name, scene.namespace)
            if found is not None:
                scene.objects.adopt(found, scene.cluster)


def _template_names(scene: Scene, resource: str) -> set[str]:
    names = set()
    for entry in _deployments(scene):
        spec = entry["spec"]["template"]["spec"]
        config = at(spec, "bootstrap", "configRef", "name", default="")
        names.add(template_of(spec) if resource == MACHINE_TEMPLATES else config)
    plane = _part(scene, "controlPlaneRef", CONTROL_PLANES)
    if plane is not None and resource == MACHINE_TEMPLATES:
        names.add(template_of(plane["spec"]["machineTemplate"]))
    return names


def _endpoint(scene: Scene, infra: Obj) -> None:
    host = at(infra, "spec", "controlPlaneEndpoint")
    if host and at(infra, "status", "ready") and at(scene.cluster, "spec", "controlPlaneEndpoint") != host:
        scene.cluster["spec"]["controlPlaneEndpoint"] = host
        scene.cluster = scene.objects.save(scene.cluster)


def _tell(scene: Scene, infra: Obj | None, plane: Obj | None, deployments: Sequence[Obj]) -> None:
    status = scene.cluster.setdefault("status", {})
    provided, begun = bool(at(infra, "status", "ready")), bool(plane and control_plane.initialised(plane))
    endpoint = bool(at(scene.cluster, "spec", "controlPlaneEndpoint", "host"))
    referred = bool(at(scene.cluster, "spec", "infrastructureRef") or at(scene.cluster, "spec", "controlPlaneRef"))
    phase = "Provisioned" if provided and endpoint else "Provisioning" if referred else "Pending"
    if status.get("phase") != phase:
        scene.objects.event(scene.cluster, phase, f"Cluster {scene.name} is {phase}")
    status |= {
        "phase": phase,
        "infrastructureReady": provided,
        "observedGeneration": scene.cluster["metadata"]["generation"],
    }
    status["controlPlaneReady"] = bool(at(plane, "status", "ready"))
    status["initialization"] = {"infrastructureProvisioned": provided, "controlPlaneInitialized": begun}
    domains = at(infra, "status", "failureDomains", default={})
    if domains:
        status["failureDomains"] = [{"name": n, **d} for n, d in domains.items()] if scene.current else domains
    _count(scene, status)
    told = [_infrastructure_old(infra), _control_plane_old(scene, plane), _initialised_old(begun=begun)]
    whole = summary(told, ["InfrastructureReady", "ControlPlaneReady"])
    _write(scene, [*told, whole], _news(scene, infra, plane, deployments))


def _count(scene: Scene, status: Obj) -> None:
    """The v1beta2 counters of both halves."""
    if not scene.current:
        return
    for key, selector in (("controlPlane", CONTROL_PLANE_LABEL), ("workers", f"!{CONTROL_PLANE_LABEL}")):
        own = scene.objects.of_cluster(MACHINES, scene.cluster, selector)
        ready = sum(machines.is_ready(scene, machine) for machine in own)
        if key == "controlPlane":
            plane = _part(scene, "controlPlaneRef", CONTROL_PLANES)
            wanted = int(at(plane, "spec", "replicas", default=0))
        else:
            wanted = sum(int(entry["spec"].get("replicas", 1)) for entry in _deployments(scene))
        status[key] = {"desiredReplicas": wanted, "replicas": len(own), "readyReplicas": ready}
        status[key] |= {"availableReplicas": ready, "upToDateReplicas": len(own)}


def _infrastructure_old(infra: Obj | None) -> Obj:
    if infra is None:
        return old("InfrastructureReady", False, "WaitingForInfrastructure")
    return {**summary(at(infra, "status", "conditions", default=[]), ["Ready"]), "type": "InfrastructureReady"}


def _control_plane_old(scene: Scene, plane: Obj | None) -> Obj:
    found = next((entry for entry in olds(scene, plane) if entry["type"] == "Ready"), None) if plane else None
    if found is None:
        return old("ControlPlaneReady", False, "WaitingForControlPlaneProviderInitialized")
    kept = {key: value for key, value in found.items() if key != "lastTransitionTime"}
    return {**kept, "type": "ControlPlaneReady"}


def _initialised_old(*, begun: bool) -> Obj:
    if begun:
        return old("ControlPlaneInitialized", True)
    return old("ControlPlaneInitialized", False, "WaitingForControlPlaneProviderInitialized")


def _news(scene: Scene, infra: Obj | None, plane: Obj | None, deployments: Sequence[Obj]) -> list[Obj]:
    """The v1beta2 conditions of a Cluster."""
    said = _infrastructure_old(infra)
    provided = said["status"] == "True"
    reason = "Ready" if provided else said.get("reason", "NotReady")
    text = said.get("message", "")
    workload = scene.stage.workloads.of(scene)
    reachable = bool(workload and workload.up) or (
        scene.stage.faults.lying_ready and bool(at(plane, "status", "replicas"))
    )
    begun = bool(plane and control_plane.initialised(plane))
    serving = _mirror(plane, "Available", "ControlPlaneAvailable")
    waiting = [entry for entry in deployments if not _is(entry, "Available")]
    names = "\n".join(
        f"* MachineDeployment {entry['metadata']['name']}: {_text(entry, 'Available')}" for entry in waiting
    )
    probe = "Remote connection not established yet" if not reachable else ""
    news = [
        new("InfrastructureReady", provided, reason, text),
        new("ControlPlaneInitialized", begun, "Initialized" if begun else "NotInitialized"),
        serving,
        new(
            "WorkersAvailable",
            not waiting,
            "NotAvailable" if waiting else "Available" if deployments else "NoWorkers",
            names,
        ),
        new("RemoteConnectionProbe", reachable, "ProbeSucceeded" if reachable else "ProbeFailed", probe),
        _mirror(plane, "MachinesReady", "ControlPlaneMachinesReady"),
        _aggregate(deployments, "MachinesReady", "WorkerMachinesReady"),
        _mirror(plane, "MachinesUpToDate", "ControlPlaneMachinesUpToDate"),
        _aggregate(deployments, "MachinesUpToDate", "WorkerMachinesUpToDate"),
        new("Deleting", False, "NotDeleting"),
        new("Paused", False, "NotPaused"),
        new("Remediating", False, "NotRemediating"),
    ]
    for kind in ("ScalingUp", "ScalingDown", "RollingOut"):
        on = any(_is(entry, kind) for entry in [*([plane] if plane else []), *deployments])
        news.append(new(kind, on, kind if on else f"Not{kind}"))
    wrong = [entry for entry in news if entry["type"] in AVAILABLE and entry["status"] != "True"]
    reasons = "\n".join(f"* {entry['type']}: {entry['message'] or entry['reason']}" for entry in wrong)
    return [*news, new("Available", not wrong, "NotAvailable" if wrong else "Available", reasons)]


def _find(obj: Obj | None, kind: str) -> Obj | None:
    return next((entry for entry in at(obj, "status", "conditions", default=[]) if entry["type"] == kind), None)


def _is(obj: Obj, kind: str) -> bool:
    return (_find(obj, kind) or {}).get("status") == "True"


def _text(obj: Obj, kind: str) -> str:
    return str((_find(obj, kind) or {}).get("message", ""))


def _mirror(obj: Obj | None, kind: str, name: str) -> Obj:
    found = _find(obj, kind)
    if found is None:
        return new(name, None, "NotYetReported", f"Condition {kind} not yet reported")
    return {
        "type": name,
        "status": found["status"],
        "reason": found.get("reason", kind),
        "message": found.get("message", ""),
    }


def _aggregate(objects: Sequence[Obj], kind: str, name: str) -> Obj:
    wrong = [entry for entry in objects if not _is(entry, kind)]
    text = "\n".join(filter(None, (_text(entry, kind) for entry in wrong)))
    word = kind.removeprefix("Machines")
    return new(name, not wrong, f"Not{word}" if wrong else word if objects else "NoReplicas", text)


def _write(scene: Scene, told: Sequence[Obj], news: Sequence[Obj]) -> None:
    set_both(scene.cluster, told, news, scene.objects.now(), current=scene.current)
    scene.cluster = scene.objects.save(scene.cluster, status=True)


def _end(scene: Scene, infra: Obj | None, plane: Obj | None, deployments: Sequence[Obj]) -> None:
    """Workers, control plane, infrastructure, in this order, each when the one before is gone."""
    every = scene.objects.of_cluster(MACHINES, scene.cluster)
    left = [machine for machine in every if CONTROL_PLANE_LABEL not in machine["metadata"]["labels"]]
    still = [
        entry for entry in deployments if scene.objects.find(DEPLOYMENTS, entry["metadata"]["name"], scene.namespace)
    ]
    present = {AWS_CLUSTERS: infra, CONTROL_PLANES: plane}
    kept = {
        key: scene.objects.find(key, obj["metadata"]["name"], scene.namespace) for key, obj in present.items() if obj
    }
    reason = "DeletionCompleted"
    if still or left:
        reason = "WaitingForWorkersDeletion"
        for entry in still:
            scene.objects.delete(DEPLOYMENTS, entry)
    elif kept.get(CONTROL_PLANES):
        reason = "WaitingForControlPlaneDeletion"
        scene.objects.delete(CONTROL_PLANES, kept[CONTROL_PLANES] or {})
    elif kept.get(AWS_CLUSTERS):
        reason = "WaitingForInfrastructureDeletion"
        scene.objects.delete(AWS_CLUSTERS, kept[AWS_CLUSTERS] or {})
    scene.cluster.setdefault("status", {})["phase"] = "Deleting"
    blocked = [_infrastructure_old(infra)] if reason == "WaitingForInfrastructureDeletion" and infra else []
    text = next((entry.get("message", "") for entry in blocked if deleting(infra or {})), "")
    _write(scene, blocked, [new("Deleting", True, reason, text)])
    if reason == "DeletionCompleted":
        scene.objects.release(CLUSTERS, scene.cluster, FINALIZER)
