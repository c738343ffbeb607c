"""A new driver version: the operator takes one node after the other, and the node's operands with it.

Source: NVIDIA's gpu-operator v26.7.0, the upgrade controller (label nvidia.com/gpu-driver-upgrade-state) and the driver
manager, which evicts what uses the GPUs.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import features, pods, policy
from sandbox.kube.inside.courses import CUDA_VALIDATOR, DRIVER
from sandbox.kube.inside.daemons import HASH
from sandbox.kube.inside.ground import DAEMONS, NODES, PODS, Ground, labels_of
from sandbox.kube.inside.operands import OPERANDS

COMPONENT = "gpu-operator"
STATE = "nvidia.com/gpu-driver-upgrade-state"
DONE, WANTED, RUNNING = "upgrade-done", "upgrade-required", "pod-restart-required"


def reconcile(ground: Ground, namespace: str) -> None:
    """Nothing where every driver is of the wanted version."""
    daemon = ground.read(DAEMONS, DRIVER, namespace)
    if daemon is None:
        return
    own = sorted(ground.owned(daemon, PODS), key=lambda pod: str(at(pod, "spec", "nodeName")))
    old = [pod for pod in own if labels_of(pod).get(HASH) != ground.template_digest(daemon)]
    changing = [pod for pod in own if pod not in old and not pods.ready(pod)]
    for pod in own:
        node = ground.read(NODES, at(pod, "spec", "nodeName"))
        known = labels_of(node).get(STATE) if node else None
        state = WANTED if pod in old else DONE if pods.ready(pod) else RUNNING if known else None
        if node is not None:
            features.label(ground, COMPONENT, node, {STATE: state})
    broken = [pod for pod in old if not pods.ready(pod)]
    first = broken or old
    if first and (not changing or broken):
        _restart(ground, namespace, first[0])


def _restart(ground: Ground, namespace: str, pod: Obj) -> None:
    """What does not work is replaced at once; what works waits until nobody else is being replaced."""
    node = at(pod, "spec", "nodeName")
    for app in [*(one.app for one in OPERANDS), CUDA_VALIDATOR]:
        found = policy.on_node(ground, node, app)
        if found is not None and found["metadata"]["namespace"] == namespace:
            pods.remove(ground, COMPONENT, found)
