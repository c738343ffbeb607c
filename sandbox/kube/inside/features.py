"""Node Feature Discovery: where its worker runs on a node and a master runs too, the node gets its labels.

Source: node-feature-discovery v0.19, labels of the sources pci, system and kernel, with the settings that the GPU
operator's chart gives its worker (labels by the vendor alone).
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import driver, pods
from sandbox.kube.inside.ground import DAEMONS, DEPLOYMENTS, NODES, PODS, Ground, labels_of
from sandbox.kube.schema import copied

PREFIX = "feature.node.kubernetes.io/"
PCI = (f"{PREFIX}pci-10de.present", f"{PREFIX}pci-0302_10de.present", f"{PREFIX}pci-0300_10de.present")
SECONDS = 0.3


def reconcile(ground: Ground) -> None:
    """Labels stay when the worker goes, as they do with the real one."""
    if ground.faults.nfd_blind:
        return
    workers = [entry for entry in ground.all(DAEMONS) if _is(entry, "worker")]
    if not workers or not any(at(one, "status", "availableReplicas") for one in _masters(ground)):
        return
    for pod in (pod for entry in workers for pod in ground.owned(entry, PODS)):
        node = ground.read(NODES, str(at(pod, "spec", "nodeName")))
        if node is not None and pods.ready(pod) and ground.ripe(pod["metadata"]["uid"], "features", SECONDS):
            _label(ground, node)


def _is(entry: Obj, part: str) -> bool:
    words = " ".join([entry["metadata"]["name"], *labels_of(entry).values()])
    template = at(entry, "spec", "template", "metadata", "labels", default={})
    words = " ".join([words, *map(str, template.values())])
    return ("nfd" in words or "node-feature-discovery" in words) and part in words


def _masters(ground: Ground) -> list[Obj]:
    return [entry for entry in ground.all(DEPLOYMENTS) if _is(entry, "master")]


def _label(ground: Ground, node: Obj) -> None:
    full = driver.kernel(node)
    major, minor, *_ = full.split(".")
    wanted = {
        f"{PREFIX}kernel-version.full": full,
        f"{PREFIX}kernel-version.major": major,
        f"{PREFIX}kernel-version.minor": minor,
        f"{PREFIX}system-os_release.ID": driver.OS_ID,
        f"{PREFIX}system-os_release.VERSION_ID": driver.OS_VERSION,
        f"{PREFIX}system-os_release.VERSION_ID.major": driver.OS_VERSION.split(".")[0],
        f"{PREFIX}system-os_release.VERSION_ID.minor": driver.OS_VERSION.split(".")[1],
    }
    if ground.machine(node["metadata"]["name"]).nvidia:
        wanted[PCI[0]] = "true"
    label(ground, "nfd-master", node, wanted)


def label(ground: Ground, component: str, node: Obj, wanted: Mapping[str, str | None]) -> None:
    """Sets labels, and takes those away whose value is None; writes only what differs."""
    have = labels_of(node)
    if all(have.get(name) == value for name, value in wanted.items()):
        return
    found = copied(ground.read(NODES, node["metadata"]["name"]) or node)
    merged = {**labels_of(found), **wanted}
    found["metadata"]["labels"] = {name: value for name, value in merged.items() if value is not None}
    ground.acting(component).save(found)


def has_gpu(node: Obj) -> bool:
    """As the operator sees it: by the label alone."""
    return any(labels_of(node).get(name) == "true" for name in PCI)
