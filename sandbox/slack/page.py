"""The workspace's web page: its files, and the socket over which it hears what one person may see."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from urllib.parse import quote

from aiohttp import web

from sandbox.slack.files import Files
from sandbox.slack.workspace import Json, Message, Workspace, ensure

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
# The page runs its own scripts only; everything else is data.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


class Page:
    def __init__(self, ws: Workspace, shared: Files) -> None:
        self.ws, self.shared = ws, shared

    def routes(self) -> list[web.RouteDef]:
        """The page itself, also at the address of every message ("chat.getPermalink")."""
        return [
            web.get("/", self._file),
            web.get("/archives/{channel}/{message}", self._file),
            web.get("/page/{name:[a-z]+[.](css|js)}", self._file),
            web.get("/sandbox/ws", self._socket),
            web.get(r"/files-pri/{team}-{file:\w+}/{more:.+}", self._bytes),
        ]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        file = files("sandbox.page").joinpath(name)
        if not file.is_file():
            raise web.HTTPNotFound
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return web.Response(text=file.read_text("utf-8"), content_type=KINDS[name.rpartition(".")[2]], headers=headers)

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        """What was uploaded: for the app by its token, and for whoever the page shows it to. Pictures are shown, and
        everything else is saved: nothing that was uploaded runs in the page."""
        token = request.headers.get("Authorization", "")
        if token:
            ensure(token == f"Bearer {self.ws.bot_token}" and "files:read" in self.ws.scopes, "invalid_auth", 403)
        file = self.shared.bytes_for(request.match_info["file"], None if token else request.query.get("as", ""))
        is_shown = file.is_picture and not request.match_info["more"].startswith("download/")
        headers = {
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        if not is_shown:
            saved = quote(file.name, safe="")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{saved}"
        return web.Response(body=file.content, content_type=file.mimetype, headers=headers)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket, changes = web.WebSocketResponse(heartbeat=20), asyncio.Queue[Json]()
        await socket.prepare(request)
        hear = changes.put_nowait
        self.ws.listeners.add(hear)
        sender = asyncio.create_task(self._push(socket, request.query.get("as", ""), changes))
        try:
            await socket.receive()
        finally:
            self.ws.listeners.discard(hear)
            sender.cancel()
        return socket

    async def _push(self, socket: web.WebSocketResponse, user: str, changes: asyncio.Queue[Json]) -> None:
        try:
            while (change := await changes.get())["type"] != "end":
                if (shown := self._for(user, change)) is not None:
                    await socket.send_json(shown)
            await socket.close()
        except ConnectionError:
            return

    def _for(self, user: str, change: Json) -> Json | None:
        """The change as this person may know it."""
        if change["type"] != "message":
            return change if change.get("view", {}).get("user", user) == user else None
        message: Message = change["message"]
        if message.only_for not in (None, user) or not self.ws.may_see(user, message.channel):
            return None
        return {**change, "message": self.ws.shown(message)}
