"""A Slack that only measures: Socket Mode with a fixed number of commands in flight, and a Web API that says yes.

Not the sandbox, which checks and keeps everything and would be measured itself.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.slack.delivery import encoded, signed

TEAM, DEV, APPROVER, CHANNEL = "TSANDBOX01", "UDEV000001", "UAPPROVE01", "CPLATFORM1"
SIGNING_SECRET = "a signing secret for the bench"


class Gauge:
    """One connected app at a time. `approve` has every card with an Approve button approved at once."""

    def __init__(self) -> None:
        self.socket: web.WebSocketResponse | None = None
        self.connected = asyncio.Event()
        self.acks: dict[str, asyncio.Future[float]] = {}
        self.numbers = itertools.count(1)
        self.approved: set[str] = set()
        self.approve = False
        self.commands = self.answered = 0
        self.url = ""
        self.request_url = ""
        self.session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=2**22)
        app.add_routes(
            [
                web.route("*", "/api/{method}", self._api),
                web.get("/link", self._link),
                web.post("/response/{n}", self._response),
            ]
        )
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self.session is not None:
            await self.session.close()
        await self.runner.cleanup()

    async def drained(self) -> None:
        """Until every command has its answer: what one load leaves behind must not weigh on the next."""
        for _ in range(1200):
            if self.answered >= self.commands:
                return
            await asyncio.sleep(0.05)

    async def _response(self, _request: web.Request) -> web.Response:
        self.answered += 1
        return web.Response(text="ok")

    async def _api(self, request: web.Request) -> web.Response:
        method, body = request.match_info["method"], await self._body(request)
        answers: dict[str, Any] = {
            "auth.test": {"team_id": TEAM, "user_id": "UTKGBOT001", "bot_id": "BTKGBOT001", "url": self.url},
            "apps.connections.open": {"url": f"{self.url.replace('http', 'ws')}/link"},
            "users.info": {"user": {"id": body.get("user"), "team_id": TEAM}},
            "conversations.info": {"channel": {"id": CHANNEL, "is_member": True}},
            "usergroups.list": {
                "usergroups": [{"id": "SDEVS00001", "users": [DEV]}, {"id": "SPLATFORM1", "users": [APPROVER]}]
            },
        }
        answer = answers.get(method, {"ts": f"{time.time():.6f}", "channel": body.get("channel")})
        if method in ("chat.postMessage", "chat.update") and self.approve:
            self._maybe_approve(body, body.get("ts") or answer["ts"])
        return web.json_response({"ok": True, **answer})

    async def _body(self, request: web.Request) -> dict[str, Any]:
        if request.content_type == "application/json":
            found: dict[str, Any] = json.loads(await request.text() or "{}")
            return {**request.query, **found}
        return {**request.query, **(await request.post())}

    def _maybe_approve(self, body: dict[str, Any], ts: str) -> None:
        for block in body.get("blocks") or []:
            for element in block.get("elements", []) if block["type"] == "actions" else []:
                if element["action_id"] == "tkg:approve" and element["value"] not in self.approved:
                    self.approved.add(element["value"])
                    self._later(self._click(element, ts))

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks = {*getattr(self, "_tasks", set()), task}
        task.add_done_callback(lambda done: self._tasks.discard(done))

    async def _click(self, element: dict[str, Any], ts: str) -> None:
        await asyncio.sleep(0.5)  # a person takes longer; the card's timestamp must be stored by then
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM},
            "user": {"id": APPROVER, "team_id": TEAM},
            "api_app_id": "A",
            "token": "t",
            "container": {"type": "message", "message_ts": ts, "channel_id": CHANNEL},
            "channel": {"id": CHANNEL},
            "trigger_id": f"click-{next(self.numbers)}",
            "response_url": f"{self.url}/response/1",
            "actions": [{**element, "action_ts": f"{time.time():.6f}", "block_id": "b"}],
        }
        await self.send("interactive", payload)

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self.socket = socket
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A"}})
        self.connected.set()
        async for message in socket:
            envelope = json.loads(message.data)
            done = self.acks.pop(envelope["envelope_id"], None)
            if done is not None and not done.done():
                done.set_result(time.perf_counter())
        self.connected.clear()
        return socket

    async def send(self, kind: str, payload: dict[str, Any]) -> float:
        """Seconds from the delivery to its ack."""
        if self.request_url:
            return await self._post(kind, payload)
        assert self.socket is not None
        number = f"e-{next(self.numbers)}"
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.acks[number] = done
        began = time.perf_counter()
        body = {"type": kind, "envelope_id": number, "payload": payload, "accepts_response_payload": True}
        await self.socket.send_json(body)
        return await asyncio.wait_for(done, 30) - began

    async def _post(self, kind: str, payload: dict[str, Any]) -> float:
        """The same over HTTP, on connections that are kept."""
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, content_type = encoded(kind, payload)
        headers = {"Content-Type": content_type, **signed(SIGNING_SECRET, body, int(time.time()))}
        began = time.perf_counter()
        async with self.session.post(self.request_url, data=body, headers=headers) as answer:
            await answer.read()
            assert answer.status == 200, answer.status
        return time.perf_counter() - began

    async def command(self, text: str) -> float:
        """One slash command."""
        payload = {
            "command": "/tkg", "text": text, "team_id": TEAM, "team_domain": "sandbox", "channel_id": CHANNEL,
            "channel_name": "platform", "user_id": DEV, "user_name": "dev", "api_app_id": "A", "token": "t",
            "trigger_id": f"t-{next(self.numbers)}", "response_url": f"{self.url}/response/{next(self.numbers)}",
            "is_enterprise_install": "false",
        }  # fmt: skip
        self.commands += text == "help"
        return await self.send("slash_commands", payload)

    async def load(self, text: str, in_flight: int, count: int) -> tuple[list[float], float]:
        """`count` commands with `in_flight` of them unanswered at any time: each one's seconds, and all a second."""
        left = iter(range(count))
        times: list[float] = []

        async def one() -> None:
            for _ in left:
                times.append(await self.command(text))

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(in_flight)))
        return times, count / (time.perf_counter() - began)
