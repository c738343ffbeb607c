"""What goes wrong on the way to a usable GPU, by a switch or by its cause, and how it shows."""

from __future__ import annotations

import pytest

from sandbox.kube.actors.stage import ActorFaults, checked
from tests.unit.insides import DRIVER, PLUGIN, TAINT, Place, cluster_policy, condition, installation, installed, waiting

pytestmark = pytest.mark.long

CONTAINER = "nvidia-driver-ctr"


def begun(**switches: object) -> Place:
    """An installation that began with a switch on."""
    place = Place()
    place.node("plain", "t3.large")
    place.node("gpu-0", taints=[TAINT])
    vars(place.faults).update(checked(switches))
    place.apply(*installation())
    place.go(10)
    return place


def test_an_operator_whose_image_is_not_there() -> None:
    place = begun(operator_image_missing=True)
    pod = place.pod("gpu-operator")
    reason, text = waiting(pod, "gpu-operator")
    assert reason == "ImagePullBackOff"
    assert text.startswith(
        'Back-off pulling image "nvcr.io/nvidia/gpu-operator:v26.7.0": ErrImagePull: rpc error: code'
    )
    assert condition(place.get("deployments.apps", "gpu-operator", "gpu-operator"), "Available")[0] == "False"
    assert "status" not in place.policy()
    place.switch(operator_image_missing=False)
    place.go()
    assert place.allocatable("gpu-0") == "1"


def test_a_driver_image_that_is_not_there() -> None:
    place = begun(driver_image_missing=True)
    reason, text = waiting(place.pod(DRIVER), CONTAINER)
    assert reason == "ImagePullBackOff"
    assert "nvcr.io/nvidia/driver:595.91.07-ubuntu24.04: not found" in text
    assert place.said()[0] == "notReady"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("kernel-headers", "Could not resolve Linux kernel version"),
        ("gpl", "GPL-incompatible module nvidia.ko uses GPL-only symbol"),
        ("nouveau", "nouveau kernel driver is currently in use"),
    ],
)
def test_a_driver_that_crashes(kind: str, text: str) -> None:
    place = begun(driver_crash=kind)
    place.go(60, 1)
    pod = place.pod(DRIVER)
    assert waiting(pod, CONTAINER)[0] == "CrashLoopBackOff"
    status = pod["status"]["containerStatuses"][0]
    assert status["restartCount"] > 3
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert text in place.log(pod, CONTAINER)
    assert waiting(place.pod(PLUGIN), "nvidia-device-plugin")[0] == "PodInitializing"
    assert place.events("BackOff")
    place.switch(driver_crash="")
    place.go()
    assert (place.said()[0], place.allocatable("gpu-0")) == ("ready", "1")
    assert place.pod(DRIVER)["status"]["containerStatuses"][0]["restartCount"] > 3


def test_a_driver_that_does_not_fit_the_kernel_or_the_gpu() -> None:
    old = installed(driver={"version": "460.32.03"})
    assert waiting(old.pod(DRIVER), CONTAINER)[0] == "CrashLoopBackOff"
    assert "GPL-only symbol" in old.log(old.pod(DRIVER), CONTAINER)
    volta = installed(kind="p3dn.24xlarge")
    assert "could not insert 'nvidia': No such device" in volta.log(volta.pod(DRIVER), CONTAINER)
    volta.apply(cluster_policy(driver={"version": "580.159.03"}))
    volta.go()
    assert volta.allocatable("gpu-0") == "8"


def test_a_crash_does_not_spin_at_pace_0() -> None:
    place = Place(pace=0)
    place.node("plain", "t3.large")
    place.node("gpu-0", taints=[TAINT])
    place.faults.driver_crash = "gpl"
    place.apply(*installation())
    place.inside.settle()
    assert waiting(place.pod(DRIVER), CONTAINER)[0] == "CrashLoopBackOff"
    before = place.store.memory.revision
    place.inside.settle()
    assert place.store.memory.revision == before
    assert place.inside.ground.wake_after


def test_a_slow_driver_compiles_until_it_may_not() -> None:
    place = begun(slow_driver=True)
    place.go(600, 30)
    pod = place.pod(DRIVER)
    assert (pod["status"]["phase"], condition(pod, "Ready")[0]) == ("Running", "False")
    assert place.log(pod, CONTAINER).endswith("Compiling NVIDIA driver kernel modules...\n")
    place.switch(slow_driver=False)
    place.go()
    assert place.allocatable("gpu-0") == "1"


def test_a_discovery_that_sees_nothing() -> None:
    place = begun(nfd_blind=True)
    assert not [name for name in place.labels("gpu-0") if name.startswith("feature.node")]
    assert place.said() == ("ready", "NFDLabelsMissing", "No NFD labels found")
    place.switch(nfd_blind=False)
    place.go()
    assert place.allocatable("gpu-0") == "1"


def test_a_validator_that_lies() -> None:
    place = begun(slow_driver=True, validator_lies=True)
    assert place.said()[:2] == ("ready", "Reconciled")
    assert condition(place.pod("nvidia-operator-validator"), "Ready")[0] == "True"
    assert condition(place.pod(DRIVER), "Ready")[0] == "False"


def test_pod_security_keeps_privileged_pods_out_of_a_plain_namespace() -> None:
    place = Place()
    place.node("gpu-0")
    place.switch(pod_security=True)
    place.apply(*installation(privileged=False))
    place.go(5)
    assert not place.pods("nfd-worker")
    (text,) = [message for message in place.events("FailedCreate") if "nfd-worker" in message]
    assert text.endswith(
        'is forbidden: violates PodSecurity "restricted:latest": hostPath volumes (volumes "host-sys")'
    )
    assert place.pods("nfd-master")
    labelled = place.get("namespaces", "gpu-operator")
    labelled["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"
    place.store.update(labelled)
    place.go()
    assert place.allocatable("gpu-0") == "1"


def test_privileged_operands_are_refused_too() -> None:
    place = installed(privileged=False)
    place.switch(pod_security=True)
    driver = place.pod(DRIVER)
    place.store.delete("pods", driver["metadata"]["name"], "gpu-operator")
    place.go(1)
    assert not place.pods(DRIVER)
    assert "must not set securityContext.privileged=true" in place.events("FailedCreate")[0]
    assert place.get("daemonsets.apps", DRIVER, "gpu-operator")["status"]["numberUnavailable"] == 1


def test_a_small_root_volume_is_full_with_a_driver_on_it() -> None:
    place = Place()
    place.node("gpu-0", root=30)
    place.apply(*installation())
    place.go()
    assert condition(place.get("nodes", "gpu-0"), "DiskPressure")[:2] == ("True", "KubeletHasDiskPressure")
    assert condition(place.get("nodes", "gpu-0"), "Ready")[0] == "True"
    pod = place.pod(DRIVER)
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "Evicted")
    assert "The node was low on resource: ephemeral-storage." in pod["status"]["message"]
    assert (place.said()[0], place.allocatable("gpu-0")) == ("notReady", None)


def test_switches_are_checked_together() -> None:
    with pytest.raises(ValueError, match="driver_crash: 'sparks' is none of kernel-headers, gpl, nouveau"):
        checked({"gpu_busy": True, "driver_crash": "sparks"})
    with pytest.raises(ValueError, match="will not do for a bool"):
        checked({"gpu_busy": "yes"})
    with pytest.raises(ValueError, match="will not do for a str"):
        checked({"test_image_arch": 1})
    assert checked({"driver_crash": "gpl", "slow_driver": None}) == {"driver_crash": "gpl", "slow_driver": False}
    off = {name: value for name, value in vars(ActorFaults()).items() if value}
    assert off == {"pace": 1.0}
