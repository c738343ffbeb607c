"""A Bolt app in default settings that only acks: what the bot's figures stand beside."""

from __future__ import annotations

import os
import threading

from slack_bolt import Ack, App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient


def main() -> None:
    client = WebClient(token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"])
    app = App(client=client)

    @app.command("/tkg")
    def command(ack: Ack) -> None:
        ack()

    SocketModeHandler(app, os.environ["SLACK_APP_TOKEN"], web_client=client).connect()
    threading.Event().wait()


if __name__ == "__main__":
    main()
