"""Replicas on one PostgreSQL: they share the work, take over from each other, and nothing is lost or done twice."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.durability.fleet import HURRIED, Fleet, running_fleet
from tests.durability.test_sqlite_load import at_once, typed
from tests.world import APPROVER, DEV, TENANT, Json, World, eventually

pytestmark = pytest.mark.long

WRITE = "ec2:CreateTags"
TAKEOVER = 30.0
"""Seconds from the death of a replica until another goes on with its work, by default settings."""


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with running_fleet() as fleet:
        yield fleet


@pytest.fixture
def hurried() -> Iterator[Fleet]:
    with running_fleet(HURRIED) as fleet:
        yield fleet


def tenant_subnet(world: World) -> str:
    """A public subnet of the other account."""
    subnets: dict[str, str] = world.view.aws()["accounts"][TENANT]["vpcs"]["tenant"]["subnets"]
    return subnets["tenant-public-a"]


def asked(fleet: Fleet, cluster: str, *words: str) -> Json:
    """The card of a new request that waits for its approval."""
    where = words or (fleet.world.public(1)[0],)
    return fleet.world.ask(cluster, where, state=f"Approval needed: tag 1 subnet for {cluster}")


def request_of(fleet: Fleet, cluster: str) -> str:
    """The only request for a cluster."""
    [[request]] = fleet.database.rows("SELECT id FROM requests WHERE arguments->>'cluster' = :name", name=cluster)
    return str(request)


def state_of(fleet: Fleet, request: str) -> str:
    """Where it stands."""
    return str(fleet.database.one("SELECT state FROM requests WHERE id = :request", request=request))


def approve(fleet: Fleet, card: Json, user: str = APPROVER) -> None:
    """Clicks until Slack does not show an error: a frozen replica keeps its connection."""
    for _ in range(6):
        answer = fleet.world.view.click(user, card["ts"], "tkg:approve")
        if answer.get("acked") or answer.get("error") == "no_such_button":  # an earlier one was counted
            return
    raise AssertionError("nobody acknowledged the click")


def created(fleet: Fleet, request: str) -> int:
    """How many times tags were put on in the name of a request."""
    mine = [call for call in fleet.world.view.aws_calls() if (call["session"] or "").endswith(request)]
    return [call["action"] for call in mine if call["outcome"] == "ok"].count(WRITE)


# -- sharing -----------------------------------------------------------------------------------------------------


def test_work_arrives_anywhere_and_is_shared(fleet: Fleet) -> None:
    """Each of three replicas takes commands and clicks, whoever made the card, and plans and runs."""
    fleet.add(3)
    clusters = [f"shared-{number:02}" for number in range(15)]
    cards = {cluster: asked(fleet, cluster) for cluster in clusters}  # Slack deals them out in turn
    for card in cards.values():
        approve(fleet, card)
    for cluster in clusters:
        fleet.world.view.wait(DEV, f"Done: tag 1 subnet for {cluster}")
    eventually(fleet.quiet)
    shares = fleet.database.rows("SELECT executor_id, count(*) FROM dbos.workflow_status GROUP BY 1")
    assert {executor for executor, _count in shares} == {replica.executor for replica in fleet.replicas}, shares
    assert [created(fleet, request_of(fleet, cluster)) for cluster in clusters] == [1] * len(clusters)


def test_a_slow_slack_is_told_everything_once(fleet: Fleet) -> None:
    """What one replica has read and another has sent meanwhile is not sent again."""
    fleet.add(3)
    world = fleet.world
    world.view.slack_faults(latency_ms=300)
    answers = at_once([typed(world, f"slow-{number:02}", world.public(1)) for number in range(80)])
    assert all(answer.get("acked") for answer in answers)
    eventually(lambda: fleet.quiet() and fleet.database.one("SELECT count(*) FROM requests") == 80, 90)
    posted = Counter(m["metadata"]["event_payload"]["key"] for m in world.view.messages(DEV) if m.get("metadata"))
    assert {key: count for key, count in posted.items() if count > 1} == {}
    assert len(posted) == 80


# -- taking over -------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_takeover_by_default_settings(fleet: Fleet) -> None:
    """What a killed replica was in the middle of goes on elsewhere in time: a run, a command that was acknowledged and
    not looked at, and a message."""
    world = fleet.world
    fleet.add(3)
    card = asked(fleet, "mid-run")
    request = request_of(fleet, "mid-run")
    eventually(fleet.quiet)
    world.view.aws_faults(hold_answer=[WRITE])
    approve(fleet, card)
    eventually(lambda: bool(world.tagged("mid-run")))
    victim = fleet.working(request)
    beat = "SELECT beat FROM replicas WHERE executor = :name"
    last = fleet.database.one(beat, name=victim.executor)
    eventually(
        lambda: fleet.database.one(beat, name=victim.executor) > last
    )  # the worst moment to die: just seen alive
    world.view.slack_faults(hang_methods=["users.info"])
    answers = [typed(world, f"unread-{number}", world.public(1))() for number in range(3)]  # one for each
    assert all(answer.get("acked") for answer in answers)
    victim.kill(again=False)
    killed = time.time()
    world.view.aws_faults(hold_answer=[])
    world.view.slack_faults(hang_methods=[])
    eventually(lambda: state_of(fleet, request) == "succeeded", 90)
    run = time.time() - killed
    calls = [call["at"] for call in world.view.aws_calls() if (call["session"] or "").endswith(request)]
    resumed = min(at for at in calls if at > killed + 1) - killed
    waiting = "SELECT count(*) FROM invocations WHERE done_at IS NULL"
    eventually(lambda: fleet.database.one(waiting) == 0, 90)
    read = time.time() - killed
    print(
        f"\ntakeover: the run went on after {resumed:.1f} s and was done after {run:.1f} s, commands after {read:.1f} s"
    )
    assert created(fleet, request) == 1, "its effect was seen before it was made again"
    assert resumed < TAKEOVER
    assert read < TAKEOVER


@pytest.mark.parametrize("table", ["requests", "leases", "workflow_status", "outbox"])
def test_frozen_in_the_middle_of_a_transaction(hurried: Fleet, table: str) -> None:
    """The locks of a frozen replica do not keep the others from its work, nor from theirs; and when it thaws, nothing
    is done again."""
    fleet, world = hurried, hurried.world
    marker = world.folder / "freeze"
    [frozen] = fleet.add(1, FLEET_FREEZE=str(marker))
    cards = {
        "locked": asked(fleet, "locked"),
        "other": asked(fleet, "other", tenant_subnet(world), "--account", "tenant"),
    }
    eventually(fleet.quiet)
    marker.write_text(table)
    approve_async(fleet, cards["locked"])
    eventually(lambda: not marker.exists())
    frozen.frozen = True
    fleet.add(1)
    approve(fleet, cards["other"])
    approve(fleet, cards["locked"])
    for cluster in cards:
        world.view.wait(DEV, f"Done: tag 1 subnet for {cluster}")
    frozen.send(signal.SIGCONT)
    eventually(lambda: bool(frozen.codes) or frozen.is_healthy)
    eventually(fleet.quiet)
    requests = {cluster: request_of(fleet, cluster) for cluster in cards}
    assert {created(fleet, request) for request in requests.values()} == {1}
    assert {state_of(fleet, request) for request in requests.values()} == {"succeeded"}


def approve_async(fleet: Fleet, card: Json) -> None:
    """A click that may never be acknowledged."""
    fleet.world.view.click(APPROVER, card["ts"], "tkg:approve")
