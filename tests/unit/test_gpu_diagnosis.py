"""Where the chain from a GPU to `nvidia.com/gpu` breaks: each break of it, on clusters that broke that way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.gpu.diagnosis import COMPILES, RESTARTS, YOUNG, Diagnosis, Finding, diagnose
from handlers.gpu.seen import Gpus, look
from handlers.gpu_status import headline
from handlers.steps.await_gpus import is_usable
from sandbox.kube.actors.stage import checked
from tests.unit.gpu_worlds import Workload, served
from tests.unit.insides import DRIVER, PLUGIN, TAINT, cluster_policy, installation, namespace

pytestmark = pytest.mark.long

Look = Callable[..., Diagnosis]


@pytest.fixture
def diagnosed(tmp_path: Path) -> Look:
    """Looks at a cluster."""

    def looked(place: Workload, **faults: Any) -> Diagnosis:
        with served(place, tmp_path) as kube:
            assert place.server is not None
            place.server.set_faults(faults)
            return diagnose(look(kube), kube, place.now())

    return looked


def begun(*kinds: str, seconds: float = 0.0, **switches: Any) -> Workload:
    """An installation that began with a switch on, so many seconds ago."""
    place = Workload()
    vars(place.faults).update(checked(switches))
    place.begun(*kinds)
    if seconds:
        place.go(seconds, seconds / 20)
    return place


def only(found: Diagnosis) -> Finding:
    """What stands between the one GPU node and its GPUs."""
    ((node, what),) = found.by_node
    assert what is not None, node.name
    return what


def test_a_chain_that_holds(diagnosed: Look) -> None:
    found = diagnosed(begun("g4dn.xlarge", "g4dn.12xlarge"))
    assert (found.is_well, found.findings, len(found.usable)) == (True, (), 2)


# -- the cluster -------------------------------------------------------------------------------------------------


def test_no_operator(diagnosed: Look) -> None:
    place = Workload()
    place.node("gpu-0", taints=[TAINT])
    found = diagnosed(place)
    assert found.whole is not None
    assert found.whole.sentence == "cluster: the GPU operator is not installed"
    assert only(found) == found.whole
    assert found.whole.fix == "Install it: `/tkg gpu install`."


def test_an_operator_whose_image_cannot_be_pulled(diagnosed: Look) -> None:
    whole = diagnosed(begun(operator_image_missing=True, seconds=5)).whole
    assert whole is not None
    assert (whole.where, whole.waits) == ("operator", False)
    assert 'is in ImagePullBackOff: Back-off pulling image "nvcr.io/nvidia/gpu-operator:v26.7.0"' in whole.evidence
    assert "mirrors" in whole.fix


def test_an_operator_that_starts_is_waited_for(diagnosed: Look) -> None:
    place = Workload(pace=1.0)
    found = diagnosed(place.begun())
    assert found.whole is not None
    assert (found.whole.evidence, found.whole.waits) == ("its pod is starting", True)


def test_no_policy_and_a_second_one(diagnosed: Look) -> None:
    place = begun()
    place.apply(cluster_policy("another"))
    place.inside.settle()
    assert diagnosed(place).whole is None, "the operator ignores the other one"
    place.store.delete("clusterpolicies.nvidia.com", "cluster-policy")
    assert "the operator ignores another" in str(diagnosed(place).whole)
    place = begun()
    place.store.delete("clusterpolicies.nvidia.com", "cluster-policy")
    place.inside.settle()
    whole = diagnosed(place).whole
    assert whole is not None
    assert "no ClusterPolicy, so the operator does nothing" in whole.evidence


def test_what_may_not_be_read_is_named(diagnosed: Look) -> None:
    found = diagnosed(begun(), forbid=["list apps/daemonsets"])
    assert found.whole is not None
    assert found.whole.evidence.startswith("not everything can be read: daemonsets (")
    assert "rights" in found.whole.fix


# -- discovery and marks -----------------------------------------------------------------------------------------


def test_a_discovery_that_sees_nothing(diagnosed: Look) -> None:
    young = only(diagnosed(begun(nfd_blind=True)))
    old = only(diagnosed(begun(nfd_blind=True, seconds=YOUNG + 1)))
    assert young.evidence == old.evidence == "node feature discovery runs on it and has found no NVIDIA device"
    assert (young.waits, old.waits) == (True, False)


def test_no_discovery_at_all(diagnosed: Look) -> None:
    place = Workload()
    place.node("gpu-0")
    place.apply(*[item for item in installation() if "nfd" not in item["metadata"]["name"]])
    place.inside.settle()
    assert only(diagnosed(place)).evidence.startswith("node feature discovery is not installed")


def test_a_discovery_that_does_not_tolerate_the_taint(diagnosed: Look) -> None:
    place = Workload().begun(tolerant=False)
    assert (only(diagnosed(place)).evidence, only(diagnosed(place)).waits) == (
        "node feature discovery has no pod on it", True,
    )  # fmt: skip
    place.go(YOUNG + 1, 10)
    found = only(diagnosed(place))
    assert (found.waits, "operations.gpu.tolerations" in found.fix) == (False, True)


def test_pods_that_pod_security_refuses(diagnosed: Look) -> None:
    place = Workload()
    place.node("gpu-0")
    place.switch(pod_security=True)
    place.apply(*installation(privileged=False))
    place.inside.settle()
    found = only(diagnosed(place))
    assert 'violates PodSecurity "restricted:latest"' in found.evidence
    assert found.fix.startswith("Label the namespace gpu-operator with pod-security.kubernetes.io/enforce=privileged")
    assert not found.waits
    place.apply(namespace())
    place.go(20)
    assert diagnosed(place).is_well


def test_a_driver_that_pod_security_refuses(diagnosed: Look) -> None:
    place = Workload().begun(privileged=False)
    place.switch(pod_security=True)
    place.store.delete("pods", place.pod(DRIVER)["metadata"]["name"], "gpu-operator")
    place.go(1)
    found = only(diagnosed(place))
    assert found.evidence.startswith("the driver is refused: ")
    assert "privileged" in found.fix


# -- the driver --------------------------------------------------------------------------------------------------


def test_a_driver_that_compiles_is_no_error_until_it_is(diagnosed: Look) -> None:
    place = begun(slow_driver=True)
    place.go(300, 30)
    found = diagnosed(place)
    assert only(found).sentence == "gpu-0: the driver compiles (300 s so far)"
    assert (only(found).waits, found.broken, found.is_well) == (True, (), False)
    place.go(COMPILES, 100)
    late = only(diagnosed(place))
    assert late.evidence == "the driver: it has compiled for 30 minutes"
    assert (late.waits, "kubectl logs -n gpu-operator nvidia-driver-daemonset-" in late.fix) == (False, True)


@pytest.mark.parametrize(
    ("kind", "means", "quote", "fix"),
    [
        (
            "kernel-headers",
            "the headers of the node's kernel are not in",
            "Could not resolve Linux kernel version",
            "newer machine image",
        ),
        ("gpl", "the driver does not compile for this kernel", "Error 2", "--driver-version"),
        (
            "nouveau",
            "another driver is loaded on the node already",
            "nouveau kernel driver is currently in use",
            "Blacklist",
        ),
    ],
)
def test_a_driver_that_crashes(diagnosed: Look, kind: str, means: str, quote: str, fix: str) -> None:
    found = only(diagnosed(begun(driver_crash=kind, seconds=60)))
    assert found.evidence.startswith("the driver: pod gpu-operator/nvidia-driver-daemonset-")
    assert "is in CrashLoopBackOff, started " in found.evidence
    assert means in found.evidence
    assert quote in found.evidence
    assert fix in found.fix
    assert not found.waits


@pytest.mark.parametrize(("again", "waits"), [(RESTARTS, True), (RESTARTS + 1, False)])
def test_a_few_restarts_of_an_unknown_kind_are_waited_out(diagnosed: Look, again: int, waits: bool) -> None:
    place = begun(driver_crash="gpl", seconds=5)
    pod = place.pod(DRIVER)
    meta = pod["metadata"]
    place.store.container_logs[(meta["namespace"], meta["name"])]["nvidia-driver-ctr"] = "nothing known\n"
    pod["status"]["containerStatuses"][0]["restartCount"] = again
    place.store.update(pod, status=True)
    found = only(diagnosed(place))
    assert (found.waits, "started again" in found.evidence or f"started {again} times" in found.evidence) == (
        waits,
        True,
    )
    assert waits or "Read its log: kubectl logs -n gpu-operator" in found.fix


def test_a_log_that_the_kubelet_does_not_hand_out_hides_nothing_else(diagnosed: Look) -> None:
    place = begun(driver_crash="kernel-headers", seconds=60)
    found = only(diagnosed(place, forbid=["get /pods"]))
    assert "is in CrashLoopBackOff" in found.evidence
    assert "Could not resolve" not in found.evidence


def test_a_driver_image_that_is_not_there(diagnosed: Look) -> None:
    found = only(diagnosed(begun(driver_image_missing=True)))
    assert "nvcr.io/nvidia/driver:595.91.07-ubuntu24.04: not found" in found.evidence
    assert found.fix == "There is no image of this driver for ubuntu24.04: name another one (`--driver-version`)."


def test_a_driver_image_for_a_system_that_has_none(diagnosed: Look) -> None:
    place = begun(driver_image_missing=True)
    pod = place.pod(DRIVER)
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    waiting["message"] = waiting["message"].replace("ubuntu24.04", "amzn2023")
    place.store.update(pod, status=True)
    assert only(diagnosed(place)).fix == (
        "There is no driver image for amzn2023: use an Ubuntu image, or --driver-version preinstalled."
    )


def test_an_evicted_driver_and_a_full_disk(diagnosed: Look) -> None:
    place = Workload()
    place.node("gpu-0", root=30)
    place.apply(*installation())
    place.go(5)
    found = only(diagnosed(place))
    assert found.evidence == "its disk is full (DiskPressure), so pods are evicted"
    assert "100 GiB" in found.fix
    node = place.get("nodes", "gpu-0")
    for one in node["status"]["conditions"]:
        one["status"] = "False" if one["type"] == "DiskPressure" else one["status"]
    place.store.update(node, status=True)
    found = only(diagnosed(place))
    assert "is in Evicted: The node was low on resource: ephemeral-storage." in found.evidence
    assert "larger root volume" in found.fix


def test_a_node_that_is_not_ready(diagnosed: Look) -> None:
    place = Workload()
    place.node("gpu-0", ready="False")
    place.apply(*installation())
    place.node("plain", "t3.large")
    place.inside.settle()
    assert only(diagnosed(place)).sentence == "gpu-0: the node is not Ready"


# -- the devices -------------------------------------------------------------------------------------------------


def test_a_plugin_that_is_not_well(diagnosed: Look) -> None:
    found = only(diagnosed(begun(plugin_unhealthy=True)))
    assert found.evidence == "0 of 1 GPUs are healthy, says the device plugin"
    assert "XID" in found.fix


@pytest.mark.parametrize(
    ("capacity", "allocatable", "evidence"),
    [
        ("4", "3", "3 of 4 GPUs are healthy, says the device plugin"),
        ("3", "3", "3 of 4 GPUs of a g4dn.12xlarge are there"),
        ("0", "0", "all its pods run and no GPU is allocatable"),
        ("many", "-1", "all its pods run and no GPU is allocatable"),
    ],
)
def test_fewer_gpus_than_the_type_has(diagnosed: Look, capacity: str, allocatable: str, evidence: str) -> None:
    place = begun("g4dn.12xlarge")
    node = place.get("nodes", "gpu-0")
    node["status"]["capacity"]["nvidia.com/gpu"] = capacity
    node["status"]["allocatable"]["nvidia.com/gpu"] = allocatable
    place.store.update(node, status=True)
    assert only(diagnosed(place)).evidence == evidence


def test_one_bad_node_does_not_hide_the_good_ones(diagnosed: Look) -> None:
    place = begun("g4dn.xlarge", "g4dn.xlarge")
    (plugin,) = [pod for pod in place.pods(PLUGIN) if pod["spec"]["nodeName"] == "gpu-1"]
    place.store.delete("pods", plugin["metadata"]["name"], "gpu-operator")
    found = diagnosed(place)
    assert [node.name for node in found.usable] == ["gpu-0"]
    assert [finding.where for finding in found.findings] == ["gpu-1"]


# -- ready is not usable -----------------------------------------------------------------------------------------


def seen(place: Workload, folder: Path) -> tuple[Gpus, Diagnosis]:
    with served(place, folder) as kube:
        gpus = look(kube)
        return gpus, diagnose(gpus, kube, place.now())


def test_ready_without_gpus_is_not_usable(tmp_path: Path) -> None:
    place = Workload()
    place.node("plain", "t3.large")
    place.apply(*installation())
    place.inside.settle()
    gpus, found = seen(place, tmp_path)
    assert (gpus.state, found.whole, found.is_well) == ("ready", None, False)
    tone, said = headline("vision", gpus, found)
    assert tone == "bad"
    assert said.startswith("vision has no node with NVIDIA GPUs, so none can be used. Its ClusterPolicy is ready all")
    assert is_usable(gpus, found, 0), "an installation is done when there is nothing to wait for"
    assert not is_usable(gpus, found, 1)


@pytest.mark.parametrize(
    "switches", [{"nfd_blind": True}, {"slow_driver": True, "validator_lies": True}, {"plugin_unhealthy": True}]
)
def test_ready_with_gpus_that_cannot_be_had_is_not_usable(tmp_path: Path, switches: dict[str, bool]) -> None:
    place = begun() if "plugin_unhealthy" in switches else begun(**switches)
    place.switch(**switches)
    gpus, found = seen(place, tmp_path)
    assert gpus.state == "ready"
    assert not found.is_well
    assert not is_usable(gpus, found, 1)
    tone, said = headline("vision", gpus, found)
    assert tone != "good"
    assert said.startswith("0 of 1 GPU nodes of vision can be used")
