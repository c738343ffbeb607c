"""Why a cluster is not ready: the first thing that failed, else the first that it waits for, as one sentence.

The order follows what depends on what: identity, VPC, subnets, routes, security groups, load balancer, first machine,
control plane, nodes, workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from handlers.aws_causes import cause_of, clipped
from handlers.cluster_objects import (
    ClusterObjects,
    Counts,
    by_age,
    control_plane_counts,
    control_plane_initialized,
    counts,
    infrastructure_ready,
    is_control_plane,
    phase,
    version,
)
from handlers.cluster_reasons import MESSAGE_LENGTH, Reason, named, reason, said, sentence, waits
from handlers.cluster_seen import status_of
from handlers.cluster_waits import (
    BOOTSTRAP,
    CONTROL_PLANE,
    DEPLOYMENT,
    HEALTH,
    INSTANCE,
    NETWORK,
    NO_CLOUD_CONTROLLER,
    NO_NETWORK_PLUGIN,
    NODE,
    PROBE,
    TOPOLOGY,
    bad,
)
from handlers.conditions import Condition, Object, condition, flag, is_deleted, mapping_at, name_of, text

PAUSED = "cluster.x-k8s.io/paused"
BROKEN_TOPOLOGY = ("ReconcileFailed", "TopologyReconcileFailed", "ClusterClassNotReconciled")


def why(objects: ClusterObjects, now: float) -> str | None:
    """The one sentence that tells what failed or is waited for; None when nothing is to be said.

    `now` is in seconds since the epoch.
    """
    if objects.unread:
        return f"Could not be read: {', '.join(objects.unread)}."
    status = status_of(objects, now)
    reasons = [*_paused(objects), *(_deleting(objects) if status == "deleting" else _creating(objects))]
    if status == "running":
        reasons = [*(found for found in reasons if found.failed), *waits(objects.cluster, PROBE)]
    first = next((found for found in reasons if found.failed), reasons[0] if reasons else None)
    return first.sentence if first else None


def _creating(objects: ClusterObjects) -> Iterator[Reason]:
    control_plane = by_age(machine for machine in objects.machines if is_control_plane(machine))
    workers = by_age(machine for machine in objects.machines if not is_control_plane(machine))
    yield from _topology(objects.cluster)
    yield from _infrastructure(objects)
    yield from _machines(objects, control_plane)
    yield from _control_plane(objects)
    yield from _machines(objects, workers)
    yield from _workers(objects)
    yield from _versions(objects)


def _paused(objects: ClusterObjects) -> Iterator[Reason]:
    for item in (objects.cluster, objects.infrastructure, objects.control_plane):
        if flag(item, "spec", "paused") or PAUSED in mapping_at(item, "metadata", "annotations"):
            yield Reason(f"{named(item)} is paused: nothing goes on until that is taken away.", failed=True)


def _deleting(objects: ClusterObjects) -> Iterator[Reason]:
    """What AWS still holds on to, else what the Cluster says, else how much is left."""
    for held, _ in bad(objects.infrastructure, NETWORK):
        if cause_of(held.message):
            yield reason(objects.infrastructure, held, "its network to be removed")
    start = f"Cluster {objects.name} is being deleted"
    seen = condition(objects.cluster, "Deleting")
    if seen and seen.status == "True" and seen.message:
        yield Reason(f"{start}: {said(seen)}")
    workers = sum(not is_control_plane(machine) for machine in objects.machines)
    left = _counted(workers, "worker") if workers else _counted(len(objects.machines), "control plane machine")
    if objects.machines:
        yield Reason(f"{start}: {left} left.")
    elif objects.infrastructure is not None:
        yield Reason(f"{start}: its network and load balancer are left.")
    yield Reason(f"{start}.")


def _topology(cluster: Object) -> Iterator[Reason]:
    """While it goes well, it is the reason only until it has made the other objects."""
    begun = bool(text(cluster, "spec", "infrastructureRef", "name"))
    for seen, what in bad(cluster, TOPOLOGY):
        broken = seen.reason in BROKEN_TOPOLOGY
        if broken or not begun:
            yield Reason(reason(cluster, seen, what).sentence, failed=broken)


def _infrastructure(objects: ClusterObjects) -> Iterator[Reason]:
    name = text(objects.cluster, "spec", "infrastructureRef", "name")
    if objects.infrastructure is None and name:
        yield Reason(f"AWSCluster {name} is not there, so the network cannot be made.")
    yield from waits(objects.infrastructure, NETWORK)
    if not infrastructure_ready(objects.cluster):
        yield Reason(f"Cluster {objects.name} waits for its network and load balancer.")


def _machines(objects: ClusterObjects, machines: Iterable[Object]) -> Iterator[Reason]:
    below = {name_of(item): item for item in objects.infrastructure_machines}
    for machine in machines:
        yield from waits(machine, BOOTSTRAP)
        yield from waits(below.get(text(machine, "spec", "infrastructureRef", "name")), INSTANCE)
        yield from _given_up(machine)
        yield from _without_node(machine)
        if text(machine, "status", "nodeRef", "name"):
            yield from (_node(machine, seen, what) for seen, what in bad(machine, NODE))


def _given_up(machine: Object) -> Iterator[Reason]:
    deprecated = text(machine, "status", "deprecated", "v1beta1", "failureMessage")
    message = text(machine, "status", "failureMessage") or deprecated
    if phase(machine) == "Failed" or message:
        yield Reason(sentence(f"{named(machine)} failed", clipped(message, MESSAGE_LENGTH)), failed=True)


def _without_node(machine: Object) -> Iterator[Reason]:
    """An instance that runs and does not join cannot say why; without its provider id a node is not recognised."""
    if phase(machine) == "Provisioned" and not text(machine, "status", "nodeRef", "name") and not is_deleted(machine):
        yield Reason(
            f"{named(machine)} runs in EC2 but has not joined as a node. If that lasts, look at its way out to the "
            "internet and to the API's load balancer, at its cloud-init log, and whether the cluster has a cloud "
            "controller manager."
        )


def _node(machine: Object, seen: Condition, what: str) -> Reason:
    start = sentence(f"{named(machine)} waits for {what}", said(seen))
    if any(mark in seen.message for mark in NO_CLOUD_CONTROLLER):
        return Reason(f"{start} No cloud controller manager has taken the node on: install cloud-provider-aws.")
    certain = any(mark in seen.message for mark in NO_NETWORK_PLUGIN)
    missing = "It has no network plugin (CNI)" if certain else "Mostly the network plugin (CNI) is missing"
    return Reason(f"{start} {missing}: install one, the AWS provider brings none.", failed=seen.failed)


def _control_plane(objects: ClusterObjects) -> Iterator[Reason]:
    item, name = objects.control_plane, text(objects.cluster, "spec", "controlPlaneRef", "name")
    if item is None:
        if name:
            yield Reason(f"KubeadmControlPlane {name} is not there, so no machine can be made.")
        return
    yield from waits(item, CONTROL_PLANE)
    if control_plane_initialized(objects):
        yield from waits(objects.cluster, PROBE)
        yield from waits(item, HEALTH)
    else:
        yield Reason(f"{named(item)} waits for its first machine to serve the API.")
    yield from _incomplete(item, control_plane_counts(objects))


def _workers(objects: ClusterObjects) -> Iterator[Reason]:
    for item in sorted(objects.deployments, key=name_of):
        yield from waits(item, DEPLOYMENT)
        yield from _incomplete(item, counts(item))


def _incomplete(item: Object, found: Counts) -> Iterator[Reason]:
    desired, ready, new, there = found.desired, found.ready, found.up_to_date, found.replicas
    if None in (desired, ready, new, there):
        yield Reason(f"{named(item)} does not say how many of its machines are ready.")
    elif ready != desired:
        yield Reason(f"{named(item)} has {ready} of {desired} machines ready.")
    elif new != desired:
        yield Reason(f"{named(item)} has {new} of {desired} machines at the wanted version and settings.")
    elif there != desired:
        yield Reason(f"{named(item)} has {there} machines and wants {desired}.")


def _versions(objects: ClusterObjects) -> Iterator[Reason]:
    wanted = version(objects.control_plane)
    other = [machine for machine in by_age(objects.machines) if version(machine) != wanted]
    if wanted and other:
        has = version(other[0]) or "does not say its version"
        yield Reason(f"{_counted(len(other), 'machine')} not at {wanted} yet, first {name_of(other[0])} ({has}).")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
