"""Socket Mode: up to ten connections, envelopes out, acknowledgements in; or HTTP, where the app has a Request URL.

Facts: "Using Socket Mode" and slack_sdk's socket_mode client. Each envelope goes to one connection
and must be acknowledged on that connection within 3 seconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from sandbox.slack.delivery import HttpDelivery
from sandbox.slack.workspace import APP, Json, Workspace

MAX_CONNECTIONS = 10


@dataclass
class Delivery:
    """What became of one payload; `error` is what Slack would show the person."""

    acked: bool = False
    ack_ms: float = 0.0
    response: Any = None
    error: str | None = None


class Link:
    """The workspace's end of all Socket Mode connections of the app."""

    def __init__(self, ws: Workspace, ack_seconds: float) -> None:
        self.ws, self.ack_seconds = ws, ack_seconds
        self.tickets: set[str] = set()
        self.sockets: dict[web.WebSocketResponse, web.Request] = {}
        self.pending: dict[str, tuple[web.WebSocketResponse, asyncio.Future[Any]]] = {}
        self.http: HttpDelivery | None = None
        self._turn = 0

    async def over_http(self, url: str) -> None:
        """Delivers to a Request URL from now on; an empty one means Socket Mode."""
        old, self.http = self.http, HttpDelivery(self.ws, url, self.ack_seconds) if url else None
        if old is not None:
            await old.close()

    def open(self, host: str) -> Json:
        self.tickets.add(ticket := self.ws.token())
        return {"url": f"ws://{host}/link/?ticket={ticket}&app_id={APP}"}

    async def connect(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets:
            raise web.HTTPForbidden(text="this address was used before, or never given")
        self.tickets.remove(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if len(self.sockets) >= MAX_CONNECTIONS:
            await self._goodbye(socket, "too_many_websockets")
            return socket
        self.sockets[socket] = request
        about = {"num_connections": len(self.sockets), "connection_info": {"app_id": APP}}
        try:
            await socket.send_json({"type": "hello", **about, "debug_info": {"host": "sandbox"}})
            self.ws.record("socket", "hello", about)
            self.ws.tell({"type": "sockets"})
            async for frame in socket:
                self._acked(socket, frame.data if frame.type is WSMsgType.TEXT else "")
        except ConnectionError:
            pass
        finally:
            self.sockets.pop(socket, None)
            for owner, future in self.pending.values():  # an acknowledgement comes on the same socket, or never
                if owner is socket and not future.done():
                    future.set_exception(ConnectionError("the socket ended"))
            self.ws.tell({"type": "sockets"})
        return socket

    def _acked(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            data = json.loads(text)
            envelope, payload = str(data["envelope_id"]), data.get("payload")
        except (ValueError, TypeError, KeyError):
            return
        owner, future = self.pending.get(envelope, (None, None))
        if future is None or owner is not socket or future.done():
            self.ws.record("ack", envelope, payload, ok=False, error="too_late_or_unknown")
            return
        self.ws.record("ack", envelope, payload)
        future.set_result(payload)

    async def deliver(self, kind: str, payload: Json, copies: int = 1, answers: bool = False) -> Delivery:
        """Sends all copies at once; the first acknowledgement is what the person sees."""
        copies += int(self.ws.faults["duplicate_deliveries"])
        await asyncio.sleep(self.ws.faults["latency_ms"] / 1000)
        every = await asyncio.gather(*(self._one(kind, payload, answers) for _ in range(max(1, copies))))
        return min(every, key=lambda one: (not one.acked, one.ack_ms))

    async def event(self, payload: Json) -> Delivery:
        """Events are sent again when nobody took them ("Events API": retries); the first retry is at once."""
        first = await self.deliver("events_api", payload)
        retry = {"retry_attempt": 1, "retry_reason": "timeout"}
        return first if first.acked else await self._one("events_api", payload, False, **retry)

    async def _one(self, kind: str, payload: Json, answers: bool, **retry: Any) -> Delivery:
        if self.http is not None:
            return await self._post(self.http, kind, payload, retry)
        envelope, began = self.ws.token(), time.perf_counter()
        ready = [socket for socket in self.sockets if not socket.closed]
        self.ws.record("deliver", kind, {"envelope_id": envelope, "payload": payload}, ok=bool(ready))
        if not ready:
            return Delivery(error="dispatch_failed")
        self._turn += 1
        socket = ready[self._turn % len(ready)]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.pending[envelope] = (socket, future)
        body = {"type": kind, "envelope_id": envelope, "payload": payload, **retry}
        try:
            await socket.send_json({**body, "accepts_response_payload": answers})
            answer = await asyncio.wait_for(future, self.ack_seconds)
            return Delivery(True, round((time.perf_counter() - began) * 1000, 2), answer)
        except (TimeoutError, ConnectionError):
            return Delivery(False, round((time.perf_counter() - began) * 1000, 2), error="operation_timeout")
        finally:
            del self.pending[envelope]

    async def _post(self, http: HttpDelivery, kind: str, payload: Json, retry: Json) -> Delivery:
        began, answer, error = time.perf_counter(), None, None
        self.ws.record("deliver", kind, {"payload": payload})
        try:
            answer = await http.post(kind, payload, retry)
        except TimeoutError:
            error = "operation_timeout"
        except ConnectionError:
            error = "dispatch_failed"
        return Delivery(error is None, round((time.perf_counter() - began) * 1000, 2), answer, error)

    def drop(self) -> None:
        """Cuts every connection without a close frame, as a dead network does."""
        for request in list(self.sockets.values()):
            if request.transport is not None:
                request.transport.abort()

    async def disconnect(self) -> None:
        every = [self._goodbye(socket, "refresh_requested") for socket in list(self.sockets)]
        await asyncio.gather(*every, return_exceptions=True)

    async def _goodbye(self, socket: web.WebSocketResponse, reason: str) -> None:
        await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "sandbox"}})
        await socket.close()
