"""One message to Slack: posted, edited or whispered; and the look whether it was posted before."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.ledger import snapshot
from bot.messages import Note
from bot.slack import cards
from bot.slack.text import Message
from bot.store import Store

log = logging.getLogger(__name__)
PAGES = 10
"""Pages of history (200 messages each) that are looked through for one lost answer."""
EVENT = "tkgbot_message"
READS = frozenset({"conversations.history", "conversations.replies"})
"""Methods that do not take JSON (docs.slack.dev/apis/web-api: JSON is for methods that write)."""
UNDRAWABLE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})


@dataclass(frozen=True)
class Job:
    """One claimed row."""

    key: str
    kind: str
    request: str | None
    channel: str
    person: str | None
    url: str | None
    body: dict[str, Any] | None
    wanted: int
    ts: str | None
    attempts: int
    root: str | None
    created: float
    expires: float | None
    repeated: bool

    @property
    def is_edit(self) -> bool:
        """An edit of a known card: it need not wait for the thread, nor the thread for it."""
        return self.kind == "card" and self.ts is not None

    @property
    def pace(self) -> str:
        """What Slack's rate limit counts together: posts to a channel, or edits."""
        return "edit" if self.is_edit else f"post {self.channel}"


@dataclass(frozen=True)
class Sent:
    """Where a message is now, and whether it may stand there twice."""

    channel: str
    ts: str
    repeated: bool = False


class Lost(Exception):
    """No answer came: the message may be there or not."""


class Sender:
    """Makes the calls for one claimed row at a time. Raises Lost, or SlackApiError with Slack's word."""

    def __init__(self, store: Store, client: WebClient, *, clock: Callable[[], float]) -> None:
        self.store = store
        self.client = client
        self.clock = clock

    def send(self, job: Job) -> Sent:
        """Posts, edits or whispers one row; a post that may be there already is looked for first."""
        if job.expires is not None and self.clock() > job.expires:
            raise SlackApiError("too late", _Answer({"ok": False, "error": "expired_url"}, {}, 200))
        if job.kind == "card":
            return self._send_card(job)
        assert job.body is not None
        meaning = Note.model_validate(job.body)
        if job.kind == "whisper":
            self._whisper(job, cards.note(meaning))
            return Sent(job.channel, "")
        if job.kind == "thread" and job.root is None:
            raise SlackApiError("no card", _Answer({"ok": False, "error": "message_not_found"}, {}, 200))
        channel = job.channel
        if job.kind == "direct":
            channel = self._call("conversations.open", users=job.person)["channel"]["id"]
        seen = self.posted_before(job, channel) if job.attempts else None
        if seen:
            return Sent(channel, seen)
        repeated = seen is None and job.attempts > 0
        return Sent(channel, self._post(job, channel, cards.note(meaning, repeat=repeated)), repeated)

    def _send_card(self, job: Job) -> Sent:
        assert job.request is not None
        request = job.request
        shot = self.store.read(lambda connection: snapshot(connection, request))
        before = self.posted_before(job, job.channel) if job.attempts and not job.ts else None
        repeated = job.repeated or (before is None and job.attempts > 0 and not job.ts)
        message = cards.card(shot, job.wanted, repeat=repeated)
        ts = job.ts or before
        if ts:
            self._call("chat.update", channel=job.channel, ts=ts, text=message.text, blocks=message.blocks)
            return Sent(job.channel, ts, repeated)
        return Sent(job.channel, self._post(job, job.channel, message), repeated)

    def _post(self, job: Job, channel: str, message: Message) -> str:
        answer = self._call(
            "chat.postMessage",
            channel=channel,
            text=message.text,
            blocks=message.blocks,
            thread_ts=job.root if job.kind == "thread" else None,
            metadata={"event_type": EVENT, "event_payload": {"key": job.key}},
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])

    def _whisper(self, job: Job, message: Message) -> None:
        if job.url is None:
            arguments = {"channel": job.channel, "user": job.person, "text": message.text, "blocks": message.blocks}
            self._call("chat.postEphemeral", **arguments)
            return
        try:
            answer = WebhookClient(job.url, timeout=10, retry_handlers=[]).send(
                text=message.text, blocks=message.blocks, response_type="ephemeral", replace_original=False
            )
        except (SlackClientError, OSError) as error:
            raise Lost from error
        if answer.status_code != 200:
            gone = answer.status_code == 404
            body = {"ok": False, "error": "expired_url" if gone else f"http_{answer.status_code}"}
            raise SlackApiError("response_url", _Answer(body, dict(answer.headers or {}), answer.status_code))

    def posted_before(self, job: Job, channel: str) -> str | None:
        """The ts of a post whose answer was lost; "" when it is surely not there; None when that cannot be known: the
        app may not look, or there is too much to look through."""
        arguments: dict[str, Any] = {"channel": channel, "include_all_metadata": True, "limit": 200}
        method = "conversations.history"
        if job.kind == "thread":
            method, arguments["ts"] = "conversations.replies", job.root
        else:
            arguments["oldest"] = str(job.created - 60)
        try:
            for _ in range(PAGES):
                answer = self._call(method, **arguments)
                for message in answer["messages"]:
                    payload = (message.get("metadata") or {}).get("event_payload") or {}
                    if payload.get("key") == job.key:
                        return str(message["ts"])
                arguments["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor")
                if not arguments["cursor"]:
                    return ""
        except SlackApiError as error:
            if error.response.get("error") in ("missing_scope", "not_allowed_token_type", "channel_not_found"):
                return None
            raise
        return None

    def _call(self, method: str, **arguments: Any) -> Any:
        """One call. What Slack cannot draw is sent once more as text alone: an ugly message is better than none."""
        try:
            return self._ask(method, arguments)
        except SlackApiError as error:
            if error.response.get("error") not in UNDRAWABLE or "blocks" not in arguments:
                raise
            log.error("%s cannot be drawn: %s", method, error.response.get("errors") or error.response.get("error"))
            return self._ask(method, {**arguments, "blocks": []})

    def _ask(self, method: str, arguments: dict[str, Any]) -> Any:
        try:
            given = {key: value for key, value in arguments.items() if value is not None}
            if method in READS:
                return self.client.api_call(method, http_verb="GET", params=given)
            return self.client.api_call(method, json=given)
        except SlackApiError as error:
            if not error.response.get("error") or getattr(error.response, "status_code", 200) >= 500:
                raise Lost from error
            raise
        except (SlackClientError, OSError) as error:
            raise Lost from error


@dataclass(frozen=True)
class _Answer:
    """What SlackApiError wants of a response."""

    body: dict[str, Any]
    headers: dict[str, Any]
    status_code: int

    def get(self, key: str, default: Any = None) -> Any:
        return self.body.get(key, default)
