"""The CUDA test of one node: NVIDIA's vectorAdd sample as a Job that is pinned to the node, and how it ended.

A pass is a Job that completed and a log that says `Test PASSED`; either alone proves nothing. The names carry the
request, because a finished Job of an earlier test must never be taken for this one's. (NVIDIA/gpu-operator v26.7.0,
tests/gpu-pod.yaml; Kubernetes: "Jobs", `ttlSecondsAfterFinished`.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from handlers.conditions import Object, label, mapping_at, name_of, objects_at, seconds, text
from handlers.contract import Json, KubeRead
from handlers.gpu.causes import TEST_CAUSES, cause_of
from handlers.gpu.pods import NO_PLATFORM, Trouble, clipped, trouble
from handlers.gpu.seen import GPU, GpuNode, Verdict
from handlers.kinds import EVENT, JOB, POD

NAMESPACE = "default"
REQUEST, NODE, UID = "tkgbot/request", "tkgbot/node", "tkgbot/node-uid"
"""The label and the annotations of a test's Job: another node may come by the name of one that is gone."""
JOB_NAME = ("batch.kubernetes.io/job-name", "job-name")
CONTAINER = "cuda-vector-add"
PASSED = "Test PASSED"
LOG_LINES = 500
PASS, FAIL, OPEN = "passed", "failed", "inconclusive"


@dataclass(frozen=True)
class Trial:
    """One node's test as it stands: its Job, its newest pod, and what the scheduler said last of a pod that is gone."""

    job: Object
    pod: Object | None
    refused: str = ""

    @property
    def ended(self) -> bool:
        """Is the Job complete, or has it failed?"""
        return bool(self._end)

    @property
    def complete(self) -> bool:
        """Did its pod end with success?"""
        return text(self._end, "type") == "Complete"

    @property
    def seconds(self) -> int:
        """How long the Job took, as far as it says so."""
        begun = seconds(text(self.job, "status", "startTime"))
        stamp = text(self.job, "status", "completionTime") or text(self._end, "lastTransitionTime")
        ended = seconds(stamp)
        return round(max(ended - begun, 0.0)) if begun is not None and ended is not None else 0

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong with its pod."""
        return trouble(self.pod) if self.pod is not None else None

    @property
    def waits(self) -> str:
        """Why its pod has not begun, in the scheduler's or the kubelet's own words."""
        found = self.trouble
        if found is not None and found.kind in ("unschedulable", "pull"):
            return f"{found.reason}: {found.text}"
        return self.refused

    @property
    def _end(self) -> Object | None:
        found = objects_at(self.job, "status", "conditions")
        return next((c for c in found if c.get("type") in ("Complete", "Failed") and c.get("status") == "True"), None)


def job_name(request: str, uid: str) -> str:
    """At most 63 characters, another one for each request and node, by the node's uid."""
    return f"tkgbot-gpu-{request}-{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


def render_job(request: str, node: GpuNode, image: str, timeout: int, keep: int) -> Json:
    """The Job of one node. It takes one GPU, through the scheduler, so that it never takes one that is in use."""
    labels: Any = {"app.kubernetes.io/managed-by": "tkgbot", REQUEST: request}
    pod: Any = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "nodeSelector": {"kubernetes.io/hostname": label(node.item, "kubernetes.io/hostname") or node.name},
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "resources": {"limits": {GPU: "1"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            }
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(request, node.uid),
            "namespace": NAMESPACE,
            "labels": labels,
            "annotations": {NODE: node.name, UID: node.uid},
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": timeout,
            "ttlSecondsAfterFinished": keep,
            "template": {"metadata": {"labels": {"app": CONTAINER, **labels}}, "spec": pod},
        },
    }


def trials(kube: KubeRead, request: str) -> dict[str, Trial]:
    """The tests of a request, by the uid of their node. Jobs that others labelled so are none."""
    labelled = list(kube.pages(JOB, NAMESPACE, f"{REQUEST}={request}"))
    jobs = [job for job in labelled if name_of(job) == job_name(request, _node_uid(job))]
    pods = list(kube.pages(POD, NAMESPACE, f"{REQUEST}={request}")) if jobs else []
    lonely = [job for job in jobs if not _pods_of(job, pods)]
    events = list(kube.pages(EVENT, NAMESPACE)) if lonely else []
    found: dict[str, Trial] = {}
    for job in jobs:
        mine = _pods_of(job, pods)
        newest = max(mine, key=lambda pod: text(pod, "metadata", "creationTimestamp"), default=None)
        found[_node_uid(job)] = Trial(job, newest, "" if mine else _last_refusal(job, events))
    return found


def judged(trial: Trial, kube: KubeRead, request: str, now: float) -> tuple[Verdict, str]:
    """The verdict on a test that has ended or that comes to nothing, and its log."""
    log = ""
    if trial.pod is not None:
        log = kube.log(name_of(trial.pod), NAMESPACE, CONTAINER, LOG_LINES)
    result, why = _result(trial, log)
    return Verdict(request=request, result=result, why=why, at=now, seconds=trial.seconds), log


def stored(verdict: Verdict) -> str:
    """A verdict as the node's annotation holds it."""
    return json.dumps(vars(verdict), sort_keys=True)


def advice(why: str) -> str:
    """What to do about a verdict's reason, where that is known."""
    for cause in TEST_CAUSES:
        if cause.means in why:
            return cause.fix
    if "architecture" in why or NO_PLATFORM in why:
        return "Set `operations.gpu.test_image` to an image for the node's architecture."
    if "PodSecurity" in why:
        return f"Let the namespace {NAMESPACE} of the cluster admit the test's pod."
    if "Insufficient" in why:
        return "Test it again when a GPU is free: other pods hold them."
    if "untolerated taint" in why or "didn't match" in why:
        return "The node is cordoned or gone: `/tkg gpu status` shows it."
    if re.search(r"ImagePull|ErrImage|pull", why):
        return "Check `operations.gpu.test_image`, and that nodes reach its registry; a mirror helps."
    return "`/tkg gpu status` shows where the chain breaks; the log is in the thread where there is one."


def _result(trial: Trial, log: str) -> tuple[str, str]:
    if trial.complete:
        if PASSED in log:
            return PASS, PASSED
        return OPEN, "the Job completed, and its log does not say that the test passed"
    known = cause_of(log, TEST_CAUSES)
    if known is not None:
        return FAIL, f"{known[0].means} (“{clipped(known[1])}”)"
    found = trial.trouble
    if found is not None and found.kind == "pull":
        return OPEN, f"the test image could not be pulled: {found.reason}: {found.text}"
    if "forbidden" in trial.waits:
        return OPEN, f"the test's pod was refused: {clipped(trial.waits)}"
    if trial.waits:
        return OPEN, f"{_missing(trial.waits)}: {clipped(trial.waits)}"
    if found is not None:
        return FAIL, f"{found.reason}: {found.text}"
    reason = next(
        (text(c, "reason") for c in objects_at(trial.job, "status", "conditions") if c.get("type") == "Failed"), ""
    )
    if reason == "DeadlineExceeded":
        return OPEN, "the test did not end in time"
    return FAIL, f"the Job failed ({reason or 'it does not say why'})"


def _missing(said: str) -> str:
    """What a test that never began waited for, by what the scheduler, the kubelet or the Job's controller said."""
    if re.search(r"pull", said, re.IGNORECASE):
        return "the test image could not be pulled"
    return "the test found no GPU in time" if GPU in said else "the test's pod could not begin in time"


def _node_uid(job: Object) -> str:
    return mapping_at(job, "metadata", "annotations").get(UID, "")


def _pods_of(job: Object, pods: Iterable[Object]) -> list[Object]:
    name = name_of(job)
    return [pod for pod in pods if name in [label(pod, key) for key in JOB_NAME]]


def _last_refusal(job: Object, events: Iterable[Object]) -> str:
    """The newest word of the scheduler or of the Job's controller about pods that are gone, or never came."""
    about = [
        event
        for event in events
        if text(event, "involvedObject", "name").startswith(name_of(job))
        and text(event, "reason") in ("FailedScheduling", "FailedCreate", "Failed")
    ]
    newest = max(about, key=lambda event: text(event, "lastTimestamp") or text(event, "eventTime"), default=None)
    return clipped(text(newest, "message"))
