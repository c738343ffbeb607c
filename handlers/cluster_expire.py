"""`cluster expire`: how long a cluster may live, counted from the moment at which it is said; or that it has no end.

The end is written on the Cluster object, where everybody sees it. When the time is over, somebody else asks for the
deletion, under the rules of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from handlers.cluster_objects import ClusterObjects
from handlers.cluster_place import THERE, PlaceArguments, account_check
from handlers.cluster_reading import read_cluster
from handlers.conditions import Object, is_deleted, text
from handlers.contract import (
    Check,
    Fact,
    Impact,
    Inverse,
    Json,
    Operation,
    Plan,
    Positional,
    ReadWorld,
    Step,
    Table,
)
from handlers.kinds import AWS_CLUSTER, CLUSTER
from handlers.steps.time_box import FROM_NOW, THEN, time_box_step
from handlers.subnet_checks import blocks, passes
from handlers.subnet_scope import Where
from handlers.time_box import (
    ENDS_AT,
    NEVER,
    SET_BY,
    TtlOrNever,
    as_ttl,
    end_check,
    ends_at,
    in_words,
    moment,
    set_by,
    within_limits,
)

LEFT = "seconds left when it was planned"
"""A fact that nothing depends on, so that an undo can give back what was left."""
LEAST = 900.0
"""What an undo gives back at least (seconds): the owner of the cluster is to be warned before it ends."""


class ExpireArguments(PlaceArguments):
    """Which cluster, and how long."""

    ttl: Annotated[TtlOrNever, Positional()] = Field(
        description=f"How long it may live, {FROM_NOW} (30m, 8h, 2d), or `{NEVER}` for no end."
    )


class ClusterExpire(Operation[ExpireArguments]):
    """Sets the end of a cluster's time, moves it, or takes it away."""

    name = "cluster expire"
    summary = "Say how long a cluster may live"
    examples = ("cluster expire demo 8h", "cluster expire shop never --namespace platform")
    arguments = ExpireArguments

    def plan(self, arguments: ExpireArguments, world: ReadWorld) -> Plan:
        """Looks at the Cluster object, and at the account that it is in."""
        found, there = _found(arguments, world)
        seen = [there]
        if found is not None and not there.blocks:
            seen.append(account_check(found, _where(arguments, world), world))
        if arguments.ttl != NEVER:
            seen.append(within_limits(arguments.ttl, world.clusters()))
        now = world.now()
        cluster: Object = found.cluster if found is not None else {}
        step = None if any(check.blocks for check in seen) else _step(arguments, cluster, world)
        end = ends_at(cluster)
        return Plan(
            headline=_headline(arguments),
            checks=tuple(seen),
            facts=_facts(arguments, cluster, now),
            targets=(f"cluster {arguments.cluster}",) if step else (),
            steps=(step,) if step else (),
            impact=Impact(
                changes=(f"the end of {arguments.cluster}: {_now(end, now)} → {_then(arguments.ttl)}",) if step else (),
                reversible=True,
                undo=_command_back(arguments, step) if step else "",
                cost_per_hour_usd=0.0,
            ),
            details=_table(arguments, _now(end, now)) if found is not None else None,
        )

    def verify(self, arguments: ExpireArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Reads the Cluster object anew."""
        cluster = world.management().get(CLUSTER, arguments.cluster, arguments.namespace)
        return [end_check(arguments.cluster, cluster, arguments.ttl, world)]

    def inverse(self, arguments: ExpireArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """What was left of its time, or no end, as it was before."""
        step = next((step for step in plan.steps if step.kind == "time-box"), None)
        if step is None or not touched:
            return None
        left = next((fact.value for fact in plan.facts if fact.name == LEFT), None)
        had_end = step.before.get(ENDS_AT) is not None and isinstance(left, int | float)
        ttl = as_ttl(max(LEAST, float(left))) if had_end and isinstance(left, int | float) else NEVER
        return Inverse(operation=self.name, arguments={**arguments.place, "ttl": ttl})


# -- the plan ----------------------------------------------------------------------------------------------------


def _found(arguments: ExpireArguments, world: ReadWorld) -> tuple[ClusterObjects | None, Check]:
    """A paused cluster has an end like any other, and so has one whose machines cannot be read."""
    name, space = arguments.cluster, arguments.namespace
    found = read_cluster(world.management(), name, space)
    if found is None:
        fix = f"`/tkg cluster list` shows those that are there, in all namespaces; this looked in {space}."
        return None, blocks("cluster", THERE, f"There is no cluster {name} in namespace {space}.", fix)
    if AWS_CLUSTER.name in found.unread:
        evidence = f"{AWS_CLUSTER.name} of {name} cannot be read, so its account is not known."
        return found, blocks("cluster", THERE, evidence, "The platform team has to mend the bot's rights there.")
    if is_deleted(found.cluster):
        return found, blocks("cluster", THERE, f"{name} is being deleted already.", "Its time cannot be changed.")
    return found, passes("cluster", THERE, f"{name} is there.")


def _where(arguments: ExpireArguments, world: ReadWorld) -> Where:
    """From the settings alone: an end can be moved while AWS cannot be asked."""
    account = arguments.account or world.home()
    facts = world.account(account)
    return Where(account, arguments.region or facts.region, "aws", facts.id)


def _step(arguments: ExpireArguments, cluster: Object, world: ReadWorld) -> Step | None:
    """None where it is so already."""
    end, by = text(cluster, "metadata", "annotations", ENDS_AT), set_by(cluster)
    if arguments.ttl == NEVER and not end and not by:
        return None
    if arguments.ttl != NEVER and end and by == world.request():
        return None
    before: Json = {ENDS_AT: end or None, SET_BY: by or None}
    uid = text(cluster, "metadata", "uid")
    return time_box_step(arguments.cluster, arguments.namespace, arguments.ttl, uid=uid, before=before)


def _facts(arguments: ExpireArguments, cluster: Object, now: float) -> tuple[Fact, ...]:
    if not cluster:
        return ()
    end = ends_at(cluster)
    left = [] if end is None else [Fact(name=LEFT, value=int(end - now), material=False)]
    return (Fact(name=f"Cluster {arguments.cluster}", value=text(cluster, "metadata", "uid")), *left)


# -- words -------------------------------------------------------------------------------------------------------


def _headline(arguments: ExpireArguments) -> str:
    if arguments.ttl == NEVER:
        return f"let cluster {arguments.cluster} live on"
    return f"delete cluster {arguments.cluster} in {in_words(arguments.ttl)}"


def _now(end: float | None, now: float) -> str:
    return "none" if end is None else moment(end, now)


def _then(ttl: str) -> str:
    return "none" if ttl == NEVER else f"{in_words(ttl)} {FROM_NOW}"


def _table(arguments: ExpireArguments, now: str) -> Table:
    rows = [(arguments.cluster, now, _then(arguments.ttl), "—" if arguments.ttl == NEVER else THEN)]
    return Table(header=("Cluster", "End now", "New end", "Then"), rows=tuple(rows))


def _command_back(arguments: ExpireArguments, step: Step) -> str:
    """By hand, on the management cluster."""
    said = " ".join(
        f"{name}={value}" if isinstance(value := step.before.get(name), str) else f"{name}-"
        for name in (ENDS_AT, SET_BY)
    )
    return f"kubectl annotate cluster --overwrite --namespace {arguments.namespace} {arguments.cluster} {said}"


OPERATIONS = (ClusterExpire(),)
