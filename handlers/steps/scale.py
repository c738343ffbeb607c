"""How many machines a pool or a control plane has, changed where that number stands.

By JSON Patch with tests, so that a number that somebody else has changed meanwhile is never written over. (RFC 6902.)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from handlers.contract import Fatal, Json, KubeRefused, KubeWrite, Model, Observation, Outcome, RunWorld, Step
from handlers.kinds import BY_RESOURCE


class Count(Model):
    """One number: in which object it stands, at which path (RFC 6901), what it was when it was seen, and what it is to
    be. `tests` have to hold first."""

    pool: str
    resource: str
    name: str
    path: str
    tests: tuple[Json, ...] = ()
    was: int
    to: int


class ScaleStep(Step):
    """Writes the numbers of a cluster's pools on the management cluster. `beside` is how many machines further pools of
    the same total have, which keep their number: an undo needs the whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["scale"] = "scale"
    namespace: str
    counts: tuple[Count, ...]
    beside: int = 0


class ScaleExecutor:
    """Observes by GET, applies by PATCH."""

    def observe(self, step: ScaleStep, world: RunWorld) -> Observation:
        """So when every number is as planned."""
        kube = world.management()
        seen = [(count, _now(count, step.namespace, kube)) for count in step.counts]
        evidence = "; ".join(f"{count.pool} is to have {now}" for count, now in seen) + "."
        return Observation(so=all(now == count.to for count, now in seen), evidence=evidence)

    def apply(self, step: ScaleStep, world: RunWorld) -> Outcome:
        """Writes those that are not so yet. Fatal where one is neither what it was nor what it is to be."""
        kube = world.management()
        done: list[str] = []
        for count in step.counts:
            now = _now(count, step.namespace, kube)
            if now == count.to:
                continue
            if now != count.was:
                raise Fatal(_moved(count, now, done), "Ask again: the plan will start from what is there now.")
            operations: list[Json] = [
                *count.tests,
                {"op": "test", "path": count.path, "value": count.was},
                {"op": "replace", "path": count.path, "value": count.to},
            ]
            try:
                kube.patch(BY_RESOURCE[count.resource], count.name, step.namespace, operations)
            except KubeRefused as error:
                raise Fatal(f"{error.message}{_so_far(done)}", error.hint) from error
            done.append(f"{count.pool} from {count.was} to {count.to}")
        return Outcome(changed=bool(done), evidence=f"Scaled {', '.join(done)}." if done else "Nothing was left to do.")


def _now(count: Count, namespace: str, kube: KubeWrite) -> int | None:
    found = kube.get(BY_RESOURCE[count.resource], count.name, namespace)
    if found is None:
        raise Fatal(f"{count.name} is not there any more.", "Somebody deleted it.")
    value: Any = found
    for part in count.path.strip("/").split("/"):
        if isinstance(value, list):
            value = value[int(part)] if part.isdecimal() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, int) else None


def _moved(count: Count, now: int | None, done: list[str]) -> str:
    so = "nobody says how many" if now is None else f"it is {now} now"
    return f"{count.pool} had {count.was} machines when this was asked for, and {so}; it was left alone.{_so_far(done)}"


def _so_far(done: list[str]) -> str:
    return f" Scaled before it: {', '.join(done)}." if done else ""
