"""What Slack's shortcuts do (docs.slack.dev/interactivity/implementing-shortcuts). They look, and change nothing.

A message shortcut works in a thread, where slash commands do not, and without writing for everybody to read. A global
shortcut comes from no channel, so it shows only what is this person's wherever they are: what they asked for, and what
waits for their approval. A channel that is picked in a form would be no proof that the person is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot import grammar
from bot.answers import NOTHING
from bot.asking import Answer, Asking
from bot.invocation import Invocation
from bot.messages import Note
from bot.policy import Person
from bot.queries import Queries
from bot.screens import Screen, Words

MINE, ABOUT = "mine", "about"
LATE = "Slack gives three seconds to open a window, and they were over. Please choose the shortcut again."
HOW = f"To ask for something, type `{grammar.ROOT}` in a channel that tkgbot is in."


@dataclass(frozen=True)
class Shortcut:
    """One entry of Slack's menus: `name` is what people read, at most 24 characters."""

    action: str
    kind: Literal["global", "message"]
    name: str
    description: str


SHORTCUTS = (
    Shortcut(MINE, "global", "My tkgbot requests", "What waits for your approval, and what you asked for"),
    Shortcut(ABOUT, "message", "About this request", "Where the request of this thread stands, why, and its log"),
)
"""The order is Slack's to choose. An action is part of the installed app: it must not change."""


@dataclass(frozen=True, kw_only=True)
class Shortcuts:
    """The answering of shortcuts."""

    queries: Queries
    asking: Asking

    def shortcut(self, invocation: Invocation) -> Answer:
        """Opens a modal with what is asked for."""
        make = {MINE: self._mine, ABOUT: self._about}.get(invocation.action)
        if make is None:
            return Note(tone="bad", text=f"This version of tkgbot does not know this shortcut. {NOTHING}")
        late = Note(tone="warn", text=LATE)
        return self.asking.open(invocation, lambda person: make(invocation, person), late)

    def _mine(self, invocation: Invocation, person: Person) -> Screen:
        waiting, mine = (self.queries.listed(which, person, "") for which in ("waiting", "mine"))
        return Words("Your requests", (waiting, mine, Note(text=HOW)))

    def _about(self, invocation: Invocation, person: Person) -> Screen:
        request = self.queries.by_card(invocation.channel, invocation.thread)
        if request is None:
            text = "This message is not in the thread of a request. Choose the shortcut on a card or below one."
            return Words("About this request", (Note(tone="warn", text=text),))
        shot = self.queries.see(request, person, invocation.channel)
        why = self.asking.why(person, shot).model_copy(update={"text": "Why:"})
        return Words(f"Request {request}", (self.queries.shown(shot), why, self.queries.log(shot)))
