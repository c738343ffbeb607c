"""`cluster scale`: which numbers are meant, what has to hold, the numbers written, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from handlers.cluster_pools import LEAST, MOST
from handlers.cluster_scale import ClusterScale, ScaleArguments
from handlers.conditions import name_of
from handlers.contract import Check, Fatal, Plan, UsageError
from handlers.kinds import CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT, kind_of
from handlers.steps.await_cluster import is_reached
from tests.unit.clouds import REGION, Cloud
from tests.unit.gpu_worlds import CLUSTER as NAME
from tests.unit.gpu_worlds import GpuWorld, Workload, cluster_objects, rights_of, running_gpus
from tests.unit.living import by_id
from tests.unit.preflights import pool
from tests.unit.seen_clusters import NEW, OLD, control_plane, deployment, whole

pytestmark = pytest.mark.long

MD, GPU, PLANE = "vision-md-0", "vision-md-gpu", "vision-control-plane"


@pytest.fixture(scope="module", params=["current", "legacy"])
def standing(request: Any, standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("scale"), request.param) as made:
        made.serve(Workload())
        yield made


@pytest.fixture
def world(standing: GpuWorld) -> Iterator[GpuWorld]:
    yield standing
    standing.cloud.sandbox.set_faults({"quota": []})
    for name in (MD, GPU):
        standing.kube.change(
            MACHINE_DEPLOYMENT, name, {"spec": {"replicas": 1}, "metadata": {"annotations": {LEAST: None, MOST: None}}}
        )
    standing.kube.change(CONTROL_PLANE, PLANE, {"spec": {"replicas": 1}})
    standing.kube.change(CLUSTER, NAME, {"spec": {"paused": False}})


def planned(world: GpuWorld, **more: Any) -> tuple[Plan, dict[str, Check]]:
    plan = world.plan("cluster scale", **more)
    return plan, by_id(plan.checks)


def rows(plan: Plan) -> list[tuple[str, ...]]:
    assert plan.details is not None
    return [(row[0], row[3]) for row in plan.details.rows]


def number(world: GpuWorld, kind: Any, name: str) -> int:
    found = world.kube.find(kind, name)
    assert found is not None
    count: int = found["spec"]["replicas"]
    return count


def back(plan: Plan, *touched: int, **more: Any) -> Any:
    """The arguments of what takes it back, from the plan as it is stored."""
    words = ScaleArguments(cluster=NAME, **more)
    inverse = ClusterScale().inverse(words, Plan.model_validate(plan.model_dump(mode="json")), touched or (0,))
    return None if inverse is None else {key: inverse.arguments[key] for key in ("workers", "pool", "control_plane")}


# -- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "does not say how many"),
        ({"pool": "md-0"}, "does not say how many"),
        ({"pool": "md-0", "control_plane": 3}, "names a pool and not how many machines"),
        ({"control_plane": 2}, "asks for an even number of control plane machines: etcd needs an odd one"),
        ({"control_plane": 4}, "even number"),
        ({"control_plane": 0}, "greater than or equal to 1"),
        ({"control_plane": 9}, "less than or equal to 7"),
        ({"workers": -1}, "greater than or equal to 0"),
        ({"workers": 501}, "less than or equal to 500"),
    ],
)
def test_words_that_mean_nothing(words: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScaleArguments.model_validate({"cluster": NAME, **words})


# -- what is planned ---------------------------------------------------------------------------------------------


def test_a_total_is_of_the_ordinary_pools_alone(world: GpuWorld) -> None:
    plan, _ = planned(world, workers=3)
    assert rows(plan) == [("md-0", "1 → 3")]
    assert plan.headline == "scale vision to 3 workers"
    step, wait = plan.steps
    assert rights_of(step) == {("patch", "machinedeployments.cluster.x-k8s.io", "default", MD, "")}
    assert (rights_of(wait), wait.model_dump()["counts"]) == (set(), {MD: 3})
    assert plan.impact.creates == ("m5.large (md-0)",) * 2
    assert plan.impact.cost_per_hour_usd == pytest.approx(0.192)
    assert (
        plan.impact.undo == f"kubectl scale --namespace default machinedeployments.cluster.x-k8s.io {MD} --replicas 1"
    )


def test_a_gpu_pool_by_its_name_with_quota_and_cost(world: GpuWorld) -> None:
    plan, checks = planned(world, workers=3, pool="md-gpu")
    assert rows(plan) == [("md-gpu", "1 → 3")]
    assert checks["quota-g-and-vt"].evidence.startswith("Limit 64, used 0, free 64; needed 8, ")
    assert checks["gpu"].evidence == "g4dn.xlarge: 1 × T4, 16 GiB."
    assert "quota-standard" not in checks, "only what is new is asked about"
    assert plan.impact.cost_per_hour_usd == pytest.approx(1.052)
    world.cloud.sandbox.set_faults({"quota": ["L-DB2E81BA=4"]})
    plan, checks = planned(world, workers=3, pool="md-gpu")
    assert (checks["quota-g-and-vt"].result, plan.steps) == ("block", ())


def test_fewer_machines_need_no_room(world: GpuWorld) -> None:
    world.cloud.sandbox.set_faults({"quota": ["L-DB2E81BA=0"]})
    plan, checks = planned(world, workers=0, pool="md-gpu")
    assert not [name for name in checks if name.startswith("quota")]
    assert plan.impact.deletes == ("g4dn.xlarge (md-gpu)",)
    assert plan.impact.cost_per_hour_usd == pytest.approx(-0.526)
    assert len(plan.steps) == 2


def test_as_many_as_there_are_is_nothing_to_do(world: GpuWorld) -> None:
    plan, _ = planned(world, workers=1)
    assert (plan.steps, plan.blocked) == ((), False)


def test_the_control_plane(world: GpuWorld) -> None:
    plan, checks = planned(world, control_plane=3)
    assert rights_of(plan.steps[0]) == {("patch", CONTROL_PLANE.resource, "default", PLANE, "")}
    assert checks["control-plane"].evidence == "3 machines with an etcd of its own."
    world.kube.change(CONTROL_PLANE, PLANE, {"spec": {"replicas": 3}})
    _, checks = planned(world, control_plane=1)
    assert checks["control-plane"].result == "warn"
    assert "the loss of that one is the cluster's" in checks["control-plane"].evidence


@pytest.mark.parametrize(
    ("to", "result", "said"), [(3, "warn", "It may change 3 again by itself."), (6, "block", "It would undo 6")]
)
def test_an_autoscalers_bounds_are_respected(world: GpuWorld, to: int, result: str, said: str) -> None:
    world.kube.change(MACHINE_DEPLOYMENT, MD, {"metadata": {"annotations": {LEAST: "1", MOST: "5"}}})
    plan, checks = planned(world, workers=to)
    check = checks["autoscaler"]
    assert (check.result, check.evidence) == (result, "An autoscaler keeps md-0 between 1 to 5 machines.")
    assert check.fix.startswith(said)
    assert bool(plan.steps) is (result == "warn")


def test_a_pool_or_cluster_that_is_not_there(world: GpuWorld) -> None:
    with pytest.raises(UsageError, match="The cluster vision has no pool `md-7`"):
        planned(world, workers=1, pool="md-7")
    _, checks = planned(world, workers=1, namespace="platform")
    assert checks["cluster"].evidence == "There is no cluster vision in namespace platform."
    world.kube.change(CLUSTER, NAME, {"spec": {"paused": True}})
    plan, checks = planned(world, workers=3)
    assert (checks["cluster"].result, plan.steps) == ("block", ())
    assert "is paused, so its controllers do nothing" in checks["cluster"].evidence


# -- carried out -------------------------------------------------------------------------------------------------


def test_the_numbers_are_written_once(world: GpuWorld) -> None:
    step = planned(world, workers=3, control_plane=3)[0].steps[0]
    assert world.act(step).evidence == "Scaled control-plane from 1 to 3, md-0 from 1 to 3."
    assert (number(world, MACHINE_DEPLOYMENT, MD), number(world, CONTROL_PLANE, PLANE)) == (3, 3)
    assert number(world, MACHINE_DEPLOYMENT, GPU) == 1
    assert world.see(step).so
    assert not world.act(step).changed


def test_a_number_that_somebody_else_changed_meanwhile_is_left_alone(world: GpuWorld) -> None:
    step = planned(world, workers=2)[0].steps[0]
    world.kube.change(MACHINE_DEPLOYMENT, MD, {"spec": {"replicas": 5}})
    with pytest.raises(Fatal, match="md-0 had 1 machines when this was asked for, and it is 5 now; it was left alone"):
        world.act(step)
    assert number(world, MACHINE_DEPLOYMENT, MD) == 5


def test_what_was_scaled_before_it_is_told(world: GpuWorld) -> None:
    step = planned(world, workers=2, control_plane=3)[0].steps[0]
    world.kube.change(MACHINE_DEPLOYMENT, MD, {"spec": {"replicas": 5}})
    with pytest.raises(Fatal, match="Scaled before it: control-plane from 1 to 3"):
        world.act(step)


def test_a_step_with_another_pools_right_writes_nothing(world: GpuWorld) -> None:
    step = planned(world, workers=2)[0].steps[0]
    other = planned(world, workers=2, pool="md-gpu")[0].steps[0]
    with pytest.raises(Fatal, match="The plan does not declare to patch"):
        world.act(step.model_copy(update={"rights": other.rights}))
    assert number(world, MACHINE_DEPLOYMENT, MD) == 1


def test_the_proof_counts_machines_anew_and_asks_the_cluster_for_its_nodes(world: GpuWorld) -> None:
    place = world.serve(Workload())
    plan, _ = planned(world, workers=2)
    world.act(plan.steps[0])
    found = world.proof("cluster scale", plan, workers=2)["verify counts"]
    assert (found.result, f"{MD}: " in found.evidence) == ("block", True)
    new = "upToDateReplicas" if world.seen_version() == NEW else "updatedReplicas"
    for kind, name, count in ((MACHINE_DEPLOYMENT, MD, 2), (MACHINE_DEPLOYMENT, GPU, 1), (CONTROL_PLANE, PLANE, 1)):
        counters = {"replicas": count, "readyReplicas": count, new: count}
        world.kube.change(kind, name, {"status": counters}, status=True)
    for number in range(3):
        place.node(f"node-{number}", "m5.large")
    lacking = world.proof("cluster scale", plan, workers=2)
    assert lacking["verify counts"].result == "pass"
    assert (lacking["verify nodes"].result, lacking["verify nodes"].evidence) == (
        "block", "3 of 4 nodes of vision are Ready, seen in the cluster itself.",
    )  # fmt: skip
    place.node("node-3", "m5.large")
    assert world.proof("cluster scale", plan, workers=2)["verify nodes"].result == "pass"


# -- put back ----------------------------------------------------------------------------------------------------


def test_the_way_back_of_one_pool_and_of_the_control_plane(world: GpuWorld) -> None:
    plan, _ = planned(world, workers=3, pool="md-gpu", control_plane=3)
    assert back(plan, workers=3, pool="md-gpu") == {"workers": 1, "pool": "md-gpu", "control_plane": 1}
    assert back(plan, 1, workers=3, pool="md-gpu") is None, "waiting changed nothing"


@pytest.mark.parametrize(("before", "total"), [((2, 2, 2), 8), ((1, 1, 1), 4)])
def test_the_way_back_of_a_total_is_the_total_that_was(
    standing_cloud: Cloud, tmp_path: Any, before: tuple[int, ...], total: int
) -> None:
    """Also where some pools kept their number."""
    workers = [pool(f"md-{n}", f"{REGION}{'abc'[n]}", count=count) for n, count in enumerate(before)]
    with running_gpus(standing_cloud, tmp_path) as world:
        for item in cluster_objects(standing_cloud, "current", pool("control-plane", type="t3.large"), *workers):
            if world.kube.find(kind_of(item), name_of(item)) is None:
                world.kube.put(item)
        world.kube.change(MACHINE_DEPLOYMENT, MD, {"spec": {"replicas": before[0]}})
        world.kube.drop(MACHINE_DEPLOYMENT, GPU)
        plan, _ = planned(world, workers=total)
        world.act(plan.steps[0])
        assert sum(number(world, MACHINE_DEPLOYMENT, f"vision-md-{n}") for n in range(3)) == total
        undo = {key: value for key, value in back(plan, workers=total).items() if value is not None}
        world.act(planned(world, **undo)[0].steps[0])
        assert tuple(number(world, MACHINE_DEPLOYMENT, f"vision-md-{n}") for n in range(3)) == before


# -- waited for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [OLD, NEW])
@pytest.mark.parametrize(
    ("desired", "ready", "new", "reached"), [(3, 3, 3, True), (3, 2, 3, False), (3, 3, 2, False), (2, 2, 2, False)]
)
def test_so_when_just_so_many_are_ready_and_up_to_date(
    generation: str, desired: int, ready: int, new: int, reached: bool
) -> None:
    found = whole(generation, deployments=(deployment(generation, desired, ready, new),))
    assert is_reached(found, "scaled", {"demo-md-0": 3}) is reached
    assert not is_reached(found, "scaled", {"demo-md-7": 3})
    plane = whole(generation, control_plane=control_plane(generation, desired, ready, new))
    assert is_reached(plane, "scaled", {"demo-control-plane": 3}) is reached
