"""What `cluster list` shows: the status of a cluster and its row, derived as `tanzu cluster list` does.

Source: vmware-tanzu/tanzu-framework v0.28.3, pkg/v1/tkg/client/get_cluster_helper.go. What is not known is neither good
nor 0: the status is then `unknown`, never `running`.
"""

from __future__ import annotations

from handlers.cluster_objects import (
    UNKNOWN,
    ClusterObjects,
    Counts,
    all_of,
    control_plane_counts,
    control_plane_initialized,
    control_plane_ready,
    counts,
    endpoint,
    infrastructure_ready,
    of_desired,
    phase,
    version,
    worker_counts,
)
from handlers.cluster_operation import stalled
from handlers.conditions import Condition, Object, conditions, is_deleted, mapping_at, text

__all__ = [
    "COLUMNS",
    "ClusterObjects",
    "Condition",
    "Counts",
    "Object",
    "conditions",
    "control_plane_counts",
    "control_plane_initialized",
    "control_plane_ready",
    "counts",
    "endpoint",
    "infrastructure_ready",
    "phase",
    "row",
    "status_of",
    "version",
    "worker_counts",
]

COLUMNS = ("NAME", "NAMESPACE", "STATUS", "CONTROLPLANE", "WORKERS", "KUBERNETES", "ROLES", "PLAN", "TKR")
ROLE_PREFIX = "cluster-role.tkg.tanzu.vmware.com/"
RELEASE_LABELS = ("run.tanzu.vmware.com/tkr", "tanzuKubernetesRelease")
PLAN_ANNOTATION = "tkg/plan"


def status_of(objects: ClusterObjects, now: float) -> str:
    """deleting, creating, createStalled, running, updating, updateStalled, or unknown when it cannot be told.

    `now` is in seconds since the epoch.
    """
    if is_deleted(objects.cluster) or phase(objects.cluster).lower() == "deleting":
        return "deleting"
    if objects.unread:
        return "unknown"
    created = _created(objects)
    if created is None:
        return "unknown"
    if not created:
        return "createStalled" if stalled(objects.cluster, "Create", now) else "creating"
    settled = all_of([control_plane_counts(objects).settled, worker_counts(objects).settled])
    same = _one_version(objects)
    running = all_of([settled, same])
    if running is None:
        return "unknown"
    if running:
        return "running"
    return "updateStalled" if same is False and stalled(objects.cluster, "Upgrade", now) else "updating"


def row(objects: ClusterObjects, now: float) -> tuple[str, ...]:
    """The cluster's row under COLUMNS. A question mark stands for what could not be read."""
    labels, annotations = (mapping_at(objects.cluster, "metadata", part) for part in ("labels", "annotations"))
    workers = worker_counts(objects)
    roles = sorted(key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX))
    return (
        objects.name,
        text(objects.cluster, "metadata", "namespace"),
        status_of(objects, now),
        of_desired(control_plane_counts(objects)),
        "" if workers.desired == 0 else of_desired(workers),
        version(objects.control_plane) or UNKNOWN,
        ",".join(roles) or "<none>",
        annotations.get(PLAN_ANNOTATION, ""),
        next((labels[key] for key in RELEASE_LABELS if labels.get(key)), ""),
    )


def _created(objects: ClusterObjects) -> bool | None:
    """A flag that is absent is not reached yet; a counter that is absent is not known."""
    reached = infrastructure_ready(objects.cluster) is True and control_plane_ready(objects.cluster) is True
    if not reached:
        return False
    control, workers = control_plane_counts(objects).ready, worker_counts(objects)
    return all_of([_positive(control), True if workers.replicas == 0 else _one_ready(workers)])


def _one_ready(workers: Counts) -> bool | None:
    """While it is not known how many there are, none being ready may be as it should be."""
    return None if workers.replicas is None and workers.ready == 0 else _positive(workers.ready)


def _positive(count: int | None) -> bool | None:
    return None if count is None else count > 0


def _one_version(objects: ClusterObjects) -> bool | None:
    """Do all Machines have the control plane's version? None when one does not say."""
    wanted = version(objects.control_plane)
    return all_of(version(machine) == wanted if wanted and version(machine) else None for machine in objects.machines)
