"""What `cluster get` shows: the tree of a cluster's objects as `clusterctl describe cluster` draws it, folded.

A machine's infrastructure is left out where it is ready or only repeats the machine; equal machines of one owner are
one row. (kubernetes-sigs/cluster-api v1.13, cmd/clusterctl/client/tree, and internal/util/tree.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from handlers.aws_causes import cause_of, clipped
from handlers.cluster_objects import ClusterObjects, counts, deployment_of, is_control_plane, of_desired, phase
from handlers.cluster_waits import telling
from handlers.cluster_why import why
from handlers.conditions import Condition, Object, is_deleted, name_of, new_conditions, summary, text
from handlers.contract import Table

__all__ = ["HEADER", "TreeRow", "rows", "table", "why"]

HEADER = ("READY", "NAME", "REASON", "SINCE", "MESSAGE")
"""The state first: on a phone the first columns are what is seen. `clusterctl` has a column for the severity."""
BRANCH = re.compile(r"[│ ]*")
MESSAGE_LENGTH = 100
NAMED = 3
"""How many machines of a group are named."""
TELLING = ("Available", "Ready", "UpToDate")
Ready = Literal["True", "False", "Unknown"] | None
UNREAD = Condition("Ready", "Unknown", "", "", "", None)


@dataclass(frozen=True)
class TreeRow:
    """One line. `label` has its branch before it; `ready` is None where the object has no condition; `since` is how
    long it has been so, in short."""

    label: str
    ready: Ready
    severity: str
    reason: str
    since: str
    message: str


@dataclass
class _Branch:
    label: str
    condition: Condition | None = None
    message: str = ""
    below: list[_Branch] = field(default_factory=list)


def rows(objects: ClusterObjects, now: float) -> list[TreeRow]:
    """The tree, line by line. `now` is in seconds since the epoch."""
    return list(_drawn(_tree(objects), now, "", ""))


def table(objects: ClusterObjects, now: float) -> Table:
    """The tree as a table for a report."""
    cells = ((row.ready or "", _indented(row), _reason(row), row.since, row.message) for row in rows(objects, now))
    return Table(header=HEADER, rows=tuple(cells))


def _indented(row: TreeRow) -> str:
    """The label with spaces that no table takes away at the beginning of a cell."""
    branch = BRANCH.match(row.label)
    end = branch.end() if branch else 0
    return row.label[:end].replace(" ", "\u00a0") + row.label[end:]


def _reason(row: TreeRow) -> str:
    return f"{row.reason} ({row.severity})" if row.severity else row.reason


def short(seconds: float) -> str:
    """A length of time as kubectl shows it: `45s`, `3m12s`, `5h`, `2d`. (k8s.io/apimachinery, HumanDuration.)"""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 8 * 365 else f"{days // 365}y"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def _tree(objects: ClusterObjects) -> _Branch:
    control_plane, by_deployment, others = _owned(objects)
    root = _branch("Cluster", objects.cluster)
    if objects.infrastructure is not None:
        root.below.append(_infrastructure("ClusterInfrastructure - AWSCluster", objects.infrastructure))
    if objects.control_plane is not None:
        branch = _branch("ControlPlane - KubeadmControlPlane", objects.control_plane, counted=True)
        branch.below = _grouped(control_plane, objects)
        root.below.append(branch)
    workers = _Branch("Workers")
    for deployment in sorted(objects.deployments, key=name_of):
        branch = _branch("MachineDeployment", deployment, counted=True)
        branch.below = _grouped(by_deployment[name_of(deployment)], objects)
        workers.below.append(branch)
    other = _Branch("Other", below=_grouped(others, objects))
    root.below += [branch for branch in (workers, other) if branch.below]
    root.below += [_Branch(kind, UNREAD, "Could not be read.") for kind in objects.unread]
    return root


def _owned(objects: ClusterObjects) -> tuple[list[Object], dict[str, list[Object]], list[Object]]:
    """The machines of the control plane, of each MachineDeployment, and of neither."""
    control_plane: list[Object] = []
    by_deployment: dict[str, list[Object]] = {name_of(item): [] for item in objects.deployments}
    others: list[Object] = []
    for machine in objects.machines:
        if is_control_plane(machine) and objects.control_plane is not None:
            control_plane.append(machine)
        else:
            by_deployment.get(deployment_of(machine), others).append(machine)
    return control_plane, by_deployment, others


def _branch(kind: str, item: Object, *, counted: bool = False) -> _Branch:
    found = summary(item)
    message = found.message if found else phase(item)
    if is_deleted(item):
        message = f"Being deleted. {message}"
    elif counted and not message:
        message = f"{of_desired(counts(item))} ready"
    return _Branch(f"{kind}/{name_of(item)}", found, message)


def _infrastructure(kind: str, item: Object) -> _Branch:
    """Its summary says `2 of 5 completed` only; the condition behind it says what."""
    branch = _branch(kind, item)
    if branch.condition is None or branch.condition.status != "True":
        told = telling(item)
        if told:
            cause = cause_of(told.message)
            branch.condition, branch.message = told, cause.aws if cause else told.message
    return branch


def _grouped(machines: list[Object], objects: ClusterObjects) -> list[_Branch]:
    """The machines of one owner: equal ones as one branch, with what stands below the first of them."""
    groups: dict[object, list[_Branch]] = {}
    below = {name_of(item): item for item in objects.infrastructure_machines}
    for machine in sorted(machines, key=name_of):
        branch = _machine(machine, below.get(text(machine, "spec", "infrastructureRef", "name")))
        groups.setdefault(_alike(machine, branch), []).append(branch)
    return [found[0] if len(found) == 1 else _group(found) for found in groups.values()]


def _machine(machine: Object, infrastructure: Object | None) -> _Branch:
    branch = _branch("Machine", machine)
    if infrastructure is None:
        return branch
    own = _infrastructure("MachineInfrastructure - AWSMachine", infrastructure)
    ready = own.condition is not None and own.condition.status == "True"
    if not ready and _said(own.condition) != _said(branch.condition):
        branch.below = [own]
    return branch


def _said(found: Condition | None) -> tuple[str, ...] | None:
    return (found.status, found.severity, found.reason, found.message) if found else None


def _alike(machine: Object, branch: _Branch) -> object:
    """What makes machines equal: what they say of themselves, what stands below them says, and AWS's cause in it."""
    own = [one for one in new_conditions(machine) if one.type in TELLING] or _some(branch.condition)
    under = [found for one in branch.below for found in _some(one.condition)]
    causes = tuple(cause.code for one in branch.below if (cause := cause_of(one.message)))
    return (_statuses(own) or phase(machine), _statuses(under), causes, is_deleted(machine))


def _some(found: Condition | None) -> list[Condition]:
    return [] if found is None else [found]


def _statuses(found: Sequence[Condition]) -> tuple[tuple[str, str, str, str], ...]:
    return tuple(sorted((one.type, one.status, one.severity, one.reason) for one in found))


def _group(found: list[_Branch]) -> _Branch:
    names = [branch.label.partition("/")[2] for branch in found]
    more = ", ..." if len(names) > NAMED else ""
    first = found[0]
    return _Branch(f"{len(found)} Machines...", first.condition, f"See {', '.join(names[:NAMED])}{more}", first.below)


def _drawn(branch: _Branch, now: float, before: str, under: str) -> Iterator[TreeRow]:
    yield _row(branch, now, before)
    last = len(branch.below) - 1
    for place, child in enumerate(branch.below):
        turn, line = ("└─", "  ") if place == last else ("├─", "│ ")
        yield from _drawn(child, now, f"{under}{turn}", f"{under}{line}")


def _row(branch: _Branch, now: float, before: str) -> TreeRow:
    found = branch.condition
    message = clipped(branch.message, MESSAGE_LENGTH)
    if found is None:
        return TreeRow(f"{before}{branch.label}", None, "", "", "", message)
    since = "" if found.since is None else short(now - found.since)
    return TreeRow(f"{before}{branch.label}", _ready(found), found.severity, found.reason, since, message)


def _ready(found: Condition) -> Ready:
    return "Unknown" if found.good is None else "True" if found.good else "False"
