"""Sets of field paths, as `managedFields` hold them. Source: structured-merge-diff, `fieldpath` and `typed`.

A path is a tuple of elements: `f:name` a field, `k:{"id":"a"}` an item of a keyed list, `v:"x"` a member of a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.kube.errors import Obj
from sandbox.kube.schema import Schema, child

Path = tuple[str, ...]
Paths = frozenset[Path]

UNOWNED = {
    *((f"f:{name}",) for name in ("apiVersion", "kind", "metadata")),
    *(
        ("f:metadata", f"f:{name}")
        for name in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ]
    ),
}
METADATA_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("name", "namespace", "generateName")},
        **{name: {"type": "object", "additionalProperties": {"type": "string"}} for name in ("labels", "annotations")},
        "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "x-kubernetes-map-type": "atomic",
            },
        },
    },
    "x-kubernetes-preserve-unknown-fields": True,
}


def rooted(schema: Schema | None) -> Schema:
    """A whole object's schema, its metadata included."""
    properties = dict((schema or {}).get("properties") or {})
    text = {"type": "string"}
    properties |= {"metadata": METADATA_SCHEMA, "apiVersion": text, "kind": text}
    keep = {} if schema and "properties" in schema else {"x-kubernetes-preserve-unknown-fields": True}
    return {**(schema or {}), **keep, "properties": properties}


def atomic(value: Any, schema: Schema) -> bool:
    """Is this value one thing, owned and replaced as a whole?"""
    if isinstance(value, dict):
        return schema.get("x-kubernetes-map-type") == "atomic"
    return not isinstance(value, list) or schema.get("x-kubernetes-list-type") not in ("map", "set")


def element(item: Any, schema: Schema) -> str:
    """How an item of a keyed list or a set is named in a path; a key that is missing counts with its default."""
    if schema.get("x-kubernetes-list-type") == "set":
        return f"v:{json.dumps(item, separators=(',', ':'))}"
    below = (schema.get("items") or {}).get("properties") or {}
    keys = sorted(schema.get("x-kubernetes-list-map-keys") or ())
    found = {key: item.get(key, below.get(key, {}).get("default")) for key in keys if isinstance(item, Mapping)}
    return f"k:{json.dumps(found, separators=(',', ':'))}"


def children(value: Any, schema: Schema) -> Iterator[tuple[str, Any, Schema]]:
    """What is inside a value that is not atomic: path element, value, schema."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield f"f:{key}", entry, child(schema, key) or {}
    elif isinstance(value, list):
        for item in value:
            yield element(item, schema), item, schema.get("items") or {}


def applied(value: Any, schema: Schema, path: Path = ()) -> Iterator[Path]:
    """The fields that an applied configuration claims."""
    if atomic(value, schema):
        yield path
        return
    named = schema.get("properties") or {}
    for name, entry, below in children(value, schema):
        here = (*path, name)
        yield from applied(entry, below, here)
        if isinstance(value, list) or entry in (None, {}) or name[2:] not in named:
            yield here


def claims(config: Obj, schema: Schema) -> Paths:
    """What a whole applied object owns."""
    return owned(applied(config, schema))


def owned(paths: Iterable[Path]) -> Paths:
    """Without the fields that nobody owns."""
    return frozenset(path for path in paths if path not in UNOWNED and path)


class Changes:
    """What differs between two objects: paths added or modified, and paths removed."""

    def __init__(self, old: Any, new: Any, schema: Schema) -> None:
        self.set: set[Path] = set()
        self.removed: set[Path] = set()
        self._compare(old, new, schema, ())
        self.set = {path for path in self.set if path not in UNOWNED}
        self.removed = {path for path in self.removed if path not in UNOWNED}

    def _compare(self, old: Any, new: Any, schema: Schema, path: Path) -> None:
        if type(old) is type(new) and old == new:
            return
        whole = atomic(old, schema) or atomic(new, schema) or type(old) is not type(new)
        if whole and not (old is None or new is None):
            self.set.add(path)
            return
        before = {name: (entry, below) for name, entry, below in _inside(old, schema)}
        after = {name: (entry, below) for name, entry, below in _inside(new, schema)}
        for name in {**before, **after}:
            here = (*path, name)
            if name not in after:
                self._all(before[name], here, self.removed)
            elif name not in before:
                self._all(after[name], here, self.set)
            else:
                self._compare(before[name][0], after[name][0], after[name][1], here)

    def _all(self, found: tuple[Any, Schema], path: Path, into: set[Path]) -> None:
        value, schema = found
        into.add(path)
        for name, entry, below in _inside(value, schema):
            self._all((entry, below), (*path, name), into)


def _inside(value: Any, schema: Schema) -> Iterable[tuple[str, Any, Schema]]:
    return () if value is None or atomic(value, schema) else children(value, schema)


def encode(paths: Iterable[Path]) -> Obj:
    """As `fieldsV1`: nested, `.` where a path that has others below is itself a member."""
    found: Obj = {}
    members = sorted(paths)
    for path in members:
        node = found
        for name in path:
            node = node.setdefault(name, {})
    for path in members:
        node = found
        for name in path:
            node = node[name]
        if node:
            node["."] = {}
    return found


def decode(fields: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    """The other way round."""
    for name, below in fields.items():
        if name == ".":
            yield path
        elif isinstance(below, dict) and below:
            yield from decode(below, (*path, name))
        else:
            yield (*path, name)


def dotted(path: Path) -> str:
    """A path as messages tell it: `.spec.network.subnets[id="a"].zoneType`."""
    told = ""
    for name in path:
        kind, text = name[:2], name[2:]
        if kind == "f:":
            told += f".{text}"
        elif kind == "i:":
            told += f"[{text}]"
        elif kind == "k:":
            told += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(text).items()) + "]"
        else:
            told += f"[={text}]"
    return told
