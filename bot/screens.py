"""What the bot shows in Slack's modals, as meaning; `bot.slack.forms` gives it its looks. Pure but for the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from bot.forms import Field
from bot.messages import Note


@dataclass(frozen=True)
class AskForm:
    """A form for one operation; its answer comes back with `channel` and `operation`, and with `undoes` or `offer`:
    the request that it would take back, or the offer that was clicked."""

    channel: str
    operation: str
    summary: str
    fields: tuple[Field, ...]
    submit: str = "Show the plan"
    undoes: str = ""
    offer: str = ""


@dataclass(frozen=True)
class DenyForm:
    """A form for the reason of a no to one plan of one request. `value` is what its button carried; the answer comes
    back with it and with `channel`."""

    channel: str
    value: str
    headline: str


@dataclass(frozen=True)
class Entry:
    """One thing that a person may ask for; `needs` says what it takes."""

    operation: str
    summary: str
    example: str
    needs: str
    has_form: bool


@dataclass(frozen=True)
class Menu:
    """What somebody may do here, and what waits."""

    channel: str
    entries: tuple[Entry, ...]
    notes: tuple[Note, ...] = field(default=())


@dataclass(frozen=True)
class Words:
    """Only words: what was asked for, that it is being looked up, or that the answer is no."""

    title: str
    notes: tuple[Note, ...]


Screen = AskForm | DenyForm | Menu | Words


class TriggerExpired(Exception):
    """Slack gives three seconds to open a modal after what somebody did, and they are over."""


class Screens(Protocol):
    """Opens and replaces modals. Raises TriggerExpired, Retry or Fatal."""

    def open(self, trigger: str, screen: Screen) -> str:
        """Opens a modal with the trigger of a command, a click or a shortcut; its id."""
        ...

    def replace(self, view: str, screen: Screen) -> None:
        """Shows something else in an open modal. A modal that was closed meanwhile stays closed."""
        ...
