"""How far a cluster has come, and what failed on the way: for those who wait for it.

Reasons and severities: kubernetes-sigs/cluster-api-provider-aws, api/v1beta2/conditions_consts.go.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from handlers.aws_causes import Cause, cause_of, clipped
from handlers.cluster_objects import (
    ClusterObjects,
    by_age,
    control_plane_counts,
    control_plane_initialized,
    control_plane_ready,
    counts,
    endpoint,
    infrastructure_ready,
    is_control_plane,
    phase,
    version,
    worker_counts,
)
from handlers.conditions import (
    Object,
    conditions,
    flag,
    holds,
    is_deleted,
    name_of,
    objects_at,
    old_conditions,
    text,
)

__all__ = ["Cause", "Failure", "cause_of", "failures", "milestones", "progress"]

DIGEST_LENGTH = 16
MESSAGE_LENGTH = 300
WORKER_STEPS = 5
SUMMARIES = ("Ready", "Available")


@dataclass(frozen=True)
class Failure:
    """Something that failed: `object` as kind/name, the condition's reason and message, and AWS's part where it is
    known; `since` in seconds since the epoch, None where the object does not say."""

    object: str
    reason: str
    message: str
    cause: Cause | None
    since: float | None


def milestones(objects: ClusterObjects) -> tuple[str, ...]:
    """What has been reached so far, a sentence each, in order. A sentence stays word for word the same once it is
    there, so that whoever tells them can leave out those that were told."""
    return (*_network(objects), *_control_plane(objects), *_workers(objects), *_whole(objects))


def progress(objects: ClusterObjects) -> str:
    """A digest of all that moves: phases, conditions, counters, machines, nodes, addresses. It changes whenever one of
    them does, and never with times or wording. Not to be compared while `objects.unread` names something."""
    canonical = json.dumps(_state(objects), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:DIGEST_LENGTH]


def failures(objects: ClusterObjects) -> tuple[Failure, ...]:
    """What failed, each once, at the lowest object that says so: those above only repeat its reason."""
    found: list[Failure] = []
    for level in _levels(objects):
        told = {failure.reason for failure in found}
        found += [failure for item in level for failure in _failed(item) if failure.reason not in told]
    return tuple(found)


def _network(objects: ClusterObjects) -> Iterator[str]:
    seen = objects.infrastructure
    if holds(seen, "VpcReady") and holds(seen, "SubnetsReady"):
        subnets = len(objects_at(seen, "spec", "network", "subnets"))
        vpc = text(seen, "spec", "network", "vpc", "id")
        yield f"VPC {vpc or 'and subnets'} accepted{f', with {subnets} subnets' * bool(subnets)}."
    if holds(seen, "ClusterSecurityGroupsReady"):
        yield "Security groups made."
    address = endpoint(seen) or endpoint(objects.cluster)
    if holds(seen, "LoadBalancerReady") and address:
        yield f"Load balancer of the API server made: {address}."
    elif infrastructure_ready(objects.cluster):
        yield "Network and load balancer are ready."


def _control_plane(objects: ClusterObjects) -> Iterator[str]:
    for machine in by_age(machine for machine in objects.machines if is_control_plane(machine)):
        node = text(machine, "status", "nodeRef", "name")
        if node:
            yield f"Control plane machine {name_of(machine)} has joined as node {node}."
    if control_plane_initialized(objects):
        yield "Control plane initialised: its first machine serves the API."
    found = control_plane_counts(objects)
    if found.desired and found.ready == found.desired:
        yield f"{found.ready} of {found.desired} control plane machines ready."


def _workers(objects: ClusterObjects) -> Iterator[str]:
    """In at most five steps, so that a large pool does not fill a thread."""
    found = worker_counts(objects)
    if not found.desired or not found.ready:
        return
    step = max(1, found.desired // WORKER_STEPS)
    told = found.ready if found.ready >= found.desired else found.ready - found.ready % step
    if told:
        yield f"{told} of {found.desired} workers ready."


def _whole(objects: ClusterObjects) -> Iterator[str]:
    if holds(objects.cluster, "RemoteConnectionProbe"):
        yield "The management cluster reaches the cluster's API."
    if any(found.type == "Available" and found.good for found in conditions(objects.cluster)):
        yield "The cluster is available."


def _state(objects: ClusterObjects) -> Any:
    owners = [item for item in (objects.infrastructure, objects.control_plane) if item is not None]
    every = [objects.cluster, *owners, *objects.deployments, *objects.machines, *objects.infrastructure_machines]
    return [
        [infrastructure_ready(objects.cluster), control_plane_ready(objects.cluster), endpoint(objects.cluster)],
        sorted((_moving(item) for item in every), key=repr),
    ]


def _moving(item: Object) -> list[Any]:
    found = counts(item)
    return [
        text(item, "kind"),
        name_of(item),
        is_deleted(item),
        phase(item),
        version(item),
        [found.desired, found.replicas, found.ready, found.up_to_date],
        [flag(item, "status", "initialized"), flag(item, "status", "ready"), text(item, "status", "instanceState")],
        [text(item, "status", "nodeRef", "name"), text(item, "spec", "providerID")],
        sorted([one.type, one.status, one.severity, one.reason] for one in conditions(item)),
    ]


def _levels(objects: ClusterObjects) -> tuple[tuple[Object, ...], ...]:
    """Lowest first: causes stand below what repeats them."""
    network = (objects.infrastructure,) if objects.infrastructure is not None else ()
    control_plane = (objects.control_plane,) if objects.control_plane is not None else ()
    return (
        (*network, *objects.infrastructure_machines),
        objects.machines,
        (*control_plane, *objects.deployments),
        (objects.cluster,),
    )


def _failed(item: Object) -> list[Failure]:
    """Only the older conditions have a severity, and their reasons go up unchanged from below."""
    kind = text(item, "kind") or "object"
    name = f"{kind}/{name_of(item)}"
    bad = [one for one in old_conditions(item) if one.failed]
    telling = [one for one in bad if one.type not in SUMMARIES] or bad
    found = [_failure(name, one.reason, one.message, one.since) for one in telling]
    reason, message = _terminal(item)
    if (reason or message or (kind == "Machine" and phase(item) == "Failed")) and not found:
        found.append(_failure(name, reason or "Failed", message or "It does not say why."))
    return found


def _terminal(item: Object) -> tuple[str, str]:
    """What the older generation writes when it gives an object up for good."""
    for where in (("status",), ("status", "deprecated", "v1beta1")):
        reason, message = text(item, *where, "failureReason"), text(item, *where, "failureMessage")
        if reason or message:
            return reason, message
    return "", ""


def _failure(name: str, reason: str, message: str, since: float | None = None) -> Failure:
    """A reason that comes from below has ` @ Kind/name` behind it (the older generation's aggregates)."""
    return Failure(name, reason.partition(" @ ")[0], clipped(message, MESSAGE_LENGTH), cause_of(message), since)
