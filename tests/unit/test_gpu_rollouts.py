"""A change of the operator's or the driver's version is done when the new one runs, and not when it is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.gpu.diagnosis import Diagnosis, Finding, diagnose
from handlers.gpu.pods import LONGEST, ends
from handlers.gpu.seen import CHAIN, GpuNode, Gpus
from tests.unit.makers import NOW

Obj = dict[str, Any]
NAMESPACE = "gpu-operator"


def deployment(**status: Any) -> Obj:
    return {
        "metadata": {"name": "gpu-operator", "namespace": NAMESPACE, "generation": 2},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, **status},
    }


def pod(app: str, image: str = "x:1", **waiting: str) -> Obj:
    state = {"waiting": waiting} if waiting else {"running": {}}
    ready = "False" if waiting else "True"
    return {
        "metadata": {"name": f"{app}-1", "namespace": NAMESPACE, "labels": {"app": app}},
        "spec": {"nodeName": "gpu-0", "containers": [{"name": "main", "image": image}]},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }


def seen(operator: Obj, *more: Obj, driver: str = "nvcr.io/nvidia/driver:580.126.20-ubuntu24.04", **spec: Any) -> Gpus:
    """A node whose whole chain holds; the policy wants the driver 595.91.07."""
    images = [driver, "x:1", "x:1", "x:1"]
    pods = tuple(pod(app, image) for app, image in zip(CHAIN, images, strict=True))
    labels = {
        "node.kubernetes.io/instance-type": "g4dn.xlarge", "nvidia.com/gpu.present": "true",
        "feature.node.kubernetes.io/pci-10de.present": "true",
    }  # fmt: skip
    counts = {"nvidia.com/gpu": "1"}
    conditions = [{"type": "Ready", "status": "True"}]
    node = {
        "metadata": {"name": "gpu-0", "labels": labels},
        "status": {"allocatable": counts, "capacity": counts, "conditions": conditions},
    }
    policy = {"spec": {"driver": {"version": "595.91.07", **spec}}, "status": {"state": "ready"}}
    owners = tuple({"metadata": {"name": app, "namespace": NAMESPACE, "labels": {"app": app}}} for app in CHAIN)
    return Gpus((GpuNode(node, pods),), operator, policy, (), owners, (*pods, *more))


class Nothing:
    """No events and no logs."""

    def pages(self, *_: Any) -> list[Obj]:
        return []


def looked(found: Gpus) -> Diagnosis:
    return diagnose(found, Nothing(), NOW)  # type: ignore[arg-type]


NEW = "nvcr.io/nvidia/driver:595.91.07-ubuntu24.04"


def test_the_new_operator_and_the_new_driver_run() -> None:
    assert looked(seen(deployment(), driver=NEW)).is_well


@pytest.mark.parametrize(
    "status",
    [{"observedGeneration": 1}, {"replicas": 2}, {"updatedReplicas": 0}, {"availableReplicas": 0}],
    ids=["not seen yet", "an older pod beside it", "only an older pod", "none"],
)
def test_an_operator_that_is_being_changed(status: Obj) -> None:
    whole = looked(seen(deployment(**status), driver=NEW)).whole
    assert whole == Finding("operator", "its pod is starting", "Give it a minute.", waits=True)


def test_the_new_operators_image_cannot_be_pulled_beside_the_old_one_that_runs() -> None:
    new = pod("gpu-operator-5d", reason="ImagePullBackOff", message="v99: not found")
    whole = looked(seen(deployment(replicas=2), new, driver=NEW)).whole
    assert whole is not None
    assert not whole.waits
    assert "ImagePullBackOff: v99: not found" in whole.evidence


def test_an_older_driver_is_on_its_way_out() -> None:
    ((_, found),) = looked(seen(deployment())).by_node
    assert found is not None
    assert found.waits
    assert found.evidence.startswith("the driver is not of version 595.91.07 yet (nvcr.io/nvidia/driver:580.126.20")


@pytest.mark.parametrize("spec", [{"version": ""}, {"useNvidiaDriverCRD": True}])
def test_a_version_that_the_policy_does_not_say(spec: Obj) -> None:
    assert looked(seen(deployment(), **spec)).is_well


def test_both_ends_of_what_a_runtime_says_are_kept() -> None:
    said = f'Back-off pulling image "{"x" * 400}": no match for platform in manifest: not found'
    assert len(ends(said)) <= LONGEST
    assert ends(said).startswith("Back-off pulling image")
    assert ends(said).endswith("no match for platform in manifest: not found")
    assert ends("a `b`\n c") == "a 'b' c"
