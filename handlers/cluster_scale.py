"""`cluster scale`: more or fewer machines in a cluster that is there.

Workers are divided over the ordinary pools as TKG divides them; a pool with GPUs, or any other, is scaled by its name.
A control plane has an odd number of machines, and never none. (kubernetes-sigs/cluster-api, KubeadmControlPlane
webhook; vmware-tanzu/tanzu-framework v0.28.3, tkg/client/scale.go.)
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from handlers.cluster_nodes import nodes_check
from handlers.cluster_objects import ClusterObjects
from handlers.cluster_place import PlaceArguments, network_of, opened
from handlers.cluster_pools import LivePool, control_plane_of, divided, named, pools_of
from handlers.cluster_reading import read_cluster
from handlers.cluster_seen import status_of
from handlers.conditions import at
from handlers.contract import (
    AwsRead,
    Check,
    Fact,
    Impact,
    Inverse,
    Json,
    Operation,
    Plan,
    ReadWorld,
    Right,
    Step,
    Table,
    UsageError,
)
from handlers.preflight import Layout, Pool, growth_checks, per_hour
from handlers.preflight.look import counted
from handlers.steps.await_cluster import AwaitClusterStep, is_reached, told
from handlers.steps.scale import Count, ScaleStep
from handlers.subnet_checks import blocks, passes, warns
from handlers.subnet_scope import Where
from handlers.words import PoolName

Change = tuple[LivePool, int]
"""A pool, and how many machines it is to have."""


class ScaleArguments(PlaceArguments):
    """Which cluster, and how many machines of what."""

    workers: int | None = Field(None, ge=0, le=500, description="How many workers there are to be, or in the pool.")
    pool: PoolName | None = Field(None, description="Only this pool of workers; needed for one with GPUs.")
    control_plane: int | None = Field(None, ge=1, le=7, description="How many control plane machines: 1, 3, 5 or 7.")

    @model_validator(mode="after")
    def _says_how_many(self) -> ScaleArguments:
        if self.workers is None and self.control_plane is None:
            raise ValueError("does not say how many: add --workers or --control-plane and a number")
        if self.pool is not None and self.workers is None:
            raise ValueError("names a pool and not how many machines: add --workers and a number")
        if self.control_plane is not None and self.control_plane % 2 == 0:
            raise ValueError("asks for an even number of control plane machines: etcd needs an odd one")
        return self


class ClusterScale(Operation[ScaleArguments]):
    """Changes how many machines a cluster has."""

    name = "cluster scale"
    summary = "Change how many machines a cluster has"
    examples = ("cluster scale demo --workers 3", "cluster scale vision --pool md-gpu --workers 2")
    arguments = ScaleArguments

    def plan(self, arguments: ScaleArguments, world: ReadWorld) -> Plan:
        """Looks at the cluster's pools, and at AWS for the machines that would be new."""
        start = opened(arguments, world)
        where, found, seen = start.where, start.found, list(start.checks)
        if found is None:
            return _plan(arguments, seen, (), (), Impact(reversible=True))
        pools = pools_of(found, world.management())
        every = changes(arguments, found, pools, world)
        seen += [_state(found, world), *_owned(every), *_plane(every, found), *growth(every, found, where, start.aws)]
        wanted = [(pool, to) for pool, to in every if pool.count != to]
        facts = tuple(Fact(name=pool.name, value={"type": pool.type, "zone": pool.zone}) for pool, _ in every)
        beside = sum(to for pool, to in every if pool.count == to and not pool.is_control_plane)
        steps = tuple(scaling(arguments.namespace, found, wanted, world, beside)) if wanted else ()
        if any(check.blocks for check in seen):
            steps = ()
        return _plan(arguments, seen, facts, steps, impact_of(wanted, where, arguments), _table(every))

    def verify(self, arguments: ScaleArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Reads the counters anew, and asks the cluster itself for its nodes."""
        step = next((step for step in plan.steps if step.kind == "await-cluster"), None)
        found = read_cluster(world.management(), arguments.cluster, arguments.namespace)
        title = "As many machines as planned"
        if found is None or found.unread or step is None:
            return [blocks("verify counts", title, "Its objects cannot be read.", "Look at it.")]
        counts = AwaitClusterStep.model_validate(step.model_dump()).counts
        evidence = told(found, "scaled", counts)
        if not is_reached(found, "scaled", counts):
            return [blocks("verify counts", title, evidence, f"`/tkg cluster get {arguments.cluster}`")]
        return [passes("verify counts", title, evidence), nodes_check(found, arguments.namespace, world)]

    def inverse(self, arguments: ScaleArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """The numbers as they were: those of one pool by its name, of several by their sum."""
        scaled = next((ScaleStep.model_validate(s.model_dump()) for s in plan.steps if s.kind == "scale"), None)
        if scaled is None or not any(plan.steps[position].kind == "scale" for position in touched):
            return None
        return Inverse(operation=self.name, arguments=back_to(arguments.place, scaled))


def changes(
    arguments: ScaleArguments, found: ClusterObjects, pools: Sequence[LivePool], world: ReadWorld
) -> list[Change]:
    """What the words mean for each pool that they are about. UsageError where they mean nothing here."""
    every: list[Change] = []
    if arguments.control_plane is not None:
        plane = control_plane_of(found, world.management())
        if plane is None:
            raise UsageError(f"The cluster {found.name} has no control plane yet.", "Ask again when it is up.")
        every.append((plane, arguments.control_plane))
    if arguments.workers is None:
        return every
    if arguments.pool is not None:
        return [*every, (named(pools, arguments.pool, found.name), arguments.workers)]
    ordinary = [pool for pool in pools if not pool.has_gpus] or list(pools)
    if not ordinary:
        raise UsageError(f"The cluster {found.name} has no pool of workers.", "Nothing can be scaled there.")
    shares = divided(arguments.workers, ordinary)
    return [*every, *((pool, shares[pool.name]) for pool in ordinary)]


def scaling(
    namespace: str, found: ClusterObjects, wanted: Sequence[Change], world: ReadWorld, beside: int = 0
) -> list[Step]:
    """The steps: the numbers are written, and then the machines are waited for. `beside` is how many machines those
    pools have that the same total was divided over and that keep their number."""
    defaults = world.clusters()
    rights = {Right(verb="patch", resource=pool.kind.resource, namespace=namespace, name=pool.holder)
              for pool, _ in wanted}  # fmt: skip
    said = ", ".join(f"{pool.short} from {pool.count} to {to}" for pool, to in wanted)
    target = (f"cluster {found.name}",)
    return [
        ScaleStep(
            title=f"scale {said}",
            targets=target,
            rights=tuple(sorted(rights, key=lambda right: (right.resource, right.name))),
            namespace=namespace,
            counts=tuple(
                Count(
                    pool=pool.short, resource=pool.kind.resource, name=pool.holder, path=pool.path, tests=pool.tests,
                    was=pool.count or 0, to=to,
                )
                for pool, to in wanted
            ),
            before={pool.name: pool.count for pool, _ in wanted},
            beside=beside,
        ),
        AwaitClusterStep(
            title="wait until the machines are as many, and ready",
            targets=target,
            namespace=namespace,
            cluster=found.name,
            stage="scaled",
            patience=defaults.no_progress,
            grace=defaults.failure_grace,
            counts={pool.name: to for pool, to in wanted},
        ),
    ]  # fmt: skip


def impact_of(wanted: Sequence[Change], where: Where, arguments: ScaleArguments | None = None) -> Impact:
    """Machines that come, machines that go, and what that costs more or less."""
    more = {pool.name: (pool, to - (pool.count or 0)) for pool, to in wanted}
    back = _command_back(arguments, wanted) if arguments is not None and wanted else ""
    return Impact(
        creates=tuple(f"{pool.type} ({pool.short})" for pool, count in more.values() for _ in range(count)),
        deletes=tuple(f"{pool.type} ({pool.short})" for pool, count in more.values() for _ in range(-count)),
        reversible=True,
        undo=back,
        cost_per_hour_usd=per_hour({name: (pool.type, count) for name, (pool, count) in more.items()}, where.region),
    )


def growth(every: Sequence[Change], found: ClusterObjects, where: Where, aws: AwsRead) -> list[Check]:
    """The checks in AWS for the machines that are new."""
    grown = tuple(
        Pool(pool.short, to - (pool.count or 0), 1, pool.type, pool.zone, gpu=pool.has_gpus)
        for pool, to in every
        if to > (pool.count or 0)
    )
    if not grown:
        return []
    vpc, subnets = network_of(found, aws)
    layout = Layout(
        cluster=found.name, where=where, vpc=vpc,
        public=tuple(subnet for subnet in subnets if subnet.is_public),
        private=tuple(subnet for subnet in subnets if not subnet.is_public),
        pools=grown, production=False, ssh_key=None, kubernetes_version="", ami_owner="", ami_base_os="", ami_id=None,
        instance_profiles=("", ""),
    )  # fmt: skip
    return [check for check in growth_checks(layout, aws) if check.id != "gpu-disk"]


# -- the checks --------------------------------------------------------------------------------------------------


def _state(found: ClusterObjects, world: ReadWorld) -> Check:
    status, title = status_of(found, world.now()), "The cluster is at rest"
    if status in ("running",):
        return passes("state", title, f"{found.name} is running.")
    fix = f"`/tkg cluster get {found.name}` shows what it waits for; new machines wait for the same."
    return warns("state", title, f"{found.name} is {status}.", fix)


def _owned(every: Sequence[Change]) -> list[Check]:
    """What else says how many machines there are: an autoscaler, or nobody that can be seen."""
    seen: list[Check] = []
    title = "Nobody else scales it"
    unknown = [pool.short for pool, _ in every if pool.count is None]
    if unknown:
        evidence = f"Nothing says how many machines {', '.join(unknown)} has."
        return [blocks("autoscaler", title, evidence, "Let its owner (an autoscaler?) scale it.")]
    for pool, to in every:
        if pool.least is None and pool.most is None:
            continue
        bounds = f"{pool.least if pool.least is not None else '?'} to {pool.most if pool.most is not None else '?'}"
        evidence = f"An autoscaler keeps {pool.short} between {bounds} machines."
        outside = (pool.least is not None and to < pool.least) or (pool.most is not None and to > pool.most)
        if outside:
            seen.append(blocks("autoscaler", title, evidence, f"It would undo {to}: change its bounds instead."))
        else:
            seen.append(warns("autoscaler", title, evidence, f"It may change {to} again by itself."))
    return seen or [passes("autoscaler", title, "No autoscaler's bounds are on these pools.")]


def _plane(every: Sequence[Change], found: ClusterObjects) -> list[Check]:
    """Whether the control plane stays one that survives the loss of a machine."""
    title = "The control plane's size"
    for pool, to in every:
        if not pool.is_control_plane:
            continue
        if to == 1 and (pool.count or 0) > 1:
            evidence = f"{found.name} would have one control plane machine: the loss of that one is the cluster's."
            return [warns("control-plane", title, evidence, "Keep 3 for anything that matters.")]
        external = at(found.control_plane, "spec", "kubeadmConfigSpec", "clusterConfiguration", "etcd", "external")
        etcd = "an etcd of its own" if external is None else "an external etcd"
        return [passes("control-plane", title, f"{to} machines with {etcd}.")]
    return []


# -- words -------------------------------------------------------------------------------------------------------


def _plan(
    arguments: ScaleArguments,
    seen: Sequence[Check],
    facts: tuple[Fact, ...],
    steps: tuple[Step, ...],
    impact: Impact,
    details: Table | None = None,
) -> Plan:
    parts = [
        *([counted(arguments.workers, "worker")] if arguments.workers is not None else []),
        *([counted(arguments.control_plane, "control plane machine")] if arguments.control_plane is not None else []),
    ]
    what = f"{arguments.pool} of {arguments.cluster}" if arguments.pool else arguments.cluster
    return Plan(
        headline=f"scale {what} to {' and '.join(parts)}",
        checks=tuple(seen),
        facts=facts,
        targets=(f"cluster {arguments.cluster}",) if steps else (),
        steps=steps,
        impact=impact if steps else Impact(reversible=True, cost_per_hour_usd=0.0),
        details=details,
    )


def _table(every: Sequence[Change]) -> Table:
    rows = [(pool.short, pool.type, pool.zone or "spread", f"{pool.count} → {to}") for pool, to in every]
    return Table(header=("Pool", "Type", "Zone", "Machines"), rows=tuple(rows))


def back_to(place: Json, scaled: ScaleStep) -> Json:
    """The arguments of a `cluster scale` that puts the numbers back; `place` are those that say which cluster."""
    plane = [count for count in scaled.counts if count.pool == "control-plane"]
    pools = [count for count in scaled.counts if count.pool != "control-plane"]
    one = pools[0].pool if len(pools) == 1 else None
    workers = sum(count.was for count in pools) + (0 if one else scaled.beside) if pools else None
    return {**place, "workers": workers, "pool": one, "control_plane": plane[0].was if plane else None}


def _command_back(arguments: ScaleArguments, wanted: Sequence[Change]) -> str:
    """By hand, on the management cluster."""
    return "\n".join(
        f"kubectl scale --namespace {arguments.namespace} {pool.kind.resource} {pool.holder} --replicas {pool.count}"
        if pool.path == "/spec/replicas"
        else f"kubectl edit --namespace {arguments.namespace} {pool.kind.resource} {pool.holder}  # {pool.path}"
        for pool, _ in wanted
    )


OPERATIONS = (ClusterScale(),)
