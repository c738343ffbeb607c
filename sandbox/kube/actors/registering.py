"""A kubelet registers its node: labels, taints, capacity and what it runs on, by its KubeadmConfig and its machine.

Sources: kubeadm (nodeRegistration), the kubelet's flags node-labels and register-with-taints, its reserved memory.
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.actors.instances import is_control_plane
from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside.disk import conditions
from sandbox.kube.inside.driver import KERNEL, OS_IMAGE
from sandbox.kube.inside.hardware import Hardware

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
RUNTIME = "containerd://2.1.3"
RESERVED = 100
"""MiB of memory that no pod gets: the kubelet's threshold of eviction."""


def kubelet_argument(config: Obj, name: str) -> str:
    """From the KubeadmConfig's join or init part; a map in v1beta1, a list of name and value in v1beta2."""
    for part in ("joinConfiguration", "initConfiguration"):
        given = at(config, part, "nodeRegistration", "kubeletExtraArgs")
        pairs = {entry["name"]: entry.get("value", "") for entry in given} if isinstance(given, list) else given or {}
        if name in pairs:
            return str(pairs[name])
    return ""


def labels(host: str, machine: Obj, config: Obj, hardware: Hardware) -> dict[str, str]:
    """The kubelet's own, and those that its flag asks for."""
    found = {"kubernetes.io/hostname": host, "kubernetes.io/os": "linux", "kubernetes.io/arch": hardware.arch}
    for pair in filter(None, kubelet_argument(config, "node-labels").split(",")):
        key, _, value = pair.partition("=")
        found[key] = value
    if is_control_plane(machine):
        found[CONTROL_PLANE] = ""
    return found


def taints(machine: Obj, config: Obj) -> list[Obj]:
    """kubeadm taints a control plane unless the configuration says something itself, be it an empty list."""
    given: list[Obj] | None = None
    for part in ("joinConfiguration", "initConfiguration"):
        found = at(config, part, "nodeRegistration", "taints")
        given = found if given is None else given
    made = list(given or [])
    if given is None and is_control_plane(machine):
        made.append({"key": CONTROL_PLANE, "effect": "NoSchedule"})
    for entry in filter(None, kubelet_argument(config, "register-with-taints").split(",")):
        pair, _, effect = entry.partition(":")
        key, _, value = pair.partition("=")
        made.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    return made


def status(version: str, addresses: list[Obj], hardware: Hardware, now: str) -> dict[str, Any]:
    """But for the condition Ready."""
    disk = hardware.root * 1024**2 * 97 // 100
    capacity = {
        "cpu": str(hardware.cpus), "memory": f"{hardware.memory * 1000}Ki", "pods": "110",
        "ephemeral-storage": f"{disk}Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
    }  # fmt: skip
    free = {**capacity, "memory": f"{hardware.memory * 1000 - RESERVED * 1024}Ki"}
    free["ephemeral-storage"] = str(disk * 1024 * 9 // 10)
    info = {
        "architecture": hardware.arch, "containerRuntimeVersion": RUNTIME, "kernelVersion": KERNEL,
        "kubeletVersion": version, "operatingSystem": "linux", "osImage": OS_IMAGE,
    }  # fmt: skip
    return {
        "addresses": addresses,
        "nodeInfo": info,
        "capacity": capacity,
        "allocatable": free,
        "conditions": conditions(now),
    }
