"""The DaemonSets that the GPU operator makes of a ClusterPolicy. Source: NVIDIA's gpu-operator v26.7.0, assets/."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.kube.actors.objects import at, reference
from sandbox.kube.errors import Obj
from sandbox.kube.inside import courses, driver, policy

DEPLOY = "nvidia.com/gpu.deploy."
TOLERATIONS = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@dataclass(frozen=True)
class Operand:
    """One DaemonSet: its name and `app` label, its part of the policy, the node label that it waits for."""

    app: str
    component: str
    deploy: str
    container: str
    waits: tuple[str, ...] = ()
    state: str = ""


OPERANDS = (  # in the order of the operator's states
    Operand(courses.DRIVER, "driver", "driver", driver.CONTAINER, ("k8s-driver-manager",), "state-driver"),
    Operand(
        courses.TOOLKIT, "toolkit", "container-toolkit", "nvidia-container-toolkit-ctr", ("driver-validation",),
        "state-container-toolkit",
    ),
    Operand(
        courses.VALIDATOR, "validator", "operator-validator", "nvidia-operator-validator",
        ("driver-validation", "toolkit-validation", "cuda-validation", "plugin-validation"),
        "state-operator-validation",
    ),
    Operand(
        courses.PLUGIN, "devicePlugin", "device-plugin", "nvidia-device-plugin", ("toolkit-validation",),
        "state-device-plugin",
    ),
    Operand("nvidia-dcgm", "dcgm", "dcgm", "nvidia-dcgm-ctr", ("toolkit-validation",), "state-dcgm"),
    Operand(
        "nvidia-dcgm-exporter", "dcgmExporter", "dcgm-exporter", "nvidia-dcgm-exporter", ("toolkit-validation",),
        "state-dcgm-exporter",
    ),
    Operand(
        courses.FEATURES, "gfd", "gpu-feature-discovery", "gpu-feature-discovery", ("toolkit-validation",),
        "gpu-feature-discovery",
    ),
    Operand(
        "nvidia-mig-manager", "migManager", "mig-manager", "nvidia-mig-manager", ("toolkit-validation",),
        "state-mig-manager",
    ),
    Operand(
        "nvidia-node-status-exporter", "nodeStatusExporter", "node-status-exporter", "nvidia-node-status-exporter",
        (), "state-node-status-exporter",
    ),
)  # fmt: skip


def body(wanted: Operand, owner: Obj, namespace: str) -> Obj:
    """The DaemonSet as the operator applies it."""
    suffix = f"-{driver.OS_ID}{driver.OS_VERSION}" if wanted.component == "driver" else ""
    own = policy.image(owner, wanted.component, suffix)
    validator = policy.image(owner, "validator")
    manager = policy.manager_image(owner)
    labels = {"app": wanted.app, "app.kubernetes.io/managed-by": "gpu-operator"}
    privileged = {"securityContext": {"privileged": True}}
    daemons = at(owner, "spec", "daemonsets", default={})
    spec: dict[str, Any] = {
        "containers": [{"name": wanted.container, "image": own, **privileged}],
        "nodeSelector": {f"{DEPLOY}{wanted.deploy}": "true"},
        "tolerations": daemons.get("tolerations") or TOLERATIONS,
        "priorityClassName": daemons.get("priorityClassName") or "system-node-critical",
        "serviceAccountName": wanted.app.removesuffix("-daemonset"),
    }
    if wanted.waits:
        spec["initContainers"] = [
            {"name": name, "image": manager if name == "k8s-driver-manager" else validator, **privileged}
            for name in wanted.waits
        ]
    rolling = "OnDelete" if wanted.component == "driver" else "RollingUpdate"
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": wanted.app, "namespace": namespace, "labels": labels,
            "ownerReferences": [reference(owner, controller=True)],
        },
        "spec": {
            "selector": {"matchLabels": {"app": wanted.app}},
            "updateStrategy": {"type": daemons.get("updateStrategy", rolling) if rolling != "OnDelete" else rolling},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }  # fmt: skip
