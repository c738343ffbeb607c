"""The three patch formats besides apply: JSON Patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

Source for the third: "Strategic Merge Patch" in Kubernetes' community documents, and apimachinery's `strategicpatch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.kube.errors import ApiError, bad_request
from sandbox.kube.schema import Schema, child, copied


def merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copied(patch)
    base = dict(value) if isinstance(value, dict) else {}
    for key, entry in patch.items():
        if entry is None:
            base.pop(key, None)
        else:
            base[key] = merge_patch(base.get(key), entry)
    return base


def _tokens(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise bad_request(f"json patch path {pointer!r} must start with a slash")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _unprocessable() -> ApiError:
    """A real server keeps the reason to itself."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def _at(document: Any, tokens: list[str], pointer: str) -> Any:
    for token in tokens:
        try:
            document = document[int(token)] if isinstance(document, list) else document[token]
        except (KeyError, IndexError, ValueError, TypeError) as missing:
            raise _unprocessable() from missing
    return document


def _add(holder: Any, token: str, value: Any, pointer: str) -> None:
    if isinstance(holder, dict):
        holder[token] = value
    elif isinstance(holder, list) and (token == "-" or (token.isdigit() and int(token) <= len(holder))):  # noqa: S105
        holder.insert(len(holder) if token == "-" else int(token), value)  # noqa: S105
    else:
        raise _unprocessable()


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902, all or nothing."""
    if not isinstance(operations, list) or not all(isinstance(one, dict) and "op" in one for one in operations):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    root = {"": copied(document)}
    for operation in operations:
        _operate(root, operation)
    return root[""]


def _operate(root: dict[str, Any], operation: Mapping[str, Any]) -> None:
    name, pointer = operation["op"], str(operation.get("path", ""))
    tokens = ["", *_tokens(pointer)]
    holder = _at(root, tokens[:-1], pointer)
    if name == "test":
        if _at(root, tokens, pointer) != operation.get("value"):
            raise _unprocessable()
    elif name in ("remove", "replace") and pointer:
        _at(root, tokens, pointer)
        key = int(tokens[-1]) if isinstance(holder, list) else tokens[-1]
        if name == "replace":
            holder[key] = copied(operation.get("value"))
        else:
            del holder[key]
    elif name == "add":
        _add(holder, tokens[-1], copied(operation.get("value")), pointer)
    elif name in ("move", "copy"):
        source = str(operation.get("from", ""))
        value = copied(_at(root, ["", *_tokens(source)], source))
        if name == "move":
            _operate(root, {"op": "remove", "path": source})
        _operate(root, {"op": "add", "path": pointer, "value": value})
    else:
        raise _unprocessable()


def strategic_merge(value: Any, patch: Any, schema: Schema) -> Any:
    """As a merge patch, but keyed lists and sets are merged by their items, with `$patch` and its like."""
    if not isinstance(patch, dict):
        return copied(patch)
    directive = patch.get("$patch")
    if directive == "delete":
        return None
    base = dict(value) if isinstance(value, dict) and directive != "replace" else {}
    for key, entry in patch.items():
        if not key.startswith("$"):
            _merge_field(base, key, entry, child(schema, key) or {})
    _take_from_sets(base, patch)
    kept = patch.get("$retainKeys")
    return {key: base[key] for key in base if key in kept} if isinstance(kept, list) else base


def _merge_field(base: dict[str, Any], key: str, entry: Any, schema: Schema) -> None:
    kind = schema.get("x-kubernetes-list-type")
    if entry is None:
        base.pop(key, None)
    elif isinstance(entry, list) and kind == "map":
        base[key] = _merge_items(base.get(key) or [], entry, schema)
    elif isinstance(entry, list) and kind == "set":
        have = base.get(key) or []
        base[key] = have + [item for item in entry if item not in have]
    else:
        merged = strategic_merge(base.get(key), entry, schema)
        if merged is None:
            base.pop(key, None)
        else:
            base[key] = merged


def _merge_items(have: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    """By the first key alone: that is what strategic merge patches know as the merge key."""
    key, items = schema["x-kubernetes-list-map-keys"][0], schema.get("items") or {}
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copied(item) for item in patch if "$patch" not in item]
    found = {item.get(key): item for item in have}
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        merged = strategic_merge(found.get(item[key]), item, items)
        if merged is None:
            found.pop(item[key], None)
        else:
            found[item[key]] = merged
    return list(found.values())


def _take_from_sets(base: dict[str, Any], patch: Mapping[str, Any]) -> None:
    prefix = "$deleteFromPrimitiveList/"
    for key in (key for key in patch if key.startswith(prefix)):
        field = key.removeprefix(prefix)
        base[field] = [item for item in base.get(field) or [] if item not in patch[key]]
