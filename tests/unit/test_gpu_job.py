"""The CUDA test of one node: its Job, and the verdict on how it ended. Only one that completed and says so passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.clients.kube import Cluster
from handlers.gpu.job import (
    FAIL,
    LOG_LINES,
    NODE,
    OPEN,
    PASS,
    REQUEST,
    Trial,
    advice,
    job_name,
    judged,
    render_job,
    stored,
    trials,
)
from handlers.gpu.seen import GpuNode, Verdict, look, verdict_of
from tests.unit.gpu_worlds import Workload, served

IMAGE = "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04"
MINE, EARLIER = "r-7f3a2c", "r-000001"
GOOD = "[Vector addition of 50000 elements]\nTest PASSED\nDone\n"


@pytest.fixture
def place() -> Workload:
    return Workload().begun()


@pytest.fixture
def kube(place: Workload, tmp_path: Path) -> Iterator[Cluster]:
    with served(place, tmp_path) as found:
        yield found


def node_of(kube: Cluster, name: str = "gpu-0") -> GpuNode:
    return next(node for node in look(kube).nodes if node.name == name)


def tried(place: Workload, kube: Cluster, request: str = MINE, timeout: int = 600, **switches: Any) -> Trial:
    """A test some time later."""
    place.switch(**switches)
    place.apply(render_job(request, node_of(kube), IMAGE, timeout, 3600))
    place.go(5)
    (trial,) = trials(kube, request).values()
    return trial


# -- the Job -----------------------------------------------------------------------------------------------------


def test_the_job_is_pinned_and_takes_one_gpu_through_the_scheduler(kube: Cluster) -> None:
    job: Any = render_job(MINE, node_of(kube), IMAGE, 600, 3600)
    spec = job["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "gpu-0"}
    assert "nodeName" not in spec, "that would go past the scheduler, which knows what is free"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    (container,) = spec["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert (spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("Never", False)
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 600)
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert job["metadata"]["labels"][REQUEST] == MINE
    assert job["metadata"]["annotations"][NODE] == "gpu-0"


def test_names_are_short_and_tell_requests_and_nodes_apart() -> None:
    names = {job_name(request, uid) for request in (MINE, EARLIER) for uid in ("a", "b", "x" * 500)}
    assert len(names) == 6
    assert max(map(len, names)) <= 63


# -- the verdict -------------------------------------------------------------------------------------------------


def test_a_pass_is_a_job_that_completed_and_says_so(place: Workload, kube: Cluster) -> None:
    trial = tried(place, kube)
    verdict, log = judged(trial, kube, MINE, place.now())
    assert (verdict.result, verdict.why, verdict.request, verdict.at) == (PASS, "Test PASSED", MINE, place.now())
    assert log.endswith("Test PASSED\nDone\n")
    assert 0 <= verdict.seconds <= 5


def test_complete_without_the_word_is_inconclusive(place: Workload, kube: Cluster) -> None:
    verdict, log = judged(tried(place, kube, test_silent=True), kube, MINE, place.now())
    assert verdict.result == OPEN
    assert verdict.why == "the Job completed, and its log does not say that the test passed"
    assert log.endswith("Done\n")


def test_the_word_without_completion_is_no_pass(place: Workload, kube: Cluster) -> None:
    trial = tried(place, kube, cuda_insufficient=True)
    pod = trial.pod
    assert pod is not None
    place.store.container_logs[("default", pod["metadata"]["name"])]["cuda-vector-add"] = GOOD
    verdict, _ = judged(trial, kube, MINE, place.now())
    assert (verdict.result, verdict.why) == (FAIL, "Failed: exit code 1")


@pytest.mark.parametrize(
    ("switches", "result", "said", "hint"),
    [
        (
            {"cuda_insufficient": True},
            FAIL,
            "the CUDA of the test image is newer than the driver can run (“Failed to allocate",
            "newer driver",
        ),
        (
            {"test_image_arch": "exec"},
            FAIL,
            "the test image is for another processor architecture",
            "node's architecture",
        ),
        (
            {"test_image_arch": "manifest"},
            OPEN,
            "the test image could not be pulled: ImagePullBackOff: ",
            "architecture",
        ),
        ({"test_image_missing": True}, OPEN, "the test image could not be pulled: ImagePullBackOff: ", "test_image"),
        (
            {"gpu_busy": True},
            OPEN,
            "the test found no GPU in time: Unschedulable: 0/2 nodes are available: 1 Insufficient",
            "when a GPU is free",
        ),
    ],
)
def test_why_it_did_not_pass(
    place: Workload, kube: Cluster, switches: dict[str, Any], result: str, said: str, hint: str
) -> None:
    verdict, _ = judged(tried(place, kube, **switches), kube, MINE, place.now())
    assert verdict.result == result
    assert verdict.why.startswith(said)
    assert hint in advice(verdict.why)


def test_a_deadline_is_told_with_the_schedulers_last_words(place: Workload, kube: Cluster) -> None:
    """The pod is gone by then; its events are not."""
    trial = tried(place, kube, timeout=3, gpu_busy=True)
    assert trial.ended
    assert trial.pod is None
    verdict, log = judged(trial, kube, MINE, place.now())
    assert (verdict.result, log) == (OPEN, "")
    assert verdict.why.startswith(
        "the test found no GPU in time: 0/2 nodes are available: 1 Insufficient nvidia.com/gpu"
    )


def test_a_deadline_of_which_nobody_says_more(place: Workload, kube: Cluster) -> None:
    trial = Trial(
        {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}, None
    )
    assert judged(trial, kube, MINE, 0.0)[0].why == "the test did not end in time"
    other = Trial(
        {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}]}}, None
    )
    assert judged(other, kube, MINE, 0.0)[0].why == "the Job failed (PodFailurePolicy)"


# -- whose tests -------------------------------------------------------------------------------------------------


def test_jobs_of_other_requests_are_no_proof(place: Workload, kube: Cluster) -> None:
    assert judged(tried(place, kube, EARLIER), kube, EARLIER, 0.0)[0].result == PASS
    assert trials(kube, MINE) == {}
    node = node_of(kube)
    assert job_name(EARLIER, node.uid) != job_name(MINE, node.uid)


@pytest.mark.parametrize(
    "changes", [{"name": "cuda-vector-add"}, {"annotations": {NODE: "gpu-0"}}, {"annotations": {}}]
)
def test_a_job_that_others_labelled_for_this_request_is_no_proof(
    place: Workload, kube: Cluster, changes: dict[str, Any]
) -> None:
    job: Any = render_job(MINE, node_of(kube), IMAGE, 600, 3600)
    job["metadata"] |= changes
    place.apply(job)
    place.go(5)
    assert len(place.pods("cuda-vector-add")) == 1
    assert trials(kube, MINE) == {}


def test_another_node_of_the_name_is_not_the_one_that_was_tested(place: Workload, kube: Cluster) -> None:
    before = node_of(kube)
    tried(place, kube)
    place.store.delete("nodes", "gpu-0")
    place.node("gpu-0")
    after = node_of(kube)
    assert after.uid != before.uid
    assert set(trials(kube, MINE)) == {before.uid}


def test_the_newest_pod_of_a_job_counts() -> None:
    def pod(name: str, minute: int) -> Any:
        stamp = f"2026-09-21T13:0{minute}:00Z"
        return {"metadata": {"name": name, "labels": {"job-name": job["metadata"]["name"]}, "creationTimestamp": stamp}}

    job: Any = {"metadata": {"name": job_name(MINE, "u"), "annotations": {"tkgbot/node-uid": "u"}}}

    class Listed:
        def pages(self, kind: Any, namespace: str = "", labels: str = "") -> Iterator[Any]:
            assert (namespace, labels) in (("default", f"{REQUEST}={MINE}"), ("default", ""))
            return iter({"Job": [job], "Pod": [pod("old", 1), pod("new", 2)]}.get(kind.name, []))

    found = trials(Listed(), MINE)["u"].pod  # type: ignore[arg-type]
    assert found is not None
    assert found["metadata"]["name"] == "new"


def test_a_log_is_read_from_its_end(place: Workload, kube: Cluster) -> None:
    trial = tried(place, kube)
    assert trial.pod is not None
    long = "x\n" * (2 * LOG_LINES) + "Test PASSED\n"
    place.store.container_logs[("default", trial.pod["metadata"]["name"])]["cuda-vector-add"] = long
    verdict, log = judged(trial, kube, MINE, place.now())
    assert (verdict.result, len(log.splitlines())) == (PASS, LOG_LINES)


# -- the annotation ----------------------------------------------------------------------------------------------


def test_a_verdict_survives_its_annotation() -> None:
    verdict = Verdict(MINE, FAIL, "it says “no”", 1_790_000_000.5, 12)
    assert verdict_of(stored(verdict)) == verdict


GIVEN: dict[str, Any] = {"request": MINE, "result": PASS, "why": "x", "at": 1.0, "seconds": 2}


@pytest.mark.parametrize(
    "text",
    [
        "", "passed", "null", "[]", "7", "{}", '"x"', "{" * 9, "[" * 100_000, '{"a":' * 50_000, "\x00", "\ud800",
        json.dumps({**GIVEN, "at": "soon"}), json.dumps({**GIVEN, "at": None}), json.dumps({**GIVEN, "seconds": [1]}),
        json.dumps({**GIVEN, "at": float("nan")}), json.dumps({**GIVEN, "at": float("-inf")}),
        json.dumps({**GIVEN, "seconds": float("inf")}), json.dumps({**GIVEN, "at": 10**400}),
        json.dumps({**GIVEN, "seconds": "9" * 5000}), json.dumps({**GIVEN, "result": "<!channel>"}),
        json.dumps({**GIVEN, "result": [PASS]}), json.dumps({**GIVEN, "result": None}),
        json.dumps({key: value for key, value in GIVEN.items() if key != "why"}),
    ],
)  # fmt: skip
def test_an_annotation_that_nobody_of_this_bots_kind_wrote_is_no_verdict(text: str) -> None:
    assert verdict_of(text) is None


def test_words_in_an_annotation_are_short_and_whole() -> None:
    found = verdict_of(json.dumps({**GIVEN, "why": "`<!channel>`\n\ud800" + "x" * 2**20}))
    assert found is not None
    assert found.why.startswith("'<!channel>' ?xxx")
    assert len(found.why) < 300
