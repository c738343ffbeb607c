"""Wakes the actors: one task per cluster, by changes of its objects and by the times that a pass asks for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from sandbox.kube.actors import clusters
from sandbox.kube.actors.objects import CLUSTER_LABEL, CLUSTERS, at
from sandbox.kube.actors.stage import Scene, Stage
from sandbox.kube.errors import ApiError, Obj
from sandbox.kube.memory import Change

Place = tuple[str, str]
QUIET = ("events", "secrets", "leases.coordination.k8s.io")
"""Kinds whose changes concern no actor."""


class Director:
    """Everything runs in the event loop in which `start` is called; AWS is asked in threads."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._bells: dict[Place, asyncio.Event] = {}
        self._end: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._end = self._stage.objects.store.on_change(self._changed)
        for cluster in self._stage.objects.store.list(CLUSTERS):
            self.wake(_place(cluster))

    async def stop(self) -> None:
        """A call of AWS that is under way ends first."""
        self._end()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake_all(self) -> None:
        """A switch changed: everybody looks again."""
        for bell in self._bells.values():
            bell.set()

    def wake(self, place: Place) -> None:
        """Also begins with a cluster that is not known yet."""
        if place not in self._tasks:
            self._bells[place] = asyncio.Event()
            self._tasks[place] = asyncio.get_running_loop().create_task(self._follow(place))
        self._bells[place].set()

    def _changed(self, change: Change) -> None:
        if change.resource in QUIET:
            return
        obj, namespace = change.object, change.object["metadata"].get("namespace", "")
        if change.resource == CLUSTERS:
            self.wake(_place(obj))
            return
        name = obj["metadata"].get("labels", {}).get(CLUSTER_LABEL) or at(obj, "spec", "clusterName")
        for place in list(self._tasks):
            if place == (namespace, name) or (name is None and namespace in ("", place[0])):
                self._bells[place].set()

    async def _follow(self, place: Place) -> None:
        """Until the cluster is gone."""
        memory: dict[str, tuple[float, float]] = {}
        bell = self._bells[place]
        while (cluster := self._stage.objects.find(CLUSTERS, place[1], place[0])) is not None:
            bell.clear()
            scene = Scene(self._stage, cluster, memory)
            try:
                await clusters.reconcile(scene)
            except (ApiError, LookupError, TypeError, ValueError, AttributeError):
                # an object of a shape that nobody foresaw ends this pass, not the actors; the next change begins anew
                logging.getLogger(__name__).exception("A pass over cluster %s/%s failed", *place)
                scene.later(1.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(scene.wake_after):  # wait_for loses a cancel that comes with the bell
                    await bell.wait()
        await self._stage.workloads.forget(place)
        self._tasks.pop(place, None)
        self._bells.pop(place, None)


def _place(cluster: Obj) -> Place:
    return cluster["metadata"]["namespace"], cluster["metadata"]["name"]
