"""Deletion: finalizers, owners and dependents, namespaces, and CRDs. Source: "Garbage Collection", "Finalizers".

A real server leaves the dependents and the content of namespaces to controllers, a moment later; here it is at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox.kube import metadata
from sandbox.kube.errors import Obj
from sandbox.kube.resources import Resource
from sandbox.kube.schema import copied

if TYPE_CHECKING:
    from sandbox.kube.store import Store

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Garbage:
    """The part of a store that takes things away."""

    def __init__(self, store: Store) -> None:
        self._store, self._memory = store, store.memory

    def delete(self, resource: Resource, obj: Obj, options: Mapping[str, Any], *, dry_run: bool) -> Obj | None:
        """None when nothing holds the object, which is then gone."""
        meta, policy = obj["metadata"], options.get("propagationPolicy")
        finalizers = [name for name in meta.get("finalizers") or [] if name not in (FOREGROUND, ORPHAN) or not policy]
        finalizers += (
            [{"Foreground": FOREGROUND, "Orphan": ORPHAN}[policy]] if policy in ("Foreground", "Orphan") else []
        )
        held = bool(finalizers) or self._has_content(resource, meta["name"])
        if dry_run:
            return obj | {"metadata": meta | {"finalizers": finalizers}} if held else None
        if not held:
            self.gone(resource, obj)
            return None
        first = "deletionTimestamp" not in meta
        if first:
            meta |= {"deletionTimestamp": metadata.stamp(self._store.clock()), "deletionGracePeriodSeconds": 0}
            meta |= {"generation": meta["generation"] + 1} if "generation" in meta else {}
            obj |= (
                {"status": (obj.get("status") or {}) | {"phase": "Terminating"}} if resource.key == "namespaces" else {}
            )
        if finalizers != (meta.get("finalizers") or []) or first:
            meta["finalizers"] = finalizers
            if not finalizers:
                del meta["finalizers"]
            self._memory.put(resource.key, obj)
        self._empty(resource, obj)
        return copied(self._memory.read((resource.key, meta.get("namespace", ""), meta["name"])) or obj)  # type: ignore[no-any-return]

    def _has_content(self, resource: Resource, name: str) -> bool:
        if resource.key == "namespaces":
            return any(True for _ in self._store.places(name))
        return resource.key == CRDS and bool(self._memory.all(name))

    def _empty(self, resource: Resource, obj: Obj) -> None:
        """Starts what has to go before the object itself can."""
        uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
        finalizers = obj["metadata"].get("finalizers") or []
        if resource.key == "namespaces":
            for key, namespace, content in list(self._store.places(name)):
                self._delete_at(key, namespace, content)
        elif resource.key == CRDS:
            for instance in self._memory.all(name):
                self._delete_at(name, instance["metadata"].get("namespace", ""), instance["metadata"]["name"])
        if FOREGROUND in finalizers:
            for place in self._memory.owned_by(uid):
                self._delete_at(*place, policy="Foreground")
        elif ORPHAN in finalizers:
            for place in self._memory.owned_by(uid):
                self._disown(place, {uid})
        self._settle(resource, obj)

    def _settle(self, resource: Resource, obj: Obj) -> None:
        """Takes the collector's own finalizers off when their work is done; the object goes with the last one."""
        place = resource.key, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        now = self._memory.read(place)
        if now is None or "deletionTimestamp" not in now["metadata"] or self._has_content(resource, place[2]):
            return
        waiting = {FOREGROUND} if self._memory.owned_by(now["metadata"]["uid"]) else set()
        before = now["metadata"].get("finalizers") or []
        left = [name for name in before if name not in (FOREGROUND, ORPHAN) or name in waiting]
        after = copied(now)
        after["metadata"] |= {"finalizers": left}
        if not left:
            del after["metadata"]["finalizers"]
            self.gone(resource, after)
        elif left != before:
            self._memory.put(resource.key, after)

    def _delete_at(self, key: str, namespace: str, name: str, policy: str = "Background") -> None:
        resource, obj = self._store.registry.storage(key), self._memory.read((key, namespace, name))
        if resource is not None and obj is not None:
            self.delete(resource, copied(obj), {"propagationPolicy": policy}, dry_run=False)

    def _disown(self, place: tuple[str, str, str], uids: set[str]) -> None:
        obj = copied(self._memory.read(place))
        left = [one for one in obj["metadata"]["ownerReferences"] if one.get("uid") not in uids]
        obj["metadata"]["ownerReferences"] = left
        if not left:
            del obj["metadata"]["ownerReferences"]
        self._memory.put(place[0], obj)

    def gone(self, resource: Resource, obj: Obj) -> None:
        """The object is no more; its dependents follow unless somebody else owns them too."""
        self._memory.remove(resource.key, obj)
        uid = obj["metadata"]["uid"]
        for place in self._memory.owned_by(uid):
            dependent = self._memory.read(place) or {"metadata": {}}
            owners = {one.get("uid") for one in dependent["metadata"].get("ownerReferences") or ()}
            absent = {owner for owner in owners if not self._memory.exists(owner)}
            if absent == owners:
                self._delete_at(*place)
            else:
                self._disown(place, absent)
        self._free_holders(obj)

    def _free_holders(self, obj: Obj) -> None:
        """What waited for this object to go: its owners in foreground deletion, its namespace, its definition."""
        meta = obj["metadata"]
        for key in self._memory.resources() if meta.get("ownerReferences") else ():
            for owner in self._memory.all(key):
                if FOREGROUND in (owner["metadata"].get("finalizers") or ()):
                    self._settle_at(key, owner)
        namespace = self._memory.read(("namespaces", "", meta.get("namespace", "")))
        if namespace is not None:
            self._settle_at("namespaces", namespace)
        resource = self._store.registry.of_kind(obj["apiVersion"], obj["kind"])
        definition = self._memory.read((CRDS, "", resource.key)) if resource and resource.custom else None
        if definition is not None:
            self._settle_at(CRDS, definition)

    def _settle_at(self, key: str, obj: Obj) -> None:
        resource = self._store.registry.storage(key)
        if resource is not None:
            self._settle(resource, obj)
