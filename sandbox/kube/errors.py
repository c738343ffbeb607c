"""Refusals of the API as Status objects. Source: apimachinery's `api/errors` and `util/validation/field`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Obj = dict[str, Any]


class ApiError(Exception):
    """One refusal: HTTP status, the reason that clients switch on, the message that people read."""

    def __init__(
        self, code: int, reason: str, message: str, details: Obj | None = None, meta: Obj | None = None
    ) -> None:
        super().__init__(message)
        self.meta = meta or {}
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> Obj:
        """The body of the answer."""
        found: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": self.meta, "status": "Failure"}
        found |= {"message": self.message} | ({"reason": self.reason} if self.reason else {})
        return found | ({} if self.details is None else {"details": self.details}) | {"code": self.code}


def qualified(plural: str, group: str) -> str:
    """`clusters.cluster.x-k8s.io`; `pods` in the core group."""
    return f"{plural}.{group}" if group else plural


def details(name: str, group: str, kind: str, **more: Any) -> Obj:
    """The details of a Status; what is empty is left out."""
    return {key: value for key, value in {"name": name, "group": group, "kind": kind, **more}.items() if value}


def not_found(plural: str, group: str, name: str) -> ApiError:
    """404 for one object."""
    return ApiError(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', details(name, group, plural))


def already_exists(plural: str, group: str, name: str) -> ApiError:
    """409 for a name that is taken."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str) -> ApiError:
    """409 for a write that does not fit what is there."""
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details(name, group, plural))


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def no_such_resource() -> ApiError:
    """404 for an endpoint of a built-in group."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def expired(message: str) -> ApiError:
    """410, in an answer or in a watch."""
    return ApiError(410, "Expired", message)


def forbidden(user: str, verb: str, plural: str, group: str, name: str, namespace: str, subresource: str) -> ApiError:
    """The authoriser's words, the subject of the sentence included."""
    full = f"{plural}/{subresource}" if subresource else plural
    place = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    named = f' "{name}"' if name else ""
    message = (
        f"{qualified(plural, group)}{named} is forbidden: "
        f'User "{user}" cannot {verb} resource "{full}" in API group "{group}"{place}'
    )
    return ApiError(403, "Forbidden", message, details(name, group, plural))


class Cause:
    """One wrong field. `text` is what follows the path in the message."""

    def __init__(self, reason: str, field: str, text: str) -> None:
        self.reason, self.field, self.text = reason, field, text

    def as_json(self) -> Obj:
        """As it stands in the details of a Status."""
        return {"reason": self.reason, "message": self.text, "field": self.field}


def shown(value: Any) -> str:
    """A wrong value as Go prints it in a message: containers as JSON, strings quoted."""
    if value is None:
        return "null"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def required(field: str, text: str = "") -> Cause:
    """The cause for a field that is missing."""
    return Cause("FieldValueRequired", field, "Required value" + (f": {text}" if text else ""))


def invalid_value(field: str, value: Any, text: str) -> Cause:
    """The cause for a value that will not do."""
    return Cause("FieldValueInvalid", field, f"Invalid value: {shown(value)}: {text}")


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with every cause; the message tells once what several causes say."""
    told = dict.fromkeys(f"{cause.field}: {cause.text}" for cause in causes)
    listed = next(iter(told)) if len(told) == 1 else f"[{', '.join(told)}]"
    full = qualified(kind, group)
    found = details(name, group, kind) | {"causes": [cause.as_json() for cause in causes]}
    return ApiError(422, "Invalid", f'{full} "{name}" is invalid: {listed}', found)


def success(name: str, group: str, plural: str, uid: str) -> Mapping[str, Any]:
    """What a delete answers when nothing of the object is left."""
    found = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return found | {"details": details(name, group, plural, uid=uid)}
