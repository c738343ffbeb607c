"""The end of a cluster's time, set or taken away on the Cluster object.

By JSON Patch with tests, so that only the very cluster that was seen is changed. Server-side apply leaves these
annotations alone: it takes away only what it has applied itself, and a patch is an update of its own. (RFC 6902;
Kubernetes: "Server-Side Apply", field management.)
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from handlers.conditions import at, is_deleted, mapping_at, text
from handlers.contract import Fatal, Json, KubeRead, KubeRefused, Observation, Outcome, Retry, Right, RunWorld, Step
from handlers.kinds import CLUSTER
from handlers.steps.apply import config_of
from handlers.time_box import ENDS_AT, NEVER, SET_BY, in_words, lasting, set_by, stamp

ANNOTATIONS = "/metadata/annotations"
FROM_NOW = "from the moment this runs"
THEN = "a request to delete it is made, under the policy's rules for that"
AGAIN = 2.0
"""Seconds until a change that another one got in before is tried again."""


class TimeBoxStep(Step):
    """Gives one cluster so much time (`8h`), counted from the moment at which this is applied, or `never` an end.

    `uid` is of the Cluster that was seen; empty where the run makes it, which is then told by its configuration's
    digest (`config`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["time-box"] = "time-box"
    namespace: str
    cluster: str
    ttl: str
    uid: str = ""
    config: str = ""


def time_box_step(
    cluster: str, namespace: str, ttl: str, *, since: str = FROM_NOW, uid: str = "", config: str = "", before: Json
) -> TimeBoxStep:
    """The step that gives a cluster so much time; `since` says to people from when on."""
    return TimeBoxStep(
        title=f"let {cluster} live on, without an end" if ttl == NEVER else f"end {cluster} {in_words(ttl)} {since}",
        targets=(f"cluster {cluster}",),
        rights=(Right(verb="patch", resource=CLUSTER.resource, namespace=namespace, name=cluster),),
        namespace=namespace,
        cluster=cluster,
        ttl=ttl,
        uid=uid,
        config=config,
        before=before,
    )


class TimeBoxExecutor:
    """Observes by GET, applies by PATCH."""

    def observe(self, step: TimeBoxStep, world: RunWorld) -> Observation:
        """So when this very request has set the end: a repetition never moves it."""
        found = _found(step, world.management())
        end = mapping_at(found, "metadata", "annotations").get(ENDS_AT, "")
        if step.ttl == NEVER:
            so = not end and not set_by(found)
            return Observation(so=so, evidence="It has no end." if so else f"Its time ends at {end or 'no time'}.")
        so = bool(end) and set_by(found) == world.request()
        return Observation(so=so, evidence=f"Its time ends at {end}." if end else "It has no end yet.")

    def apply(self, step: TimeBoxStep, world: RunWorld) -> Outcome:
        """Writes both annotations at once, or takes both away."""
        kube = world.management()
        found = _found(step, kube)
        end = "" if step.ttl == NEVER else stamp(world.now() + lasting(step.ttl))
        wanted = {ENDS_AT: end, SET_BY: world.request()} if end else {}
        try:
            kube.patch(CLUSTER, step.cluster, step.namespace, _change(found, wanted))
        except KubeRefused as error:
            if text(_found(step, kube), "metadata", "resourceVersion") != text(found, "metadata", "resourceVersion"):
                raise Retry(f"{step.cluster} was changed at the same moment.", after=AGAIN) from error
            raise Fatal(error.message, error.hint) from error
        if not end:
            return Outcome(changed=True, evidence=f"{step.cluster} has no end any more.")
        return Outcome(changed=True, evidence=f"{step.cluster} has {in_words(step.ttl)} from now, until {end}.")


def _found(step: TimeBoxStep, kube: KubeRead) -> Json:
    """The very cluster that is meant. Fatal where it is another one, or going, or gone."""
    found = kube.get(CLUSTER, step.cluster, step.namespace)
    if found is None:
        raise Fatal(f"The cluster {step.cluster} is not there any more.", "Somebody deleted it.")
    uid = text(found, "metadata", "uid")
    if (step.uid and uid != step.uid) or (step.config and config_of(found) != step.config):
        raise Fatal(
            f"The cluster {step.cluster} is another one than when this was asked for, so it was left alone.",
            "Ask again if this one is meant.",
        )
    if is_deleted(found):
        raise Fatal(f"The cluster {step.cluster} is being deleted already.", "Nothing has to be done.")
    return found


def _change(found: Json, wanted: dict[str, str]) -> list[Json]:
    """The operations. A map that is not there cannot be tested, so then nothing else may have changed either."""
    there = mapping_at(found, "metadata", "annotations")
    operations: list[Json] = [{"op": "test", "path": "/metadata/uid", "value": text(found, "metadata", "uid")}]
    if wanted and not isinstance(at(found, "metadata", "annotations"), dict):
        version = text(found, "metadata", "resourceVersion")
        operations += [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": ANNOTATIONS, "value": {}},
        ]
    for name in (ENDS_AT, SET_BY):
        path = f"{ANNOTATIONS}/{name.replace('/', '~1')}"
        if name in there:  # what somebody else has written meanwhile is not written over
            operations.append({"op": "test", "path": path, "value": there[name]})
        if name in wanted:
            operations.append({"op": "add", "path": path, "value": wanted[name]})
        elif name in there:
            operations.append({"op": "remove", "path": path})
    return operations
