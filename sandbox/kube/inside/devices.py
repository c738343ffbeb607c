"""What the device plugin and GPU feature discovery make known of a node: allocatable GPUs, and labels.

Sources: the kubelet's device manager (a plugin that is gone leaves capacity, but nothing allocatable), NVIDIA's
k8s-device-plugin and gpu-feature-discovery.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import policy
from sandbox.kube.inside.courses import FEATURES, PLUGIN
from sandbox.kube.inside.features import label
from sandbox.kube.inside.ground import GPU, NODES, Ground, labels_of
from sandbox.kube.inside.hardware import Hardware
from sandbox.kube.schema import copied

OWN = (
    "nvidia.com/gpu.product", "nvidia.com/gpu.count", "nvidia.com/gpu.memory", "nvidia.com/gpu.family",
    "nvidia.com/gpu.replicas", "nvidia.com/mig.capable", "nvidia.com/cuda.driver-version.full",
    "nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.runtime-version.full",
    "nvidia.com/cuda.runtime-version.major",
)  # fmt: skip
RUNTIMES = {"595": "13.2", "590": "13.1", "580": "13.0", "570": "12.8", "550": "12.4", "535": "12.2", "525": "12.0"}


def reconcile(ground: Ground) -> None:
    """Every node that has GPUs, or had."""
    for node in ground.all(NODES):
        name = node["metadata"]["name"]
        machine = ground.machine(name)
        if machine.gpus:
            _publish(ground, node, machine)
            current = ground.read(NODES, name)
            _discover(ground, current or node, machine)


def _publish(ground: Ground, node: Obj, machine: Hardware) -> None:
    plugin = policy.works(ground, node["metadata"]["name"], PLUGIN)
    status = node.get("status") or {}
    if not plugin and GPU not in status.get("capacity", {}):
        return
    healthy = plugin and not ground.faults.plugin_unhealthy
    capacity = {**status.get("capacity", {}), GPU: str(machine.gpus)}
    allocatable = {**status.get("allocatable", {}), GPU: str(machine.gpus if healthy else 0)}
    found = {**status, "capacity": capacity, "allocatable": allocatable}
    if found != status:
        ground.acting("kubelet").save({**copied(node), "status": found}, status=True)


def _discover(ground: Ground, node: Obj, machine: Hardware) -> None:
    """Its labels go when the policy goes."""
    owner = policy.active(ground)
    if owner is None:
        if policy.operator(ground) is not None:
            label(ground, FEATURES, node, dict.fromkeys(name for name in OWN if name in labels_of(node)))
        return
    if not policy.works(ground, node["metadata"]["name"], FEATURES):
        return
    version = policy.driver_version(owner)
    runtime = RUNTIMES.get(version.split(".")[0], "13.2")
    values = (
        machine.product, str(machine.gpus), str(machine.gpu_memory), machine.family, "1",
        "true" if machine.partitions else "false", version, version.split(".")[0], runtime, runtime.split(".")[0],
    )  # fmt: skip
    label(ground, "gpu-feature-discovery", node, dict(zip(OWN, values, strict=True)))


def gpus(node: Obj) -> int:
    """What pods may ask for."""
    return int(at(node, "status", "allocatable", GPU, default=0))
