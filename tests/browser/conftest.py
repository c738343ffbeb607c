"""A real Chromium, and pages of the sandbox in it at a desk's and a phone's width."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.scenario.conftest import IMPATIENT, ONCE
from tests.world import CHANNEL, PATIENCE, World, running_world

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright's event loop runs in this thread as long as it is open: no other module's test may find it there."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "Chromium is not installed"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shared_world() -> Iterator[World]:
    """One for all: its bot gives up within seconds what it would wait for during minutes, so that runs park soon."""
    with running_world() as running:
        running.settings.write_text(running.settings.read_text().replace(*ONCE))
        running.start_bot(("-c", IMPATIENT))
        yield running


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    yield shared_world
    shared_world.calm()


def open_page(browser: Browser, world: World, size: str, user: str, channel: str = CHANNEL) -> Page:
    """The page as somebody has it open, ready for use."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{world.view.url}/?as={user}&channel={channel}")
    page.locator("#net:not(.off)").wait_for(state="attached")
    page.locator("#box:focus").wait_for()
    return page


def picture(page: Page, name: str) -> None:
    """A picture to be looked at, where TKGBOT_PICTURES names a folder."""
    folder = os.environ.get("TKGBOT_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")
