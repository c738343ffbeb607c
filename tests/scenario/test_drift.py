"""What a request made and somebody changed by hand: found by a digest and by the status, asked for again with a button,
repaired, and told as mended. The lost tag is in test_digests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenario.accounts import (
    IDENTITIES,
    SECOND,
    SID,
    arn_of,
    assumable,
    change_trust,
    done,
    identity,
    onboarded,
    sids,
    without_ours,
)
from tests.scenario.clusters import (
    CLUSTERS,
    MARK,
    SWIFT,
    Administrator,
    approve,
    clear,
    create,
    delete,
    in_amazon,
    in_kubernetes,
)
from tests.scenario.conftest import admin, put_tag
from tests.scenario.digests import below, button, line, say, told
from tests.world import DEV, MANAGEMENT, Json, World, eventually, running_world

pytestmark = pytest.mark.long

NAME, TEAM = "drifts", "team-a"
PACE = 0.03
NEW_ENOUGH = "v1.34.1"
OLD = ("no_progress: 20", 'no_progress: 20, supported_until: {"1.33": 2024-01-31, "1.34": 2100-01-31}')
"""Of the two versions that clusters are made with here, one is out of support whatever day it is."""
PLANES = "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io"
DEPLOYMENTS = "machinedeployments.cluster.x-k8s.io"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with running_world() as made:
        made.settings.write_text(made.settings.read_text().replace(*OLD))
        made.start_bot(("-c", SWIFT))
        made.kube_faults(pace=PACE)
        _nothing_stale(made)
        onboarded(made, SECOND, TEAM)
        say(made, f'digest add {NAME} "daily 04:00"', f"has the digest {NAME} sent here")
        yield made


def _nothing_stale(world: World) -> None:
    """Takes off the tags that subnets of this world have from the start."""
    for subnet, tags in world.view.tags(MANAGEMENT).items():
        mine = [{"Key": key} for key in tags if key.startswith(MARK)]
        if mine:
            admin(world).delete_tags(Resources=[subnet], Tags=mine)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """What requests made stays as it is from test to test: each repairs what it broke, through the bot."""
    shared.calm()
    shared.kube_faults(pace=PACE)
    yield shared
    clear(shared)


def digest(world: World) -> Json:
    """A digest of this moment."""
    return say(world, f"digest now {NAME}", "wanted it now")


def calm_before(world: World, subject: str) -> None:
    """What was just made is as it was made."""
    shown = line(digest(world))
    assert "Not as it was made" not in shown, shown
    assert subject not in shown.partition("Changed since")[2].replace(f"{subject} is new", ""), shown


def found(world: World, title: str) -> Json:
    """The digest that says so as something new; the status says the same."""
    root = digest(world)
    shown = line(root)
    assert f"New: {title}" in shown, shown
    assert title in shown.partition("Not as it was made")[2], shown
    assert title in line(say(world, "status", "Status")), "the status says it, too"
    return root


def repaired(world: World, root: Json, label: str, asks: str) -> Json:
    """Clicks what the digest offers, has the request approved, and waits until it is proven; its card."""
    since = world.now()
    world.view.click(DEV, root["ts"], button(root, label)["action_id"])
    card = told(world, f"Approval needed: {asks}", since)
    approve(world, card)
    done(world, card)
    return card


def mended(world: World, title: str) -> None:
    """The next digest tells it once, the one after that is quiet."""
    shown = line(digest(world))
    assert f"Mended: {title}" in shown, shown
    assert "Not as it was made" not in shown, shown
    assert title not in line(digest(world))


@pytest.mark.long
def test_the_trust_of_the_other_account_lost_its_statement(world: World) -> None:
    calm_before(world, TEAM)
    change_trust(world, SECOND, without_ours)
    title = "The role in account team-a does not let the controllers in any more."
    root = found(world, title)
    assert f"/tkg account onboard {SECOND} --identity team-a" in below(world, root, "To repair it")
    repaired(world, root, "Onboard team-a", f"onboard account {SECOND} as team-a")
    assert sids(world, SECOND).count(SID) == 1
    mended(world, title)


def test_the_identity_was_deleted(world: World) -> None:
    calm_before(world, TEAM)
    spec = identity(world, TEAM)
    Administrator(world).delete(IDENTITIES, TEAM)
    title = "The identity team-a is missing."
    root = found(world, title)
    repaired(world, root, "Onboard team-a", f"onboard account {SECOND} as team-a")
    assert identity(world, TEAM) == spec
    assert assumable(world) == [arn_of(SECOND)]
    mended(world, title)


# -- subnets and clusters ------------------------------------------------------------------------------------------


def running(world: World, name: str, *more: str) -> None:
    """A cluster that a request made."""
    card = create(world, name, *more)
    approve(world, card)
    done(world, card)


def test_tags_of_a_cluster_that_is_nowhere(world: World) -> None:
    calm_before(world, "ghost")
    subnets = world.public(2)
    put_tag(world, subnets, f"{MARK}ghost", "shared")
    vpc = world.vpcs["demo"]["id"]
    title = f"2 subnets of {vpc} in management still carry the tag of ghost, of which nothing else is there."
    root = found(world, title)
    command = f"/tkg subnet untag ghost {' '.join(sorted(subnets))}"
    assert command in below(world, root, "To repair it")
    repaired(world, root, "Untag ghost", "untag 2 subnets of ghost")
    assert world.tagged("ghost") == set()
    mended(world, title)


@pytest.mark.long
def test_a_cluster_that_somebody_deleted_by_hand(world: World) -> None:
    running(world, "lost", "--kubernetes-version", NEW_ENOUGH)
    calm_before(world, "lost")
    tagged = world.tagged("lost")
    assert tagged
    admin = Administrator(world)
    admin.delete(CLUSTERS, "lost", "default")
    eventually(lambda: admin.get(CLUSTERS, "lost", "default") is None)
    title = "default/lost is gone, and no request deleted it."
    root = found(world, title)
    assert "default/lost is gone; it was running." in line(root)
    assert world.tagged("lost") == tagged, "the tags of its subnets stay when it goes"
    assert "/tkg cluster cleanup lost" in below(world, root, "To repair it")
    repaired(world, root, "Clean up lost", "clean up what cluster lost left in AWS")
    assert (world.tagged("lost"), in_kubernetes(world), in_amazon(world)) == (set(), [], [])
    mended(world, title)


@pytest.mark.long
def test_a_version_that_is_out_of_support(world: World) -> None:
    """An upgrade is no operation of the bot yet: it says what to do, and sees when somebody did it."""
    running(world, "aged")
    title = "default/aged: Kubernetes 1.33 is out of support since 2024-01-31."
    root = digest(world)
    assert title in line(root).partition("Not as it was made")[2], line(root)
    assert "It runs v1.33.1. Upgrade it, one minor version at a time." in below(world, root, "Upgrade it")
    assert title in line(say(world, "status aged", "Status"))
    admin = Administrator(world)
    admin.patch(PLANES, "aged-control-plane", {"spec": {"version": NEW_ENOUGH}}, "default")
    for item in admin.list(DEPLOYMENTS, "default"):
        change = {"spec": {"template": {"spec": {"version": NEW_ENOUGH}}}}
        admin.patch(DEPLOYMENTS, item["metadata"]["name"], change, "default")
    shown = line(digest(world))
    assert f"default/aged went from Kubernetes v1.33.1 to {NEW_ENOUGH}." in shown, shown
    assert f"Mended: {title}" in shown, shown
    assert title not in shown.partition("Not as it was made")[2], shown
    card = delete(world, "aged")
    approve(world, card)
    done(world, card)
    assert "default/aged is gone, and no request" not in line(digest(world)), "one did"
