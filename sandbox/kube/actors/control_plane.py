"""The kubeadm control plane controller: certificates, machines one after the other over the zones, initialised once.

Source: cluster-api controlplane/kubeadm/internal/controllers (controller.go, scale.go, status.go).
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.kube.actors import machines
from sandbox.kube.actors.conditions import new, old, set_both, summary
from sandbox.kube.actors.objects import CONTROL_PLANE_LABEL, CONTROL_PLANES, MACHINES, at, deleting
from sandbox.kube.actors.replicas import (
    counters,
    machines_ready,
    movement,
    new_machines_ready,
    template_of,
    zone_with_fewest,
)
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj

FINALIZER = "kubeadm.controlplane.cluster.x-k8s.io"


async def reconcile(scene: Scene, plane: Obj, infra: Obj) -> Obj:
    """The control plane as it then stands; its machines are looked after elsewhere."""
    plane = scene.objects.adopt(plane, scene.cluster, FINALIZER)
    own = scene.objects.of_cluster(MACHINES, scene.cluster, CONTROL_PLANE_LABEL)
    if deleting(plane):
        for machine in own:
            scene.objects.delete(MACHINES, machine)
        if not own:
            scene.objects.release(CONTROL_PLANES, plane, FINALIZER)
        return plane
    problem = ""
    if at(infra, "status", "ready"):
        await scene.stage.workloads.ensure(scene)
        problem = _scale(scene, plane, own, infra)
        own = scene.objects.of_cluster(MACHINES, scene.cluster, CONTROL_PLANE_LABEL)
    _tell(scene, plane, own, problem)
    return scene.objects.save(plane, status=True)


def initialised(plane: Obj) -> bool:
    return bool(at(plane, "status", "initialization", "controlPlaneInitialized"))


def _scale(scene: Scene, plane: Obj, own: Sequence[Obj], infra: Obj) -> str:
    """One step towards the wanted number, only while every machine so far has a node. The answer is what failed."""
    spec, staying = plane["spec"], [machine for machine in own if not deleting(machine)]
    if len(staying) < len(own) or any("nodeRef" not in machine.get("status", {}) for machine in staying):
        return ""
    zones = [zone for zone, entry in at(infra, "status", "failureDomains", default={}).items() if entry["controlPlane"]]
    if len(staying) < int(spec["replicas"]):
        plan = {
            "template": template_of(spec["machineTemplate"]),
            "config": at(spec, "kubeadmConfigSpec", default={}),
            "version": spec["version"],
            "zone": zone_with_fewest(zones, staying),
            "labels": {CONTROL_PLANE_LABEL: "", "cluster.x-k8s.io/control-plane-name": plane["metadata"]["name"]},
        }
        try:
            machines.make(scene, plane, plan)
        except LookupError as missing:
            return f"failed to clone infrastructure template: {missing}"
    elif len(staying) > int(spec["replicas"]) > 0:
        crowded = max(staying, key=lambda machine: _crowd(machine, staying))
        scene.objects.delete(MACHINES, crowded)
    return ""


def _crowd(machine: Obj, others: Sequence[Obj]) -> tuple[int, str]:
    zone = at(machine, "spec", "failureDomain")
    return sum(at(other, "spec", "failureDomain") == zone for other in others), machine["metadata"]["name"]


def _tell(scene: Scene, plane: Obj, own: Sequence[Obj], problem: str) -> None:
    spec, status = plane["spec"], plane.setdefault("status", {})
    joined = [machine for machine in own if "nodeRef" in machine.get("status", {})]
    begun = initialised(plane) or bool(joined)
    status |= counters(scene, spec, own, spec["version"])
    status |= {"initialized": begun, "ready": status["readyReplicas"] > 0}
    status["initialization"] = {"controlPlaneInitialized": begun}
    status["observedGeneration"] = plane["metadata"].get("generation", 1)
    status["selector"] = f"cluster.x-k8s.io/cluster-name={scene.name},{CONTROL_PLANE_LABEL}"
    if joined:
        status["version"] = spec["version"]
    certified = scene.stage.workloads.of(scene) is not None
    wanted = int(spec["replicas"])
    olds = [
        old("CertificatesAvailable", True) if certified else old("CertificatesAvailable", False, "WaitingForCluster"),
        old("Available", True) if begun else old("Available", False, "WaitingForKubeadmInit"),
        _created(problem),
        machines_ready(scene, own),
        old("Resized", True) if len(own) == wanted else old(
            "Resized", False, "ScalingUp" if len(own) < wanted else "ScalingDown",
            f"Scaling control plane to {wanted} replicas (actual {len(own)})", "Warning",
        ),
    ]  # fmt: skip
    healthy = bool(joined)
    if begun:
        olds += [old("ControlPlaneComponentsHealthy", healthy), old("EtcdClusterHealthy", healthy)]
    order = ["CertificatesAvailable", "Available", "MachinesCreated", "MachinesReady", "Resized"]
    news = [
        new("Initialized", begun, "Initialized" if begun else "NotInitialized"),
        new("Available", healthy, "Available" if healthy else "NotAvailable", "" if healthy else _why(begun, problem)),
        new("CertificatesAvailable", certified, "Available" if certified else "InternalError"),
        new("EtcdClusterHealthy", healthy or None, "Healthy" if healthy else "ConnectionDown"),
        new("ControlPlaneComponentsHealthy", healthy or None, "Healthy" if healthy else "ConnectionDown"),
        new_machines_ready(scene, own),
        *movement(spec, own, spec["version"]),
    ]
    both = [*olds, summary(olds, order)]
    set_both(plane, both, news, scene.objects.now(), current=scene.current)


def _created(problem: str) -> Obj:
    if not problem:
        return old("MachinesCreated", True)
    return old("MachinesCreated", False, "InfrastructureTemplateCloningFailed", problem, "Error")


def _why(begun: bool, problem: str) -> str:
    return problem or ("No control plane machine has a node" if begun else "Control plane not yet initialized")
