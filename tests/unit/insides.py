"""A workload cluster's inside without any network: nodes by hand, a clock by hand, and what an installation applies."""

from __future__ import annotations

import random
from typing import Any

from sandbox.kube import Store
from sandbox.kube.actors.objects import at
from sandbox.kube.actors.registering import status
from sandbox.kube.actors.stage import ActorFaults, checked
from sandbox.kube.inside.ground import GPU, Ground
from sandbox.kube.inside.hardware import hardware
from sandbox.kube.inside.loop import Inside

Obj = dict[str, Any]
START = 1_790_000_000.0
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
IMAGE = "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04"
DRIVER, PLUGIN = "nvidia-driver-daemonset", "nvidia-device-plugin-daemonset"


class Place:
    """The clock stands still until `go` moves it."""

    def __init__(self, pace: float = 1.0) -> None:
        self.seconds = 0.0
        self.store = self.new_store()
        self.store.establishes_later = True
        self.faults = ActorFaults(pace=pace)
        self.ground = Ground(self.store, self.faults, random.Random(7), lambda: self.seconds)
        self.inside = Inside(self.ground)

    def new_store(self) -> Store:
        return Store(lambda: START + self.seconds, random.Random(7))

    def switch(self, **changes: Any) -> None:
        vars(self.faults).update(checked(changes))
        self.inside.settle()

    def go(self, seconds: float = 20.0, step: float = 0.25) -> None:
        """Time passes, in steps."""
        self.inside.settle()
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += step
            self.inside.settle()

    def node(self, name: str, kind: str = "g4dn.xlarge", root: int = 100, **more: Any) -> None:
        own = hardware(kind, root)
        self.ground.machines[name] = own
        self.store.create(
            {
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": own.arch}},
                "spec": {"taints": more.get("taints", [])},
                "status": status("v1.33.1", [], own, self.ground.now()),
            }
        )  # fmt: skip
        found = self.get("nodes", name)
        found["status"]["conditions"].insert(0, {"type": "Ready", "status": more.get("ready", "True")})
        self.store.update(found, status=True)

    def apply(self, *bodies: Obj) -> None:
        for body in bodies:
            self.store.apply(body, manager="tkgbot")
            if body["kind"] == "CustomResourceDefinition":
                self.go(0.5)

    def get(self, resource: str, name: str, namespace: str = "") -> Obj:
        return self.store.find(resource, name, namespace) or {}

    def pods(self, app: str = "", namespace: str = "") -> list[Obj]:
        found = self.store.list("pods", namespace)
        return [pod for pod in found if not app or pod["metadata"]["labels"].get("app") == app]

    def pod(self, app: str) -> Obj:
        (found,) = self.pods(app)
        return found

    def allocatable(self, node: str) -> str | None:
        found: str | None = at(self.get("nodes", node), "status", "allocatable", GPU)
        return found

    def labels(self, node: str) -> dict[str, str]:
        found: dict[str, str] = self.get("nodes", node)["metadata"].get("labels", {})
        return found

    def policy(self, name: str = "cluster-policy") -> Obj:
        return self.get("clusterpolicies.nvidia.com", name)

    def said(self, name: str = "cluster-policy") -> tuple[str, str, str]:
        """State, and reason and message of the condition that is True."""
        found = self.policy(name).get("status", {})
        true = next((one for one in found.get("conditions", []) if one["status"] == "True"), {})
        return found.get("state", ""), true.get("reason", ""), true.get("message", "")

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.store.list("events") if event["reason"] == reason]

    def log(self, pod: Obj, container: str) -> str:
        meta = pod["metadata"]
        return self.store.container_logs.get((meta["namespace"], meta["name"]), {}).get(container, "")


def waiting(pod: Obj, container: str) -> tuple[str, str]:
    """Reason and message of a container that waits."""
    status = pod["status"]
    every = [*status.get("initContainerStatuses", []), *status["containerStatuses"]]
    state = next(one for one in every if one["name"] == container)["state"].get("waiting", {})
    return state.get("reason", ""), state.get("message", "")


def condition(obj: Obj, kind: str) -> tuple[str, str, str]:
    found = next((one for one in obj.get("status", {}).get("conditions", []) if one["type"] == kind), {})
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def workload(kind: str, name: str, namespace: str, **spec: Any) -> Obj:
    """A Deployment or a DaemonSet with one container."""
    labels = {"app": name}
    image = spec.pop("image", f"registry.k8s.io/{name}:1")
    container = {"name": name, "image": image, **spec.pop("container", {})}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}},
        },
    }  # fmt: skip


def namespace(name: str = "gpu-operator", *, privileged: bool = True) -> Obj:
    labels = {"pod-security.kubernetes.io/enforce": "privileged"} if privileged else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def definition() -> Obj:
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": kept}}
    names = {"plural": "clusterpolicies", "kind": "ClusterPolicy", "singular": "clusterpolicy"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterpolicies.nvidia.com"},
        "spec": {
            "group": "nvidia.com", "scope": "Cluster", "names": names,
            "versions": [{**version, "subresources": {"status": {}}}],
        },
    }  # fmt: skip


def cluster_policy(name: str = "cluster-policy", **spec: Any) -> Obj:
    return {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}


def discovery(*, tolerant: bool = True) -> list[Obj]:
    """Node Feature Discovery, with a worker that does or does not tolerate the GPU nodes' taint."""
    tolerations = [TOLERATION] if tolerant else []
    paths = [{"name": "host-sys", "hostPath": {"path": "/sys"}}]
    return [
        workload("Deployment", "nfd-master", "gpu-operator"),
        workload("DaemonSet", "nfd-worker", "gpu-operator", tolerations=tolerations, volumes=paths),
    ]


def installation(*, privileged: bool = True, tolerant: bool = True, **spec: Any) -> list[Obj]:
    """Everything, in the order of an installation."""
    image = "nvcr.io/nvidia/gpu-operator:v26.7.0"
    return [
        namespace(privileged=privileged), definition(), *discovery(tolerant=tolerant),
        workload("Deployment", "gpu-operator", "gpu-operator", image=image), cluster_policy(**spec),
    ]  # fmt: skip


def job(name: str, node: str = "", gpus: int = 1, **spec: Any) -> Obj:
    """The test of one node."""
    container = {"name": "cuda-vector-add", "image": spec.pop("image", IMAGE)}
    if gpus:
        container["resources"] = {"limits": {GPU: gpus}}
    inner: Obj = {"restartPolicy": "Never", "containers": [container], "tolerations": spec.pop("tolerations", [])}
    if node:
        inner["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"backoffLimit": 0, **spec, "template": {"metadata": {"labels": {"app": name}}, "spec": inner}},
    }  # fmt: skip


def installed(pace: float = 1.0, *, nodes: int = 1, kind: str = "g4dn.xlarge", **spec: Any) -> Place:
    """A plain node, GPU nodes with their taint, and a finished installation."""
    place = Place(pace)
    place.node("plain", "t3.large")
    for number in range(nodes):
        place.node(f"gpu-{number}", kind, taints=[TAINT])
    place.apply(*installation(**spec))
    place.go()
    return place
