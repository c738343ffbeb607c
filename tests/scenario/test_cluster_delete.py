"""The end of a cluster as people see it: the inventory, two people, what goes, what hangs and why, what is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import (
    CLUSTERS,
    IDENTITIES,
    Administrator,
    amazon,
    approve,
    ask,
    changes,
    clear,
    create,
    delete,
    done,
    in_amazon,
    in_kubernetes,
    parked,
    thread,
    wait_for,
)
from tests.scenario.leftovers import PROVIDER
from tests.world import APPROVER, DEV, SECOND, Json, World, eventually

DATABASE = "postgres"
MARK = "kubernetes.io/cluster/"
MACHINES = "machines.cluster.x-k8s.io"
HOOK = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/backup"


@pytest.fixture(autouse=True)
def cleared(world: World) -> Iterator[None]:
    yield
    ec2, admin = amazon(world, "ec2"), Administrator(world)
    for item in admin.list(MACHINES):
        unhook(admin, item["metadata"]["name"])
    clear(world)
    for volume in ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]:
        ec2.delete_volume(VolumeId=volume["VolumeId"])


@pytest.fixture
def cluster(world: World) -> str:
    """One that is there, and has run its course."""
    world.kube_faults(pace=0.05)
    card = create(world, "ended")
    approve(world, card)
    done(world, card)
    return "ended"


def volume(world: World, cluster: str, size: int = 100) -> str:
    """What a PersistentVolume of the cluster left."""
    made = amazon(world, "ec2").create_volume(
        AvailabilityZone="us-east-1a", Size=size, VolumeType="gp3",
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": f"{MARK}{cluster}", "Value": "owned"}]}],
    )  # fmt: skip
    return str(made["VolumeId"])


def hooked(admin: Administrator) -> str:
    """Has somebody's hook hold a worker; its name."""
    names = [item["metadata"]["name"] for item in admin.list(MACHINES)]
    machine = next(name for name in names if "-md-" in name)
    admin.patch(MACHINES, machine, {"metadata": {"annotations": {HOOK: "backup-operator"}}}, "default")
    return machine


def unhook(admin: Administrator, machine: str) -> None:
    """Its work is done."""
    admin.patch(MACHINES, machine, {"metadata": {"annotations": {HOOK: None}}}, "default")


def offered(world: World, line: Json, state: str) -> Json:
    """Asks for what is offered, by its button; the new request's card."""
    since = world.now()
    world.view.click(DEV, line["ts"], buttons(line)[0])
    found: Json = world.view.wait(DEV, state, since=since)
    return found


def shown(world: World, card: Json) -> str:
    return words(world.card(card))


def test_the_whole_way_with_what_is_left_and_its_cleanup(world: World, cluster: str) -> None:
    left = volume(world, cluster)
    card = delete(world, cluster)
    told = shown(world, card)
    assert "1 volume (100 GiB), about $8 a month" in told
    assert "3 *deleted*, about $0.18 an hour less *Can be undone* *no*" in " ".join(told.split())
    world.kube_faults(pace=2)  # so that it is seen going
    approve(world, card)
    end = done(world, card)
    assert "The workers are gone." in end
    assert "The control plane is gone." in end
    assert "In AWS ended left 1 volume (100 GiB) and a tag on " in end
    assert in_kubernetes(world) == []
    assert in_amazon(world) == []
    offers = [line for line in world.thread(card) if any("offer" in name for name in buttons(line))]
    assert len(offers) == 1, "one sentence with one button"
    assert "Kept, until somebody asks with --volumes: 1 volume (100 GiB), about $8 a month." in words(offers[0])
    untagged = offered(world, offers[0], f"Approval needed: clean up what cluster {cluster} left in AWS")
    approve(world, untagged)
    done(world, untagged)
    assert not world.tagged(cluster)
    cleanup = ask(world, f"cluster cleanup {cluster} --volumes", f"clean up what cluster {cluster} left in AWS")
    assert "What is in them is lost" in shown(world, cleanup)
    approve(world, cleanup)
    done(world, cleanup)
    found = amazon(world, "ec2").describe_volumes(Filters=[{"Name": "volume-id", "Values": [left]}])["Volumes"]
    assert found == []
    again = ask(world, f"cluster cleanup {cluster} --volumes", "Already so")
    assert "tkg:approve" not in buttons(again)


@pytest.mark.long
def test_what_hangs_says_why_and_goes_on_when_it_is_mended(world: World, cluster: str) -> None:
    """The identity goes in the middle."""
    admin = Administrator(world)
    identity = admin.get(IDENTITIES, "default")
    assert identity is not None
    card = delete(world, cluster)
    machine = hooked(admin)
    approve(world, card)
    world.view.wait(DEV, "which backup-operator has set", thread=card["ts"], since=card["ts"])
    wait_for(world, card, "ended is going: 1 worker is left")
    admin.delete(IDENTITIES, "default")
    unhook(admin, machine)
    world.view.wait(DEV, "is not there any more", thread=card["ts"], since=card["ts"])
    admin.make(IDENTITIES, identity)
    end = done(world, card)
    assert f"Machine {machine} is held before its instance is ended by the hook" in end
    assert "Make it anew, with the same name" in end
    assert in_amazon(world) == []


@pytest.mark.long
def test_what_stands_still_for_too_long_needs_a_person(world: World, cluster: str) -> None:
    """Parked with what holds it and the word about finalizers; resumed when that is mended."""
    admin = Administrator(world)
    card = delete(world, cluster)
    machine = hooked(admin)
    approve(world, card)
    wait_for(world, card, "Needs a person")
    told = parked(world, card)
    assert "Nothing has moved for too long." in told
    assert "backup-operator has to take off that annotation" in told
    assert "Finalizers are never taken off" in told
    unhook(admin, machine)
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    done(world, card)
    assert in_kubernetes(world) == []


@pytest.mark.long
def test_a_deletion_that_somebody_began_by_hand(world: World, cluster: str) -> None:
    admin = Administrator(world)
    machine = hooked(admin)
    admin.delete(CLUSTERS, cluster, "default")
    card = delete(world, cluster)
    assert "Somebody began to delete it by hand at 20" in shown(world, card)
    approve(world, card)
    wait_for(world, card, "ended is going: 1 worker is left")
    unhook(admin, machine)
    done(world, card)
    assert "was being deleted already" in thread(world, card) or "Already so" in thread(world, card)
    assert in_kubernetes(world) == []


@pytest.mark.long
def test_a_cluster_that_comes_back_meanwhile(world: World, cluster: str) -> None:
    """Somebody makes one of the same name as soon as the old one is gone."""
    admin = Administrator(world)
    old = admin.get(CLUSTERS, cluster, "default")
    assert old is not None
    card = delete(world, cluster)
    world.kube_faults(pace=0.02)
    approve(world, card)
    wait_for(world, card, "is going")
    eventually(lambda: _made_again(admin, old))
    wait_for(world, card, "🟢 Done")
    told = thread(world, card)
    assert "The Cluster ended that was approved is gone; there is another one of that name, made 20" in told
    assert "which is not touched" in told
    found = admin.get(CLUSTERS, cluster, "default")
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]


def _made_again(admin: Administrator, old: Json) -> bool:
    """The same Cluster, paused so that nothing is built; as soon as the old one has left its name."""
    found = admin.get(CLUSTERS, old["metadata"]["name"], "default")
    if found is not None:
        return bool(found["metadata"]["uid"] != old["metadata"]["uid"])
    body: dict[str, Any] = {
        "apiVersion": old["apiVersion"], "kind": "Cluster", "metadata": {"name": old["metadata"]["name"]},
        "spec": {**old["spec"], "paused": True},
    }  # fmt: skip
    status, _answer = admin.ask("POST", admin.path(CLUSTERS, "default"), body)
    return status == 201


@pytest.mark.long
def test_a_cleanup_of_a_cluster_that_is_there_is_refused(world: World, cluster: str) -> None:
    card = ask(world, f"cluster cleanup {cluster}", "Blocked: clean up")
    assert "there is Cluster default/ended" in shown(world, card)
    assert "tkg:approve" not in buttons(world.card(card))


def test_the_name_has_to_be_typed_exactly(world: World, cluster: str) -> None:
    """A wrong name is refused in the form, which stays open: nothing is asked for and nothing changes."""
    before, since, known = {view["id"] for view in world.view.views(DEV)}, world.now(), changes(world)
    world.view.command(DEV, f"cluster delete {cluster}")

    def form() -> Json:
        new = [view for view in world.view.views(DEV) if view["id"] not in before]
        return new[-1] if new and "One moment" not in words(new[-1]) else {}

    eventually(lambda: bool(form()))
    for wrong in ("endet", "ended2", "default/ended"):
        answer = world.view.submit(DEV, form(), typed_again=wrong)
        assert answer["response"]["response_action"] == "errors"
        assert f"This is not “{cluster}”" in str(answer["response"])
    assert [words(line) for line in world.view.messages(DEV) if line["ts"] > since and not line["ephemeral"]] == []
    assert changes(world) == known
    answer = world.view.submit(DEV, form(), typed_again=cluster)
    assert (answer.get("response") or {}).get("response_action") != "errors", answer
    card = world.view.wait(DEV, f"Approval needed: delete cluster {cluster}", since=since)
    assert "tkg:approve" in buttons(card)
    found = Administrator(world).get(CLUSTERS, cluster, "default")
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]
    assert changes(world) == known


@pytest.mark.long
def test_two_people_have_to_approve_and_see_the_workers_go(world: World) -> None:
    """Where the rule does not say how many, the operation's own two count. Of three workers one is held."""
    world.kube_faults(pace=0.05)
    made = create(world, "twice", "--workers", "3")
    approve(world, made)
    done(world, made)
    admin = Administrator(world)
    card = delete(world, "twice")
    assert "0 of 2" in shown(world, card)
    machine, known, since = hooked(admin), changes(world), world.now()
    approve(world, card)
    wait_for(world, card, "1 of 2", "Approval needed")
    approve(world, card)
    again = world.view.wait(APPROVER, "You have already voted on this plan", since=since)
    assert again["ephemeral"]
    assert "1 of 2" in shown(world, card)
    found = admin.get(CLUSTERS, "twice", "default")
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]
    assert changes(world) == known, "one person is not two"
    world.view.click(SECOND, card["ts"], "tkg:approve")
    wait_for(world, card, "twice is going: 2 of 3 workers are gone")
    unhook(admin, machine)
    told = done(world, card)
    assert "@approver approved this (1 of 2)" in told
    assert told.count("approved this") == 2, told
    assert in_kubernetes(world) == []


@pytest.mark.long
def test_what_a_load_balancer_holds_is_named_with_it(world: World, cluster: str) -> None:
    """Nothing is forced: the security group stays until its user is gone, and every finalizer until its controller
    takes it off."""
    admin, ec2 = Administrator(world), amazon(world, "ec2")
    owned = [{"Name": "tag-key", "Values": [f"{PROVIDER}{cluster}"]}]
    group = ec2.describe_security_groups(Filters=owned)["SecurityGroups"][0]["GroupId"]
    card_of = ec2.create_network_interface(
        SubnetId=world.public(1)[0], Groups=[group], Description="ELB a1b2c3", TagSpecifications=[]
    )["NetworkInterface"]["NetworkInterfaceId"]
    since = len(world.view.kube_changes())
    card = delete(world, cluster)
    approve(world, card)
    named = f"The network interface {card_of} (of the load balancer a1b2c3) uses {group}."
    line = world.view.wait(DEV, named, thread=card["ts"], since=card["ts"])
    assert "AWS does not let AWSCluster ended go: “DependencyViolation: " in words(line)
    infra = admin.get("awsclusters.infrastructure.cluster.x-k8s.io", cluster, "default")
    assert infra is not None
    assert infra["metadata"]["finalizers"] == ["awscluster.infrastructure.cluster.x-k8s.io"]
    asked = [(call["verb"], call["resource"]) for call in world.view.kube_changes()[since:]]
    assert asked == [("delete", "clusters")]
    ec2.delete_network_interface(NetworkInterfaceId=card_of)
    done(world, card)
    assert (in_kubernetes(world), in_amazon(world)) == ([], [])
