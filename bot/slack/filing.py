"""A file or a picture of a run in its thread: once, and never silence."""

from __future__ import annotations

import logging
from collections.abc import Callable

from slack_sdk.errors import SlackApiError

from bot import messages
from bot.slack import cards
from bot.slack.failures import AWAY, Lost
from bot.slack.jobs import Job, Sent
from bot.slack.text import Message
from bot.slack.uploading import UNSURE, Shown, Upload, Uploader, shown_in, upload_of, words_of

log = logging.getLogger(__name__)
PASSING = frozenset({"ratelimited", "http_429"})
UPLOADS = 6
"""Uploads that are tried before the thread gets a text instead: a minute."""
PATIENCE = (0.3, 0.7, 1.5, 2.5)
"""Seconds between looks whether an uploaded file shows: Slack shares it after its answer."""


class Filing:
    """Sends rows of kind `file`. `look` finds what was posted before, `post` posts a message in a row's place."""

    def __init__(
        self,
        uploader: Uploader,
        *,
        look: Callable[[Job, str], str | None],
        post: Callable[[Job, str, Message], str],
        pause: Callable[[float], None],
    ) -> None:
        self.uploader = uploader
        self.look = look
        self.post = post
        self.pause = pause

    def send(self, job: Job) -> Sent:
        """Uploads a row's file, once; where that cannot be done, what it says is posted as text."""
        assert job.body is not None
        exhibit = shown_in(job.body)
        seen = self._shared(job) if job.attempts else ""
        if seen:
            return Sent(job.channel, seen)
        repeated = seen is None
        if job.attempts >= UPLOADS:
            return self._post_instead(job, exhibit, "no answer", repeated)
        upload = self._upload(job, exhibit, repeated)
        if upload is None:
            return self._post_instead(job, exhibit, "", repeated)
        try:
            self.uploader.send(upload, job.channel, str(job.root))
        except SlackApiError as error:
            code = str(error.response.get("error"))
            if code in UNSURE:
                raise Lost from error
            if code in PASSING or code in AWAY:
                raise
            log.error("file %s cannot be uploaded: %s", job.key, code)
            return self._post_instead(job, exhibit, code, repeated)
        return Sent(job.channel, self._arrived(job), repeated)

    def _upload(self, job: Job, exhibit: Shown, repeat: bool) -> Upload | None:
        """None for a picture that cannot be drawn."""
        try:
            return upload_of(exhibit, job.key, repeat=repeat, alone=job.attempts > 1)
        except Exception:  # a picture too few must not be a message too few
            log.exception("the picture %s cannot be drawn", job.key)
            return None

    def _post_instead(self, job: Job, exhibit: Shown, code: str, repeat: bool) -> Sent:
        note = messages.cannot_upload(exhibit, words_of(exhibit), code)
        return Sent(job.channel, self.post(job, job.channel, cards.note(note, repeat=repeat)), repeat)

    def _arrived(self, job: Job) -> str:
        """Where a file that Slack accepted is now, if the app may look; what comes after it must not overtake it."""
        try:
            seen = self._shared(job)
        except (SlackApiError, Lost) as error:
            log.warning("nobody knows whether the file %s shows: %s", job.key, error)
            return ""
        if seen == "":
            log.warning("Slack accepted the file %s and does not show it", job.key)
            raise Lost
        return seen or ""

    def _shared(self, job: Job) -> str | None:
        """As `look`, for a file that may show a moment later."""
        seen = self.look(job, job.channel)
        for seconds in PATIENCE:
            if seen != "":
                break
            self.pause(seconds)
            seen = self.look(job, job.channel)
        return seen
