"""A file or a picture for a thread: what is uploaded, and Slack's three calls.

A URL is asked for, the bytes go there, and the completion shares the file, which shows a moment after the answer
(docs.slack.dev/messaging/working-with-files; files.getUploadURLExternal, files.completeUploadExternal). Nobody sees
what was not completed, so only the completion can have happened twice; the file's name carries the mark of its row, by
which it is found again in its thread.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bot.slack import charts, pictures
from bot.slack.failures import Lost, refusal
from bot.slack.text import clip, escape
from handlers.contract import Board, Chart, File, visible

Shown = File | Board | Chart
NAME, TITLE = 60, 200
UNSURE = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "file_not_found", "file_update_failed"}
)
"""Slack's word for an upload that may have worked, or works when it is begun anew (docs.slack.dev, "Errors" of
files.completeUploadExternal)."""


@dataclass(frozen=True)
class Upload:
    """What goes to Slack. `comment` is mrkdwn."""

    name: str
    title: str
    content: bytes
    alt_txt: str | None = None
    snippet_type: str | None = None
    comment: str | None = None


MODELS: dict[str, type[Shown]] = {"board": Board, "chart": Chart, "file": File}


def shown_in(body: dict[str, Any]) -> Shown:
    """The exhibit of a row."""
    return MODELS[body["kind"]].model_validate(body)


def words_of(exhibit: Shown) -> str:
    """The exhibit as text."""
    if isinstance(exhibit, File):
        return exhibit.text
    return charts.describe(exhibit) if isinstance(exhibit, Chart) else pictures.describe(exhibit)


def drawn(exhibit: Board | Chart) -> bytes:
    """The exhibit as a PNG."""
    return charts.draw(exhibit) if isinstance(exhibit, Chart) else pictures.draw(exhibit)


def mark_of(key: str) -> str:
    """What tells a row's file from every other one."""
    return hashlib.sha256(key.encode()).hexdigest()[:10]


def upload_of(exhibit: Shown, key: str, *, repeat: bool, alone: bool = False) -> Upload:
    """The upload of an exhibit. `repeat` marks what may be there already. Slack may lose what has an `alt_txt` and says
    nothing (slackapi/python-slack-sdk issue 1818): `alone` leaves it out, and the description stands above the picture.
    """
    words = " ".join(visible(exhibit.title).encode("utf-8", "replace").decode().split())
    title = clip(f"{'(repeated) ' if repeat else ''}{words}", TITLE)
    if isinstance(exhibit, File):
        content = (exhibit.text or "(empty)\n").encode("utf-8", "replace")
        return Upload(_marked(exhibit.name, ".txt", key), title, content, snippet_type="text")
    name, words = _marked(exhibit.name, ".png", key), words_of(exhibit)
    comment = escape(re.sub(r"[*_~`]", " ", words)) if alone else None
    return Upload(name, title, drawn(exhibit), alt_txt=None if alone else words, comment=comment)


def _marked(name: str, ending: str, key: str) -> str:
    """`driver.log` as `driver-1a2b3c4d5e.log`; what has no ending gets one."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
    stem, dot, own = plain.rpartition(".")
    if not dot or ending == ".png" or len(own) > 8:
        stem, own = plain.removesuffix(".png"), ending[1:]
    return f"{stem[:NAME] or 'file'}-{mark_of(key)}.{own}"


class Uploader:
    """Makes the calls. `ask` calls a method of Slack; `base` is the Web API's address."""

    def __init__(
        self, ask: Callable[[str, dict[str, Any]], Any], base: str, timeout: float, trust: ssl.SSLContext | None
    ) -> None:
        self.ask = ask
        self.scheme = urlsplit(base).scheme
        self.timeout = timeout
        self.trust = trust

    def send(self, upload: Upload, channel: str, thread: str) -> None:
        """Uploads and shares. Raises Lost, or SlackApiError with Slack's word for what cannot be uploaded."""
        given = {"filename": upload.name, "length": len(upload.content)}
        more = {"alt_txt": upload.alt_txt, "snippet_type": upload.snippet_type}
        ticket = self.ask("files.getUploadURLExternal", {**given, **more})
        self._put(str(ticket["upload_url"]), upload.content)
        files = [{"id": ticket["file_id"], "title": upload.title}]
        place = {"channel_id": channel, "thread_ts": thread, "initial_comment": upload.comment}
        self.ask("files.completeUploadExternal", {"files": files, **place})

    def _put(self, url: str, content: bytes) -> None:
        if urlsplit(url).scheme != self.scheme:  # a log must not go out unencrypted where the API itself is not
            raise refusal("upload", "bad_upload_url")
        request = urllib.request.Request(  # noqa: S310 - the scheme is the API's own
            url, data=content, method="POST", headers={"Content-Type": "application/octet-stream"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout, context=self.trust) as answer:  # noqa: S310
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 429:
                    raise refusal("upload", "ratelimited", dict(error.headers), 429) from error
                if error.code == 413:
                    raise refusal("upload", "http_413", {}, 413) from error
            raise Lost from error
        except (OSError, http.client.HTTPException) as error:
            raise Lost from error
