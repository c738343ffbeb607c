"""One use of Slack that asks for something, as it is stored."""

from __future__ import annotations

from typing import Literal

from handlers.contract import Model


class Invocation(Model):
    """A command or a click. `key` is unique by what Slack gives, never by its retry headers; `value` is what a button
    carries: a request id and the first characters of a fingerprint."""

    key: str
    kind: Literal["command", "click"]
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
