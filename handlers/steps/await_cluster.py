"""Waiting for a cluster, as `tanzu cluster create` does: as long as anything moves, and no longer than it stands still.

What is reached is told as it comes. A failure that the provider reports is waited out for a while, because it tries
again by itself; then the run is parked with the cause and its fix. (vmware-tanzu/tanzu-framework v0.28.3,
tkg/clusterclient/clusterclient.go, WaitForClusterInitialized.)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import ConfigDict, Field

from handlers.cluster_objects import Counts, counts, of_desired
from handlers.cluster_reading import read_cluster
from handlers.cluster_seen import (
    ClusterObjects,
    control_plane_counts,
    control_plane_initialized,
    infrastructure_ready,
    worker_counts,
)
from handlers.cluster_tree import why
from handlers.conditions import name_of
from handlers.contract import Fatal, NeedsPerson, Observation, Outcome, RunWorld, Step
from handlers.machine_causes import Failure, failures, milestones, progress

Stage = Literal["control-plane", "workers", "scaled"]


class AwaitClusterStep(Step):
    """Waits until the control plane, or the workers, of a cluster are ready; or, when it is scaled, until each owner
    of machines in `counts` has just so many. `patience` says how long nothing may move, `grace` how long the provider
    may go on trying after a failure (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["await-cluster"] = "await-cluster"
    namespace: str
    cluster: str
    stage: Stage
    patience: float
    grace: float
    counts: dict[str, int] = Field(default_factory=dict)


class AwaitClusterExecutor:
    """Observes by reading the cluster's objects; there is nothing to apply."""

    def observe(self, step: AwaitClusterStep, world: RunWorld) -> Observation:
        """So when the stage is reached. NeedsPerson where something failed and goes on failing."""
        found = read_cluster(world.management(), step.cluster, step.namespace)
        if found is None:
            raise Fatal(f"The cluster {step.cluster} is not there any more.", "Somebody deleted it; ask for it anew.")
        if found.unread:
            raise Fatal(
                f"{', '.join(found.unread)} of {step.cluster} cannot be read.", "The bot's rights have to be mended."
            )
        if is_reached(found, step.stage, step.counts):
            return Observation(so=True, evidence=told(found, step.stage, step.counts), reached=_milestones(step, found))
        # what was mended outside still says so until the provider has tried again: a resumed run gives it that time
        patient = world.now() - step.grace < world.began()
        failed = () if patient else lasting(found, world.now() - step.grace)
        if failed:
            message, hint = explained(failed[0], step.cluster)
            raise NeedsPerson(f"{message}{_others(failed)}", hint)
        evidence = why(found, world.now()) or f"{step.cluster} is coming up."
        return Observation(
            so=False,
            evidence=evidence,
            progress=progress(found),
            patience=step.patience,
            reached=_milestones(step, found),
        )

    def apply(self, step: AwaitClusterStep, world: RunWorld) -> Outcome:
        """Nothing is done: others do it."""
        return Outcome(changed=True, evidence="The Cluster API's controllers are at work.")


def is_reached(found: ClusterObjects, stage: Stage, wanted: Mapping[str, int] = MappingProxyType({})) -> bool:
    """Is the control plane, or are all workers, ready? Has each owner of machines in `wanted` just so many, ready and
    up to date? What cannot be told is not."""
    if stage == "scaled":
        seen = owners(found)
        return all(
            name in seen and seen[name].desired == to and seen[name].settled is True for name, to in wanted.items()
        )
    if stage == "control-plane":
        plane = control_plane_counts(found)
        return (
            infrastructure_ready(found.cluster) is True
            and control_plane_initialized(found) is True
            and bool(plane.desired)
            and plane.ready == plane.desired
        )
    workers = worker_counts(found)
    return workers.desired is not None and (workers.desired == 0 or workers.ready == workers.desired)


def owners(found: ClusterObjects) -> dict[str, Counts]:
    """The counters of each MachineDeployment and of the control plane, by name."""
    every = [*found.deployments, *((found.control_plane,) if found.control_plane is not None else ())]
    return {name_of(item): counts(item) for item in every}


def told(found: ClusterObjects, stage: Stage, wanted: Mapping[str, int] = MappingProxyType({})) -> str:
    """What is ready, in numbers."""
    if stage == "scaled":
        seen = owners(found)
        return "; ".join(f"{name}: {of_desired(seen[name])} ready" for name in wanted if name in seen) + "."
    seen_counts = control_plane_counts(found) if stage == "control-plane" else worker_counts(found)
    what = "control plane machines" if stage == "control-plane" else "workers"
    return f"{seen_counts.ready or 0} of {seen_counts.desired or 0} {what} of {found.name} are ready."


def _milestones(step: AwaitClusterStep, found: ClusterObjects) -> tuple[str, ...]:
    """Of a cluster that was there before, only what changes."""
    if step.stage == "scaled":
        return (f"{told(found, 'scaled', step.counts)}",)
    return milestones(found)


def lasting(found: ClusterObjects, since: float) -> tuple[Failure, ...]:
    """What has been failing for longer than the grace: since before `since` (epoch seconds)."""
    return tuple(failure for failure in failures(found) if failure.since is not None and failure.since <= since)


def _others(failed: tuple[Failure, ...]) -> str:
    """How many more failed, and whether for the same reason: ten machines over a quota are one message."""
    if len(failed) == 1:
        return ""
    reasons = {failure.cause.code if failure.cause else failure.reason for failure in failed}
    same = "for the same reason" if len(reasons) == 1 else f"in all for {len(reasons)} reasons"
    return f" {len(failed) - 1} more failed {same}."


def explained(failure: Failure, cluster: str) -> tuple[str, str]:
    """A failure as a sentence with AWS's own words, and what to do about it."""
    cause = failure.cause
    if cause is None:
        hint = f"`/tkg cluster get {cluster}` shows the whole tree."
        return f"{failure.object} failed ({failure.reason}): {failure.message}", hint
    who = "AWS said" if cause.aws.startswith(cause.code) else "The provider said"
    return f"{failure.object} failed: {cause.means} {who}: “{cause.aws}”", cause.fix
