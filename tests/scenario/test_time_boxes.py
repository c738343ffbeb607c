"""Clusters whose time is limited, as people see it: made for a while, told, extended, taken back, ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import CLUSTERS, Administrator, approve, ask, clear, create, done, thread, wait_for
from tests.scenario.conftest import request_id
from tests.scenario.test_cluster_life import answer
from tests.scenario.test_forms import type_for_modal
from tests.world import DEV, Json, World, eventually

pytestmark = pytest.mark.long

DATABASE = "postgres"


ENDS_AT, SET_BY = "tkgbot/ends-at", "tkgbot/time-box"
HOUR = 3600.0


@pytest.fixture(autouse=True)
def cleared(world: World) -> Iterator[None]:
    yield
    clear(world)


def notes(world: World, name: str) -> dict[str, str]:
    """What the Cluster object says of its end."""
    found = Administrator(world).get(CLUSTERS, name, "default")
    assert found is not None
    annotations = found["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key in (ENDS_AT, SET_BY)}


def left(world: World, name: str) -> float:
    """Seconds until its end."""
    return datetime.fromisoformat(notes(world, name)[ENDS_AT]).timestamp() - time.time()


def carried_out(world: World, card: Json) -> str:
    approve(world, card)
    return done(world, card)


@pytest.mark.long
def test_a_cluster_that_is_made_for_a_while(world: World) -> None:
    card = create(world, "trial", "--ttl", "8h", state="Approval needed")
    shown = " ".join(words(card).split())
    assert "create dev cluster trial, for 8 hours" in shown
    assert "8 hours after it was made" in shown
    told = carried_out(world, card)
    assert "Done: end trial 8 hours after it was made" in told
    assert "trial ends 20" in told
    assert 8 * HOUR - 300 < left(world, "trial") <= 8 * HOUR
    assert notes(world, "trial")[SET_BY] == request_id(card)
    assert "trial: its time ends 20" in answer(world, "cluster list", "1 cluster")
    assert "Its time ends 20" in answer(world, "cluster get trial", "trial is running")
    _is_moved(world)
    _lives_on(world)
    again = create(world, "trial", "--ttl", "2h")
    assert "1 × t3.large" in words(again), "the cluster is there already: only its end would be set"
    carried_out(world, again)
    assert 2 * HOUR - 60 < left(world, "trial") <= 2 * HOUR
    _ends(world)


def _is_moved(world: World) -> None:
    """Longer, and back to about what was left."""
    card = ask(world, "cluster expire trial 2d", "Approval needed: delete cluster trial in 2 days")
    assert "(in 7 h 5" in words(card)
    assert "2 days from the moment this runs" in words(card)
    carried_out(world, card)
    assert 48 * HOUR - 60 < left(world, "trial") <= 48 * HOUR
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:undo")
    undo = world.view.wait(DEV, "Approval needed: delete cluster trial in ", since=since)
    carried_out(world, undo)
    assert 8 * HOUR - 400 < left(world, "trial") <= 8 * HOUR
    assert notes(world, "trial")[SET_BY] == request_id(undo)


def _lives_on(world: World) -> None:
    card = ask(world, "cluster expire trial never", "Approval needed: let cluster trial live on")
    carried_out(world, card)
    assert notes(world, "trial") == {}
    again = ask(world, "cluster expire trial never", "Already so: let cluster trial live on")
    assert "tkg:approve" not in buttons(again)
    assert "its time" not in answer(world, "cluster list", "1 cluster")


def _ends(world: World) -> None:
    """The time is over: a request for the deletion, in the channel of who set it."""
    card = ask(world, "cluster expire trial 15m", "Approval needed: delete cluster trial in 15 minutes")
    carried_out(world, card)
    over = datetime.fromtimestamp(time.time() - 5, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    since = world.now()
    Administrator(world).patch(CLUSTERS, "trial", {"metadata": {"annotations": {ENDS_AT: over}}}, "default")
    gone = world.view.wait(DEV, "delete cluster trial", since=since)
    wait_for(world, gone, "🟢 Done")
    assert Administrator(world).get(CLUSTERS, "trial", "default") is None
    eventually(lambda: "time" in thread(world, card))


def test_what_cannot_be_is_said_before_anybody_approves(world: World) -> None:
    blocked = ask(world, "cluster expire nowhere 8h", "delete cluster nowhere in 8 hours")
    assert "There is no cluster nowhere in namespace default" in words(blocked)
    assert "tkg:approve" not in buttons(blocked)
    short = create(world, "hasty", "--ttl", "5m", state="")
    assert "5 minutes is shorter than 15 minutes" in words(short)
    assert "tkg:approve" not in buttons(short)


@pytest.mark.parametrize(
    ("typed", "said", "meant"),
    [
        ("cluster expire trial 8", "is not how long (30m, 8h, 2d), or `never`", "8h"),
        ("cluster expire trial 8hours", "is not how long (30m, 8h, 2d), or `never`", "cluster expire trial 8h"),
        ("cluster create a --plan dev --vpc vpc-0a1b2c3d4e5f60718 --ttl never", "is not how long", "30m, 8h, 2d"),
    ],
)
def test_a_word_that_is_no_duration_is_answered_with_one_that_is(
    world: World, typed: str, said: str, meant: str
) -> None:
    assert meant in answer(world, typed, said)


def test_a_duration_that_is_missing_is_asked_for(world: World) -> None:
    form = type_for_modal(world, DEV, "cluster expire trial")
    assert "is missing" in words(form)
    refused = world.view.submit(DEV, form, ttl="soon")
    assert "is not how long (30m, 8h, 2d)" in refused["response"]["errors"]["ttl"]
    sent = world.view.submit(DEV, form, ttl="8h")
    assert sent.get("acked")
    world.view.wait(DEV, "delete cluster trial in 8 hours")
