"""Who owns which field, and server-side apply. Source: structured-merge-diff, `merge/update.go`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.kube.errors import ApiError, Obj
from sandbox.kube.fields import Changes, Path, Paths, atomic, children, claims, decode, dotted, element, encode, owned
from sandbox.kube.schema import Schema, child, copied

Manager = tuple[str, str, str, str]
"""Name, operation, apiVersion (empty for Apply, which has one entry whatever the version), subresource."""
Managers = dict[Manager, Paths]


class Ownership:
    """The managedFields of one object while a write goes on."""

    def __init__(self, obj: Mapping[str, Any] | None) -> None:
        self.managers: Managers = {}
        self._seen: dict[Manager, tuple[Paths, Obj]] = {}
        for entry in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
            operation = entry.get("operation", "Update")
            version = "" if operation == "Apply" else entry.get("apiVersion", "")
            claimed = entry.get("fieldsV1")
            manager = (entry.get("manager", ""), operation, version, entry.get("subresource", ""))
            self.managers[manager] = frozenset(decode(claimed if isinstance(claimed, dict) else {}))
            self._seen[manager] = self.managers[manager], entry

    def update(self, manager: Manager, changes: Changes) -> None:
        """A write that is no apply: its author takes what it changed, everybody else loses it."""
        taken = frozenset(changes.set)
        gone = taken | changes.removed
        self.managers = {name: paths - gone for name, paths in self.managers.items()}
        self.managers[manager] = owned(self.managers.get(manager, frozenset()) | taken)

    def entries(self, author: Manager, api_version: str, now: str | None) -> list[Obj]:
        """As managedFields. An entry that did not change keeps its time; `now` is None when the object did not."""
        made = [
            self._entry(manager, paths, api_version if manager == author else "", now)
            for manager, paths in self.managers.items()
            if paths
        ]
        return sorted(made, key=lambda one: (one["operation"], one.get("time", ""), one["manager"], one["apiVersion"]))

    def _entry(self, manager: Manager, paths: Paths, api_version: str, now: str | None) -> Obj:
        before, entry = self._seen.get(manager, (frozenset(), {}))
        name, operation, version, subresource = manager
        if paths == before and api_version in ("", entry.get("apiVersion")):
            return entry
        full = version or api_version or entry.get("apiVersion", "")
        made = {"manager": name, "operation": operation, "apiVersion": full}
        made |= ({"time": now} if now else {}) | {"fieldsType": "FieldsV1", "fieldsV1": encode(paths)}
        return made | ({"subresource": subresource} if subresource else {})


def conflicts(found: Mapping[Manager, Iterable[Path]]) -> ApiError:
    """409 that names every field and who has it."""
    told = {_told(manager): sorted(dotted(path) for path in paths) for manager, paths in found.items()}
    count = sum(len(paths) for paths in told.values())
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, paths in sorted(told.items())
        for path in paths
    ]
    if len(told) == 1 and count == 1:
        listed = f"{causes[0]['message']}: {causes[0]['field']}"
    else:
        listed = "\n".join(
            f"conflict{'s' if len(paths) > 1 else ''} with {who}" + _listed(paths)
            for who, paths in sorted(told.items())
        )
    plural = "" if count == 1 else "s"
    return ApiError(409, "Conflict", f"Apply failed with {count} conflict{plural}: {listed}", {"causes": causes})


def _listed(paths: list[str]) -> str:
    return f": {paths[0]}" if len(paths) == 1 else ":" + "".join(f"\n- {path}" for path in paths)


def _told(manager: Manager) -> str:
    name, operation, version, subresource = manager
    where = f' with subresource "{subresource}"' if subresource else ""
    return f'"{name}"{where}' + (f" using {version}" if operation == "Update" else "")


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """The live value with what the configuration says laid over it."""
    if config is None:
        return live
    if atomic(config, schema) or type(live) is not type(config):
        return copied(config)
    if isinstance(config, dict):
        both = {key: merge(live.get(key), entry, child(schema, key) or {}) for key, entry in config.items()}
        return {**live, **both}
    wanted = {element(item, schema): item for item in config}
    items = schema.get("items") or {}
    found = {element(item, schema): item for item in live}
    kept = [merge(item, wanted[name], items) if name in wanted else item for name, item in found.items()]
    return kept + [copied(item) for name, item in wanted.items() if name not in found]


def without(value: Any, schema: Schema, gone: Paths, alive: Paths, path: Path = ()) -> Any:
    """Takes out the paths in `gone`, and what is then empty; `alive` are the paths with an owner at or below them."""
    if not gone or atomic(value, schema):
        return value
    left: list[tuple[str, Any]] = []
    for name, entry, below in children(value, schema):
        here = (*path, name)
        after = without(entry, below, gone, alive, here)
        emptied = after in ({}, []) and entry not in ({}, [])
        if here in alive or not (here in gone or emptied):
            left.append((name, after))
    return {name[2:]: entry for name, entry in left} if isinstance(value, dict) else [entry for _, entry in left]


def untyped(value: Any, schema: Schema, path: Path = ()) -> Iterator[str]:
    """What keeps a configuration from being read by its schema."""
    wanted, found = (
        schema.get("type"),
        {bool: "boolean", int: "integer", float: "number", str: "string"}.get(type(value)),
    )
    plain = {"integer": "numeric", "number": "numeric"}
    if found and wanted and found != wanted and plain.get(found, "") != plain.get(wanted, "?"):
        got = found if wanted in plain else f"&{{{value}}}"
        yield f"{dotted(path)}: expected {'numeric (int or float)' if wanted in plain else wanted}, got {got}"
    if isinstance(value, dict) and (schema.get("properties") or schema.get("additionalProperties")):
        for key, entry in value.items():
            below = child(schema, key)
            if below is None:
                yield f"{dotted((*path, f'f:{key}'))}: field not declared in schema"
            else:
                yield from untyped(entry, below, (*path, f"f:{key}"))
    elif isinstance(value, list):
        yield from _untyped_items(value, schema, path)


def _untyped_items(value: list[Any], schema: Schema, path: Path) -> Iterator[str]:
    keys, seen = schema.get("x-kubernetes-list-map-keys") or (), set[str]()
    items: Schema = schema.get("items") or {}
    for index, item in enumerate(value):
        if (
            keys
            and isinstance(item, dict)
            and not any(key in item or "default" in (child(items, key) or {}) for key in keys)
        ):
            yield (
                f"{dotted(path)}: element {index}: associative list with keys has an element that omits all key fields "
                f"{json.dumps(list(keys))} (and doesn't have default values for any key fields)"
            )
        elif not atomic(value, schema):
            name = element(item, schema)
            if name in seen:
                yield f"{dotted(path)}: duplicate entries for key {dotted((name,))}"
            seen.add(name)
        yield from untyped(item, items, (*path, f"i:{index}"))


def check_typed(config: Obj, schema: Schema, kind: str) -> None:
    """A real server answers a configuration that does not fit its schema with 500."""
    wrong = list(untyped(config, schema))
    if wrong:
        told = wrong[0] if len(wrong) == 1 else "errors:\n" + "\n".join(f"  {one}" for one in wrong)
        place = f"{config['metadata'].get('namespace', '')}/{config['metadata'].get('name', '')}"
        raise ApiError(500, "", f"failed to create typed patch object ({place}; {kind}): {told}")


def apply(live: Obj | None, config: Obj, schema: Schema, manager: Manager, *, force: bool) -> tuple[Obj, Ownership]:
    """The object after the apply, and who then owns what."""
    ownership = Ownership(live)
    mine = claims(config, schema)
    before = ownership.managers.get(manager, frozenset())
    base = copied(live) if live is not None else {key: config[key] for key in ("apiVersion", "kind") if key in config}
    merged = merge(base, config, schema)
    others: Paths = frozenset().union(*(paths for name, paths in ownership.managers.items() if name != manager))
    alive = frozenset(path[:length] for path in mine | others for length in range(1, len(path) + 1))
    merged = without(merged, schema, before - mine - others, alive)
    changes = Changes(base, merged, schema)
    taken = {
        name: paths & changes.set
        for name, paths in ownership.managers.items()
        if name != manager and paths & changes.set
    }
    if taken and not force:
        raise conflicts(taken)
    ownership.managers = {
        name: paths - taken.get(name, frozenset()) - changes.removed for name, paths in ownership.managers.items()
    }
    ownership.managers[manager] = mine
    return merged, ownership
