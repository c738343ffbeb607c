"""The GPU operator: labels on GPU nodes, operands, and the state of the ClusterPolicy, as its reconciler tells it.

Source: NVIDIA's gpu-operator v26.7.0, controllers/{clusterpolicy_controller,state_manager,object_controls}.go and
internal/conditions. A second policy is ignored; without GPU nodes a policy is ready.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import features, policy, upgrade
from sandbox.kube.inside.courses import CUDA_VALIDATOR, VALIDATOR, driver_works, toolkit_works
from sandbox.kube.inside.ground import DAEMONS, NODES, PODS, POLICIES, Ground, digest, labels_of, with_times
from sandbox.kube.inside.operands import DEPLOY, OPERANDS, TOLERATIONS, Operand, body

COMPONENT = "gpu-operator"
PRESENT = "nvidia.com/gpu.present"
MARK = "nvidia.com/last-applied-hash"
THINK = 0.2
NO_LABELS = "No NFD labels found"
NO_NODES = "No GPU node found, watching for new nodes to join the cluster."
ALL_WELL = "ClusterPolicy is ready as all resources have been successfully reconciled"
RUNTIMES = "runtimeclasses.node.k8s.io"
KEPT = f"{DEPLOY}operands"


def reconcile(ground: Ground) -> None:
    """Nothing, unless the operator runs."""
    deployed = policy.operator(ground)
    if deployed is None:
        return
    found = policy.every(ground)
    _label_nodes(ground, bool(found))
    if not found:
        return
    owner, namespace = found[0], policy.home(ground, deployed)
    for other in found[1:]:
        ground.edit(COMPONENT, other, {**(other.get("status") or {}), "state": "ignored"})
    if not ground.ripe(owner["metadata"]["uid"], "seen", THINK):
        return
    nodes = [node for node in ground.all(NODES) if labels_of(node).get(PRESENT) == "true"]
    _apply(ground, owner, namespace, bool(nodes))
    upgrade.reconcile(ground, namespace)
    _validate(ground, namespace, owner)
    told = _judged(ground, owner, namespace, bool(nodes))
    _write(ground, owner, namespace, told, bare=policy.major(deployed) < policy.FIRST_WITH_CONDITIONS)


def _label_nodes(ground: Ground, wanted: bool) -> None:
    """What each GPU node shall run; `operands: false` keeps a node out."""
    for node in ground.all(NODES):
        labels = labels_of(node)
        opted_out = labels.get(KEPT) == "false"
        here = wanted and features.has_gpu(node)
        names = [f"{DEPLOY}{one.deploy}" for one in OPERANDS if one.component != "migManager"]
        if ground.machine(node["metadata"]["name"]).partitions:
            names.append(f"{DEPLOY}mig-manager")
        set_now: dict[str, str | None] = {PRESENT: "true"} if here else {}
        set_now |= {name: labels.get(name, "true") for name in names} if here and not opted_out else {}
        ours = [name for name in labels if name == PRESENT or (name.startswith(DEPLOY) and name != KEPT)]
        ours += [upgrade.STATE] if upgrade.STATE in labels and not here else []
        gone = dict.fromkeys(name for name in ours if name not in set_now)
        features.label(ground, COMPONENT, node, set_now | gone)


def _apply(ground: Ground, owner: Obj, namespace: str, has_nodes: bool) -> None:
    """Makes, changes and takes away the DaemonSets; none is made before there is a GPU node."""
    objects = ground.acting(COMPONENT)
    runtime = at(owner, "spec", "operator", "runtimeClass", default="nvidia")
    if has_nodes and ground.read(RUNTIMES, runtime) is None:
        objects.make(RUNTIMES, runtime, "", handler=runtime, owner=owner)
    for wanted in OPERANDS:
        found = ground.read(DAEMONS, wanted.app, namespace)
        if not policy.enabled(owner, wanted.component):
            if found is not None:
                objects.delete(DAEMONS, found)
            continue
        made = body(wanted, owner, namespace)
        mark = digest(made)
        made["metadata"]["annotations"] = {MARK: mark}
        if found is None and has_nodes:
            objects.store.create(made, manager=COMPONENT)
        elif found is not None and at(found, "metadata", "annotations", MARK) != mark:
            objects.store.apply(made, manager=COMPONENT)


def _validate(ground: Ground, namespace: str, owner: Obj) -> None:
    """The validator's pod on each node makes a little pod that computes, once driver and toolkit work there."""
    daemon = ground.read(DAEMONS, VALIDATOR, namespace)
    for pod in ground.owned(daemon, PODS) if daemon else ():
        node = at(pod, "spec", "nodeName")
        own = policy.on_node(ground, node, CUDA_VALIDATOR)
        if own is None and driver_works(ground, node) and toolkit_works(ground, node):
            _compute(ground, namespace, owner, pod, node)


def _compute(ground: Ground, namespace: str, owner: Obj, validator: Obj, node: str) -> None:
    image = policy.image(owner, "validator")
    spec = {
        "containers": [{"name": CUDA_VALIDATOR, "image": image}],
        "initContainers": [{"name": "cuda-validation-init", "image": image}],
        "nodeName": node, "restartPolicy": "OnFailure", "tolerations": TOLERATIONS,
    }  # fmt: skip
    ground.acting("nvidia-validator").make(
        PODS, f"{CUDA_VALIDATOR}-{ground.suffix()}", namespace, spec=spec, labels={"app": CUDA_VALIDATOR},
        owner=validator,
    )  # fmt: skip


def _judged(ground: Ground, owner: Obj, namespace: str, has_nodes: bool) -> list[Obj]:
    """The two conditions, Ready first."""
    waiting = [
        one.state for one in OPERANDS if policy.enabled(owner, one.component) and _unready(ground, one, namespace)
    ]
    labelled = any(name.startswith(features.PREFIX) for node in ground.all(NODES) for name in labels_of(node))
    if waiting and not ground.faults.validator_lies:
        text = f"ClusterPolicy is not ready, states not ready: [{' '.join(waiting)}]"
        return [_told("Ready", False, "Error"), _told("Error", True, "OperandNotReady", text)]
    reason, text = ("NFDLabelsMissing", NO_LABELS) if not labelled else ("Reconciled", ALL_WELL)
    reason, text = ("NoGPUNodes", NO_NODES) if labelled and not has_nodes else (reason, text)
    return [_told("Ready", True, reason, text), _told("Error", False, "Ready")]


def _write(ground: Ground, owner: Obj, namespace: str, told: list[Obj], *, bare: bool) -> None:
    """An old operator has a state alone."""
    before = at(owner, "status", "conditions", default=[])
    status = {
        **(owner.get("status") or {}),
        "state": "ready" if told[0]["status"] == "True" else "notReady",
        "namespace": namespace,
    }
    status |= {} if bare else {"conditions": with_times(before, told, ground.now())}
    ground.edit(COMPONENT, ground.read(POLICIES, owner["metadata"]["name"]) or owner, status)


def _unready(ground: Ground, wanted: Operand, namespace: str) -> bool:
    """A DaemonSet of which a pod is missing or not available; one for no node is ready."""
    found = ground.read(DAEMONS, wanted.app, namespace)
    if found is None:
        return False
    status, generation = found.get("status") or {}, found["metadata"].get("generation", 1)
    if status.get("observedGeneration") != generation:
        return True
    wanted_pods = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    return bool(wanted_pods) and (status.get("numberUnavailable", 0) > 0 or updated < wanted_pods)


def _told(kind: str, so: bool, reason: str, message: str = "") -> Obj:
    return {"type": kind, "status": "True" if so else "False", "reason": reason, "message": message}
