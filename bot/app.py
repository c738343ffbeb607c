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
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot import tables
from bot.audit_key import audit_key
from bot.auditing import make_sealer
from bot.config import AuditSettings, ConfigError, Secrets, Settings, SlackTimes
from bot.digesting import Digesting
from bot.digests import Digests
from bot.engine import Engine, EngineSettings
from bot.front import make_front
from bot.metrics import CONTENT_TYPE, Metrics
from bot.own import OWN
from bot.people import People
from bot.probes import Probes, ProbeServer
from bot.requests import Requests
from bot.schedule import Schedule
from bot.slack.http import HttpIntake
from bot.slack.identity import SlackDirectory
from bot.slack.listeners import Intake, make_app
from bot.slack.outbox import Outbox
from bot.slack.screens import SlackScreens
from bot.slack.socket import SteadyHandler
from bot.store import Store
from bot.time_boxes import TimeBoxes
from bot.work import Patience, Work
from handlers.workshop import TeamWorkshop

log = logging.getLogger(__name__)
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
    url: str
    app_id: str

    def address(self, channel: str, ts: str) -> str:
        """A link to a message (docs.slack.dev/reference/methods/chat.getPermalink gives the same)."""
        return f"{self.url}archives/{channel}/p{ts.replace('.', '')}"


def slack_client(secrets: Secrets, timeout: int) -> WebClient:
    """A client whose calls take at most `timeout` seconds, and that never repeats one by itself: the SDK's default does
    so when an answer is lost, which would post a message twice. What has to be repeated is repeated by those who know
    how."""
    return WebClient(token=secrets.bot_token, base_url=secrets.api_url, timeout=timeout, retry_handlers=[])


def who_am_i(client: WebClient) -> Workspace:
    """Asks Slack once, at start. Raises ConfigError when the answer is no, or none."""
    try:
        answer = client.auth_test()
    except SlackApiError as error:
        code = error.response.get("error")
        raise ConfigError("the environment", [f"SLACK_BOT_TOKEN: Slack does not accept it ({code})"]) from error
    except (SlackClientError, OSError) as error:
        raise ConfigError("the environment", [f"Slack cannot be reached ({type(error).__name__})"]) from error
    return Workspace(
        team=str(answer["team_id"]),
        bot_id=str(answer.get("bot_id") or ""),
        bot_user=str(answer["user_id"]),
        url=str(answer["url"]),
        app_id=str(answer.get("app_id") or ""),
    )


def slack_directory(secrets: Secrets, times: SlackTimes) -> SlackDirectory:
    """Slack's answers about people and channels, without a running bot."""
    client = slack_client(secrets, times.timeout)
    return SlackDirectory(client, who_am_i(client).team, groups_fresh=times.groups_fresh)


class Bot:
    """The running bot. `clock` gives epoch seconds; `http` is where to serve Slack's requests, else Socket Mode;
    `probes` is where to serve health and metrics, if not beside Slack's requests."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        *,
        clock: Callable[[], float] = time.time,
        patience: Patience | None = None,
        http: tuple[str, int] | None = None,
        probes: tuple[str, int] | None = None,
    ) -> None:
        self.secrets = secrets
        self.metrics = Metrics()
        self.clock = clock
        self.times = settings.slack
        self.client = slack_client(secrets, self.times.timeout)
        self.workspace = who_am_i(self.client)
        self.workshop = TeamWorkshop(settings.operations, observer=self.metrics.called)
        self.store = Store(secrets.data, secrets.database_url)
        key = audit_key(secrets, make=True)
        self.sealer = make_sealer(self.store, secrets, key, clock=clock)
        executor = "sqlite" if self.store.is_sqlite else f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        limits = settings.limits
        self.engine = Engine(
            self.store,
            executor,
            EngineSettings(plans_at_once=limits.plans_at_once, runs_at_once=limits.runs_at_once),
        )
        self.requests = Requests(self.store, self.engine, clock=clock, new_id=_request_id, audit_key=key)
        self.directory = SlackDirectory(self.client, self.workspace.team, groups_fresh=self.times.groups_fresh)
        self.intake = Intake(self.store, clock=clock, within=self.times.store_within)
        let_pass = self.intake.let_pass
        self.outbox = Outbox(
            self.store,
            self.client,
            executor=executor,
            clock=clock,
            let_pass=let_pass,
            busy_after=settings.people.busy_after,
            claim=self.times.claim,
        )
        self.requests.on_message = self.outbox.wake
        self.people = People(self.directory, settings.policy, {**self.workshop.operations, **OWN})
        self.digests = Digests(
            self.store, look=self.workshop.survey, operations=self.workshop.operations,
            address=self.workspace.address, clock=clock, executor=executor, wake=self.outbox.wake,
            told=self.metrics.digest,
        )  # fmt: skip
        self.digests.set_up(settings.digests)
        digesting = Digesting(
            digests=self.digests, requests=self.requests, accounts=tuple(settings.operations.accounts)
        )
        self.time_boxes = TimeBoxes(
            self.requests, self.workshop.time_boxes, team=self.workspace.team, operations=self.workshop.operations,
            resolve=self.workshop.resolve, warn=settings.time_boxes.warn, extend=settings.time_boxes.extend,
        )  # fmt: skip
        self.front = make_front(
            self.requests, self.people, SlackScreens(self.client), self.workshop, digesting,
            resolve=self.workshop.resolve,
            choices={"account": tuple(settings.operations.accounts)}, address=self.workspace.address, clock=clock,
            new_error_id=_error_id, wake=self.outbox.wake, let_pass=let_pass, threads=limits.front_threads,
        )  # fmt: skip
        self.work = Work(
            requests=self.requests, workshop=self.workshop, directory=self.directory, rules=settings.policy,
            scope=self.people.scope, new_error_id=_error_id, patience=patience or Patience(),
            on_planned=self.metrics.planned, on_stepped=self.metrics.stepped,
        )  # fmt: skip
        self.intake.on_new = self.front.put
        self.schedule = Schedule(
            {
                "seal": (1, self.sealer.keep_up),
                "announce": (10, partial(self._announce, settings.audit)),
                "expire": (5, self.requests.sweep),
                "remind": (10, partial(self.requests.remind, settings.people.remind_after)),
                "take up": (15, self.front.take_up),
                "revive": (30, self._revive),
                "forget": (3600, self.forget),
                "digests": (2, self.digests.due),
                "time boxes": (20, self.time_boxes.sweep),
            }
        )
        self._measure()
        checks = {"database": self.store.answers, "engine": lambda: self.engine.is_running, "slack": self._hears}
        self.probes = Probes(checks, lambda: (self.metrics.text(), CONTENT_TYPE))
        self._served = ProbeServer(self.probes, *probes) if probes is not None else None
        self._http_at = http
        self._http: HttpIntake | None = None
        self._socket: SteadyHandler | None = None

    def _measure(self) -> None:
        """Has everybody tell what is counted."""
        self.metrics.watch(self.store, self.clock)
        self.requests.on_moved = self.metrics.moved
        self.intake.on_acked = self.metrics.received
        self.front.on_answered = self.metrics.answered
        self.outbox.on_sent = self.metrics.sent
        self.schedule.on_ran = self.metrics.ran

    def _hears(self) -> bool:
        """True while what people do in Slack arrives: a socket is open, or it comes over HTTP."""
        return self._socket is None or bool(self._socket.client.is_connected())

    def _revive(self) -> None:
        for request in self.requests.revive(self.engine.is_dead):
            log.error("request %s stood still and was started anew", request)

    def _announce(self, settings: AuditSettings) -> None:
        if settings.channel is not None:
            self.sealer.announce(settings.channel, settings.every)

    def start(self) -> None:
        """Connects to Slack first, because storing needs nothing else; then starts what answers and carries out."""
        sys.setswitchinterval(SWITCH)
        if self._served is not None:
            self._served.start()
        put_back = self.sealer.went_back()
        if put_back:
            log.critical("the database is an earlier copy of itself: votes are void, and runs are parked")
            self.requests.restored()
            self.sealer.seal()  # records it, so that it is not noticed once more
        self.sealer.on_went_back = self.requests.restored
        self._connect()
        self.engine.launch(self.work.plan, self.work.run)
        if put_back:
            self.requests.revive(self.engine.is_dead, after=-1.0)
        self.outbox.start()
        self.front.start()
        self.schedule.start()
        self.workshop.warm_up()
        self.probes.ready()
        log.info("tkgbot serves workspace %s", self.workspace.team)

    def _connect(self) -> None:
        app = make_app(
            self.intake,
            self.people.operations,
            bot_token=self.secrets.bot_token,
            team=self.workspace.team,
            bot_id=self.workspace.bot_id,
            bot_user=self.workspace.bot_user,
            app_id=self.workspace.app_id,
            signing_secret=self.secrets.signing_secret,
        )
        if self._http_at is not None:
            self._http = HttpIntake(
                app, *self._http_at, signing_secret=self.secrets.signing_secret, probes=self.probes,
                metrics=self._served is None,
            )  # fmt: skip
            self._http.start()
            return
        client = slack_client(self.secrets, self.times.timeout)
        self._socket = SteadyHandler(app, self.secrets.app_token, client, ping=self.times.ping, workers=SOCKET_WORKERS)
        self._socket.client.connect()

    def stop(self) -> None:
        """Says that it is not ready, takes nothing more, finishes what is under way, and leaves running workflows to
        the next start."""
        self.probes.stopping()
        if self._http is not None:
            self._http.stop()
        if self._socket is not None:
            with suppress(AttributeError):  # the SDK's own thread may have closed the connection at this moment
                self._socket.client.close()
        self.schedule.stop()
        self.digests.stop()
        self.front.stop()
        self.outbox.stop()
        self.engine.close()
        self.sealer.keep_up()
        self.store.close()
        if self._served is not None:
            self._served.stop()

    def forget(self) -> None:
        """Deletes what nobody needs any more."""
        before = self.clock() - KEEP

        def work(connection: sa.Connection) -> None:
            invocations, box = tables.invocations, tables.outbox
            connection.execute(sa.delete(invocations).where(invocations.c.done_at < before))
            gone = sa.and_(box.c.request.is_(None), box.c.due < before)
            connection.execute(sa.delete(box).where(gone))

        self.store.write(work)
        self.digests.forget()
        self.engine.forget_finished(before)


def leave(code: int) -> None:
    """Ends the process: a workflow that sleeps holds a thread that the interpreter would wait for."""
    logging.shutdown()
    os._exit(code)


def _request_id() -> str:
    return f"r-{randomness.token_hex(3)}"


def _error_id() -> str:
    return f"e-{randomness.token_hex(4)}"
