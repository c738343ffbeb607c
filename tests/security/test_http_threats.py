"""Threats that come with an open port, each with its defence: spoofed and replayed requests, and floods of bytes."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import tables
from bot.own import OWN
from bot.probes import Probes
from bot.slack.http import LARGEST, PATH, HttpIntake
from bot.slack.listeners import Intake, make_app
from bot.store import Store
from handlers.workshop import discover

SECRET = "a-signing-secret-of-32-characters"
TEAM, APP = "T1", "A1"


class Served:
    """A port of this machine with the real listeners behind it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        app = make_app(
            Intake(self.store), {**discover(), **OWN}, bot_token="xoxb-none", team=TEAM, bot_id="B1", bot_user="U1",
            app_id=APP, signing_secret=SECRET,
        )  # fmt: skip
        self.well = True
        self.probes = Probes({"database": lambda: self.well})
        self.intake = HttpIntake(app, "127.0.0.1", 0, signing_secret=SECRET, probes=self.probes, threads=4)
        self.intake.start()

    def send(
        self, body: bytes, *, secret: str = SECRET, at: int | str | None = None, without: str = "", path: str = PATH,
        content: str = "application/x-www-form-urlencoded", method: str = "POST",
    ) -> tuple[int, str]:  # fmt: skip
        """One request; the status and the text of the answer."""
        at = int(time.time()) if at is None else at
        digest = hmac.new(secret.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": content, "X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": f"v0={digest}",
        }  # fmt: skip
        headers.pop(without, None)
        connection = http.client.HTTPConnection("127.0.0.1", self.intake.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def stored(self) -> int:
        query = sa.select(sa.func.count()).select_from(tables.invocations)
        return int(self.store.read(lambda connection: connection.execute(query).scalar_one()))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.intake.stop()
    made.store.close()


def command(trigger: str = "1.1", app: str = APP) -> bytes:
    fields = {
        "team_id": TEAM, "user_id": "U2", "channel_id": "C1", "command": "/tkg", "text": "help", "trigger_id": trigger,
        "api_app_id": app,
    }  # fmt: skip
    return urllib.parse.urlencode(fields).encode()


def test_a_true_request_is_stored(served: Served) -> None:
    assert served.send(command()) == (200, "")
    assert served.stored() == 1


# -- spoofed request ---------------------------------------------------------------------------------------------


def test_spoofed_request_with_another_secret(served: Served) -> None:
    assert served.send(command(), secret="another-secret-of-32-characters!")[0] == 401
    assert served.stored() == 0


@pytest.mark.parametrize("header", ["X-Slack-Signature", "X-Slack-Request-Timestamp"])
def test_spoofed_request_without_a_header(served: Served, header: str) -> None:
    assert served.send(command(), without=header)[0] == 401
    assert served.stored() == 0


@pytest.mark.parametrize("at", ["", "now", "-1", "1e9", "９", "9" * 400])
def test_spoofed_request_with_a_time_that_is_none(served: Served, at: str) -> None:
    assert served.send(command(), at=urllib.parse.quote(at))[0] == 401
    assert served.stored() == 0


def test_spoofed_request_with_an_empty_secret(served: Served) -> None:
    assert served.send(command(), secret="")[0] == 401
    assert served.stored() == 0


def test_spoofed_request_for_another_app(served: Served) -> None:
    assert served.send(command(app="A2"))[0] == 403
    assert served.stored() == 0


def test_spoofed_request_whose_body_was_changed(served: Served) -> None:
    body = command()
    at = int(time.time())
    digest = hmac.new(SECRET.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", served.intake.port, timeout=60)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded", "X-Slack-Request-Timestamp": str(at),
        "X-Slack-Signature": f"v0={digest}",
    }  # fmt: skip
    connection.request("POST", PATH, body.replace(b"help", b"Help"), headers)
    assert connection.getresponse().status == 401
    connection.close()
    assert served.stored() == 0


# -- replay ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [301, 3600, -301, -3600])
def test_replay_of_what_is_not_of_now(served: Served, age: int) -> None:
    assert served.send(command(), at=int(time.time()) - age)[0] == 401
    assert served.stored() == 0


def test_replay_of_the_same_bytes_is_one_request(served: Served) -> None:
    at = int(time.time())
    assert [served.send(command(), at=at)[0] for _ in range(5)] == [200] * 5
    assert served.stored() == 1


# -- floods and odd requests -------------------------------------------------------------------------------------


def test_flood_of_bytes_is_refused_before_it_is_read(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.intake.port, timeout=60)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Length", str(LARGEST + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"", "application/x-www-form-urlencoded"), (b"\xff\xfe\x00", "application/x-www-form-urlencoded"),
        (b"payload=%7B", "application/x-www-form-urlencoded"), (b"payload=[]", "application/x-www-form-urlencoded"),
        (b"{", "application/json"), (b"[1]", "application/json"), (b"null", "application/json"),
        (b'{"type":"event_callback","event":{}}', "application/json"), (command()[:40], "text/plain"),
    ],
)  # fmt: skip
def test_flood_of_nonsense_stores_nothing_and_ends_nothing(served: Served, body: bytes, content: str) -> None:
    status, text = served.send(body, content=content)
    assert status in (400, 401, 403, 404)
    assert "Traceback" not in text
    assert served.stored() == 0
    assert served.send(command())[0] == 200


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", PATH, 405), ("PUT", PATH, 405), ("POST", "/", 404), ("POST", f"{PATH}/", 404), ("POST", "/healthz", 405),
    ("GET", "/metrics", 404),
])  # fmt: skip
def test_only_what_is_served_is_served(served: Served, method: str, path: str, status: int) -> None:
    assert served.send(command(), method=method, path=path)[0] == status
    assert served.stored() == 0


def test_health_says_no_more_than_a_word(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served.send(b"", method="GET", path="/healthz") == (200, "ok")
    assert served.send(b"", method="GET", path="/readyz") == (503, "starting")
    monkeypatch.setattr("bot.probes.FRESH", 0.0)
    served.probes.ready()
    assert served.send(b"", method="GET", path="/readyz") == (200, "ok")
    served.well = False
    assert served.send(b"", method="GET", path="/readyz") == (503, "database")
    assert served.send(b"", method="GET", path="/healthz") == (200, "ok")


def test_url_verification_is_answered_only_when_signed(served: Served) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "c-1"}).encode()
    status, text = served.send(body, content="application/json")
    assert (status, json.loads(text)) == (200, {"challenge": "c-1"})
    assert served.send(body, content="application/json", secret="another-secret-of-32-characters!")[0] == 401


def test_a_slow_client_costs_no_thread(served: Served) -> None:
    """More clients than threads send half a request each and wait; a true request is answered all the same."""
    halves = []
    for _ in range(8):
        connection = http.client.HTTPConnection("127.0.0.1", served.intake.port, timeout=60)
        connection.putrequest("POST", PATH)
        connection.putheader("Content-Length", "100")
        connection.endheaders()
        connection.send(b"half")
        halves.append(connection)
    assert served.send(command())[0] == 200
    for connection in halves:
        connection.close()
