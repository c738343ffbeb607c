"""Nodes as a workload cluster itself has them: what the management cluster says of them is only its own opinion."""

from __future__ import annotations

from handlers.clients.kube_errors import plain
from handlers.cluster_objects import ClusterObjects, control_plane_counts, worker_counts
from handlers.conditions import Object, objects_at
from handlers.contract import Check, Fatal, ReadWorld, Retry
from handlers.kinds import NODE
from handlers.subnet_checks import blocks, passes

TITLE = "Nodes ready"


def nodes_check(found: ClusterObjects, namespace: str, world: ReadWorld) -> Check:
    """As many nodes are Ready in the cluster as it is to have machines."""
    wanted = (control_plane_counts(found).desired or 0) + (worker_counts(found).desired or 0)
    return ready_check(found.name, namespace, wanted, world)


def ready_check(cluster: str, namespace: str, wanted: int, world: ReadWorld) -> Check:
    """As many nodes as `wanted` are Ready in the cluster."""
    name, fix = "verify nodes", f"`/tkg cluster get {cluster}`"
    try:
        nodes = list(world.workload(namespace, cluster).pages(NODE))
    except (Fatal, Retry) as error:
        return blocks(name, TITLE, f"The cluster could not be asked: {error.message}", fix)
    ready = [node for node in nodes if is_ready(node)]
    evidence = f"{len(ready)} of {wanted} nodes of {cluster} are Ready, seen in the cluster itself."
    return passes(name, TITLE, plain(evidence)) if len(ready) >= wanted else blocks(name, TITLE, evidence, fix)


def is_ready(node: Object) -> bool:
    """Does the node say that it is Ready?"""
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in objects_at(node, "status", "conditions")
    )
