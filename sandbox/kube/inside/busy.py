"""Somebody else's pods that hold every GPU, while a switch says so."""

from __future__ import annotations

from sandbox.kube.inside import pods
from sandbox.kube.inside.devices import gpus
from sandbox.kube.inside.ground import GPU, NODES, PODS, Ground, labels_of

LABELS = {"app": "training"}
IMAGE = "registry.example.com/research/training:7"


def reconcile(ground: Ground) -> None:
    """One pod on each node that has something to give; none without the switch."""
    own = [pod for pod in ground.all(PODS, "default") if labels_of(pod) == LABELS]
    if not ground.faults.gpu_busy:
        for pod in own:
            pods.remove(ground, "kubectl", pod)
        return
    taken = {pod["spec"]["nodeName"] for pod in own}
    for node in ground.all(NODES):
        name = node["metadata"]["name"]
        if gpus(node) and name not in taken:
            wanted = {"limits": {GPU: str(gpus(node))}}
            spec = {"containers": [{"name": "training", "image": IMAGE, "resources": wanted}], "nodeName": name}
            tolerations = [{"operator": "Exists"}]
            ground.acting("kubectl").make(
                PODS, f"training-{ground.suffix()}", "default", labels=LABELS, spec={**spec, "tolerations": tolerations}
            )
