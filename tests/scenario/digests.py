"""Digests and statuses in scenario tests: asking for them, and reading what they say."""

from __future__ import annotations

from typing import Any

from bot.tour import words
from tests.world import DEV, Json, World, eventually


def line(message: Json) -> str:
    """A message as one line."""
    return " ".join(words(message).split())


def told(world: World, text: str, since: str, user: str = DEV) -> Json:
    """The message that says so, waited for."""
    found: Json = world.view.wait(user, text, since=since)
    return found


def say(world: World, text: str, answer: str, user: str = DEV) -> Json:
    """Types a command; the message that answers it."""
    since = world.now()
    assert world.view.command(user, text).get("acked")
    return told(world, answer, since, user)


def below(world: World, root: Json, text: str) -> str:
    """The thread under a digest, as soon as it shows that text."""

    def now() -> str:
        return "\n".join(line(message) for message in world.view.messages(DEV, thread=root["ts"])[1:])

    eventually(lambda: text in now())
    return now()


def button(root: Json, label: str) -> dict[str, Any]:
    """The button of that label under a message."""
    elements = [item for block in root["blocks"] for item in block.get("elements", []) if item.get("type") == "button"]
    return next(item for item in elements if item["text"]["text"] == label)
