"""One message to Slack: posted, uploaded, edited or whispered; and the look whether it was posted before."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.digest_words import LATE
from bot.ledger import snapshot
from bot.messages import Note
from bot.slack import cards
from bot.slack.failures import AWAY, Lost, refusal
from bot.slack.filing import Filing
from bot.slack.jobs import Job, Sent
from bot.slack.text import Message
from bot.slack.uploading import Uploader, mark_of
from bot.store import Store

log = logging.getLogger(__name__)
PAGES = 10
"""Pages of history (200 messages each) that are looked through for one lost answer."""
EVENT = "tkgbot_message"
READS = frozenset({"conversations.history", "conversations.replies"})
"""Methods that do not take JSON (docs.slack.dev/apis/web-api: JSON is for methods that write)."""
FORMS = frozenset({"files.getUploadURLExternal", "files.completeUploadExternal"})
"""Methods that Slack's own SDKs send as forms, with what is nested as JSON."""
UNREADABLE = frozenset({"missing_scope", "not_allowed_token_type", "channel_not_found", "not_in_channel"})
"""Slack's word for a channel whose messages the app may not read."""
BUSY_AFTER = 10
"""Messages in a channel after which a card counts as out of sight."""
UNDRAWABLE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
IN_THREAD = frozenset({"thread", "file"})


class Sender:
    """Makes the calls for one claimed row at a time. Raises Lost, or SlackApiError with Slack's word."""

    def __init__(
        self,
        store: Store,
        client: WebClient,
        *,
        clock: Callable[[], float],
        busy_after: int = BUSY_AFTER,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        uploader = Uploader(self._ask, client.base_url, client.timeout, client.ssl)
        self.files = Filing(uploader, look=self.posted_before, post=self._post, pause=pause)
        self.busy_after = busy_after
        self.store = store
        self.client = client
        self.clock = clock

    def send(self, job: Job) -> Sent:
        """Posts, edits or whispers one row; a post that may be there already is looked for first."""
        if job.expires is not None and self.clock() > job.expires:
            raise refusal("too late", "expired_url")
        if job.kind == "card":
            return self._send_card(job)
        assert job.body is not None
        if job.kind in IN_THREAD and job.root is None:
            raise refusal("no card", "message_not_found")
        if job.kind == "file":
            return self.files.send(job)
        meaning = Note.model_validate(job.body)
        if job.kind == "whisper":
            self._whisper(job, cards.note(meaning))
            return Sent(job.channel, "")
        channel = job.channel
        if job.kind == "nudge" and not self._is_busy(job):
            return Sent(channel, "")
        if job.kind in ("direct", "nudge"):
            channel = self._call("conversations.open", users=job.person)["channel"]["id"]
        seen = self.posted_before(job, channel) if job.attempts else None
        if seen:
            return Sent(channel, seen)
        repeated = seen is None and job.attempts > 0
        late = job.kind == "post" and job.expires is not None and self.clock() - job.created > LATE
        return Sent(channel, self._post(job, channel, cards.note(meaning, repeat=repeated, late=late)), repeated)

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
            thread_ts=job.root if job.kind in IN_THREAD else None,
            metadata={"event_type": EVENT, "event_payload": {"key": job.key}},
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])

    def _is_busy(self, job: Job) -> bool:
        """True when so much was said in the channel since the card was posted that it is out of sight; also where the
        app may not read history, because a message too many is better than a decision that nobody sees."""
        try:
            answer = self._call("conversations.history", channel=job.channel, oldest=job.root, limit=self.busy_after)
        except SlackApiError as error:
            if error.response.get("error") in UNREADABLE:
                return True
            raise
        return len(answer["messages"]) >= self.busy_after

    def _whisper(self, job: Job, message: Message) -> None:
        if job.url is None:
            try:
                self._call(
                    "chat.postEphemeral", channel=job.channel, user=job.person, thread_ts=job.thread,
                    text=message.text, blocks=message.blocks,
                )  # fmt: skip
            except SlackApiError as error:  # Slack whispers only to those who are there
                if error.response.get("error") not in AWAY:
                    raise
                self._post(job, self._call("conversations.open", users=job.person)["channel"]["id"], message)
            return
        try:
            answer = WebhookClient(job.url, timeout=10, retry_handlers=[]).send(
                text=message.text, blocks=message.blocks, response_type="ephemeral", replace_original=False
            )
        except (SlackClientError, OSError) as error:
            raise Lost from error
        if answer.status_code != 200:
            gone = answer.status_code == 404
            code = "expired_url" if gone else f"http_{answer.status_code}"
            raise refusal("response_url", code, dict(answer.headers or {}), answer.status_code)

    def posted_before(self, job: Job, channel: str) -> str | None:
        """The ts of a post whose answer was lost; "" when it is surely not there; None when that cannot be known: the
        app may not look, or there is too much to look through."""
        arguments: dict[str, Any] = {"channel": channel, "include_all_metadata": True, "limit": 200}
        method = "conversations.history"
        if job.kind in IN_THREAD:
            method, arguments["ts"] = "conversations.replies", job.root
        else:
            arguments["oldest"] = str(job.created - 60)
        hidden = False
        try:
            for _ in range(PAGES):
                answer = self._call(method, **arguments)
                for message in answer["messages"]:
                    is_this = _is_of(job, message)
                    if is_this:
                        return str(message["ts"])
                    hidden = hidden or is_this is None
                arguments["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor")
                if not arguments["cursor"]:
                    return None if hidden else ""
        except SlackApiError as error:
            if error.response.get("error") in UNREADABLE:
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
            if method in FORMS:
                words = {key: json.dumps(value) if isinstance(value, list) else value for key, value in given.items()}
                return self.client.api_call(method, params=words)
            return self.client.api_call(method, json=given)
        except SlackApiError as error:
            if not error.response.get("error") or getattr(error.response, "status_code", 200) >= 500:
                raise Lost from error
            raise
        except (SlackClientError, OSError) as error:
            raise Lost from error


def _is_of(job: Job, message: dict[str, Any]) -> bool | None:
    """True when a message is the row's; None when a file is shown without its name, so that nobody can tell."""
    payload = (message.get("metadata") or {}).get("event_payload") or {}
    if payload.get("key") == job.key:
        return True
    if job.kind != "file":
        return False
    names = [file.get("name") for file in message.get("files") or []]
    if any(mark_of(job.key) in str(name) for name in names):
        return True
    return None if None in names else False
