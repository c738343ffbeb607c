"""The pools of a cluster that is there: how many machines each has, of which type and where, and how they are divided.

In a cluster with a topology the numbers stand in the Cluster and are written there: its controller puts back what
is written elsewhere. Where the topology leaves a number out, something else (an autoscaler) owns it. (kubernetes-sigs/
cluster-api, "Operating a managed Cluster".) Workers are divided as TKG divides them: evenly, the remainder to the
first pools; never fewer than one each. (vmware-tanzu/tanzu-framework v0.28.3, tkg/client/scale.go.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handlers.cluster_objects import ClusterObjects
from handlers.conditions import Object, at, label, mapping_at, name_of, number, objects_at, text
from handlers.contract import Json, Kind, KubeRead, UsageError
from handlers.kinds import AWS_MACHINE_TEMPLATE, CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT
from handlers.preflight.gpu_table import is_gpu_family

LEAST, MOST = (f"cluster.x-k8s.io/cluster-api-autoscaler-node-group-{end}-size" for end in ("min", "max"))
TOPOLOGY_NAME = "topology.cluster.x-k8s.io/deployment-name"


@dataclass(frozen=True)
class LivePool:
    """One pool as it is. `name` is its MachineDeployment or control plane; `short` is what people call it; `kind`,
    `holder` and `path` say which object's field holds the number, with `test` operations that make sure that it is the
    right one. `count` is None where nobody has said how many; `least` and `most` are an autoscaler's."""

    name: str
    short: str
    kind: Kind
    holder: str
    path: str
    tests: tuple[Json, ...]
    count: int | None
    type: str
    zone: str | None
    least: int | None = None
    most: int | None = None

    @property
    def is_control_plane(self) -> bool:
        """True for the control plane."""
        return self.kind is CONTROL_PLANE or self.path == "/spec/topology/controlPlane/replicas"

    @property
    def has_gpus(self) -> bool:
        """Does its type's name say that it has NVIDIA GPUs?"""
        return is_gpu_family(self.type)


def control_plane_of(found: ClusterObjects, kube: KubeRead) -> LivePool | None:
    """The control plane; None where it is not there (yet)."""
    plane = found.control_plane
    if plane is None:
        return None
    name = name_of(plane)
    kind_of_machine = _type(plane, kube) or ""
    if at(found.cluster, "spec", "topology") is not None:
        path = "/spec/topology/controlPlane/replicas"
        count = number(found.cluster, "spec", "topology", "controlPlane", "replicas")
        if count is not None:
            return LivePool(name, "control-plane", CLUSTER, found.name, path, (), count, kind_of_machine, None)
    count = number(plane, "spec", "replicas")
    return LivePool(name, "control-plane", CONTROL_PLANE, name, "/spec/replicas", (), count, kind_of_machine, None)


def pools_of(found: ClusterObjects, kube: KubeRead) -> tuple[LivePool, ...]:
    """The worker pools, in the order of their names."""
    in_order = sorted(found.deployments, key=name_of)
    return tuple(_pool(found, deployment, kube) for deployment in in_order)


def named(pools: Sequence[LivePool], wanted: str, cluster: str) -> LivePool:
    """The pool that a word means. UsageError where there is none of that name."""
    for pool in pools:
        if wanted in (pool.name, pool.short):
            return pool
    known = ", ".join(pool.short for pool in pools) or "none"
    raise UsageError(f"The cluster {cluster} has no pool `{wanted}`.", f"Its pools are: {known}.")


def divided(total: int, pools: Sequence[LivePool]) -> dict[str, int]:
    """How many each pool gets of `total`, by its name. UsageError where there are fewer machines than pools."""
    if total < len(pools):
        raise UsageError(
            f"{total} workers are fewer than the {len(pools)} pools that they are divided over.",
            "Ask for one each at least, or name one pool with `--pool`.",
        )
    share, rest = divmod(total, len(pools))
    return {pool.name: share + (place < rest) for place, pool in enumerate(pools)}


def _pool(found: ClusterObjects, deployment: Object, kube: KubeRead) -> LivePool:
    name, cluster = name_of(deployment), found.name
    short = label(deployment, TOPOLOGY_NAME) or name.removeprefix(f"{cluster}-")
    place = _place(found, deployment, short)
    notes = {
        **mapping_at(place.annotated, "metadata", "annotations"),
        **mapping_at(deployment, "metadata", "annotations"),
    }
    return LivePool(
        name=name, short=short, kind=place.kind, holder=place.holder, path=place.path, tests=place.tests,
        count=place.count, type=_type(deployment, kube) or "",
        zone=text(deployment, "spec", "template", "spec", "failureDomain") or None,
        least=_whole(notes.get(LEAST)), most=_whole(notes.get(MOST)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Place:
    kind: Kind
    holder: str
    path: str
    tests: tuple[Json, ...]
    count: int | None
    annotated: Object


def _place(found: ClusterObjects, deployment: Object, short: str) -> _Place:
    """Where the number is written. A list's element is found by its place, so a test makes sure that it is still
    there."""
    own = number(deployment, "spec", "replicas")
    for index, entry in enumerate(objects_at(found.cluster, "spec", "topology", "workers", "machineDeployments")):
        if text(entry, "name") != short:
            continue
        count = number(entry, "replicas")
        if count is None:
            break  # the topology leaves it to others, so it is the MachineDeployment's own
        base = f"/spec/topology/workers/machineDeployments/{index}"
        test: Json = {"op": "test", "path": f"{base}/name", "value": short}
        return _Place(CLUSTER, found.name, f"{base}/replicas", (test,), count, entry)
    return _Place(MACHINE_DEPLOYMENT, name_of(deployment), "/spec/replicas", (), own, deployment)


def _type(owner: Object, kube: KubeRead) -> str | None:
    """The instance type in the machine template that an owner refers to, in either generation."""
    reference: Any = (
        at(owner, "spec", "template", "spec", "infrastructureRef")
        or at(owner, "spec", "machineTemplate", "infrastructureRef")
        or at(owner, "spec", "machineTemplate", "spec", "infrastructureRef")
    )
    name = text(reference, "name")
    template = kube.get(AWS_MACHINE_TEMPLATE, name, text(owner, "metadata", "namespace")) if name else None
    return text(template, "spec", "template", "spec", "instanceType") or None


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() else None
