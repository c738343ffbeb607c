"""Pictures and texts in a thread, in a real Chromium: seen, opened large, and saved; by nobody who may not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from bot.slack.pictures import describe, draw
from handlers.contract import Board, Tile
from tests.browser.conftest import SIZES, picture
from tests.unit.test_sandbox_slack_live import DEV, PLATFORM, World
from tests.world import eventually

pytestmark = pytest.mark.browser
BOARD = Board(
    name="gpu-test", title="GPU test of shop: 1 of 2 nodes passed",
    tiles=(
        Tile(title="ip-10-0-1-23.ec2.internal", lines=("Tesla T4", "12 s"), tone="good"),
        Tile(title="ip-10-0-1-24.ec2.internal", lines=("0/3 nodes are available",), tone="bad"),
    ),
)  # fmt: skip
LOG = "".join(
    f"NVRM: line {number} of a log whose lines are rather long for a phone's screen\n" for number in range(40)
)


@pytest.fixture(scope="module")
def slack() -> Iterator[World]:
    world = World()
    yield world
    world.run(world.box.stop())


@pytest.fixture
def thread(slack: World) -> str:
    """A card whose thread has a picture and a log."""
    root = str(slack.client.chat_postMessage(channel=PLATFORM, text="card")["ts"])
    where = {"channel": PLATFORM, "thread_ts": root}
    slack.client.files_upload_v2(
        file=draw(BOARD), filename="gpu-test.png", title=BOARD.title, alt_txt=describe(BOARD), **where
    )
    slack.client.files_upload_v2(
        content=LOG, filename="driver.log", title="Log of the driver", snippet_type="text", **where
    )
    assert slack.wait("Log of the driver")
    return root


def opened(browser: Browser, slack: World, size: str, thread: str, user: str = DEV) -> Page:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    page.goto(f"{slack.box.url}/?as={user}&channel={PLATFORM}&thread={thread}")
    page.locator("#net:not(.off)").wait_for(state="attached")
    return page


def is_drawn(page: Page, where: str) -> bool:
    """Whether the picture is there, not a sign that it is broken."""
    eventually(lambda: bool(page.evaluate(f"document.querySelector('{where}')?.complete")))
    return bool(page.evaluate(f"document.querySelector('{where}').naturalWidth > 0"))


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_shows_in_the_thread_and_opens_large(browser: Browser, slack: World, thread: str, size: str) -> None:
    page = opened(browser, slack, size, thread)
    shown = page.locator("#threadlog").get_by_alt_text(describe(BOARD))
    shown.wait_for()
    assert is_drawn(page, "#threadlog .thumb img")
    box = shown.bounding_box()
    assert box is not None
    assert box["width"] >= 200
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    picture(page, f"{size}-file")
    page.get_by_role("button", name="Open the picture").click()
    assert is_drawn(page, "#viewer img")
    large = page.locator("#viewer img").bounding_box()
    assert large is not None
    assert large["width"] > box["width"]
    assert large["x"] + large["width"] <= SIZES[size][0] + 1
    picture(page, f"{size}-file-large")
    page.get_by_role("button", name="Actual size").click()
    width = Image.open(io.BytesIO(draw(BOARD))).width
    assert page.locator("#viewer img").evaluate("image => image.offsetWidth") == width
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").evaluate("box => box.open")
    assert page.evaluate("document.activeElement.className") == "thumb"


@pytest.mark.parametrize("size", SIZES)
def test_a_log_shows_its_first_lines_and_can_be_saved(browser: Browser, slack: World, thread: str, size: str) -> None:
    page = opened(browser, slack, size, thread)
    log = page.locator("#threadlog .file", has_text="Log of the driver")
    log.get_by_text("35 more lines").wait_for()
    assert "NVRM: line 4" in log.inner_text()
    assert "NVRM: line 5" not in log.inner_text()
    with page.expect_download() as saving:
        log.get_by_role("link", name="Download driver.log").click()
    assert saving.value.suggested_filename == "driver.log"
    assert Path(saving.value.path()).read_text() == LOG


def test_with_a_keyboard_and_a_screen_reader(browser: Browser, slack: World, thread: str) -> None:
    page = opened(browser, slack, "desk", thread)
    message = page.locator("#threadlog .msg", has=page.locator(".thumb"))
    assert f"Picture: {describe(BOARD)}" in str(message.get_attribute("aria-label"))
    message.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Download gpu-test.png")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#viewer img").wait_for()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#viewer') !== null")


def test_a_file_that_comes_while_one_looks_is_told(browser: Browser, slack: World, thread: str) -> None:
    page = opened(browser, slack, "desk", thread)
    page.locator("#threadlog .thumb").wait_for()
    slack.client.files_upload_v2(content="x", filename="new.txt", title="New log", channel=PLATFORM, thread_ts=thread)
    page.locator("#threadlog").get_by_text("New log").wait_for()
    page.locator("#news").get_by_text("tkgbot: File: New log").first.wait_for(state="attached")
