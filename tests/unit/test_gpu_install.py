"""`gpu install`: what is planned for a cluster in any state, the run with exactly its rights, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from handlers.contract import Fatal, Plan
from handlers.gpu.manifests import render, values_of
from handlers.gpu_install import GpuInstall, InstallArguments
from handlers.kinds import kind_of
from handlers.settings import GpuSettings
from tests.unit.clouds import Cloud
from tests.unit.gpu_worlds import CLUSTER, THERE, GpuWorld, Workload, caller_of, rights_of, running_gpus
from tests.unit.insides import TAINT, namespace

pytestmark = pytest.mark.long

OLD = "v25.10.1"


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("gpus"), driver_patience=600) as made:
        yield made


@pytest.fixture
def world(standing: GpuWorld) -> GpuWorld:
    """A plain node and a GPU node, nothing else."""
    place = standing.serve(Workload())
    place.node("plain", "t3.large")
    place.node("gpu-0", taints=[TAINT])
    return standing


def kept(world: GpuWorld, **settings: Any) -> GpuWorld:
    """With other settings, until the test ends."""
    vars(world.shop.settings)["gpu"] = GpuSettings(**settings)
    return world


@pytest.fixture(autouse=True)
def _settings(standing: GpuWorld) -> Iterator[None]:
    before = standing.shop.settings.gpu
    yield
    vars(standing.shop.settings)["gpu"] = before


def words(**more: Any) -> InstallArguments:
    return InstallArguments(cluster=CLUSTER, **more)


# -- what is planned ---------------------------------------------------------------------------------------------


def test_the_steps_and_their_rights_are_those_of_the_objects(world: GpuWorld) -> None:
    plan = world.plan("gpu install")
    assert not plan.blocked
    assert [step.kind for step in plan.steps] == ["apply", "apply", "await-gpus"]
    for step in plan.steps[:2]:
        objects = step.model_dump()["objects"]
        wanted = {
            (verb, kind_of(item).resource, item["metadata"].get("namespace", ""), item["metadata"]["name"], THERE)
            for item in objects for verb in ("create", "patch")
        }  # fmt: skip
        assert rights_of(step) == wanted
        assert not step.actions
    assert rights_of(plan.steps[2]) == set()
    first = {item["kind"] for item in plan.steps[0].model_dump()["objects"]}
    assert first == {"Namespace", "CustomResourceDefinition"}
    assert plan.steps[1].model_dump()["objects"][-1]["kind"] == "ClusterPolicy"
    assert "secrets" not in {resource for step in plan.steps for _, resource, *_ in rights_of(step)}
    assert plan.headline == "install GPU operator v26.7.0 in vision"
    assert plan.impact.cost_per_hour_usd == 0
    assert plan.impact.undo == "/tkg gpu uninstall vision"


def test_planning_changes_nothing(world: GpuWorld) -> None:
    before = world.place.store.memory.revision
    assert world.plan("gpu install").steps
    assert world.place.store.memory.revision == before


@pytest.mark.long
def test_a_run_tells_the_chain_as_it_comes_and_ends_usable(world: GpuWorld) -> None:
    plan = world.plan("gpu install")
    seen = world.run(plan)
    assert seen[-1].evidence == "1 GPU can be used on 1 of 1 GPU nodes."
    assert seen[-1].reached == (
        "gpu-0: an NVIDIA device was found.", "gpu-0: the driver is ready.", "gpu-0: the container toolkit is ready.",
        "gpu-0: the device plugin is ready.", "gpu-0: the validator is ready.", "gpu-0: 1 GPU can be asked for.",
    )  # fmt: skip
    proof = world.proof("gpu install", plan)
    assert proof["verify operator"].evidence == "GPU operator v26.7.0 in gpu-operator is ready."
    assert world.plan("gpu install").steps == (), "there is nothing left to do"


@pytest.mark.parametrize("position", [0, 1])
def test_a_step_that_tries_more_than_its_rights_is_refused(world: GpuWorld, position: int) -> None:
    plan = world.plan("gpu install")
    for step in plan.steps[:position]:
        world.act(step)
    step = plan.steps[position]
    lacking = step.model_copy(update={"rights": step.rights[:-1]})
    with pytest.raises(Fatal, match="The plan does not declare to patch"):
        world.act(lacking)
    before = world.place.store.memory.revision
    elsewhere = tuple(right.model_copy(update={"cluster": "default/other"}) for right in step.rights)
    with pytest.raises(Fatal, match="The plan does not declare to"):
        world.act(step.model_copy(update={"rights": elsewhere}))
    assert world.place.store.memory.revision == before


def test_no_gpu_node_is_a_warning_and_the_end_says_so(standing: GpuWorld) -> None:
    standing.serve(Workload()).node("plain", "t3.large")
    plan = standing.plan("gpu install")
    check = next(check for check in plan.checks if check.id == "gpu-nodes")
    assert (check.result, check.evidence) == (
        "warn", "There is none yet, so nothing can be proven after the installation.",
    )  # fmt: skip
    assert standing.run(plan)[-1].evidence.startswith("The GPU operator is ready; there is no node with GPUs")


# -- what stands in the way --------------------------------------------------------------------------------------


def test_a_helm_release_belongs_to_helm(world: GpuWorld) -> None:
    (deployment,) = [item for item in render(values_of(GpuSettings())) if item["kind"] == "Deployment"
                     and item["metadata"]["name"] == "gpu-operator"]  # type: ignore[index, call-overload]  # fmt: skip
    meta: Any = deployment["metadata"]
    meta["annotations"] = {"meta.helm.sh/release-name": "gpu-operator"}
    world.place.apply(namespace(), deployment)
    check = world.checks("gpu install")["owners"]
    assert check.result == "block"
    assert check.evidence == "There already, from Helm's release gpu-operator: Deployment gpu-operator."
    assert world.plan("gpu install").steps == ()


def test_a_namespace_of_the_team_is_used_and_not_taken(world: GpuWorld) -> None:
    world.place.apply(namespace(privileged=False))
    plan = world.plan("gpu install")
    check = next(check for check in plan.checks if check.id == "pod-security")
    assert (check.result, "has no label pod-security.kubernetes.io/enforce" in check.evidence) == ("warn", True)
    assert check.fix == "kubectl label namespace gpu-operator pod-security.kubernetes.io/enforce=privileged"
    assert "Namespace" not in {item["kind"] for item in plan.steps[0].model_dump()["objects"]}
    world.run(plan)
    assert "tkgbot/config" not in world.place.get("namespaces", "gpu-operator")["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("kind", "more", "result", "said"),
    [
        ("p3.2xlarge", {}, "block", "Driver 595.91.07 does not know V100 any more."),
        ("p3.2xlarge", {"driver_version": "580.126.20"}, "pass", "Driver 580.126.20 for V100."),
        ("p3.2xlarge", {"driver_version": "preinstalled"}, "pass", "The machine image has one"),
        ("p3.2xlarge", {"operator_version": "v25.10.1"}, "pass", "Driver 580.105.08 for V100."),
        ("g4dn.xlarge", {}, "pass", "Driver 595.91.07 for T4."),
    ],
)
def test_the_driver_has_to_know_the_gpus(standing: GpuWorld, kind: str, more: Any, result: str, said: str) -> None:
    standing.serve(Workload()).node("gpu-0", kind)
    check = standing.checks("gpu install", **more)["driver"]
    assert (check.result, check.evidence.startswith(said)) == (result, True)
    assert ("--driver-version 580." in check.fix) is (result == "block")


def test_the_newest_gpus_with_the_proprietary_module(standing: GpuWorld) -> None:
    standing.serve(Workload()).node("gpu-0", "p6-b200.48xlarge")
    assert standing.checks("gpu install")["driver"].result == "pass"
    check = kept(standing, kernel_module="proprietary").checks("gpu install")["driver"]
    assert (check.result, check.evidence) == ("block", "B200 needs the open kernel module.")


def test_a_system_without_driver_containers(world: GpuWorld) -> None:
    node = world.place.get("nodes", "gpu-0")
    node["status"]["nodeInfo"]["osImage"] = "Amazon Linux 2023"
    world.place.store.update(node, status=True)
    check = world.checks("gpu install")["system"]
    assert (check.result, check.evidence) == ("block", "gpu-0 runs Amazon Linux 2023.")
    assert "system" not in world.checks("gpu install", driver_version="preinstalled")


def test_a_webhook_that_denies_is_found_before_anybody_approves(world: GpuWorld) -> None:
    assert world.place.server is not None
    world.place.server.set_faults({"deny_webhook": ["ClusterRole"]})
    check = world.checks("gpu install")["dry-run"]
    assert check.result == "block"
    assert "denied to try ClusterRole" in check.evidence


@pytest.mark.parametrize(
    ("faults", "result", "said"),
    [
        ({"unreachable": True}, "unknown", "The cluster vision cannot be reached"),
        ({"credentials_rotated": True}, "block", "does not accept the bot's credentials (401)"),
        ({"certificate_changed": True}, "block", "cannot trust the certificate of the cluster vision"),
    ],
)
def test_why_a_cluster_does_not_answer_is_told_apart(world: GpuWorld, faults: Any, result: str, said: str) -> None:
    assert world.place.server is not None
    world.place.server.set_faults(faults)
    for operation in ("gpu install", "gpu test", "gpu uninstall"):
        plan = world.plan(operation)
        check = next(check for check in plan.checks if check.id == "reach")
        assert (check.result, said in check.evidence, bool(check.fix)) == (result, True, True)
        assert plan.steps == ()


def test_a_cluster_that_is_not_there_or_paused(world: GpuWorld) -> None:
    plan = world.shop.plan(
        "gpu install", {**words().model_dump(), "cluster": "nobody", "account": "management"}, caller_of()
    )
    assert [check.id for check in plan.checks if check.blocks] == ["cluster"]
    assert plan.steps == ()


# -- other versions ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_another_driver_is_a_change_with_the_old_one_as_its_undo(world: GpuWorld) -> None:
    world.run(world.plan("gpu install"))
    plan = world.plan("gpu install", driver_version="580.126.20")
    assert plan.headline == "change the driver from 595.91.07 to 580.126.20 in vision"
    assert not plan.impact.creates
    world.run(plan)
    assert world.place.labels("gpu-0")["nvidia.com/cuda.driver-version.full"] == "580.126.20"
    back = GpuInstall().inverse(words(), Plan.model_validate(plan.model_dump(mode="json")), [1])
    assert back is not None
    assert (back.operation, back.arguments["operator_version"], back.arguments["driver_version"]) == (
        "gpu install", "v26.7.0", "595.91.07",
    )  # fmt: skip


def test_the_undo_of_a_first_installation_is_its_removal(world: GpuWorld) -> None:
    plan = world.plan("gpu install")
    back = GpuInstall().inverse(words(), plan, [0])
    assert back is not None
    assert back.operation == "gpu uninstall"
    assert GpuInstall().inverse(words(), plan, [2]) is None, "waiting changed nothing"


# -- the team's own files ----------------------------------------------------------------------------------------


def files(folder: Path, version: str = "v26.7.0") -> dict[str, Any]:
    path = folder / "chart.yaml"
    path.write_text(yaml.safe_dump_all(render(values_of(GpuSettings(), version))))
    return {"manifests": (path,)}


def test_a_teams_own_file_is_applied_instead(world: GpuWorld, tmp_path: Path) -> None:
    plan = kept(world, **files(tmp_path, OLD)).plan("gpu install")
    source = next(check for check in plan.checks if check.id == "source")
    assert (source.result, source.evidence) == ("pass", f"28 objects of chart.yaml: GPU operator {OLD}.")
    assert world.run(plan)[-1].evidence == "1 GPU can be used on 1 of 1 GPU nodes."


def test_versions_and_files_do_not_go_together(world: GpuWorld, tmp_path: Path) -> None:
    check = world.checks("gpu install", method="manifests")["source"]
    assert (check.result, check.evidence) == ("block", "The settings name no files of the team.")
    check = kept(world, **files(tmp_path)).checks("gpu install", driver_version="580.126.20")["source"]
    assert (check.result, check.evidence.endswith("Their versions stand in the files.")) == ("block", True)


@pytest.mark.long
def test_the_old_form_and_a_missing_definition_are_recognised(world: GpuWorld, tmp_path: Path) -> None:
    path = tmp_path / "components.yaml"
    items = [item for item in render(values_of(GpuSettings())) if item["kind"] != "CustomResourceDefinition"]
    path.write_text(yaml.safe_dump_all(items))
    check = kept(world, manifests=(path,)).checks("gpu install")["source"]
    assert (check.result, check.fix) == ("block", "Render the chart with --include-crds.")
    path.write_text(
        yaml.safe_dump_all(render(values_of(GpuSettings()))).replace("gpu-operator:v26.7.0", "gpu-operator:v22.9.1")
    )
    check = kept(world, manifests=(path,)).checks("gpu install")["source"]
    assert (check.result, "old form in two files" in check.evidence) == ("warn", True)
    assert "do not compile for current kernels" in check.fix
