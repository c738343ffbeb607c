"""The GPU operator inside the sandbox's workload clusters: from the node's label to a pod that computes, and back."""

from __future__ import annotations

import pytest

from sandbox.kube import ApiError
from tests.unit.insides import (
    DRIVER,
    PLUGIN,
    TAINT,
    Place,
    cluster_policy,
    condition,
    definition,
    installation,
    installed,
    job,
    namespace,
    waiting,
)

pytestmark = pytest.mark.long


def test_an_installation_makes_gpus_allocatable_and_a_job_passes() -> None:
    place = installed()
    assert place.said()[:2] == ("ready", "Reconciled")
    assert place.allocatable("gpu-0") == "1"
    place.apply(job("probe", "gpu-0", tolerations=[{"operator": "Exists"}]))
    place.go(3)
    conditions = {
        one["type"]: one["status"] for one in place.get("jobs.batch", "probe", "default")["status"]["conditions"]
    }
    assert conditions["Complete"] == "True"
    (pod,) = place.pods("probe")
    assert place.log(pod, "cuda-vector-add").splitlines()[-2:] == ["Test PASSED", "Done"]


def test_the_driver_compiles_while_the_others_wait() -> None:
    place = Place()
    place.node("gpu-0", taints=[TAINT])
    place.node("plain", "t3.large")
    place.apply(*installation())
    place.go(0.5)
    assert place.said() == ("ready", "NFDLabelsMissing", "No NFD labels found")  # ready is not the same as usable
    wait_for_pod(place, DRIVER)
    place.go(1.5)
    driver, plugin = place.pod(DRIVER), place.pod(PLUGIN)
    assert (driver["status"]["phase"], condition(driver, "Ready")[1]) == ("Running", "ContainersNotReady")
    assert "Compiling NVIDIA driver kernel modules..." in place.log(driver, "nvidia-driver-ctr")
    assert "Done, now waiting for signal" not in place.log(driver, "nvidia-driver-ctr")
    (init,) = plugin["status"]["initContainerStatuses"]
    assert init["state"].keys() == {"running"}
    assert (plugin["status"]["phase"], waiting(plugin, "nvidia-device-plugin")[0]) == ("Pending", "PodInitializing")
    state, reason, text = place.said()
    assert (state, reason) == ("notReady", "OperandNotReady")
    assert text.startswith("ClusterPolicy is not ready, states not ready: [state-driver state-container-toolkit")
    assert place.allocatable("gpu-0") is None
    place.go()
    assert place.log(place.pod(DRIVER), "nvidia-driver-ctr").endswith("Done, now waiting for signal\n")
    assert place.said()[:2] == ("ready", "Reconciled")


def wait_for_pod(place: Place, app: str) -> None:
    for _ in range(100):
        if place.pods(app):
            return
        place.go(0.25)
    raise AssertionError(f"no pod of {app}")


def test_labels_follow_one_another() -> None:
    place = installed(kind="p4d.24xlarge")
    labels = place.labels("gpu-0")
    assert labels["feature.node.kubernetes.io/pci-10de.present"] == "true"
    assert labels["feature.node.kubernetes.io/system-os_release.VERSION_ID"] == "24.04"
    assert labels["nvidia.com/gpu.present"] == labels["nvidia.com/gpu.deploy.mig-manager"] == "true"
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-40GB"
    assert (labels["nvidia.com/gpu.count"], place.allocatable("gpu-0")) == ("8", "8")
    assert labels["nvidia.com/cuda.driver-version.full"] == "595.91.07"
    assert place.pods("nvidia-mig-manager")
    plain = place.labels("plain")
    assert "feature.node.kubernetes.io/kernel-version.full" in plain
    assert not [name for name in plain if name.startswith("nvidia.com/") or "pci" in name]


def test_every_operand_is_ready_and_belongs_to_the_policy() -> None:
    place = installed()
    daemons = {one["metadata"]["name"]: one for one in place.store.list("daemonsets.apps", "gpu-operator")}
    expected = {
        DRIVER, PLUGIN, "nvidia-container-toolkit-daemonset", "gpu-feature-discovery", "nvidia-dcgm-exporter",
        "nvidia-operator-validator", "nvidia-mig-manager", "nfd-worker",
    }  # fmt: skip
    assert set(daemons) == expected  # no dcgm, no node status exporter
    for name in expected - {"nfd-worker", "nvidia-mig-manager"}:
        status = daemons[name]["status"]
        assert (status["desiredNumberScheduled"], status["numberReady"], status["updatedNumberScheduled"]) == (1, 1, 1)
        assert status["observedGeneration"] == daemons[name]["metadata"]["generation"]
        assert daemons[name]["metadata"]["ownerReferences"][0]["kind"] == "ClusterPolicy"
    assert daemons["nvidia-mig-manager"]["status"]["desiredNumberScheduled"] == 0
    assert daemons["nfd-worker"]["status"]["numberReady"] == 2
    assert place.pod("nvidia-cuda-validator")["status"]["phase"] == "Succeeded"
    validator = place.pod("nvidia-operator-validator")["status"]["initContainerStatuses"]
    assert [one["name"] for one in validator] == [
        "driver-validation", "toolkit-validation", "cuda-validation", "plugin-validation",
    ]  # fmt: skip
    (image,) = [one["image"] for one in place.pod(DRIVER)["spec"]["containers"]]
    assert image == "nvcr.io/nvidia/driver:595.91.07-ubuntu24.04"


def test_a_machine_image_with_driver_and_toolkit_needs_no_pods_for_them() -> None:
    place = installed(driver={"enabled": False}, toolkit={"enabled": False})
    assert not place.pods(DRIVER) + place.pods("nvidia-container-toolkit-daemonset")
    assert (place.said()[0], place.allocatable("gpu-0")) == ("ready", "1")


def test_without_a_gpu_node_the_policy_is_ready_and_makes_nothing() -> None:
    place = installed(nodes=0)
    assert place.said()[:2] == ("ready", "NoGPUNodes")
    assert [one["metadata"]["name"] for one in place.store.list("daemonsets.apps")] == ["nfd-worker"]


def test_a_worker_that_does_not_tolerate_the_taint_labels_nothing() -> None:
    place = installed(tolerant=False)
    assert "feature.node.kubernetes.io/pci-10de.present" not in place.labels("gpu-0")
    assert place.said()[:2] == ("ready", "NoGPUNodes")


def test_a_new_node_gets_its_chain_by_itself_and_takes_it_along() -> None:
    place = installed()
    place.node("gpu-1", "g5.12xlarge", taints=[TAINT])
    place.go(2)
    assert place.said()[0] == "notReady"
    place.go()
    assert (place.said()[0], place.allocatable("gpu-1")) == ("ready", "4")
    place.store.delete("nodes", "gpu-1")
    place.go(1)
    assert len(place.pods(DRIVER)) == 1
    assert place.get("daemonsets.apps", DRIVER, "gpu-operator")["status"]["desiredNumberScheduled"] == 1


def test_a_node_may_stay_out() -> None:
    place = installed(nodes=2)
    node = place.get("nodes", "gpu-1")
    node["metadata"]["labels"]["nvidia.com/gpu.deploy.operands"] = "false"
    place.store.update(node)
    place.go(2)
    assert [pod["spec"]["nodeName"] for pod in place.pods(DRIVER)] == ["gpu-0"]
    assert place.allocatable("gpu-1") == "0"


def test_a_second_policy_is_ignored() -> None:
    place = installed()
    place.apply(cluster_policy("another"))
    place.go(2)
    assert (place.said("another")[0], place.said()[0]) == ("ignored", "ready")


def test_an_old_operator_has_a_state_alone_and_a_home_for_its_operands() -> None:
    place = Place()
    place.node("plain", "t3.large")
    place.node("gpu-0")
    place.apply(namespace("gpu-operator-resources"))
    for body in installation(driver={"version": "580.159.03"}):
        if body["metadata"]["name"] == "gpu-operator" and body["kind"] == "Deployment":
            body["spec"]["template"]["spec"]["containers"][0]["image"] = "nvcr.io/nvidia/gpu-operator:v22.9.1"
        place.apply(body)
    place.go()
    assert place.policy()["status"] == {"state": "ready", "namespace": "gpu-operator-resources"}
    assert place.pod(DRIVER)["metadata"]["namespace"] == "gpu-operator-resources"
    assert place.allocatable("gpu-0") == "1"


def test_without_its_policy_everything_goes() -> None:
    place = installed()
    place.store.delete("clusterpolicies.nvidia.com", "cluster-policy")
    place.go(2)
    assert not place.pods(DRIVER) + place.pods(PLUGIN) + place.pods("nvidia-cuda-validator")
    assert place.allocatable("gpu-0") == "0"
    assert not [name for name in place.labels("gpu-0") if name.startswith("nvidia.com/")]
    place.apply(cluster_policy())
    place.go()
    assert (place.said()[0], place.allocatable("gpu-0")) == ("ready", "1")


def test_a_new_driver_takes_one_node_after_the_other() -> None:
    place = installed(nodes=2)
    place.apply(cluster_policy(driver={"version": "580.159.03"}))
    fewest, states = 2, set()
    for _ in range(100):
        place.go(0.25)
        now = [place.allocatable(f"gpu-{number}") for number in range(2)]
        fewest = min(fewest, sum(map(int, filter(None, now))))
        states |= {place.labels(f"gpu-{number}").get("nvidia.com/gpu-driver-upgrade-state") for number in range(2)}
    assert fewest == 1  # one node keeps computing
    assert states == {"upgrade-required", "pod-restart-required", "upgrade-done"}
    images = {pod["spec"]["containers"][0]["image"] for pod in place.pods(DRIVER)}
    assert images == {"nvcr.io/nvidia/driver:580.159.03-ubuntu24.04"}
    assert place.labels("gpu-0")["nvidia.com/cuda.driver-version.full"] == "580.159.03"
    assert (place.said()[0], now) == ("ready", ["1", "1"])


def test_a_policy_needs_its_definition_first() -> None:
    place = Place()
    with pytest.raises(ApiError, match='no matches for kind "ClusterPolicy"'):
        place.apply(cluster_policy())
    place.store.apply(definition(), manager="tkgbot")
    name, kind = "clusterpolicies.nvidia.com", "customresourcedefinitions.apiextensions.k8s.io"
    place.inside.settle()
    assert condition(place.get(kind, name), "Established")[:2] == ("False", "Installing")
    with pytest.raises(ApiError, match='no matches for kind "ClusterPolicy"'):
        place.apply(cluster_policy())
    place.go(0.5)
    assert condition(place.get(kind, name), "Established")[:2] == ("True", "InitialNamesAccepted")
    place.apply(cluster_policy())
    assert place.policy()["metadata"]["name"] == "cluster-policy"
