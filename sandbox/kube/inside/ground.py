"""What everything inside one workload cluster shares: its objects, its machines, the switches and the time."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

from sandbox.kube.actors.objects import Objects
from sandbox.kube.actors.stage import ActorFaults
from sandbox.kube.errors import Obj
from sandbox.kube.inside.hardware import Hardware
from sandbox.kube.metadata import SUFFIX
from sandbox.kube.schema import copied
from sandbox.kube.store import Store

PODS, NODES, JOBS = "pods", "nodes", "jobs.batch"
DEPLOYMENTS, REPLICA_SETS, DAEMONS = "deployments.apps", "replicasets.apps", "daemonsets.apps"
POLICIES = "clusterpolicies.nvidia.com"
GPU = "nvidia.com/gpu"
MANY = 400
"""Remembered moments before those of objects that are gone are forgotten."""


class Ground:
    """One workload cluster. Everything is called within one thread and never waits."""

    def __init__(
        self, store: Store, faults: ActorFaults, chance: random.Random, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.store, self.faults, self.chance, self.monotonic = store, faults, chance, monotonic
        self.machines: dict[str, Hardware] = {}
        self.wake_after: float | None = None
        self._since: dict[tuple[str, str], float] = {}
        self._order: dict[str, int] = {}
        self._digests: dict[tuple[str, int], str] = {}
        self._as: dict[str, Objects] = {}

    def acting(self, component: str) -> Objects:
        """The objects, as this component writes them and tells events about them."""
        if component not in self._as:
            self._as[component] = Objects(self.store, component)
        return self._as[component]

    def all(self, resource: str, namespace: str = "") -> list[Obj]:
        """The stored objects themselves, which must not be changed."""
        return self.store.memory.all(resource, namespace)

    def read(self, resource: str, name: str, namespace: str = "") -> Obj | None:
        """The stored object itself, which must not be changed."""
        return self.store.memory.read((resource, namespace, name))

    def owned(self, owner: Obj, resource: str) -> list[Obj]:
        """What an object owns of one kind; not to be changed."""
        places = self.store.memory.owned_by(owner["metadata"]["uid"])
        found = (self.store.memory.read(place) for place in places if place[0] == resource)
        return [obj for obj in found if obj is not None]

    def machine(self, node: str) -> Hardware:
        """A plain machine where nobody said what it is."""
        return self.machines.get(node, Hardware())

    def edit(self, component: str, obj: Obj, status: Obj) -> None:
        """Writes a status where it differs."""
        if obj.get("status") != status:
            self.acting(component).save({**copied(obj), "status": status}, status=True)

    def suffix(self, length: int = 5) -> str:
        return "".join(self.chance.choice(SUFFIX) for _ in range(length))

    def later(self, seconds: float) -> None:
        """Looks again then, at the latest."""
        self.wake_after = seconds if self.wake_after is None else min(self.wake_after, seconds)

    def waited(self, uid: str, what: str) -> float:
        """Seconds since this was first asked for."""
        now = self.monotonic()
        return now - self._since.setdefault((uid, what), now)

    def ripe(self, uid: str, what: str, seconds: float, least: float = 0.0) -> bool:
        """Whether this, first asked for when its cause was there, has had its time by now.

        `least` is the smallest pace for what would come again and again without a pause.
        """
        left = seconds * max(self.faults.pace, least) - self.waited(uid, what)
        if left > 0:
            self.later(left)
        return left <= 0

    def restart(self, uid: str, what: str) -> None:
        """Its time begins anew the next time that it is asked for."""
        self._since.pop((uid, what), None)

    def template_digest(self, owner: Obj) -> str:
        """The hash of an owner's template, which its pods carry."""
        key = owner["metadata"]["uid"], int(owner["metadata"].get("generation", 1))
        if key not in self._digests:
            self._digests[key] = digest(owner["spec"]["template"])
        return self._digests[key]

    def order(self, uid: str) -> int:
        """Which of these was seen first; times have seconds only."""
        return self._order.setdefault(uid, len(self._order))

    def tidy(self) -> None:
        """Forgets the moments of what is gone."""
        if len(self._digests) > MANY:
            self._digests.clear()
        if len(self._since) > MANY:
            self._since = {key: at for key, at in self._since.items() if self.store.memory.exists(key[0])}

    def now(self) -> str:
        return self.acting("kubelet").now()


def digest(value: Any, length: int = 10) -> str:
    """A hash in the letters that Kubernetes uses for names."""
    number = int(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest(), 16)
    made = ""
    while len(made) < length:
        number, place = divmod(number, len(SUFFIX))
        made += SUFFIX[place]
    return made


def labels_of(obj: Obj) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def with_times(before: list[Obj], told: list[Obj], now: str) -> list[Obj]:
    """Conditions with the time of their last transition; what is told replaces everything."""
    known: dict[str, Any] = {entry["type"]: entry for entry in before}
    made = []
    for entry in told:
        last = known.get(entry["type"], {})
        since = last.get("lastTransitionTime", now) if last.get("status") == entry["status"] else now
        made.append({**entry, "lastTransitionTime": since})
    return made
