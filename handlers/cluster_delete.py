"""`cluster delete`: the Cluster object is deleted and the controllers take away the rest, in their order.

Only the Cluster is ever asked to go: deleting its parts first leaves paid machines behind, and so does taking off
finalizers. What a failed try left without a Cluster object is deleted piece by piece. (kubernetes-sigs/cluster-api,
internal/controllers/cluster, reconcileDelete.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from handlers.clients.aws_errors import Denied
from handlers.cluster_objects import ClusterObjects
from handlers.cluster_place import ACCOUNT, PlaceArguments, account_check
from handlers.cluster_reading import NAME_LABEL, read_cluster
from handlers.conditions import created, is_deleted, mapping_at, name_of, text
from handlers.contract import (
    Action,
    Check,
    Fact,
    Impact,
    Json,
    Kind,
    KubeRead,
    Offer,
    Operation,
    Plan,
    ReadWorld,
    Right,
    Step,
    Table,
)  # fmt: skip
from handlers.delete_checks import (
    begun_check,
    gc_check,
    identity_check,
    looked_check,
    paused_check,
    services_check,
    subnets_check,
    volumes_check,
)
from handlers.delete_inventory import Inventory, inventory, policies
from handlers.kinds import (
    AWS_CLUSTER,
    AWS_MACHINE_TEMPLATE,
    CLUSTER,
    CONTROL_PLANE,
    KUBEADM_TEMPLATE,
    MACHINE,
    MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
)  # fmt: skip
from handlers.leftover_words import again, offer, told
from handlers.leftovers import Leftovers, look
from handlers.preflight import per_hour
from handlers.steps.apply import CONFIG
from handlers.steps.delete_cluster import DeleteClusterStep, came_back, uid_of
from handlers.steps.remove import RemoveStep, Seen
from handlers.subnet_checks import blocks, passes
from handlers.subnet_scope import Where, enter

PARTS = (MACHINE_DEPLOYMENT, MACHINE_HEALTH_CHECK, CONTROL_PLANE, AWS_MACHINE_TEMPLATE, KUBEADM_TEMPLATE, AWS_CLUSTER)
"""What belongs to a cluster beside the Cluster object, in the order in which leftovers go."""
VOLUMES = "volumes"
"""The fact that says by EBS volume what its PersistentVolume wanted to become of it."""


class DeleteArguments(PlaceArguments):
    """Which cluster."""


class ClusterDelete(Operation[DeleteArguments]):
    """Deletes a cluster with its machines and load balancers. It cannot be undone."""

    name = "cluster delete"
    ends = ("cluster create", "subnet tag")
    approvals = 2
    typed_again = "cluster"
    summary = "Delete a cluster, with its machines"
    examples = ("cluster delete demo", "cluster delete shop --namespace platform")
    arguments = DeleteArguments

    def plan(self, arguments: DeleteArguments, world: ReadWorld) -> Plan:
        """Looks at the cluster, at what would hold its deletion, and at what would stay behind."""
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        kube = world.management()
        found = None if right_account.blocks else read_cluster(kube, arguments.cluster, arguments.namespace)
        if found is None:
            return _plan_of_parts(arguments, right_account, kube, world)
        begun = is_deleted(found.cluster)
        right_place = _place_check(found, where, world)
        left = Leftovers(found.name) if right_place.blocks else look(aws, found.name, where.region)
        inside = Inventory(unasked="It is being deleted.") if begun else _inside(arguments, world)
        seen = (
            right_account,
            right_place,
            *begun_check(found, world.now()),
            paused_check(found),
            identity_check(found, kube),
            gc_check(found),
            services_check(inside, left, found.name, begun=begun),
            volumes_check(inside, left),
            *(() if right_place.blocks else subnets_check(found, aws)),
            *looked_check(left, world, where.account),
        )
        blocked = any(check.blocks for check in seen)
        return Plan(
            headline=f"delete cluster {arguments.cluster}",
            checks=seen,
            facts=(Fact(name=VOLUMES, value=dict(policies(inside)), material=False),),
            targets=(f"cluster {arguments.cluster}",),
            steps=() if blocked else (_step(arguments, found, where, world),),
            impact=_impact(found, where, blocked=blocked),
            details=_table(found, inside, left),
        )

    def verify(self, arguments: DeleteArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Looks for the Cluster, for machines of it and for what it left in AWS anew."""
        kube = world.management()
        title, name = "Cluster and machines gone", "verify gone"
        found = read_cluster(kube, arguments.cluster, arguments.namespace)
        another = found is not None and uid_of(found) not in _uids(plan)
        since = created(found.cluster) if found is not None and another else None
        left = [
            _called(item)
            for kind in (MACHINE, *PARTS)
            for item in kube.pages(kind, arguments.namespace, f"{NAME_LABEL}={arguments.cluster}")
            if since is None or (created(item) or 0.0) < since
        ]
        if found is not None and not another:
            left.insert(0, f"Cluster {arguments.cluster}")
        if left:
            return [
                blocks(name, title, f"Still there: {', '.join(left[:6])}.", "Its controllers have to take it away.")
            ]
        if found is not None and another:
            unasked = "What the old one left in AWS cannot be told from what the new one has."
            return [passes(name, title, f"{came_back(found, world.now())} {unasked}")]
        gone = passes(name, title, f"No Cluster {arguments.cluster} and no part of it is there any more.")
        return [gone, _leftovers_check(arguments, world)]

    def follow_up(self, arguments: DeleteArguments, plan: Plan, world: ReadWorld) -> tuple[Offer, ...]:
        """Cleaning up what it left, where it left something and no cluster of that name is there."""
        if read_cluster(world.management(), arguments.cluster, arguments.namespace) is not None:
            return ()
        left = _left_in_aws(arguments, world)
        known: Any = next((fact.value for fact in plan.facts if fact.name == VOLUMES), {})
        deleted = frozenset(name for name, policy in known.items() if policy == "Delete")
        return offer(left, arguments.place, deleted) if left else ()


def _place_check(found: ClusterObjects, where: Where, world: ReadWorld) -> Check:
    """A cluster that goes has lost its AWSCluster at the end, and cannot say any more where it was."""
    if found.infrastructure is None:
        return passes("cluster-account", ACCOUNT, f"It has no AWSCluster: taken to be in {where.account}.")
    return account_check(found, where, world)


def _inside(arguments: DeleteArguments, world: ReadWorld) -> Inventory:
    return inventory(arguments.namespace, arguments.cluster, world)


def _left_in_aws(arguments: DeleteArguments, world: ReadWorld) -> Leftovers | None:
    where, right_account, aws = enter(arguments.account, arguments.region, world)
    return None if right_account.blocks else look(aws, arguments.cluster, where.region)


def _leftovers_check(arguments: DeleteArguments, world: ReadWorld) -> Check:
    """The cluster is gone, whatever is to be seen in AWS; where nobody could look, that is said."""
    title, name = "Leftovers in AWS", "verify leftovers"
    try:
        left, why = _left_in_aws(arguments, world), ""
    except Denied as error:
        left, why = None, error.message
    if left is None:
        why = why or "The credentials lead to another account than the settings say."
        return passes(name, title, f"Leftovers were not looked for in AWS: {why} {again(arguments.place)}")
    return passes(name, title, told(left, arguments.place))


def _uids(plan: Plan) -> set[str]:
    """The objects that a plan deletes."""
    steps = [step.model_dump(mode="json") for step in plan.steps]
    return {str(each.get("uid")) for step in steps for each in (step, *step.get("objects", []))}


# -- a cluster ---------------------------------------------------------------------------------------------------


def _step(arguments: DeleteArguments, found: ClusterObjects, where: Where, world: ReadWorld) -> Step:
    settings = world.clusters()
    place = {"account": where.account, "region": where.region}
    right = Right(verb="delete", resource=CLUSTER.resource, namespace=arguments.namespace, name=arguments.cluster)
    return DeleteClusterStep(
        title="delete the Cluster object, and wait until everything is gone",
        targets=(f"cluster {arguments.cluster}",),
        actions=(Action(name="ec2:DescribeNetworkInterfaces", **place),),
        rights=(right,),
        namespace=arguments.namespace,
        cluster=arguments.cluster,
        uid=uid_of(found),
        patience=settings.no_progress,
        grace=settings.failure_grace,
        **place,
    )


def _impact(found: ClusterObjects, where: Where, *, blocked: bool) -> Impact:
    if blocked:
        return Impact(reversible=False)
    types = _types(found)
    count = Counter(types.values())
    cost = per_hour({kind: (kind, -number) for kind, number in count.items()}, where.region)
    machines = [f"{name} ({kind})" if kind else name for name, kind in types.items()]
    return Impact(
        deletes=(f"Cluster {found.name}", *(f"Machine {machine}" for machine in machines)),
        reversible=False,
        cost_per_hour_usd=cost,
    )


def _types(found: ClusterObjects) -> dict[str, str]:
    """The instance type of each machine, empty where it is not known."""
    types = {name_of(item): text(item, "spec", "instanceType") for item in found.infrastructure_machines}
    return {name_of(item): types.get(text(item, "spec", "infrastructureRef", "name"), "") for item in found.machines}


def _table(found: ClusterObjects, inside: Inventory, left: Leftovers) -> Table:
    """What goes and what stays, for ten seconds: the services that stand in the way first."""
    rows = [(f"Service {service.namespace}/{service.name}", "in the way", service.host) for service in inside.services]
    rows += [(f"Cluster {found.name}", "deleted", text(found.cluster, "spec", "controlPlaneEndpoint", "host"))]
    rows += [(f"Machine {name}", "goes with it", kind) for name, kind in _types(found).items()]
    rows += [(f"Volume {volume.claim or volume.name}", "stays, and costs", volume.called) for volume in inside.volumes]
    known = {volume.id for volume in inside.volumes}
    rows += [
        (f"Volume {item.name or item.id}", "stays, and costs", item.size)
        for item in left.of("volume")
        if item.id not in known
    ]
    return Table(header=("Object", "Change", "What"), rows=tuple(rows))


# -- what a failed try left --------------------------------------------------------------------------------------


def _plan_of_parts(arguments: DeleteArguments, right_account: Check, kube: KubeRead, world: ReadWorld) -> Plan:
    """Objects without a Cluster; none, and there is nothing to do."""
    parts = [] if right_account.blocks else _parts(arguments, kube)
    return Plan(
        headline=f"delete cluster {arguments.cluster}",
        checks=(right_account,),
        facts=(),
        targets=(f"cluster {arguments.cluster}",),
        steps=(_step_of_parts(arguments, parts, world),) if parts else (),
        impact=Impact(deletes=tuple(map(_called, parts)), reversible=False, cost_per_hour_usd=None if parts else 0.0),
        details=_table_of_parts(parts),
    )


def _step_of_parts(arguments: DeleteArguments, parts: Sequence[Json], world: ReadWorld) -> RemoveStep:
    objects = tuple(
        Seen(
            resource=_kind(item).resource, namespace=arguments.namespace, name=name_of(item),
            uid=text(item, "metadata", "uid"),
        )
        for item in parts
    )  # fmt: skip
    return RemoveStep(
        title=f"delete the {len(parts)} objects that an earlier try left",
        targets=(f"cluster {arguments.cluster}",),
        rights=tuple(
            Right(verb="delete", resource=seen.resource, namespace=seen.namespace, name=seen.name) for seen in objects
        ),
        objects=objects,
        patience=world.clusters().no_progress,
    )


def _parts(arguments: DeleteArguments, kube: KubeRead) -> list[Json]:
    """Objects of the bot's own making that are named as the cluster's parts are, and have no Cluster."""
    found: list[Json] = []
    for kind in PARTS:
        for item in kube.pages(kind, arguments.namespace):
            if CONFIG in mapping_at(item, "metadata", "annotations") and _is_part(
                kind, name_of(item), arguments.cluster
            ):
                found.append({**item, "kind": kind.name})
    return found


def _is_part(kind: Kind, name: str, cluster: str) -> bool:
    """The whole name has to fit, for its kind: `demo-2` may be a cluster of its own, and so may `demo-md-0`."""
    if kind in (AWS_CLUSTER, MACHINE_HEALTH_CHECK):
        return name == cluster
    pool = "md-[0-9]+"
    part = {CONTROL_PLANE: "control-plane", AWS_MACHINE_TEMPLATE: f"(control-plane|{pool})"}.get(kind, pool)
    return re.fullmatch(f"{re.escape(cluster)}-{part}", name) is not None


def _table_of_parts(parts: Sequence[Json]) -> Table | None:
    return (
        Table(header=("Object", "Change"), rows=tuple((_called(item), "deleted") for item in parts)) if parts else None
    )


def _kind(item: Json) -> Kind:
    return next(kind for kind in PARTS if kind.name == item.get("kind"))


def _called(item: Json) -> str:
    return f"{text(item, 'kind')} {name_of(item)}"


OPERATIONS = (ClusterDelete(),)
