"""What Slack says of people and channels, to what the policy asks. A real server says what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from slack_sdk import WebClient

from bot.directory import NotInChannel
from bot.policy import Place
from bot.slack.identity import SlackDirectory
from handlers.contract import Fatal, Retry


class Slack:
    """Answers each method with what is in `answers`, or with an HTTP status."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = outer.answers[self.path.split("?")[0].removeprefix("/api/")]
                status = answer if isinstance(answer, int) else 200
                body = (
                    json.dumps({"ok": True, **answer}).encode() if isinstance(answer, dict) else b"<html>Sorry</html>"
                )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/"


@pytest.fixture
def slack() -> Iterator[Slack]:
    started = Slack()
    yield started
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def directory(slack: Slack) -> SlackDirectory:
    return SlackDirectory(WebClient(token="xoxb-x", base_url=slack.url, retry_handlers=[], timeout=2), "T1")


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        ({}, Place("C1")),
        ({"is_ext_shared": True, "is_shared": True}, Place("C1", shared=True)),
        ({"is_pending_ext_shared": True}, Place("C1", shared=True)),
        ({"is_shared": True}, Place("C1", shared=True)),
        ({"is_shared": True, "is_org_shared": True}, Place("C1")),
        ({"is_shared": True, "is_org_shared": True, "is_ext_shared": True}, Place("C1", shared=True)),
        ({"is_im": True, "is_member": False}, Place("C1", direct=True)),
    ],
)
def test_what_a_channel_is(slack: Slack, directory: SlackDirectory, flags: dict[str, bool], place: Place) -> None:
    slack.answers["conversations.info"] = {"channel": {"id": "C1", "is_member": True, **flags}}
    assert directory.place("C1") == place


def test_a_channel_without_the_bot(slack: Slack, directory: SlackDirectory) -> None:
    slack.answers["conversations.info"] = {"channel": {"id": "C1", "is_member": False}}
    with pytest.raises(NotInChannel):
        directory.place("C1")
    slack.answers["conversations.info"] = {"ok": False, "error": "channel_not_found"}
    with pytest.raises(NotInChannel):
        directory.place("C1")


@pytest.mark.parametrize(
    ("flags", "team", "kind"),
    [
        ({}, "T1", "member"),
        ({}, None, "member"),
        ({"deleted": True}, "T1", "deactivated"),
        ({"is_bot": True}, "T1", "bot"),
        ({"is_app_user": True}, "T1", "bot"),
        ({"is_restricted": True}, "T1", "guest"),
        ({"is_ultra_restricted": True, "is_restricted": True}, "T1", "guest"),
        ({"is_stranger": True}, "T1", "stranger"),
        ({"team_id": "T2"}, "T2", "foreign"),
        ({"team_id": "T2"}, "T1", "foreign"),
        ({}, "T2", "foreign"),
    ],
)
def test_what_a_person_is(
    slack: Slack, directory: SlackDirectory, flags: dict[str, Any], team: str | None, kind: str
) -> None:
    slack.answers["users.info"] = {"user": {"id": "U1", "team_id": "T1", **flags}}
    assert directory.person("U1", (), team).kind == kind


@pytest.mark.parametrize("status", [429, 500, 503, 502])
def test_no_answer_is_nobody(slack: Slack, directory: SlackDirectory, status: int) -> None:
    slack.answers["users.info"] = status
    with pytest.raises(Retry):
        directory.person("U1", ())


def test_a_no_is_nobody_either(slack: Slack, directory: SlackDirectory) -> None:
    slack.answers["users.info"] = {"ok": False, "error": "user_not_found"}
    with pytest.raises(Fatal):
        directory.person("U1", ())


def test_groups_are_asked_together_and_kept_for_seconds(slack: Slack) -> None:
    now = [0.0]
    client = WebClient(token="xoxb-x", base_url=slack.url, retry_handlers=[])
    directory = SlackDirectory(client, "T1", clock=lambda: now[0])
    slack.answers["users.info"] = {"user": {"id": "U1", "team_id": "T1"}}
    slack.answers["usergroups.list"] = {"usergroups": [{"id": "S1", "users": ["U1"]}, {"id": "S2", "users": []}]}
    assert directory.person("U1", ("S1", "S2", "S3")).groups == {"S1"}
    slack.answers["usergroups.list"] = {"usergroups": []}
    assert directory.person("U1", ("S1",)).groups == {"S1"}
    now[0] = 5.1
    assert directory.person("U1", ("S1",)).groups == frozenset()
