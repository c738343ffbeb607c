"""Bodies in Kubernetes' protobuf encoding: kubectl writes the objects that it makes itself in no other way.

Reads the kinds that `kubectl create` and `kubectl auth can-i` send; every answer is JSON. Source: "Kubernetes Protobuf
encoding" in the API concepts, and the field numbers of the `generated.proto` files of k8s.io/api.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from sandbox.kube.errors import Obj, bad_request

MAGIC = b"k8s\x00"
Shape = dict[int, tuple[str, Any]]
"""Field number to name and kind: str, bytes, a Shape, or [kind] for a list, {kind} for a map of strings to it."""

META: Shape = {
    1: ("name", str), 2: ("generateName", str), 3: ("namespace", str), 5: ("uid", str), 6: ("resourceVersion", str),
    11: ("labels", {str}), 12: ("annotations", {str}), 14: ("finalizers", [str]),
}  # fmt: skip
RULE: Shape = dict(enumerate(zip(("verbs", "apiGroups", "resources", "resourceNames"), [[str]] * 4, strict=True), 1))
SUBJECT: Shape = dict(enumerate(zip(("kind", "apiGroup", "name", "namespace"), [str] * 4, strict=True), 1))
ROLE_REF: Shape = {1: ("apiGroup", str), 2: ("kind", str), 3: ("name", str)}
ATTRIBUTES = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
ASKED: Shape = dict(enumerate(zip(ATTRIBUTES, [str] * 7, strict=True), 1))
REVIEW: Shape = {1: ("resourceAttributes", ASKED), 2: ("nonResourceAttributes", {1: ("path", str), 2: ("verb", str)})}
ROLE: Shape = {1: ("metadata", META), 2: ("rules", [RULE])}
BINDING: Shape = {1: ("metadata", META), 2: ("subjects", [SUBJECT]), 3: ("roleRef", ROLE_REF)}
KINDS: dict[str, Shape] = {
    "Namespace": {1: ("metadata", META)},
    "ServiceAccount": {1: ("metadata", META)},
    "Secret": {1: ("metadata", META), 2: ("data", {bytes}), 3: ("type", str), 4: ("stringData", {str})},
    "ConfigMap": {1: ("metadata", META), 2: ("data", {str}), 3: ("binaryData", {bytes})},
    "Role": ROLE,
    "ClusterRole": ROLE,
    "RoleBinding": BINDING,
    "ClusterRoleBinding": BINDING,
    "SelfSubjectAccessReview": {1: ("metadata", META), 2: ("spec", REVIEW)},
}
ENVELOPE: Shape = {1: ("type", {1: ("apiVersion", str), 2: ("kind", str)}), 2: ("raw", bytes)}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value: Any
            value, at = _varint(data, at)
        elif key & 7 == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise bad_request(f"unsupported protobuf wire type {key & 7}")
        yield key >> 3, value


def _value(value: Any, kind: Any) -> Any:
    if isinstance(kind, dict):
        return _message(value, kind)
    if kind is bytes:
        return base64.b64encode(value).decode()
    return kind(value, "utf-8") if kind is str else kind(value)


def _message(data: bytes, shape: Shape) -> Obj:
    """What is empty is left out, as in JSON."""
    found: Obj = {}
    for number, value in _fields(data):
        name, kind = shape.get(number, ("", None))
        if isinstance(kind, list):
            found.setdefault(name, []).append(_value(value, kind[0]))
        elif isinstance(kind, set):
            pair = dict(_fields(value))
            found.setdefault(name, {})[pair.get(1, b"").decode()] = _value(pair.get(2, b""), next(iter(kind)))
        elif name and value:
            found[name] = _value(value, kind)
    return found


def decoded(body: bytes) -> Obj:
    """An object from its envelope; 400 for a kind that is not known here."""
    try:
        envelope = _message(body.removeprefix(MAGIC), ENVELOPE)
        kind = envelope["type"]["kind"]
        if not body.startswith(MAGIC) or kind not in KINDS:
            raise bad_request(f"the sandbox reads no {kind} in protobuf; send JSON")
        return {**envelope["type"], **_message(base64.b64decode(envelope.get("raw", "")), KINDS[kind])}
    except (KeyError, IndexError, ValueError) as wrong:
        raise bad_request(f"error decoding protobuf: {wrong}") from wrong
