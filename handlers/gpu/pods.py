"""Pods in words: the STATUS that `kubectl get pods` shows, and what is wrong with one, if anything.

(kubernetes/kubernetes, pkg/printers/internalversion, printPod; container states of the Pod API.)
"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.conditions import Object, at, name_of, number, objects_at, text

PULLING = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
CRASHING = ("CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError")
NO_PLATFORM = "no match for platform"
LONGEST = 300


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a pod: `kind` is pull, crash, failed or unschedulable; `text` is the kubelet's or the
    scheduler's own. `container` is whose log tells more, empty where none does."""

    kind: str
    reason: str
    text: str
    container: str = ""
    restarts: int = 0


def trouble(pod: Object) -> Trouble | None:
    """What is wrong, or None where it only takes its time."""
    for status in _statuses(pod):
        waiting, name = at(status, "state", "waiting"), text(status, "name")
        reason, restarts = text(waiting, "reason"), number(status, "restartCount") or 0
        if reason in PULLING:
            return Trouble("pull", reason, ends(text(waiting, "message") or text(status, "image")), name)
        if reason in CRASHING:
            last = at(status, "lastState", "terminated")
            said = text(last, "message") or text(waiting, "message")
            return Trouble("crash", reason, clipped(said), name, restarts)
    if text(pod, "status", "phase") == "Failed":
        reason = text(pod, "status", "reason") or "Failed"
        failed = next((s for s in _statuses(pod) if _exit_code(s)), None)
        said = text(pod, "status", "message") or f"exit code {_exit_code(failed) or 'not known'}"
        return Trouble("failed", reason, clipped(said), text(failed, "name"))
    for condition in objects_at(pod, "status", "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Trouble("unschedulable", text(condition, "reason"), clipped(text(condition, "message")))
    return None


def status_word(pod: Object) -> str:
    """One word, or `Init:1/3`."""
    if text(pod, "metadata", "deletionTimestamp"):
        return "Terminating"
    reason = text(pod, "status", "reason") or text(pod, "status", "phase") or "Unknown"
    starting = objects_at(pod, "status", "initContainerStatuses")
    for place, status in enumerate(starting):
        if _exit_code(status) == 0 and at(status, "state", "terminated") is not None:
            continue
        word = text(status, "state", "waiting", "reason")
        if at(status, "state", "terminated") is not None:
            return f"Init:{text(status, 'state', 'terminated', 'reason') or 'Error'}"
        return f"Init:{word}" if word and word != "PodInitializing" else f"Init:{place}/{len(starting)}"
    for status in objects_at(pod, "status", "containerStatuses"):
        word = text(status, "state", "waiting", "reason") or text(status, "state", "terminated", "reason")
        if word:
            return word
    return reason


def is_fine(pod: Object) -> bool:
    """Is it ready, or has it done its work?"""
    return text(pod, "status", "phase") == "Succeeded" or is_pod_ready(pod)


def is_pod_ready(pod: Object) -> bool:
    """Does its condition Ready hold?"""
    found = objects_at(pod, "status", "conditions")
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in found)


def restarts(pod: Object) -> int:
    """How often its containers were started again, together."""
    return sum(number(status, "restartCount") or 0 for status in _statuses(pod))


def is_starting(pod: Object) -> bool:
    """Are its init containers still at work?"""
    return any(
        at(status, "state", "terminated") is None for status in objects_at(pod, "status", "initContainerStatuses")
    )


def clipped(said: str) -> str:
    """On one line, without the marks of messages and without halves of characters, at most 300 characters."""
    line = _line(said)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def ends(said: str) -> str:
    """As `clipped`, with both ends kept: a container runtime says last what was wrong."""
    line = _line(said)
    half = (LONGEST - 1) // 2
    return line if len(line) <= LONGEST else f"{line[:half]}…{line[-half:]}"


def place(pod: Object) -> str:
    """`NAMESPACE/NAME`."""
    return f"{text(pod, 'metadata', 'namespace')}/{name_of(pod)}"


def _line(said: str) -> str:
    return " ".join(said.encode("utf-8", "replace").decode().replace("`", "'").split())


def _statuses(pod: Object) -> list[Object]:
    return [*objects_at(pod, "status", "initContainerStatuses"), *objects_at(pod, "status", "containerStatuses")]


def _exit_code(status: Object | None) -> int | None:
    found = at(status, "state", "terminated", "exitCode")
    return found if isinstance(found, int) else None
