"""A root volume that is too small for a driver's image: pressure on the node, and the pod is evicted.

Source: the kubelet's eviction manager (condition, reason and words), and its threshold of a tenth of the file system.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.courses import DRIVER
from sandbox.kube.inside.ground import NODES, PODS, Ground, labels_of
from sandbox.kube.schema import copied

ENOUGH = 50
"""GiB of a root volume; images of driver and CUDA need it."""
SECONDS = 0.5
WELL = ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
FULL = ("True", "KubeletHasDiskPressure", "kubelet has disk pressure")


def reconcile(ground: Ground) -> None:
    """Every node on which a driver's pod is, or was evicted."""
    for pod in ground.all(PODS):
        if labels_of(pod).get("app") != DRIVER:
            continue
        node = ground.read(NODES, str(at(pod, "spec", "nodeName")))
        if node is None or ground.machine(node["metadata"]["name"]).root >= ENOUGH:
            continue
        if not pods.over(pod) and ground.ripe(pod["metadata"]["uid"], "disk", SECONDS):
            _press(ground, node)
            _evict(ground, pod, ground.machine(node["metadata"]["name"]).root)


def conditions(now: str) -> list[Obj]:
    """Those of a node with room, but for Ready."""
    told = [("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")]
    told += [("DiskPressure", *WELL[1:]), ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID")]
    return [
        {"type": kind, "status": "False", "reason": reason, "message": text, "lastTransitionTime": now}
        for kind, reason, text in told
    ]


def _press(ground: Ground, node: Obj) -> None:
    kept = [one for one in at(node, "status", "conditions", default=[]) if one["type"] != "DiskPressure"]
    status, reason, message = FULL
    told = {"type": "DiskPressure", "status": status, "reason": reason, "message": message}
    found = copied(node)
    found["status"]["conditions"] = [*kept, {**told, "lastTransitionTime": ground.now()}]
    if found["status"]["conditions"] != at(node, "status", "conditions"):
        ground.acting("kubelet").save(found, status=True)
        ground.acting("kubelet").event(
            node, "NodeHasDiskPressure", f"Node {node['metadata']['name']} status is now: NodeHasDiskPressure"
        )


def _evict(ground: Ground, pod: Obj, root: int) -> None:
    threshold = root * 1024**3 // 10
    text = (
        f"The node was low on resource: ephemeral-storage. Threshold quantity: {threshold}, "
        f"available: {threshold // 1024 // 3}Ki. "
    )
    status = {**(pod.get("status") or {}), "phase": "Failed", "reason": "Evicted", "message": text}
    status["conditions"] = [one for one in status.get("conditions", []) if one["type"] == "PodScheduled"]
    ground.edit("kubelet", pod, status)
    ground.acting("kubelet").event(pod, "Evicted", text, warning=True)
