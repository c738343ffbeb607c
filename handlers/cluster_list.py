"""`cluster list` and `cluster get`: which clusters there are, and how one of them stands.

Columns and status as `tanzu cluster list` derives them; the tree as `clusterctl describe cluster` shows it, folded to
what matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from handlers.cluster_reading import read_all, read_cluster
from handlers.cluster_seen import COLUMNS, ClusterObjects, row, status_of
from handlers.cluster_tree import table, why
from handlers.contract import Arguments, Positional, ReadWorld, Report, ReportOperation, Table, UsageError
from handlers.kinds import CLUSTER
from handlers.machine_causes import failures
from handlers.steps.await_cluster import explained
from handlers.time_box import end_of, ends_at
from handlers.words import ClusterName, Namespace

GOOD, ENDING = "running", "deleting"
SHOWN = 10
"""How many clusters of a kind the lines above the table name."""


class ListArguments(Arguments):
    """Which clusters."""

    namespace: Namespace | None = Field(None, description="Only this namespace of the management cluster.")


class ClusterList(ReportOperation[ListArguments]):
    """Every cluster, in one table."""

    name = "cluster list"
    summary = "List the clusters, with their state"
    examples = ("cluster list", "cluster list --namespace platform")
    arguments = ListArguments

    def report(self, arguments: ListArguments, world: ReadWorld) -> Report:
        """Reads them all, page by page."""
        found = read_all(world.management(), arguments.namespace or "")
        now = world.now()
        place = f" in {arguments.namespace}" if arguments.namespace else ""
        if not found:
            return Report(title=f"There is no cluster{place}.")
        states = [(status_of(item, now), item) for item in found]
        wrong = [(item, state) for state, item in states if state not in (GOOD, ENDING)]
        title = f"{_counted(len(found))}{place}, {sum(state == GOOD for state, _ in states)} running."
        facts = tuple(f"{item.name} ({state}): {why(item, now) or 'coming up'}" for item, state in wrong[:SHOWN])
        if len(wrong) > SHOWN:
            facts = (*facts, f"and {len(wrong) - SHOWN} more that are not running")
        facts = (*facts, *_ends(found, now))
        worst_first = sorted(states, key=lambda pair: (pair[0] == GOOD, pair[1].name))
        rows = tuple(row(item, now) for _, item in worst_first)
        return Report(
            tone="warn" if wrong else "good", title=title, facts=facts, table=Table(header=COLUMNS, rows=rows)
        )


class GetArguments(Arguments):
    """Which cluster."""

    cluster: Annotated[ClusterName, Positional()] = Field(description="The cluster.")
    namespace: Namespace = Field("default", description="Its namespace on the management cluster.")


class ClusterGet(ReportOperation[GetArguments]):
    """One cluster: its state, why it stands so, and the tree of its conditions."""

    name = "cluster get"
    summary = "Show one cluster: its state, what it waits for, and the tree of its conditions"
    examples = ("cluster get demo", "cluster get shop --namespace platform")
    arguments = GetArguments

    def report(self, arguments: GetArguments, world: ReadWorld) -> Report:
        """Reads the cluster with all its parts."""
        kube = world.management()
        found = read_cluster(kube, arguments.cluster, arguments.namespace)
        if found is None:
            raise UsageError(
                f"There is no cluster {arguments.cluster} in {arguments.namespace}.", _others(arguments, world)
            )
        now = world.now()
        state = status_of(found, now)
        facts = [_in_words(dict(zip(COLUMNS, row(found, now), strict=True)))]
        reason = why(found, now)
        failed = [" ".join(explained(failure, arguments.cluster)) for failure in failures(found)]
        end = end_of(found.cluster, now)
        facts += [f"{end[0].upper()}{end[1:]}."] if end else []
        return Report(
            tone=_tone(state, failed),
            title=f"{arguments.cluster} is {state}{f': {reason}' if reason else '.'}",
            facts=(*failed[:5], *facts),
            table=table(found, now),
        )


def _in_words(cells: dict[str, str]) -> str:
    """The row of the list as one line, without what is empty."""
    words = [f"namespace {cells['NAMESPACE']}", f"control plane {cells['CONTROLPLANE']}"]
    words += [f"workers {cells['WORKERS']}"] if cells["WORKERS"] else []
    words += [f"Kubernetes {cells['KUBERNETES']}"]
    words += [f"plan {cells['PLAN']}"] if cells["PLAN"] else []
    return " · ".join(words)


def _ends(found: Sequence[ClusterObjects], now: float) -> list[str]:
    """Whose time is limited, the next to end first."""
    boxed = [(ends_at(item.cluster) or 0.0, item) for item in found if end_of(item.cluster, now)]
    lines = [f"{item.name}: {end_of(item.cluster, now)}" for _, item in sorted(boxed, key=lambda pair: pair[0])]
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"and {more} more whose time is limited"]


def _counted(count: int) -> str:
    return f"{count} cluster{'s' * (count != 1)}"


def _tone(state: str, failed: list[str]) -> Literal["good", "bad", "warn", "info"]:
    if failed:
        return "bad"
    return "good" if state == GOOD else "warn"


def _others(arguments: GetArguments, world: ReadWorld) -> str:
    """Where a cluster of that name is, if anywhere."""
    spaces = sorted(
        str(item["metadata"].get("namespace"))
        for item in world.management().pages(CLUSTER)
        if isinstance(item["metadata"], dict) and item["metadata"].get("name") == arguments.cluster
    )
    if spaces:
        return f"There is one in {', '.join(spaces)}: add --namespace {spaces[0]}."
    return "`/tkg cluster list` shows those that there are."


OPERATIONS = (ClusterList(), ClusterGet())
