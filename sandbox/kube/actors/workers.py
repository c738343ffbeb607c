"""MachineDeployments, their MachineSets, and the status of MachineHealthChecks.

Source: cluster-api internal/controllers (machinedeployment, machineset, machinehealthcheck).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sandbox.kube.actors import machines
from sandbox.kube.actors.conditions import new, old, set_both, summary
from sandbox.kube.actors.machines import is_ready
from sandbox.kube.actors.objects import (
    CLUSTER_LABEL,
    CONFIG_TEMPLATES,
    DEPLOYMENTS,
    HEALTH_CHECKS,
    MACHINES,
    SETS,
    at,
    deleting,
    selects,
)
from sandbox.kube.actors.replicas import counters, machines_ready, movement, new_machines_ready, template_of
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj

FINALIZER, SET_FINALIZER = "cluster.x-k8s.io/machinedeployment", "cluster.x-k8s.io/machineset"
SET_LABEL, DEPLOYMENT_LABEL = "cluster.x-k8s.io/set-name", "cluster.x-k8s.io/deployment-name"


async def reconcile(scene: Scene, deployment: Obj) -> Obj:
    """A MachineDeployment with its sets; the machines are looked after elsewhere."""
    deployment = scene.objects.adopt(deployment, scene.cluster, FINALIZER)
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    mark = f"{DEPLOYMENT_LABEL}={name}"
    sets = scene.objects.of_cluster(SETS, scene.cluster, mark)
    if deleting(deployment):
        for entry in sets:
            scene.objects.delete(SETS, entry)
            _reconcile_set(scene, entry)
        if not scene.objects.of_cluster(SETS, scene.cluster, mark):
            scene.objects.release(DEPLOYMENTS, deployment, FINALIZER)
        return deployment
    digest = hashlib.sha256(json.dumps(spec["template"]["spec"], sort_keys=True).encode()).hexdigest()[:10]
    labels = {
        **at(spec, "template", "metadata", "labels", default={}),
        DEPLOYMENT_LABEL: name,
        CLUSTER_LABEL: scene.name,
    }
    wanted, newest_name = int(spec.get("replicas", 1)), f"{name}-{digest}"
    chosen = {**at(spec, "selector", "matchLabels", default={}), SET_LABEL: newest_name}
    content = {"clusterName": scene.name, "replicas": wanted, "template": spec["template"]}
    newest = scene.objects.make(
        SETS, newest_name, scene.namespace, spec={**content, "selector": {"matchLabels": chosen}},
        labels=labels, owner=deployment, finalizers=[SET_FINALIZER],
    )  # fmt: skip
    problem = ""
    for entry in scene.objects.of_cluster(SETS, scene.cluster, mark):
        share = wanted
        if entry["metadata"]["name"] != newest_name:
            arrived = at(newest, "status", "readyReplicas", default=0) >= wanted
            share = 0 if arrived else int(entry["spec"]["replicas"])
        if int(entry["spec"]["replicas"]) != share:
            entry["spec"]["replicas"] = share
            entry = scene.objects.save(entry)
        problem = _reconcile_set(scene, entry) or problem
    own = scene.objects.of_cluster(MACHINES, scene.cluster, mark)
    _tell(scene, deployment, own, problem)
    return scene.objects.save(deployment, status=True)


def _reconcile_set(scene: Scene, entry: Obj) -> str:
    """As many machines as wanted, all at once. The answer is what failed."""
    name, spec, problem = entry["metadata"]["name"], entry["spec"], ""
    own = scene.objects.of_cluster(MACHINES, scene.cluster, f"{SET_LABEL}={name}")
    entry = scene.objects.find(SETS, name, scene.namespace) or entry
    wanted = 0 if deleting(entry) else int(spec["replicas"])
    staying = sorted((m for m in own if not deleting(m)), key=lambda m: _keep_order(scene, m), reverse=True)
    for machine in staying[wanted:]:
        scene.objects.delete(MACHINES, machine)
    try:
        for _ in range(wanted - len(staying)):
            machines.make(scene, entry, _plan(scene, entry))
    except LookupError as missing:
        problem = str(missing)
    if deleting(entry):
        if not own:
            scene.objects.release(SETS, entry, SET_FINALIZER)
        return ""
    own = scene.objects.of_cluster(MACHINES, scene.cluster, f"{SET_LABEL}={name}")
    _tell(scene, entry, own, problem)
    scene.objects.save(entry, status=True)
    return problem


def _keep_order(scene: Scene, machine: Obj) -> tuple[bool, bool, str]:
    """What goes first: the one that somebody marked, then one without a ready node."""
    marked = "cluster.x-k8s.io/delete-machine" in machine["metadata"].get("annotations", {})
    return not marked, is_ready(scene, machine), machine["metadata"]["name"]


def _plan(scene: Scene, entry: Obj) -> Obj:
    template = entry["spec"]["template"]
    spec = template["spec"]
    config_name = at(spec, "bootstrap", "configRef", "name", default="")
    config = scene.objects.find(CONFIG_TEMPLATES, config_name, scene.namespace)
    if config is None:
        raise LookupError(f'{CONFIG_TEMPLATES} "{config_name}" not found')
    own = {SET_LABEL: entry["metadata"]["name"]}
    own[DEPLOYMENT_LABEL] = entry["metadata"]["labels"][DEPLOYMENT_LABEL]
    return {
        "template": template_of(spec),
        "config": at(config, "spec", "template", "spec", default={}),
        "version": spec.get("version", ""),
        "zone": spec.get("failureDomain"),
        "labels": {**at(template, "metadata", "labels", default={}), **own},
    }


def _tell(scene: Scene, obj: Obj, own: Sequence[Obj], problem: str) -> None:
    """Counters, phase and conditions of a deployment or a set."""
    spec, status = obj["spec"], obj.setdefault("status", {})
    wanted, version = int(spec.get("replicas", 1)), str(at(spec, "template", "spec", "version", default=""))
    status |= counters(scene, spec, own, version)
    status["observedGeneration"] = obj["metadata"].get("generation", 1)
    pairs = at(spec, "selector", "matchLabels", default={})
    status["selector"] = ",".join(f"{key}={value}" for key, value in pairs.items())
    ready = status["readyReplicas"]
    if obj["kind"] == "MachineDeployment":
        status["phase"] = "ScalingUp" if ready < wanted else "ScalingDown" if len(own) > wanted else "Running"
    text = f"Minimum availability requires {wanted} replicas, current {ready} available"
    enough = ready >= wanted
    created = old("MachinesCreated", True)
    if problem:
        created = old("MachinesCreated", False, "InfrastructureTemplateCloningFailed", problem, "Error")
    olds = [
        old("Available", True) if enough else old("Available", False, "WaitingForAvailableMachines", text, "Warning"),
        created,
        machines_ready(scene, own),
    ]
    news = [
        new("Available", enough, "Available" if enough else "NotAvailable", "" if enough else text),
        new_machines_ready(scene, own),
        *movement(spec, own, version),
    ]
    if problem:
        news.append(new("ScalingUp", True, "ScalingUp", problem))
    whole = summary(olds, ["MachinesCreated", "MachinesReady", "Available"])
    set_both(obj, [*olds, whole], news, scene.objects.now(), current=scene.current)


def health_checks(scene: Scene) -> None:
    """How many machines a check watches, and how many of them are well. Nothing is remediated."""
    for check in scene.objects.store.list(HEALTH_CHECKS, scene.namespace):
        if at(check, "spec", "clusterName") != scene.name or deleting(check):
            continue
        check = scene.objects.adopt(check, scene.cluster)
        selector: dict[str, Any] = at(check, "spec", "selector", default={})
        every = scene.objects.of_cluster(MACHINES, scene.cluster)
        seen = [machine for machine in every if selects(selector, machine["metadata"].get("labels", {}))]
        well = sum(is_ready(scene, machine) for machine in seen)
        status = check.setdefault("status", {})
        status |= {"expectedMachines": len(seen), "currentHealthy": well}
        status["remediationsAllowed"] = max(_tolerated(check["spec"], len(seen)) - (len(seen) - well), 0)
        status["targets"] = sorted(machine["metadata"]["name"] for machine in seen)
        allowed = [new("RemediationAllowed", True, "RemediationAllowed")]
        set_both(check, [old("RemediationAllowed", True)], allowed, scene.objects.now(), current=scene.current)
        scene.objects.save(check, status=True)


def _tolerated(spec: Obj, expected: int) -> int:
    """How many may be unhealthy before nothing is remediated any more; a number or a percentage, in either shape."""
    newer = at(spec, "remediation", "triggerIf", "unhealthyLessThanOrEqualTo")
    limit = str(at(spec, "maxUnhealthy") or newer or "100%")
    return int(limit[:-1]) * expected // 100 if limit.endswith("%") else int(limit)
