"""The sandbox's API server, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from sandbox.kube import KubeSandbox
from tests.contract.server import USERS, Json, Server


class Loop:
    """An event loop in a thread; coroutines are handed in from outside."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox-kube", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def imitation(folder: Path, generation: str) -> Iterator[Server]:
    """A running sandbox server, without any definition yet."""
    loop, sandbox = Loop(), KubeSandbox()
    try:
        loop.run(sandbox.start())
        try:
            authority = folder / "ca.crt"
            authority.write_text(sandbox.ca_pem)

            def write_log(namespace: str, pod: str, text: str) -> str:
                sandbox.store.write_log(namespace, pod, text)
                return text

            yield Server(
                kind="sandbox",
                generation=generation,
                url=sandbox.url,
                ca_file=authority,
                tokens={user: sandbox.token(user) for user in USERS},
                make_tokens_expire=lambda: None,  # a token of its first revision is always too old
                write_log=write_log,
            )
        finally:
            loop.run(sandbox.stop())
    finally:
        loop.stop()


def compact_crds(generation: str) -> list[Json]:
    """The sandbox's own definitions, for a machine without the published ones."""
    from sandbox.kube.crds import crds

    return [dict(each) for each in crds(generation)]
