"""Who is this, and what is this channel, now? Slack is asked each time; when it does not answer, nobody is anybody.

The flags are those of docs.slack.dev/reference/objects/user-object and …/conversation-object. A user group's members
come with one usergroups.list call for all groups (Tier 2: 20 a minute), so that answer is used for so many
seconds as `groups_fresh` says; users.info and conversations.info are asked at each use.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.directory import NotInChannel
from bot.policy import Kind, Person, Place
from handlers.contract import Fatal, Retry

log = logging.getLogger(__name__)
CODE = re.compile(r"[a-z_]+")
PASSING = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})
"""Slack's words for trouble of its own, which every method can answer with and which passes (docs.slack.dev,
"Errors" of users.info)."""
SILENT = "Slack did not say who you are or what this channel is"


class SlackDirectory:
    """Looks people and channels up. `team` is the one workspace whose people count."""

    def __init__(
        self, client: WebClient, team: str, *, groups_fresh: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self.team = team
        self._groups_fresh = groups_fresh
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[str, frozenset[str]] = {}
        self._groups_at = float("-inf")

    def person(self, user: str, groups: tuple[str, ...], team: str | None = None) -> Person:
        """A fresh look at one person; `team` is the workspace that they came from, where Slack said so."""
        info: dict[str, Any] = self._ask("users.info", user=user)["user"]
        memberships = self._memberships(groups) if groups else {}
        return Person(
            id=user,
            kind=self._kind(info, team),
            groups=frozenset(group for group, members in memberships.items() if user in members),
            email=str(info.get("profile", {}).get("email") or ""),
        )

    def _kind(self, info: dict[str, Any], team: str | None) -> Kind:
        if info.get("deleted"):
            return "deactivated"
        if info.get("is_bot") or info.get("is_app_user") or info.get("id") == "USLACKBOT":
            return "bot"
        if info.get("is_stranger"):
            return "stranger"
        if (team or info.get("team_id")) != self.team or info.get("team_id") != self.team:
            return "foreign"
        if info.get("is_restricted") or info.get("is_ultra_restricted"):
            return "guest"
        return "member"

    def _memberships(self, groups: tuple[str, ...]) -> dict[str, frozenset[str]]:
        with self._lock:
            if self._clock() - self._groups_at > self._groups_fresh:
                listed = self._ask("usergroups.list", include_users=True)["usergroups"]
                self._groups = {group["id"]: frozenset(group.get("users") or ()) for group in listed}
                self._groups_at = self._clock()
            return {group: self._groups.get(group, frozenset()) for group in groups}

    def place(self, channel: str) -> Place:
        """A fresh look at one channel. Raises NotInChannel."""
        try:
            info: dict[str, Any] = self._ask("conversations.info", channel=channel)["channel"]
        except Fatal as error:
            if "channel_not_found" in str(error):  # a private channel that the bot is not in
                raise NotInChannel(f"tkgbot is not in the channel {channel}.") from error
            raise
        if not (info.get("is_member") or info.get("is_im")):
            raise NotInChannel(f"tkgbot is not in the channel {channel}.")
        within = info.get("is_org_shared") and not info.get("is_ext_shared")  # workspaces of one organisation
        shared = any(info.get(flag) for flag in ("is_ext_shared", "is_pending_ext_shared", "is_shared")) and not within
        return Place(channel=channel, shared=shared, direct=bool(info.get("is_im")))

    def _ask(self, method: str, **arguments: Any) -> Any:
        try:
            return self.client.api_call(method, http_verb="GET", params=arguments)
        except SlackApiError as error:
            code = str(error.response.get("error")) if hasattr(error.response, "get") else ""
            is_outage = getattr(error.response, "status_code", 200) >= 500 or not CODE.fullmatch(code)
            if code in PASSING or is_outage:  # an outage's page is no answer, and not for people
                raise Retry(f"{SILENT}.", after=_pause(error)) from error
            raise Fatal(f"{SILENT} ({code}).") from error
        except (SlackClientError, OSError) as error:
            raise Retry(f"{SILENT}.", after=2.0) from error


def _pause(error: SlackApiError) -> float:
    headers = getattr(error.response, "headers", {}) or {}
    try:
        return float(headers.get("Retry-After", 2))
    except ValueError:
        return 2.0
