"""Socket Mode's connection on a machine where threads get their turn late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from slack_bolt import App
from slack_sdk import WebClient

from bot.slack import socket
from tests.unit.test_sandbox_slack_live import ACK, PATIENCE, World


class Interrupted(socket.SteadyClient):
    """Whenever a new connection was put into place, its reader begins before anything else happens."""

    begun: threading.Event

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "current_session" and value is not None:
            self.begun.clear()
            assert self.begun.wait(PATIENCE)

    def _run_current_session(self) -> None:
        if self.current_session is not None and self.current_session.is_active():
            threading.Timer(0.2, self.begun.set).start()
        super()._run_current_session()


@pytest.fixture
def world() -> Iterator[World]:
    world = World(ACK)
    yield world
    world.run(world.box.stop())


def test_the_reader_is_never_left_with_a_connection_that_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hears what comes after each reconnection, and ends when it is closed."""
    monkeypatch.setattr(socket, "SteadyClient", Interrupted)
    monkeypatch.setattr(Interrupted, "begun", threading.Event(), raising=False)
    app = App(client=world.client, process_before_response=True, name="interrupted")
    app.command("/tkg")(lambda ack: ack())
    web = WebClient(world.env["SLACK_BOT_TOKEN"], base_url=world.env["SLACK_API_URL"])
    handler = socket.SteadyHandler(app, world.env["SLACK_APP_TOKEN"], web, ping=0.5, workers=2)
    handler.connect()  # type: ignore[no-untyped-call]
    for fault in ("disconnect", "drop_socket", "disconnect"):
        assert world.command(fault)["acked"], fault
        world.post("faults", **{fault: True})
        assert world.get(f"/sandbox/wait?sockets=1&timeout={PATIENCE}")["ok"]
    assert world.command("last")["acked"]
    closing = threading.Thread(target=handler.close, daemon=True)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
