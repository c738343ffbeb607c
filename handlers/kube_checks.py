"""What is looked at on the management cluster before a cluster is made: versions, rights, names, add-ons, identity, and
every object once with dryRun=All, so that schemas, quotas and admission webhooks speak before anybody approves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from handlers.clients.aws_errors import Denied
from handlers.cluster_rendering import Blueprint
from handlers.contract import Check, Fatal, Json, Kind, KubeProbe, KubeRead, KubeRefused, Retry
from handlers.identities import allows, selects
from handlers.kinds import (
    AWS_CLUSTER,
    AWS_MACHINE_TEMPLATE,
    CLUSTER,
    CONTROL_PLANE,
    CONTROLLER_IDENTITY,
    KUBEADM_TEMPLATE,
    MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
    NAMESPACE,
    RESOURCE_SET,
    ROLE_IDENTITY,
    kind_of,
)
from handlers.steps.apply import called, config_of
from handlers.subnet_checks import blocks, passes, warns

WRITTEN = (
    CLUSTER, AWS_CLUSTER, CONTROL_PLANE, AWS_MACHINE_TEMPLATE, KUBEADM_TEMPLATE, MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
)  # fmt: skip
AT_ONCE = 8


@dataclass(frozen=True)
class Left:
    """What is there already of the objects to be made: `same` from this very configuration, `other` from another one or
    by somebody else, `ending` being deleted. `uids` by object; `elsewhere` are namespaces that have a cluster of the
    name."""

    same: tuple[str, ...]
    other: tuple[str, ...]
    ending: tuple[str, ...]
    uids: dict[str, str]
    elsewhere: tuple[str, ...]

    @property
    def begun(self) -> bool:
        """True where an earlier try made the Cluster object from this configuration: from then on machines come."""
        return any(name.startswith(f"{CLUSTER.name} ") for name in self.same)


def versions_of(kube: KubeRead) -> dict[Kind, str]:
    """The version of each kind that is written. Fatal where one is not served, or only in unknown versions."""
    return {kind: kube.version(kind) for kind in WRITTEN}


def leftovers(items: Sequence[Json], kube: KubeRead) -> Left:
    """Looks for each object, and for clusters of the name in other namespaces."""
    name, namespace = _place(items[-1])
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="leftovers") as workers:
        found = list(workers.map(lambda item: kube.get(kind_of(item), *_place(item)), items))
    there = [(called(item), item, seen) for item, seen in zip(items, found, strict=True) if seen is not None]
    ending = tuple(label for label, _, seen in there if _meta(seen).get("deletionTimestamp"))
    same = tuple(label for label, item, seen in there if config_of(seen) == config_of(item) and label not in ending)
    elsewhere = sorted(
        str(_meta(other).get("namespace"))
        for other in kube.pages(CLUSTER)
        if _meta(other).get("name") == name and _meta(other).get("namespace") != namespace
    )
    return Left(
        same=same,
        other=tuple(label for label, _, _ in there if label not in same and label not in ending),
        ending=ending,
        uids={label: str(_meta(seen).get("uid", "")) for label, _, seen in there},
        elsewhere=tuple(elsewhere),
    )


def kube_checks(
    blueprint: Blueprint, items: Sequence[Json], left: Left, kube: KubeRead, probe: KubeProbe
) -> list[Check]:
    """Every check on the management cluster. What cannot be asked is unknown, and blocks."""
    there = _namespace(blueprint, kube)
    looks: list[Check] = [
        passes("cluster-api", "Cluster API", f"{CLUSTER.group} {kube.version(CLUSTER)}, {AWS_CLUSTER.group} "
               f"{kube.version(AWS_CLUSTER)}."),
        there,
        _names(blueprint, left),
        _asked("identity", "The provider's way into the account", lambda: _identity(blueprint, kube)),
        _asked("add-ons", "Network plugin and cloud controller", lambda: _add_ons(blueprint, kube)),
        _asked("rights", "The bot's rights there", lambda: _rights(blueprint, kube)),
    ]  # fmt: skip
    if there.blocks or left.other or left.ending:
        return looks
    return [*looks, _asked("dry-run", "Accepted by the API server", lambda: _tried(items, probe))]


def _asked(name: str, title: str, look: Any) -> Check:
    try:
        found: Check = look()
        return found
    except (Denied, Retry, Fatal) as error:
        return Check(id=name, title=title, result="unknown", evidence=error.message, fix=error.hint)


def _namespace(blueprint: Blueprint, kube: KubeRead) -> Check:
    title, name = "The namespace exists", blueprint.namespace

    def look() -> Check:
        if kube.get(NAMESPACE, name) is None:
            fix = f"Make it (`kubectl create namespace {name}`), or name another with --namespace."
            return blocks("namespace", title, f"There is no namespace {name} on the management cluster.", fix)
        return passes("namespace", title, f"{name} is there.")

    return _asked("namespace", title, look)


def _names(blueprint: Blueprint, left: Left) -> Check:
    title, name = "The name is free in Kubernetes", blueprint.name
    if left.ending:
        fix = "Wait until it is gone, then look again."
        return blocks("names", title, f"Being deleted at this moment: {', '.join(left.ending)}.", fix)
    if left.other:
        fix = (
            f"They belong to another cluster, or to an earlier try with other settings: take another name, or delete "
            f"them first (`/tkg cluster delete {name} --namespace {blueprint.namespace}`)."
        )
        return blocks("names", title, f"There already, and not made from this plan: {', '.join(left.other)}.", fix)
    if left.elsewhere:
        fix = "In AWS both would take each other's load balancers and machines for their own: take another name."
        evidence = f"A cluster {name} is in namespace {', '.join(left.elsewhere)} already."
        return blocks("names", title, evidence, fix)
    if left.same:
        evidence = f"An earlier try left {len(left.same)} objects of this very configuration; they are gone on with."
        return warns("names", title, evidence, "Nothing has to be done.")
    return passes("names", title, f"No object of a cluster {name} is there.")


def _identity(blueprint: Blueprint, kube: KubeRead) -> Check:
    title = "The provider's way into the account"
    kind, name = (ROLE_IDENTITY, blueprint.identity) if blueprint.identity else (CONTROLLER_IDENTITY, "default")
    found = kube.get(kind, name)
    if found is None:
        fix = f"Make the {kind.name} `{name}`" + ("." if blueprint.identity else ": with spec.allowedNamespaces {}.")
        return blocks("identity", title, f"The management cluster has no {kind.name} {name}.", fix)
    if not allows(found, blueprint.namespace, kube):
        evidence = f"The {kind.name} {name} does not allow the namespace {blueprint.namespace}."
        return blocks("identity", title, evidence, "Add the namespace to its spec.allowedNamespaces, or use another.")
    return passes("identity", title, f"{kind.name} {name} allows the namespace {blueprint.namespace}.")


def _add_ons(blueprint: Blueprint, kube: KubeRead) -> Check:
    """Nothing makes nodes Ready but a network plugin, and the provider brings none. A warning only: it may come by
    other ways (GitOps, a Helm add-on provider)."""
    title = "Network plugin and cloud controller"
    fix = "Without them nodes stay NotReady and tainted: add ClusterResourceSets, or apply both by other means."
    if not kube.has(RESOURCE_SET):
        return warns("add-ons", title, "The management cluster has no ClusterResourceSets.", fix)
    labels = dict(blueprint.labels)
    selecting: dict[str, Any] = {}
    for item in kube.pages(RESOURCE_SET, blueprint.namespace):
        spec: Any = item.get("spec") or {}
        selector = spec.get("clusterSelector") or {}
        if selects(selector, labels):
            selecting[str(_meta(item).get("name"))] = selector
    lacking = [f"{key}={value}" for key, value in sorted(labels.items()) if not _speaks_of(key, selecting.values())]
    if selecting and lacking:
        evidence = f"No ClusterResourceSet in {blueprint.namespace} selects by {', '.join(lacking)}."
        return warns("add-ons", title, evidence, fix)
    if selecting:
        return passes(
            "add-ons", title, f"ClusterResourceSets for this cluster's labels: {', '.join(sorted(selecting))}."
        )
    said = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
    evidence = f"No ClusterResourceSet in {blueprint.namespace} selects a cluster labelled {said or 'with nothing'}."
    return warns("add-ons", title, evidence, fix)


def _speaks_of(key: str, selectors: Iterable[Any]) -> bool:
    """Does any of these selectors look at this label?"""
    return any(
        key in (selector.get("matchLabels") or {})
        or key in [entry.get("key") for entry in selector.get("matchExpressions") or []]
        for selector in selectors
    )


def _rights(blueprint: Blueprint, kube: KubeRead) -> Check:
    title = "The bot's rights there"
    asked = [(verb, kind) for kind in WRITTEN for verb in ("create", "patch", "get")]
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="rights") as workers:
        answers = list(workers.map(lambda pair: kube.may(pair[0], pair[1], blueprint.namespace), asked))
    missing = [f"{verb} {kind.resource}" for (verb, kind), yes in zip(asked, answers, strict=True) if not yes]
    if missing:
        evidence = f"The bot may not {', '.join(missing[:4])}{' and more' if len(missing) > 4 else ''}."
        fix = f"The platform team has to allow it in namespace {blueprint.namespace} (RBAC of the management cluster)."
        return blocks("rights", title, evidence, fix)
    return passes("rights", title, f"{len(asked)} rights in {blueprint.namespace} are there.")


def _tried(items: Sequence[Json], probe: KubeProbe) -> Check:
    title = "Accepted by the API server"

    def one(item: Json) -> tuple[str, str]:
        try:
            return "", "; ".join(f"{called(item)}: {warning}" for warning in probe.try_apply(item))
        except KubeRefused as error:
            return f"{called(item)}: {error.message} {error.hint}".strip(), ""

    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="dry-run") as workers:
        answers = list(workers.map(one, items))
    refused = [refusal for refusal, _ in answers if refusal]
    warned = [warning for _, warning in answers if warning]
    if refused:
        return blocks("dry-run", title, "; ".join(refused), "Mend what it says, then look again.")
    if warned:
        return warns("dry-run", title, "; ".join(warned[:3]), "It works today; the words are the API server's.")
    return passes("dry-run", title, f"All {len(items)} objects were accepted in a dry run.")


def _place(item: Json) -> tuple[str, str]:
    meta = _meta(item)
    return str(meta["name"]), str(meta.get("namespace", ""))


def _meta(item: Json) -> dict[str, Any]:
    found: Any = item.get("metadata") or {}
    return dict(found)
