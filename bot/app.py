"""The composition root: the only module that knows everybody. Builds the bot from settings, starts and stops it."""

from __future__ import annotations

import logging
import os
import secrets as randomness
import socket
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot import tables
from bot.config import ConfigError, Secrets, Settings
from bot.engine import Engine, EngineSettings
from bot.front import Front, scope
from bot.policy import Scope
from bot.requests import Requests
from bot.schedule import Schedule
from bot.slack.identity import SlackDirectory
from bot.slack.listeners import Intake, make_app
from bot.slack.outbox import Outbox
from bot.store import Store
from bot.work import Patience, Work
from handlers.workshop import TeamWorkshop

log = logging.getLogger(__name__)
SLACK_TIMEOUT = 10
PING = 1.0
"""Seconds between pings. The client takes a socket for dead after five failed or four silent ones; with its default of
10 s a cut connection stays unnoticed for a minute."""
SOCKET_WORKERS = 32
SWITCH = 0.0005
"""Seconds that a busy thread keeps the interpreter from one that has an answer for Slack; Python's default is ten
times that, and every ack crosses four threads."""
KEEP = 7 * 86_400.0
"""How long answered invocations, sent messages and finished workflows are kept (seconds). Requests, votes, steps and
the audit stay."""


@dataclass(frozen=True)
class Workspace:
    """Who the bot is in Slack."""

    team: str
    bot_id: str
    bot_user: str


def slack_client(secrets: Secrets) -> WebClient:
    """A client that never repeats a call by itself: the SDK's default does so when an answer is lost, which would post
    a message twice. What has to be repeated is repeated by those who know how."""
    return WebClient(token=secrets.bot_token, base_url=secrets.api_url, timeout=SLACK_TIMEOUT, retry_handlers=[])


def who_am_i(client: WebClient) -> Workspace:
    """Asks Slack once, at start. Raises ConfigError when the answer is no, or none."""
    try:
        answer = client.auth_test()
    except SlackApiError as error:
        code = error.response.get("error")
        raise ConfigError("the environment", [f"SLACK_BOT_TOKEN: Slack does not accept it ({code})"]) from error
    except (SlackClientError, OSError) as error:
        raise ConfigError("the environment", [f"Slack cannot be reached ({type(error).__name__})"]) from error
    return Workspace(str(answer["team_id"]), str(answer.get("bot_id") or ""), str(answer["user_id"]))


def slack_directory(secrets: Secrets) -> SlackDirectory:
    """Slack's answers about people and channels, without a running bot."""
    client = slack_client(secrets)
    return SlackDirectory(client, who_am_i(client).team)


class Bot:
    """The running bot. `clock` gives epoch seconds."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        *,
        clock: Callable[[], float] = time.time,
        patience: Patience | None = None,
    ) -> None:
        self.secrets = secrets
        self.clock = clock
        self.client = slack_client(secrets)
        self.workspace = who_am_i(self.client)
        self.workshop = TeamWorkshop(settings.operations)
        self.store = Store(secrets.data, secrets.database_url)
        executor = "sqlite" if self.store.is_sqlite else f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        limits = settings.limits
        self.engine = Engine(
            self.store,
            executor,
            EngineSettings(plans_at_once=limits.plans_at_once, runs_at_once=limits.runs_at_once),
        )
        self.requests = Requests(self.store, self.engine, clock=clock, new_id=lambda: f"r-{randomness.token_hex(3)}")
        self.directory = SlackDirectory(self.client, self.workspace.team)
        self.intake = Intake(self.store, clock=clock)
        let_pass = self.intake.let_pass
        self.outbox = Outbox(self.store, self.client, executor=executor, clock=clock, let_pass=let_pass)
        self.requests.on_message = self.outbox.wake
        self.front = Front(
            store=self.store, requests=self.requests, directory=self.directory, operations=self.workshop.operations,
            resolve=self.workshop.resolve, rules=settings.policy, clock=clock,
            new_error_id=_error_id, wake=self.outbox.wake, let_pass=let_pass, threads=limits.front_threads,
        )  # fmt: skip
        self.work = Work(
            requests=self.requests, workshop=self.workshop, directory=self.directory, rules=settings.policy,
            scope=self._scope, new_error_id=_error_id, patience=patience or Patience(),
        )  # fmt: skip
        self.intake.on_new = self.front.put
        self.schedule = Schedule(
            {
                "expire": (5, self.requests.sweep),
                "take up": (15, self.front.take_up),
                "revive": (30, self._revive),
                "forget": (3600, self.forget),
            }
        )
        self._socket: SocketModeHandler | None = None

    def _revive(self) -> None:
        for request in self.requests.revive(self.engine.is_dead):
            log.error("request %s stood still and was started anew", request)

    def _scope(self, operation: str, arguments: dict[str, Any]) -> Scope:
        return scope(self.workshop.operations[operation], arguments)

    def start(self) -> None:
        """Connects to Slack first, because storing needs nothing else; then starts what answers and carries out."""
        sys.setswitchinterval(SWITCH)
        self._connect()
        self.engine.launch(self.work.plan, self.work.run)
        self.outbox.start()
        self.front.start()
        self.schedule.start()
        self.workshop.warm_up()
        log.info("tkgbot serves workspace %s", self.workspace.team)

    def _connect(self) -> None:
        app = make_app(
            self.intake,
            bot_token=self.secrets.bot_token,
            team=self.workspace.team,
            bot_id=self.workspace.bot_id,
            bot_user=self.workspace.bot_user,
        )
        self._socket = SocketModeHandler(
            app,
            self.secrets.app_token,
            web_client=slack_client(self.secrets),
            ping_interval=PING,
            concurrency=SOCKET_WORKERS,
        )
        self._socket.connect()

    def stop(self) -> None:
        """Takes nothing more, finishes what is under way, and leaves running workflows to the next start."""
        if self._socket is not None:
            self._socket.close()
        self.schedule.stop()
        self.front.stop()
        self.outbox.stop()
        self.engine.close()
        self.store.close()

    def forget(self) -> None:
        """Deletes what nobody needs any more."""
        before = self.clock() - KEEP

        def work(connection: sa.Connection) -> None:
            invocations, box = tables.invocations, tables.outbox
            connection.execute(sa.delete(invocations).where(invocations.c.done_at < before))
            gone = sa.and_(box.c.request.is_(None), box.c.due < before)
            connection.execute(sa.delete(box).where(gone))

        self.store.write(work)
        self.engine.forget_finished(before)


def leave(code: int) -> None:
    """Ends the process: a workflow that sleeps holds a thread that the interpreter would wait for."""
    logging.shutdown()
    os._exit(code)


def _error_id() -> str:
    return f"e-{randomness.token_hex(4)}"
