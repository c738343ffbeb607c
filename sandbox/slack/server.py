"""The workspace behind one HTTP port: Web API, Socket Mode, response_url, control API and page.

The control API is for tests and the page alone: loopback callers that name this host and come from
no other web page. Faults are switched there, so that everything Slack can do wrong can be tried.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.slack.acts import Acts
from sandbox.slack.arguments import Args
from sandbox.slack.blocks import characters
from sandbox.slack.link import Link
from sandbox.slack.page import Page
from sandbox.slack.webapi import WebApi
from sandbox.slack.workspace import TEAM, Json, Message, SlackError, Thing, Workspace, ensure, found

ACK_SECONDS = 3.0
"""What Slack gives an app to take a command or click, and to use a trigger id ("Handling user interaction")."""
HANG_SECONDS = 600.0
"""A call hangs until its method is switched back; this is only so that nothing stays for good."""
LOSABLE = ("chat.postMessage", "files.completeUploadExternal")
SWITCHED_ON = ("history_scope",)
APPS = ("/api/", "/link/", "/response/", "/upload/")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Act = Callable[[Args], Awaitable[Json]]


class SlackSandbox:
    """A running workspace. Nothing listens before `start`."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        token: Callable[[], str] | None = None,
        ack_seconds: float = ACK_SECONDS,
    ) -> None:
        self.workspace = Workspace(clock, token, trigger_seconds=ack_seconds)
        self.link = Link(self.workspace, ack_seconds)
        self.api = WebApi(self.workspace, self._later)
        self.acts = Acts(self.link, self.api)
        self._routes: list[web.AbstractRouteDef] = []
        self._runner: web.AppRunner | None = None
        self._ending = asyncio.Event()

    @property
    def url(self) -> str:
        return self.workspace.base_url

    def env(self) -> dict[str, str]:
        ws = self.workspace
        tokens = {"SLACK_BOT_TOKEN": ws.bot_token, "SLACK_APP_TOKEN": ws.app_token}
        urls = {"SANDBOX_URL": self.url, "SLACK_API_URL": f"{self.url}/api/"}
        return {**urls, **tokens, "SLACK_SIGNING_SECRET": ws.signing_secret}

    def add_routes(self, routes: Iterable[web.AbstractRouteDef]) -> None:
        """More endpoints on the same port; those under /sandbox/ are guarded as the control API is."""
        self._routes += list(routes)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application(middlewares=[self._guard], client_max_size=2**24)
        app.add_routes([*self._own_routes(), *self._routes])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.workspace.base_url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self._ending.set()
        self.workspace.tell({"type": "end"})
        self.link.drop()
        await self.link.over_http("")
        if self._runner is not None:
            await self._runner.cleanup()

    def _own_routes(self) -> list[web.RouteDef]:
        acts = ("command", "shortcut", "click", "view_submit", "view_close", "message")
        posts: dict[str, Act] = {f"act/{name}": getattr(self.acts, name) for name in acts}
        posts |= {name: self._edit(name) for name in ("users", "groups", "channels", "commands")}
        posts |= {"faults": self._faults, "delivery": self._delivery}
        asks = {"state": self._state, "messages": self._messages, "log": self._log, "wait": self._wait}
        asks["views"] = self._views
        return [
            web.route("*", "/api/{method}", self._api),
            web.get("/link/", self.link.connect),
            web.post("/response/{key}", self._response),
            web.post("/upload/v1/{key}", self._upload),
            *Page(self.workspace, self.api.files).routes(),
            *(web.get(f"/sandbox/{path}", _json(ask)) for path, ask in asks.items()),
            *(web.post(f"/sandbox/{path}", _json(act)) for path, act in posts.items()),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Against DNS rebinding and other web pages; and `down`, which closes without an answer."""
        if request.path.startswith(APPS):
            return _cut(request) if self.workspace.faults["down"] else await handler(request)
        origin, host = request.headers.get("Origin"), urlsplit(f"//{request.host}").hostname
        here = request.remote in ("127.0.0.1", "::1") and host in ("127.0.0.1", "localhost")
        try:
            ensure(here, "not_local", 403)
            ensure(origin is None or urlsplit(origin).netloc == request.host, "cross_origin", 403)
            return await handler(request)
        except SlackError as error:
            return web.json_response({"ok": False, "error": error.code, **error.extra}, status=error.status)

    # -- Web API and response_url

    async def _api(self, request: web.Request) -> web.StreamResponse:
        name, ws, (args, token) = request.match_info["method"], self.workspace, await _arguments(request)
        await asyncio.sleep(ws.faults["latency_ms"] / 1000)
        if name in ws.faults["hang_methods"]:
            ws.record("api", name, args, ok=False, error="hang", status=0)
            await self._until(lambda: True if name not in ws.faults["hang_methods"] else None, HANG_SECONDS)
            return _cut(request)
        status, headers = 200, {}
        try:
            self._trip(name, str(args.get("channel")))
            answer = {"ok": True, **self._run(name, args, token, request.host)}
        except SlackError as error:
            status, answer = error.status, {"ok": False, "error": error.code, **error.extra}
            headers = {"Retry-After": str(answer.pop("retry_after"))} if status == 429 else {}
        if token == ws.bot_token:
            headers["x-oauth-scopes"] = ",".join(sorted(ws.scopes))
        elif token == ws.app_token:
            headers["x-oauth-scopes"] = "connections:write"
        lost = answer["ok"] and self._loses(name)
        ws.record("api", name, args, ok=answer["ok"], error=answer.get("error"), status=0 if lost else status)
        return _cut(request) if lost else web.json_response(answer, status=status, headers=headers)

    def _use(self, counter: str) -> bool:
        """Takes one from a counting fault, if any is left."""
        left = int(self.workspace.faults[counter])
        self.workspace.faults[counter] = max(0, left - 1)
        return left > 0

    def _loses(self, name: str) -> bool:
        """Whether the answer to a call that took effect never comes."""
        return name in (self.workspace.faults["lose_answer_methods"] or LOSABLE) and self._use("lose_answer")

    def _later(self, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self.workspace.faults["share_ms"] / 1000, work)

    def _struck(self, fault: str, name: str) -> bool:
        """A count strikes that many calls; a list of methods alone strikes them until it is reset."""
        faults = self.workspace.faults
        only: list[str] = faults[f"{fault}_methods"]
        if (only and name not in only) or not (only or faults[fault]):
            return False
        if self._use(fault) and not faults[fault]:
            faults[f"{fault}_methods"] = []
        return True

    def _trip(self, name: str, channel: str) -> None:
        ensure(not self._struck("server_error", name), "internal_error", 500)
        tier = self.workspace.methods.get(name, {"tier": 4})["tier"]
        wait = int(self._struck("rate_limit", name))
        if not wait and self.workspace.faults["enforce_rate_limits"]:
            wait = self.api.limiter.wait(name, tier, channel)
        if wait:
            raise SlackError("ratelimited", status=429, extra={"retry_after": wait})

    def _run(self, name: str, args: Args, token: str, host: str) -> Json:
        ws, for_app = self.workspace, name == "apps.connections.open"
        ensure(token, "not_authed")
        ensure(token in (ws.bot_token, ws.app_token), "invalid_auth")
        scope = found(ws.methods.get(name), "unknown_method")["scope"]
        ensure(for_app == (token == ws.app_token), "not_allowed_token_type")
        if scope and not for_app and scope not in ws.scopes:
            provided = ",".join(sorted(ws.scopes))
            raise SlackError("missing_scope", extra={"needed": scope, "provided": provided})
        refusal = ws.faults["refuse_files"] if name == "files.getUploadURLExternal" else ""
        ensure(not refusal, refusal)
        return self.link.open(host) if for_app else self.api.call(name, args)

    async def _response(self, request: web.Request) -> web.StreamResponse:
        args, _ = await _arguments(request)
        try:
            self.acts.respond(request.match_info["key"], args)
        except SlackError as error:
            status = 400 if error.status == 200 else error.status
            self.workspace.record("response_url", "post", args, ok=False, error=error.code, status=status)
            return web.json_response({"ok": False, "error": error.code}, status=status)
        self.workspace.record("response_url", "post", args)
        return web.Response(text="ok")

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a file, raw or as the first part of a form; `upload` is its name among the faults."""
        ws, content = self.workspace, await _content(request)
        await asyncio.sleep(ws.faults["latency_ms"] / 1000)
        status, headers, text = 200, {}, ""
        try:
            self._trip("upload", "")
            text = f"OK - {self.api.files.upload(request.match_info['key'], content)}"
        except SlackError as error:
            status, text = error.status, error.code
            headers = {"Retry-After": str(error.extra["retry_after"])} if status == 429 else {}
        lost = status == 200 and self._loses("upload")
        args = {"bytes": len(content)}
        ws.record("upload", "upload", args, ok=status == 200, error=text, status=0 if lost else status)
        return _cut(request) if lost else web.Response(text=text, status=status, headers=headers)

    # -- control API

    async def _state(self, ask: Args) -> Json:
        ws = self.workspace
        users = [{**user, "kind": ws.kinds[uid]} for uid, user in ws.users.items()]
        lists = {"users": users, "channels": list(ws.channels.values()), "groups": list(ws.groups.values())}
        more: Json = {"commands": ws.commands, "shortcuts": ws.shortcuts}
        more |= {"faults": ws.faults, "sockets": len(self.link.sockets)}
        return {"team": {"id": TEAM, "name": "sandbox"}, **lists, **more}

    def _seen(self, ask: Args) -> list[Message]:
        ensure(self.workspace.may_see(ask.need("as"), ask.need("channel")), "channel_not_found")
        thread, seen = ask.get("thread"), self.workspace.visible(ask["channel"], ask["as"])
        return [m for m in seen if not thread or thread in (m.ts, m.thread_ts)]

    async def _messages(self, ask: Args) -> Json:
        seen = [m for m in self._seen(ask) if ask.get("thread") or m.in_channel]
        return {"messages": [self.workspace.shown(m) for m in seen]}

    async def _views(self, ask: Args) -> Json:
        """The modals that somebody has open, the uppermost last."""
        return {"views": [view for view in self.workspace.views.values() if view["user"] == ask.need("as")]}

    async def _log(self, ask: Args) -> Json:
        ws = self.workspace
        return {"log": ws.log[int(ask.get("since") or 0) :], "last": len(ws.log), "newest": ws.newest_ts}

    async def _wait(self, ask: Args) -> Json:
        """For a message with a text, or for `sockets` Socket Mode connections."""
        seconds, sockets = min(float(ask.get("timeout") or 10), 120.0), int(ask.get("sockets") or 0)
        if sockets:
            there = await self._until(lambda: len(self.link.sockets) >= sockets or None, seconds)
            return {"ok": bool(there), "sockets": len(self.link.sockets)}
        message = await self._until(lambda: self._containing(ask), seconds)
        return {"message": self.workspace.shown(message)} if message else {"ok": False}

    def _containing(self, ask: Args) -> Message | None:
        text, since = str(ask.get("contains") or ""), float(ask.get("since") or 0)
        recent = (m for m in reversed(self._seen(ask)) if float(m.ts) > since)
        return next((m for m in recent if text in _said(m)), None)

    async def _until(self, look: Callable[[], Thing | None], seconds: float) -> Thing | None:
        """What `look` finds, looked for after every change of the workspace."""
        changes: asyncio.Queue[Json] = asyncio.Queue()
        ends, hear = time.monotonic() + seconds, changes.put_nowait
        self.workspace.listeners.add(hear)
        try:
            while (thing := look()) is None and not self._ending.is_set():
                await asyncio.wait_for(changes.get(), ends - time.monotonic())
            return thing
        except TimeoutError:
            return None
        finally:
            self.workspace.listeners.discard(hear)

    async def _faults(self, body: Args) -> Json:
        ws = self.workspace
        for name, value in body.items():
            blank = ws.blank_faults.get(name)
            value = value if value or name in SWITCHED_ON else blank
            ensure(type(value) is type(blank) and blank is not None, f"unknown_fault_or_type: {name}", 400)
            ws.faults[name] = value
        if body.get("down") or body.get("drop_socket"):
            self.link.drop()
        if body.get("disconnect"):
            await self.link.disconnect()
        ws.faults |= {"drop_socket": False, "disconnect": False}
        ws.tell({"type": "faults"})
        return {"faults": ws.faults}

    async def _delivery(self, body: Args) -> Json:
        """Where payloads go: an http URL on this host, or nothing for Socket Mode."""
        await self.link.over_http(str(body.get("url") or ""))
        return {}

    def _edit(self, name: str) -> Act:
        """Changes fields of one user, group or channel; commands are replaced as a whole."""

        async def edit(body: Args) -> Json:
            if name == "commands":
                self.workspace.commands = list(body["commands"])
            else:
                found(getattr(self.workspace, name).get(body.need("id")), "not_found").update(body)
            self.workspace.tell({"type": "state"})
            return {}

        return edit


def _said(message: Message) -> str:
    """Everything that a message shows, as text: of a file its title, its name, and what describes it."""
    shown = [str(file.get(word) or "") for file in message.files for word in ("title", "name", "alt_txt", "preview")]
    return "\n".join([message.text, characters(message.blocks), *shown])


async def _content(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    for value in (await request.post()).values():
        if isinstance(value, web.FileField):
            return value.file.read()
    return b""


def _cut(request: web.Request) -> web.Response:
    """Closes the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


async def _arguments(request: web.Request) -> tuple[Args, str]:
    """The arguments without the token, and the token."""
    args = Args(request.query)
    if request.content_type == "application/json":
        try:
            body: Any = json.loads(await request.text() or "{}")
        except ValueError:
            body = None
        args.update(body if isinstance(body, dict) else {})
    elif request.can_read_body:
        args.update({k: v for k, v in (await request.post()).items() if isinstance(v, str)})
    given = str(args.pop("token", "") or "")
    return args, request.headers.get("Authorization", "").removeprefix("Bearer ").strip() or given


def _json(act: Act) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        args, _ = await _arguments(request)
        return web.json_response({"ok": True, **await act(args)})

    return handle
