"""How a call to Slack can fail beside Slack's own no."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slack_sdk.errors import SlackApiError

AWAY = frozenset({"user_not_in_channel", "not_in_channel", "channel_not_found", "is_archived"})
"""Slack's word for a place that takes no messages, or somebody who is not there."""


class Lost(Exception):
    """No answer came: the message may be there or not."""


@dataclass(frozen=True)
class _Answer:
    """What SlackApiError wants of a response."""

    body: dict[str, Any]
    headers: dict[str, Any] = field(default_factory=dict)
    status_code: int = 200

    def get(self, key: str, default: Any = None) -> Any:
        return self.body.get(key, default)


def refusal(about: str, code: str, headers: dict[str, Any] | None = None, status: int = 200) -> SlackApiError:
    """A no that did not come as the answer of a method."""
    return SlackApiError(about, _Answer({"ok": False, "error": code}, headers or {}, status))
