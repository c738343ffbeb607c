"""The connection of Socket Mode, read by somebody who always knows which connection it is."""

from __future__ import annotations

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.builtin.connection import Connection, ConnectionState


class _Over(ConnectionState):
    """Whether one connection is over, for the loop that reads it: when its socket is closed, by whomever."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def terminated(self) -> bool:
        return not self._connection.is_active()

    @terminated.setter
    def terminated(self, _value: bool) -> None:
        """The loop says so itself when it ends."""


class SteadyClient(SocketModeClient):
    """The SDK's client, whose reader cannot be left with a connection that is gone.

    The SDK (3.47) puts a new connection and its state into place one after the other. A reader that gets its turn in
    between reads the new connection by the old one's state, which nobody ends any more: after the next reconnection
    nothing is read, and `close` waits for ever.
    """

    def _run_current_session(self) -> None:
        connection = self.current_session
        if connection is not None and connection.is_active():
            self.logger.info(
                f"Starting to receive messages from a new connection (session id: {connection.session_id})"
            )
            connection.run_until_completion(_Over(connection))
            self.logger.info(f"Stopped receiving messages from a connection (session id: {connection.session_id})")


class SteadyHandler(SocketModeHandler):
    """Bolt's handler with that client. `ping` are the seconds between two looks whether the connection lives."""

    def __init__(self, app: App, app_token: str, web_client: WebClient, *, ping: float, workers: int) -> None:
        self.app = app  # not by the parent's: it would start a client of its own
        self.app_token = app_token
        self.client = SteadyClient(
            app_token, app.logger, web_client, ping_interval=ping, concurrency=workers, proxy=app.client.proxy
        )
        self.client.socket_mode_request_listeners.append(self.handle)  # type: ignore[arg-type]
