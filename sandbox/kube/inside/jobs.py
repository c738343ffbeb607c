"""The Job controller: pods until enough have succeeded, too many have failed, or the time is over.

Source: kube-controller-manager's job controller (labels, conditions, reasons, events) and the TTL controller.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sandbox.kube.actors.objects import at, deleting
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.ground import JOBS, PODS, Ground, with_times

COMPONENT = "job-controller"
RETRY = 0.5
"""Seconds at pace 1 before a pod that failed is followed by the next."""
LIMIT = "Job has reached the specified backoff limit"
LATE = "Job was active longer than specified deadline"
ENOUGH = "Reached expected number of succeeded pods"


def reconcile(ground: Ground) -> None:
    """Every Job of the cluster."""
    for job in ground.all(JOBS):
        if deleting(job):
            continue
        if finished(job):
            _expire(ground, job)
        elif not at(job, "spec", "suspend"):
            _one(ground, job)


def finished(job: Obj) -> bool:
    conditions = at(job, "status", "conditions", default=[])
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def _seconds_since(ground: Ground, stamp: str) -> float:
    return float(ground.store.clock()) - datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def _one(ground: Ground, job: Obj) -> None:
    spec, status = job["spec"], dict(job.get("status") or {})
    status.setdefault("startTime", ground.now())
    own = ground.owned(job, PODS)
    succeeded = sum(at(pod, "status", "phase") == "Succeeded" for pod in own)
    failed = sum(at(pod, "status", "phase") == "Failed" for pod in own)
    active = [pod for pod in own if not pods.over(pod)]
    wanted, limit = int(spec.get("completions", 1)), int(spec.get("backoffLimit", 6))
    told: tuple[str, str, str] | None = None
    if succeeded >= wanted:
        told = ("Complete", "CompletionsReached", ENOUGH)
    elif failed > limit:
        told = ("Failed", "BackoffLimitExceeded", LIMIT)
    elif _late(ground, spec, status["startTime"]):
        told = ("Failed", "DeadlineExceeded", LATE)
    if told is None:
        active = _fill(ground, job, active, wanted - succeeded, failed)
    else:
        for pod in active:
            pods.remove(ground, COMPONENT, pod)
            ground.acting(COMPONENT).event(job, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
            failed += told[0] == "Failed"
        active = []
        _end(ground, job, status, told)
    counts = {
        "active": len(active), "ready": sum(map(pods.ready, active)), "succeeded": succeeded, "failed": failed,
    }  # fmt: skip
    rest = {key: value for key, value in status.items() if key not in counts}
    ground.edit(COMPONENT, job, rest | {key: value for key, value in counts.items() if value or key == "ready"})


def _late(ground: Ground, spec: Obj, since: str) -> bool:
    if spec.get("activeDeadlineSeconds") is None:
        return False
    left = float(spec["activeDeadlineSeconds"]) - _seconds_since(ground, since)
    if left > 0:
        ground.later(left)
    return left <= 0


def _fill(ground: Ground, job: Obj, active: list[Obj], missing: int, failed: int) -> list[Obj]:
    """Up to `parallelism` pods at once; after a failure a little later."""
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    if failed and not active and not ground.ripe(uid, f"retry {failed}", RETRY * 2 ** min(failed - 1, 4)):
        return active
    labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
    labels |= {"controller-uid": uid, "job-name": name}
    for _ in range(min(int(job["spec"].get("parallelism", 1)), missing) - len(active)):
        made = pods.make(ground, COMPONENT, job, f"{name[:57]}-{ground.suffix()}", labels=labels)
        if made is None:
            break
        active = [*active, made]
    return active


def _end(ground: Ground, job: Obj, status: dict[str, Any], told: tuple[str, str, str]) -> None:
    kind, reason, text = told
    first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
    made = [{"type": one, "status": "True", "reason": reason, "message": text} for one in (first, kind)]
    probed = [{**entry, "lastProbeTime": ground.now()} for entry in made]
    status["conditions"] = with_times([], probed, ground.now())
    if kind == "Complete":
        status["completionTime"] = ground.now()
        ground.acting(COMPONENT).event(job, "Completed", "Job completed")
    else:
        ground.acting(COMPONENT).event(job, reason, text, warning=True)


def _expire(ground: Ground, job: Obj) -> None:
    """The job goes some seconds after its end, if it says so, and its pods with it."""
    if at(job, "spec", "ttlSecondsAfterFinished") is None:
        return
    ended = max(entry["lastTransitionTime"] for entry in job["status"]["conditions"])
    left = float(job["spec"]["ttlSecondsAfterFinished"]) - _seconds_since(ground, ended)
    if left > 0:
        ground.later(left)
    else:
        ground.acting("ttl-after-finished-controller").delete(JOBS, job)
