"""Opens and replaces modals (docs.slack.dev/surfaces/modals). A trigger lives three seconds and serves once."""

from __future__ import annotations

import logging
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.screens import Screen, TriggerExpired
from bot.slack.forms import view
from handlers.contract import Fatal, Retry

log = logging.getLogger(__name__)
EXPIRED = frozenset({"expired_trigger_id", "trigger_expired", "trigger_exchanged", "exchanged_trigger_id"})
GONE = frozenset({"not_found", "view_not_found", "hash_conflict"})
"""Slack's words for a modal that was closed or has moved on meanwhile."""


class SlackScreens:
    """The protocol `bot.screens.Screens` over Slack's Web API."""

    def __init__(self, client: WebClient) -> None:
        self.client = client

    def open(self, trigger: str, screen: Screen) -> str:
        """views.open. Raises TriggerExpired, Retry or Fatal."""
        answer = self._call("views.open", trigger_id=trigger, view=view(screen))
        return str(answer["view"]["id"])

    def replace(self, view_id: str, screen: Screen) -> None:
        """views.update; a modal that is gone is no error."""
        try:
            self._call("views.update", view_id=view_id, view=view(screen))
        except Fatal as error:
            if str(error.hint) not in GONE:
                raise

    def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return self.client.api_call(method, json=arguments)
        except SlackApiError as error:
            code = str(error.response.get("error"))
            if code in EXPIRED:
                raise TriggerExpired(code) from error
            status = getattr(error.response, "status_code", 200)
            if code in ("ratelimited", "fatal_error", "internal_error") or status >= 500:
                raise Retry("Slack could not show the form just now.") from error
            log.error("%s was refused: %s", method, code)
            raise Fatal("Slack did not show the form.", code) from error
        except (SlackClientError, OSError) as error:
            raise Retry("Slack could not show the form just now.") from error
