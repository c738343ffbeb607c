"""What a deleted cluster left in AWS, taken away by the button under its result; and what nobody could look for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import CLUSTERS, Administrator, approve, clear, create, delete, done, in_amazon
from tests.scenario.gpus import Owner
from tests.scenario.leftovers import WHOLE, leave, sweep, there, volume_of
from tests.world import DEV, Json, World, eventually

pytestmark = pytest.mark.long

DATABASE = "sqlite"
CLUSTER, NEIGHBOUR = "remains", "remains-2"
AWS_CLUSTERS = "awsclusters.infrastructure.cluster.x-k8s.io"
LEFT = {**WHOLE, "tagged subnet": 3}
"""With the private subnet that the cluster itself was made in."""
GC = "aws.cluster.x-k8s.io/external-resource-gc"


@pytest.fixture(autouse=True)
def swept(world: World) -> Iterator[None]:
    yield
    world.calm()
    admin = Administrator(world)
    admin.delete(CLUSTERS, CLUSTER, "default")
    eventually(lambda: admin.get(CLUSTERS, CLUSTER, "default") is None)
    for name in (CLUSTER, NEIGHBOUR):
        sweep(world, name)
    clear(world)


@pytest.fixture
def cluster(world: World) -> str:
    """One with things in AWS that its provider is told to leave alone, and another one's beside them."""
    world.kube_faults(pace=0.05)
    card = create(world, CLUSTER)
    approve(world, card)
    done(world, card)
    Administrator(world).patch(AWS_CLUSTERS, CLUSTER, {"metadata": {"annotations": {GC: "false"}}}, "default")
    leave(world, CLUSTER)
    leave(world, NEIGHBOUR)
    return CLUSTER


def claimed(world: World, cluster: str, policy: str) -> None:
    """The volume is a PersistentVolume's, which says what is to become of it."""
    spec = {
        "capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": policy,
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": volume_of(world, cluster)},
        "claimRef": {"namespace": "shop", "name": "data"},
    }  # fmt: skip
    item = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-data"}, "spec": spec}
    Owner(world, cluster).make("persistentvolumes", item)


def deleted(world: World, cluster: str) -> tuple[Json, str]:
    """Deletes it; the card, and the whole thread."""
    card = delete(world, cluster)
    approve(world, card)
    return card, done(world, card)


def offered(world: World, card: Json) -> Json:
    """The line under the result that offers the cleanup."""
    world.view.wait(DEV, "Clean up", thread=card["ts"], since=card["ts"])
    (line,) = [line for line in world.thread(card) if any("offer" in name for name in buttons(line))]
    return line


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_the_button_takes_away_what_the_deletion_left(world: World, cluster: str, policy: str) -> None:
    """A volume that was to be kept is no part of it; one whose PersistentVolume said Delete goes, too."""
    claimed(world, cluster, policy)
    card, told = deleted(world, cluster)
    assert there(world, cluster) == LEFT, "the deletion itself touches none of it"
    assert f"In AWS {cluster} left 2 load balancers, 1 target group" in told
    line = offered(world, card)
    kept = "Kept, until somebody asks with --volumes: 1 volume (100 GiB), about $8 a month."
    assert (kept in words(line)) is (policy == "Retain")
    since = world.now()
    world.view.click(DEV, line["ts"], buttons(line)[0])
    title = f"clean up what cluster {cluster} left in AWS"
    request = world.view.wait(DEV, f"Approval needed: {title}", since=since)
    assert there(world, cluster) == LEFT, "a click only asks"
    assert ("They stay, because of what is in them" in words(request)) is (policy == "Retain")
    assert ("What is in them is lost" in words(request)) is (policy == "Delete")
    approve(world, request)
    done(world, request)
    assert there(world, cluster) == ({"volume": 1} if policy == "Retain" else {})
    assert there(world, NEIGHBOUR) == WHOLE
    since = world.now()
    world.view.click(DEV, line["ts"], buttons(line)[0])
    assert world.view.wait(DEV, "has asked for this already", since=since)["ephemeral"]
    sweep(world, NEIGHBOUR)
    assert in_amazon(world) == []


def test_what_nobody_could_look_for_is_said_and_how_to_look_again(world: World, cluster: str) -> None:
    """An organisation's policy hides target groups and volumes: the deletion says what it does not know."""
    world.view.aws_faults(deny=["elasticloadbalancing:DescribeTargetGroups", "ec2:DescribeVolumes"])
    card, told = deleted(world, cluster)
    again = f"/tkg cluster cleanup {cluster} --account management --region us-east-1"
    assert "Leftovers of these kinds were not looked for in AWS: target groups, volumes. AWS denied" in told
    assert f"{again} looks again." in told
    line = offered(world, card)
    assert f"In AWS {cluster} left 2 load balancers, 1 network interface" in words(line)
    world.view.aws_faults(deny=[])
    since = world.now()
    world.view.command(DEV, again.removeprefix("/tkg "))
    seen = world.view.wait(DEV, "Approval needed: clean up", since=since)
    assert f"{cluster}-target" in words(seen)
