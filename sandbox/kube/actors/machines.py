"""The Cluster API's machine controller, with the bootstrap provider: from a template to a node, and back.

Sources: cluster-api internal/controllers/machine (phases, conditions, deletion), bootstrap/kubeadm.
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.actors import instances
from sandbox.kube.actors.cloud import CloudError
from sandbox.kube.actors.conditions import new, old, set_both, set_old, summary
from sandbox.kube.actors.instances import is_control_plane
from sandbox.kube.actors.objects import (
    AWS_MACHINES,
    CLUSTER_LABEL,
    CONFIGS,
    CONTROL_PLANE_LABEL,
    MACHINE_TEMPLATES,
    MACHINES,
    at,
    deleting,
)
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj
from sandbox.kube.metadata import SUFFIX

FINALIZER = "machine.cluster.x-k8s.io"
HOOKS = {
    "pre-drain.delete.hook.machine.cluster.x-k8s.io/": "WaitingForPreDrainHook",
    "pre-terminate.delete.hook.machine.cluster.x-k8s.io/": "WaitingForPreTerminateHook",
}
"""Annotations by which others hold a machine's deletion, with the reason that it then gives."""
NODE_WAIT, END_WAIT = 0.8, 0.4
"""Seconds at pace 1 from a running instance to a registered node, and to the end of one."""


def suffix(scene: Scene) -> str:
    return "".join(scene.stage.chance.choice(SUFFIX) for _ in range(5))


def pointer(scene: Scene, resource: str, name: str) -> Obj:
    """A reference in the shape of the generation."""
    known = scene.objects.store.registry.storage(resource)
    if known is None:
        raise LookupError(f"this API server has no {resource}")
    if scene.current:
        return {"apiGroup": known.group, "kind": known.kind, "name": name}
    return {"apiVersion": known.api_version, "kind": known.kind, "name": name, "namespace": scene.namespace}


def make(scene: Scene, owner: Obj, plan: Obj) -> None:
    """Clones the templates and makes the Machine. LookupError names a template that is not there.

    `plan`: template (name), config (spec), version, zone or None, labels.
    """
    template = scene.objects.find(MACHINE_TEMPLATES, plan["template"], scene.namespace)
    if template is None:
        raise LookupError(f'{MACHINE_TEMPLATES} "{plan["template"]}" not found')
    name = f"{owner['metadata']['name']}-{suffix(scene)}"
    labels = {**plan["labels"], CLUSTER_LABEL: scene.name}
    spec: dict[str, Any] = {
        "clusterName": scene.name,
        "version": plan["version"],
        "bootstrap": {"configRef": pointer(scene, CONFIGS, name)},
        "infrastructureRef": pointer(scene, AWS_MACHINES, name),
    }
    if plan["zone"]:
        spec["failureDomain"] = plan["zone"]
    machine = scene.objects.make(
        MACHINES, name, scene.namespace, spec=spec, labels=labels, owner=owner, finalizers=[FINALIZER]
    )
    scene.objects.make(CONFIGS, name, scene.namespace, spec=plan["config"], labels=labels, owner=machine)
    scene.objects.make(
        AWS_MACHINES, name, scene.namespace, spec=template["spec"]["template"]["spec"], labels=labels, owner=machine,
        finalizers=[instances.FINALIZER],
    )  # fmt: skip


async def reconcile(scene: Scene, machine: Obj, infra: Obj, *, initialised: bool) -> None:
    """One Machine with its KubeadmConfig and AWSMachine."""
    name = machine["metadata"]["name"]
    instance = scene.objects.find(AWS_MACHINES, name, scene.namespace)
    if deleting(machine):
        await _remove(scene, machine, instance)
        return
    if instance is None:
        return
    try:
        machine = _bootstrap(scene, machine, infra, initialised=initialised)
        instance = await instances.reconcile(scene, machine, instance, infra)
        if at(instance, "status", "ready") and not at(machine, "spec", "providerID"):
            machine["spec"]["providerID"] = instance["spec"]["providerID"]
            machine = scene.objects.save(machine)
        if at(machine, "spec", "providerID"):
            await _join(scene, machine, instance)
    except CloudError as refused:
        scene.objects.event(machine, "ReconcileError", refused.text, warning=True)
        scene.refused(f"machine {name}")
    _tell(scene, machine, instance)


def _bootstrap(scene: Scene, machine: Obj, infra: Obj, *, initialised: bool) -> Obj:
    """Data for the first control plane machine at once, for all others when there is something to join."""
    name = machine["metadata"]["name"]
    config = scene.objects.find(CONFIGS, name, scene.namespace)
    if config is None or at(machine, "spec", "bootstrap", "dataSecretName"):
        return machine
    if not at(infra, "status", "ready"):
        reason = "WaitingForClusterInfrastructure"
    elif not initialised and not (is_control_plane(machine) and _is_first(scene, machine)):
        reason = "WaitingForControlPlaneAvailable"
    else:
        reason = ""
    if reason:
        told = [new("Ready", False, reason), new("DataSecretAvailable", False, reason)]
        set_both(config, [old("DataSecretAvailable", False, reason)], told, scene.objects.now(), current=scene.current)
        scene.objects.save(config, status=True)
        return machine
    data = {"format": "Y2xvdWQtY29uZmln", "value": "IyMgdGVtcGxhdGU6IGppbmphCiNjbG91ZC1jb25maWcK"}
    scene.objects.make(
        "secrets", name, scene.namespace, data=data, type="cluster.x-k8s.io/secret", owner=config,
        labels={CLUSTER_LABEL: scene.name},
    )  # fmt: skip
    status = {"dataSecretName": name, "ready": True, "initialization": {"dataSecretCreated": True}}
    config["status"] = {**config.get("status", {}), **status}
    told = [new("Ready", True, "Ready"), new("DataSecretAvailable", True, "Available")]
    olds = [old("Ready", True), old("DataSecretAvailable", True), old("CertificatesAvailable", True)]
    set_both(config, olds, told, scene.objects.now(), current=scene.current)
    scene.objects.save(config, status=True)
    machine["spec"]["bootstrap"]["dataSecretName"] = name
    return scene.objects.save(machine)


def _is_first(scene: Scene, machine: Obj) -> bool:
    masters = scene.objects.of_cluster(MACHINES, scene.cluster, CONTROL_PLANE_LABEL)
    oldest = min(masters, key=lambda entry: str(entry["metadata"]["creationTimestamp"]))
    return bool(oldest["metadata"]["uid"] == machine["metadata"]["uid"])


async def _join(scene: Scene, machine: Obj, instance: Obj) -> None:
    """The node registers when its instance could fetch what it needs; the Machine finds it by its provider id."""
    name, faults = machine["metadata"]["name"], scene.stage.faults
    master = is_control_plane(machine)
    workload = scene.stage.workloads.of(scene)
    if workload is None or at(machine, "status", "nodeRef"):
        return
    host = instance["status"]["addresses"][0]["address"]
    if faults.lying_ready:
        machine.setdefault("status", {})["nodeRef"] = {"name": host}
        return
    if host not in workload.nodes():
        if (faults.control_plane_never_comes and master) or (faults.workers_never_come and not master):
            return
        if not scene.may_try(f"boot of {name}"):
            return
        if not await instances.has_way_out(scene, instance):
            scene.refused(f"boot of {name}")
            return
        scene.done(f"boot of {name}")
        if not scene.ripe(f"boot of {name}", NODE_WAIT):
            return
        config = scene.objects.find(CONFIGS, name, scene.namespace) or {}
        workload.join(host, machine, instance, at(config, "spec", default={}))
    node = workload.node_of(machine["spec"]["providerID"])
    if node is not None:
        reference = {"name": node["metadata"]["name"]}
        if not scene.current:
            reference |= {"apiVersion": "v1", "kind": "Node", "uid": node["metadata"]["uid"]}
        machine.setdefault("status", {})["nodeRef"] = reference


def _tell(scene: Scene, machine: Obj, instance: Obj) -> None:
    """Phase, flags and conditions, from what is so."""
    status = machine.setdefault("status", {})
    booted, ready = bool(at(machine, "spec", "bootstrap", "dataSecretName")), bool(at(instance, "status", "ready"))
    has_node = "nodeRef" in status
    steps = (("Running", has_node), ("Provisioned", ready), ("Provisioning", booted), ("Pending", True))
    status["phase"] = next(word for word, so in steps if so)
    status |= {
        "bootstrapReady": booted,
        "infrastructureReady": ready,
        "addresses": at(instance, "status", "addresses", default=[]),
    }
    status["initialization"] = {"bootstrapDataSecretCreated": booted, "infrastructureProvisioned": ready}
    infra = summary(at(instance, "status", "conditions", default=[]), ["Ready"])
    infra = {**infra, "type": "InfrastructureReady"}
    node_old, node_new = _node_conditions(scene, machine)
    olds = [infra, old("BootstrapReady", True) if booted else old("BootstrapReady", False, "WaitingForDataSecret")]
    olds.append(node_old)
    whole = summary(olds, ["BootstrapReady", "InfrastructureReady", "NodeHealthy"])
    news = [
        new("BootstrapConfigReady", booted, "Ready" if booted else "NotReady"),
        new(
            "InfrastructureReady",
            ready,
            infra.get("reason", "Ready" if ready else "NotReady"),
            infra.get("message", ""),
        ),
        {**node_new, "type": "NodeHealthy"},
        {**node_new, "type": "NodeReady"},
        new("Deleting", False, "NotDeleting"),
        new("UpToDate", True, "UpToDate"),
    ]
    wrong = [entry for entry in news[:3] if entry["status"] != "True"]
    text = "\n".join(f"* {entry['type']}: {entry['message'] or entry['reason']}" for entry in wrong)
    news += [
        new("Ready", not wrong, "NotReady" if wrong else "Ready", text),
        new("Available", not wrong, "NotAvailable" if wrong else "Available"),
    ]
    set_both(machine, [*olds, whole], news, scene.objects.now(), current=scene.current)
    scene.objects.save(machine, status=True)


def _node_conditions(scene: Scene, machine: Obj) -> tuple[Obj, Obj]:
    """NodeHealthy in both shapes."""
    provider = at(machine, "spec", "providerID")
    if "nodeRef" not in machine["status"]:
        text = f"Waiting for a Node with spec.providerID {provider} to exist"
        text = text if provider else "Waiting for AWSMachine to report spec.providerID"
        return old("NodeHealthy", False, "WaitingForNodeRef"), new("NodeHealthy", None, "InspectionFailed", text)
    workload = scene.stage.workloads.of(scene)
    node = workload.node_of(provider) if workload else None
    if scene.stage.faults.lying_ready or (node and ready_condition(node)["status"] == "True"):
        return old("NodeHealthy", True), new("NodeHealthy", True, "NodeHealthy")
    if node is None:
        return old("NodeHealthy", False, "NodeNotFound", "", "Error"), new("NodeHealthy", False, "NodeDeleted")
    said = ready_condition(node)
    text = f"Node.Ready: {said['message']}"
    return (
        old("NodeHealthy", False, "NodeConditionsFailed", text, "Warning"),
        new("NodeHealthy", False, "NodeNotHealthy", f"* {text}"),
    )


def ready_condition(node: Obj) -> Obj:
    found: Obj = next(entry for entry in node["status"]["conditions"] if entry["type"] == "Ready")
    return found


def is_ready(scene: Scene, machine: Obj) -> bool:
    """Its node is Ready, as the counters of what owns it count."""
    return "nodeRef" in machine.get("status", {}) and _node_conditions(scene, machine)[0]["status"] == "True"


async def _remove(scene: Scene, machine: Obj, instance: Obj | None) -> None:
    machine.setdefault("status", {})["phase"] = "Deleting"
    hooks = [key for key in at(machine, "metadata", "annotations", default={}) if key.startswith(tuple(HOOKS))]
    reason = HOOKS[f"{hooks[0].split('/')[0]}/"] if hooks else "WaitingForInfrastructureDeletion"
    text = f"* {hooks[0]}" if hooks else ""
    set_both(machine, [], [new("Deleting", True, reason, text)], scene.objects.now(), current=scene.current)
    machine = scene.objects.save(machine, status=True)
    if hooks or not scene.ripe(f"end of {machine['metadata']['name']}", END_WAIT):
        return
    if instance is not None:
        scene.objects.delete(AWS_MACHINES, instance)
        try:
            await instances.terminate(scene, instance)
        except (CloudError, LookupError) as problem:
            set_old(instance, [old("Ready", False, "DeletionFailed", str(problem), "Warning")], scene.objects.now())
            scene.objects.save(instance, status=True)
            scene.refused(f"end of {machine['metadata']['name']}")
            return
    workload = scene.stage.workloads.of(scene)
    if workload is not None:
        workload.leave(at(machine, "spec", "providerID"))
    scene.objects.release(MACHINES, machine, FINALIZER)
