"""Everything inside one workload cluster, woken by changes of its objects and by the times that a pass asks for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from sandbox.kube.errors import ApiError
from sandbox.kube.inside import (
    busy,
    daemons,
    definitions,
    deployments,
    devices,
    disk,
    features,
    jobs,
    kubelet,
    operator,
    scheduler,
)
from sandbox.kube.inside.ground import Ground
from sandbox.kube.memory import Change

QUIET = ("events", "secrets", "configmaps", "services", "leases.coordination.k8s.io", "serviceaccounts")
"""Kinds whose changes concern nobody here."""
STEPS = (
    definitions.reconcile, deployments.reconcile, daemons.reconcile, jobs.reconcile, scheduler.reconcile,
    disk.reconcile, kubelet.reconcile, features.reconcile, operator.reconcile, devices.reconcile, busy.reconcile,
)  # fmt: skip
MOST = 50


class Inside:
    """`pass_once` may be called by hand; `start` lets it go by itself in the running event loop."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._bell = asyncio.Event()
        self._end = ground.store.on_change(self._changed)
        self._task: asyncio.Task[None] | None = None

    def pass_once(self) -> None:
        """Everybody looks once."""
        for step in STEPS:
            step(self.ground)
        self.ground.tidy()

    def settle(self) -> None:
        """Passes until nothing changes any more at this moment, so many at most."""
        for _ in range(MOST):
            before, self.ground.wake_after = self.ground.store.memory.revision, None
            self.pass_once()
            if self.ground.store.memory.revision == before:
                return

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        self._end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """A switch changed, or a node's machine is known."""
        self._bell.set()

    def _changed(self, change: Change) -> None:
        if change.resource not in QUIET:
            self._bell.set()

    async def _follow(self) -> None:
        while True:
            self._bell.clear()
            self.ground.wake_after = None
            for step in STEPS:
                self._try(step)
            self.ground.tidy()
            await asyncio.sleep(0)  # a bell that rang within the pass would not let anybody else go on
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.ground.wake_after):
                    await self._bell.wait()

    def _try(self, step: Callable[[Ground], None]) -> None:
        """An object of a shape that nobody foresaw ends this step, not the cluster; the next change begins anew."""
        try:
            step(self.ground)
        except (ApiError, LookupError, TypeError, ValueError, AttributeError):
            logging.getLogger(__name__).exception("A pass inside a workload cluster failed")
            self.ground.later(1.0)
