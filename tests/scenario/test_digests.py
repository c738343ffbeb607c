"""Digests and drift as people meet them: added, sent, repaired by a button, snoozed, and refused."""

from __future__ import annotations

import pytest

from bot.tour import buttons
from tests.scenario.conftest import admin
from tests.scenario.digests import below, button, line, say, told
from tests.world import APPROVER, DEV, World, eventually

pytestmark = pytest.mark.long

GUEST = "UGUEST0001"
KEY = "kubernetes.io/cluster"


def test_drift_is_found_repaired_by_a_button_and_told_as_mended(world: World) -> None:
    subnets = world.public(2)
    card = world.ask("drifty", subnets)
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    told(world, "Done and proven: tag 2 subnets for drifty", card["ts"])
    say(world, 'digest add drifts "daily 04:00" --zone Europe/Berlin', "has the digest drifts sent here")
    calm = say(world, "digest now drifts", "wanted it now")
    assert "drifty" not in line(calm), "what a request tagged is not stale, even before there is a cluster"
    assert "ambient" not in line(calm), "an account that has two names is looked at once"
    admin(world).delete_tags(Resources=[subnets[0]], Tags=[{"Key": f"{KEY}/drifty"}])
    digest = say(world, "digest now drifts", "lost the cluster's tag")
    assert "1 subnet of drifty has lost the cluster's tag." in line(digest)
    assert "Changed since the last one" in line(digest)
    assert f"/tkg subnet tag drifty {subnets[0]}" in below(world, digest, "To repair it")
    since = world.now()
    label = button(digest, "Tag drifty again")
    world.view.click(DEV, digest["ts"], label["action_id"])
    repair = told(world, "Approval needed: tag 1 subnet for drifty", since)
    assert button(digest, "Tag drifty again")["value"].startswith("o-"), "a button carries an id and nothing else"
    since = world.now()
    world.view.click(DEV, digest["ts"], label["action_id"])
    told(world, "has asked for this already", since)
    world.view.click(APPROVER, repair["ts"], "tkg:approve")
    told(world, "Done and proven: tag 1 subnet for drifty", repair["ts"])
    assert world.tagged("drifty") == set(subnets)
    mended = say(world, "digest now drifts", "wanted it now")
    assert "Mended: 1 subnet of drifty has lost the cluster's tag." in line(mended)
    say(world, "digest remove drifts", "has drifts sent no more")


def test_who_may_see_the_status_may_have_it_sent_and_stop_it(world: World) -> None:
    say(world, 'digest add mornings "weekdays 09:00"', "has the digest mornings sent here")
    assert "mornings weekdays 09:00, UTC" in line(say(world, "digest list", "Digests of this channel"))
    assert "There is a digest mornings already" in line(say(world, 'digest add mornings "hourly"', "already"))
    assert "is no time" in line(say(world, 'digest add others "whenever"', "whenever"))
    assert "did you mean Europe/Berlin" in line(say(world, 'digest add others "hourly" --zone berlin', "time zone"))
    say(world, "digest pause mornings", "paused the digest mornings", user=APPROVER)
    assert "paused" in line(say(world, "digest list", "Digests of this channel"))
    digest = say(world, "digest now mornings", "wanted it now")
    say(world, "digest resume mornings", "sent again")
    since = world.now()
    world.view.click(GUEST, digest["ts"], "tkg:snooze")
    told(world, "Guests of this workspace cannot", since, GUEST)
    world.view.click(APPROVER, digest["ts"], "tkg:snooze")
    assert "@approver snoozed this digest" in below(world, digest, "snoozed")
    assert "snoozed until" in line(say(world, "digest list", "Digests of this channel"))
    since = world.now()
    world.view.click(DEV, digest["ts"], "tkg:details")
    eventually(lambda: any(m["ephemeral"] and m["ts"] > since for m in world.view.messages(DEV)))
    say(world, "digest remove mornings", "has mornings sent no more", user=APPROVER)
    refused = say(world, "digest remove mornings", "There is no digest mornings in this channel")
    assert refused["ephemeral"]


def test_the_status_says_what_waits_and_is_for_one_person(world: World) -> None:
    world.ask("waiting", world.public(1))
    answer = say(world, "status", "Wait for approval")
    assert answer["ephemeral"]
    assert "tag 1 subnet for waiting" in line(answer)
    assert "There is no cluster nowhere here" in line(say(world, "status nowhere", "nowhere"))
    refused = say(world, "status", "Guests of this workspace cannot", user=GUEST)
    assert refused["ephemeral"]
    assert buttons(answer) == [], "what only one person sees has words to copy and no buttons"


def test_an_unreachable_management_cluster_is_said_with_the_age_of_what_is_shown(world: World) -> None:
    world.kube_faults(unreachable=True)
    answer = say(world, "status", "cannot be seen")
    assert "The management cluster" in line(answer)
