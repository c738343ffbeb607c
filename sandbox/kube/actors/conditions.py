"""Conditions in the two shapes of the Cluster API: with severities (v1beta1), and Kubernetes' own (v1beta2).

Objects of the AWS provider have the old shape only. Source: cluster-api api/core/v1beta1 and v1beta2, conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.kube.errors import Obj

WORDS = {True: "True", False: "False", None: "Unknown"}


def old(kind: str, status: bool | None, reason: str = "", message: str = "", severity: str = "Info") -> Obj:
    """A v1beta1 condition; only what is False has a severity."""
    found = {"type": kind, "status": WORDS[status], "reason": reason, "message": message}
    if status is False:
        found["severity"] = severity
    return {key: value for key, value in found.items() if value}


def new(kind: str, status: bool | None, reason: str, message: str = "") -> Obj:
    """A v1beta2 condition; it always has a reason."""
    return {"type": kind, "status": WORDS[status], "reason": reason, "message": message}


def merged(before: Sequence[Obj], told: Iterable[Obj], now: str) -> list[Obj]:
    """What is told replaces what was known; the time of a transition changes only with the status."""
    known = {entry["type"]: entry for entry in before}
    for entry in told:
        last = known.get(entry["type"], {})
        since = last["lastTransitionTime"] if last.get("status") == entry["status"] else now
        known[entry["type"]] = {**entry, "lastTransitionTime": since}
    return sorted(known.values(), key=lambda entry: (entry["type"] != "Ready", entry["type"]))


def set_old(obj: Obj, told: Iterable[Obj], now: str) -> None:
    """For an object of the AWS provider, and for everything in the old generation."""
    status = obj.setdefault("status", {})
    status["conditions"] = merged(status.get("conditions", []), told, now)


def set_both(obj: Obj, olds: Iterable[Obj], news: Iterable[Obj], now: str, *, current: bool) -> None:
    """The new ones are the object's own in the current generation, and the old ones are kept as deprecated."""
    status = obj.setdefault("status", {})
    if not current:
        set_old(obj, olds, now)
        return
    status["conditions"] = merged(status.get("conditions", []), news, now)
    kept = status.setdefault("deprecated", {}).setdefault("v1beta1", {})
    kept["conditions"] = merged(kept.get("conditions", []), olds, now)


def summary(conditions: Sequence[Obj], kinds: Sequence[str]) -> Obj:
    """Ready, from the first of these conditions that is not True; one that is not there yet is being waited for."""
    known = {entry["type"]: entry for entry in conditions}
    for kind in kinds:
        entry = known.get(kind)
        if entry is None:
            return old("Ready", False, "WaitingForInfrastructure")
        if entry["status"] != "True":
            return old(
                "Ready", False, entry.get("reason", ""), entry.get("message", ""), entry.get("severity", "Warning")
            )
    return old("Ready", True)


def holds(obj: Obj, kind: str) -> bool:
    """Whether a condition is True, in whatever shape the object has."""
    status: Any = obj.get("status", {})
    return any(entry["type"] == kind and entry["status"] == "True" for entry in status.get("conditions", []))
