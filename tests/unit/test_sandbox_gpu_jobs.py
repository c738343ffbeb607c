"""Pods, Jobs and the scheduler inside the sandbox's workload clusters, with the words of the real ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.insides import DRIVER, TAINT, Obj, Place, condition, installed, job, waiting, workload

pytestmark = pytest.mark.long

ANYWHERE: list[Obj] = [{"operator": "Exists"}]
CONTAINER = "cuda-vector-add"


def tried(place: Place, name: str = "probe", node: str = "gpu-0", seconds: float = 4, **spec: Any) -> Obj:
    """The job some seconds later."""
    place.apply(job(name, node, **{"tolerations": ANYWHERE, **spec}))
    place.go(seconds)
    return place.get("jobs.batch", name, "default")


def test_a_job_runs_its_pod_and_completes() -> None:
    place = installed()
    done = tried(place)
    assert condition(done, "Complete") == ("True", "CompletionsReached", "Reached expected number of succeeded pods")
    assert (done["status"]["succeeded"], done["status"].get("active")) == (1, None)
    assert {"startTime", "completionTime"} <= set(done["status"])
    (pod,) = place.store.list("pods", "default", "batch.kubernetes.io/job-name=probe")
    labels = pod["metadata"]["labels"]
    assert labels["job-name"] == labels["app"] == "probe"
    assert labels["batch.kubernetes.io/controller-uid"] == done["metadata"]["uid"]
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Job"
    assert (pod["spec"]["nodeName"], pod["status"]["phase"]) == ("gpu-0", "Succeeded")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert condition(pod, "Ready")[:2] == ("False", "PodCompleted")
    assert place.log(pod, CONTAINER).splitlines() == [
        "[Vector addition of 50000 elements]",
        "Copy input data from the host memory to the CUDA device",
        "CUDA kernel launch with 196 blocks of 256 threads",
        "Copy output data from the CUDA device to the host memory",
        "Test PASSED",
        "Done",
    ]
    place.store.delete("jobs.batch", "probe", "default")
    assert not place.pods("probe")


def test_a_finished_job_goes_after_its_time() -> None:
    place = installed()
    assert tried(place, ttlSecondsAfterFinished=30)
    place.go(40, 5)
    assert not place.get("jobs.batch", "probe", "default")
    assert not place.pods("probe")


def test_the_scheduler_says_why_in_its_own_words() -> None:
    place = installed(nodes=2)
    place.apply(job("tainted", tolerations=[]), job("large", "gpu-0", gpus=2, tolerations=ANYWHERE))
    place.go(2)
    text = condition(place.pod("large"), "PodScheduled")
    assert text == (
        "False",
        "Unschedulable",
        "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not "
        "helpful for scheduling.",
    )
    text = condition(place.pod("tainted"), "PodScheduled")
    assert "1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {nvidia.com/gpu: present}" in text[2]
    assert any("Insufficient nvidia.com/gpu" in message for message in place.events("FailedScheduling"))
    assert place.pod("large")["status"]["phase"] == "Pending"


def test_a_gpu_is_given_to_one_pod_at_a_time() -> None:
    place = installed()
    place.apply(job("first", "gpu-0", tolerations=ANYWHERE), job("second", "gpu-0", tolerations=ANYWHERE))
    place.go(0.5)
    placed = sorted(bool(place.pod(name)["spec"].get("nodeName")) for name in ("first", "second"))
    assert placed == [False, True]
    place.go(4)
    assert {place.pod(name)["status"]["phase"] for name in ("first", "second")} == {"Succeeded"}


def test_a_job_that_takes_too_long_fails() -> None:
    place = installed()
    late = tried(place, gpus=8, seconds=12, activeDeadlineSeconds=10)
    assert condition(late, "Failed")[:2] == ("True", "DeadlineExceeded")
    assert not place.pods("probe")


def test_a_job_tries_again_up_to_its_limit() -> None:
    place = installed()
    place.switch(cuda_insufficient=True)
    failed = tried(place, backoffLimit=2, seconds=20)
    assert condition(failed, "Failed")[1] == "BackoffLimitExceeded"
    assert (failed["status"]["failed"], len(place.pods("probe"))) == (3, 3)


def test_a_job_without_a_gpu_just_ends() -> None:
    place = Place()
    place.node("plain", "t3.large")
    place.apply(job("plain", gpus=0, image="busybox"))
    place.go(2)
    assert condition(place.get("jobs.batch", "plain", "default"), "Complete")[0] == "True"


def test_deployments_get_their_pods_and_counters() -> None:
    place = Place()
    place.node("plain", "t3.large")
    web = workload("Deployment", "web", "default")
    place.apply({**web, "spec": {**web["spec"], "replicas": 2}})
    place.inside.settle()
    assert condition(place.get("deployments.apps", "web", "default"), "Available")[:2] == (
        "False", "MinimumReplicasUnavailable",
    )  # fmt: skip
    place.go(1)
    found = place.get("deployments.apps", "web", "default")
    assert condition(found, "Available")[0] == "True"
    status = found["status"]
    assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (2, 2, 2)
    assert status["observedGeneration"] == found["metadata"]["generation"]
    owners = {pod["metadata"]["ownerReferences"][0]["kind"] for pod in place.pods("web")}
    assert owners == {"ReplicaSet"}
    newer = workload("Deployment", "web", "default", image="web:2")
    place.apply({**newer, "spec": {**newer["spec"], "replicas": 2}})
    place.go(1)
    assert [pod["spec"]["containers"][0]["image"] for pod in place.pods("web")] == ["web:2", "web:2"]
    place.store.delete("deployments.apps", "web", "default")
    assert not place.pods("web")


def test_a_daemon_set_follows_nodes_selectors_and_templates() -> None:
    place = Place()
    place.node("plain", "t3.large")
    place.node("tainted", taints=[TAINT])
    place.apply(workload("DaemonSet", "agent", "default"))
    place.go(1)
    assert [pod["spec"]["nodeName"] for pod in place.pods("agent")] == ["plain"]
    place.apply(workload("DaemonSet", "agent", "default", tolerations=ANYWHERE))
    place.go(1)
    assert sorted(pod["spec"]["nodeName"] for pod in place.pods("agent")) == ["plain", "tainted"]
    chosen = {"kubernetes.io/hostname": "tainted"}
    place.apply(workload("DaemonSet", "agent", "default", tolerations=ANYWHERE, nodeSelector=chosen))
    place.go(1)
    assert [pod["spec"]["nodeName"] for pod in place.pods("agent")] == ["tainted"]


def test_nothing_runs_on_a_node_without_a_network() -> None:
    place = Place()
    place.node("plain", "t3.large", ready="False")
    place.apply(workload("Deployment", "web", "default"), workload("DaemonSet", "cni", "kube-system", hostNetwork=True))
    place.go(1)
    assert place.pod("cni")["status"]["phase"] == "Running"
    assert "untolerated taint {node.kubernetes.io/not-ready: }" in condition(place.pod("web"), "PodScheduled")[2]


def test_busy_gpus_leave_nothing_for_the_test() -> None:
    place = installed()
    place.switch(gpu_busy=True)
    place.go(1)
    stuck = tried(place)
    assert stuck["status"]["active"] == 1
    assert "1 Insufficient nvidia.com/gpu" in condition(place.pod("probe"), "PodScheduled")[2]
    place.switch(gpu_busy=False)
    place.go(3)
    assert place.pod("probe")["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("switch", "first", "text"),
    [
        ({"test_image_missing": True}, "ErrImagePull", "failed to resolve reference"),
        ({"test_image_arch": "manifest"}, "ErrImagePull", "no match for platform in manifest"),
    ],
)
def test_a_test_image_that_cannot_be_pulled(switch: Obj, first: str, text: str) -> None:
    place = installed()
    place.switch(**switch)
    tried(place, seconds=0.5)
    assert waiting(place.pod("probe"), CONTAINER)[0] == first
    place.go(1)
    reason, message = waiting(place.pod("probe"), CONTAINER)
    assert (reason, text in message) == ("ImagePullBackOff", True)
    assert any("Failed to pull image" in event for event in place.events("Failed"))
    assert place.get("jobs.batch", "probe", "default")["status"]["active"] == 1


@pytest.mark.parametrize(
    ("switch", "code", "text"),
    [
        ({"test_image_arch": "exec"}, 255, "exec format error"),
        ({"cuda_insufficient": True}, 1, "CUDA driver version is insufficient for CUDA runtime version"),
    ],
)
def test_a_test_that_fails(switch: Obj, code: int, text: str) -> None:
    place = installed()
    place.switch(**switch)
    failed = tried(place)
    assert condition(failed, "Failed")[1] == "BackoffLimitExceeded"
    (pod,) = place.pods("probe")
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code
    assert text in place.log(pod, CONTAINER)


def test_a_test_that_ends_well_without_the_word() -> None:
    place = installed()
    place.switch(test_silent=True)
    done = tried(place)
    assert condition(done, "Complete")[0] == "True"
    log = place.log(place.pod("probe"), CONTAINER)
    assert ("Test PASSED" in log, log.endswith("Done\n")) == (False, True)


def test_a_plugin_that_is_not_well_gives_nothing() -> None:
    place = installed()
    place.switch(plugin_unhealthy=True)
    place.go(1)
    assert place.allocatable("gpu-0") == "0"
    assert place.get("nodes", "gpu-0")["status"]["capacity"]["nvidia.com/gpu"] == "1"
    assert place.pod(DRIVER)["status"]["phase"] == "Running"
    assert place.said()[0] == "ready"
    tried(place)
    assert "Insufficient nvidia.com/gpu" in condition(place.pod("probe"), "PodScheduled")[2]
