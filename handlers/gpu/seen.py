"""What a workload cluster says of its GPUs: nodes, the operator, its policy, DaemonSets and pods, read once.

Names and labels: NVIDIA/gpu-operator v26.7.0 (controllers/state_manager.go, assets); kubernetes-sigs/
node-feature-discovery (label `feature.node.kubernetes.io/pci-10de.present`; 10de is NVIDIA's PCI vendor id).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from handlers.clients.aws_errors import Denied
from handlers.cluster_nodes import is_ready
from handlers.conditions import Object, at, label, mapping_at, name_of, objects_at, text
from handlers.contract import Kind, KubeRead
from handlers.gpu.pods import ends
from handlers.kinds import CLUSTER_POLICY, DAEMON_SET, DEPLOYMENT, NODE, POD
from handlers.preflight.gpu_table import from_table, is_gpu_family

GPU = "nvidia.com/gpu"
PRESENT = "nvidia.com/gpu.present"
PCI = ("pci-10de", "pci-0302_10de", "pci-0300_10de")
DRIVER, TOOLKIT, PLUGIN = (
    "nvidia-driver-daemonset",
    "nvidia-container-toolkit-daemonset",
    "nvidia-device-plugin-daemonset",
)
VALIDATOR, DISCOVERY = "nvidia-operator-validator", "gpu-feature-discovery"
CHAIN = (DRIVER, TOOLKIT, PLUGIN, VALIDATOR)
"""The pods that a node's GPUs wait for, in their order, by the label `app`."""
VERDICT = "tkgbot/gpu-test"
"""The annotation of a node that holds the verdict of its last test, as JSON."""
RESULTS = ("passed", "failed", "inconclusive")
OLD_NAMESPACE = "gpu-operator-resources"


@dataclass(frozen=True)
class Verdict:
    """How the last test of a node ended: `result` is `passed`, `failed` or `inconclusive`, `at` in epoch seconds."""

    request: str
    result: str
    why: str
    at: float
    seconds: int


@dataclass(frozen=True)
class GpuNode:
    """One node that has NVIDIA GPUs, or should. `expected` is how many its instance type has, None for an unknown one;
    `allocatable` is how many pods may ask for."""

    item: Object
    pods: tuple[Object, ...]

    @property
    def name(self) -> str:
        """The node's name."""
        return name_of(self.item)

    @property
    def uid(self) -> str:
        """The node's uid: another node may come by the same name."""
        return text(self.item, "metadata", "uid")

    @property
    def type(self) -> str:
        """Its instance type, or nothing."""
        return label(self.item, "node.kubernetes.io/instance-type")

    @property
    def zone(self) -> str:
        """Its availability zone, or nothing."""
        return label(self.item, "topology.kubernetes.io/zone")

    @property
    def ready(self) -> bool:
        """Does the kubelet say that it is Ready?"""
        return is_ready(self.item)

    @property
    def expected(self) -> int | None:
        """How many GPUs its instance type has."""
        known = from_table(self.type)
        return known.gpus if known else None

    @property
    def allocatable(self) -> int:
        """How many GPUs pods may ask for."""
        return quantity(at(self.item, "status", "allocatable", GPU))

    @property
    def capacity(self) -> int:
        """How many GPUs the device plugin has told of."""
        return quantity(at(self.item, "status", "capacity", GPU))

    @property
    def discovered(self) -> bool:
        """Has node feature discovery seen a device of NVIDIA's?"""
        return any(label(self.item, f"feature.node.kubernetes.io/{device}.present") == "true" for device in PCI)

    @property
    def marked(self) -> bool:
        """Has the operator marked it as a node with GPUs?"""
        return label(self.item, PRESENT) == "true"

    @property
    def product(self) -> str:
        """What GPU feature discovery calls its GPUs, or the model of its type."""
        known = from_table(self.type)
        return label(self.item, f"{GPU}.product") or (known.model if known else "")

    @property
    def driver(self) -> str:
        """The driver's version, as GPU feature discovery says it."""
        whole = label(self.item, "nvidia.com/cuda.driver-version.full")
        parts = [label(self.item, f"nvidia.com/cuda.driver.{part}") for part in ("major", "minor", "rev")]
        return whole or ".".join(part for part in parts if part)

    @property
    def cuda(self) -> str:
        """The newest CUDA that the driver runs."""
        whole = label(self.item, "nvidia.com/cuda.runtime-version.full")
        parts = [label(self.item, f"nvidia.com/cuda.runtime.{part}") for part in ("major", "minor")]
        return whole or ".".join(part for part in parts if part)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of its last test."""
        return verdict_of(mapping_at(self.item, "metadata", "annotations").get(VERDICT, ""))

    def pod(self, app: str) -> Object | None:
        """Its pod of a DaemonSet, by the label `app`; the newest, because a replaced one may still be going."""
        found = [pod for pod in self.pods if label(pod, "app") == app]
        return max(found, key=lambda pod: text(pod, "metadata", "creationTimestamp"), default=None)


@dataclass(frozen=True)
class Gpus:
    """What was seen. `policy` is the ClusterPolicy that counts, the oldest; `others` are ignored by the operator.
    `operator` is its Deployment; `namespace` is where it lives, empty where there is none. `unread` names what could
    not be read."""

    nodes: tuple[GpuNode, ...]
    operator: Object | None
    policy: Object | None
    others: tuple[Object, ...]
    daemon_sets: tuple[Object, ...]
    pods: tuple[Object, ...]
    unread: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """Where the operator lives."""
        return text(self.operator, "metadata", "namespace")

    @property
    def state(self) -> str:
        """The policy's state: ready, notReady, ignored, or nothing."""
        return text(self.policy, "status", "state")

    @property
    def allocatable(self) -> int:
        """The sum over all nodes."""
        return sum(node.allocatable for node in self.nodes)

    def app(self, name: str) -> list[Object]:
        """The pods of one part, by the label `app` or `app.kubernetes.io/component`."""
        labels = ("app", "app.kubernetes.io/component")
        return [pod for pod in self.pods if name in [label(pod, key) for key in labels]]


def look(kube: KubeRead) -> Gpus:
    """Reads a workload cluster: three lists over all namespaces, and the pods of those that belong to GPUs. What the
    bot may not read is named; raises Fatal where the cluster does not know the bot at all."""
    unread: list[str] = []

    def listed(kind: Kind, namespace: str = "") -> list[Object]:
        try:
            return list(kube.pages(kind, namespace)) if kube.has(kind) else []
        except Denied as error:
            unread.append(f"{kind.plural} ({error.message})")
            return []

    deployments, daemon_sets = listed(DEPLOYMENT), [item for item in listed(DAEMON_SET) if _is_part(item)]
    operator = next((item for item in deployments if is_operator(item)), None)
    policies = sorted(listed(CLUSTER_POLICY), key=_precedence)
    spaces = {text(item, "metadata", "namespace") for item in daemon_sets}
    spaces |= {text(operator, "metadata", "namespace")} | {text(item, "status", "namespace") for item in policies}
    spaces |= {text(item, "metadata", "namespace") for item in deployments if _is_part(item)}
    pods = [pod for space in sorted(spaces - {""}) for pod in listed(POD, space)]
    nodes = [node for node in listed(NODE) if is_gpu_node(node)]
    return Gpus(
        nodes=tuple(_nodes(nodes, pods)),
        operator=operator,
        policy=policies[0] if policies else None,
        others=tuple(policies[1:]),
        daemon_sets=tuple(daemon_sets),
        pods=tuple(pods),
        unread=tuple(unread),
    )


def is_gpu_node(node: Object) -> bool:
    """Has it NVIDIA GPUs, or a type that has them? Not by its own word alone: a node without labels is the fault that
    is looked for."""
    labels = mapping_at(node, "metadata", "labels")
    kind = labels.get("node.kubernetes.io/instance-type", "")
    seen = any(labels.get(f"feature.node.kubernetes.io/{device}.present") == "true" for device in PCI)
    return (
        is_gpu_family(kind)
        or seen
        or labels.get(PRESENT) == "true"
        or quantity(at(node, "status", "capacity", GPU)) > 0
    )


def is_operator(deployment: Object) -> bool:
    """Is this the GPU operator? By its image: names differ between charts and files."""
    return any("gpu-operator" in image.rpartition("/")[2] for image in images(deployment))


def images(owner: Object) -> Iterator[str]:
    """The images of a Deployment's or DaemonSet's containers."""
    for container in objects_at(owner, "spec", "template", "spec", "containers"):
        yield text(container, "image")


def verdict_of(stored: str) -> Verdict | None:
    """A verdict as the annotation holds it; None for what nobody of this bot's kind wrote."""
    try:
        found: Any = json.loads(stored)
        verdict = Verdict(
            request=str(found["request"]), result=found["result"], why=ends(str(found["why"])),
            at=float(found["at"]), seconds=int(found["seconds"]),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return verdict if verdict.result in RESULTS and math.isfinite(verdict.at) else None


def quantity(value: Any) -> int:
    """A count of devices: a whole number, as a number or as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(value, 0)
    return int(value) if isinstance(value, str) and value.isdecimal() else 0


def _nodes(nodes: Iterable[Object], pods: Iterable[Object]) -> Iterator[GpuNode]:
    by_node: dict[str, list[Object]] = {}
    for pod in pods:
        by_node.setdefault(text(pod, "spec", "nodeName"), []).append(pod)
    for node in sorted(nodes, key=name_of):
        yield GpuNode(node, tuple(by_node.get(name_of(node), ())))


def _precedence(policy: Object) -> tuple[bool, str, str]:
    """The operator's word first: of two that were made in one second nobody else knows which is the older one."""
    ignored = text(policy, "status", "state") == "ignored"
    return ignored, text(policy, "metadata", "creationTimestamp"), name_of(policy)


def _is_part(item: Object) -> bool:
    name = name_of(item)
    return name.startswith(("nvidia-", "gpu-")) or "node-feature-discovery" in name or name.startswith("nfd-")
