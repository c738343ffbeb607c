"""Kubernetes objects, deleted: each only if it is the very one that was seen when the plan was made.

Deletion only asks: finalizers of controllers end it, and are never taken off. (Kubernetes: "Finalizers".)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from handlers.contract import Fatal, KubeRefused, KubeWrite, Model, Observation, Outcome, RunWorld, Step
from handlers.kinds import BY_RESOURCE
from handlers.steps.apply import place


class Seen(Model):
    """One object as it was seen; without a uid, whichever has the name (one that an earlier step makes)."""

    resource: str
    namespace: str
    name: str
    uid: str


class RemoveStep(Step):
    """Deletes `objects`. `cluster` is empty for the management cluster, else `NAMESPACE/NAME`. It is so when they are
    gone; until then `patience` says for how long nothing may move (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["remove"] = "remove"
    cluster: str = ""
    objects: tuple[Seen, ...]
    patience: float = 1800.0


class RemoveExecutor:
    """Observes by GET, applies by DELETE with the uid as precondition."""

    def observe(self, step: RemoveStep, world: RunWorld) -> Observation:
        """So when none of them is there any more; another object of the same name is not them."""
        left = _left(step, place(step.cluster, world))
        if not left:
            return Observation(so=True, evidence=f"Gone: {_named(step.objects)}.")
        asked = [seen for seen, found in left if (found.get("metadata") or {}).get("deletionTimestamp")]
        waits = "; ".join(f"{seen.name} is held by {_held(found)}" for seen, found in left if _held(found))
        evidence = f"{len(asked)} of {len(left)} are being deleted: {_named([seen for seen, _ in left])}."
        return Observation(
            so=False, evidence=f"{evidence} {waits}".strip(), progress=_digest(left), patience=step.patience
        )

    def apply(self, step: RemoveStep, world: RunWorld) -> Outcome:
        """Asks for the deletion of what is not being deleted yet."""
        kube = place(step.cluster, world)
        asked: list[Seen] = []
        for seen, found in _left(step, kube):
            if (found.get("metadata") or {}).get("deletionTimestamp"):
                continue
            try:
                kube.delete(BY_RESOURCE[seen.resource], seen.name, seen.namespace, seen.uid)
            except KubeRefused as error:
                raise Fatal(error.message, error.hint) from error
            asked.append(seen)
        return Outcome(
            changed=bool(asked), evidence=f"Asked to delete {_named(asked)}." if asked else "Nothing was left."
        )


def _left(step: RemoveStep, kube: KubeWrite) -> list[tuple[Seen, dict[str, Any]]]:
    found = [(seen, kube.get(BY_RESOURCE[seen.resource], seen.name, seen.namespace)) for seen in step.objects]
    return [(seen, item) for seen, item in found if item is not None and seen.uid in ("", _uid(item))]


def _uid(item: dict[str, Any]) -> str:
    return str((item.get("metadata") or {}).get("uid", ""))


def _held(item: dict[str, Any]) -> str:
    return ", ".join((item.get("metadata") or {}).get("finalizers") or [])


def _digest(left: list[tuple[Seen, dict[str, Any]]]) -> str:
    return " ".join(f"{seen.uid}:{(item.get('metadata') or {}).get('resourceVersion')}" for seen, item in left)


def _named(objects: Any) -> str:
    return ", ".join(f"{BY_RESOURCE[seen.resource].name} {seen.name}" for seen in objects)
