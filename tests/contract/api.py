"""A raw HTTP client: what goes over the wire is what the tests see. No Kubernetes library stands between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PATIENCE_S = 20.0

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    text: str
    warnings: list[str] = field(default_factory=list)

    @property
    def body(self) -> Json:
        """The answer as JSON; a test that gets anything else fails here, with the text."""
        assert "json" in self.headers.get("Content-Type", ""), self.text
        found: Json = json.loads(self.text)
        return found

    @property
    def said(self) -> tuple[int, str, str]:
        """Of a Status object: its code, reason and message."""
        body = self.body
        assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure"), body
        assert body["code"] == self.status, body
        return self.status, body.get("reason", ""), body.get("message", "")

    @property
    def causes(self) -> dict[str, tuple[str, str]]:
        """Of a Status object: field -> (reason, message)."""
        causes = self.body.get("details", {}).get("causes", [])
        return {cause.get("field", ""): (cause.get("reason", ""), cause.get("message", "")) for cause in causes}

    def ok(self, *statuses: int) -> Json:
        """The body of an answer that must be a success (200 or 201, or one of those named)."""
        assert self.status in (statuses or (200, 201)), f"{self.status}: {self.text}"
        return self.body


class Api:
    """One user's way to one server."""

    def __init__(self, url: str, ca_file: str, token: str | None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._pool = urllib3.PoolManager(ca_certs=ca_file, retries=False, timeout=urllib3.Timeout(PATIENCE_S))

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: Any,
    ) -> Answer:
        """One request. A body that is no text is sent as JSON; `fieldManager=None` and the like are left out."""
        sent = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        headers = {**self._headers, "Accept": accept} | ({"Content-Type": content_type} if sent is not None else {})
        response = self._pool.request(method, self._url + path + _query(query), body=sent, headers=headers)
        warnings = response.headers.getlist("Warning")
        return Answer(response.status, response.headers, response.data.decode(), warnings)

    def get(self, path: str, **query: Any) -> Answer:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Json, **query: Any) -> Answer:
        return self.call("POST", path, body, **query)

    def put(self, path: str, body: Json, **query: Any) -> Answer:
        return self.call("PUT", path, body, **query)

    def delete(self, path: str, body: Json | None = None, **query: Any) -> Answer:
        return self.call("DELETE", path, body, **query)

    def merge(self, path: str, body: Json, **query: Any) -> Answer:
        """A merge patch."""
        return self.call("PATCH", path, body, content_type=MERGE_PATCH, **query)

    def json_patch(self, path: str, *operations: Json, **query: Any) -> Answer:
        return self.call("PATCH", path, list(operations), content_type=JSON_PATCH, **query)

    def apply(self, path: str, body: Json, manager: str | None = "tkgbot", **query: Any) -> Answer:
        """A server-side apply."""
        return self.call("PATCH", path, body, content_type=APPLY_PATCH, fieldManager=manager, **query)

    def watch(self, path: str, *, timeout_s: int = 10, **query: Any) -> Watch:
        """An open watch, which the server itself ends after `timeout_s`. Used in a `with`."""
        url = self._url + path + _query({"watch": "true", "timeoutSeconds": timeout_s, **query})
        return Watch(self._pool.request("GET", url, headers=self._headers, preload_content=False))


def _query(query: Mapping[str, Any]) -> str:
    said = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
    left = {key: value for key, value in said.items() if value is not None}
    return f"?{urlencode(left)}" if left else ""


class Watch:
    """The events of one watch, as they come."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self._lines = self._split()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def _split(self) -> Iterator[str]:
        rest = b""
        for chunk in self._response.stream(2**16):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode() for line in lines if line)
        if rest:
            yield rest.decode()

    def __iter__(self) -> Iterator[Json]:
        """The events until the server ends the watch."""
        return (json.loads(line) for line in self._lines)

    def until(self, wanted: Callable[[Json], bool]) -> list[Json]:
        """The events up to the first that is wanted; the watch's end without it is a failure."""
        seen: list[Json] = []
        for event in self:
            seen.append(event)
            if wanted(event):
                return seen
        raise AssertionError(f"the watch ended after {seen}")
