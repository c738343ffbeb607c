"""A `gpu test --scale` that is looked at again in its middle: nothing that the run itself has changed stops it, and
what is not there yet is waited for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.drift import facts_moved
from handlers.kinds import MACHINE_DEPLOYMENT
from tests.unit.clouds import Cloud
from tests.unit.gpu_worlds import GpuWorld, Workload, running_gpus
from tests.unit.insides import TAINT

POOL = (MACHINE_DEPLOYMENT, "vision-md-gpu")


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("gpus")) as made:
        yield made


@pytest.fixture
def sized(standing: GpuWorld) -> Iterator[GpuWorld]:
    """Whose pool has the size that it had before, afterwards."""
    yield standing
    to(standing, 1)


def to(world: GpuWorld, count: int) -> None:
    """So many machines are asked of the pool."""
    world.kube.change(*POOL, {"spec": {"replicas": count}})


def without_nodes(world: GpuWorld) -> None:
    """The operator is there, and no GPU machine."""
    place = world.serve(Workload()).begun()
    place.store.delete("nodes", "gpu-0")
    place.inside.settle()


def test_the_first_gpu_machine_of_all_is_on_its_way(sized: GpuWorld) -> None:
    without_nodes(sized)
    to(sized, 0)
    asked = sized.plan("gpu test", scale=1)
    to(sized, 1)
    again = sized.plan("gpu test", scale=1)
    assert facts_moved(asked, again) == ()
    assert [check.evidence for check in again.checks if check.id == "gpus"] == ["0 nodes: none yet."]
    assert [step.kind for step in again.steps] == ["await-gpus", "gpu-test", "gpu-verdict", "gpu-clean"]
    assert [step.model_dump().get("count") for step in again.steps] == [None, 1, 1, None]


def test_a_driver_compiles_on_the_new_machine(sized: GpuWorld) -> None:
    place = sized.serve(Workload().begun())
    asked = sized.plan("gpu test", scale=2)
    to(sized, 2)
    late = sized.plan("gpu test", scale=2)
    assert late.steps[0].model_dump()["nodes"] == 2, "its node is not there yet"
    place.faults.slow_driver = True
    place.node("gpu-1", taints=[TAINT])
    place.go(120, 30)
    again = sized.plan("gpu test", scale=2)
    assert facts_moved(asked, again) == ()
    (check,) = [check for check in again.checks if check.id == "gpus"]
    assert (check.result, check.evidence) == ("warn", "gpu-1: the driver compiles (120 s so far).")
    assert check.fix == "The run waits until it can be used."
    wait = again.steps[0]
    assert (wait.kind, wait.title) == ("await-gpus", "wait until all GPUs can be used")
    assert not sized.see(wait).so
    place.faults.slow_driver = False
    place.go()
    assert sized.see(wait).so
