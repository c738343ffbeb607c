"""Kubernetes objects on the management cluster or on a workload cluster, by server-side apply.

Applying is idempotent, and refuses what another field manager owns. What was made by an earlier try is gone on
with only where it was made from the same configuration: each object carries its digest. (Kubernetes: "Server-Side
Apply".)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from handlers.contract import Fatal, Json, KubeRefused, KubeWrite, Observation, Outcome, Right, RunWorld, Step
from handlers.kinds import DEFINITION, kind_of

CONFIG = "tkgbot/config"
"""The annotation that says from which configuration an object was made."""
KEYS = ("id", "name", "key", "type", "ip")
"""What an element of a list of objects is told apart by, if by anything."""


class ApplyStep(Step):
    """Makes `objects` so, in their order. `cluster` is empty for the management cluster, else `NAMESPACE/NAME`.
    `before` maps each object (`KIND NAME`) to the uid of one that was there, or null; `over` to the configuration of
    one that may be replaced. With `by_digest` an object is so when it carries its configuration's digest: of files that
    others wrote, servers keep values in forms of their own (`0.5` as `500m`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["apply"] = "apply"
    cluster: str = ""
    objects: tuple[Json, ...]
    over: dict[str, str] = Field(default_factory=dict)
    by_digest: bool = False


class ApplyExecutor:
    """Observes by GET, applies by PATCH."""

    def observe(self, step: ApplyStep, world: RunWorld) -> Observation:
        """So when every object is there with everything that the plan says of it."""
        kube = place(step.cluster, world)
        lacking = [called(item) for item in step.objects if not _is_so(item, kube, step)]
        if not lacking:
            count = len(step.objects)
            evidence = f"All {count} objects are there as planned." if count > 1 else "It is there as planned."
            return Observation(so=True, evidence=evidence)
        return Observation(so=False, evidence=f"Not there as planned yet: {', '.join(lacking[:6])}.")

    def apply(self, step: ApplyStep, world: RunWorld) -> Outcome:
        """Applies what is not so yet."""
        kube = place(step.cluster, world)
        done: list[str] = []
        for item in step.objects:
            if _is_so(item, kube, step):
                continue
            try:
                kube.apply(item)
            except KubeRefused as error:
                left = f" Applied before it: {', '.join(done)}." if done else ""
                raise Fatal(f"{error.message}{left}", error.hint) from error
            done.append(called(item))
        return Outcome(
            changed=bool(done), evidence=f"Applied {', '.join(done)}." if done else "All were there already."
        )


def rights_for(objects: Sequence[Json], cluster: str = "") -> tuple[Right, ...]:
    """What applying them needs on the management cluster, or on the workload cluster `NAMESPACE/NAME`: to create and
    to patch each, and nothing else."""
    rights: list[Right] = []
    for item in objects:
        meta: Any = item["metadata"]
        named = {"namespace": str(meta.get("namespace", "")), "name": str(meta["name"]), "cluster": cluster}
        rights += [Right(verb=verb, resource=kind_of(item).resource, **named) for verb in ("create", "patch")]
    return tuple(rights)


def place(cluster: str, world: RunWorld) -> KubeWrite:
    """The cluster that a step names."""
    namespace, _, name = cluster.partition("/")
    return world.workload(namespace, name) if cluster else world.management()


def called(item: Json) -> str:
    """An object in words: `AWSCluster demo`."""
    meta: Any = item["metadata"]
    return f"{item['kind']} {meta['name']}"


def config_of(item: Json | None) -> str:
    """From which configuration an object was made; empty where nobody says so."""
    meta: Any = (item or {}).get("metadata") or {}
    return str((meta.get("annotations") or {}).get(CONFIG, ""))


def _is_so(item: Json, kube: KubeWrite, step: ApplyStep) -> bool:
    meta: Any = item["metadata"]
    found = kube.get(kind_of(item), str(meta["name"]), str(meta.get("namespace", "")))
    if found is None:
        return False
    if config_of(found) != config_of(item):
        if called(item) in step.over and config_of(found) == step.over[called(item)]:
            return False
        raise Fatal(
            f"There is a {called(item)} already that was not made from this plan, so it was left alone.",
            "Take another name, or delete what is there first.",
        )
    seen: Any = found.get("metadata")
    if seen.get("deletionTimestamp"):
        raise Fatal(f"{called(item)} is being deleted, so nothing was applied to it.", "Ask again when it is gone.")
    return (step.by_digest or holds(item, found)) and (kind_of(item) != DEFINITION or is_established(found))


def is_established(definition: Json) -> bool:
    """Is a CustomResourceDefinition served? Only then can its objects be applied. (Kubernetes: "Established".)"""
    status: Any = definition.get("status") or {}
    return any(
        one.get("type") == "Established" and one.get("status") == "True" for one in status.get("conditions") or []
    )


def holds(wanted: Any, have: Any) -> bool:
    """Does an object have everything that is wanted of it? Servers and controllers add to it: further fields, and
    further elements of lists whose elements have keys."""
    if isinstance(wanted, Mapping):
        return isinstance(have, Mapping) and all(
            key == "apiVersion" or (key in have and holds(value, have[key])) for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(have, Sequence) and not isinstance(have, str) and _lists_hold(wanted, have)
    return bool(wanted == have)


def _lists_hold(wanted: Sequence[Any], have: Sequence[Any]) -> bool:
    key = next((key for key in KEYS if _tells_apart(key, wanted)), None)
    if key is None:
        return len(wanted) == len(have) and all(map(holds, wanted, have))
    by_key = {item.get(key): item for item in have if isinstance(item, Mapping)}
    return all(holds(item, by_key.get(item[key])) for item in wanted)


def _tells_apart(key: str, items: Sequence[Any]) -> bool:
    """Has every element such a key, each another one?"""
    values = [item.get(key) for item in items if isinstance(item, Mapping) and key in item]
    return bool(items) and len(values) == len(items) == len({str(value) for value in values})
