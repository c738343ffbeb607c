"""The scheduler: a node for every pod that has none, or the reasons in its own words.

Sources: kube-scheduler's framework (FitError), its filters in their order, and the default preemption's message.
"""

from __future__ import annotations

from collections import Counter

from sandbox.kube.actors.objects import at, deleting
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.ground import NODES, PODS, Ground
from sandbox.kube.inside.placing import chosen, untolerated
from sandbox.kube.inside.quantities import amount, asked, summed
from sandbox.kube.schema import copied

COMPONENT = "default-scheduler"
HELPLESS, NO_VICTIMS = "Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"


def reconcile(ground: Ground) -> None:
    """Pods in the order of their names; a pod that does not fit says so once."""
    for pod in ground.all(PODS):
        if not at(pod, "spec", "nodeName") and not pods.over(pod) and not deleting(pod):
            _place(ground, pod)


def _place(ground: Ground, pod: Obj) -> None:
    nodes, objects = ground.all(NODES), ground.acting(COMPONENT)
    reasons = {node["metadata"]["name"]: _against(ground, pod, node) for node in nodes}
    fitting = [node for node in nodes if not reasons[node["metadata"]["name"]]]
    if not fitting:
        _unschedulable(ground, pod, [reason for reason in reasons.values() if reason])
        return
    node = min(fitting, key=lambda one: (_pods_on(ground, one), one["metadata"]["name"]))["metadata"]["name"]
    bound = copied(pod)
    bound["spec"]["nodeName"] = node
    objects.save(bound)
    meta = pod["metadata"]
    objects.event(pod, "Scheduled", f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}")


def _against(ground: Ground, pod: Obj, node: Obj) -> str:
    """Why this pod cannot be on this node; the first filter that says so is the one that is told."""
    spec = pod["spec"]
    if at(node, "spec", "unschedulable"):
        return "node(s) were unschedulable"
    said = untolerated(spec, node)
    if said:
        return said
    if not chosen(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return _missing(ground, spec, node)


def _missing(ground: Ground, spec: Obj, node: Obj) -> str:
    """The first resource of which too little is left."""
    wanted, has = asked(spec), at(node, "status", "allocatable", default={})
    if not has:
        return ""
    used = used_on(ground, node["metadata"]["name"])
    for name in sorted(wanted):
        if wanted[name] and wanted[name] > amount(has.get(name, 0)) - used.get(name, 0.0):
            return f"Insufficient {name}"
    return ""


def used_on(ground: Ground, node: str) -> dict[str, float]:
    """What the pods on a node hold."""
    there = [pod for pod in ground.all(PODS) if at(pod, "spec", "nodeName") == node and not pods.over(pod)]
    return summed(asked(pod["spec"]) for pod in there)


def _pods_on(ground: Ground, node: Obj) -> int:
    return sum(at(pod, "spec", "nodeName") == node["metadata"]["name"] for pod in ground.all(PODS))


def _unschedulable(ground: Ground, pod: Obj, reasons: list[str]) -> None:
    total = len(reasons)
    counted = ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(reasons).items()))
    short = sum(reason.startswith("Insufficient") for reason in reasons)
    helps = [f"{short} {NO_VICTIMS}"] if short else []
    helps += [f"{total - short} {HELPLESS}"] if total > short else []
    text = f"0/{total} nodes are available: {counted}. preemption: 0/{total} nodes are available: {', '.join(helps)}."
    if not total:
        text = "no nodes available to schedule pods"
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    before = at(pod, "status", "conditions", default=[])
    if any(entry.get("message") == text for entry in before):
        return
    status = {**(pod.get("status") or {}), "phase": "Pending"}
    status["conditions"] = [{**told, "lastTransitionTime": ground.now()}]
    ground.edit(COMPONENT, pod, status)
    ground.acting(COMPONENT).event(pod, "FailedScheduling", text, warning=True)
