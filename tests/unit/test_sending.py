"""Was it posted before? A busy channel must not turn a lost answer into a second, unmarked post."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from slack_sdk import WebClient

from bot.slack.jobs import Job
from bot.slack.sending import Sender
from bot.store import Store

JOB = Job(
    key="r-1:card", kind="card", request="r-1", channel="C1", person=None, url=None, thread=None, body=None, wanted=1,
    ts=None, attempts=1, root=None, created=1000.0, expires=None, repeated=False,
)  # fmt: skip


def page(count: int, key: str | None, cursor: str) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"ts": f"{n}.0", "text": "somebody else"} for n in range(count)]
    if key is not None:
        messages.append({"ts": "77.7", "metadata": {"event_payload": {"key": key}}})
    return {"ok": True, "messages": messages, "response_metadata": {"next_cursor": cursor}}


@pytest.fixture
def pages() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def sender(pages: list[dict[str, Any]], tmp_path: Path) -> Iterator[Sender]:
    """A sender whose Slack has these pages of history; the cursor is the page's number."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
            cursor = asked.get("cursor", ["0"])[0]
            body = json.dumps(pages[int(cursor)]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    store = Store(tmp_path)
    client = WebClient(token="xoxb-x", base_url=f"http://127.0.0.1:{server.server_port}/api/", retry_handlers=[])
    yield Sender(store, client, clock=lambda: 2000.0)
    store.close()
    server.shutdown()
    server.server_close()


def test_found_on_the_first_page(sender: Sender, pages: list[dict[str, Any]]) -> None:
    pages[:] = [page(3, "r-1:card", "")]
    assert sender.posted_before(JOB, "C1") == "77.7"


def test_found_behind_two_hundred_newer_messages(sender: Sender, pages: list[dict[str, Any]]) -> None:
    pages[:] = [page(200, None, "1"), page(20, "r-1:card", "")]
    assert sender.posted_before(JOB, "C1") == "77.7"


def test_surely_not_there(sender: Sender, pages: list[dict[str, Any]]) -> None:
    pages[:] = [page(200, None, "1"), page(20, "r-2:card", "")]
    assert sender.posted_before(JOB, "C1") == ""


def test_too_much_to_look_through_is_not_surely_not_there(sender: Sender, pages: list[dict[str, Any]]) -> None:
    """Then it may be a repeat, and is marked as one."""
    pages[:] = [page(1, None, str(n + 1)) for n in range(50)] + [page(1, "r-1:card", "")]
    assert sender.posted_before(JOB, "C1") is None
