"""The GPU operator's ClusterPolicy: which one counts, what it switches on, and the images that it names.

Source: NVIDIA's gpu-operator v26.7.0, api/nvidia/v1 and the values of its chart.
"""

from __future__ import annotations

import re

from sandbox.kube.actors.objects import at, deleting
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.ground import DEPLOYMENTS, PODS, POLICIES, Ground, labels_of

VERSION = "v26.7.0"
DRIVER_VERSION = "595.91.07"
NVIDIA, CLOUD = "nvcr.io/nvidia", "nvcr.io/nvidia/cloud-native"
DEFAULTS = {  # component: repository, image, version; and whether it runs unless the policy says otherwise
    "driver": (NVIDIA, "driver", DRIVER_VERSION, True),
    "toolkit": (f"{NVIDIA}/k8s", "container-toolkit", "v1.20.0", True),
    "devicePlugin": (NVIDIA, "k8s-device-plugin", "v0.20.0", True),
    "dcgmExporter": (f"{NVIDIA}/k8s", "dcgm-exporter", "4.5.3-4.8.2-distroless", True),
    "gfd": (NVIDIA, "k8s-device-plugin", "v0.20.0", True),
    "migManager": (CLOUD, "k8s-mig-manager", "v0.15.0", True),
    "validator": (NVIDIA, "gpu-operator", VERSION, True),
    "nodeStatusExporter": (NVIDIA, "gpu-operator", VERSION, False),
    "dcgm": (CLOUD, "dcgm", "4.5.3-1-ubuntu22.04", False),
}
MANAGER = (CLOUD, "k8s-driver-manager", "v0.11.0")


def every(ground: Ground) -> list[Obj]:
    """The oldest first: the only one that counts."""
    found = [entry for entry in ground.all(POLICIES) if not deleting(entry)]
    return sorted(found, key=lambda one: (one["metadata"]["creationTimestamp"], ground.order(one["metadata"]["uid"])))


def active(ground: Ground) -> Obj | None:
    return next(iter(every(ground)), None)


def enabled(policy: Obj | None, component: str) -> bool:
    return bool(at(policy, "spec", component, "enabled", default=DEFAULTS[component][3]))


def driver_version(policy: Obj | None) -> str:
    return str(at(policy, "spec", "driver", "version") or DRIVER_VERSION)


def image(policy: Obj, component: str, suffix: str = "") -> str:
    """As the operator puts it together; a version may be a digest."""
    given = at(policy, "spec", component, default={})
    repository, name, version = (
        given.get(key) or default
        for key, default in zip(("repository", "image", "version"), DEFAULTS[component][:3], strict=True)
    )
    if str(version).startswith("sha256:"):
        return f"{repository}/{name}@{version}"
    return f"{repository}/{name}:{version}{suffix}"


def manager_image(policy: Obj) -> str:
    """The init container that frees the GPUs before a driver is loaded."""
    given = at(policy, "spec", "driver", "manager", default={})
    parts = zip(("repository", "image", "version"), MANAGER, strict=True)
    repository, name, version = (given.get(key) or default for key, default in parts)
    return f"{repository}/{name}:{version}"


def operator(ground: Ground) -> Obj | None:
    """The Deployment of the operator, while it is available."""
    for entry in ground.all(DEPLOYMENTS):
        images = [str(one.get("image", "")) for one in entry["spec"]["template"]["spec"]["containers"]]
        named = any("gpu-operator" in one and "validator" not in one for one in images)
        if named and at(entry, "status", "availableReplicas", default=0) > 0:
            return entry
    return None


OLD_HOME = "gpu-operator-resources"
"""Where operators up to 22.9 put their operands, if the namespace is there."""
FIRST_WITH_CONDITIONS = 23


def home(ground: Ground, deployed: Obj) -> str:
    """The namespace of the operands: the operator's own, but for an old one."""
    if major(deployed) < FIRST_WITH_CONDITIONS and ground.read("namespaces", OLD_HOME) is not None:
        return OLD_HOME
    return str(deployed["metadata"]["namespace"])


def major(deployed: Obj) -> int:
    """The operator's major version, by its image; today's where that does not say."""
    containers = deployed["spec"]["template"]["spec"]["containers"]
    image_name = next(str(one["image"]) for one in containers if "gpu-operator" in str(one.get("image", "")))
    found = re.search(r":v?(\d+)\.", image_name)
    return int(found[1]) if found else int(VERSION[1:3])


def on_node(ground: Ground, node: str, app: str) -> Obj | None:
    """An operand's pod on a node, by the label that the operator gives it."""
    for pod in ground.all(PODS):
        if labels_of(pod).get("app") == app and at(pod, "spec", "nodeName") == node and not deleting(pod):
            return pod
    return None


def works(ground: Ground, node: str, app: str) -> bool:
    """The operand's pod on this node is Ready."""
    pod = on_node(ground, node, app)
    return pod is not None and pods.ready(pod)
