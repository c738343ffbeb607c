"""One use of Slack that asks for something, as it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from handlers.contract import Model


class Invocation(Model):
    """A command, a click, a submitted form, a mention in a channel, or a shortcut.

    `key` is unique by what Slack gives, never by its retry headers. `value` is what a button or a form carries: ids and
    the first characters of a fingerprint. `channel` is empty where something comes from no channel. `given` is what was
    filled into a form. `trigger` opens a modal within three seconds; `view` is the modal that was clicked in; `thread`
    is where the answer belongs. `undoes` and `offer` are the request, or the offer, by which a form was opened.
    """

    key: str
    kind: Literal["command", "click", "form", "mention", "shortcut"]
    team: str
    person: str
    person_team: str
    channel: str
    response_url: str | None = None
    command: str = ""
    text: str = ""
    action: str = ""
    value: str = ""
    message_ts: str = ""
    given: Mapping[str, str | bool | None] = Field(default_factory=dict)
    trigger: str = ""
    view: str = ""
    thread: str = ""
    undoes: str = ""
    offer: str = ""
