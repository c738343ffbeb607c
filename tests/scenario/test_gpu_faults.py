"""What can go wrong with GPUs in a cluster: each time a sentence with cause, evidence and next step. Nothing is begun
where that is known before; a run that others' trouble stops is parked, and goes on when that is mended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import (
    CLUSTERS,
    Administrator,
    approve,
    ask,
    changes,
    create,
    done,
    instances,
    parked,
    thread,
    wait_for,
)
from tests.scenario.gpus import (
    CLUSTER,
    Owner,
    files,
    gpu_world,
    gpus,
    jobs,
    picture,
    restore,
    status,
    verdicts,
)
from tests.world import APPROVER, DEV, Json, World, eventually

pytestmark = pytest.mark.long

INSTALL, TEST = f"gpu install {CLUSTER}", f"gpu test {CLUSTER}"
GROW = f"{TEST} --scale 2"
QUOTA = "L-DB2E81BA"
RESTARTS = 3
"""A driver that was started again more often is no more only slow."""
REFUSED = {
    "credentials_rotated": "The cluster vision does not accept the bot's credentials (401)",
    "certificate_changed": "The bot cannot trust the certificate of the cluster vision",
}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with gpu_world() as made:
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    restore(shared)


def blocked(world: World, text: str, *said: str) -> str:
    """No plan that could be approved; the card says why, and nothing was changed. What it shows."""
    before = changes(world)
    card = ask(world, text, "Blocked")
    shown = " ".join(words(card).split())
    assert all(part in shown for part in said), shown
    assert "tkg:approve" not in buttons(card)
    assert changes(world) == before
    return shown


def resumed(world: World, card: Json) -> str:
    """Somebody has mended it and resumes the run, which is proven then; the whole thread."""
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    return done(world, card)


def begun(world: World, text: str) -> Json:
    """Asks and has it approved; the card."""
    card = ask(world, text)
    approve(world, card)
    return card


def shrunk(world: World, card: Json) -> None:
    """Takes a grown pool back to one machine, by the card's Undo."""
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:undo")
    new = world.view.wait(DEV, "Approval needed: scale md-gpu", since=since)
    approve(world, new)
    done(world, new)


# -- known before anything is begun ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("m5.large", "m5.large has no GPU"),
        ("g5g.xlarge", "g5g.xlarge has an Arm CPU (arm64): the images of driver and test are for x86-64"),
        ("g6f.large", "g6f.large has slices of a GPU, which need NVIDIA's vGPU drivers"),
    ],
)
def test_a_type_without_gpus_of_use(world: World, kind: str, why: str) -> None:
    vpc = world.vpcs["demo"]["id"]
    blocked(world, f"cluster create odd --plan dev --vpc {vpc} --gpu {kind}", why, "Use a type such as g4dn.xlarge")


def test_a_quota_of_zero(world: World) -> None:
    world.view.aws_faults(quota=[f"{QUOTA}=0"])
    said = ("vCPU quota of G and VT instances", "Limit 0, used 4", "needed 4", f"--quota-code {QUOTA}")
    blocked(world, f"cluster create poor --plan dev --vpc {world.vpcs['demo']['id']} --gpu g4dn.xlarge", *said)
    blocked(world, GROW, *said)
    blocked(world, f"cluster scale {CLUSTER} --pool md-gpu --workers 2", *said)


def test_a_cluster_that_is_not_ready(world: World) -> None:
    world.kube_faults(control_plane_never_comes=True)
    card = create(world, "early")
    approve(world, card)
    wait_for(world, card, "has not joined as a node")
    said = ("The cluster's API answers", "The cluster early cannot be reached", "/tkg cluster get")
    blocked(world, "gpu install early", *said)
    world.view.click(DEV, card["ts"], "tkg:cancel")
    wait_for(world, card, "Cancelled")
    admin = Administrator(world)
    world.kube_faults(control_plane_never_comes=None, pace=0.02)
    admin.delete(CLUSTERS, "early", "default")
    eventually(lambda: admin.get(CLUSTERS, "early", "default") is None)


@pytest.mark.parametrize("switch", list(REFUSED))
def test_a_cluster_that_does_not_know_the_bot(world: World, switch: str) -> None:
    world.kube_faults(**{switch: True})
    eventually(lambda: REFUSED[switch] in words(ask(world, TEST, "Blocked")))  # connections are cut first
    for text in (INSTALL, TEST):
        blocked(world, text, "The cluster's API answers", REFUSED[switch], f"the secret {CLUSTER}-kubeconfig")
    said = status(world, REFUSED[switch], last="")
    assert f"the secret {CLUSTER}-kubeconfig up to date; see whether it runs, and ask again" in said


# -- the chain from the driver to the GPU ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "cause", "fix"),
    [
        (
            {"operator_image_missing": True},
            ("pod gpu-operator/gpu-operator-", "ImagePullBackOff", "gpu-operator:v26.7.0: not found"),
            "Check the version, and that nodes reach the registry",
        ),
        (
            {"driver_image_missing": True},
            ("the driver: pod gpu-operator/nvidia-driver-daemonset-", "is in ImagePullBackOff", "-ubuntu24.04"),
            "There is no image of this driver for ubuntu24.04: name another one",
        ),
        (
            {"driver_crash": "kernel-headers"},
            ("is in CrashLoopBackOff", "the headers of the node's kernel are not", "“Could not resolve Linux kernel"),
            "Use a newer machine image, a precompiled driver",
        ),
    ],
    ids=["operator image", "driver image", "driver crashes"],
)
def test_a_chain_that_breaks(world: World, switches: dict[str, Any], cause: tuple[str, ...], fix: str) -> None:
    """Said by the status, before a test, and by an installation, which waits for a person and then goes on."""
    world.kube_faults(**switches)
    eventually(lambda: bool(_not_running(world)))
    blocked(world, TEST, "GPUs that can be used", cause[0])
    said = status(world, f"of {CLUSTER} can")
    assert all(part in said for part in (*cause, fix)), said
    card = begun(world, INSTALL)
    assert "nothing, no cost" in words(card), "every object is as planned already"
    told = parked(world, card)
    assert all(part in told for part in (*cause, fix)), told
    assert "GPUs can be used on" not in told
    world.kube_faults(**dict.fromkeys(switches))
    assert "1 GPU can be used on 1 of 1 GPU nodes" in resumed(world, card)


def _not_running(world: World) -> list[str]:
    """The pods of the GPU operator that wait for something that does not come."""
    every = Owner(world).list("pods", "gpu-operator")
    states = [
        (pod["metadata"]["name"], status["state"].get("waiting", {}).get("reason", ""), status.get("restartCount", 0))
        for pod in every
        for status in pod["status"].get("containerStatuses", [])
    ]
    return [name for name, why, again in states if why == "ImagePullBackOff" or (why and again > RESTARTS)]


def test_ready_without_a_gpu_is_not_usable(world: World) -> None:
    world.kube_faults(plugin_unhealthy=True)
    eventually(lambda: gpus(world) == [0])
    said = status(world, f"0 of 1 GPU nodes of {CLUSTER} can be used")
    assert "ClusterPolicy cluster-policy is ready, and no GPU can be used" in said
    blocked(world, TEST, "GPUs that can be used", "0 of 1 GPUs are healthy", "replace the machine")


def test_a_node_without_labels(world: World) -> None:
    """Discovery sees nothing on a machine that comes: its chain never begins."""
    world.kube_faults(nfd_blind=True)
    card = begun(world, GROW)
    told = parked(world, card)
    assert "node feature discovery runs on it and has found no NVIDIA device" in told, told
    assert "Is the machine really of a type with NVIDIA GPUs? The log of its worker says what it saw" in told
    world.kube_faults(nfd_blind=None)
    resumed(world, card)
    assert [row["VERDICT"] for row in verdicts(world, card)] == ["passed", "passed"]
    shrunk(world, card)


def test_no_capacity_for_a_machine(world: World) -> None:
    world.view.aws_faults(no_capacity=["g4dn.*"])
    card = begun(world, GROW)
    told = parked(world, card)
    assert "AWS has no free capacity for this instance type in that zone at the moment" in told, told
    assert "“InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity" in told
    assert "take another zone or another instance type" in told
    world.view.aws_faults(no_capacity=[])
    resumed(world, card)
    assert [entry["InstanceType"] for entry in instances(world)].count("g4dn.xlarge") == 2
    shrunk(world, card)


# -- in the middle -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ("workload_unreachable", "The cluster vision cannot be reached"),
        ("certificate_changed", REFUSED["certificate_changed"]),
    ],
)
def test_the_api_goes_while_a_driver_compiles(world: World, switch: str, said: str) -> None:
    """A driver that compiles is told as such, and is no error; what was built stays when the run has to be parked."""
    world.kube_faults(slow_driver=True)
    _driver_again(world)
    status(world, "the driver compiles")
    card = begun(world, INSTALL)
    wait_for(world, card, "the driver compiles")
    shown = world.card(card)
    assert "Running: " in words(shown)
    assert "❌" not in thread(world, card)
    world.kube_faults(**{switch: True})
    assert said in parked(world, card)
    world.kube_faults(**{switch: None}, slow_driver=None)
    assert "1 GPU can be used on 1 of 1 GPU nodes" in resumed(world, card)


def _driver_again(world: World) -> None:
    """Somebody deletes the driver's pod: the next one begins to compile, and was never started again."""
    owner = Owner(world)

    def pods() -> set[str]:
        every = (pod["metadata"]["name"] for pod in owner.list("pods", "gpu-operator"))
        return {name for name in every if "driver-daemonset" in name}

    (old,) = pods()
    owner.delete("pods", old, "gpu-operator")
    eventually(lambda: bool(pods()) and old not in pods())


def waits_for_a_gpu(world: World) -> Json:
    """A test whose pod stays pending, because somebody else holds the GPU; its card."""
    world.kube_faults(gpu_busy=True)
    eventually(lambda: any("training" in one["metadata"]["name"] for one in Owner(world).list("pods", "default")))
    card = ask(world, TEST)
    assert "all in use (default/training-" in words(card)
    approve(world, card)
    world.view.wait(DEV, "1 Insufficient nvidia.com/gpu", thread=card["ts"], since=card["ts"])
    return card


def test_the_api_goes_while_a_test_waits_for_a_gpu(world: World) -> None:
    card = waits_for_a_gpu(world)
    world.kube_faults(workload_unreachable=True)
    assert "The cluster vision cannot be reached to" in parked(world, card)
    world.kube_faults(workload_unreachable=None, gpu_busy=None)
    resumed(world, card)
    assert [row["VERDICT"] for row in verdicts(world, card)] == ["passed"]
    assert jobs(world, card) == []


def test_rotated_credentials_end_a_test(world: World) -> None:
    """Nothing is parked for it: with good credentials it is asked for anew, and what was begun is no proof."""
    card = waits_for_a_gpu(world)
    world.kube_faults(credentials_rotated=True)
    wait_for(world, card, "Failed: test GPUs")
    world.view.wait(DEV, REFUSED["credentials_rotated"], thread=card["ts"], since=card["ts"])
    told = thread(world, card)
    assert "see whether it runs, and ask again" in told
    assert "Not begun, so not changed: write the verdict on each node" in told
    world.kube_faults(credentials_rotated=None, gpu_busy=None)
    again = begun(world, TEST)
    done(world, again)
    assert [row["VERDICT"] for row in verdicts(world, again)] == ["passed"]


def test_a_gpu_that_stays_busy(world: World) -> None:
    card = waits_for_a_gpu(world)
    told = _failed(world, card)
    assert "the test has not begun yet. Unschedulable: 0/3 nodes are available: 1 Insufficient nvidia.com/gpu" in told
    (row,) = verdicts(world, card)
    assert row["VERDICT"] == "inconclusive", "a test that never ran says nothing of the GPU"
    assert row["WHY"].startswith("the test found no GPU in time: 0/3 nodes are available")
    assert "Test it again when a GPU is free: other pods hold them" in told


# -- the test itself ---------------------------------------------------------------------------------------------


def _failed(world: World, card: Json) -> str:
    """The run ends with the verdict: told, drawn, and its Job gone. The whole thread."""
    wait_for(world, card, "Failed: test GPUs")
    world.view.wait(DEV, "1 of 1 GPU nodes did not pass", thread=card["ts"], since=card["ts"])
    assert "0 of 1 GPU nodes passed" in str(picture(world, card)["alt_txt"])
    assert jobs(world, card) == []
    return thread(world, card)


@pytest.mark.parametrize(
    ("switches", "verdict", "why", "fix", "log"),
    [
        (
            {"test_image_arch": "exec"}, "failed",
            "the test image is for another processor architecture than the node (“exec /cuda-samples/vectorAdd",
            "Set operations.gpu.test_image to an image for the node's architecture", "exec format error",
        ),
        (
            {"test_image_arch": "manifest"}, "inconclusive", "the test image could not be pulled",
            "Set operations.gpu.test_image to an image for the node's architecture", "",
        ),
        (
            {"test_image_missing": True}, "inconclusive", "the test image could not be pulled: ",
            "Check operations.gpu.test_image , and that nodes reach its registry", "",
        ),
        (
            {"cuda_insufficient": True}, "failed", "the CUDA of the test image is newer than the driver can run",
            "Name a newer driver", "CUDA driver version is insufficient for CUDA runtime version",
        ),
    ],
    ids=["another architecture", "no platform", "no image", "old driver"],
)  # fmt: skip
def test_a_test_that_does_not_pass(
    world: World, switches: dict[str, Any], verdict: str, why: str, fix: str, log: str
) -> None:
    world.kube_faults(**switches)
    _does_not_pass(world, verdict, why, fix, log)


def _does_not_pass(world: World, verdict: str, why: str, fix: str, log: str) -> None:
    """The table, the log (where there is one), the advice and the status say the same."""
    card = begun(world, TEST)
    told = _failed(world, card)
    (row,) = verdicts(world, card)
    assert row["VERDICT"] == verdict
    assert row["WHY"].startswith(why)
    assert fix in told, told
    logs = [world.view.file(DEV, file).decode() for file in files(world, card, ".log")]
    assert len(logs) == bool(log)
    assert all(log in content and "Test PASSED" not in content for content in logs)
    assert f"{verdict} " in status(world, f"The one GPU of {CLUSTER} can be used")


def test_an_older_pass_is_no_proof(world: World) -> None:
    """The word of a pass has to come from this very test; a Job that only completed says nothing."""
    passed = begun(world, TEST)
    done(world, passed)
    assert [row["VERDICT"] for row in verdicts(world, passed)] == ["passed"]
    world.kube_faults(test_silent=True)
    why = "the Job completed, and its log does not say that the test passed"
    _does_not_pass(world, "inconclusive", why, "the log is in the thread", "CUDA kernel launch with 196 blocks")
