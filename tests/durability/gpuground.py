"""The cluster on whose GPUs a bot works that is made to die, in the hands of its owner and of its administrator: what
is in it, and putting it back between two lives."""

from __future__ import annotations

from typing import Any

from handlers.gpu.parts import GPU_PART, KINDS, PART
from handlers.gpu.seen import VERDICT, verdict_of
from tests.durability.clusterlife import WITHIN, machines_of
from tests.scenario.clusters import DEFINITIONS, Administrator
from tests.scenario.gpus import CLUSTER, JOBS, POLICIES, Owner, gpus
from tests.world import Json, World, eventually

POOL, POOLS = f"{CLUSTER}-md-gpu", "machinedeployments.cluster.x-k8s.io"
DAEMONS, NODES = "daemonsets.apps", "nodes"


def marked(owner: Owner) -> list[tuple[Any, Json]]:
    """Everything in the cluster that carries the bot's mark, in the order in which it may be deleted."""
    served = {f"{name['spec']['names']['plural']}.{name['spec']['group']}" for name in owner.list(DEFINITIONS)}
    kinds = [kind for kind in KINDS if "nvidia" not in kind.group or kind.resource in served]
    every = [(kind, item) for kind in kinds for item in owner.list(kind.resource)]
    return [(kind, item) for kind, item in every if (item["metadata"].get("labels") or {}).get(PART) == GPU_PART]


def notes_of(node: Json) -> Json:
    """The annotations of a node."""
    return dict(node["metadata"].get("annotations") or {})


def verdicts(owner: Owner, request: str) -> list[str]:
    """What stands on each GPU node, `mine` when this request wrote it."""
    found = [verdict_of(notes_of(node)[VERDICT]) for node in owner.list(NODES) if VERDICT in notes_of(node)]
    assert None not in found, found
    return sorted(f"{'mine' if one.request == request else 'another'}: {one.result}" for one in found if one)


def replicas(world: World) -> int:
    """How many machines are asked of the pool of GPU machines."""
    pool = Administrator(world).get(POOLS, POOL, "default")
    assert pool is not None
    return int(pool["spec"]["replicas"])


def uninstall(world: World) -> None:
    """The owner takes away what carries the bot's mark, the policy first."""
    owner = Owner(world)
    if owner.get(DEFINITIONS, POLICIES) is not None:
        for item in owner.list(POLICIES):
            owner.delete(POLICIES, item["metadata"]["name"])
    eventually(lambda: not any(item["metadata"]["name"].startswith("nvidia-") for item in owner.list(DAEMONS)), WITHIN)
    for kind, item in marked(owner):
        owner.delete(kind.resource, item["metadata"]["name"], item["metadata"].get("namespace", ""))
    eventually(lambda: not marked(owner) and set(gpus(world)) == {0}, WITHIN)


def shrink(world: World, count: int) -> None:
    """The administrator leaves the pool so many machines; nobody has tested them, and no Job is left."""
    Administrator(world).patch(POOLS, POOL, {"spec": {"replicas": count}}, "default")
    eventually(lambda: gpus(world) == [1] * count and len(machines_of(world, CLUSTER)) == 2 + count, WITHIN)
    owner = Owner(world)
    for node in owner.list(NODES):
        if VERDICT in notes_of(node):
            owner.patch(NODES, node["metadata"]["name"], {"metadata": {"annotations": {VERDICT: None}}})
    for job in owner.list(JOBS, "default"):
        owner.delete(JOBS, job["metadata"]["name"], "default")
