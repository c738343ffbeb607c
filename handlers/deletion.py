"""A cluster that is being deleted: what is gone, what is left, and what holds it. Pure.

Order: workers, control plane, AWSCluster with its load balancer and security groups, Cluster. (kubernetes-sigs/
cluster-api, internal/controllers/cluster, reconcileDelete; internal/controllers/machine, deletion hooks; cluster-api-
provider-aws, controllers/awscluster_controller.go, reconcileDelete.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from handlers.aws_causes import cause_of
from handlers.cluster_objects import ClusterObjects, is_control_plane
from handlers.cluster_why import PAUSED
from handlers.conditions import (
    Object,
    condition,
    flag,
    is_deleted,
    mapping_at,
    name_of,
    number,
    objects_at,
    old_conditions,
    seconds,
    text,
)

HOOKS = {
    "pre-drain.delete.hook.machine.cluster.x-k8s.io/": "before its node is drained",
    "pre-terminate.delete.hook.machine.cluster.x-k8s.io/": "before its instance is ended",
}
"""Annotations by which others hold the deletion of a Machine; the value names who. (Cluster API book, "Machine deletion
phase hooks".)"""
CREDENTIALS = ("PrincipalUsageAllowed", "PrincipalCredentialRetrieved")
GONE_REASON = "Deleted"
NEVER = "Finalizers are never taken off: that would leave machines and load balancers that cost, and that nobody finds."
SHOWN = 4


@dataclass(frozen=True)
class Hold:
    """What holds the deletion: one sentence, and what to do about it; `since` when it is known (epoch seconds).
    `resource` is the id of what AWS does not let go, where it names one."""

    sentence: str
    fix: str
    since: float | None = None
    resource: str = ""


def gone(found: ClusterObjects) -> tuple[str, ...]:
    """What has gone already, one sentence each, in order."""
    workers, planes = _machines(found)
    sentences = []
    if not workers and not found.deployments:
        sentences.append("The workers are gone.")
        if not planes and found.control_plane is None:
            sentences.append("The control plane is gone.")
    balancer = condition(found.infrastructure, "LoadBalancerReady")
    if found.infrastructure is None:
        sentences.append("The load balancer of its API server and the security groups are gone.")
    elif balancer is not None and balancer.status == "False" and balancer.reason == GONE_REASON:
        sentences.append("The load balancer of its API server is gone.")
    return tuple(sentences)


def left(found: ClusterObjects) -> str:
    """What is gone and what is left, in words, what goes next first: the line that people watch."""
    workers, planes = _machines(found)
    name = found.name
    if workers or found.deployments:
        return f"{name} is going: {_counted(workers, _wanted(found.deployments), 'worker')}"
    if planes or found.control_plane is not None:
        wanted = _wanted([found.control_plane] if found.control_plane is not None else [])
        return f"{name} is going: {_counted(planes, wanted, 'control plane machine')}"
    if found.infrastructure is not None:
        return f"{name} is going: its load balancer and security groups are left"
    return f"{name} is going: only the Cluster object is left"


def holds(found: ClusterObjects, *, identity_missing: str = "") -> tuple[Hold, ...]:
    """Everything that holds it. `identity_missing` names the identity that its AWSCluster uses and that is gone."""
    return (
        *_paused(found),
        *_hooks(found),
        *_credentials(found, identity_missing),
        *_aws(found),
        *_finalizers(found),
    )


def _paused(found: ClusterObjects) -> Iterator[Hold]:
    for item in (found.cluster, found.infrastructure, found.control_plane, *found.machines):
        by_annotation = PAUSED in mapping_at(item, "metadata", "annotations")
        if flag(item, "spec", "paused") or by_annotation:
            where = f"the annotation `{PAUSED}`" if by_annotation else "spec.paused"
            sentence = f"{_named(item)} is paused, so its controllers do nothing, and take nothing away."
            yield Hold(sentence, f"Whoever paused it has to take off {where}; then it goes on by itself.")


def _hooks(found: ClusterObjects) -> Iterator[Hold]:
    for machine in found.machines:
        if not is_deleted(machine):
            continue
        since = seconds(text(machine, "metadata", "deletionTimestamp"))
        for key, owner in sorted(mapping_at(machine, "metadata", "annotations").items()):
            prefix = next((prefix for prefix in HOOKS if key.startswith(prefix)), None)
            if prefix is not None:
                who = f", which {owner} has set" if owner else ""
                sentence = f"{_named(machine)} is held {HOOKS[prefix]} by the hook `{key}`{who}."
                fix = f"{owner or 'Whoever set it'} has to take off that annotation when its work is done."
                yield Hold(sentence, fix, since)


def _credentials(found: ClusterObjects, missing: str) -> Iterator[Hold]:
    bad = [seen for kind in CREDENTIALS if (seen := condition(found.infrastructure, kind)) and seen.status != "True"]
    if missing:
        since = next((seen.since for seen in bad), None)
        sentence = f"The identity {missing}, by which the provider gets into the AWS account, is not there any more."
        yield Hold(sentence, "Make it anew, with the same name (`/tkg account onboard`); then it goes on.", since)
    elif bad:
        said = f": {bad[0].message}" if bad[0].message else ""
        sentence = f"The provider cannot get into the AWS account ({bad[0].reason}){said}".rstrip(".") + "."
        yield Hold(sentence, "Mend the identity or its role; `/tkg account check` says what is wrong.", bad[0].since)


def _aws(found: ClusterObjects) -> Iterator[Hold]:
    """What AWS says no to; each text once."""
    told: set[str] = set()
    for item in (found.infrastructure, *found.infrastructure_machines):
        for seen in old_conditions(item):
            cause = cause_of(seen.message) if seen.status == "False" and seen.type not in CREDENTIALS else None
            if cause is None or cause.aws in told:
                continue
            told.add(cause.aws)
            resource = re.search(r"\b(?:sg|subnet|eni|vpc|igw|rtb)-[0-9a-z]+\b", seen.message)
            sentence = f"AWS does not let {_named(item)} go: “{cause.aws}”."
            yield Hold(sentence, cause.fix, seen.since, resource[0] if resource else "")


def _finalizers(found: ClusterObjects) -> Iterator[Hold]:
    """The objects that have been asked to go, lowest first, and whose finalizers are still on them."""
    every = [*found.infrastructure_machines, *found.machines, *found.deployments]
    every += [item for item in (found.control_plane, found.infrastructure) if item is not None]
    asked = [item for item in every or [found.cluster] if is_deleted(item)] or [found.cluster]
    lines = []
    for item in asked[:SHOWN]:
        names = [str(name) for name in _finalizers_of(item)]
        if names:
            lines.append(f"{_named(item)} has the finalizer{'s' * (len(names) > 1)} {', '.join(names)}")
    if lines:
        more = f", and {len(asked) - SHOWN} more objects" if len(asked) > SHOWN else ""
        fix = f"The controllers that set them take them off when their work is done. {NEVER}"
        yield Hold(f"{'; '.join(lines)}{more}.", fix)


def _finalizers_of(item: Object | None) -> Sequence[object]:
    meta = (item or {}).get("metadata")
    found = meta.get("finalizers") if isinstance(meta, dict) else None
    return found if isinstance(found, list) else []


def identity_of(infrastructure: Object | None) -> tuple[str, str]:
    """Kind and name of the identity that an AWSCluster uses; without one the controllers' own."""
    kind = text(infrastructure, "spec", "identityRef", "kind") or "AWSClusterControllerIdentity"
    return kind, text(infrastructure, "spec", "identityRef", "name") or "default"


def subnets_of(infrastructure: Object | None) -> tuple[str, ...]:
    """The subnets that an AWSCluster names."""
    listed = objects_at(infrastructure, "spec", "network", "subnets")
    ids = [text(entry, "resourceID") or text(entry, "id") for entry in listed]
    return tuple(name for name in ids if name.startswith("subnet-"))


def _machines(found: ClusterObjects) -> tuple[int, int]:
    planes = sum(is_control_plane(machine) for machine in found.machines)
    return len(found.machines) - planes, planes


def _wanted(owners: Sequence[Object]) -> int:
    """How many machines they had; they stay until the last of these is gone."""
    return sum(number(owner, "spec", "replicas") or 0 for owner in owners)


def _counted(count: int, wanted: int, word: str) -> str:
    """`2 of 3 workers are gone`; while all of them are there, `3 workers are left`."""
    less = wanted - count
    if less > 0:
        return f"{less} of {wanted} {word}{'s' * (wanted != 1)} {'is' if less == 1 else 'are'} gone"
    return f"{count} {word}{'s' * (count != 1)} {'is' if count == 1 else 'are'} left"


def _named(item: Object | None) -> str:
    return f"{text(item, 'kind')} {name_of(item)}".strip()
