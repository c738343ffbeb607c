"""Pods as their controllers make them: from a template, with an owner, if admission lets them in.

Sources: kube-controller-manager's pod control (events), pod security admission (words of a refusal).
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.actors.objects import at, reference
from sandbox.kube.errors import ApiError, Obj
from sandbox.kube.inside.ground import PODS, Ground, labels_of
from sandbox.kube.schema import copied

ENFORCE = "pod-security.kubernetes.io/enforce"
EXEMPT = ("kube-system",)


def make(ground: Ground, component: str, owner: Obj, name: str, **more: Any) -> Obj | None:
    """One pod of the owner's template; None, and an event, where it is refused.

    `more`: labels, node (by name), tolerations that come on top.
    """
    template, objects = owner["spec"]["template"], ground.acting(component)
    meta = owner["metadata"]
    spec = copied(template["spec"])
    spec |= {"nodeName": more["node"]} if more.get("node") else {}
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *more.get("tolerations", ())]
    refusal = _insecure(ground, meta["namespace"], spec) if ground.faults.pod_security else ""
    if refusal:
        text = f'Error creating: pods "{name}" is forbidden: violates PodSecurity "restricted:latest": {refusal}'
        _refuse(ground, component, owner, text)
        return None
    labels = {**at(template, "metadata", "labels", default={}), **more.get("labels", {})}
    body = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
    body["metadata"] = {
        "name": name, "namespace": meta["namespace"], "labels": labels,
        "annotations": at(template, "metadata", "annotations", default={}),
        "ownerReferences": [reference(owner, controller=True)],
    }  # fmt: skip
    try:
        made = objects.store.create(body, manager=component)
    except ApiError as refused:
        _refuse(ground, component, owner, f"Error creating: {refused.message}")
        return None
    objects.event(owner, "SuccessfulCreate", f"Created pod: {name}")
    return made


def _refuse(ground: Ground, component: str, owner: Obj, text: str) -> None:
    """Says it once: the names of pods in it differ from try to try."""
    events = ground.all("events", owner["metadata"]["namespace"])
    uid = owner["metadata"]["uid"]
    if not any(one["involvedObject"].get("uid") == uid and one.get("reason") == "FailedCreate" for one in events):
        ground.acting(component).event(owner, "FailedCreate", text, warning=True)


def _insecure(ground: Ground, namespace: str, spec: Obj) -> str:
    """What the strictest level says against the pod, if its namespace is not privileged. Plain pods pass."""
    home = ground.read("namespaces", namespace)
    if namespace in EXEMPT or home is None or labels_of(home).get(ENFORCE) == "privileged":
        return ""
    found = [f"host namespaces ({name}=true)" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        if at(container, "securityContext", "privileged"):
            text = f'(container "{container["name"]}" must not set securityContext.privileged=true)'
            found.append(f"privileged {text}")
    paths = [volume["name"] for volume in spec.get("volumes") or () if "hostPath" in volume]
    if paths:
        named = ", ".join(f'"{name}"' for name in paths)
        found.append(f"hostPath volumes (volumes {named})")
    return ", ".join(found)


def over(pod: Obj) -> bool:
    """It runs no more and never will again."""
    return at(pod, "status", "phase") in ("Succeeded", "Failed")


def ready(pod: Obj) -> bool:
    conditions = at(pod, "status", "conditions", default=[])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def remove(ground: Ground, component: str, pod: Obj) -> None:
    """At once; nobody waits for its processes to end."""
    ground.acting(component).delete(PODS, pod)
