"""Conditions and plain fields of Cluster API objects, read from JSON of either generation.

v1beta1 objects have conditions with a severity, newer ones beside them under status.v1beta2; v1beta2 objects have
conditions without severity, the older ones under status.deprecated.v1beta1. The AWS provider's objects have the older
shape always. (kubernetes-sigs/cluster-api, "v1.10 to v1.11 migration"; cluster-api-provider-aws, conditions_consts.go.)
Nothing here raises on missing or odd parts: what cannot be read is None, empty or absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]
"""A Kubernetes object as the API gives it."""

NEGATIVE = frozenset({"Paused", "Deleting", "RollingOut", "ScalingUp", "ScalingDown", "Updating", "Remediating"})
"""Types whose True says that something is going on, and whose False is the rest state."""
SEVERITIES = ("Error", "Warning", "Info")


@dataclass(frozen=True)
class Condition:
    """One condition. `status` is True, False or Unknown, as a word; `severity` is empty where the shape has none;
    `since` is in seconds since the epoch, None when it is not known."""

    type: str
    status: str
    severity: str
    reason: str
    message: str
    since: float | None

    @property
    def good(self) -> bool | None:
        """Is it as it should be? None when that is not known."""
        if self.status not in ("True", "False"):
            return None
        return (self.status == "False") is (self.type in NEGATIVE)

    @property
    def failed(self) -> bool:
        """True when a controller calls it an error, not just a matter of waiting."""
        return self.status == "False" and self.severity == "Error"


def at(value: Any, *path: str) -> Any:
    """What stands at a path of keys, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: Any, *path: str) -> str:
    """The text at a path, or nothing."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def number(value: Any, *path: str) -> int | None:
    """The count at a path; None when it is absent or no count."""
    found = at(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def flag(value: Any, *path: str) -> bool | None:
    """The yes or no at a path; None when it is absent."""
    found = at(value, *path)
    return found if isinstance(found, bool) else None


def objects_at(value: Any, *path: str) -> list[Object]:
    """The objects of the list at a path."""
    found = at(value, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def mapping_at(value: Any, *path: str) -> dict[str, str]:
    """The texts by key at a path, as labels and annotations are."""
    found = at(value, *path)
    if not isinstance(found, dict):
        return {}
    return {key: item for key, item in found.items() if isinstance(key, str) and isinstance(item, str)}


def name_of(item: Object | None) -> str:
    """An object's name."""
    return text(item, "metadata", "name")


def label(item: Object, key: str) -> str:
    """A label's value, or nothing."""
    return mapping_at(item, "metadata", "labels").get(key, "")


def is_deleted(item: Object | None) -> bool:
    """True when its deletion has been asked for."""
    return bool(text(item, "metadata", "deletionTimestamp"))


def created(item: Object) -> float | None:
    """When it was created, in seconds since the epoch."""
    return seconds(text(item, "metadata", "creationTimestamp"))


def seconds(stamp: str) -> float | None:
    """A timestamp of the Kubernetes API (RFC 3339) in seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(stamp)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def old_conditions(item: Object | None) -> list[Condition]:
    """The conditions with a severity: all that the AWS provider has, and the deprecated ones of the others."""
    here = [raw for raw in objects_at(item, "status", "conditions") if _is_old(item, raw)]
    return _conditions(here or objects_at(item, "status", "deprecated", "v1beta1", "conditions"))


def new_conditions(item: Object | None) -> list[Condition]:
    """The conditions without a severity; none where the object's controllers do not write them."""
    here = [raw for raw in objects_at(item, "status", "conditions") if not _is_old(item, raw)]
    return _conditions(here or objects_at(item, "status", "v1beta2", "conditions"))


def conditions(item: Object | None) -> list[Condition]:
    """Every condition once, by type. Where both shapes have one, the newer is taken, with the older one's severity
    when they agree that it is False."""
    older = {condition.type: condition for condition in old_conditions(item)}
    merged = {}
    for condition in new_conditions(item):
        old = older.pop(condition.type, None)
        agree = old is not None and old.status == condition.status == "False"
        merged[condition.type] = replace(condition, severity=old.severity) if old and agree else condition
    return [*merged.values(), *older.values()]


def condition(item: Object | None, kind: str) -> Condition | None:
    """The condition of a type, or None."""
    return next((found for found in conditions(item) if found.type == kind), None)


def holds(item: Object | None, kind: str) -> bool:
    """True when the condition is there and True."""
    found = condition(item, kind)
    return found is not None and found.status == "True"


def summary(item: Object | None) -> Condition | None:
    """The condition that sums an object up: Available or Ready of the newer shape, else Ready of the older one.

    The older shape's Available says less: a control plane has it as soon as its first machine serves.
    """
    wanted = ("Ready",) if text(item, "kind") == "Machine" else ("Available", "Ready")
    newer = {found.type: found for found in new_conditions(item)}
    for kind in wanted:
        if kind in newer:
            return condition(item, kind)
    return condition(item, "Ready")


def _is_old(item: Object | None, raw: Object) -> bool:
    """A severity, or the object's version, tells the shape; without a version what else the status has."""
    if "severity" in raw:
        return True
    group, _, version = text(item, "apiVersion").rpartition("/")
    if not version:
        return at(item, "status", "deprecated") is None and at(item, "status", "initialization") is None
    return group.startswith("infrastructure.") or version != "v1beta2"


def _conditions(raws: list[Object]) -> list[Condition]:
    return [_condition(raw) for raw in raws if text(raw, "type")]


def _condition(raw: Object) -> Condition:
    status, severity = text(raw, "status"), text(raw, "severity")
    return Condition(
        type=text(raw, "type"),
        status=status if status in ("True", "False") else "Unknown",
        severity=severity if severity in SEVERITIES else "",
        reason=text(raw, "reason"),
        message=text(raw, "message"),
        since=seconds(text(raw, "lastTransitionTime")),
    )
