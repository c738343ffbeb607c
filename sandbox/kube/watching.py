"""Watches: what happened since a revision, then what happens.

Source: "Efficient detection of changes" in Kubernetes' API concepts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sandbox.kube.errors import Obj
from sandbox.kube.forms import too_old
from sandbox.kube.memory import Change
from sandbox.kube.resources import Resource
from sandbox.kube.schema import copied
from sandbox.kube.selectors import Match
from sandbox.kube.store import Store

BOOKMARK_SECONDS = 60.0
BOOKMARK_BEFORE_END = 2.0
Event = tuple[str, Obj]


@dataclass(frozen=True)
class Wanted:
    """What one watch asks for. `start` None sends what is there first."""

    resource: Resource
    namespace: str
    match: Match
    start: int | None
    seconds: float
    bookmarks: bool
    mark_initial: bool = False


class Watcher:
    """One open watch. `close` ends it from outside."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store, self._wanted = store, wanted
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._stop = store.on_change(self._queue.put_nowait)
        self._first = list(self._initial())

    def close(self) -> None:
        """What was told already is still sent."""
        self._stop()
        self._queue.put_nowait(None)

    def _initial(self) -> list[Event]:
        """Taken in the same moment in which the watcher starts to listen."""
        wanted, memory = self._wanted, self._store.memory
        if wanted.start is None:
            objects = filter(wanted.match, memory.all(wanted.resource.key, wanted.namespace))
            found = [("ADDED", self._store.present(wanted.resource, obj)) for obj in objects]
            return [*found, self._bookmark(initial=True)] if wanted.mark_initial else found
        if memory.forgotten(wanted.start):
            return [("ERROR", too_old(wanted.start, memory.history[0].revision).status())]
        return [event for change in memory.since(wanted.start) if (event := self._event(change))]

    def _event(self, change: Change) -> Event | None:
        """As somebody with this selector sees it: an object can come into view, or leave it."""
        wanted = self._wanted
        if change.resource != wanted.resource.key:
            return None
        if wanted.namespace and change.object["metadata"].get("namespace") != wanted.namespace:
            return None
        before = change.previous is not None and wanted.match(change.previous)
        after = change.type != "DELETED" and wanted.match(change.object)
        if not (before or after):
            return None
        kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
        return kind, self._store.present(wanted.resource, change.object)

    def _bookmark(self, *, initial: bool = False) -> Event:
        resource, meta = self._wanted.resource, {"resourceVersion": str(self._store.memory.revision)}
        annotations = {"annotations": {"k8s.io/initial-events-end": "true"}} if initial else {}
        return "BOOKMARK", {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta | annotations}

    async def events(self, sleeping: Callable[[], float] = time.monotonic) -> AsyncIterator[Event]:
        """Ends after the time asked for, when it is closed, or after an ERROR."""
        end = sleeping() + self._wanted.seconds
        mark = min(sleeping() + BOOKMARK_SECONDS, max(end - BOOKMARK_BEFORE_END, sleeping()))
        try:
            for event in self._first:
                yield event
                if event[0] == "ERROR":
                    return
            while (left := end - sleeping()) > 0:
                pause = min(left, mark - sleeping()) if self._wanted.bookmarks and mark < end else left
                try:
                    change = await asyncio.wait_for(self._queue.get(), max(pause, 0))
                except TimeoutError:
                    if self._wanted.bookmarks and sleeping() >= mark:
                        mark = sleeping() + BOOKMARK_SECONDS
                        yield self._bookmark()
                    continue
                if change is None:
                    return
                if event_now := self._event(change):
                    yield event_now
        finally:
            self._stop()


def snapshot(store: Store, resource: Resource, namespace: str, at: int) -> list[Obj]:
    """The objects as they were at a revision that the history still reaches."""
    found = {
        (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj
        for obj in store.memory.all(resource.key, namespace)
    }
    for change in reversed(list(store.memory.since(at))):
        meta = change.object["metadata"]
        if change.resource == resource.key and (not namespace or meta.get("namespace") == namespace):
            place = meta.get("namespace", ""), meta["name"]
            found.pop(place, None)
            if change.previous is not None:
                found[place] = copied(change.previous)
    return [found[place] for place in sorted(found)]
