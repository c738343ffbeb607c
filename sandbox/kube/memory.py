"""What the server holds: objects in their storage version, one revision counter, a bounded history, listeners.

Objects in here are never changed in place: a write puts a new one, so that readers need no copies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox.kube.errors import Obj

HISTORY = 5000
FIRST_REVISION = 100
Place = tuple[str, str, str]
"""Where an object is: resource key, namespace (empty for cluster-scoped ones), name."""


@dataclass(frozen=True)
class Change:
    """One event. `resource` is `clusters.cluster.x-k8s.io`; neither object may be changed."""

    type: str
    revision: int
    resource: str
    object: Obj
    previous: Obj | None


def place_of(key: str, obj: Obj) -> Place:
    """Of an object that has its name."""
    return key, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Memory:
    """Nothing here knows the rules of the API."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self._objects: dict[str, dict[tuple[str, str], Obj]] = {}
        self._owned: dict[str, set[Place]] = {}
        self._uids: set[str] = set()
        self._untold: deque[Change] = deque()
        self._telling = False
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Called within every write; the answer ends it."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    def read(self, place: Place) -> Obj | None:
        """The stored object itself."""
        return self._objects.get(place[0], {}).get(place[1:])

    def all(self, key: str, namespace: str = "") -> list[Obj]:
        """In the order of namespace and name, as etcd's keys are."""
        found = self._objects.get(key, {})
        return [found[place] for place in sorted(found) if not namespace or place[0] == namespace]

    def resources(self) -> list[str]:
        """The keys of which there is, or was, an object."""
        return list(self._objects)

    def since(self, revision: int) -> Iterator[Change]:
        """What happened after a revision."""
        yield from [change for change in self.history if change.revision > revision]

    def forgotten(self, revision: int) -> bool:
        """The history does not reach back to this revision."""
        oldest = self.history[0].revision if len(self.history) == HISTORY else FIRST_REVISION + 1
        return revision + 1 < oldest

    def exists(self, uid: str) -> bool:
        """Is there an object with this uid?"""
        return uid in self._uids

    def owned_by(self, uid: str) -> list[Place]:
        """Where the dependents of an owner are."""
        return sorted(self._owned.get(uid, ()))

    def put(self, key: str, obj: Obj) -> Obj:
        """Stores a new or changed object under the next revision, which it then carries."""
        place = place_of(key, obj)
        previous = self.read(place)
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._objects.setdefault(key, {})[place[1:]] = obj
        self._index(place, previous, obj)
        self._tell(Change("MODIFIED" if previous else "ADDED", self.revision, key, obj, previous))
        return obj

    def remove(self, key: str, obj: Obj) -> None:
        """`obj` is what the DELETED event shows."""
        place = place_of(key, obj)
        previous = self._objects[key].pop(place[1:])
        self.revision += 1
        last = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.revision)}}
        self._index(place, previous, None)
        self._tell(Change("DELETED", self.revision, key, last, previous))

    def _index(self, place: Place, previous: Obj | None, obj: Obj | None) -> None:
        for reference in (previous or {}).get("metadata", {}).get("ownerReferences") or ():
            self._owned.get(reference.get("uid"), set()).discard(place)
        for reference in (obj or {}).get("metadata", {}).get("ownerReferences") or ():
            self._owned.setdefault(reference.get("uid"), set()).add(place)
        if previous is not None:
            self._uids.discard(previous["metadata"]["uid"])
        if obj is not None:
            self._uids.add(obj["metadata"]["uid"])

    def _tell(self, change: Change) -> None:
        """Everybody hears of the changes in their order, also when a listener writes."""
        self.history.append(change)
        self._untold.append(change)
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                next_one = self._untold.popleft()
                for listener in list(self._listeners):
                    listener(next_one)
        finally:
            self._telling = False
