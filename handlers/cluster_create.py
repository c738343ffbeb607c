"""`cluster create`: a workload cluster in an existing VPC, through the Cluster API and its AWS provider.

Plans the missing subnet tags and the objects; everything that would fail later is looked for first, in AWS and on the
management cluster. Then it waits as `tanzu cluster create` does, and proves the result with a fresh look.
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers.account_cluster import may_tag, way_in
from handlers.cluster_nodes import ready_check
from handlers.cluster_place import network_of
from handlers.cluster_reading import read_cluster
from handlers.cluster_rendering import Blueprint, render
from handlers.cluster_shape import CreateArguments, layout_of, machines_of, named_subnets
from handlers.conditions import is_deleted
from handlers.contract import (
    Check,
    Fact,
    Fatal,
    Finding,
    Impact,
    Inverse,
    Json,
    KubeRead,
    Offer,
    Operation,
    Plan,
    ReadWorld,
    Step,
    Table,
)  # fmt: skip
from handlers.kinds import CLUSTER
from handlers.kube_checks import Left, kube_checks, leftovers, versions_of
from handlers.network import ROUTE_WORDS, Subnet, cluster_key
from handlers.preflight import Layout, Pool, checks, machines_per_hour, per_hour
from handlers.preflight.gpu_table import is_gpu_family
from handlers.steps.apply import ApplyStep, called, config_of, rights_for
from handlers.steps.await_cluster import AwaitClusterStep, Stage, is_reached, told
from handlers.steps.tag import TagStep
from handlers.steps.time_box import THEN, TimeBoxStep, time_box_step
from handlers.subnet_checks import blocks, counted, not_found, passes, warns
from handlers.subnet_scope import Where, change, enter
from handlers.time_box import ENDS_AT, SET_BY, end_check, in_words, set_by, within_limits

AFTER = "after it was made"
STAGES: dict[Stage, str] = {"control-plane": "the control plane answers", "workers": "all workers are ready"}


class ClusterCreate(Operation[CreateArguments]):
    """Makes a cluster."""

    name = "cluster create"
    summary = "Make a Kubernetes cluster in an existing VPC"
    examples = (
        "cluster create demo --plan dev --vpc vpc-0a1b2c3d4e5f60718",
        "cluster create vision --plan dev --vpc vpc-0a1b2c3d4e5f60718 --gpu g4dn.xlarge:2",
        "cluster create trial --plan dev --vpc vpc-0a1b2c3d4e5f60718 --ttl 8h",
        "cluster create shop --plan prod --vpc vpc-0a1b2c3d4e5f60718 --namespace platform --workers 6 --ssh-key ops",
    )
    arguments = CreateArguments

    def plan(self, arguments: CreateArguments, world: ReadWorld) -> Plan:
        """Looks at AWS and at the management cluster, in parallel where it can."""
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        kube = world.management()
        if right_account.blocks:
            return _empty(arguments, (right_account,))
        layout = layout_of(arguments, where, world.clusters(), aws, gpu_disk=world.gpu().disk)
        missing = _missing(arguments, layout)
        if missing is not None:
            return _empty(arguments, (right_account, missing))
        identity = world.account(where.account).identity
        blueprint = Blueprint(layout, arguments.namespace, arguments.plan, world.clusters().labels, identity)
        versions = versions_of(kube)
        items = render(blueprint, versions)
        left = leftovers(items, kube)
        seen = [
            right_account,
            *_internal(layout),
            *(way_in(identity, layout, aws, world) if identity else ()),
            *(may_tag(layout, _tag_step(layout), world) if identity else ()),
            *checks(layout, aws, begun=left.begun),
            *kube_checks(blueprint, items, left, kube, world.probing().management()),
            *((within_limits(arguments.ttl, world.clusters()),) if arguments.ttl else ()),
        ]
        blocked = any(check.blocks for check in seen)
        steps = () if blocked else tuple(_steps(blueprint, items, left, arguments.ttl, world))
        return Plan(
            headline=_headline(arguments),
            checks=tuple(seen),
            facts=tuple(_facts(layout, kube)),
            targets=_targets(arguments, where, steps),
            steps=steps,
            impact=_impact(blueprint, items, steps),
            details=_details(layout, arguments.ttl),
        )

    def verify(self, arguments: CreateArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Reads the cluster's objects anew, and asks the new cluster itself for its nodes."""
        found = read_cluster(world.management(), arguments.cluster, arguments.namespace)
        if found is None or found.unread:
            return [blocks("verify cluster", "The cluster is there", "Its objects cannot be read.", "Look at it.")]
        fix = f"`/tkg cluster get {arguments.cluster}`"
        parts = [
            passes(f"verify {stage}", f"Seen that {words}", told(found, stage))
            if is_reached(found, stage)
            else blocks(f"verify {stage}", f"Seen that {words}", told(found, stage), fix)
            for stage, words in STAGES.items()
        ]
        nodes = ready_check(arguments.cluster, arguments.namespace, machines_of(arguments), world)
        ends = [end_check(arguments.cluster, found.cluster, arguments.ttl, world)] if arguments.ttl else []
        return [*parts, nodes, *ends, *_next(arguments)]

    def drift(self, arguments: CreateArguments, world: ReadWorld) -> tuple[Finding, ...]:
        """A cluster that went without a request, and subnets of it that lost its tag. Raises Fatal where the latter
        cannot be told."""
        name, space = arguments.cluster, arguments.namespace
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        found = read_cluster(world.management(), name, space)
        if found is None:
            cleanup = Offer(
                title=f"Clean up what {name} left in AWS.", label=f"Clean up {name}"[:30], operation="cluster cleanup",
                arguments={"cluster": name, "namespace": space, "account": where.account, "region": where.region},
            )  # fmt: skip
            return (Finding(
                id=f"cluster {space}/{name}", kind="cluster",
                title=f"{space}/{name} is gone, and no request deleted it.",
                evidence=f"There is no Cluster {name} in {space} any more.", account=where.account, cluster=name,
                namespace=space, repair=cleanup,
            ),)  # fmt: skip
        if is_deleted(found.cluster):
            return ()
        if right_account.blocks:
            raise Fatal(right_account.evidence, right_account.fix)
        _vpc, subnets = network_of(found, aws)
        lost = sorted(subnet.id for subnet in subnets if cluster_key(name) not in subnet.tags)
        if not lost:
            return ()
        offer = Offer(
            title=f"Tag {counted(len(lost))} for {name} again.", label=f"Tag {name} again"[:30], operation="subnet tag",
            arguments={
                "cluster": name, "subnets": list(lost), "private": True, "account": where.account,
                "region": where.region,
            },
        )  # fmt: skip
        verb = "has" if len(lost) == 1 else "have"
        return (Finding(
            id=f"tag {where.account} {name}", kind="tag",
            title=f"{counted(len(lost))} of {name} {verb} lost the cluster's tag.",
            evidence=f"{', '.join(lost)}.", account=where.account, cluster=name, namespace=space, repair=offer,
        ),)  # fmt: skip

    def inverse(self, arguments: CreateArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """Deleting the cluster, with the rules of that. The tags stay: `subnet untag` takes them off, when nothing
        needs them any more."""
        if not any(plan.steps[position].kind == "apply" for position in touched):
            return None
        return Inverse(
            operation="cluster delete",
            arguments={
                "cluster": arguments.cluster, "namespace": arguments.namespace,
                "account": arguments.account, "region": arguments.region,
            },
        )  # fmt: skip


def _next(arguments: CreateArguments) -> list[Check]:
    """A machine with GPUs is not yet one that pods can ask for GPUs."""
    if arguments.gpu is None and not is_gpu_family(arguments.worker_type or ""):
        return []
    install = f"`/tkg gpu install {arguments.cluster}`"
    return [passes("verify gpu", "GPUs", f"Pods can ask for its GPUs when the operator is there: {install}.")]


# -- the plan ----------------------------------------------------------------------------------------------------


def _missing(arguments: CreateArguments, layout: Layout) -> Check | None:
    """Subnets that the command names and that are not there; or none to be found."""
    known = {subnet.id for subnet in layout.subnets}
    missing = [name for name in named_subnets(arguments) if name not in known]
    if missing:
        return not_found("subnet", missing, layout.where.account, layout.where.region)
    if not layout.private:
        evidence = f"{arguments.vpc} has no private subnet in {layout.where.region}."
        return blocks("subnets", "Subnets for machines", evidence, "Name them with --private-subnets, or another VPC.")
    return None


def _internal(layout: Layout) -> list[Check]:
    """Without public subnets the API server gets an internal load balancer: nobody should learn that afterwards."""
    if layout.public:
        return []
    evidence = f"No public subnet of {layout.vpc} is in a zone of the machines."
    fix = "The API server's load balancer will be internal. Name public subnets with --public-subnets, or mend a route."
    return [warns("internal", "Only an internal load balancer", evidence, fix)]


def _steps(blueprint: Blueprint, items: tuple[Json, ...], left: Left, ttl: str | None, world: ReadWorld) -> list[Step]:
    layout, defaults = blueprint.layout, world.clusters()
    timed: list[Step] = [_timed(blueprint, items, ttl)] if ttl else []
    if left.begun:
        found = read_cluster(world.management(), blueprint.name, blueprint.namespace)
        if found is not None and not found.unread and all(is_reached(found, stage) for stage in STAGES):
            return [] if set_by(found.cluster) == world.request() else timed
    tag = _tag_step(layout)
    return [
        *([tag] if tag else []),
        ApplyStep(
            title=f"create the {len(items)} Kubernetes objects of `{blueprint.name}`",
            targets=(f"cluster {blueprint.name}",),
            rights=rights_for(items),
            objects=items,
            before={called(item): left.uids.get(called(item)) for item in items},
        ),
        *(
            AwaitClusterStep(
                title=f"wait until {words}",
                targets=(f"cluster {blueprint.name}",),
                namespace=blueprint.namespace,
                cluster=blueprint.name,
                stage=stage,
                patience=defaults.no_progress,
                grace=defaults.failure_grace,
            )
            for stage, words in STAGES.items()
        ),
        *timed,
    ]


def _timed(blueprint: Blueprint, items: Sequence[Json], ttl: str) -> TimeBoxStep:
    """The last step, so that nobody's time is over before there was a cluster."""
    return time_box_step(
        blueprint.name, blueprint.namespace, ttl, since=AFTER, config=config_of(items[0]),
        before={ENDS_AT: None, SET_BY: None},
    )  # fmt: skip


def _tag_step(layout: Layout) -> TagStep | None:
    key = cluster_key(layout.cluster)
    lacking = [subnet for subnet in layout.subnets if key not in subnet.tags]
    if not lacking:
        return None
    return TagStep(
        title=f"put `{key}=shared` on {counted(len(lacking))}",
        before={subnet.id: None for subnet in lacking},
        **change(lacking, key, "shared", layout.where, "ec2:CreateTags"),
    )


def _targets(arguments: CreateArguments, where: Where, steps: Sequence[Step]) -> tuple[str, ...]:
    """The name, in whichever namespace: in AWS two clusters of one name are one. The subnets only if they are tagged,
    so that clusters in one VPC need not wait for each other."""
    subnets = [f"subnets of {arguments.vpc} in {where.account}"] if any(step.kind == "tag" for step in steps) else []
    return (f"cluster {arguments.cluster}", *subnets)


def _facts(layout: Layout, kube: KubeRead) -> list[Fact]:
    facts = [
        Fact(name=s.id, value={"vpc": s.vpc, "zone": s.zone, "route": ROUTE_WORDS[s.route]}) for s in layout.subnets
    ]
    return [*facts, Fact(name="Cluster API", value=kube.version(CLUSTER))]


def _impact(blueprint: Blueprint, items: Sequence[Json], steps: Sequence[Step]) -> Impact:
    layout = blueprint.layout
    machines = tuple(f"{pool.count} × {pool.type} ({pool.name})" for pool in layout.manned)
    tagged = tuple(f"{s.key} on {name}" for s in steps if isinstance(s, TagStep) for name in s.resources)
    ends = tuple(f"its end: {in_words(s.ttl)} {AFTER}" for s in steps if isinstance(s, TimeBoxStep))
    namespace, name = blueprint.namespace, blueprint.name
    return Impact(
        creates=(*machines, "1 load balancer for the API server", *map(called, items)) if steps else (),
        changes=(*tagged, *ends),
        reversible=True,
        undo=f"kubectl delete cluster --namespace {namespace} {name}",
        cost_per_hour_usd=machines_per_hour(layout) if steps else 0.0,
    )


def _details(layout: Layout, ttl: str | None) -> Table:
    rows = [
        (
            pool.name,
            _machines(pool, layout),
            pool.zone or "spread",
            _homes(layout.homes(pool)),
        )
        for pool in layout.manned
    ]
    key = cluster_key(layout.cluster)
    rows += [
        (subnet.name, "tagged" if key in subnet.tags else f"+ {key}=shared", subnet.zone, ROUTE_WORDS[subnet.route])
        for subnet in layout.subnets
    ]
    if ttl:
        rows.append(("end", f"{in_words(ttl)} {AFTER}", "", THEN))
    return Table(header=("Part", "What", "Zone", "Where"), rows=tuple(rows))


def _headline(arguments: CreateArguments) -> str:
    lives = f", for {in_words(arguments.ttl)}" if arguments.ttl else ""
    return f"create {arguments.plan} cluster {arguments.cluster}{lives}"


def _machines(pool: Pool, layout: Layout) -> str:
    """`2 × m5.large ($0.19/h)`; without a price where it is not known."""
    price = per_hour({pool.name: (pool.type, pool.count)}, layout.where.region)
    return f"{pool.count} × {pool.type}{f' (${price:.2f}/h)' if price else ''}"


def _homes(subnets: Sequence[Subnet]) -> str:
    return ", ".join(subnet.name for subnet in subnets)


def _empty(arguments: CreateArguments, seen: tuple[Check, ...]) -> Plan:
    return Plan(
        headline=_headline(arguments), checks=seen, facts=(), targets=(), steps=(),
        impact=Impact(reversible=True),
    )  # fmt: skip


OPERATIONS = (ClusterCreate(),)
