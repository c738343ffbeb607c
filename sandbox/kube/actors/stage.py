"""What all actors share: the objects, AWS, switches, and the clock by which things take their time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.kube.actors.cloud import Clouds, Keys
from sandbox.kube.actors.objects import CLUSTERS, Objects
from sandbox.kube.errors import Obj

FIRST_RETRY, LAST_RETRY = 0.5, 8.0
"""Seconds at pace 1 between two looks at what is refused or missing; the controllers back off likewise."""


@dataclass
class ActorFaults:
    """Switches of the actors, all off. `pace` scales every time that they take; 0 is as fast as it goes.

    From `workload_unreachable` on they are about what is inside workload clusters, and hold for all of them.
    `driver_crash` is kernel-headers, gpl or nouveau, `test_image_arch` exec or manifest.
    """

    control_plane_never_comes: bool = False
    workers_never_come: bool = False
    lying_ready: bool = False
    newer_subnet_rule: bool = False
    no_garbage_collection: bool = False
    api_gone_after: int = 0
    pace: float = 1.0
    workload_unreachable: bool = False
    credentials_rotated: bool = False
    certificate_changed: bool = False
    pod_security: bool = False
    operator_image_missing: bool = False
    nfd_blind: bool = False
    driver_image_missing: bool = False
    driver_crash: str = ""
    slow_driver: bool = False
    plugin_unhealthy: bool = False
    validator_lies: bool = False
    gpu_busy: bool = False
    test_image_missing: bool = False
    test_image_arch: str = ""
    test_silent: bool = False
    cuda_insufficient: bool = False


WORDS = {"driver_crash": ("kernel-headers", "gpl", "nouveau"), "test_image_arch": ("exec", "manifest")}
"""What the switches that are words may say."""


def checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """All or nothing, as with the switches of AWS; what is empty resets."""
    defaults = vars(ActorFaults())
    for name, value in changes.items():
        if name not in defaults:
            raise ValueError(f"unknown fault switch: {name}")
        kinds = (int, float) if name == "pace" else (type(defaults[name]),)
        if value and (type(value) not in kinds or (kinds[0] is int and value < 0)):
            raise ValueError(f"fault {name}: {value!r} will not do for a {kinds[-1].__name__}")
        if value and name in WORDS and value not in WORDS[name]:
            raise ValueError(f"fault {name}: {value!r} is none of {', '.join(WORDS[name])}")
    empty = {name for name, value in changes.items() if value is None or (not value and name != "pace")}
    return {name: defaults[name] if name in empty else value for name, value in changes.items()}


@dataclass
class Stage:
    """One management cluster's. `workloads` is filled by the actors; names of machines come off `chance`."""

    objects: Objects
    clouds: Clouds
    faults: ActorFaults
    current: bool
    workloads: Any
    chance: random.Random
    monotonic: Callable[[], float] = time.monotonic


class Scene:
    """One pass over one cluster: its objects, what it learnt, and when it wants to look again."""

    def __init__(self, stage: Stage, cluster: Obj, memory: dict[str, tuple[float, float]]) -> None:
        self.stage, self.objects, self.cluster, self._memory = stage, stage.objects, cluster, memory
        self.wake_after: float | None = None
        self.place: tuple[str, Keys] | None = None
        self.infra: Obj = {}

    @property
    def name(self) -> str:
        return str(self.cluster["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.cluster["metadata"]["namespace"])

    @property
    def current(self) -> bool:
        return self.stage.current

    @property
    def ending(self) -> bool:
        return "deletionTimestamp" in self.cluster["metadata"]

    def later(self, seconds: float) -> None:
        self.wake_after = seconds if self.wake_after is None else min(self.wake_after, seconds)

    def ripe(self, what: str, seconds: float) -> bool:
        """Whether this, first asked for when its cause was there, has had its time by now."""
        begun, _ = self._memory.setdefault(what, (self.stage.monotonic(), 0.0))
        left = begun + seconds * self.stage.faults.pace - self.stage.monotonic()
        if left > 0:
            self.later(left)
        return left <= 0

    def may_try(self, what: str) -> bool:
        """False while a refused call waits for its next try."""
        since, pause = self._memory.get(f"refused {what}", (0.0, 0.0))
        left = since + pause - self.stage.monotonic()
        if left > 0:
            self.later(left)
        return left <= 0

    def refused(self, what: str) -> None:
        """Again later, and later still the next time."""
        _, pause = self._memory.get(f"refused {what}", (0.0, 0.0))
        unit = max(self.stage.faults.pace, 0.05)
        pause = min(max(pause * 2, FIRST_RETRY * unit), LAST_RETRY * unit)
        self._memory[f"refused {what}"] = (self.stage.monotonic(), pause)
        self.later(pause)

    def done(self, what: str) -> None:
        """The next refusal starts with the shortest pause."""
        self._memory.pop(f"refused {what}", None)

    async def aws(self, operation: str, **arguments: Any) -> Any:
        """A call as the cluster's identity."""
        if self.place is None:
            raise LookupError("the cluster's identity is not known yet")
        return await self.stage.clouds.call(self.place, operation, **arguments)

    def reread(self) -> None:
        found = self.objects.find(CLUSTERS, self.name, self.namespace)
        self.cluster = found or self.cluster
