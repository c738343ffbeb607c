"""In which form an answer goes out (plain, Table, metadata only; JSON or YAML), and how a body comes in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.kube.errors import ApiError, Obj, bad_request, expired
from sandbox.kube.protobuf import decoded
from sandbox.kube.resources import Resource
from sandbox.kube.tables import partial, table

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
READABLE = (JSON, YAML, PROTOBUF)


@dataclass(frozen=True)
class Form:
    """What the caller's Accept header chose. `kind` is empty, Table, PartialObjectMetadata(List)."""

    media: str = JSON
    kind: str = ""
    include: str = "Metadata"

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return self.media

    def one(self, resource: Resource, obj: Obj, now: float, *, head: bool = True) -> Obj:
        """One object."""
        if self.kind == "Table" and obj["kind"] == resource.kind:
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return table(resource, [obj], meta, now, self.include, head=head)
        return partial(obj) if self.kind and obj["kind"] == resource.kind else obj

    def many(self, resource: Resource, objects: Iterable[Obj], meta: Obj, now: float) -> Obj:
        """A list of objects."""
        if self.kind == "Table":
            return table(resource, objects, meta, now, self.include)
        if self.kind:
            found = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
            return found | {"items": [partial(obj) for obj in objects]}
        if resource.custom:
            meta = {"continue": ""} | meta
        kind = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": meta}
        if resource.custom:
            return kind | {"items": list(objects)}
        return kind | {
            "items": [{key: obj[key] for key in obj if key not in ("kind", "apiVersion")} for obj in objects]
        }

    def written(self, body: Any) -> bytes:
        """The body."""
        if self.media == YAML:
            return str(yaml.safe_dump(body)).encode()
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def chosen(accept: str, query: Mapping[str, str], *, resource: bool = True) -> Form:
    """The first form of the header that this server has; 406 when there is none."""
    for clause in (accept or "*/*").split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        found = dict(parameter.partition("=")[::2] for parameter in parameters)
        kind = found.get("as", "")
        if media in (JSON, YAML, "*/*", "application/*") and (not kind or (resource and found.get("v") == "v1")):
            return Form(YAML if media == YAML else JSON, kind, query.get("includeObject", "Metadata"))
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(READABLE)}")


def unsupported(accepted: Iterable[str]) -> ApiError:
    """415."""
    text = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", text)


def parsed(body: bytes, media: str, kind: str) -> Any:
    """A body as data."""
    if media == PROTOBUF:
        return decoded(body)
    if media not in (JSON, YAML, ""):
        raise unsupported(READABLE)
    return loaded(body, yaml_too=media == YAML, start=f"the object provided is unrecognized (must be of type {kind}): ")


def loaded(body: bytes, *, yaml_too: bool = False, start: str = "") -> Any:
    """JSON, or YAML where it is allowed; 400 for what is neither."""
    try:
        return json.loads(body)
    except ValueError as wrong:
        if not yaml_too:
            why = f"couldn't get version/kind; json parse error: {wrong}" if start else f"error decoding patch: {wrong}"
            raise bad_request(start + why) from wrong
    try:
        return _plain(yaml.safe_load(body))
    except yaml.YAMLError as wrong:
        raise bad_request(f"error decoding YAML: {wrong}") from wrong


def _plain(value: Any) -> Any:
    """YAML knows dates; JSON does not."""
    return json.loads(json.dumps(value, default=lambda date: f"{date.isoformat().replace('+00:00', '')}Z"))


def repeated(body: bytes) -> list[str]:
    """The paths of the fields that a JSON body says twice."""
    twice: list[tuple[dict[str, Any], str]] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        names = [name for name, _ in pairs]
        twice.extend((made, name) for name in made if names.count(name) > 1)
        return made

    try:
        root = json.loads(body, object_pairs_hook=note)
    except ValueError:
        return []
    return [f"{_path_to(root, holder)}{name}" for holder, name in twice]


def _path_to(value: Any, wanted: Any) -> str | None:
    if value is wanted:
        return ""
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found = _path_to(entry, wanted)
        if found is not None:
            return f"{key}.{found}"
    return None


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter."""
    return query.get(name, "").lower() in ("true", "1")


def revision(query: Mapping[str, str]) -> int | None:
    """The resourceVersion that the caller starts from; None where they leave it open."""
    text = query.get("resourceVersion", "")
    if not text or text == "0":
        return None
    if not text.isdigit():
        why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: {why}")
    return int(text)


def too_old(wanted: int, oldest: int) -> ApiError:
    """410 for a watch that begins before the history."""
    return expired(f"too old resource version: {wanted} ({oldest})")
