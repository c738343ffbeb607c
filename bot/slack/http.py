"""Slack's deliveries over HTTP, instead of Socket Mode; the probes on the same port.

`POST /slack/events` takes commands, interactions and events alike. The signature and an age of at most five minutes
(docs.slack.dev/authentication/verifying-requests-from-slack) are checked before anything is parsed: Bolt parses first.
The same bytes once more within that time are stored once, by their key. waitress serves it: it reads a whole request
before a thread takes it, refuses what is too long, and drops whoever sends too slowly: a slow client costs no thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from slack_bolt import App, BoltRequest, BoltResponse
from slack_sdk.signature import SignatureVerifier
from waitress.server import create_server

from bot.probes import SLOWEST, Probes, Start
from bot.probes import say as _say

log = logging.getLogger(__name__)
PATH = "/slack/events"
LARGEST = 2**20
"""Bytes of a request's body; Slack's own are a few dozen thousand at most."""


class HttpIntake:
    """Serves one app, and the `probes`; without `metrics` where those are served elsewhere."""

    def __init__(
        self, app: App, host: str, port: int, *, signing_secret: str, probes: Probes, metrics: bool = True,
        threads: int = 32,
    ) -> None:  # fmt: skip
        self._app = app
        self._verifier = SignatureVerifier(signing_secret)
        self._probes = probes
        self._metrics = metrics
        self._stopping = False
        self._in_flight = 0
        self._idle = threading.Condition()
        self._server = create_server(
            self.serve, host=host, port=port, threads=threads, ident=None, max_request_body_size=LARGEST,
            channel_timeout=SLOWEST, cleanup_interval=SLOWEST, connection_limit=1000, asyncore_use_poll=True,
            expose_tracebacks=False,
        )  # fmt: skip
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()
        log.info("serving Slack's requests on port %d at %s", self.port, PATH)

    def stop(self, longest: float = 5.0) -> None:
        """Takes nothing more, and lets what is under way end, for at most `longest` seconds."""
        self._stopping = True
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, longest)
        self._server.close()
        self._server.task_dispatcher.shutdown()

    def serve(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """The WSGI application (PEP 3333)."""
        path, method = environ.get("PATH_INFO"), environ.get("REQUEST_METHOD")
        if path == PATH:
            return self._deliver(environ, start) if method == "POST" else _say(start, "405 Method Not Allowed")
        return self._probes.answer(environ, start, metrics=self._metrics)

    def _deliver(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        with self._idle:
            if self._stopping:
                return _say(start, "503 Service Unavailable", "stopping")
            self._in_flight += 1
        try:
            return self._dispatch(environ, start)
        except Exception:  # the edge: whatever a signed request holds, the next one is answered
            log.exception("a request could not be read")
            return _say(start, "400 Bad Request")
        finally:
            with self._idle:
                self._in_flight -= 1
                self._idle.notify_all()

    def _dispatch(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        at, signature = environ.get("HTTP_X_SLACK_REQUEST_TIMESTAMP", ""), environ.get("HTTP_X_SLACK_SIGNATURE", "")
        is_time = at.isascii() and at.isdigit() and len(at) <= 12
        if not is_time or not self._verifier.is_valid(body, at, signature):
            return _say(start, "401 Unauthorized")
        headers = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name[:5] == "HTTP_"}
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        answer: BoltResponse = self._app.dispatch(BoltRequest(body=body.decode(), headers=headers))
        content = answer.body.encode()
        pairs = [(name, value) for name, values in answer.headers.items() for value in values]
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start(status, [*pairs, ("Content-Length", str(len(content)))])
        return [content]
