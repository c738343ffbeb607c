"""Who people are and what a channel is: asked anew each time, answered by `bot.slack.identity`."""

from __future__ import annotations

from typing import Protocol

from bot.policy import Person, Place
from handlers.contract import Fatal


class NotInChannel(Fatal):
    """The bot is not a member of the channel, so it could not post there."""


class Directory(Protocol):
    """Raises Retry when Slack does not answer, and Fatal when it says no; never guesses."""

    def person(self, user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        """A fresh look at one person. `groups` are the user groups whose membership matters; `team` is the workspace
        that they came from, where Slack said so."""
        ...

    def place(self, channel: str) -> Place:
        """A fresh look at one channel. Raises NotInChannel."""
        ...
