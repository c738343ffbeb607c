"""A cluster's pools as they stand: where their number is written, in every shape, and how workers are divided."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.cluster_objects import ClusterObjects
from handlers.cluster_pools import LEAST, MOST, TOPOLOGY_NAME, LivePool, control_plane_of, divided, named, pools_of
from handlers.contract import UsageError
from handlers.kinds import AWS_MACHINE_TEMPLATE, CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT
from tests.unit.seen_clusters import GENERATIONS, OLD, annotated, changed, cluster, control_plane, deployment, whole

Obj = dict[str, Any]
TYPES = {"demo-control-plane": "t3.large", "demo-md-0": "m5.large", "demo-md-gpu": "g4dn.xlarge"}


class Templates:
    """A management cluster of which only the machine templates are asked."""

    def get(self, kind: Any, name: str, namespace: str = "") -> Obj | None:
        assert (kind, namespace) == (AWS_MACHINE_TEMPLATE, "default")
        if name not in TYPES:
            return None
        return {"spec": {"template": {"spec": {"instanceType": TYPES[name]}}}}


KUBE: Any = Templates()


def pool(name: str, count: int | None = 2, generation: str = OLD, **spec: Any) -> Obj:
    """A MachineDeployment with the template of its own name."""
    made = deployment(generation, name=name)
    machine = {"infrastructureRef": {"name": name}, "failureDomain": "us-east-1a"}
    made["spec"] = {"template": {"spec": machine}, **({} if count is None else {"replicas": count}), **spec}
    return made


def plane(generation: str, count: int = 3) -> Obj:
    """A control plane whose template stands where its generation has it."""
    made = control_plane(generation, count)
    reference = {"infrastructureRef": {"name": "demo-control-plane"}}
    made["spec"]["machineTemplate"] = reference if generation == OLD else {"spec": reference}
    return made


def topology(generation: str, *entries: Obj, masters: int | None = 3) -> Obj:
    control = {} if masters is None else {"controlPlane": {"replicas": masters}}
    wanted = {"class": "aws", "workers": {"machineDeployments": list(entries)}, **control}
    return changed(cluster(generation), "spec", "topology", value=wanted)


def of_topology(name: str, short: str, count: int | None) -> Obj:
    made = pool(name, count)
    made["metadata"]["labels"] = {TOPOLOGY_NAME: short}
    return made


def only(found: ClusterObjects) -> LivePool:
    (one,) = pools_of(found, KUBE)
    return one


# -- where the number stands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_pool_and_a_control_plane_of_either_generation(generation: str) -> None:
    pools = (pool("demo-md-gpu", 1, generation), pool("demo-md-0", 2, generation))
    found = whole(generation, deployments=pools, control_plane=plane(generation))
    ordinary, gpus = pools_of(found, KUBE)
    assert (ordinary.name, ordinary.short, ordinary.count, ordinary.type) == ("demo-md-0", "md-0", 2, "m5.large")
    assert (gpus.short, gpus.has_gpus, ordinary.has_gpus, gpus.zone) == ("md-gpu", True, False, "us-east-1a")
    assert (ordinary.kind, ordinary.holder, ordinary.path, ordinary.tests) == (
        MACHINE_DEPLOYMENT, "demo-md-0", "/spec/replicas", (),
    )  # fmt: skip
    control = control_plane_of(found, KUBE)
    assert control is not None
    assert (control.kind, control.holder, control.path) == (CONTROL_PLANE, "demo-control-plane", "/spec/replicas")
    assert (control.count, control.type, control.is_control_plane, ordinary.is_control_plane) == (
        3,
        "t3.large",
        True,
        False,
    )


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_cluster_of_a_class_keeps_its_numbers_in_the_cluster(generation: str) -> None:
    entries = ({"name": "other", "replicas": 5}, {"name": "gpus", "replicas": 1})
    found = whole(
        generation, cluster=topology(generation, *entries), deployments=(of_topology("demo-gpus-x7k2p", "gpus", 1),),
        control_plane=plane(generation),
    )  # fmt: skip
    one = only(found)
    assert (one.name, one.short, one.kind, one.holder) == ("demo-gpus-x7k2p", "gpus", CLUSTER, "demo")
    base = "/spec/topology/workers/machineDeployments/1"
    assert (one.path, one.count) == (f"{base}/replicas", 1)
    assert one.tests == ({"op": "test", "path": f"{base}/name", "value": "gpus"},)
    control = control_plane_of(found, KUBE)
    assert control is not None
    assert (control.kind, control.holder, control.count) == (CLUSTER, "demo", 3)
    assert control.path == "/spec/topology/controlPlane/replicas"
    assert control.is_control_plane


def test_what_a_topology_leaves_to_others_is_the_deployments_own() -> None:
    found = whole(
        OLD, cluster=topology(OLD, {"name": "gpus"}, masters=None), control_plane=plane(OLD, 1),
        deployments=(of_topology("demo-gpus-x7k2p", "gpus", 4),),
    )  # fmt: skip
    assert (only(found).kind, only(found).count, only(found).path) == (MACHINE_DEPLOYMENT, 4, "/spec/replicas")
    control = control_plane_of(found, KUBE)
    assert control is not None
    assert (control.kind, control.count) == (CONTROL_PLANE, 1)


def test_what_nobody_says_is_not_known() -> None:
    assert only(whole(OLD, deployments=(pool("demo-md-0", None),))).count is None
    assert only(whole(OLD, deployments=(pool("demo-unknown"),))).type == ""
    assert control_plane_of(whole(OLD, control_plane=None), KUBE) is None


@pytest.mark.parametrize(
    ("notes", "bounds"),
    [
        ({LEAST: "1", MOST: "5"}, (1, 5)),
        ({MOST: "5"}, (None, 5)),
        ({LEAST: "-1", MOST: "many"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_an_autoscalers_bounds(notes: dict[str, str], bounds: tuple[int | None, int | None]) -> None:
    one = only(whole(OLD, deployments=(annotated(pool("demo-md-0"), **notes),)))
    assert (one.least, one.most) == bounds


def test_an_autoscalers_bounds_in_a_topology() -> None:
    entry = {"name": "gpus", "replicas": 1, "metadata": {"annotations": {LEAST: "0", MOST: "3"}}}
    found = whole(OLD, cluster=topology(OLD, entry), deployments=(of_topology("demo-gpus-x7k2p", "gpus", 1),))
    assert (only(found).least, only(found).most) == (0, 3)


# -- names and shares --------------------------------------------------------------------------------------------


POOLS = pools_of(whole(OLD, deployments=tuple(pool(f"demo-md-{n}", 1) for n in range(3))), KUBE)


@pytest.mark.parametrize("word", ["md-1", "demo-md-1"])
def test_a_pool_by_either_name(word: str) -> None:
    assert named(POOLS, word, "demo").name == "demo-md-1"


def test_a_pool_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="The cluster demo has no pool `md-9`") as error:
        named(POOLS, "md-9", "demo")
    assert error.value.hint == "Its pools are: md-0, md-1, md-2."
    with pytest.raises(UsageError) as error:
        named((), "md-9", "demo")
    assert error.value.hint == "Its pools are: none."


@pytest.mark.parametrize(
    ("total", "shares"), [(3, [1, 1, 1]), (4, [2, 1, 1]), (5, [2, 2, 1]), (6, [2, 2, 2]), (500, [167, 167, 166])]
)
def test_workers_are_divided_the_rest_to_the_first(total: int, shares: list[int]) -> None:
    assert list(divided(total, POOLS).values()) == shares


@pytest.mark.parametrize("total", [0, 1, 2])
def test_fewer_than_pools_cannot_be_divided(total: int) -> None:
    with pytest.raises(UsageError, match=f"{total} workers are fewer than the 3 pools"):
        divided(total, POOLS)
