"""Pods in words: what `kubectl get pods` calls them, and what is wrong with one, if anything."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.gpu.pods import LONGEST, clipped, is_fine, is_starting, place, restarts, status_word, trouble

Obj = dict[str, Any]


def container(name: str = "main", restarts: int = 0, **state: Any) -> Obj:
    kind, _, reason = str(state.pop("state", "running")).partition(":")
    inner = {**({"reason": reason} if reason else {}), **state.pop("inner", {})}
    return {"name": name, "restartCount": restarts, "state": {kind: inner}, **state}


def pod(*containers: Obj, init: tuple[Obj, ...] = (), phase: str = "Pending", **status: Any) -> Obj:
    return {
        "metadata": {"name": "p", "namespace": "gpu-operator", **status.pop("metadata", {})},
        "status": {
            "phase": phase, "containerStatuses": list(containers), "initContainerStatuses": list(init), **status,
        },
    }  # fmt: skip


DONE = container("first", state="terminated:Completed", inner={"exitCode": 0})
FAILED = container("first", state="terminated:Error", inner={"exitCode": 1})
READY = [{"type": "Ready", "status": "True"}]
UNPLACED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
WAITS = container(state="waiting:PodInitializing")


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (pod(container(), phase="Running"), "Running"),
        (pod(WAITS, init=(container("a"), container("b"))), "Init:0/2"),
        (pod(WAITS, init=(DONE, container("b"))), "Init:1/2"),
        (pod(WAITS, init=(container("a", state="waiting:CrashLoopBackOff"),)), "Init:CrashLoopBackOff"),
        (pod(WAITS, init=(container("a", state="waiting:PodInitializing"),)), "Init:0/1"),
        (pod(WAITS, init=(FAILED,)), "Init:Error"),
        (pod(WAITS, init=(DONE,)), "PodInitializing"),
        (pod(container(state="waiting:ImagePullBackOff")), "ImagePullBackOff"),
        (pod(DONE, phase="Succeeded"), "Completed"),
        (pod(FAILED, phase="Failed"), "Error"),
        (pod(phase="Failed", reason="Evicted"), "Evicted"),
        (pod(container(), metadata={"deletionTimestamp": "2026-09-21T13:00:00Z"}), "Terminating"),
        (pod(), "Pending"),
        ({}, "Unknown"),
    ],
)
def test_the_status_that_kubectl_shows(item: Obj, word: str) -> None:
    assert status_word(item) == word


@pytest.mark.parametrize(
    ("item", "kind", "reason", "said"),
    [
        (
            pod(container(state="waiting:ErrImagePull", inner={"message": "not found"})),
            "pull",
            "ErrImagePull",
            "not found",
        ),
        (pod(container(state="waiting:ImagePullBackOff", image="x:1")), "pull", "ImagePullBackOff", "x:1"),
        (pod(WAITS, init=(container("i", state="waiting:InvalidImageName"),)), "pull", "InvalidImageName", ""),
        (
            pod(container(state="waiting:CrashLoopBackOff", lastState={"terminated": {"message": "boom"}})),
            "crash",
            "CrashLoopBackOff",
            "boom",
        ),
        (
            pod(container(state="waiting:CreateContainerConfigError", inner={"message": "no runtime"})),
            "crash",
            "CreateContainerConfigError",
            "no runtime",
        ),
        (pod(FAILED, phase="Failed"), "failed", "Failed", "exit code 1"),
        (pod(phase="Failed", reason="Evicted", message="low on disk"), "failed", "Evicted", "low on disk"),
        (
            pod(phase="Failed", reason="UnexpectedAdmissionError"),
            "failed",
            "UnexpectedAdmissionError",
            "exit code not known",
        ),
        (pod(conditions=UNPLACED), "unschedulable", "Unschedulable", "0/3 nodes"),
    ],
)
def test_what_is_wrong(item: Obj, kind: str, reason: str, said: str) -> None:
    found = trouble(item)
    assert found is not None
    assert (found.kind, found.reason, found.text) == (kind, reason, said)
    assert not is_fine(item)


@pytest.mark.parametrize(
    "item",
    [
        pod(container(), phase="Running"),
        pod(container(), phase="Running", conditions=READY),
        pod(WAITS, init=(container("a"),)),
        pod(DONE, phase="Succeeded"),
        pod(container(state="terminated:Error", inner={"exitCode": 1}), phase="Running"),
        {},
    ],
)
def test_what_only_takes_its_time(item: Obj) -> None:
    assert trouble(item) is None


def test_ready_or_done_is_fine() -> None:
    """A validator's pod that has Succeeded is no pod that does not run."""
    assert is_fine(pod(DONE, phase="Succeeded"))
    assert is_fine(pod(container(), phase="Running", conditions=READY))
    assert not is_fine(pod(container(), phase="Running"))


def test_restarts_of_all_containers_count() -> None:
    item = pod(container(restarts=3), init=(container("i", restarts=2), DONE))
    assert (restarts(item), is_starting(item), is_starting(pod(init=(DONE,)))) == (5, True, False)
    assert place(item) == "gpu-operator/p"


def test_others_words_are_one_line_without_marks() -> None:
    assert clipped("a `b`\n\tc\x00") == "a 'b' c\x00"
    assert len(clipped("x" * 5000)) == LONGEST


@pytest.mark.parametrize(
    "item",
    [
        {"status": None},
        {"status": {"containerStatuses": "x"}},
        {"status": {"containerStatuses": [None, 7, {}]}},
        {"status": {"containerStatuses": [{"state": []}]}},
        {"metadata": [], "status": {"phase": 7}},
        {"status": {"initContainerStatuses": [{"restartCount": "many", "state": {"waiting": {"reason": 3}}}]}},
        {"status": {"conditions": {"type": "Ready"}}},
    ],
)
def test_pods_of_no_known_shape_break_nothing(item: Obj) -> None:
    assert trouble(item) is None
    assert restarts(item) == 0
    assert status_word(item)
    assert not is_fine(item)
