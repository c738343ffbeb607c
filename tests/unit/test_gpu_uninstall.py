"""`gpu uninstall`: what this bot installed goes, in an order in which the operator can clean up; nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from handlers.contract import Fatal, Plan
from handlers.gpu_uninstall import GpuUninstall, UninstallArguments, holds_gpu
from tests.unit.clouds import Cloud
from tests.unit.gpu_worlds import CLUSTER, THERE, GpuWorld, Workload, rights_of, running_gpus
from tests.unit.insides import DRIVER, TAINT, job, namespace

pytestmark = pytest.mark.long

WORDS = UninstallArguments(cluster=CLUSTER)


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("gpus")) as made:
        yield made


@pytest.fixture
def world(standing: GpuWorld) -> GpuWorld:
    """What this bot installed on a GPU node."""
    place = standing.serve(Workload())
    place.node("plain", "t3.large")
    place.node("gpu-0", taints=[TAINT])
    standing.run(standing.plan("gpu install"))
    return standing


def test_three_waves_with_a_right_for_each_object_and_no_more(world: GpuWorld) -> None:
    plan = world.plan("gpu uninstall")
    assert [step.kind for step in plan.steps] == ["remove"] * 3
    for step in plan.steps:
        seen = step.model_dump()["objects"]
        assert rights_of(step) == {("delete", o["resource"], o["namespace"], o["name"], THERE) for o in seen}
        assert all(o["uid"] for o in seen)
    first, _, last = ({o["resource"] for o in step.model_dump()["objects"]} for step in plan.steps)
    assert first == {"clusterpolicies.nvidia.com"}
    assert last == {"customresourcedefinitions.apiextensions.k8s.io", "namespaces"}
    assert "28 objects carry its mark" in next(check.evidence for check in plan.checks if check.id == "ours")
    assert len(plan.impact.deletes) == 28


def test_a_run_takes_everything_away_the_operands_first(world: GpuWorld) -> None:
    plan = world.plan("gpu uninstall")
    assert world.place.pods(DRIVER)
    world.act(plan.steps[0])
    assert world.place.pods(DRIVER) == []
    assert world.place.get("deployments.apps", "gpu-operator", "gpu-operator"), "it had to be there for that"
    world.run(plan)
    assert world.proof("gpu uninstall", plan)["verify gone"].result == "pass"
    assert world.place.allocatable("gpu-0") in (None, "0")
    assert world.plan("gpu uninstall").steps == ()
    back = GpuUninstall().inverse(WORDS, Plan.model_validate(plan.model_dump(mode="json")), [0])
    assert back is not None
    assert (back.operation, back.arguments["operator_version"], back.arguments["driver_version"]) == (
        "gpu install", "v26.7.0", "595.91.07",
    )  # fmt: skip
    assert GpuUninstall().inverse(WORDS, plan, []) is None


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_step_without_one_of_its_rights_stops_there(world: GpuWorld, position: int) -> None:
    step = world.plan("gpu uninstall").steps[position]
    with pytest.raises(Fatal, match="The plan does not declare to delete"):
        world.act(step.model_copy(update={"rights": step.rights[1:]}))


def test_what_others_installed_is_left_alone(standing: GpuWorld) -> None:
    standing.serve(Workload().begun())
    plan = standing.plan("gpu uninstall")
    check = next(check for check in plan.checks if check.id == "ours")
    assert (check.result, check.evidence) == (
        "block", "There is a GPU operator in gpu-operator that somebody else installed.",
    )  # fmt: skip
    assert plan.steps == ()


def test_the_label_alone_makes_nothing_ours(world: GpuWorld) -> None:
    """Whoever labels their own ConfigMap so does not lose it."""
    theirs: dict[str, Any] = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
        "metadata": {"name": "precious", "namespace": "default", "labels": {"tkgbot/part": "gpu"}},
    }  # fmt: skip
    world.place.apply(theirs)
    plan = world.plan("gpu uninstall")
    assert "precious" not in str(plan)
    world.run(plan)
    assert world.place.get("configmaps", "precious", "default")


def test_an_object_that_was_made_anew_under_the_name_is_not_deleted(world: GpuWorld) -> None:
    plan = world.plan("gpu uninstall")
    world.act(plan.steps[0])
    world.place.store.delete("serviceaccounts", "gpu-operator", "gpu-operator")
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "gpu-operator", "namespace": "gpu-operator"},
    }
    world.place.apply(account)
    world.act(plan.steps[1])
    assert world.place.get("serviceaccounts", "gpu-operator", "gpu-operator")
    assert world.see(plan.steps[1]).so


def test_pods_that_hold_gpus_are_named(world: GpuWorld) -> None:
    world.place.faults.pace = 1.0
    world.place.apply(job("training", "gpu-0", tolerations=[{"operator": "Exists"}]))
    world.place.go(0.5)
    check = world.checks("gpu uninstall")["users"]
    assert check.result == "warn"
    assert check.evidence.startswith("default/training-")
    assert "talk to their owners" in check.fix
    assert not world.plan("gpu uninstall").blocked


def test_a_namespace_that_the_team_made_stays(standing: GpuWorld) -> None:
    place = standing.serve(Workload())
    place.node("plain", "t3.large")
    place.apply(namespace())
    standing.run(standing.plan("gpu install"))
    standing.run(standing.plan("gpu uninstall"))
    assert place.get("namespaces", "gpu-operator")


def test_nothing_there_is_nothing_to_do(standing: GpuWorld) -> None:
    standing.serve(Workload()).node("plain", "t3.large")
    plan = standing.plan("gpu uninstall")
    assert (plan.blocked, plan.steps, plan.details) == (False, (), None)


@pytest.mark.parametrize(
    ("limit", "holds"), [(1, True), ("2", True), (0, False), ("x", False), (None, False), (-1, False)]
)
def test_who_holds_a_gpu(limit: Any, holds: bool) -> None:
    assert holds_gpu({"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": limit}}}]}}) is holds
