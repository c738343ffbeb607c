"""The objects of one API server, and every way of writing them. The HTTP side and the controllers share it.

Resources are named as kubectl does, `machines.cluster.x-k8s.io`, `pods`; objects are JSON data, and what a
method gives is the caller's own copy. Refusals are `ApiError`, with the code and the words of a real server.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sandbox.kube import builtin, errors, metadata, writes
from sandbox.kube.apply import Ownership, apply, check_typed
from sandbox.kube.crd_lifecycle import established, settle_definition
from sandbox.kube.errors import Obj, bad_request
from sandbox.kube.fields import Changes, rooted
from sandbox.kube.garbage import Garbage
from sandbox.kube.memory import Change, Memory, Place
from sandbox.kube.patches import merge_patch
from sandbox.kube.resources import Registry, Resource, group_of
from sandbox.kube.schema import ROOT, copied, prune
from sandbox.kube.selectors import labels
from sandbox.kube.writes import Write

Objects = list[Obj]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
START_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Store:
    """For use within one thread. Nothing in here waits."""

    def __init__(self, clock: Callable[[], float], chance: random.Random | None = None) -> None:
        self.registry = Registry(builtin.resources())
        self.memory = Memory()
        self.clock, self.chance = clock, chance or random.SystemRandom()
        self.establishes_later = False
        self.logs: dict[tuple[str, str], str] = {}
        self.container_logs: dict[tuple[str, str], dict[str, str]] = {}
        self._garbage = Garbage(self)
        self.memory.listen(self._watch_definitions)
        for name in START_NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager="kube-apiserver")

    # For controllers

    def get(self, resource: str, name: str, namespace: str = "") -> Obj:
        """404 as ApiError where there is none."""
        return copied(self.stored(self._resource(resource), namespace, name))  # type: ignore[no-any-return]

    def find(self, resource: str, name: str, namespace: str = "") -> Obj | None:
        """None where there is none."""
        return copied(self.memory.read((resource, namespace, name)))  # type: ignore[no-any-return]

    def list(self, resource: str, namespace: str = "", selector: str = "") -> Objects:
        """In order of namespace and name; all namespaces unless one is given."""
        match = labels(selector)
        return [copied(obj) for obj in self.memory.all(resource, namespace) if match(obj)]

    def create(self, obj: Mapping[str, Any], *, manager: str = "controller") -> Obj:
        """In the namespace that its metadata names."""
        body = dict(obj)
        resource = self.resource_of(body)
        return self.insert(resource, body.get("metadata", {}).get("namespace", ""), body, Write(manager))

    def update(self, obj: Mapping[str, Any], *, status: bool = False, manager: str = "controller") -> Obj:
        """409 if somebody else wrote since it was read."""
        body = dict(obj)
        resource, place = self.resource_of(body), body["metadata"]
        if body == self.memory.read((resource.key, place.get("namespace", ""), place["name"])):
            return body  # most passes of a controller write what they have read
        write = Write(manager, "status" if status else "")
        return self.replace(resource, place.get("namespace", ""), place["name"], body, write)

    def patch(
        self, resource: str, name: str, namespace: str, change: Mapping[str, Any], *,
        status: bool = False, manager: str = "controller",
    ) -> Obj:  # fmt: skip
        """A merge patch: null removes, lists are replaced."""
        write = Write(manager, "status" if status else "")
        return self.amend(self._resource(resource), namespace, name, lambda old: merge_patch(old, change), write)

    def apply(self, obj: Mapping[str, Any], *, manager: str, force: bool = True, status: bool = False) -> Obj:
        """Server-side apply."""
        body = dict(obj)
        resource, place = self.resource_of(body), body["metadata"]
        write = Write(manager, "status" if status else "", force=force)
        return self.apply_config(resource, place.get("namespace", ""), place["name"], body, write)[0]

    def delete(self, resource: str, name: str, namespace: str = "", *, propagation: str = "Background") -> Obj | None:
        """What is left of it while finalizers hold it, else None."""
        return self.drop(self._resource(resource), namespace, name, {"propagationPolicy": propagation})

    def on_change(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Calls back within each write, so keep it short; the answer ends it."""
        return self.memory.listen(callback)

    def write_log(self, namespace: str, pod: str, text: str) -> None:
        """More of what `kubectl logs` shows of a pod."""
        self.logs[namespace, pod] = self.logs.get((namespace, pod), "") + text

    def set_log(self, namespace: str, pod: str, container: str, text: str) -> None:
        """All that a container has written so far."""
        self.container_logs.setdefault((namespace, pod), {})[container] = text

    def forget_logs(self, namespace: str, pod: str) -> None:
        """The pod is gone."""
        self.logs.pop((namespace, pod), None)
        self.container_logs.pop((namespace, pod), None)

    # For both sides

    def resource_of(self, obj: Obj) -> Resource:
        """By the object's apiVersion and kind; 404 for what is not served."""
        found = self.registry.of_kind(str(obj.get("apiVersion", "")), str(obj.get("kind", "")))
        if found is None:
            text = f'no matches for kind "{obj.get("kind")}" in version "{obj.get("apiVersion")}"'
            raise errors.ApiError(404, "NotFound", text, errors.details("", group_of(obj), ""))
        return found

    def _resource(self, key: str) -> Resource:
        found = self.registry.storage(key)
        if found is None:
            raise errors.no_such_resource()
        return found

    def stored(self, resource: Resource, namespace: str, name: str) -> Obj:
        """Not a copy."""
        found = self.memory.read((resource.key, namespace, name))
        if found is None:
            raise errors.not_found(resource.plural, resource.group, name)
        return found

    def present(self, resource: Resource, stored: Obj) -> Obj:
        """An object as this version shows it. Without conversion: the same fields, as far as the schema has them."""
        if stored["apiVersion"] == resource.api_version:
            return stored
        shown: Obj = copied(stored) | {"apiVersion": resource.api_version}
        prune(shown, resource.schema)
        return shown

    def insert(self, resource: Resource, namespace: str, obj: Obj, write: Write) -> Obj:
        """A create. `namespace` is the URL's."""
        body = writes.decoded(resource, obj, write)
        if body["metadata"].get("resourceVersion"):
            raise errors.ApiError(500, "", "resourceVersion should not be set on objects to be created")
        self._place(resource, namespace, body)
        return self._insert(resource, body, write, None)

    def _place(self, resource: Resource, namespace: str, body: Obj) -> None:
        """Name and namespace of a new object."""
        meta = body["metadata"]
        if meta.get("namespace", namespace) != namespace and (resource.namespaced or meta["namespace"]):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta.pop("namespace", None)
        if resource.namespaced:
            meta["namespace"] = namespace
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = metadata.generated(meta["generateName"], self.chance)
        if resource.namespaced:
            home = self.memory.read(("namespaces", "", namespace))
            if home is None:
                raise errors.not_found("namespaces", "", namespace)
            refusal = writes.terminating(home, resource, meta.get("name", ""))
            if refusal:
                raise refusal

    def _insert(self, resource: Resource, body: Obj, write: Write, ownership: Ownership | None) -> Obj:
        now, meta = metadata.stamp(self.clock()), body["metadata"]
        writes.prepare_new(resource, body)
        writes.check(resource, body, new=True)
        settle_definition(resource, body, now, later=self.establishes_later)
        meta |= {"uid": metadata.new_uid(self.chance), "creationTimestamp": now}
        if self.memory.read((resource.key, meta.get("namespace", ""), meta["name"])):
            raise errors.already_exists(resource.plural, resource.group, meta["name"])
        if ownership is None:
            ownership = Ownership(None)
            author = write.author(resource.api_version)
            ownership.update(author, Changes({}, body, rooted(resource.schema)))
        else:
            author = write.author(resource.api_version, "Apply")
        meta["managedFields"] = ownership.entries(author, resource.api_version, now)
        return self._keep(resource, body, write)

    @staticmethod
    def _check_name(body: Obj, name: str) -> None:
        found = body["metadata"].get("name", name)
        if found != name:
            raise bad_request(f"the name of the object ({found}) does not match the name on the URL ({name})")

    def replace(self, resource: Resource, namespace: str, name: str, obj: Obj, write: Write) -> Obj:
        """A PUT."""
        body = writes.decoded(resource, obj, write)
        self._check_name(body, name)
        if body["metadata"].get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        old = self.stored(resource, namespace, name)
        writes.check_revision(resource, old, body)
        return self._change(resource, old, body, write)

    def amend(self, resource: Resource, namespace: str, name: str, change: Callable[[Obj], Any], write: Write) -> Obj:
        """A patch: `change` makes the new object of the old one."""
        old = self.stored(resource, namespace, name)
        shown = copied(self.present(resource, old))
        body = writes.decoded(resource, change(shown), write)
        self._check_name(body, name)
        writes.check_same(resource, old, None, body["metadata"].get("resourceVersion"))
        return self._change(resource, old, body, write)

    def apply_config(self, resource: Resource, namespace: str, name: str, obj: Obj, write: Write) -> tuple[Obj, bool]:
        """The object, and whether it was created."""
        if (obj.get("apiVersion"), obj.get("kind")) != (resource.api_version, resource.kind):
            raise bad_request(f"invalid object type: {obj.get('apiVersion', '/')}, Kind={obj.get('kind', '')}")
        writes.check_type(resource, obj)
        kind = f"{resource.group}/{resource.version}, Kind={resource.kind}"
        check_typed(obj | {"metadata": obj.get("metadata") or {}}, rooted(resource.schema), kind)
        body = writes.decoded(resource, obj, write)
        if not body["metadata"].get("name"):
            raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
        self._check_name(body, name)
        if body["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if resource.status:
            body = {
                key: body[key] for key in body if (key == "status") == (write.subresource == "status") or key in ROOT
            }
        old = self.memory.read((resource.key, namespace, name))
        if old is None and write.subresource:
            raise errors.not_found(resource.plural, resource.group, name)
        manager = write.author(resource.api_version, "Apply")
        live = copied(self.present(resource, old)) if old else None
        if old:
            writes.check_same(resource, old, None, body["metadata"].get("resourceVersion"))
        else:
            uid = body["metadata"].get("uid")
            if uid:
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise errors.conflict(resource.plural, resource.group, name, why)
            self._place(resource, namespace, body)
        merged, ownership = apply(live, body, rooted(resource.schema), manager, force=write.force)
        if old is None:
            return self._insert(resource, merged, write, ownership), True
        return self._change(resource, old, merged, write, ownership), False

    def _change(self, resource: Resource, old: Obj, body: Obj, write: Write, ownership: Ownership | None = None) -> Obj:
        """From the old object to the new one; a write that changes nothing leaves everything as it is."""
        now, shown = metadata.stamp(self.clock()), self.present(resource, old)
        claimed = body["metadata"].get("managedFields")
        writes.check_identity(resource, shown, body)
        new = writes.carry_over(resource, shown, body, write)
        writes.check(resource, new)
        writes.check_immutable(resource, shown, new)
        settle_definition(resource, new, now, later=self.establishes_later)
        writes.bump(resource, shown, new)
        changes = Changes(shown, new, rooted(resource.schema))
        author = write.author(resource.api_version, "Apply" if ownership else "Update")
        if ownership is None:
            ownership = Ownership({"metadata": {"managedFields": claimed}} if claimed else shown)
            ownership.update(author, changes)
        moved = changes.set or changes.removed
        new["metadata"]["managedFields"] = ownership.entries(author, resource.api_version, now if moved else None)
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == shown:
            return copied(shown)  # type: ignore[no-any-return]
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            if not write.dry_run:
                self._garbage.gone(resource, self._as_stored(resource, new))
            return new
        return self._keep(resource, new, write)

    def _as_stored(self, resource: Resource, obj: Obj) -> Obj:
        storage = self._resource(resource.key)
        if storage.version == resource.version:
            return obj
        kept: Obj = copied(obj) | {"apiVersion": storage.api_version}
        prune(kept, storage.schema)
        return kept

    def _keep(self, resource: Resource, obj: Obj, write: Write) -> Obj:
        if write.dry_run:
            return obj
        kept = self.memory.put(resource.key, copied(self._as_stored(resource, obj)))
        return copied(self.present(resource, kept))  # type: ignore[no-any-return]

    def drop(
        self, resource: Resource, namespace: str, name: str, options: Mapping[str, Any], *, dry_run: bool = False
    ) -> Obj | None:
        """A delete with DeleteOptions. What is left of the object while something holds it, else None."""
        old = self.stored(resource, namespace, name)
        writes.check_preconditions(resource, old, options.get("preconditions") or {})
        if resource.key == "namespaces" and name in ("default", "kube-system", "kube-public"):
            text = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
            raise errors.ApiError(403, "Forbidden", text, errors.details(name, "", "namespaces"))
        return self._garbage.delete(resource, copied(old), options, dry_run=dry_run)

    def _watch_definitions(self, change: Change) -> None:
        """A CRD's endpoints come and go with it, and a pod's logs go with it."""
        if change.resource == "pods" and change.type == "DELETED":
            self.forget_logs(change.object["metadata"]["namespace"], change.object["metadata"]["name"])
        if change.resource != CRDS:
            return
        if change.type == "DELETED":
            self.registry.remove(change.object)
        elif established(change.object):
            self.registry.install(change.object)

    def places(self, namespace: str) -> Iterable[Place]:
        """Where everything in a namespace is."""
        for key in self.memory.resources():
            resource = self.registry.storage(key)
            if resource and resource.namespaced:
                yield from ((key, namespace, obj["metadata"]["name"]) for obj in self.memory.all(key, namespace))
