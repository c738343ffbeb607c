"""The HTTP side: who calls, may they, is the weather good; then the endpoints answer, and the log remembers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.kube import discovery, errors, forms
from sandbox.kube.access import Access
from sandbox.kube.certificates import stranger
from sandbox.kube.endpoints import Call, Endpoints
from sandbox.kube.errors import ApiError, Obj
from sandbox.kube.faults import KubeFaults
from sandbox.kube.forms import Form
from sandbox.kube.requests import MUTATING, Target, target, verb
from sandbox.kube.store import Store
from sandbox.kube.watching import Watcher

VERSION = "v1.33.1"
OPEN = ("/healthz", "/livez", "/readyz", "/version")
WEBHOOK = "validation.sandbox.local"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One port. `store` may be changed from outside at any time within the same event loop."""

    def __init__(self, store: Store, access: Access, faults: KubeFaults, log: list[Obj]) -> None:
        self._store, self._access, self._faults, self._log = store, access, faults, log
        self._endpoints = Endpoints(store, access)
        self._runner: web.AppRunner | None = None
        self._open: dict[Watcher, web.Request] = {}
        self.port = 0
        faults.listen(self._weather)

    async def start(self, context: ssl.SSLContext, port: int) -> None:
        """Listens until `stop`."""
        app = web.Application(client_max_size=2**22)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends open watches first."""
        for watcher in list(self._open):
            watcher.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _weather(self) -> None:
        """Watches that are open are cut with everything else."""
        if self._faults.unreachable or self._faults.credentials_rotated or self._faults.certificate_changed:
            for request in self._open.values():
                _cut(request)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        entry: Obj = {"n": len(self._log) + 1, "at": self._store.clock(), "user": "", "verb": request.method.lower()}
        entry |= dict.fromkeys(("group", "resource", "namespace", "name", "subresource"), "")
        entry |= {"status": 0, "dry_run": "dryRun" in request.query, "mutating": False}
        self._log.append(entry)
        warnings: list[str] = []
        try:
            response = await self._answer(request, entry, warnings)
        except ApiError as refusal:
            response = _refused(refusal, warnings)
        entry["status"] = response.status
        return response

    async def _answer(self, request: web.Request, entry: Obj, warnings: list[str]) -> web.StreamResponse:
        aim = target(request.path)
        watching = aim is not None and (forms.flag(request.query, "watch"))
        doing = verb(request.method, aim.name if aim else "", watching)
        if aim:
            names = {"group": aim.group, "resource": aim.plural, "namespace": aim.namespace, "name": aim.name}
            entry |= names | {"verb": doing, "subresource": aim.subresource, "mutating": doing in MUTATING}
        await self._trouble(request, doing, aim)
        known = not self._faults.credentials_rotated
        user = self._access.who(request.headers.get("Authorization", "")) if known else None
        entry["user"] = user or ""
        if request.path in OPEN:
            return _opened(request.path)
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        if aim is None:
            return self._discovered(request, user)
        call = await self._call(request, aim, doing, user, warnings)
        return call if isinstance(call, web.Response) else await self._perform(request, call, entry)

    async def _trouble(self, request: web.Request, doing: str, aim: Target | None) -> None:
        """What the switches do to a request before anybody looks at it."""
        faults = self._faults
        await asyncio.sleep(faults.latency_ms / 1000)
        await faults.wait(doing, aim.plural if aim else "")
        if faults.unreachable or (faults.certificate_changed and not _strange(request)):
            _cut(request)
            raise ApiError(503, "ServiceUnavailable", "the connection was cut")
        if faults.take("throttle"):
            raise ApiError(
                429, "TooManyRequests", "Too many requests, please try again later.", {"retryAfterSeconds": 1}
            )
        if faults.take("server_error"):
            raise ApiError(500, "InternalError", "Internal error occurred: etcdserver: request timed out")

    def _discovered(self, request: web.Request, user: str) -> web.Response:
        if request.path.split("/")[1] not in ("api", "apis", "openapi") and not self._access.master(user):
            raise ApiError(403, "Forbidden", f'forbidden: User "{user}" cannot get path "{request.path}"', {})
        found = discovery.answer(self._store.registry, request.path, request.headers.get("Accept", ""))
        if found is None:
            parts = request.path.strip("/").split("/")
            return self._missing(
                parts[1] if parts[0] == "apis" and len(parts) == 3 else "" if parts[0] == "api" else "-"
            )
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        response = web.Response(body=Form().written(found[0]))
        response.headers["Content-Type"] = found[1]
        return response

    def _missing(self, group: str) -> web.Response:
        """Groups of CRDs are served by another handler of a real server, which answers in plain text."""
        if self._store.registry.builtin_group(group):
            raise errors.no_such_resource()
        return web.Response(status=404, text="404 page not found\n")

    async def _call(
        self, request: web.Request, aim: Target, doing: str, user: str, warnings: list[str]
    ) -> Call | web.Response:
        """The request as a call that the user may make; an answer where there is nothing to call."""
        attempt = aim.attempt(doing)
        denied = self._faults.forbids(doing, aim.group, aim.plural)
        if denied or not (doing and self._access.may(user, attempt)):
            if not doing:
                raise errors.method_not_allowed()
            raise errors.forbidden(user, doing, aim.plural, aim.group, aim.name, aim.namespace, aim.subresource)
        resource = self._store.registry.find(aim.group, aim.version, aim.plural)
        if resource is None or (aim.namespace and not resource.namespaced and aim.plural != "namespaces"):
            return self._missing(aim.group)
        if aim.subresource not in ("", *(name for name, _, _ in discovery.subresources(resource))):
            raise errors.not_found(aim.plural, aim.group, aim.name)
        form = forms.chosen(request.headers.get("Accept", ""), request.query)
        media = request.headers.get("Content-Type", "").partition(";")[0].strip()
        if resource.warning:
            warnings.append(resource.warning)
        agent = request.headers.get("User-Agent", "")
        return Call(aim, resource, doing, user, request.query, media, agent, await request.read(), form, warnings)

    async def _perform(self, request: web.Request, call: Call, entry: Obj) -> web.StreamResponse:
        if call.verb == "watch":
            entry["status"] = 200
            return await self._watch(request, call)
        kind = call.resource.kind
        if call.verb in ("create", "update", "patch") and kind in self._faults.deny_webhook:
            text = f'admission webhook "{WEBHOOK}" denied the request: {kind} is not allowed now'
            raise ApiError(403, "Forbidden", text)
        status, body = self._endpoints.perform(call)
        return self._sent(call, status, body)

    def _sent(self, call: Call, status: int, body: Any) -> web.Response:
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        response = web.Response(status=status, body=call.form.written(body))
        response.headers["Content-Type"] = call.form.content_type
        _warn(response, call)
        return response

    async def _watch(self, request: web.Request, call: Call) -> web.StreamResponse:
        wanted = self._endpoints.wanted(call)
        response = web.StreamResponse()
        response.headers["Content-Type"] = call.form.content_type if call.form.kind == "Table" else "application/json"
        _warn(response, call)
        watcher = Watcher(self._store, wanted)
        self._open[watcher] = request
        try:
            await response.prepare(request)
            if self._faults.take("gone_watches"):
                gone = forms.too_old(wanted.start or 1, self._store.memory.revision).status()
                await response.write(Form().written({"type": "ERROR", "object": gone}))
            else:
                await self._stream(response, watcher, call)
            await response.write_eof()
        except ConnectionError:
            return response  # the caller went away
        finally:
            watcher.close()
            del self._open[watcher]
        return response

    async def _stream(self, response: web.StreamResponse, watcher: Watcher, call: Call) -> None:
        head, clock = True, self._store.clock
        async for kind, obj in watcher.events():
            shown = obj
            if kind != "ERROR" and not (kind == "BOOKMARK" and call.form.kind != "Table"):
                shown = (
                    call.form.one(call.resource, obj, clock(), head=head) if kind != "BOOKMARK" else _empty_table(obj)
                )
                head = False
            await response.write(Form().written({"type": kind, "object": shown}))


def _empty_table(bookmark: Obj) -> Obj:
    kind = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": bookmark["metadata"]}
    return kind | {"columnDefinitions": None, "rows": []}


def _warn(response: web.StreamResponse, call: Call) -> None:
    for text in call.warnings:
        response.headers.add("Warning", _quoted(text))


def _quoted(text: str) -> str:
    return '299 - "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _strange(request: web.Request) -> bool:
    """The caller shook hands with the certificate that is shown now, not on a connection of before."""
    shaken = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    return shaken is not None and shaken.context is stranger()


def _cut(request: web.Request) -> None:
    """The connection drops without a word."""
    if request.transport is not None:
        request.transport.abort()


def _opened(path: str) -> web.Response:
    if path != "/version":
        return web.Response(text="ok")
    major, minor = VERSION[1:].split(".")[:2]
    told = {"major": major, "minor": minor, "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean"}
    told |= {"buildDate": "2025-05-15T08:19:08Z", "goVersion": "go1.24.2", "compiler": "gc", "platform": "linux/amd64"}
    return web.json_response(told)


def _refused(refusal: ApiError, warnings: list[str]) -> web.Response:
    response = web.Response(body=Form().written(refusal.status()), status=refusal.code)
    response.headers["Content-Type"] = "application/json"
    for text in warnings:
        response.headers.add("Warning", _quoted(text))
    if refusal.code == 429:
        response.headers["Retry-After"] = "1"
    return response
