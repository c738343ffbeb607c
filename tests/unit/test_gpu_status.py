"""`gpu status`: one sentence, the chain node by node, and the pods as `kubectl get pods -A` lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from handlers.contract import Fatal, Report, Retry
from handlers.gpu.job import stored
from handlers.gpu.seen import VERDICT, Verdict
from handlers.gpu_status import NODE_COLUMNS, POD_COLUMNS, ago
from tests.unit.clouds import Cloud
from tests.unit.gpu_worlds import GpuWorld, Workload, running_gpus
from tests.unit.insides import DRIVER, cluster_policy


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("gpus"), driver_patience=600) as made:
        yield made


@pytest.fixture
def world(standing: GpuWorld) -> GpuWorld:
    standing.serve(Workload())
    return standing


def row(report: Report, name: str = "gpu-0") -> dict[str, str]:
    """A node's row, by column."""
    assert report.table is not None
    assert report.table.header == NODE_COLUMNS
    (found,) = [cells for cells in report.table.rows if cells[0] == name]
    return dict(zip(NODE_COLUMNS, found, strict=True))


@pytest.mark.long
def test_all_is_well(world: GpuWorld) -> None:
    world.place.begun("g4dn.xlarge", "g5.12xlarge")
    report = world.report()
    assert (report.tone, report.title) == ("good", "All 5 GPUs of vision can be used (2 nodes).")
    assert row(report) == {
        "NODE": "gpu-0", "CHAIN": "usable", "ALLOCATABLE": "1/1", "TESTED": "never", "GPU": "Tesla-T4",
        "DRIVER": "595.91.07", "CUDA": "13.2", "TYPE": "g4dn.xlarge",
    }  # fmt: skip
    assert row(report, "gpu-1")["ALLOCATABLE"] == "4/4"
    assert "GPU operator v26.7.0 in gpu-operator: 1/1 available" in report.facts
    assert any(
        fact.startswith("ClusterPolicy cluster-policy is ready. Ready True (Reconciled") for fact in report.facts
    )
    assert any("nvidia-driver-daemonset 2/2" in fact for fact in report.facts)


def test_the_pods_as_kubectl_lists_them(world: GpuWorld) -> None:
    world.place.begun().go(90, 30)
    (sheet,) = world.report().sheets
    assert (sheet.title, sheet.table.header) == ("Pods of the GPU operator:", POD_COLUMNS)
    by_name = {cells[1].rpartition("-")[0]: cells for cells in sheet.table.rows}
    assert by_name[DRIVER][2:] == ("1/1", "Running", "0", "1 min")
    assert by_name["nvidia-cuda-validator"][3] == "Completed"
    assert {cells[0] for cells in sheet.table.rows} == {"gpu-operator"}


def test_a_driver_that_compiles_is_no_error(world: GpuWorld) -> None:
    world.place.faults.slow_driver = True
    world.place.begun().go(120, 30)
    report = world.report()
    assert (report.tone, report.title) == (
        "warn", "0 of 1 GPU nodes of vision can be used so far: gpu-0: the driver compiles (120 s so far).",
    )  # fmt: skip
    assert report.facts[0] == "gpu-0: the driver compiles (120 s so far). It takes 5 to 15 minutes."
    assert row(report)["CHAIN"] == "the driver compiles (120 s so far)"
    (sheet,) = report.sheets
    assert {cells[3] for cells in sheet.table.rows if "toolkit" in cells[1]} == {"Init:0/1"}


def test_a_break_is_told_first_with_what_to_do(world: GpuWorld) -> None:
    world.place.faults.driver_crash = "kernel-headers"
    world.place.begun().go(60, 5)
    report = world.report()
    assert report.tone == "bad"
    assert report.title.startswith("0 of 1 GPU nodes of vision can be used: gpu-0: the driver: pod gpu-operator/")
    assert "the headers of the node's kernel are not in the package repositories" in report.title
    assert "Use a newer machine image" in report.facts[0]
    assert row(report)["CHAIN"] == "the driver"


def test_ready_without_gpus_is_told_as_not_usable(world: GpuWorld) -> None:
    world.place.begun()
    world.place.store.delete("nodes", "gpu-0")
    world.place.inside.settle()
    report = world.report()
    assert (report.tone, report.table) == ("bad", None)
    assert report.title == (
        "vision has no node with NVIDIA GPUs, so none can be used. "
        "Its ClusterPolicy is ready all the same: that says nothing of GPUs."
    )
    assert any("is ready, and no GPU can be used. " in fact for fact in report.facts)


def test_nothing_installed(world: GpuWorld) -> None:
    world.place.node("gpu-0")
    report = world.report()
    assert (report.tone, report.title) == ("bad", "GPUs of vision cannot be used: the GPU operator is not installed.")
    assert report.facts == ("cluster: the GPU operator is not installed. Install it: `/tkg gpu install`.",)
    assert report.sheets == ()


def test_a_second_policy_is_named(world: GpuWorld) -> None:
    world.place.begun().apply(cluster_policy("zz-another"))
    world.place.inside.settle()
    assert any("; ignored: zz-another. " in fact for fact in world.report().facts)


def test_many_breaks_are_counted(world: GpuWorld) -> None:
    world.place.begun(*["g4dn.xlarge"] * 9)
    for number in range(9):
        node = world.place.get("nodes", f"gpu-{number}")
        node["status"]["allocatable"]["nvidia.com/gpu"] = "0"
        world.place.store.update(node, status=True)
    report = world.report()
    assert report.title.startswith("0 of 9 GPU nodes of vision can be used: gpu-0: 0 of 1 GPUs are healthy")
    assert report.facts[6] == "and 3 more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (stored(Verdict("r-1", "failed", "x", 1_790_000_000.0 - 7200, 3)), "failed 2 h ago"),
        ("{no json", "never"),
        (json.dumps({"request": "r", "result": "passed", "why": "", "at": 1e308, "seconds": 1}), "passed 0 s ago"),
    ],
)
def test_the_last_test(world: GpuWorld, text: str, said: str) -> None:
    world.place.begun().change("nodes", "gpu-0", annotations={VERDICT: text})
    assert row(world.report())["TESTED"] == said


@pytest.mark.parametrize(
    ("faults", "error", "said"),
    [
        ({"unreachable": True}, Retry, "The cluster vision cannot be reached"),
        ({"credentials_rotated": True}, Fatal, "The cluster vision does not accept the bot's credentials"),
        ({"certificate_changed": True}, Fatal, "cannot trust the certificate of the cluster vision"),
    ],
)
def test_a_cluster_that_does_not_answer(world: GpuWorld, faults: Any, error: type[Exception], said: str) -> None:
    world.place.begun()
    assert world.place.server is not None
    world.place.server.set_faults(faults)
    with pytest.raises(error, match=said):
        world.report()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86_399, "23 h"),
     (86_400, "1 d"), (864_000, "10 d")],
)  # fmt: skip
def test_ages(seconds: float, said: str) -> None:
    assert ago(seconds) == said
