"""Structural schemas: pruning, defaulting, validation, in the words of a real server.

Source: apiextensions-apiserver's `apiserver/schema` (pruning, defaulting, list types) and `apiserver/validation`.
Rules in CEL (`x-kubernetes-validations`) are not evaluated.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sandbox.kube.errors import Cause, Obj, invalid_value, required, shown

Schema = Mapping[str, Any]

METADATA = frozenset(
    [
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ]
)
ROOT = ("apiVersion", "kind", "metadata")
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
INTEGERS = {"int32": 2**31, "int64": 2**63}


def copied(value: Any) -> Any:
    """A deep copy of JSON data; many times faster than `copy.deepcopy`."""
    if type(value) is dict:
        return {key: copied(entry) for key, entry in value.items()}
    return [copied(entry) for entry in value] if type(value) is list else value


def child(schema: Schema, key: str) -> Schema | None:
    """The schema of a field or of a map's value; an empty one below a field that keeps unknown ones."""
    found = (schema.get("properties") or {}).get(key)
    if found is None:
        more = schema.get("additionalProperties")
        found = more if isinstance(more, Mapping) else {PRESERVE: True} if more or schema.get(PRESERVE) else None
    return found


def prune(obj: Obj, schema: Schema | None) -> list[str]:
    """Takes out of a whole object what its schema does not know; the paths of what went."""
    metadata = obj.get("metadata")
    gone: list[str] = []
    if isinstance(metadata, dict):
        for key in [key for key in metadata if key not in METADATA]:
            del metadata[key]
            gone.append(f"metadata.{key}")
    if schema is not None:
        for key in [key for key in obj if key not in ROOT]:
            _prune_field(obj, key, schema, key, gone)
    return gone


def _prune_field(holder: Obj, key: str, schema: Schema, path: str, gone: list[str]) -> None:
    below = child(schema, key)
    if below is None:
        del holder[key]
        gone.append(path)
        return
    _prune(holder[key], below, path, gone)


def _prune(value: Any, schema: Schema, path: str, gone: list[str]) -> None:
    if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema or schema.get(PRESERVE)):
        for key in list(value):
            _prune_field(value, key, schema, f"{path}.{key}", gone)
    elif isinstance(value, dict) and schema.get("type") == "object":
        gone += [f"{path}.{key}" for key in value]
        value.clear()
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, entry in enumerate(value):
            _prune(entry, schema["items"], f"{path}[{index}]", gone)


def fill(value: Any, schema: Schema | None) -> None:
    """Sets defaults, and takes out nulls that the schema does not allow."""
    if schema is None:
        return
    if isinstance(value, dict):
        for key in [key for key, entry in value.items() if entry is None]:
            below = child(schema, key)
            if below is not None and not below.get("nullable") and below.get("type"):
                del value[key]
        for key, below in (schema.get("properties") or {}).items():
            if key not in value and "default" in below:
                value[key] = copied(below["default"])
        for key, entry in value.items():
            if isinstance(entry, dict | list):
                fill(entry, child(schema, key))
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for entry in value:
            fill(entry, schema["items"])


def has_rules(schema: Schema) -> bool:
    """Are there rules in CEL anywhere, which a real server leaves unchecked in an object that is wrong otherwise?"""
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return "x-kubernetes-validations" in schema or any(has_rules(one) for one in below if isinstance(one, Mapping))


def validate(obj: Obj, schema: Schema | None) -> list[Cause]:
    """Everything that is wrong in a whole object, but for its metadata."""
    return [] if schema is None else list(_object({key: obj[key] for key in obj if key not in ROOT}, schema, ""))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _type_of(value: Any) -> str:
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}
    return "null" if value is None else names.get(type(value), "array")


def _fits(value: Any, schema: Schema) -> bool:
    wanted, found = schema.get("type"), _type_of(value)
    if schema.get(INT_OR_STRING):
        return found in ("integer", "string")
    if wanted is None or (value is None and schema.get("nullable")):
        return True
    return found == wanted or (wanted == "number" and found == "integer")


def _value(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if not _fits(value, schema):
        wanted = "integer,string" if schema.get(INT_OR_STRING) else schema["type"]
        text = f'{path} in body must be of type {wanted}: "{_type_of(value)}"'
        yield Cause("FieldValueTypeInvalid", path, f'Invalid value: "{_type_of(value)}": {text}')
        return
    checks: dict[str, Callable[[Any, Schema, str], Iterable[Cause]]] = {
        "object": _object, "array": _array, "string": _string, "integer": _number, "number": _number,
    }  # fmt: skip
    yield from checks.get(_type_of(value), _nothing)(value, schema, path)
    choices = schema.get("enum")
    if choices and value not in choices:
        listed = ", ".join(json.dumps(choice) for choice in choices)
        yield Cause("FieldValueNotSupported", path, f"Unsupported value: {shown(value)}: supported values: {listed}")


def _nothing(_value: Any, _schema: Schema, _path: str) -> Iterable[Cause]:
    return ()


def _object(value: Obj, schema: Schema, path: str) -> Iterator[Cause]:
    for key in schema.get("required") or ():
        if key not in value and not (path == "" and key in ROOT):
            yield required(_join(path, key))
    for key, entry in value.items():
        below = child(schema, key)
        if below:
            yield from _value(entry, below, _join(path, key))
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        yield invalid_value(path, len(value), f"{path} in body should have at least {least} properties")
    if most is not None and len(value) > most:
        yield Cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {most} items")


def _array(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    items = schema.get("items")
    if isinstance(items, Mapping):
        for index, entry in enumerate(value):
            yield from _value(entry, items, f"{path}[{index}]")
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        yield invalid_value(path, len(value), f"{path} in body should have at least {least} items")
    if most is not None and len(value) > most:
        yield Cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {most} items")
    yield from _duplicates(value, schema, path)


def _duplicates(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    """Sets and maps say no thing twice."""
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or ()
    seen: set[str] = set()
    for index, entry in enumerate(value if kind in ("set", "map") else ()):
        ident = {key: entry.get(key) for key in keys} if kind == "map" and isinstance(entry, dict) else entry
        text = json.dumps(ident, sort_keys=True, separators=(",", ":"))
        if text in seen:
            yield Cause("FieldValueDuplicate", f"{path}[{index}]", f"Duplicate value: {text}")
        seen.add(text)


def _number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    limit = INTEGERS.get(schema.get("format", ""))
    if limit and not -limit <= value < limit:
        text = f'{path} in body must be of type {schema["format"]}: "{value}"'
        yield Cause("FieldValueInvalid", path, f'Invalid value: "{schema["type"]}": {text}')
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and value < least:
        yield invalid_value(path, value, f"{path} in body should be greater than or equal to {least}")
    if most is not None and value > most:
        yield invalid_value(path, value, f"{path} in body should be less than or equal to {most}")


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    least, most, pattern = schema.get("minLength"), schema.get("maxLength"), schema.get("pattern")
    if most is not None and len(value) > most:
        yield Cause("FieldValueTooLong", path, f"Too long: may not be more than {most} bytes")
    if least is not None and len(value) < least:
        yield invalid_value(path, value, f"{path} in body should be at least {least} chars long")
    if pattern and not _compiled(pattern).search(value):
        yield invalid_value(path, value, f"{path} in body should match '{pattern}'")
    if schema.get("format") == "date-time" and not DATE_TIME.fullmatch(value):
        yield invalid_value(path, value, f'{path} in body must be of type date-time: "{value}"')
    if schema.get("format") == "byte" and not _is_base64(value):
        yield invalid_value(path, value, "illegal base64 data")


DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@lru_cache(512)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Go's `$` is the very end; Python's lets a newline follow."""
    return re.compile(pattern.replace("[[:alnum:]]", "[0-9A-Za-z]").replace("$", r"\Z"), re.ASCII)


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return False
    return True
