"""HTTP delivery: each payload as a signed POST to the app's Request URL, instead of Socket Mode.

Facts: "Verifying requests from Slack" (v0 signatures over timestamp and body), "Implementing slash commands" (form
encoded), "Handling user interaction" (a form field `payload` of JSON), "The Events API" (JSON; retry headers).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from sandbox.slack.workspace import Json, Workspace, ensure

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class HttpDelivery:
    """Posts to one loopback URL. Raises TimeoutError or ConnectionError when there is no good answer in time."""

    def __init__(self, ws: Workspace, url: str, ack_seconds: float) -> None:
        ensure(urlsplit(url).hostname in ("127.0.0.1", "localhost") and url.startswith("http://"), "not_local", 400)
        self.ws, self.url = ws, url
        self.timeout = aiohttp.ClientTimeout(total=ack_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, kind: str, payload: Json, retry: Json) -> Any:
        """One delivery; what the app answered: JSON, a text as an ephemeral message, or nothing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, content_type = encoded(kind, payload)
        headers = {"Content-Type": content_type, **signed(self.ws.signing_secret, body, int(time.time()))}
        if retry:
            headers["X-Slack-Retry-Num"] = str(retry["retry_attempt"])
            headers["X-Slack-Retry-Reason"] = f"http_{retry['retry_reason']}"
        try:
            async with self._session.post(self.url, data=body, headers=headers, timeout=self.timeout) as answer:
                text = await answer.text()
                if answer.status != 200:
                    raise ConnectionError(f"status {answer.status}")
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error
        return _answer(text)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def encoded(kind: str, payload: Json) -> tuple[bytes, str]:
    """The body as Slack sends it, and its content type."""
    if kind == "slash_commands":
        return urlencode({key: value for key, value in payload.items() if value is not None}).encode(), FORM
    if kind == "interactive":
        return urlencode({"payload": json.dumps(payload)}).encode(), FORM
    return json.dumps(payload).encode(), JSON


def signed(secret: str, body: bytes, at: int) -> dict[str, str]:
    """The two headers that prove who sent it."""
    digest = hmac.new(secret.encode(), b"v0:%d:" % at + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": f"v0={digest}"}


def _answer(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text}
