"""GPUs of clusters in a survey: how many there are and what is known of each; a cluster that cannot be asked is no
error, and counts as nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from handlers.contract import ClusterState, Extent, Gpus
from handlers.gpu.job import stored
from handlers.gpu.seen import VERDICT, Verdict
from handlers.kinds import AWS_MACHINE, CLUSTER
from handlers.survey.look import Surveyor
from handlers.worlds import Looking
from tests.unit.clouds import CALLER, Cloud
from tests.unit.gpu_worlds import CLUSTER as NAME
from tests.unit.gpu_worlds import THERE, GpuWorld, Workload, running_gpus

MACHINE = f"{NAME}-md-gpu-1"


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("gpus"), driver_patience=600) as made:
        machine(made, "g4dn.xlarge")
        yield made


@pytest.fixture
def world(standing: GpuWorld) -> GpuWorld:
    standing.serve(Workload())
    return standing


def machine(world: GpuWorld, kind: str) -> None:
    """One machine of the cluster, of that type."""
    item = world.kube.find(AWS_MACHINE, MACHINE)
    if item is not None:
        world.kube.change(AWS_MACHINE, MACHINE, {"spec": {"instanceType": kind}})
        return
    world.kube.put({
        "apiVersion": f"{AWS_MACHINE.group}/v1beta2", "kind": "AWSMachine", "spec": {"instanceType": kind},
        "metadata": {"name": MACHINE, "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": NAME}},
    })  # fmt: skip


def state(world: GpuWorld) -> ClusterState:
    """The cluster in a survey."""
    looking = Looking(world.shop.reach, CALLER, "survey")
    found = Surveyor(world=looking, operations={}, accounts=(), identities={}).survey(Extent(), ())
    (only,) = found.clusters
    assert only.key == THERE
    assert found.gaps == (), "what is not seen of one cluster is said with that cluster"
    return only


def gpus(world: GpuWorld) -> Gpus:
    found = state(world).gpus
    assert found is not None
    return found


def put_verdict(world: GpuWorld, node: str, text: str) -> None:
    world.place.change("nodes", node, annotations={VERDICT: text})


def verdict(result: str) -> str:
    return stored(Verdict(request="r-7f3a2c", result=result, why="It is so.", at=1_790_000_000.0, seconds=9))


def test_nobody_has_tested_them_yet(world: GpuWorld) -> None:
    world.place.begun("g4dn.xlarge", "g5.12xlarge")
    assert gpus(world) == Gpus(allocatable=5, untested=5)
    assert not state(world).is_well, "GPUs that nobody has tested are not well"


def test_each_node_counts_by_its_last_test(world: GpuWorld) -> None:
    world.place.begun("g4dn.xlarge", "g5.12xlarge", "g4dn.xlarge")
    put_verdict(world, "gpu-0", verdict("failed"))
    put_verdict(world, "gpu-1", verdict("passed"))
    assert gpus(world) == Gpus(allocatable=6, proven=4, failed=1, untested=1)
    put_verdict(world, "gpu-0", verdict("passed"))
    put_verdict(world, "gpu-2", verdict("passed"))
    assert gpus(world) == Gpus(allocatable=6, proven=6)


@pytest.mark.parametrize(
    "text",
    [verdict("inconclusive"), verdict("splendid"), "passed", "{}", '{"result": "passed"}'],
    ids=["inconclusive", "unknown", "no JSON", "empty", "not whole"],
)
def test_a_word_that_says_nothing_proves_nothing(world: GpuWorld, text: str) -> None:
    world.place.begun()
    put_verdict(world, "gpu-0", text)
    assert gpus(world) == Gpus(allocatable=1, untested=1)


def test_fewer_than_there_should_be_say_why(world: GpuWorld) -> None:
    world.place.begun("g4dn.xlarge", "g4dn.xlarge")
    node = world.place.get("nodes", "gpu-0")
    node["status"]["allocatable"]["nvidia.com/gpu"] = "0"
    world.place.store.update(node, status=True)
    put_verdict(world, "gpu-1", verdict("passed"))
    found = gpus(world)
    assert (found.allocatable, found.proven, found.untested) == (1, 1, 0)
    assert found.why.startswith("gpu-0: 0 of 1 GPUs are healthy")
    assert found.why.endswith(".")
    assert not found.why.endswith("..")


def test_without_the_operator_there_are_none_and_it_is_said(world: GpuWorld) -> None:
    world.place.node("gpu-0")
    assert gpus(world) == Gpus(allocatable=0, why="cluster: the GPU operator is not installed.")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("unreachable", f"The cluster {NAME} cannot be reached"),
        ("credentials_rotated", f"The cluster {NAME} does not accept the bot's credentials"),
        ("certificate_changed", f"cannot trust the certificate of the cluster {NAME}"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_no_error(world: GpuWorld, fault: str, said: str) -> None:
    world.place.begun()
    assert world.place.server is not None
    world.place.server.set_faults({fault: True})
    found = state(world)
    assert found.gpus is not None
    assert found.gpus.why.startswith("Its GPUs cannot be seen: ")
    assert said in found.gpus.why
    assert found.gpus == Gpus(allocatable=None, why=found.gpus.why), "none of them is called anything"
    assert not found.is_well


def test_a_cluster_whose_kubeconfig_is_of_no_use_is_no_error(world: GpuWorld) -> None:
    world.kube.keep_kubeconfig("no kubeconfig at all", NAME)
    found = state(world).gpus
    assert found is not None
    assert found.allocatable is None
    assert found.why.startswith("Its GPUs cannot be seen: ")


def test_a_cluster_without_such_machines_is_not_asked(world: GpuWorld) -> None:
    world.place.begun()
    machine(world, "m5.large")
    try:
        assert state(world).gpus is None
    finally:
        machine(world, "g4dn.xlarge")


def test_a_cluster_that_goes_is_not_asked(world: GpuWorld) -> None:
    """The last test here: it does not come back."""
    world.place.begun()
    stamp = {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}}
    world.kube.change(CLUSTER, NAME, stamp)
    world.kube.drop(CLUSTER, NAME)
    found = state(world)
    assert (found.state, found.gpus) == ("deleting", None)
