"""Somebody with a keyboard and no pointer: presses keys, and always knows where the focus is.

Nothing here clicks, taps or runs a script that acts: scripts only read. After each key that moves the focus it is
checked that the focus can be seen: it is on the screen, nothing lies over it, and it has a ring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Locator, Page

from tests.browser.conftest import SIZES, open_page, picture
from tests.world import CHANNEL, World

FOCUS = """() => {
  const node = document.activeElement, box = node.getBoundingClientRect();
  const frame = node.closest(".compose form") || node;
  const looks = getComputedStyle(frame);
  const all = node.closest(".log, dialog .in, nav, .menu")?.getBoundingClientRect() || { top: 0, bottom: innerHeight };
  const high = Math.max(box.top, all.top, 0), low = Math.min(box.bottom, all.bottom, innerHeight);
  const top = document.elementFromPoint(box.left + box.width / 2, (high + low) / 2);
  const labels = node.labels ? [...node.labels].map((label) => label.textContent).join(" ") : "";
  return {
    tag: node.tagName.toLowerCase(), id: node.id, text: node.textContent,
    name: (node.getAttribute("aria-label") || labels || node.textContent || "").trim(),
    ts: node.closest(".msg")?.dataset.ts || "", isMessage: node.matches(".msg"), log: node.closest(".log")?.id || "",
    dialog: node.closest("dialog")?.id || "", height: box.height, width: box.width, href: node.href || "",
    isOnScreen: box.width > 0 && low - high > Math.min(box.height, 24) - 2 && box.left >= 0 && box.right <= innerWidth,
    isCovered: !(top && (node.contains(top) || top.contains(node))),
    hasRing: (looks.outlineStyle !== "none" && parseFloat(looks.outlineWidth) >= 2) || / 2px/.test(looks.boxShadow),
  };
}"""
WIDE = "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
SMALL = """() => [...document.querySelectorAll("button, select, input, textarea, .choice")]
  .filter((node) => !node.closest(".choice") || node.matches(".choice"))
  .map((node) => [node.textContent || node.id, node.getBoundingClientRect(), getComputedStyle(node)])
  .filter(([, box, looks]) => box.width && looks.visibility === "visible" && box.height < 43.5)
  .map(([name, box]) => `${name.trim()}: ${Math.round(box.height)}`)"""


@dataclass
class Hands:
    """One person's page, by keyboard."""

    page: Page
    size: str

    # -- looking

    def focus(self) -> dict[str, Any]:
        """What has the focus."""
        found: dict[str, Any] = self.page.evaluate(FOCUS)
        return found

    def seen(self) -> dict[str, Any]:
        """What has the focus, which can be seen."""
        now = self.focus()
        assert now["tag"] != "body", "the focus is lost"
        assert now["isOnScreen"], f"the focus is off the screen: {now}"
        assert not now["isCovered"], f"something lies over the focus: {now}"
        assert now["hasRing"], f"the focus does not show: {now}"
        return now

    def messages(self, text: str, log: str = "log") -> Locator:
        """The messages that show a text."""
        return self.page.locator(f"#{log} .msg", has_text=text)

    def wait(self, text: str, log: str = "log") -> None:
        """Until a message shows the text: by itself, for nobody reloads the page."""
        self.messages(text, log).last.wait_for()

    def heard(self, text: str) -> None:
        """That a screen reader is told so."""
        self.page.locator("#news", has_text=text).wait_for(state="attached")

    def picture(self, name: str) -> None:
        """A picture; nothing is wider than the screen in it, and on a phone nothing too small to tap."""
        picture(self.page, f"{name}-{self.size}")
        wide, small = self.page.evaluate(WIDE), self.page.evaluate(SMALL)
        assert wide <= SIZES[self.size][0], f"{wide} pixels wide"
        assert self.size != "phone" or not small, f"too small to tap: {small}"

    # -- doing

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Words where the focus is."""
        self.page.keyboard.type(text)

    def tab_to(self, name: str, *, back: bool = False, limit: int = 40) -> dict[str, Any]:
        """Tab, until what has the focus has this name."""
        for _ in range(limit):
            self.press("Shift+Tab" if back else "Tab")
            now = self.seen()
            if re.search(name, now["name"]):
                return now
        raise AssertionError(f"Tab does not reach {name}; the focus is on {now}")

    def section(self, part: str) -> dict[str, Any]:
        """F6, until the focus is in that part of the page: `log`, `threadlog`, `box`, `threadbox`."""
        for _ in range(6):
            self.press("F6")
            now = self.seen()
            if part in (now["log"], now["id"]):
                return now
        raise AssertionError(f"F6 does not reach {part}; the focus is on {now}")

    def message(self, text: str, log: str = "log", limit: int = 60) -> dict[str, Any]:
        """From wherever one is to the newest message that shows the text, through the list."""
        self.section(log)
        self.press("End")
        for _ in range(limit):
            now = self.seen()
            assert now["isMessage"], now
            if text in now["text"]:
                return now
            self.press("ArrowUp")
        raise AssertionError(f"no message shows {text}; the focus is on {now}")

    def become(self, name: str) -> None:
        """Changes who one is: in the sidebar, which on a phone is behind its button."""
        if self.size == "phone":
            self.tab_to("Channels and people", back=True, limit=40)
            self.press("Enter")
            self.seen()
        else:
            self.tab_to("You are", back=True, limit=40)
        self.press("Enter")
        for _ in range(12):
            if self.seen()["name"].startswith(f"{name[:2].upper()}{name}"):
                break
            self.press("ArrowDown")
        self.press("Enter")
        self.page.locator("#me", has_text=f"You are: {name}").wait_for()
        if self.size == "phone":
            self.press("Escape")
        self.seen()


def hands(browser: Browser, world: World, size: str, user: str, channel: str = CHANNEL) -> Hands:
    """A page that was just loaded, and the hands before it."""
    return Hands(open_page(browser, world, size, user, channel), size)
