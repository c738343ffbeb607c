"""Clusters as the management cluster has them: one with all its parts, or every one for a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from handlers.clients.aws_errors import Denied
from handlers.cluster_seen import ClusterObjects
from handlers.contract import Fatal, Json, Kind, KubeRead
from handlers.kinds import AWS_CLUSTER, AWS_MACHINE, CLUSTER, CONTROL_PLANE, MACHINE, MACHINE_DEPLOYMENT

NAME_LABEL = "cluster.x-k8s.io/cluster-name"
"""What the Cluster API labels every part of a cluster with."""


def read_cluster(kube: KubeRead, name: str, namespace: str) -> ClusterObjects | None:
    """One cluster with its parts; None where there is no such Cluster object."""
    cluster = kube.get(CLUSTER, name, namespace)
    if cluster is None:
        return None
    unread: list[str] = []

    def listed(kind: Kind) -> tuple[Json, ...]:
        try:
            return tuple(_of(name, kube.pages(kind, namespace)))
        except (Denied, Fatal):
            unread.append(kind.name)
            return ()

    def one(kind: Kind, reference: str) -> Json | None:
        wanted = _reference(cluster, reference)
        if not wanted:
            return None
        try:
            return kube.get(kind, wanted, namespace)
        except (Denied, Fatal):
            unread.append(kind.name)
            return None

    return ClusterObjects(
        cluster=cluster,
        infrastructure=one(AWS_CLUSTER, "infrastructureRef"),
        control_plane=one(CONTROL_PLANE, "controlPlaneRef"),
        deployments=listed(MACHINE_DEPLOYMENT),
        machines=listed(MACHINE),
        infrastructure_machines=listed(AWS_MACHINE),
        unread=tuple(unread),
    )


def read_all(kube: KubeRead, namespace: str = "") -> list[ClusterObjects]:
    """Every cluster of a namespace, or of all, in six lists rather than six reads a cluster."""
    clusters = list(kube.pages(CLUSTER, namespace))
    unread: list[str] = []
    parts: dict[str, dict[tuple[str, str], list[Json]]] = {}
    for kind in (AWS_CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT, MACHINE, AWS_MACHINE):
        found: dict[tuple[str, str], list[Json]] = {}
        try:
            for item in kube.pages(kind, namespace):
                found.setdefault((_space(item), _filed(kind, item)), []).append(_slim(item))
        except (Denied, Fatal):
            unread.append(kind.name)
        parts[kind.name] = found
    return [_joined(cluster, parts, tuple(unread)) for cluster in clusters]


def _joined(
    cluster: Json, parts: dict[str, dict[tuple[str, str], list[Json]]], unread: tuple[str, ...]
) -> ClusterObjects:
    meta: Any = cluster["metadata"]
    space, name = _space(cluster), str(meta["name"])
    owned = {kind: found.get((space, name), []) for kind, found in parts.items()}

    def one(kind: Kind, reference: str) -> Json | None:
        return next(iter(parts[kind.name].get((space, _reference(cluster, reference)), [])), None)

    return ClusterObjects(
        cluster=cluster,
        infrastructure=one(AWS_CLUSTER, "infrastructureRef"),
        control_plane=one(CONTROL_PLANE, "controlPlaneRef"),
        deployments=tuple(owned[MACHINE_DEPLOYMENT.name]),
        machines=tuple(owned[MACHINE.name]),
        infrastructure_machines=tuple(owned[AWS_MACHINE.name]),
        unread=unread,
    )


def _of(name: str, items: Iterator[Json]) -> Iterator[Json]:
    return (item for item in items if _owner(item) == name)


def _filed(kind: Kind, item: Json) -> str:
    """What the Cluster refers to by name is filed by its name, everything else by the cluster that it belongs to."""
    meta: Any = item.get("metadata") or {}
    return str(meta.get("name", "")) if kind in (AWS_CLUSTER, CONTROL_PLANE) else _owner(item)


def _owner(item: Json) -> str:
    """The cluster that an object belongs to: its label, its spec, or the Cluster that owns it."""
    meta: Any = item.get("metadata") or {}
    spec: Any = item.get("spec") or {}
    label = (meta.get("labels") or {}).get(NAME_LABEL) or spec.get("clusterName")
    owners = [str(o.get("name")) for o in meta.get("ownerReferences") or [] if o.get("kind") == CLUSTER.name]
    return str(label or (owners[0] if owners else meta.get("name", "")))


def _space(item: Json) -> str:
    meta: Any = item.get("metadata") or {}
    return str(meta.get("namespace", ""))


def _slim(item: Json) -> Json:
    """Without what no list shows: managed fields are most of an object."""
    meta: Any = item.get("metadata") or {}
    kept = {key: value for key, value in meta.items() if key not in ("managedFields", "annotations")}
    return {**item, "metadata": kept}


def _reference(cluster: Json, name: str) -> str:
    spec: Any = cluster.get("spec") or {}
    return str((spec.get(name) or {}).get("name", ""))
