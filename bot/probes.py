"""Health for whoever runs the bot: /healthz (it lives), /readyz (it can work, or which part cannot), /metrics.

In Socket Mode nothing listens unless it is asked for (`--serve`); over HTTP the same paths are on the port of
`/slack/events`. From the first moment of an end /readyz says 503, before anything else stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from waitress.server import create_server

log = logging.getLogger(__name__)
FRESH = 1.0
"""Seconds that an answer to /readyz is used for."""
SLOWEST = 10
"""Seconds that a client may be silent while it sends or reads."""
PATHS = ("/healthz", "/readyz", "/metrics")
Start = Callable[..., Any]
Checks = Mapping[str, Callable[[], bool]]


class Probes:
    """What is answered. `checks` say by name whether each part is ready; they are asked at most once a second.
    `metrics` is the text for Prometheus and its content type."""

    def __init__(self, checks: Checks, metrics: Callable[[], tuple[bytes, str]] | None = None) -> None:
        self._checks = checks
        self._metrics = metrics
        self._lock = threading.Lock()
        self._phase = "starting"
        self._seen: tuple[float, list[str]] = (float("-inf"), [])

    def ready(self) -> None:
        """Everything was started."""
        if self._phase == "starting":
            self._phase = ""

    def stopping(self) -> None:
        """From now on it is not ready."""
        self._phase = "stopping"

    def wrong(self) -> list[str]:
        """The names of the parts that are not ready."""
        if self._phase:
            return [self._phase]
        with self._lock:
            at, wrong = self._seen
            if time.monotonic() - at > FRESH:
                wrong = [name for name, is_well in self._checks.items() if not is_well()]
                self._seen = (time.monotonic(), wrong)
        return [self._phase] if self._phase else wrong

    def answer(self, environ: Mapping[str, Any], start: Start, *, metrics: bool = True) -> list[bytes]:
        """Answers a GET of one of the paths (PEP 3333); 404 for any other."""
        path, method = environ.get("PATH_INFO"), environ.get("REQUEST_METHOD")
        if path not in PATHS or (path == "/metrics" and (self._metrics is None or not metrics)):
            return say(start, "404 Not Found")
        if method not in ("GET", "HEAD"):
            return say(start, "405 Method Not Allowed")
        if path == "/metrics" and self._metrics is not None:
            body, kind = self._metrics()
            start("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
            return [body]
        wrong = self.wrong() if path == "/readyz" else []
        return say(start, "503 Service Unavailable", " ".join(wrong)) if wrong else say(start, "200 OK", "ok")


class ProbeServer:
    """Serves the probes alone. Raises OSError where the port is taken."""

    def __init__(self, probes: Probes, host: str, port: int) -> None:
        self._server = create_server(
            probes.answer, host=host, port=port, threads=4, ident=None, max_request_body_size=4096,
            channel_timeout=SLOWEST, cleanup_interval=SLOWEST, connection_limit=100, asyncore_use_poll=True,
            expose_tracebacks=False,
        )  # fmt: skip
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._server.run, name="probes", daemon=True)

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()
        log.info("serving %s on port %d", ", ".join(PATHS), self.port)

    def stop(self) -> None:
        """Takes nothing more."""
        self._server.close()
        self._server.task_dispatcher.shutdown()


def say(start: Start, status: str, text: str = "") -> list[bytes]:
    """A short answer in plain text."""
    body = (text or status).encode()
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
