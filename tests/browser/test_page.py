"""The sandbox's page in a real Chromium, at a desk's and a phone's width: what an approver sees and does.

Pictures go to the folder that TKGBOT_PICTURES names, to be looked at.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import SIZES, open_page, picture
from tests.world import APPROVER, DEV, World

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", SIZES)
def test_ask_in_the_composer_approve_by_button_and_see_the_proof(browser: Browser, world: World, size: str) -> None:
    asker = open_page(browser, world, size, DEV)
    asker.get_by_role("combobox").first.fill(f"/tkg subnet tag page-{size} {' '.join(world.public())}")
    asker.keyboard.press("Enter")
    asker.locator("#log").get_by_text(f"Approval needed: tag 3 subnets for page-{size}").wait_for()
    picture(asker, f"{size}-asked")
    approver = open_page(browser, world, size, APPROVER)
    card = approver.locator("#log").get_by_text(f"Approval needed: tag 3 subnets for page-{size}")
    card.wait_for()
    picture(approver, f"{size}-card")
    approver.get_by_role("button", name="Approve", exact=True).last.click()
    dialog = approver.locator("dialog#ask")
    dialog.wait_for()
    picture(approver, f"{size}-confirm")
    dialog.get_by_role("button", name="Approve", exact=True).click()
    done = asker.locator("#log").get_by_text(f"Done: tag 3 subnets for page-{size}")
    done.wait_for()  # by itself: nobody reloads the page
    picture(asker, f"{size}-done")
    assert world.tagged(f"page-{size}") == set(world.public())


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_screen(browser: Browser, world: World, size: str) -> None:
    world.ask(f"wide-{size}", [], "--vpc", world.vpcs["legacy"]["id"], "--role-tag")
    page = open_page(browser, world, size, APPROVER)
    page.locator("#log").get_by_text(f"for wide-{size}").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    picture(page, f"{size}-wide")


def test_a_refusal_is_shown_only_to_the_one_who_clicked(browser: Browser, world: World) -> None:
    world.ask("only-you", world.public())
    guest = open_page(browser, world, "desk", "UGUEST0001")
    guest.locator("#log").get_by_text("for only-you").first.wait_for()
    guest.get_by_role("button", name="Approve", exact=True).last.click()
    guest.locator("dialog#ask").get_by_role("button", name="Approve", exact=True).click()
    guest.locator("#log").get_by_text("Guests of this workspace cannot ask").wait_for()
    assert guest.locator("#log").get_by_text("Only visible to you").count() >= 1
    other = open_page(browser, world, "desk", APPROVER)
    other.locator("#log").get_by_text("for only-you").first.wait_for()
    assert other.get_by_text("Guests of this workspace cannot ask").count() == 0
