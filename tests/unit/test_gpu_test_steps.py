"""`gpu test`: what is planned, the steps with exactly their rights, and every way in which nodes change meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from handlers.contract import Board, Fatal, File, Plan, Sheet, UsageError
from handlers.gpu.job import job_name
from handlers.gpu.seen import VERDICT, verdict_of
from handlers.gpu_test import GpuTest
from handlers.gpu_test import TestArguments as Words
from handlers.kinds import MACHINE_DEPLOYMENT
from tests.unit.clouds import Cloud, asked
from tests.unit.gpu_worlds import CLUSTER, REQUEST, THERE, GpuWorld, Workload, rights_of, running_gpus
from tests.unit.insides import TAINT

pytestmark = pytest.mark.long

POOL = (MACHINE_DEPLOYMENT, "vision-md-gpu")


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("gpus"), test_timeout=60) as made:
        yield made


@pytest.fixture
def world(standing: GpuWorld) -> GpuWorld:
    """Two GPU nodes that can be used."""
    standing.serve(Workload().begun("g4dn.xlarge", "g4dn.xlarge"))
    return standing


def named(plan: Plan, *kinds: str) -> list[Any]:
    return [step for step in plan.steps if step.kind in kinds]


def verdicts(world: GpuWorld) -> dict[str, str]:
    """The verdict on each node."""
    found = {}
    for node in world.place.store.list("nodes"):
        verdict = verdict_of(node["metadata"].get("annotations", {}).get(VERDICT, ""))
        if verdict is not None:
            found[node["metadata"]["name"]] = f"{verdict.result} {verdict.request}"
    return found


# -- what is planned ---------------------------------------------------------------------------------------------


def test_all_nodes_are_proven_with_no_more_rights_than_that_needs(world: GpuWorld) -> None:
    plan = world.plan("gpu test")
    assert {check.result for check in plan.checks} == {"pass"}
    assert [step.kind for step in plan.steps] == ["gpu-test", "gpu-verdict", "gpu-clean"]
    names = [job_name(REQUEST, world.place.get("nodes", f"gpu-{n}")["metadata"]["uid"]) for n in (0, 1)]
    verbs = ("create", "patch", "delete")
    jobs = {verb: {(verb, "jobs.batch", "default", name, THERE) for name in names} for verb in verbs}
    run, write, clean = plan.steps
    assert rights_of(run) == jobs["create"] | jobs["patch"]
    assert rights_of(write) == {("patch", "nodes", "", f"gpu-{n}", THERE) for n in (0, 1)}
    assert rights_of(clean) == jobs["delete"]
    assert not any(step.actions for step in plan.steps)
    assert plan.headline == "test GPUs of vision on 2 nodes"
    assert plan.impact.cost_per_hour_usd == 0


def test_a_run_proves_every_node_shows_it_and_leaves_nothing(world: GpuWorld) -> None:
    plan = world.plan("gpu test")
    ran, written, cleaned = world.run(plan)
    assert (ran.evidence, written.evidence) == ("2 of 2 tests have ended.", "2 of 2 GPU nodes passed.")
    assert verdicts(world) == {"gpu-0": f"passed {REQUEST}", "gpu-1": f"passed {REQUEST}"}
    assert cleaned.evidence == "No Job of the test is left."
    assert world.place.store.list("jobs.batch") == world.place.pods("cuda-vector-add") == []
    sheet, board = written.exhibits
    assert isinstance(sheet, Sheet)
    assert sheet.title == "CUDA test of vision: 2 of 2 GPU nodes passed."
    assert sheet.table.rows[0][:6] == ("gpu-0", "passed", "Tesla-T4", "1", "595.91.07", "13.2")
    assert "WHY" not in sheet.table.header
    assert isinstance(board, Board)
    assert [(tile.title, tile.tone) for tile in board.tiles] == [("gpu-0", "good"), ("gpu-1", "good")]
    proof = world.proof("gpu test", plan)
    assert proof["verify gpu-0"].evidence.startswith("gpu-0 (Tesla-T4, driver 595.91.07): Test PASSED in ")
    again = world.plan("gpu test")
    assert {row[-1] for row in again.details.rows} == {"passed 0 s ago"}  # type: ignore[union-attr]


def test_a_second_walk_through_every_step_changes_nothing(world: GpuWorld) -> None:
    """As after a crash between a step and its record."""
    plan = world.plan("gpu test")
    for step in plan.steps:
        assert world.act(step).changed
        revision = world.place.store.memory.revision
        assert not world.act(step).changed
        assert world.place.store.memory.revision == revision


@pytest.mark.parametrize("kind", ["gpu-test", "gpu-verdict", "gpu-clean"])
def test_a_step_without_its_own_rights_does_nothing(world: GpuWorld, kind: str) -> None:
    plan = world.plan("gpu test")
    for step in plan.steps:
        if step.kind != kind:
            world.act(step)
            continue
        others = tuple(right for other in plan.steps if other.kind != kind for right in other.rights)
        before = world.place.store.memory.revision
        with pytest.raises(Fatal, match="The plan does not declare to"):
            world.act(step.model_copy(update={"rights": others}))
        assert world.place.store.memory.revision == before
        return


def test_some_nodes_the_untested_first(world: GpuWorld) -> None:
    world.run(world.plan("gpu test", nodes="1"))
    assert list(verdicts(world)) == ["gpu-0"]
    (step,) = named(world.plan("gpu test", nodes="1"), "gpu-test")
    assert step.nodes == ("gpu-1",)
    check = world.checks("gpu test", nodes="3")["gpus"]
    assert (check.result, check.evidence) == ("block", "2 GPU nodes can be used, and 3 were asked for.")


def test_a_node_that_cannot_be_used_blocks_and_the_others_are_offered(world: GpuWorld) -> None:
    node = world.place.get("nodes", "gpu-0")
    node["status"]["allocatable"]["nvidia.com/gpu"] = "0"
    world.place.store.update(node, status=True)
    plan = world.plan("gpu test")
    (check,) = [check for check in plan.checks if check.id == "gpus"]
    assert check.result == "block"
    assert check.evidence == "gpu-0: 0 of 1 GPUs are healthy, says the device plugin."
    assert check.fix.endswith("The others can be tested alone: --nodes 1.")
    assert plan.steps == ()
    assert [step.nodes for step in named(world.plan("gpu test", nodes="1"), "gpu-test")] == [("gpu-1",)]


def test_gpus_in_use_are_a_warning_with_their_holder(world: GpuWorld) -> None:
    container = {"name": "train", "image": "train:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "training", "namespace": "default"},
        "spec": {"nodeName": "gpu-1", "containers": [container]},
    }  # fmt: skip
    made = world.place.store.create(pod)
    world.place.store.update({**made, "status": {"phase": "Running"}}, status=True)
    check = world.checks("gpu test")["free"]
    assert (check.result, check.evidence) == ("warn", "gpu-1: all in use (default/training).")


def test_without_an_operator_or_without_gpu_nodes_nothing_can_be_tested(standing: GpuWorld) -> None:
    standing.serve(Workload()).node("gpu-0")
    assert standing.checks("gpu test")["gpus"].evidence == "None: the GPU operator is not installed."
    place = standing.serve(Workload())
    place.begun()
    place.store.delete("nodes", "gpu-0")
    place.inside.settle()
    check = standing.checks("gpu test")["gpus"]
    assert (check.result, check.evidence) == ("block", "vision has no node with NVIDIA GPUs.")


def test_words_that_do_not_fit() -> None:
    for words, said in (
        ({"scale": 2, "nodes": "1"}, "has both --scale"), ({"pool": "md-gpu"}, "add --scale"),
        ({"nodes": "0"}, "nodes"), ({"timeout": 0}, "timeout"), ({"scale": 101}, "scale"),
    ):  # fmt: skip
        with pytest.raises(ValidationError, match=said):
            Words.model_validate({"cluster": CLUSTER, **words})


# -- with more machines ------------------------------------------------------------------------------------------


def test_a_larger_pool_is_planned_with_quota_cost_and_the_way_back(world: GpuWorld) -> None:
    plan = world.plan("gpu test", scale=3)
    kinds = ["scale", "await-cluster", "await-gpus", "gpu-test", "gpu-verdict", "gpu-clean"]
    assert [step.kind for step in plan.steps] == kinds
    scale, wait = plan.steps[0], plan.steps[2]
    assert rights_of(scale) == {("patch", "machinedeployments.cluster.x-k8s.io", "default", "vision-md-gpu", "")}
    assert rights_of(wait) == set()
    assert rights_of(plan.steps[4]) == {("patch", "nodes", "", "", THERE)}, "a new node's name is not known"
    assert (wait.model_dump()["nodes"], wait.model_dump()["known"]) == (4, ("gpu-0", "gpu-1"))
    assert plan.impact.cost_per_hour_usd == pytest.approx(2 * 0.526)
    checks = {check.id: check for check in plan.checks}
    assert checks["quota-g-and-vt"].evidence.startswith("Limit 64, used 0, free 64; needed 8")
    inverse = GpuTest().inverse(Words(cluster=CLUSTER, scale=3), plan, [0])
    assert inverse is not None
    assert (inverse.operation, inverse.arguments["pool"], inverse.arguments["workers"]) == (
        "cluster scale",
        "md-gpu",
        1,
    )
    assert GpuTest().inverse(Words(cluster=CLUSTER, scale=3), plan, [3, 4, 5]) is None


def test_a_pool_is_not_made_smaller_by_a_test(world: GpuWorld) -> None:
    world.kube.change(*POOL, {"spec": {"replicas": 2}})
    try:
        with pytest.raises(UsageError, match="The pool md-gpu has 2 machines already") as error:
            world.plan("gpu test", scale=1)
        assert "/tkg cluster scale vision --pool md-gpu --workers 1" in error.value.hint
        with pytest.raises(UsageError, match="The pool md-0 has no GPUs"):
            world.plan("gpu test", scale=4, pool="md-0")
        assert not named(world.plan("gpu test", scale=2), "scale"), "as large as that already"
    finally:
        world.kube.change(*POOL, {"spec": {"replicas": 1}})


def test_a_quota_that_is_too_small_blocks_the_growth(world: GpuWorld) -> None:
    world.cloud.sandbox.set_faults({"quota": ["L-DB2E81BA=0"]})
    try:
        plan = world.plan("gpu test", scale=2)
    finally:
        world.cloud.sandbox.set_faults({"quota": []})
    assert [check.id for check in plan.checks if check.blocks] == ["quota-g-and-vt"]
    assert plan.steps == ()


# -- while nodes change ------------------------------------------------------------------------------------------


def whole(world: GpuWorld) -> list[Any]:
    """The test's own steps for all nodes, as with --scale."""
    steps = named(world.plan("gpu test", scale=2), "gpu-test", "gpu-verdict", "gpu-clean")
    return [step.model_copy(update={"count": 2}) if step.kind != "gpu-clean" else step for step in steps]


def test_a_node_that_joins_between_test_and_verdict_is_neither_tested_nor_waited_for(world: GpuWorld) -> None:
    run, write, clean = whole(world)
    world.act(run)
    world.place.node("gpu-9", taints=[TAINT])
    world.place.inside.settle()
    assert world.see(run).so
    world.act(write)
    seen = world.see(write)
    assert (seen.so, seen.evidence) == (True, "2 of 2 GPU nodes passed.")
    assert sorted(verdicts(world)) == ["gpu-0", "gpu-1"]
    world.act(clean)
    assert world.see(clean).so


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_node_of_the_same_name_with_another_uid_gets_no_verdict(world: GpuWorld, all_of_them: bool) -> None:
    run, write, clean = whole(world) if all_of_them else world.plan("gpu test").steps
    world.act(run)
    world.place.store.delete("nodes", "gpu-1")
    world.place.node("gpu-1", taints=[TAINT])
    world.place.inside.settle()
    world.act(write)
    assert verdicts(world) == {"gpu-0": f"passed {REQUEST}"}
    with pytest.raises(Fatal, match="1 of 2 tested nodes are left: the test of one that is gone"):
        world.see(write)
    world.act(clean)
    assert world.place.store.list("jobs.batch") == []


def test_a_named_node_that_is_gone_is_told(world: GpuWorld) -> None:
    run = world.plan("gpu test").steps[0]
    world.place.store.delete("nodes", "gpu-0")
    world.place.inside.settle()
    with pytest.raises(Fatal, match="The node gpu-0 is not there any more"):
        world.act(run)


def test_a_verdict_of_somebody_else_is_replaced_whatever_it_is(world: GpuWorld) -> None:
    forged = json.dumps({"request": "r-1", "result": "passed", "why": "", "at": 1, "seconds": 1})
    for name, text in (("gpu-0", "{no json"), ("gpu-1", forged)):
        world.place.change("nodes", name, annotations={VERDICT: text, "other/note": "kept"})
    world.run(world.plan("gpu test"))
    assert verdicts(world) == {"gpu-0": f"passed {REQUEST}", "gpu-1": f"passed {REQUEST}"}
    assert world.place.get("nodes", "gpu-0")["metadata"]["annotations"]["other/note"] == "kept"


# -- when it does not pass ---------------------------------------------------------------------------------------


def test_a_failure_is_shown_with_its_log_and_ends_the_proof(world: GpuWorld) -> None:
    world.place.switch(cuda_insufficient=True)
    plan = world.plan("gpu test")
    _, written, _ = world.run(plan)
    assert written.evidence == "0 of 2 GPU nodes passed."
    sheet, first, second, board = written.exhibits
    assert isinstance(sheet, Sheet)
    assert sheet.tone == "bad"
    assert sheet.table.rows[0][-1].startswith("the CUDA of the test image is newer than the driver can run")
    assert isinstance(first, File)
    assert isinstance(second, File)
    assert (first.name, second.name) == ("cuda-test-gpu-0.log", "cuda-test-gpu-1.log")
    assert "driver version is insufficient" in first.text
    assert isinstance(board, Board)
    assert {tile.tone for tile in board.tiles} == {"bad"}
    with pytest.raises(Fatal, match=r"2 of 2 GPU nodes did not pass\. gpu-0, gpu-1 failed: the CUDA of the") as error:
        world.proof("gpu test", plan)
    assert error.value.hint.startswith("Name a newer driver")
    assert error.value.hint.count("newer driver") == 1, "one advice for one reason"


def test_an_image_that_cannot_be_pulled_is_given_a_moment(world: GpuWorld) -> None:
    world.place.switch(test_image_missing=True)
    run, write, _ = world.plan("gpu test").steps
    world.act(run)
    seen = world.see(run)
    assert (seen.so, seen.patience) == (False, 180.0)
    assert "gpu-0: the test has not begun yet. " in seen.reached[0]
    world.place.go(31, 31)
    assert world.see(run).so
    world.act(write)
    assert sorted(verdicts(world).values()) == [f"inconclusive {REQUEST}"] * 2
    assert not [one for one in world.see(write).exhibits if isinstance(one, File)], "a pod that never ran has no log"


def test_a_busy_gpu_is_told_in_the_schedulers_words_and_ends_with_the_tests_time(world: GpuWorld) -> None:
    world.place.switch(gpu_busy=True)
    run, write, clean = world.plan("gpu test").steps
    world.act(run)
    seen = world.see(run)
    assert "Unschedulable: 0/3 nodes are available: 1 Insufficient nvidia.com/gpu" in seen.evidence
    world.place.go(61, 10)
    assert world.see(run).so
    world.act(write)
    assert "1 Insufficient nvidia.com/gpu" in world.see(write).exhibits[0].model_dump_json()
    world.act(clean)
    assert world.see(clean).so


def test_a_verdict_that_is_missing_is_no_proof(world: GpuWorld) -> None:
    plan = world.plan("gpu test")
    check = world.proof("gpu test", plan)["verify verdicts"]
    assert (check.result, check.evidence) == ("block", "0 of 2 nodes have this test's verdict.")
    assert asked(world.shop, "gpu test", cluster=CLUSTER)["nodes"] == "all"
