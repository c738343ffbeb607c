"""`cluster cleanup`: takes away what a deleted cluster left in AWS.

By tags alone a living cluster cannot be told from a dead one: a cluster of that name on another management cluster, or
of Amazon EKS, carries the same. So nothing goes while a Cluster of the name is there, or anything of EKS, or an
instance that nobody asked for by `--instances`. Volumes hold data, and go only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from handlers.clients.aws_errors import Denied
from handlers.cluster_place import PlaceArguments
from handlers.cluster_reading import NAME_LABEL
from handlers.conditions import name_of, text
from handlers.contract import Action, AwsRefused, Check, Fatal, Impact, Json, KubeRead, Operation, Plan, ReadWorld, Step
from handlers.kinds import AWS_CLUSTER, CLUSTER, CONTROL_PLANE, MACHINE, MACHINE_DEPLOYMENT
from handlers.leftover_words import cost_of, costing, counts, plural, some, table
from handlers.leftovers import WORDS, Leftover, Leftovers, look
from handlers.network import cluster_key
from handlers.steps.leftover import ACTIONS, READS, Kind, LeftoverStep, tried
from handlers.steps.untag import UntagStep
from handlers.subnet_checks import blocks, counted, passes, warns
from handlers.subnet_scope import Where, enter, targets

PARTS = (AWS_CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT, MACHINE)


class CleanupArguments(PlaceArguments):
    """Whose leftovers."""

    volumes: bool = Field(False, description="Also delete volumes that nothing uses: what is in them is lost.")
    instances: bool = Field(False, description="Also end instances that still run under the cluster's name.")


class ClusterCleanup(Operation[CleanupArguments]):
    """Deletes what a cluster that is gone left in AWS. It cannot be undone."""

    name = "cluster cleanup"
    ends = ("cluster create", "subnet tag")
    approvals = 2
    summary = "Delete what a deleted cluster left in AWS"
    examples = ("cluster cleanup demo", "cluster cleanup shop --account prod --volumes")
    arguments = CleanupArguments

    def plan(self, arguments: CleanupArguments, world: ReadWorld) -> Plan:
        """Looks whether the cluster is really gone, and for everything that carries its tags."""
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        if right_account.blocks:
            return _plan(arguments, (right_account,), Leftovers(arguments.cluster), (), where, world)
        gone = gone_check(arguments.cluster, world.management())
        left = look(aws, arguments.cluster, where.region)
        going = tuple(item for item in left.items if _goes(item, arguments))
        seen = (right_account, gone, *_checks(left, going, arguments))
        steps = () if any(check.blocks for check in seen) else tuple(_steps(left, going, where))
        may = _may(steps, where, world)
        if may is not None:
            seen, steps = (*seen, may), () if may.blocks else steps
        return _plan(arguments, seen, left, steps, where, world)

    def verify(self, arguments: CleanupArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Looks anew for what should be gone."""
        where, _right_account, aws = enter(arguments.account, arguments.region, world)
        promised = {
            name for step in plan.steps for name in step.model_dump(mode="json")["resources"] if step.kind == "leftover"
        }
        untagged = {name for step in plan.steps if step.kind == "untag" for name in step.model_dump()["resources"]}
        left = look(aws, arguments.cluster, where.region)
        title, name = "Leftovers gone", "verify leftovers"
        if left.unseen:
            return [Check(id=name, title=title, result="unknown", evidence=left.blind)]
        still = [item.called for item in left.items if item.id in promised]
        still += [f"the tag on {subnet.name}" for subnet in left.subnets if subnet.id in untagged]
        if still:
            return [blocks(name, title, f"Still there: {some(still)}.", "Look at it, and ask for the cleanup anew.")]
        rest = f" What stays: {counts(left.items)}{costing(left.items)}." if left.items else ""
        return [passes(name, title, f"Looked for anew in AWS: what was to go of {arguments.cluster} is gone.{rest}")]


def gone_check(cluster: str, kube: KubeRead) -> Check:
    """Is there really no Cluster of that name, in whichever namespace, and no part of one?"""
    title, name = "The cluster is gone", "gone"
    try:
        found = [_placed("Cluster", item) for item in kube.pages(CLUSTER) if name_of(item) == cluster]
        if not found:
            found = [
                _placed(kind.name, item) for kind in PARTS for item in kube.pages(kind, "", f"{NAME_LABEL}={cluster}")
            ]
    except Fatal as error:
        evidence = f"{error.message} So it is not known whether {cluster} is gone."
        return Check(id=name, title=title, result="unknown", evidence=evidence, fix=error.hint)
    if found:
        fix = f"`/tkg cluster delete {cluster}` takes it away, with all that is its own in AWS."
        return blocks(name, title, f"On the management cluster there is {some(found)}.", fix)
    return passes(name, title, f"The management cluster has no Cluster {cluster} in any namespace, and no part of one.")


def _placed(kind: str, item: Json) -> str:
    return f"{kind} {text(item, 'metadata', 'namespace')}/{name_of(item)}"


# -- what goes ---------------------------------------------------------------------------------------------------


def _goes(item: Leftover, arguments: CleanupArguments) -> bool:
    asked = {"volume": arguments.volumes, "instance": arguments.instances}.get(item.kind, True)
    return asked and not item.held


def _checks(left: Leftovers, going: tuple[Leftover, ...], arguments: CleanupArguments) -> Iterator[Check]:
    yield _looked(left)
    yield from _strangers(left)
    yield from _instances(left, going)
    yield from _volumes(left, going)
    held = [f"{item.called} ({item.held})" for item in left.items if item.held]
    if held:
        fix = "They stay. When nothing uses them any more, ask for the cleanup again."
        yield warns("held", "Still in use", f"{some(held)}.", fix)
    odd = [f"{subnet.name} ({subnet.clusters[left.cluster]})" for subnet in left.subnets if subnet not in left.stale]
    others = [*left.others, *(f"the tag on {name}" for name in odd)]
    if others:
        yield warns("others", "To be looked at by hand", f"{some(others)}.", "They are left as they are.")


def _looked(left: Leftovers) -> Check:
    title, name = "Looked for everything", "looked"
    if left.unseen:
        fix = "The platform team has to allow the bot's role to look at it."
        return Check(id=name, title=title, result="unknown", evidence=left.blind, fix=fix)
    if not left.items and not left.stale:
        return passes(name, title, f"Nothing of {left.cluster} is left in AWS.")
    return passes(name, title, f"{left.cluster} left {counts(left.items, len(left.stale))}{costing(left.items)}.")


def _strangers(left: Leftovers) -> list[Check]:
    if not left.strangers:
        return []
    evidence = f"Amazon EKS has a cluster {left.cluster} here: {some(left.strangers)}."
    fix = "By their tags the two cannot be told apart, so nothing is deleted. An administrator has to do it by hand."
    return [blocks("strangers", "Another cluster of that name", evidence, fix)]


def _instances(left: Leftovers, going: tuple[Leftover, ...]) -> list[Check]:
    found = left.of("instance")
    if not found:
        return []
    title, evidence = "Instances under its name", f"{some([f'{item.name} ({item.size})' for item in found])}."
    if any(item.kind == "instance" for item in going):
        return [warns("instances", title, evidence, "They are ended, with their disks, as --instances asks.")]
    fix = (
        "They may be of a cluster of that name that another management cluster has: find out. If they are leftovers, "
        "add --instances."
    )
    return [blocks("instances", title, evidence, fix)]


def _volumes(left: Leftovers, going: tuple[Leftover, ...]) -> list[Check]:
    found = left.of("volume")
    if not found:
        return []
    title = "Data"
    lost = [item for item in going if item.kind == "volume"]
    if lost:
        evidence = f"{counts(lost)} will be deleted: {some([item.name or item.id for item in lost])}."
        return [warns("volumes", title, evidence, "What is in them is lost. Take snapshots first where it is needed.")]
    evidence = f"{counts(found)}{costing(found)}: {some([item.name or item.id for item in found])}."
    return [warns("volumes", title, evidence, "They stay, because of what is in them. --volumes deletes them, too.")]


def _may(steps: tuple[Step, ...], where: Where, world: ReadWorld) -> Check | None:
    """Whether the bot's role may delete it, as far as AWS can be asked without doing it."""
    deleting = [step for step in steps if isinstance(step, LeftoverStep)]
    if not deleting:
        return None
    title, name = "The bot may delete it", "may"
    actions = tuple(action for step in steps for action in step.actions)
    try:
        for step in deleting:
            tried(step, world.probing().trying(where.account, where.region, actions))
    except Denied as error:
        fix = "Update the stack of the bot's role in that account with Cleanup=true (manifests/iam)."
        return blocks(name, title, error.message, fix)
    except AwsRefused as error:
        return warns(name, title, error.message, "It may have been changed just now; the run will look again.")
    return passes(name, title, "EC2 would do it, asked by dry runs; load balancers cannot be asked about.")


def _steps(left: Leftovers, going: tuple[Leftover, ...], where: Where) -> Iterator[Step]:
    for kind in ACTIONS:
        items = [item for item in going if item.kind == kind]
        if items:
            yield _step(left.cluster, kind, items, where)
    if left.stale:
        yield _untag(left, where)


def _step(cluster: str, kind: Kind, items: list[Leftover], where: Where) -> LeftoverStep:
    marks = {item.id: "=".join(item.mark) for item in items}
    place = {"account": where.account, "region": where.region}
    wanted = ACTIONS[kind]
    actions = [
        Action(name=name, conditions={"StringEquals": {f"aws:ResourceTag/{key}": value}}, **place)
        for key, value in dict.fromkeys(item.mark for item in items)
        for name in wanted
    ]
    return LeftoverStep(
        title=f"delete {len(items)} {plural(WORDS[kind], len(items))} of {cluster}",
        targets=(f"cluster {cluster}",),
        actions=(*(Action(name=name, **place) for name in READS), *actions),
        what=kind,
        resources=tuple(marks),
        marks=marks,
        before={item.id: item.called for item in items},
        **place,
    )


def _untag(left: Leftovers, where: Where) -> UntagStep:
    """The key names the cluster, so all subnets together need no more rights than one."""
    key, place = cluster_key(left.cluster), {"account": where.account, "region": where.region}
    taking = Action(
        name="ec2:DeleteTags",
        resources=(where.arn("subnet/*"),),
        conditions={"ForAllValues:StringEquals": {"aws:TagKeys": [key]}},
        **place,
    )
    return UntagStep(
        title=f"take `{key}=shared` off {counted(len(left.stale))}",
        targets=targets(left.stale, where),
        actions=(Action(name="ec2:Describe*", **place), taking),
        resources=tuple(subnet.id for subnet in left.stale),
        key=key,
        value="shared",
        before={subnet.id: "shared" for subnet in left.stale},
        **place,
    )


def _plan(
    arguments: CleanupArguments,
    checks: Iterable[Check],
    left: Leftovers,
    steps: tuple[Step, ...],
    where: Where,
    world: ReadWorld,
) -> Plan:
    ids = frozenset(name for step in steps if isinstance(step, LeftoverStep) for name in step.resources)
    going = [item for item in left.items if item.id in ids]
    untagged = left.stale if any(isinstance(step, UntagStep) for step in steps) else ()
    cost = cost_of(going)
    return Plan(
        headline=f"clean up what cluster {arguments.cluster} left in AWS",
        checks=tuple(checks),
        facts=(),
        targets=(f"cluster {arguments.cluster}", *targets(untagged, where)),
        steps=steps,
        impact=Impact(
            changes=tuple(f"{cluster_key(left.cluster)} off {subnet.id}" for subnet in untagged),
            deletes=tuple(item.called for item in going),
            reversible=False if going else None if not untagged else True,
            undo=_undo(left, where) if untagged and not going else "",
            cost_per_hour_usd=-cost if cost else cost,
        ),
        details=table(left, ids, world.now()),
    )


def _undo(left: Leftovers, where: Where) -> str:
    ids = " ".join(subnet.id for subnet in left.stale)
    tags = f"Key={cluster_key(left.cluster)},Value=shared"
    return f"aws ec2 create-tags --region {where.region} --resources {ids} --tags {tags}"


OPERATIONS = (ClusterCleanup(),)
