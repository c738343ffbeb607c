"""What each container does: the operator's operands wait for one another, the sample computes, all others just run.

Source: NVIDIA's gpu-operator, assets/ (init containers) and cmd/nvidia-validator (what each validation waits for).
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import driver, images, policy, sample
from sandbox.kube.inside.course import Course, ended, ready, running, unpullable
from sandbox.kube.inside.ground import GPU, NODES, PODS, Ground, labels_of
from sandbox.kube.inside.quantities import amount

DRIVER, TOOLKIT = "nvidia-driver-daemonset", "nvidia-container-toolkit-daemonset"
PLUGIN, FEATURES = "nvidia-device-plugin-daemonset", "gpu-feature-discovery"
VALIDATOR, CUDA_VALIDATOR = "nvidia-operator-validator", "nvidia-cuda-validator"
SHORT = 0.3
"""Seconds at pace 1 that a container takes which has nothing to wait for."""


def course(ground: Ground, pod: Obj, container: Obj, *, init: bool) -> Course:
    """Of one container of a pod that is on a node."""
    cannot = images.problem(ground, container)
    if cannot:
        return unpullable(cannot)
    name, node = container["name"], at(pod, "spec", "nodeName")
    if name in WAITS:
        return _validation(ground, name, node)
    if name == driver.CONTAINER:
        return driver.course(ground, pod, ground.read(NODES, node) or {})
    if labels_of(pod).get("app") == CUDA_VALIDATOR and not init:
        return ended(0, "cuda workload validation is successful\n")
    if sample.is_sample(container) and sample.wants_gpu(container):
        return sample.course(ground, pod)
    if init or at(pod, "spec", "restartPolicy", default="Always") != "Always":
        short = ground.ripe(pod["metadata"]["uid"], f"work {name}", SHORT)
        return ended(0) if short else running()
    return ready()


def _validation(ground: Ground, name: str, node: str) -> Course:
    """An init container that waits for what its operand needs."""
    if ground.faults.validator_lies or WAITS[name](ground, node):
        return ended(0, f"{name} is successful\n")
    return running(f"running {name}\nwaiting...\n")


def driver_works(ground: Ground, node: str) -> bool:
    """A driver that the image of the machine brings needs no pod."""
    return not policy.enabled(policy.active(ground), "driver") or policy.works(ground, node, DRIVER)


def toolkit_works(ground: Ground, node: str) -> bool:
    own = policy.enabled(policy.active(ground), "toolkit")
    return policy.works(ground, node, TOOLKIT) if own else driver_works(ground, node)


def _cuda_ran(ground: Ground, node: str) -> bool:
    """The validator's own little pod on this node has computed something."""
    for pod in ground.all(PODS):
        if labels_of(pod).get("app") == CUDA_VALIDATOR and at(pod, "spec", "nodeName") == node:
            return bool(at(pod, "status", "phase") == "Succeeded")
    return False


def _has_gpus(ground: Ground, node: str) -> bool:
    return amount(at(ground.read(NODES, node), "status", "allocatable", GPU, default=0)) > 0


WAITS: dict[str, Callable[[Ground, str], bool]] = {
    "driver-validation": driver_works,
    "toolkit-validation": toolkit_works,
    "cuda-validation": _cuda_ran,
    "plugin-validation": _has_gpus,
}
