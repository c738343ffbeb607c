"""`subnet tag` from the command to the proof, as the people in the thread see it."""

from __future__ import annotations

from bot.tour import buttons, words
from tests.world import APPROVER, DEV, SECOND, World


def test_tag_approved_by_a_second_person(world: World) -> None:
    subnets = world.public()
    card = world.ask("happy", subnets)
    assert "tkg:approve" in buttons(card)
    assert world.tagged("happy") == set()
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    result = world.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"])
    assert "@dev" in words(result)
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for happy")
    assert world.tagged("happy") == set(subnets)
    assert buttons(world.card(card)) == ["tkg:undo"]


def test_production_needs_two(world: World) -> None:
    card = world.ask("prod-1", world.public())
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(DEV, "1 of 2")
    assert world.tagged("prod-1") == set()
    world.view.click(SECOND, card["ts"], "tkg:approve")
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for prod-1")
    assert world.tagged("prod-1") == set(world.public())
