"""GPUs in a cluster's life as people see them: installed, proven node by node, scaled and proven again, changed, and
taken away. The way from the operator to the proof of a second machine runs on either database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import approve, ask, done, instances, thread
from tests.scenario.conftest import request_id
from tests.scenario.gpus import (
    CLUSTER,
    POLICIES,
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
from tests.scenario.test_cluster_life import in_order
from tests.scenario.test_forms import type_for_modal
from tests.world import DEV, Json, World

DATABASE = "postgres"
EITHER = pytest.mark.parametrize("shared", ["sqlite", "postgres"], indirect=True)
SQLITE = pytest.mark.parametrize("shared", ["sqlite"], indirect=True)
DEFAULT, OTHER = "595.91.07", "580.126.20"
VERDICT = "tkgbot/gpu-test"


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[World]:
    url = request.getfixturevalue("new_database")() if request.param == "postgres" else ""
    with gpu_world(url, operator=False) as made:
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    restore(shared)


def carried_out(world: World, text: str, asks: str) -> Json:
    """Asks, has it approved, and waits until it is proven; the card."""
    card = ask(world, text, f"Approval needed: {asks}")
    approve(world, card)
    done(world, card)
    return card


def taken_back(world: World, card: Json, asks: str) -> Json:
    """Undo, with its own approval; the card of that."""
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:undo")
    new = world.view.wait(DEV, f"Approval needed: {asks}", since=since)
    assert f"undoes {request_id(card)}" in words(new)
    approve(world, new)
    done(world, new)
    return new


def nodes(world: World) -> list[Json]:
    """The GPU nodes as their own cluster has them, by name."""
    found = [node for node in Owner(world).list("nodes") if "nvidia.com/gpu.present" in node["metadata"]["labels"]]
    return sorted(found, key=lambda node: str(node["metadata"]["name"]))


def drivers(world: World) -> list[str]:
    """The driver on each GPU node, as GPU feature discovery labels it."""
    return [node["metadata"]["labels"]["nvidia.com/cuda.driver-version.full"] for node in nodes(world)]


@pytest.mark.long
@EITHER
def test_from_the_operator_to_the_proof_of_a_second_machine(world: World) -> None:
    early = ask(world, f"gpu test {CLUSTER}", "Blocked: test GPUs")
    assert "the GPU operator is not installed" in words(early)
    assert "tkg:approve" not in buttons(early)
    assert gpus(world) == [0]
    _installed(world)
    _proven(world)
    _scaled_and_proven(world)


def _installed(world: World) -> None:
    card = carried_out(world, f"gpu install {CLUSTER}", f"install GPU operator v26.7.0 in {CLUSTER}")
    (node,) = (node["metadata"]["name"] for node in nodes(world))
    assert "28 created, no cost" in words(world.card(card))
    assert in_order(
        thread(world, card), "Done: define 7 kinds and make the namespace", "Done: apply the 21 objects",
        f"{node}: an NVIDIA device was found", "the driver is ready", "the device plugin is ready",
        "wait until drivers are built", "1 GPU can be used on 1 of 1 GPU nodes", "Done and proven",
        f"/tkg gpu uninstall {CLUSTER}",
    )  # fmt: skip
    assert gpus(world) == [1]
    again = ask(world, f"gpu install {CLUSTER}", "Already so")
    assert "tkg:approve" not in buttons(again)
    said = status(world, f"The one GPU of {CLUSTER} can be used (1 node)")
    assert in_order(said, "ClusterPolicy cluster-policy is ready", "DaemonSets ready", "nvidia-driver-daemonset 1/1")
    assert in_order(said, f"{node} usable 1/1 never Tesla-T4 {DEFAULT} 13.2 g4dn.xlarge", "Pods of the GPU operator")
    assert in_order(said, "gpu-operator nvidia-cuda-validator-", "0/1 Completed", "nvidia-driver-daemonset-", "Running")


def _proven(world: World) -> None:
    card = carried_out(world, f"gpu test {CLUSTER}", f"test GPUs of {CLUSTER} on 1 node")
    (node,) = nodes(world)
    (row,) = verdicts(world, card)
    name = node["metadata"]["name"]
    assert row == {
        "NODE": name, "VERDICT": "passed", "GPU": "Tesla-T4", "ALLOCATABLE": "1", "DRIVER": DEFAULT, "CUDA": "13.2",
        "SECONDS": row["SECONDS"], "TYPE": "g4dn.xlarge", "ZONE": "us-east-1a",
    }  # fmt: skip
    assert row["SECONDS"].isdecimal()
    assert in_order(str(picture(world, card)["alt_txt"]), "1 of 1 GPU nodes passed", name, "passed", "Tesla-T4")
    assert files(world, card, ".log") == [], "only what did not pass has a log"
    kept = json.loads(node["metadata"]["annotations"][VERDICT])
    assert (kept["request"], kept["result"]) == (request_id(card), "passed")
    assert jobs(world, card) == []
    assert "tkg:undo" not in buttons(world.card(card)), "a test leaves nothing to take back"
    assert f"{name} usable 1/1 passed" in status(world, f"The one GPU of {CLUSTER}")


def _scaled_and_proven(world: World) -> None:
    card = carried_out(world, f"gpu test {CLUSTER} --scale 2", f"scale md-gpu to 2 and test GPUs of {CLUSTER} on 2")
    assert "1 created, 1 changed, about $0.53 an hour" in words(world.card(card))
    assert [(row["VERDICT"], row["DRIVER"]) for row in verdicts(world, card)] == [("passed", DEFAULT)] * 2
    known, new = (node["metadata"]["name"] for node in nodes(world))
    said = thread(world, card)
    assert in_order(said, "Done: scale md-gpu from 1 to 2", f"{new}: the driver is ready", "2 of 2 GPU nodes passed")
    assert f"{known}: the driver is ready" not in said, "nothing is told of what was ready before"
    assert in_order(str(picture(world, card)["alt_txt"]), "2 of 2 GPU nodes passed", known, new)
    assert [entry["InstanceType"] for entry in instances(world)].count("g4dn.xlarge") == 2
    assert gpus(world) == [1, 1]
    back = taken_back(world, card, f"scale md-gpu of {CLUSTER} to 1 worker")
    assert "1 *deleted*, about $0.53 an hour less" in words(back)
    assert gpus(world) == [1]


@pytest.mark.long
@SQLITE
def test_workers_and_control_plane_are_scaled_and_back(world: World) -> None:
    card = carried_out(
        world, f"cluster scale {CLUSTER} --workers 2 --control-plane 3",
        f"scale {CLUSTER} to 2 workers and 3 control plane machines",
    )  # fmt: skip
    assert "3 created, about $0.26 an hour" in words(world.card(card))
    assert "vision-control-plane: 3/3 ready; vision-md-0: 2/2 ready" in thread(world, card)
    types = [entry["InstanceType"] for entry in instances(world)]
    assert [types.count(kind) for kind in ("t3.large", "m5.large", "g4dn.xlarge")] == [3, 2, 1], "GPUs are left alone"
    even = type_for_modal(world, DEV, f"cluster scale {CLUSTER} --control-plane 2")
    assert "etcd needs an odd one" in words(even)
    back = taken_back(world, card, f"scale md-0 of {CLUSTER} to 1 worker and 1 control plane machine")
    assert "3 *deleted*" in words(back)
    assert "the loss of that one is the cluster's" in words(back)
    assert len(instances(world)) == 3


@pytest.mark.long
@SQLITE
def test_another_driver_and_back(world: World) -> None:
    installed(world)
    card = carried_out(
        world, f"gpu install {CLUSTER} --driver-version {OTHER}",
        f"change the driver from {DEFAULT} to {OTHER} in {CLUSTER}",
    )  # fmt: skip
    assert drivers(world) == [OTHER], "it is done when the new driver runs, not when it is wanted"
    taken_back(world, card, f"change the driver from {OTHER} to {DEFAULT} in {CLUSTER}")
    assert drivers(world) == [DEFAULT]
    assert gpus(world) == [1]


@pytest.mark.long
@SQLITE
def test_taken_out_and_back(world: World) -> None:
    installed(world)
    card = carried_out(world, f"gpu uninstall {CLUSTER}", f"take GPU operator v26.7.0 out of {CLUSTER}")
    assert "28 *deleted*" in words(world.card(card))
    assert in_order(thread(world, card), "Gone: ClusterPolicy cluster-policy", "Gone: Deployment gpu-operator")
    assert gpus(world) == [0]
    owner = Owner(world)
    assert owner.get("namespaces", "gpu-operator") is None
    assert not [one for one in owner.list("daemonsets.apps") if "nvidia" in one["metadata"]["name"]]
    said = status(world, f"GPUs of {CLUSTER} cannot be used: the GPU operator is not installed", last="")
    assert "/tkg gpu install" in said
    taken_back(world, card, f"install GPU operator v26.7.0 in {CLUSTER}")
    assert gpus(world) == [1]
    assert [item["status"]["state"] for item in owner.list(POLICIES)] == ["ready"]


def installed(world: World) -> None:
    """Puts the operator there, if it is not."""
    if gpus(world) == [0]:
        carried_out(world, f"gpu install {CLUSTER}", "install GPU operator")
