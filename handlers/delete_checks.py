"""What is looked at before a cluster is deleted: what would hold the deletion, and what would stay behind.

Facts: cluster-api-provider-aws, pkg/cloud/services/gc (which resources a deleted cluster takes along, and the two
annotations, which it reads without mercy) and pkg/cloud/scope/session.go (without its identity nothing goes); Cluster
API book, "Pausing"; Kubernetes, "Persistent Volumes: reclaiming".
"""

from __future__ import annotations

from collections.abc import Iterator

from handlers.cluster_objects import ClusterObjects, phase
from handlers.cluster_why import PAUSED
from handlers.conditions import condition, flag, is_deleted, mapping_at, name_of, seconds, text
from handlers.contract import AwsRead, Check, Fatal, KubeRead, ReadWorld
from handlers.delete_inventory import Inventory
from handlers.deletion import CREDENTIALS, identity_of, subnets_of
from handlers.identities import allows, users_of
from handlers.kinds import BY_NAME, INFRA, ROLE_IDENTITY
from handlers.leftover_words import costing, counts, some
from handlers.leftovers import Leftovers
from handlers.network import subnets_by_id
from handlers.subnet_checks import blocks, counted, named, passes, warns
from handlers.time_box import moment
from handlers.untag_checks import others_on

GC = "aws.cluster.x-k8s.io/external-resource-gc"
GC_TASKS = "aws.cluster.x-k8s.io/external-resource-tasks-gc"
TASKS = ("load-balancer", "target-group", "security-group")
YES, NO = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
"""What Go's strconv.ParseBool takes."""


def begun_check(found: ClusterObjects, now: float) -> list[Check]:
    """Somebody may have begun it by hand."""
    if not is_deleted(found.cluster):
        return []
    since = seconds(text(found.cluster, "metadata", "deletionTimestamp"))
    when = f"at {moment(since, now)}" if since is not None else "before"
    fix = "It cannot be stopped any more. The run follows what goes, and looks for what is left."
    return [warns("begun", "Begun by hand", f"Somebody began to delete it by hand {when}.", fix)]


def paused_check(found: ClusterObjects) -> Check:
    """A paused cluster, or a paused part of it, is never taken away."""
    title = "Not paused"
    fix = "first: what is paused is never taken away, the deletion only hangs."
    if flag(found.cluster, "spec", "paused"):
        evidence = f"The cluster is paused (`spec.paused` of Cluster {found.name}), so its controllers do nothing."
        return blocks("paused", title, evidence, f"Take off spec.paused {fix}")
    parts = [part for part in (found.infrastructure, found.control_plane) if part is not None]
    every = [found.cluster, *parts, *found.deployments, *found.machines, *found.infrastructure_machines]
    paused = [
        f"{text(item, 'kind')} {name_of(item)}"
        for item in every
        if PAUSED in mapping_at(item, "metadata", "annotations")
    ]
    if paused:
        return blocks("paused", title, f"Paused by the annotation `{PAUSED}`: {some(paused)}.", f"Take it off {fix}")
    return passes("paused", title, f"Its phase is {phase(found.cluster) or 'not known'}.")


def gc_check(found: ClusterObjects) -> Check:
    """Whether the provider takes load balancers of services along, and whether it understands what is written."""
    title, name = "What the provider cleans up", "garbage"
    notes = mapping_at(found.infrastructure, "metadata", "annotations")
    whether, tasks = notes.get(GC), notes.get(GC_TASKS)
    fix = f"kubectl annotate awscluster --overwrite --namespace {found.namespace} {name_of(found.infrastructure)} "
    if whether is not None and whether not in (*YES, *NO):
        evidence = f"`{GC}` says “{whether}”, which is no yes or no: the provider stops there, and the deletion hangs."
        return blocks(name, title, evidence, f"{fix}{GC}=true")
    if tasks is not None:
        wrong = [task for task in tasks.split(",") if task not in TASKS]
        if wrong:
            evidence = f"`{GC_TASKS}` says “{tasks}”: the provider does not know “{wrong[0]}”, and may crash."
            return blocks(name, title, evidence, f"{fix}{GC_TASKS}={','.join(TASKS)} (no spaces)")
    if whether in NO:
        evidence = f"`{GC}` says no: load balancers of its services stay, and may hold its security groups."
        return warns(name, title, evidence, f"{fix}{GC}=true")
    if tasks is not None and set(tasks.split(",")) != set(TASKS):
        evidence = f"Of what its services made, only: {tasks.replace(',', ', ')}."
        return warns(name, title, evidence, "The rest stays, and is looked for afterwards.")
    evidence = "Load balancers, target groups and security groups of its services, where that is not switched off."
    return passes(name, title, evidence)


def services_check(found: Inventory, left: Leftovers, cluster: str, *, begun: bool) -> Check:
    """LoadBalancer services keep security groups in use, so that the deletion may hang; with the cluster gone, nobody
    answers for their load balancers. Once it goes, nothing can be asked of it any more."""
    title, name = "No LoadBalancer services", "services"
    balancers = [item for item in left.of("load-balancer", "classic-load-balancer") if not _is_api(item.name, cluster)]
    listed = some([item.name for item in balancers])
    if begun:
        seen = (
            f"In AWS it has load balancers: {listed}." if balancers else "AWS shows no load balancer of its services."
        )
        return (warns if balancers else passes)(
            name, title, seen, *(["The run says when they hold it."] * bool(balancers))
        )
    if found.services:
        each = "; ".join(f"kubectl delete service --namespace {s.namespace} {s.name}" for s in found.services[:3])
        fix = f"Delete these services first, and wait until their load balancers are gone ({each})."
        evidence = f"{len(found.services)} in the cluster: {some([service.called for service in found.services])}."
        return blocks(name, title, evidence, fix)
    if found.unasked and "load-balancer" in left.unseen:
        evidence = f"{found.unasked} {left.unseen['load-balancer']}"
        return Check(
            id=name, title=title, result="unknown", evidence=evidence, fix="Mend one of the two, and ask again."
        )
    if found.unasked and balancers:
        fix = "Services of the cluster made them: delete those first."
        return blocks(name, title, f"{found.unasked} In AWS it has load balancers: {listed}.", fix)
    if found.unasked:
        evidence = f"{found.unasked} AWS shows no load balancer of its services."
        return warns(name, title, evidence, "Nothing has to be done.")
    if balancers:
        evidence = f"The cluster has none, and in AWS there are load balancers of its own: {listed}."
        return warns(
            name, title, evidence, "Find out who made them; what the provider does not delete is offered after."
        )
    return passes(name, title, "The cluster has none, and AWS shows none.")


def _is_api(balancer: str, cluster: str) -> bool:
    return balancer in (f"{cluster}-apiserver", f"{cluster.replace('.', '-')}-apiserver")


def volumes_check(found: Inventory, left: Leftovers) -> Check:
    """Volumes outlive the cluster: with Retain as they are meant to, with Delete because nobody is left to do it."""
    title, name = "Volumes", "volumes"
    fix = "They stay and cost. Delete their claims first, or clean up afterwards (`/tkg cluster cleanup … --volumes`)."
    if found.volumes:
        kept = [volume.called for volume in found.volumes if volume.policy != "Delete"]
        others = [volume.called for volume in found.volumes if volume.policy == "Delete"]
        lines = [f"{len(kept)} with the policy Retain: {some(kept)}."] if kept else []
        if others:
            lines.append(
                f"{len(others)} with the policy Delete, which nobody carries out when the cluster goes first: "
                f"{some(others)}."
            )
        return warns(name, title, " ".join(lines), fix)
    in_aws = left.of("volume")
    if in_aws:
        names = some([item.name or item.id for item in in_aws])
        return warns(name, title, f"In AWS it has {counts(in_aws)}{costing(in_aws)}: {names}.", fix)
    if found.unasked:
        return warns(name, title, f"{found.unasked} AWS shows no volume with its tag.", "Nothing has to be done.")
    return passes(name, title, "The cluster has no PersistentVolume.")


def identity_check(found: ClusterObjects, kube: KubeRead) -> Check:
    """Without its identity the provider cannot get into the account, and the deletion hangs."""
    title, check = "Its AWS identity", "identity"
    kind, name = identity_of(found.infrastructure)
    known = BY_NAME.get((INFRA, kind))
    if found.infrastructure is None:
        return warns(check, title, "It has no AWSCluster that could be read.", "What it has in AWS may stay there.")
    if known is None:
        return warns(check, title, f"It uses {kind} {name}, a kind that tkgbot does not know.", "See that it is there.")
    try:
        identity = kube.get(known, name)
    except Fatal as error:
        evidence = f"Whether {kind} {name} is there is not known: {error.message}"
        return Check(id=check, title=title, result="unknown", evidence=evidence, fix=error.hint)
    if identity is None:
        evidence = (
            f"{kind} {name} is not there, so the provider cannot get into the account, and the deletion would hang."
        )
        return blocks(check, title, evidence, "Make it anew under that name first (`/tkg account onboard`).")
    if not allows(identity, found.namespace, kube):
        evidence = f"{kind} {name} does not let the namespace {found.namespace} use it, so the deletion would hang."
        return blocks(check, title, evidence, "Add the namespace to its spec.allowedNamespaces first.")
    for word in CREDENTIALS:
        seen = condition(found.infrastructure, word)
        if seen is not None and seen.status != "True":
            evidence = f"The provider cannot use {kind} {name} ({seen.reason}): {seen.message}".rstrip(": ") + "."
            return blocks(check, title, evidence, "Mend it first; `/tkg account check` says what is wrong.")
    return passes(check, title, f"{kind} {name} is there.{_others(found, known is ROLE_IDENTITY, name, kube)}")


def _others(found: ClusterObjects, shared: bool, name: str, kube: KubeRead) -> str:
    users = users_of(kube, name)[0] if shared else []
    others = [user for user in users if user != f"{found.namespace}/{name_of(found.infrastructure)}"]
    return f" {some(others)} use{'s' * (len(others) == 1)} it, too." if others else ""


def subnets_check(found: ClusterObjects, aws: AwsRead) -> Iterator[Check]:
    """Who else uses the subnets; they stay, with the cluster's tag on them."""
    subnets = subnets_by_id(aws, subnets_of(found.infrastructure))
    if not subnets:
        return
    evidence = f"{counted(len(subnets))} {'stays' if len(subnets) == 1 else 'stay'}, with the cluster's tag."
    shared = [f"{named(s)} for {', '.join(others_on(s, found.name))}" for s in subnets if others_on(s, found.name)]
    others = f" Also tagged: {some(shared)}." if shared else " No other cluster's tag is on them."
    yield passes("subnets", "Its subnets", f"{evidence}{others}")


def looked_check(left: Leftovers, world: ReadWorld, account: str) -> list[Check]:
    """What cannot be looked at now cannot be found afterwards."""
    if not left.unseen:
        return []
    evidence = f"Not everything that it has in AWS can be seen: {left.blind}"
    fix = f"What it leaves there in {account} ({world.account(account).id}) has to be looked for by hand."
    return [warns("looked", "Leftovers can be looked for", evidence, fix)]
