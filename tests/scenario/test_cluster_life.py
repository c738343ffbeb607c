"""A cluster's life as people see it: asked for, approved, watched, listed, proven, and taken away again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import (
    Administrator,
    amazon,
    approve,
    ask,
    begin,
    changes,
    clear,
    create,
    done,
    in_amazon,
    in_kubernetes,
    instances,
    parked,
    thread,
    undo_by_deleting,
    wait_for,
)
from tests.scenario.conftest import request_id
from tests.scenario.test_forms import inputs, type_for_modal
from tests.world import APPROVER, DEV, Json, World

DATABASE = "postgres"
"""Seconds from the command to the card: three are wanted, and machines differ."""
KEY = "kubernetes.io/cluster/"
OWNED = "sigs.k8s.io/cluster-api-provider-aws/cluster/"


@pytest.fixture(autouse=True)
def cleared(world: World) -> Iterator[None]:
    yield
    clear(world)


def in_order(text: str, *parts: str) -> bool:
    """Do the parts stand in the text, one behind the other? Fails with the first that does not."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        assert found >= 0, f"no “{part}” after:\n{text[:place]}\nbut:\n{text[place:]}"
        place = found + len(part)
    return True


def tags(entry: Json) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in entry["Tags"]}


def answer(world: World, text: str, contains: str) -> str:
    """What a read-only command answers, to the one who asked alone."""
    since = world.now()
    assert world.view.command(DEV, text).get("acked")
    found = world.view.wait(DEV, contains, since=since)
    assert found["ephemeral"]
    return " ".join(words(found).split())


def undone(world: World, card: Json, name: str) -> None:
    """Undo, with its own approval; afterwards nothing of the cluster is left anywhere."""
    new = undo_by_deleting(world, card, name)
    assert f"undoes {request_id(card)}" in words(new)
    assert "tkg:approve" in buttons(new)
    assert Administrator(world).get("clusters.cluster.x-k8s.io", name, "default"), "nothing before the approval"
    approve(world, new)
    done(world, new)
    assert in_kubernetes(world) == []
    assert in_amazon(world) == []


# -- from the question to the end --------------------------------------------------------------------------------


@pytest.mark.long
def test_a_dev_cluster_from_the_question_to_its_end(world: World) -> None:
    before = changes(world)
    card = create(world, "shop")
    shown = words(card)
    assert in_order(shown, "control-plane", "1 × t3.large", "demo-private-a", "md-0", "1 × m5.large", "us-east-1a")
    assert in_order(shown, "demo-public-a", f"+ {KEY}shop=shared", "demo-private-a", f"+ {KEY}shop=shared")
    assert "an hour" in shown
    assert changes(world) == before, "nothing before the approval"
    approve(world, card)
    told = done(world, card)
    assert in_order(
        told, "Done: put", "Done: create the 8 Kubernetes objects", "accepted, with 2 subnets", "Security groups made",
        "Load balancer of the API server made", "has joined as node", "Control plane initialised",
        "1 of 1 control plane machines ready", "Done: wait until the control plane answers", "1 of 1 workers ready",
        "Done: wait until all workers are ready", "Done and proven",
        "2 of 2 nodes of shop are Ready, seen in the cluster itself",
    )  # fmt: skip
    _is_in_amazon(world)
    _is_told(world)
    _is_proven(world)
    again = create(world, "shop", state="Already so")
    assert "tkg:approve" not in buttons(again)
    undone(world, card, "shop")


def _is_in_amazon(world: World) -> None:
    """Two machines in the private subnet, owned by the cluster; two tagged subnets; a load balancer in the public
    one."""
    (private,), (public,) = world.subnets("demo-private-a"), world.subnets("demo-public-a")
    seen = instances(world)
    assert sorted(entry["InstanceType"] for entry in seen) == ["m5.large", "t3.large"]
    assert {entry["SubnetId"] for entry in seen} == {private}
    assert all(tags(entry)[f"{OWNED}shop"] == "owned" == tags(entry)[f"{KEY}shop"] for entry in seen)
    assert {entry["KeyName"] for entry in seen} == {"ops"}
    assert world.tagged("shop") == {private, public}
    (balancer,) = amazon(world, "elbv2").describe_load_balancers()["LoadBalancers"]
    assert balancer["LoadBalancerName"] == "shop-apiserver"
    assert [zone["SubnetId"] for zone in balancer["AvailabilityZones"]] == [public]
    assert len(world.view.clusters()["default/shop"]["nodes"]) == 2


def _is_told(world: World) -> None:
    assert in_order(answer(world, "cluster list", "1 cluster"), "1 running", "shop default running 1/1 1/1 v1.33.1")
    tree = answer(world, "cluster get shop", "shop is running")
    assert in_order(tree, "Cluster/shop", "AWSCluster/shop", "KubeadmControlPlane/shop", "MachineDeployment/shop-md-0")


def _is_proven(world: World) -> None:
    card = ask(world, "cluster verify shop --loadbalancer", "Approval needed: prove")
    approve(world, card)
    told = done(world, card)
    assert "its load balancer stands in demo-public-a (us-east-1a), tagged for shop" in told
    assert "service and load balancer are gone" in told
    assert amazon(world, "elb").describe_load_balancers()["LoadBalancerDescriptions"] == []


@pytest.mark.long
def test_a_prod_cluster_is_spread_over_three_zones(world: World, record_property: pytest.RecordProperty) -> None:
    create(world, "warm-up", plan="prod")
    begun = time.monotonic()
    card = create(world, "big", plan="prod")
    took = time.monotonic() - begun
    record_property("plan_of_a_prod_cluster_seconds", round(took, 2))
    print(f"\nthe card of a prod cluster in three zones: {took:.2f} s")
    shown = words(card)
    assert "3 × t3.large" in shown
    assert all(f"us-east-1{zone} demo-private-{zone}" in " ".join(shown.split()) for zone in "abc")
    world.kube_faults(pace=0.2)
    approve(world, card)
    told = done(world, card)
    for line in ("3 of 3 control plane machines ready", "3 of 3 workers of big are ready", "6 of 6 nodes of big are"):
        assert line in told
    seen = instances(world)
    assert len(seen) == 6
    by_type = {kind: [e for e in seen if e["InstanceType"] == kind] for kind in ("t3.large", "m5.large")}
    for entries in by_type.values():
        assert sorted(entry["Placement"]["AvailabilityZone"][-1] for entry in entries) == ["a", "b", "c"]
    assert len(world.tagged("big")) == 6


# -- forms and words ---------------------------------------------------------------------------------------------


def test_missing_words_open_a_form(world: World) -> None:
    form = type_for_modal(world, DEV, "cluster create by-form")
    fields = inputs(form)
    assert fields["cluster"]["element"]["initial_value"] == "by-form"
    assert "is missing" in words(form)
    refused = world.view.submit(DEV, form, plan="dev", vpc=world.vpcs["demo"]["id"], worker_type="m5,large!")
    assert refused["response"]["response_action"] == "errors"
    assert "instance type" in refused["response"]["errors"]["worker_type"]
    refused = world.view.submit(DEV, form, plan="dev", vpc=world.vpcs["demo"]["id"], worker_type="", workers="many")
    assert "workers" in refused["response"]["errors"]
    sent = world.view.submit(DEV, form, plan="dev", vpc=world.vpcs["demo"]["id"], worker_type="", workers="2")
    assert sent.get("acked")
    card = world.view.wait(DEV, "Approval needed: create dev cluster by-form")
    assert "2 × m5.large" in words(card)


# -- several, and stopping ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_requests_for_one_cluster_follow_each_other(world: World) -> None:
    world.kube_faults(pace=0.2)
    first, second = create(world, "twice"), create(world, "twice")
    world.view.aws_faults(hold=["ec2:CreateTags"])
    approve(world, first)
    world.wait_until_held()
    approve(world, second)
    wait_for(world, second, request_id(first))
    world.view.aws_faults(hold=[])
    done(world, first)
    wait_for(world, second, "Already so")
    assert "the approval is void" in thread(world, second)
    assert len(instances(world)) == 2


@pytest.mark.long
def test_a_cancel_ends_the_waiting_and_says_what_is_there(world: World) -> None:
    world.kube_faults(pace=0.2, control_plane_never_comes=True)
    card = create(world, "stopped")
    approve(world, card)
    wait_for(world, card, "has not joined as a node")
    world.view.click(DEV, card["ts"], "tkg:cancel")
    wait_for(world, card, "Cancelled: create")
    assert "create the 8 Kubernetes objects" in thread(world, card)
    assert "tkg:undo" in buttons(world.card(card))
    undone(world, card, "stopped")


# -- parked ------------------------------------------------------------------------------------------------------


def without_key(world: World, name: str) -> Json:
    """A run that is parked, because the key pair went after the last look."""
    ec2 = amazon(world, "ec2")
    world.kube_faults(pace=0.2)
    ec2.create_key_pair(KeyName=f"key-{name}")
    card = create(world, name, "--ssh-key", f"key-{name}")
    begin(world, card, lambda: ec2.delete_key_pair(KeyName=f"key-{name}"))
    told = parked(world, card)
    assert f"The key pair 'key-{name}' does not exist" in told
    assert "--ssh-key" in told
    return card


@pytest.mark.long
def test_what_was_parked_goes_on_when_it_is_mended(world: World) -> None:
    card = without_key(world, "mended")
    amazon(world, "ec2").create_key_pair(KeyName="key-mended")
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    done(world, card)
    assert len(instances(world)) == 2


@pytest.mark.long
def test_what_was_parked_goes_on_while_the_provider_has_not_tried_again(world: World) -> None:
    """The provider tries again at its own pace; until then the machine still says what was wrong before."""
    card = without_key(world, "patient")
    world.view.aws_faults(hold=["ec2:RunInstances"])
    try:
        world.wait_until_held("ec2:RunInstances")
        amazon(world, "ec2").create_key_pair(KeyName="key-patient")
        world.view.click(APPROVER, card["ts"], "tkg:resume")
        wait_for(world, card, "Running: create")
    finally:
        world.view.aws_faults(hold=[])
    done(world, card)


@pytest.mark.long
def test_what_was_parked_is_undone(world: World) -> None:
    card = without_key(world, "given-up")
    assert "tkg:undo" in buttons(world.card(card))
    undone(world, card, "given-up")
    wait_for(world, card, "Abandoned")
