"""Deployments and their ReplicaSets: pods, counters, the conditions Available and Progressing.

Source: kube-controller-manager's deployment and replicaset controllers. A new template takes over at once.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at, deleting
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.ground import DEPLOYMENTS, PODS, REPLICA_SETS, Ground, labels_of, with_times

COMPONENT, SETS = "deployment-controller", "replicaset-controller"
HASH = "pod-template-hash"


def reconcile(ground: Ground) -> None:
    """Every Deployment, then every ReplicaSet that somebody owns."""
    for entry in ground.all(DEPLOYMENTS):
        if not deleting(entry):
            _one(ground, entry)
    for entry in ground.all(REPLICA_SETS):
        _pods(ground, entry)


def _one(ground: Ground, deployment: Obj) -> None:
    meta, spec = deployment["metadata"], deployment["spec"]
    mark, wanted = ground.template_digest(deployment), int(spec.get("replicas", 1))
    name, objects = f"{meta['name']}-{mark}", ground.acting(COMPONENT)
    own = {entry["metadata"]["name"]: entry for entry in ground.owned(deployment, REPLICA_SETS)}
    if name not in own:
        labels = {**at(spec, "template", "metadata", "labels", default={}), HASH: mark}
        template = {**spec["template"], "metadata": {**(spec["template"].get("metadata") or {}), "labels": labels}}
        selector = {"matchLabels": {**at(spec, "selector", "matchLabels", default={}), HASH: mark}}
        own[name] = objects.make(
            REPLICA_SETS, name, meta["namespace"], labels=labels, owner=deployment,
            spec={"replicas": wanted, "selector": selector, "template": template},
        )  # fmt: skip
        text = f"Scaled up replica set {name} from 0 to {wanted}"
        objects.event(deployment, "ScalingReplicaSet", text)
    for entry in own.values():
        share = wanted if entry["metadata"]["name"] == name else 0
        if entry["spec"].get("replicas") != share:
            found = objects.find(REPLICA_SETS, entry["metadata"]["name"], meta["namespace"]) or {}
            found["spec"]["replicas"] = share
            objects.save(found)
    _tell(ground, deployment, own[name], list(own.values()))


def _pods(ground: Ground, entry: Obj) -> None:
    wanted = int(entry["spec"].get("replicas", 1))
    own = ground.owned(entry, PODS)
    living = [pod for pod in own if not pods.over(pod)]
    for pod in living[wanted:]:
        pods.remove(ground, SETS, pod)
    for _ in range(wanted - len(living)):
        if pods.make(ground, SETS, entry, f"{entry['metadata']['name']}-{ground.suffix()}") is None:
            break
    own = [pod for pod in ground.owned(entry, PODS) if not pods.over(pod)]
    ready = sum(pods.ready(pod) for pod in own)
    counted = {"replicas": len(own), "fullyLabeledReplicas": len(own), "readyReplicas": ready}
    status = {**counted, "availableReplicas": ready, "observedGeneration": entry["metadata"].get("generation", 1)}
    ground.edit(SETS, entry, status)


def _tell(ground: Ground, deployment: Obj, newest: Obj, sets: list[Obj]) -> None:
    wanted = int(deployment["spec"].get("replicas", 1))
    own = [pod for entry in sets for pod in ground.owned(entry, PODS) if not pods.over(pod)]
    mark = labels_of(newest)[HASH]
    updated = [pod for pod in own if labels_of(pod).get(HASH) == mark]
    ready = sum(pods.ready(pod) for pod in own)
    enough = ready >= wanted
    available = _condition(
        "Available", enough, "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "Deployment has minimum availability." if enough else "Deployment does not have minimum availability.",
    )  # fmt: skip
    done = sum(pods.ready(pod) for pod in updated) >= wanted
    text = f'ReplicaSet "{newest["metadata"]["name"]}" ' + (
        "has successfully progressed." if done else "is progressing."
    )
    progressing = _condition("Progressing", True, "NewReplicaSetAvailable" if done else "ReplicaSetUpdated", text)
    before = at(deployment, "status", "conditions", default=[])
    status = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": len(own),
        "updatedReplicas": len(updated),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(wanted - ready, 0),
        "conditions": with_times(before, [available, progressing], ground.now()),
    }
    ground.edit(COMPONENT, deployment, {name: value for name, value in status.items() if value != 0})


def _condition(kind: str, status: bool, reason: str, message: str) -> Obj:
    return {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}
